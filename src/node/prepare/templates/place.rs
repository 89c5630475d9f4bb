//! Where a path of a template is: always within the allocation's directory.

use std::collections::BTreeMap;

use model::{Node, interpolate, lookup};

/// Knows the task's directories.
pub(super) struct Places<'a> {
    task: &'a str,
    env: &'a BTreeMap<String, String>,
    node: &'a Node,
}

impl<'a> Places<'a> {
    pub(super) fn new(task: &'a str, env: &'a BTreeMap<String, String>, node: &'a Node) -> Self {
        Self { task, env, node }
    }

    /// The parts of a path from the allocation's root. A path begins in the task's directory, also one that begins with
    /// a slash; what the task knows as its directories is where they are. `${…}` is filled in before it is judged.
    ///
    /// # Errors
    /// In words that follow the name of what it is, when it leads anywhere but into the task's directory or `alloc/`.
    pub(super) fn file(&self, written: &str) -> Result<Vec<String>, String> {
        let path = interpolate(written, |reference| lookup(self.env, self.node, reference));
        let refused = |why: &str| Err(format!("`{written}` {why}"));
        if path.contains("${") {
            return refused("refers to something that this node does not know");
        }
        if path.contains('\0') || path.len() > 4096 {
            return refused("is no path");
        }
        let (start, rest) = self.start(&path);
        let mut parts = start;
        for part in rest.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() => {
                    return refused("leads out of the allocation's directory");
                }
                ".." => {}
                part => parts.push(part.to_owned()),
            }
        }
        let [first, _, ..] = parts.as_slice() else {
            return refused("names no file in the task's directory");
        };
        if first != self.task && first != "alloc" {
            return refused("leads out of the task's directory; `alloc/` is what tasks share");
        }
        // A place of the agent's own, and of the tasks' output.
        if first == self.task && parts.get(1).is_some_and(|part| part == "private")
            || first == "alloc" && parts.get(1).is_some_and(|part| part == "logs")
        {
            return refused("is in a directory that the agent keeps for itself");
        }
        Ok(parts)
    }

    fn start<'p>(&self, path: &'p str) -> (Vec<String>, &'p str) {
        let task = self.task.to_owned();
        let known = [
            ("NOMAD_ALLOC_DIR", vec!["alloc".to_owned()]),
            ("NOMAD_TASK_DIR", vec![task.clone(), "local".to_owned()]),
            ("NOMAD_SECRETS_DIR", vec![task.clone(), "secrets".to_owned()]),
        ];
        for (variable, parts) in known {
            let folder = self.env.get(variable).map_or("", String::as_str);
            if !folder.is_empty()
                && let Some(rest) = path.strip_prefix(folder)
                && rest.starts_with('/')
            {
                return (parts, rest);
            }
        }
        (vec![task], path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_stays_in_the_allocation() {
        let env = [
            ("NOMAD_ALLOC_DIR", "/data/alloc/1/alloc"),
            ("NOMAD_TASK_DIR", "/data/alloc/1/web/local"),
            ("NOMAD_SECRETS_DIR", "/secrets"),
            ("UP", "../.."),
            ("NAME", "app"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let node = Node::default();
        let places = Places::new("web", &env, &node);
        for (path, place) in [
            ("local/a.conf", "web/local/a.conf"),
            ("/local/a.conf", "web/local/a.conf"),
            ("/etc/passwd", "web/etc/passwd"),
            ("${NOMAD_SECRETS_DIR}/a", "web/secrets/a"),
            ("${NOMAD_TASK_DIR}/${NAME}.d/a", "web/local/app.d/a"),
            ("${NOMAD_ALLOC_DIR}/data/a", "alloc/data/a"),
            ("../alloc/data/a", "alloc/data/a"),
            ("local/../secrets/./a", "web/secrets/a"),
        ] {
            assert_eq!(
                places.file(path).map(|parts| parts.join("/")),
                Ok(place.to_owned()),
                "{path}"
            );
        }
        for path in [
            "../../x",
            "../other/local/x",
            "..",
            "",
            "/",
            "local/../..",
            "${UP}/x",
            "${UP}/${UP}/etc/x",
            "${NOMAD_TASK_DIR}/../../../x",
            "${unknown}/x",
            "private/x",
            "../alloc/logs/web.stdout.0",
            "a\0b",
            "../alloc",
        ] {
            assert!(places.file(path).is_err(), "{path}");
        }
    }
}
