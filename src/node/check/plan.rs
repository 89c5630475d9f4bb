//! Which checks an allocation has and where each looks, with every reference resolved.

use std::collections::BTreeMap;

use model::{
    Allocation, Check, CheckType, Group, Instance, Job, Node, Service, interpolate, lookup,
};

/// Which tasks a check depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// This one.
    Task(String),
    /// All main tasks.
    MainTasks,
}

/// Where and how to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// A request that must be answered with 2xx.
    Http {
        /// Host and port to connect to.
        authority: String,
        /// Method.
        method: String,
        /// Path and query.
        path: String,
        /// Headers.
        headers: Vec<(String, String)>,
        /// Body.
        body: String,
    },
    /// A connection that must open.
    Tcp {
        /// Host and port.
        authority: String,
    },
    /// A command in a task.
    Script {
        /// The task.
        task: String,
        /// Command.
        command: String,
        /// Arguments.
        args: Vec<String>,
    },
    /// Nothing that can be run; says why.
    Impossible(String),
}

/// A check, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedCheck {
    /// The service, after interpolation.
    pub service: String,
    /// The check's name.
    pub name: String,
    /// Interval, thresholds and restarts.
    pub check: Check,
    /// What it depends on.
    pub follows: Follows,
    /// Where it looks.
    pub probe: Probe,
}

/// All checks of an allocation by [`Instance::check_key`]. `env` gives the environment that a task's references (or the
/// group's, for `None`) are resolved with.
pub(crate) fn plan(
    alloc: &Allocation,
    job: &Job,
    group: &Group,
    node: &Node,
    env: impl Fn(Option<&model::Task>) -> BTreeMap<String, String>,
) -> BTreeMap<String, PlannedCheck> {
    let mut planned = BTreeMap::new();
    for (service_place, (owner, service)) in group.all_services().enumerate() {
        if service.checks.is_empty() {
            continue;
        }
        let env = env(owner);
        let resolve = |text: &str| interpolate(text, |reference| lookup(&env, node, reference));
        let base = owner.map_or_else(|| group.name.clone(), |task| task.name.clone());
        let service_name = resolve(&service.name)
            .replace("${JOB}", &job.name)
            .replace("${TASKGROUP}", &group.name)
            .replace("${BASE}", &format!("{}-{}-{base}", job.name, group.name))
            .replace("${TASK}", &base);
        for (check_place, check) in service.checks.iter().enumerate() {
            let name = match resolve(&check.name) {
                name if name.is_empty() => format!("service: \"{service_name}\" check"),
                name => name,
            };
            let task = [check.task_name.as_str(), service.task_name.as_str()]
                .into_iter()
                .find(|name| !name.is_empty())
                .or_else(|| owner.map(|task| task.name.as_str()));
            let follows = task.map_or(Follows::MainTasks, |task| Follows::Task(task.to_owned()));
            let probe = probe(alloc, group, node, service, check, task, &resolve)
                .unwrap_or_else(Probe::Impossible);
            planned.insert(
                Instance::check_key((service_place, check_place)),
                PlannedCheck {
                    service: service_name.clone(),
                    name,
                    check: check.clone(),
                    follows,
                    probe,
                },
            );
        }
    }
    planned
}

fn probe(
    alloc: &Allocation,
    group: &Group,
    node: &Node,
    service: &Service,
    check: &Check,
    task: Option<&str>,
    resolve: &impl Fn(&str) -> String,
) -> Result<Probe, String> {
    let authority = || {
        let label = [&check.port_label, &service.port_label]
            .into_iter()
            .map(|label| resolve(label))
            .find(|label| !label.is_empty())
            .ok_or("the check has no port; give it or its service `port`")?;
        authority(alloc, node, &label)
    };
    Ok(match check.kind {
        CheckType::Http if check.protocol.eq_ignore_ascii_case("https") => {
            return Err("https checks are not supported yet; use `protocol = \"http\"`, \
                        `type = \"tcp\"` or a script"
                .into());
        }
        CheckType::Http => {
            let path = resolve(&check.path);
            let path = if path.starts_with('/') { path } else { format!("/{path}") };
            let headers = check.header.iter().flat_map(|(name, values)| {
                values.iter().map(|value| (resolve(name), resolve(value)))
            });
            Probe::Http {
                authority: authority()?,
                method: match resolve(&check.method) {
                    method if method.is_empty() => "GET".to_owned(),
                    method => method.to_ascii_uppercase(),
                },
                path,
                headers: headers.collect(),
                body: resolve(&check.body),
            }
        }
        CheckType::Tcp => Probe::Tcp { authority: authority()? },
        CheckType::Script => Probe::Script {
            // A group with one task leaves no doubt which is meant.
            task: match (task, group.tasks.as_slice()) {
                (Some(task), _) => task.to_owned(),
                (None, [only]) => only.name.clone(),
                (None, _) => return Err("a script check of a group's service needs `task`".into()),
            },
            command: resolve(&check.command),
            args: check.args.iter().map(|arg| resolve(arg)).collect(),
        },
        CheckType::Grpc => {
            return Err(
                "grpc checks are not supported yet; use `type = \"tcp\"` or a script".into()
            );
        }
    })
}

/// A port label is the host's port; a number is looked for on the node itself.
fn authority(alloc: &Allocation, node: &Node, label: &str) -> Result<String, String> {
    let (host, port) = match alloc.port(label) {
        Some(port) => (&*port.host_ip, port.value),
        None => match label.parse::<u16>() {
            Ok(port) if port > 0 => ("", port),
            _ => return Err(format!("the allocation has no port with the label `{label}`")),
        },
    };
    let own = if node.address.is_empty() { "127.0.0.1" } else { node.address.as_str() };
    let host = if matches!(host, "" | "0.0.0.0" | "::") { own } else { host };
    Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use model::{AllocResources, PortAssignment, Task};

    use super::*;

    fn planned(service: Service) -> PlannedCheck {
        let alloc = Allocation {
            resources: AllocResources {
                ports: vec![PortAssignment {
                    label: "http".into(),
                    value: 20_001,
                    to: 80,
                    host_ip: "10.0.0.7".into(),
                    host_network: None,
                }],
                ..AllocResources::default()
            },
            ..Allocation::default()
        };
        let job = Job { name: "shop".into(), ..Job::default() };
        let task = Task { name: "web".into(), services: vec![service], ..Task::default() };
        let group = Group { name: "g".into(), tasks: vec![task], ..Group::default() };
        let node = Node { address: "10.0.0.9".into(), ..Node::default() };
        let env = [("NOMAD_ALLOC_INDEX".to_owned(), "3".to_owned())].into();
        let mut all = plan(&alloc, &job, &group, &node, |_| BTreeMap::clone(&env));
        all.remove("0.0").expect("one check")
    }

    fn service(check: Check) -> Service {
        Service {
            name: "${JOB}-x".into(),
            port_label: "http".into(),
            checks: vec![check],
            ..Service::default()
        }
    }

    #[test]
    fn http_looks_at_the_hosts_port_with_references_resolved() {
        let check = Check {
            path: "health?i=${NOMAD_ALLOC_INDEX}".into(),
            header: [("X-Index".to_owned(), vec!["${NOMAD_ALLOC_INDEX}".to_owned()])].into(),
            ..Check::default()
        };
        let planned = planned(service(check));
        assert_eq!(planned.service, "shop-x");
        assert_eq!(planned.name, "service: \"shop-x\" check");
        assert_eq!(planned.follows, Follows::Task("web".into()));
        assert_eq!(
            planned.probe,
            Probe::Http {
                authority: "10.0.0.7:20001".into(),
                method: "GET".into(),
                path: "/health?i=3".into(),
                headers: vec![("X-Index".into(), "3".into())],
                body: String::new(),
            }
        );
    }

    #[test]
    fn a_number_is_a_port_of_the_node() {
        let check = Check { kind: CheckType::Tcp, port_label: "9000".into(), ..Check::default() };
        assert_eq!(planned(service(check)).probe, Probe::Tcp { authority: "10.0.0.9:9000".into() });
    }

    #[test]
    fn what_cannot_be_run_says_why() {
        let https = Check { protocol: "https".into(), ..Check::default() };
        let unknown = Check { port_label: "nope".into(), ..Check::default() };
        for (check, words) in [(https, "not supported yet"), (unknown, "no port with the label")] {
            let Probe::Impossible(why) = planned(service(check)).probe else { panic!("possible") };
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn a_script_runs_in_the_services_task() {
        let check = Check {
            kind: CheckType::Script,
            command: "/bin/ok".into(),
            args: vec!["${NOMAD_ALLOC_INDEX}".into()],
            ..Check::default()
        };
        assert_eq!(
            planned(service(check)).probe,
            Probe::Script { task: "web".into(), command: "/bin/ok".into(), args: vec!["3".into()] }
        );
    }
}
