//! What tasks take from their node: `${meta.rack}` in an argument, `{{ env "attr.cpu.arch" }}` in a template. An
//! allocation keeps a hash of each value that its tasks name, as it was when it was placed. A node that says something
//! else now makes a change like any other, with the same batches and the same gate.
//!
//! What names a node alone (`attr.unique.…`, `node.unique.…`) is left out: it is another on each node, and some of it,
//! such as free disk space, with each start of an agent. Services are left out as well: the catalog follows by itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use model::{
    Allocation, Group, JobVersion, Node, NodeId, NodeInputs, Task, references, seeded_uuid,
};
use serde_json::Value;

use crate::reconcile::Scene;

/// The references of each version's groups, so that many allocations look once.
pub(crate) type Known = RefCell<BTreeMap<(u64, Arc<str>), Rc<BTreeSet<String>>>>;

impl Scene<'_> {
    /// What an allocation of a version's group takes from a node.
    pub(crate) fn node_inputs(
        &self,
        version: &JobVersion,
        group: &Arc<str>,
        node: NodeId,
    ) -> Option<Box<NodeInputs>> {
        let mut known = self.references.borrow_mut();
        let names = known
            .entry((version.version, Arc::clone(group)))
            .or_insert_with(|| Rc::new(version.job.group(group).map(named_by).unwrap_or_default()));
        let node = self.state.node(node).filter(|_| !names.is_empty())?;
        Some(Box::new(names.iter().map(|name| (name.clone(), fingerprint(node, name))).collect()))
    }

    /// The first value of its node that an allocation was started with and that is another one now, in words. A node
    /// that takes nothing new is let be.
    pub(crate) fn changed_input(&self, alloc: &Allocation) -> Option<String> {
        let inputs = alloc.node_inputs.as_ref().filter(|_| !alloc.client.is_terminal())?;
        let node = self.state.node(alloc.node).filter(|node| node.is_ready())?;
        let (name, _) = inputs.iter().find(|(name, hash)| fingerprint(node, name) != **hash)?;
        Some(format!("node attribute {name}"))
    }
}

/// A hash of a value, small enough for any reader of JSON; 0 where there is none.
fn fingerprint(node: &Node, name: &str) -> u64 {
    let Some(value) = node.attribute(name) else { return 0 };
    let [a, b, c, d, e, f, ..] = *seeded_uuid(&[b"node input", value.as_bytes()]).as_bytes();
    u64::from_be_bytes([0, 0, a, b, c, d, e, f]).max(1)
}

/// The names of a node's values in all that its tasks are started with.
fn named_by(group: &Group) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for network in &group.networks {
        names.extend(in_text(&network.hostname));
    }
    for task in &group.tasks {
        of_task(task, &mut names);
    }
    names
}

fn of_task(task: &Task, names: &mut BTreeSet<String>) {
    let mut texts: Vec<&str> = vec![&task.user];
    texts.extend(task.env.values().map(String::as_str));
    let mut open: Vec<&Value> = task.config.values().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => texts.push(text),
            Value::Array(items) => open.extend(items),
            Value::Object(items) => open.extend(items.values()),
            _ => {}
        }
    }
    for artifact in &task.artifacts {
        texts.extend(artifact.source.as_deref());
        texts.push(&artifact.destination);
        texts
            .extend(artifact.options.values().chain(artifact.headers.values()).map(String::as_str));
    }
    for mount in &task.volume_mounts {
        texts.extend(mount.destination.as_deref());
    }
    texts.extend(task.dispatch_payload.iter().map(|payload| payload.file.as_str()));
    for template in &task.templates {
        texts.extend([template.source.as_str(), &template.destination]);
        names.extend(in_template(&template.data));
    }
    names.extend(texts.into_iter().flat_map(in_text));
}

fn in_text(text: &str) -> Vec<String> {
    if !text.contains("${") {
        return Vec::new();
    }
    references(text).into_iter().filter(|name| counts(name)).collect()
}

/// What stands in quotes in a template, as `{{ env "meta.rack" }}` does.
fn in_template(data: &str) -> impl Iterator<Item = String> + '_ {
    ['"', '`'].into_iter().flat_map(move |quote| {
        data.split(quote).skip(1).filter(|part| counts(part)).map(str::to_owned)
    })
}

/// Whether it names a value of a node that counts.
fn counts(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match name.split_once('.') {
        Some(("attr" | "node", rest)) => {
            !rest.is_empty() && !rest.starts_with("unique.") && rest.chars().all(plain)
        }
        Some(("meta", rest)) => !rest.is_empty() && rest.chars().all(plain),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use model::{Artifact, Template};

    use super::*;
    use crate::samples::{node, service};

    #[test]
    fn all_that_a_task_is_started_with_is_looked_at() {
        let mut job = service("web", 1);
        let task = &mut job.task_groups[0].tasks[0];
        task.env.insert("A".into(), "${attr.cpu.arch}-${NOMAD_ALLOC_ID}".into());
        task.config.insert("args".into(), serde_json::json!([{ "x": "${env[\"meta.rack\"]}" }]));
        task.artifacts.push(Artifact {
            source: Some("http://x/${attr.os.name}".into()),
            ..Artifact::default()
        });
        task.templates.push(Template {
            data: "{{ env \"meta.zone\" }}{{ with env `node.class` }}{{ . }}{{ end }}".into(),
            ..Template::default()
        });
        // These do not count.
        task.env
            .insert("B".into(), "${attr.unique.hostname} ${node.unique.name} $${meta.b}".into());
        task.meta.insert("C".into(), "${meta.c}".into());
        let names: Vec<String> = named_by(&job.task_groups[0]).into_iter().collect();
        assert_eq!(
            names,
            ["attr.cpu.arch", "attr.os.name", "meta.rack", "meta.zone", "node.class"]
        );
        assert!(named_by(&service("web", 1).task_groups[0]).is_empty());
    }

    #[test]
    fn a_value_that_comes_or_goes_is_another_one() {
        let mut node = node(1);
        assert_eq!(fingerprint(&node, "meta.rack"), 0);
        node.meta.insert("rack".into(), String::new());
        let empty = fingerprint(&node, "meta.rack");
        node.meta.insert("rack".into(), "r1".into());
        let full = fingerprint(&node, "meta.rack");
        assert!(empty != 0 && full != 0 && empty != full);
        assert!(full < 1 << 53, "any reader of JSON can hold it");
    }
}
