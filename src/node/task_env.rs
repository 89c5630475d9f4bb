//! Makes a task ready for its driver: environment, and every reference in its settings resolved.

use std::collections::BTreeMap;

use driver::{Driver, Hardware, Progress, TaskDirs, TaskSpec};
use model::{
    Allocation, Dns, Group, Job, LogConfig, Node, Task, TaskPaths, environment, interpolate, lookup,
};
use serde_json::Value;

use crate::hardware;
use crate::prepare::Prepared;

/// The deepest nesting of settings that is resolved; what is deeper stays as it is.
const MAX_DEPTH: u32 = 64;

/// The environment that a group's services are resolved with, or a task's when given with where it finds its
/// directories.
pub(crate) fn env_of(
    alloc: &Allocation,
    job: &Job,
    group: &Group,
    task: Option<(&Task, &TaskPaths)>,
    node: &Node,
) -> BTreeMap<String, String> {
    let Some((task, paths)) = task else {
        return environment(alloc, job, group, None, node, &TaskPaths::default(), false);
    };
    let mapped = has_own_network(group, task);
    let mut env = environment(alloc, job, group, Some(task), node, paths, mapped);
    env.extend(hardware::variables(alloc, task, node));
    let own: Vec<_> = task
        .env
        .iter()
        .map(|(key, value)| {
            (key.clone(), interpolate(value, |reference| lookup(&env, node, reference)))
        })
        .collect();
    env.extend(own);
    env
}

/// Whether the task sees its mapped ports and not the host's.
fn has_own_network(group: &Group, task: &Task) -> bool {
    // Runs in the node's network, whatever its group has.
    if task.driver == "raw_exec" {
        return false;
    }
    if group.network().is_some_and(|network| network.is_apart()) {
        return true;
    }
    let on_host = task.config.get("network_mode").and_then(Value::as_str) == Some("host");
    !matches!(task.driver.as_str(), "exec" | "java") && !on_host
}

/// What the driver needs to start a task: `env` is the task's environment, and what was prepared goes over it.
#[expect(clippy::too_many_arguments, reason = "each is a part of what a task is made of")]
pub(crate) fn task_spec(
    alloc: &Allocation,
    job: &Job,
    group: &Group,
    task: &Task,
    node: &Node,
    mut env: BTreeMap<String, String>,
    prepared: Prepared,
    dirs: TaskDirs,
) -> TaskSpec {
    env.extend(prepared.env);
    let resolve = |text: &str| interpolate(text, |reference| lookup(&env, node, reference));
    let driver_config = task
        .config
        .iter()
        .map(|(key, value)| (key.clone(), resolved(value, &resolve, MAX_DEPTH)))
        .collect();
    TaskSpec {
        alloc: alloc.id,
        job: job.id.clone(),
        group: group.name.clone(),
        task: task.name.clone(),
        driver_config,
        user: resolve(&task.user),
        dirs,
        resources: task.resources.clone(),
        hardware: Hardware::default(),
        ports: alloc.resources.ports.clone(),
        kill_signal: task.kill_signal.clone(),
        log: LogConfig::clone(&task.log_config),
        labels: BTreeMap::new(),
        volumes: prepared.volumes,
        dns: group
            .network()
            .and_then(|network| network.dns.clone())
            .map(|dns| resolved_dns(&dns, &resolve)),
        network: prepared.network,
        progress: Progress::default(),
        env,
    }
}

/// Where the task itself finds its directories.
pub(crate) fn task_paths(driver: &dyn Driver, dirs: &TaskDirs) -> TaskPaths {
    let [alloc, local, secrets] =
        driver.paths_in_task(dirs).map(|path| path.to_string_lossy().into_owned());
    TaskPaths { alloc, local, secrets }
}

/// Name resolution with every reference resolved.
pub(crate) fn resolved_dns(dns: &Dns, resolve: &impl Fn(&str) -> String) -> Dns {
    let all = |texts: &[String]| texts.iter().map(|text| resolve(text)).collect();
    Dns { servers: all(&dns.servers), searches: all(&dns.searches), options: all(&dns.options) }
}

fn resolved(value: &Value, resolve: &impl Fn(&str) -> String, depth: u32) -> Value {
    match value {
        Value::String(text) => Value::String(resolve(text)),
        Value::Array(items) if depth > 0 => {
            items.iter().map(|item| resolved(item, resolve, depth - 1)).collect()
        }
        Value::Object(fields) if depth > 0 => fields
            .iter()
            .map(|(key, value)| (resolve(key), resolved(value, resolve, depth - 1)))
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use model::{AllocResources, PortAssignment};
    use serde_json::json;

    use super::*;
    use crate::fake::FakeDriver;

    #[test]
    fn settings_are_resolved_at_any_depth() {
        let alloc = Allocation {
            resources: AllocResources {
                ports: vec![PortAssignment {
                    label: "http".into(),
                    value: 20_001,
                    to: 80,
                    ..PortAssignment::default()
                }],
                ..AllocResources::default()
            },
            ..Allocation::default()
        };
        let task = Task {
            name: "web".into(),
            driver: "raw_exec".into(),
            env: [("LISTEN".to_owned(), "0.0.0.0:${NOMAD_PORT_http}".to_owned())].into(),
            config: [(
                "args".to_owned(),
                json!(["${LISTEN}", {"rack": "${meta.rack}"}, 3, "${unknown}"]),
            )]
            .into(),
            ..Task::default()
        };
        let node = Node { meta: [("rack".to_owned(), "r1".to_owned())].into(), ..Node::default() };
        let group = Group { tasks: vec![task.clone()], ..Group::default() };
        let driver = FakeDriver::default();
        let dirs = TaskDirs { secrets: "/s".into(), ..TaskDirs::default() };
        let job = Job::default();
        let paths = task_paths(&driver, &dirs);
        let env = env_of(&alloc, &job, &group, Some((&task, &paths)), &node);
        let prepared = Prepared::default();
        let spec = task_spec(&alloc, &job, &group, &task, &node, env, prepared, dirs);
        assert_eq!(
            spec.driver_config["args"],
            json!(["0.0.0.0:20001", {"rack": "r1"}, 3, "${unknown}"])
        );
        assert_eq!(spec.env["NOMAD_SECRETS_DIR"], "/s");
        assert_eq!(spec.env["NOMAD_TASK_NAME"], "web");
    }

    #[test]
    fn containers_see_their_own_ports() {
        let group = Group::default();
        let mut task = Task { driver: "docker".into(), ..Task::default() };
        assert!(has_own_network(&group, &task));
        task.config.insert("network_mode".into(), json!("host"));
        assert!(!has_own_network(&group, &task));
        task.driver = "raw_exec".into();
        assert!(!has_own_network(&group, &task));
        let networks = vec![model::Network { mode: "bridge".into(), ..model::Network::default() }];
        let apart = Group { networks, ..Group::default() };
        assert!(!has_own_network(&apart, &task), "raw_exec is never in it");
        task.driver = "exec".into();
        assert!(has_own_network(&apart, &task) && !has_own_network(&group, &task));
    }
}
