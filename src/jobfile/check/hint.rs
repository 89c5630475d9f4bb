//! What to do about a name that a block does not have: it is misspelt, it stands in another block, or it is another
//! system's word.

use crate::schema::{self, Rule, Schema};
use crate::suggest::nearest;

/// Words of help, or none. The path is that of the block, as in `job/group.0/task.1`.
pub(crate) fn help(path: &str, kind: &str, name: &str, here: &'static Schema) -> String {
    if let Some(words) = foreign(kind, name) {
        return words;
    }
    if let Some(above) = ancestors(path).into_iter().rev().skip(1).find(|above| has(above.1, name))
    {
        return format!("`{name}` belongs into the `{}` around it", above.0);
    }
    if let Some(child) = here.blocks.iter().find(|rule| has(rule.schema(), name)) {
        return belongs(name, child.name);
    }
    if let Some(meant) = nearest(name, here.names()) {
        return format!("did you mean `{meant}`?");
    }
    let deeper = here.blocks.iter().flat_map(|rule| rule.schema().blocks);
    deeper
        .into_iter()
        .find(|rule| has(rule.schema(), name))
        .map_or_else(String::new, |rule| belongs(name, rule.name))
}

/// What to do about a name that stands beside the job although it belongs into it, or nothing.
pub(crate) fn at_the_top(name: &str) -> Option<String> {
    let job = schema::job();
    let groups = || job.block("group").map(Rule::schema);
    if name != "task" && has(job, name) {
        return Some(belongs(name, "job"));
    }
    let child = |of: &'static Schema| of.blocks.iter().find(|rule| has(rule.schema(), name));
    let group = groups().filter(|group| has(group, name)).map(|_| belongs(name, "group"));
    group.or_else(|| groups().and_then(child).map(|rule| belongs(name, rule.name)))
}

fn belongs(name: &str, block: &str) -> String {
    format!("`{name}` belongs into a `{block}` block")
}

fn has(schema: &Schema, name: &str) -> bool {
    !schema.open && (schema.attribute(name).is_some() || schema.block(name).is_some())
}

/// The blocks of a path, the outermost first.
fn ancestors(path: &str) -> Vec<(&str, &'static Schema)> {
    let mut schema: &'static Schema = &schema::ROOT;
    let mut found = Vec::new();
    for part in path.split('/') {
        let kind = part.split('.').next().unwrap_or(part);
        // A label in the path stands for no block.
        let Some(inner) = schema.block(kind).map(Rule::schema) else { continue };
        schema = inner;
        found.push((kind, inner));
    }
    found
}

/// Words of Docker, Compose and Kubernetes, and what is easily put beside its block.
fn foreign(kind: &str, name: &str) -> Option<String> {
    let words = match (kind, name) {
        (
            "task",
            "image" | "command" | "args" | "entrypoint" | "volumes" | "network_mode" | "privileged"
            | "cap_add" | "cap_drop" | "work_dir" | "mount" | "mounts" | "extra_hosts" | "jar_path",
        ) => return Some(format!("`{name}` is for the driver: it belongs into `config`")),
        ("task" | "group" | "job", "environment" | "envs" | "env_vars") => {
            "the environment is env { NAME = \"value\" } in the task"
        }
        ("job" | "group", "env") => "each task has an `env` of its own",
        ("job" | "group", "replicas" | "instances" | "scale" | "desired_count" | "desired") => {
            "how many there are is count = … in the group"
        }
        ("task", "replicas" | "instances" | "count") => {
            "tasks are not counted, groups are: count = … in the group"
        }
        ("job" | "group" | "task", "ports") => {
            "ports are port \"http\" { to = 80 } in the `network` of the group; a task's `config` names them"
        }
        ("job" | "group" | "task", "depends_on") => {
            "a task that comes first has lifecycle { hook = \"prestart\" }; jobs do not wait for others"
        }
        (
            "job" | "group" | "task",
            "healthcheck" | "livenessProbe" | "readinessProbe" | "liveness" | "readiness",
        ) => "health is a `check` in a `service`",
        ("job" | "group", "container" | "containers") => {
            "a container is a task: task \"name\" { driver = \"docker\" … }"
        }
        ("job" | "group" | "task", "labels" | "annotations") => {
            "free keys and values are meta { … }"
        }
        ("job" | "group" | "task", "restart_policy" | "restartPolicy") => {
            "it is restart { attempts = …, mode = \"fail\" }, on lines of their own"
        }
        ("task", "logging") => {
            "what the driver does with logs belongs into `config`; rotation is logs {}"
        }
        (
            "resources",
            "cpus" | "limits" | "requests" | "reservations" | "mem" | "ram" | "memory_mb",
        ) => "resources are cpu (in MHz) and memory (in megabytes)",
        ("check", "url" | "endpoint") => {
            "what is asked for is path = \"/health\", at the port of the service"
        }
        ("check", "http" | "tcp") => "the kind of check is type = \"http\" or \"tcp\"",
        _ => return None,
    };
    Some(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, name: &str) -> String {
        let (kind, schema) = *ancestors(path).last().expect("a block");
        help(path, kind, name, schema)
    }

    #[test]
    fn names_are_found_where_they_belong() {
        assert_eq!(of("job", "count"), "`count` belongs into a `group` block");
        assert_eq!(
            of("job/group.0/task.1", "network"),
            "`network` belongs into the `group` around it"
        );
        assert_eq!(of("job/group.0", "cuont"), "did you mean `count`?");
        assert_eq!(
            of("job/group.0/task.0", "image"),
            "`image` is for the driver: it belongs into `config`"
        );
        assert_eq!(of("job/group.0/volume/data", "sorce"), "did you mean `source`?");
        assert_eq!(of("job", "zzz"), "");
    }
}
