//! Services. Their checks are in `health`, their mesh in `connect`.

use std::collections::HashMap;

use model::{Group, OnUpdate, Service};

use super::{Rules, connect, health, network};
use crate::suggest::did_you_mean;

/// A service and what is around it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) group: &'a Group,
    /// The task that it stands in; none for a service of the group.
    pub(super) task: Option<&'a str>,
    pub(super) path: &'a str,
}

pub(super) fn check(rules: &Rules<'_>, at: usize, group: &Group) {
    let mut seen: HashMap<(&str, &str, &str), String> = HashMap::new();
    let mut provider: Option<(&str, String)> = None;
    let group_path = rules.places.group(at);
    let of_group =
        group.services.iter().enumerate().map(|(n, service)| (None, group_path, n, service));
    let of_tasks = group.tasks.iter().enumerate().flat_map(|(t, task)| {
        let path = rules.places.task(at, t);
        let services = task.services.iter().enumerate();
        services.map(move |(n, service)| (Some(task.name.as_str()), path, n, service))
    });
    for (task, parent, n, service) in of_group.chain(of_tasks) {
        let path = format!("{parent}/service.{n}");
        one(rules, Place { group, task, path: &path }, service);
        let owner =
            task.unwrap_or(if service.task_name.is_empty() { "group" } else { &service.task_name });
        let key = (service.name.as_str(), owner, service.port_label.as_str());
        if let Some(first) = seen.insert(key, path.clone()) {
            let port = match service.port_label.as_str() {
                "" => "without a port".to_owned(),
                port => format!("with the port `{port}`"),
            };
            let message = format!("the service `{}` {port} is here twice", service.name);
            let first = (first, "the first is here");
            rules.error_also(
                "duplicate-service",
                &path,
                message,
                "give it another name or port",
                first,
            );
        }
        match &provider {
            None => provider = Some((&service.provider, path)),
            Some((first, first_path)) if *first != service.provider => {
                let message = format!(
                    "the services of a group have one provider, here are `{first}` and `{}`",
                    service.provider
                );
                let help =
                    "both mean the built-in catalog here; Nomad wants the same one in all of them";
                let first = (first_path.clone(), "the other one");
                rules.error_also(
                    "invalid-service",
                    &format!("{path}/provider"),
                    message,
                    help,
                    first,
                );
            }
            Some(_) => {}
        }
    }
}

fn one(rules: &Rules<'_>, place: Place<'_>, service: &Service) {
    let Place { group, task, path } = place;
    let own = |name: &str| format!("{path}/{name}");
    if !is_service_name(&service.name) {
        let message = format!("`{}` cannot be a service's name", service.name);
        let dashed = service.name.replace('_', "-");
        let help = if dashed != service.name && is_service_name(&dashed) {
            format!("names in DNS have no `_`: name = \"{dashed}\"")
        } else {
            "a name has 1 to 63 letters, digits and dashes, and no dash at its ends".to_owned()
        };
        rules.error("invalid-name", &own("name"), message, &help);
    }
    port(rules, &own("port"), &service.port_label, group);
    if !service.address.is_empty() && service.address_mode != "auto" {
        let message = "`address` and `address_mode` exclude each other";
        rules.error("invalid-service", &own("address"), message, "delete one of them");
    }
    let wrong_place = match (service.address_mode.as_str(), task) {
        ("driver", None) => Some("tasks"),
        ("alloc" | "alloc_ipv6", Some(_)) => Some("groups"),
        _ => None,
    };
    if let Some(whose) = wrong_place {
        let message =
            format!("`address_mode = \"{}\"` is for services of {whose}", service.address_mode);
        rules.error("invalid-service", &own("address_mode"), message, "move the service there");
    } else if !matches!(service.address_mode.as_str(), "auto" | "host") {
        let message = format!("`address_mode = \"{}\"` is not acted on yet", service.address_mode);
        let help = "the node's address and port are published";
        rules.once("not-acted-on", "service/address_mode", &own("address_mode"), message, help);
    }
    task_exists(rules, &own("task"), &service.task_name, group);
    if service.provider == "nomad" {
        of_nomad(rules, path, service);
    }
    if let Some(identity) = &service.identity
        && identity.audience.is_empty()
    {
        let message = "the identity of a service needs `aud`";
        rules.error(
            "missing-attribute",
            &own("identity"),
            message,
            "for whom it is: aud = [\"consul.io\"]",
        );
    }
    if let Some(connect) = &service.connect {
        connect::check(rules, place, service, connect);
    }
    for (n, check) in service.checks.iter().enumerate() {
        health::check(rules, place, &format!("{path}/check.{n}"), service, check);
    }
}

/// What Nomad's own provider lacks. The catalog is the same here, and the file is to be one that Nomad takes.
fn of_nomad(rules: &Rules<'_>, path: &str, service: &Service) {
    let refuse = |name: &str, what: &str| {
        let message = format!("{what} needs `provider = \"consul\"`");
        let help = "both providers mean the built-in catalog here; Nomad's own has none of it";
        rules.error("invalid-service", &format!("{path}/{name}"), message, help);
    };
    if service.connect.is_some() {
        refuse("connect", "`connect`");
    }
    if service.on_update == OnUpdate::IgnoreWarnings {
        refuse("on_update", "`on_update = \"ignore_warnings\"`");
    }
}

/// A port must be one of the group's, a number, or something that the node fills in.
pub(super) fn port(rules: &Rules<'_>, path: &str, label: &str, group: &Group) {
    let is_number = label.parse::<u16>().is_ok();
    let is_there = || network::labels(group).any(|known| known == label);
    if label.is_empty() || is_number || label.contains("${") || is_there() {
        return;
    }
    if !network::is_whole(rules, path, group) {
        return;
    }
    let nothing_near = || {
        let known: Vec<&str> = network::labels(group).collect();
        if group.networks.is_empty() && known.is_empty() {
            format!(
                "the group has no network: add network {{ port \"{label}\" {{}} }}, on lines of their own"
            )
        } else if known.is_empty() {
            format!("add port \"{label}\" {{}} to the group's network")
        } else {
            format!("it has {}; or add port \"{label}\" {{}} to its network", known.join(", "))
        }
    };
    let help = (rules.sink)
        .seek(|| did_you_mean(label, network::labels(group)).unwrap_or_else(nothing_near));
    rules.error("unknown-port", path, format!("the group has no port `{label}`"), &help);
}

pub(super) fn task_exists(rules: &Rules<'_>, path: &str, name: &str, group: &Group) {
    if name.is_empty() || name.contains("${") || group.task(name).is_some() {
        return;
    }
    let known = || group.tasks.iter().map(|task| task.name.as_str());
    let nothing_near = || format!("it has {}", known().collect::<Vec<_>>().join(", "));
    let help = rules.sink.seek(|| did_you_mean(name, known()).unwrap_or_else(nothing_near));
    rules.error("unknown-task", path, format!("the group has no task `{name}`"), &help);
}

/// A DNS label, or text that only the node can fill in.
fn is_service_name(name: &str) -> bool {
    if name.contains("${") {
        return true;
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
