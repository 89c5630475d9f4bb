//! What a task and its services can refer to at run time: `NOMAD_*` and the node's attributes (nomad.md sections 1.3
//! and 5).

use std::collections::BTreeMap;

use crate::{Allocation, Group, Job, Node, Task, format_cpuset};

/// Where a task finds its directories. Inside a container these are fixed paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPaths {
    /// Shared by the group's tasks (`NOMAD_ALLOC_DIR`).
    pub alloc: String,
    /// The task's own (`NOMAD_TASK_DIR`).
    pub local: String,
    /// The task's secrets (`NOMAD_SECRETS_DIR`).
    pub secrets: String,
}

/// The `NOMAD_*` variables of a task, or of a group's service where `task` is `None`. A port inside a container is the
/// one it maps `to`; `mapped` says whether the task has a network of its own.
pub fn environment(
    alloc: &Allocation,
    job: &Job,
    group: &Group,
    task: Option<&Task>,
    node: &Node,
    paths: &TaskPaths,
    mapped: bool,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            env.insert(name.to_owned(), value.to_owned());
        }
    };
    let id = alloc.id.to_string();
    set("NOMAD_ALLOC_ID", &id);
    set("NOMAD_SHORT_ALLOC_ID", &alloc.id.short());
    set("NOMAD_ALLOC_NAME", &alloc.name());
    set("NOMAD_ALLOC_INDEX", &alloc.index.to_string());
    set("NOMAD_GROUP_NAME", &group.name);
    set("NOMAD_JOB_ID", job.id.as_str());
    set("NOMAD_JOB_NAME", &job.name);
    if let Some(parent) = job.id.parent() {
        set("NOMAD_JOB_PARENT_ID", parent.as_str());
    }
    set("NOMAD_DC", &node.datacenter);
    set("NOMAD_REGION", &job.region);
    set("NOMAD_NAMESPACE", &job.namespace);
    set("NOMAD_ALLOC_DIR", &paths.alloc);
    set("NOMAD_TASK_DIR", &paths.local);
    set("NOMAD_SECRETS_DIR", &paths.secrets);
    set("HERDER_COMMIT", alloc.origin.commit.as_str());
    if let Some(task) = task {
        set("NOMAD_TASK_NAME", &task.name);
        let cores = alloc.resources.tasks.get(&task.name).map_or(&[][..], |grant| &grant.cores);
        if cores.is_empty() {
            set("NOMAD_CPU_LIMIT", &task.resources.cpu.to_string());
        } else {
            let mhz = cores.len() as u64 * node.resources.core_mhz();
            set("NOMAD_CPU_LIMIT", &mhz.to_string());
            set("NOMAD_CPU_CORES", &format_cpuset(cores.iter().copied()));
        }
        set("NOMAD_MEMORY_LIMIT", &task.resources.memory_mb.to_string());
        if task.resources.memory_max_mb > 0 {
            set("NOMAD_MEMORY_MAX_LIMIT", &task.resources.memory_max_mb.to_string());
        }
    }
    for port in &alloc.resources.ports {
        let label = sanitised(&port.label);
        let host_ip = if port.host_ip.is_empty() { node.address.as_str() } else { &*port.host_ip };
        let inner = if mapped && port.to != 0 { port.to } else { port.value };
        let address = |port: u16| match host_ip.contains(':') {
            true => format!("[{host_ip}]:{port}"),
            false => format!("{host_ip}:{port}"),
        };
        for prefix in ["NOMAD", "NOMAD_ALLOC"] {
            set(&format!("{prefix}_IP_{label}"), host_ip);
            set(&format!("{prefix}_PORT_{label}"), &inner.to_string());
            set(&format!("{prefix}_ADDR_{label}"), &address(inner));
        }
        set(&format!("NOMAD_HOST_IP_{label}"), host_ip);
        set(&format!("NOMAD_HOST_PORT_{label}"), &port.value.to_string());
        set(&format!("NOMAD_HOST_ADDR_{label}"), &address(port.value));
        // Nomad publishes the host's address for `NOMAD_ADDR` even where the port is mapped.
        set(&format!("NOMAD_ADDR_{label}"), &address(port.value));
    }
    for (key, value) in combined_meta(job, group, task) {
        let key: String = key
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' })
            .collect();
        env.insert(format!("NOMAD_META_{}", key.to_uppercase()), value.to_owned());
        env.insert(format!("NOMAD_META_{key}"), value.to_owned());
    }
    env
}

/// Metadata of job, group and task; the deepest wins.
pub fn combined_meta<'a>(
    job: &'a Job,
    group: &'a Group,
    task: Option<&'a Task>,
) -> BTreeMap<&'a str, &'a str> {
    job.meta
        .iter()
        .chain(&group.meta)
        .chain(task.into_iter().flat_map(|task| &task.meta))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

/// Looks a runtime reference up: in the environment first, then among the node's attributes.
pub fn lookup(env: &BTreeMap<String, String>, node: &Node, reference: &str) -> Option<String> {
    env.get(reference)
        .cloned()
        .or_else(|| node.attribute(reference).map(std::borrow::Cow::into_owned))
}

fn sanitised(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AllocResources, PortAssignment};

    #[test]
    fn ports_and_meta_reach_the_task() {
        let alloc = Allocation {
            resources: AllocResources {
                ports: vec![PortAssignment {
                    label: "my-port".into(),
                    value: 20_001,
                    to: 80,
                    host_ip: "10.0.0.1".into(),
                    host_network: None,
                }],
                ..AllocResources::default()
            },
            ..Allocation::default()
        };
        let job = Job { meta: [("team".to_owned(), "a".to_owned())].into(), ..Job::default() };
        let group =
            Group { meta: [("team".to_owned(), "b".to_owned())].into(), ..Group::default() };
        let node = Node::default();
        let env = environment(&alloc, &job, &group, None, &node, &TaskPaths::default(), true);
        assert_eq!(env["NOMAD_PORT_my_port"], "80");
        assert_eq!(env["NOMAD_HOST_PORT_my_port"], "20001");
        assert_eq!(env["NOMAD_ADDR_my_port"], "10.0.0.1:20001");
        assert_eq!(env["NOMAD_META_TEAM"], "b");
        let env = environment(&alloc, &job, &group, None, &node, &TaskPaths::default(), false);
        assert_eq!(env["NOMAD_PORT_my_port"], "20001");
    }

    #[test]
    fn a_task_knows_its_cores() {
        let grant = crate::TaskGrant { cores: vec![4, 2, 3], ..crate::TaskGrant::default() };
        let resources =
            AllocResources { tasks: [("a".to_owned(), grant)].into(), ..AllocResources::default() };
        let alloc = Allocation { resources, ..Allocation::default() };
        let mut node = Node::default();
        node.resources.cpu = 16_000;
        node.resources.cores = (0..8).collect();
        let env = |name: &str| {
            let task = Task { name: name.into(), ..Task::default() };
            let (job, group, paths) = (Job::default(), Group::default(), TaskPaths::default());
            environment(&alloc, &job, &group, Some(&task), &node, &paths, false)
        };
        let own = env("a");
        assert_eq!(own["NOMAD_CPU_CORES"], "2-4");
        assert_eq!(own["NOMAD_CPU_LIMIT"], "6000");
        let other = env("b");
        assert_eq!(other["NOMAD_CPU_LIMIT"], "100");
        assert!(!other.contains_key("NOMAD_CPU_CORES"));
    }
}
