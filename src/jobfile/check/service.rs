//! Services and checks.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use model::{Check, CheckType, Group, OnUpdate, Service, format_duration};

use super::Rules;
use crate::suggest::did_you_mean;

/// The shortest time between two runs of a check. Nomad's is a second.
const MIN_CHECK_TIME: Duration = Duration::from_millis(100);

pub(super) fn check(rules: &Rules<'_>, at: usize, group: &Group, ports: &BTreeSet<&str>) {
    let mut seen = HashSet::new();
    let group_path = rules.places.group(at);
    let of_group = group.services.iter().enumerate().map(|(n, service)| (group_path, n, service));
    let of_tasks = group.tasks.iter().enumerate().flat_map(|(task, of)| {
        let path = rules.places.task(at, task);
        of.services.iter().enumerate().map(move |(n, service)| (path, n, service))
    });
    for (parent, n, service) in of_group.chain(of_tasks) {
        let path = format!("{parent}/service.{n}");
        one(rules, &path, group, service, ports);
        let place = if parent == group_path { "group" } else { service.task_name.as_str() };
        if !seen.insert((service.name.as_str(), place, service.port_label.as_str())) {
            let message = format!(
                "the service `{}` with the port `{}` is here twice",
                service.name, service.port_label
            );
            rules.error("duplicate-service", &path, message, "give it another name or port");
        }
    }
}

fn one(rules: &Rules<'_>, path: &str, group: &Group, service: &Service, ports: &BTreeSet<&str>) {
    if !is_service_name(&service.name) {
        let message = format!("`{}` cannot be a service's name", service.name);
        let help = "a name has 1 to 63 letters, digits and dashes, and no dash at its ends";
        rules.error("invalid-name", &format!("{path}/name"), message, help);
    }
    port(rules, &format!("{path}/port"), &service.port_label, group, ports);
    if !service.address.is_empty() && service.address_mode != "auto" {
        let message = "`address` and `address_mode` exclude each other";
        rules.error("invalid-value", &format!("{path}/address"), message, "");
    }
    task_exists(rules, &format!("{path}/task"), &service.task_name, group);
    for (n, check) in service.checks.iter().enumerate() {
        check_one(rules, &format!("{path}/check.{n}"), group, service, check, ports);
    }
}

fn check_one(
    rules: &Rules<'_>,
    path: &str,
    group: &Group,
    service: &Service,
    check: &Check,
    ports: &BTreeSet<&str>,
) {
    for (name, time) in [("interval", check.interval), ("timeout", check.timeout)] {
        if time < MIN_CHECK_TIME {
            let message =
                format!("`{name}` must be at least 100ms, this is {}", format_duration(time));
            rules.error("out-of-range", &format!("{path}/{name}"), message, "");
        }
    }
    let own_port = format!("{path}/port");
    match check.kind {
        CheckType::Http | CheckType::Tcp | CheckType::Grpc => {
            if check.port_label.is_empty() && service.port_label.is_empty() {
                let message = format!("a check of type {} needs a port", check.kind.as_str());
                let help = "set `port` here or in the service";
                rules.error("missing-attribute", path, message, help);
            } else if !check.port_label.is_empty() && check.port_label != service.port_label {
                port(rules, &own_port, &check.port_label, group, ports);
            }
            if check.kind == CheckType::Http && check.path.is_empty() {
                let help = "for example path = \"/health\"";
                rules.error("missing-attribute", path, "a check of type http needs `path`", help);
            }
            if check.kind == CheckType::Http && check.path.contains("://") {
                let message = "`path` is the part behind the host and port";
                rules.error(
                    "invalid-value",
                    &format!("{path}/path"),
                    message,
                    "for example \"/health\"",
                );
            }
        }
        CheckType::Script => {
            if check.command.is_empty() {
                let help = "the command runs inside the task";
                rules.error(
                    "missing-attribute",
                    path,
                    "a check of type script needs `command`",
                    help,
                );
            }
            if check.task_name.is_empty() && group.tasks.len() > 1 {
                let help = "say in which task the command runs";
                rules.error("missing-attribute", path, "a check of type script needs `task`", help);
            }
        }
    }
    task_exists(rules, &format!("{path}/task"), &check.task_name, group);
    if check.on_update == OnUpdate::Ignore && check.check_restart.is_some() {
        let message = "a check with `on_update = \"ignore\"` cannot restart its task";
        rules.error("invalid-value", path, message, "delete `check_restart` or `on_update`");
    }
}

fn port(rules: &Rules<'_>, path: &str, label: &str, group: &Group, ports: &BTreeSet<&str>) {
    let is_number = label.parse::<u16>().is_ok();
    if label.is_empty() || is_number || label.contains("${") || ports.contains(label) {
        return;
    }
    let help = did_you_mean(label, ports.iter().copied()).unwrap_or_else(|| {
        if group.networks.is_empty() {
            format!("the group has no network: add network {{ port \"{label}\" {{}} }}")
        } else {
            format!("add port \"{label}\" {{}} to the group's network")
        }
    });
    rules.error("unknown-port", path, format!("the group has no port `{label}`"), &help);
}

fn task_exists(rules: &Rules<'_>, path: &str, name: &str, group: &Group) {
    if name.is_empty() || group.task(name).is_some() {
        return;
    }
    let known = group.tasks.iter().map(|task| task.name.as_str());
    let help = did_you_mean(name, known).unwrap_or_default();
    rules.error("unknown-task", path, format!("the group has no task `{name}`"), &help);
}

/// A DNS label, or text that only the node can fill in.
fn is_service_name(name: &str) -> bool {
    if name.contains("${") {
        return true;
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
