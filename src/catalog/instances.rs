//! What one allocation publishes.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    Allocation, CheckStatus, ClientStatus, DesiredStatus, Group, Instance, InstanceCheck,
    JobVersion, Node, NodeStatus, Service, Task, TaskPaths, TaskRunState,
};

/// ID of the check that every node has: whether it answers.
pub const NODE_CHECK: &str = "serfHealth";

/// The instances that `alloc`, running `version` on `node`, has in the catalog, in the order of
/// [`Group::all_services`]. Empty as soon as the allocation is to stop.
///
/// A node that does not answer makes its instances critical by [`node_check`]; they stay until their allocations are
/// stopped or lost, because silence does not prove that they are gone.
pub fn instances(alloc: &Allocation, version: &JobVersion, node: &Node) -> Vec<Instance> {
    let up = alloc.desired == DesiredStatus::Run
        && matches!(alloc.client, ClientStatus::Running | ClientStatus::Unknown);
    let Some(group) = version.job.group(&alloc.group).filter(|_| up) else { return Vec::new() };
    group
        .all_services()
        .enumerate()
        .filter(|(_, (task, _))| is_up(alloc, group, *task))
        .filter_map(|(place, (task, service))| {
            publish(&Context { alloc, version, group, node, task }, place, service)
        })
        .collect()
}

/// What the check of a node itself says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeCheck {
    /// Its name, as clients know it.
    pub name: &'static str,
    /// Critical when the node does not answer.
    pub status: CheckStatus,
    /// The same in words.
    pub output: &'static str,
}

/// The check of a node in this status.
pub const fn node_check(status: NodeStatus) -> NodeCheck {
    let (status, output) = match status {
        NodeStatus::Initializing | NodeStatus::Ready => {
            (CheckStatus::Passing, "Agent alive and reachable")
        }
        NodeStatus::Down | NodeStatus::Disconnected => {
            (CheckStatus::Critical, "Agent not live or unreachable")
        }
    };
    NodeCheck { name: "Serf Health Status", status, output }
}

fn is_up(alloc: &Allocation, group: &Group, task: Option<&Task>) -> bool {
    let runs = |task: &Task| {
        alloc.tasks.get(&task.name).is_some_and(|state| state.state == TaskRunState::Running)
    };
    match task {
        Some(task) => runs(task),
        None => group.tasks.iter().filter(|task| task.is_main()).all(runs),
    }
}

struct Context<'a> {
    alloc: &'a Allocation,
    version: &'a JobVersion,
    group: &'a Group,
    node: &'a Node,
    task: Option<&'a Task>,
}

fn publish(context: &Context<'_>, place: usize, service: &Service) -> Option<Instance> {
    let Context { alloc, version, group, node, task } = *context;
    // Most services refer to nothing, so the environment is made only when one does. Other machines connect to the
    // host's ports, so that is what the ports are here, whatever network the tasks have.
    let env = LazyCell::new(|| {
        let paths = TaskPaths::default();
        model::environment(alloc, &version.job, group, task, node, &paths, false)
    });
    let fill = |text: &str| match text.contains("${") {
        true => model::interpolate(text, |reference| model::lookup(&env, node, reference)),
        false => text.to_owned(),
    };
    let name = fill(&service.name);
    if name.is_empty() {
        return None;
    }
    let port_label = fill(&service.port_label);
    let (port, address) = locate(alloc, node, &port_label, fill(&service.address));
    let owner = task.map_or_else(|| format!("group-{}", group.name), |task| task.name.clone());
    let tags = match alloc.canary && !service.canary_tags.is_empty() {
        true => &service.canary_tags,
        false => &service.tags,
    };
    let checks = service.checks.iter().enumerate().map(|(index, check)| {
        let seen = alloc.checks.get(&Instance::check_key((place, index)));
        InstanceCheck {
            id: format!("_nomad-check-{}-{place}.{index}", alloc.id),
            name: match check.name.is_empty() {
                true => format!("service: \"{name}\" check"),
                false => fill(&check.name),
            },
            kind: check.kind.as_str(),
            status: seen.map_or_else(|| initial(&check.initial_status), |state| state.status),
            output: seen.map(|state| state.output.clone()).unwrap_or_default(),
        }
    });
    let of_node = node_check(node.status);
    let silent = (of_node.status != CheckStatus::Passing).then(|| InstanceCheck {
        id: NODE_CHECK.to_owned(),
        name: of_node.name.to_owned(),
        kind: "",
        status: of_node.status,
        output: of_node.output.to_owned(),
    });
    Some(Instance {
        id: format!("_nomad-task-{}-{owner}-{name}-{port_label}", alloc.id),
        alloc: alloc.id,
        job: alloc.job.clone(),
        node: node.id,
        node_name: Arc::from(node.name.as_str()),
        datacenter: node.datacenter.clone(),
        node_address: node.address.clone(),
        address,
        port,
        tags: tags.iter().map(|tag| fill(tag)).collect(),
        meta: service
            .meta
            .iter()
            .map(|(key, value)| (key.clone(), fill(value)))
            .collect::<BTreeMap<_, _>>(),
        checks: silent.into_iter().chain(checks).collect(),
        service: name,
        create_index: alloc.modify_index,
        modify_index: alloc.modify_index,
    })
}

/// Port and address: the service's own address, else the port's, else the node's.
fn locate(alloc: &Allocation, node: &Node, label: &str, own: String) -> (u16, String) {
    let assigned = alloc.port(label);
    let port = assigned.map_or_else(|| label.parse().unwrap_or(0), |port| port.value);
    if !own.is_empty() {
        return (port, own);
    }
    // A port that listens everywhere is reached through the node's address.
    let bound =
        assigned.map(|port| &*port.host_ip).filter(|ip| !matches!(*ip, "" | "0.0.0.0" | "::"));
    (port, bound.unwrap_or(&node.address).to_owned())
}

fn initial(status: &str) -> CheckStatus {
    match status {
        "passing" => CheckStatus::Passing,
        "warning" => CheckStatus::Warning,
        _ => CheckStatus::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use model::{Check, CheckState, Lifecycle, LifecycleHook, PortAssignment, TaskState};

    fn one(alloc: &Allocation, service: Service) -> Instance {
        let version = sample::version_with(vec![service]);
        let mut all = instances(alloc, &version, &sample::node(1));
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn only_what_runs_is_published() {
        let version = sample::version("web");
        let node = sample::node(1);
        let running = sample::alloc(1, 1);
        assert_eq!(instances(&running, &version, &node).len(), 1);

        let stopping = Allocation { desired: DesiredStatus::Stop, ..running.clone() };
        assert!(instances(&stopping, &version, &node).is_empty());
        for client in [
            ClientStatus::Pending,
            ClientStatus::Complete,
            ClientStatus::Failed,
            ClientStatus::Lost,
        ] {
            let alloc = Allocation { client, ..running.clone() };
            assert!(instances(&alloc, &version, &node).is_empty(), "{client:?}");
        }
        let mut restarting = running;
        restarting.tasks.insert("main".into(), TaskState::default());
        assert!(instances(&restarting, &version, &node).is_empty());
    }

    #[test]
    fn a_task_service_needs_its_own_task_alone() {
        let mut version = sample::version("web");
        let job = Arc::make_mut(&mut version.job);
        let group = &mut job.task_groups[0];
        group.tasks.push(Task {
            name: "side".into(),
            services: vec![Service { name: "metrics".into(), ..Service::default() }],
            lifecycle: Some(Lifecycle { hook: LifecycleHook::Prestart, sidecar: true }),
            ..Task::default()
        });
        let mut alloc = sample::alloc(1, 1);
        let names = |alloc: &Allocation| -> Vec<String> {
            instances(alloc, &version, &sample::node(1)).into_iter().map(|i| i.service).collect()
        };
        assert_eq!(names(&alloc), ["web"]);
        alloc.tasks.insert(
            "side".into(),
            TaskState { state: TaskRunState::Running, ..TaskState::default() },
        );
        assert_eq!(names(&alloc), ["web", "metrics"]);
        alloc.tasks.remove("main");
        assert_eq!(names(&alloc), ["metrics"]);
    }

    #[test]
    fn texts_are_interpolated() {
        let found = one(
            &sample::alloc(1, 1),
            Service {
                name: "${NOMAD_JOB_ID}-api".into(),
                port_label: "http".into(),
                tags: vec!["on-${node.unique.name}".into(), "${unknown.thing}".into()],
                meta: [("at".to_owned(), "${NOMAD_ADDR_http}".to_owned())].into(),
                ..Service::default()
            },
        );
        assert_eq!(found.service, "job-api");
        assert_eq!(found.tags, ["on-n1", "${unknown.thing}"]);
        assert_eq!(found.meta["at"], "10.0.0.1:20001");
        assert_eq!(found.id, format!("_nomad-task-{}-group-app-job-api-http", sample::alloc_id(1)));
    }

    #[test]
    fn canaries_carry_their_own_tags() {
        let service = Service {
            name: "web".into(),
            tags: vec!["live".into()],
            canary_tags: vec!["canary".into()],
            ..Service::default()
        };
        let alloc = sample::alloc(1, 1);
        assert_eq!(one(&alloc, service.clone()).tags, ["live"]);
        let canary = Allocation { canary: true, ..alloc };
        assert_eq!(one(&canary, service.clone()).tags, ["canary"]);
        assert_eq!(one(&canary, Service { canary_tags: Vec::new(), ..service }).tags, ["live"]);
    }

    #[test]
    fn addresses_and_ports() {
        let place = |alloc: &Allocation, label: &str, address: &str| {
            let found = one(
                alloc,
                Service {
                    name: "web".into(),
                    port_label: label.into(),
                    address: address.into(),
                    ..Service::default()
                },
            );
            (found.address, found.port)
        };
        let mut alloc = sample::alloc(1, 1);
        assert_eq!(place(&alloc, "http", ""), ("10.0.0.1".into(), 20_001));
        assert_eq!(place(&alloc, "8080", ""), ("10.0.0.1".into(), 8080));
        assert_eq!(place(&alloc, "", ""), ("10.0.0.1".into(), 0));
        assert_eq!(place(&alloc, "http", "vip.example"), ("vip.example".into(), 20_001));
        for (host_ip, wanted) in [("192.168.7.7", "192.168.7.7"), ("0.0.0.0", "10.0.0.1")] {
            alloc.resources.ports = vec![PortAssignment {
                label: "http".into(),
                value: 1,
                to: 1,
                host_ip: host_ip.into(),
                host_network: None,
            }];
            assert_eq!(place(&alloc, "http", "").0, wanted);
        }
    }

    #[test]
    fn checks_start_as_they_are_told_and_then_follow_the_node() {
        let service = Service {
            name: "web".into(),
            checks: vec![
                Check::default(),
                Check { initial_status: "passing".into(), name: "up".into(), ..Check::default() },
            ],
            ..Service::default()
        };
        let mut alloc = sample::alloc(1, 1);
        let found = one(&alloc, service.clone());
        assert_eq!(found.checks[0].status, CheckStatus::Critical);
        assert_eq!(found.checks[0].name, "service: \"web\" check");
        assert_eq!(found.checks[1].status, CheckStatus::Passing);
        assert_ne!(found.checks[0].id, found.checks[1].id);

        let state = CheckState { status: CheckStatus::Warning, ..CheckState::default() };
        alloc.checks.insert("0.0".into(), state);
        let found = one(&alloc, service);
        assert_eq!(found.checks[0].status, CheckStatus::Warning);
        assert_eq!(found.status(), CheckStatus::Warning);
    }

    #[test]
    fn a_silent_node_makes_its_instances_critical_and_keeps_them() {
        let version = sample::version("web");
        for status in [NodeStatus::Down, NodeStatus::Disconnected] {
            let node = Node { status, ..sample::node(1) };
            for client in [ClientStatus::Running, ClientStatus::Unknown] {
                let alloc = Allocation { client, ..sample::alloc(1, 1) };
                let found = instances(&alloc, &version, &node);
                assert_eq!(found.len(), 1);
                assert_eq!(found[0].status(), CheckStatus::Critical);
                assert_eq!(found[0].checks[0].id, NODE_CHECK);
            }
        }
    }
}
