//! What kind of change a new version makes to a group's allocations, and the first field that makes it so.
//!
//! A change replaces allocations only where a running task could not take it on: everything else is in place
//! (nomad.md 2.4). Metadata is in place too, unless the job says otherwise.

use std::collections::BTreeMap;

use model::{Group, Job, Network, Task, combined_meta};
use serde::Serialize;

/// What a new version does to an allocation of an older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that concerns it.
    None,
    /// It goes on running and takes the new version's number. The field, in words.
    InPlace(String),
    /// It must be replaced. The field, in words: `task "web" config.args`.
    Destructive(String),
}

/// The first field that differs between two versions as far as `group` is concerned, and what kind of change that
/// makes. Fields that replace come before fields that do not.
pub fn compare(old: &Job, new: &Job, group: &str) -> Change {
    let (Some(before), Some(after)) = (old.group(group), new.group(group)) else {
        return Change::Destructive(format!("group \"{group}\""));
    };
    if let Some(field) = destructive(old, new, before, after) {
        return Change::Destructive(field);
    }
    in_place(old, new, before, after).map_or(Change::None, Change::InPlace)
}

fn destructive(old: &Job, new: &Job, before: &Group, after: &Group) -> Option<String> {
    if let Some(task) = before.tasks.iter().find(|task| after.task(&task.name).is_none()) {
        return Some(format!("task \"{}\" removed", task.name));
    }
    if let Some(task) = after.tasks.iter().find(|task| before.task(&task.name).is_none()) {
        return Some(format!("task \"{}\" added", task.name));
    }
    if before.ephemeral_disk != after.ephemeral_disk {
        return Some("ephemeral_disk".to_owned());
    }
    if let Some(field) = network(&before.networks, &after.networks) {
        return Some(field);
    }
    for task in &after.tasks {
        let Some(previous) = before.task(&task.name) else { continue };
        if let Some(field) = destructive_task(previous, task) {
            return Some(format!("task \"{}\" {field}", task.name));
        }
        if new.gitops.restart_on_meta {
            let pair =
                (combined_meta(old, before, Some(previous)), combined_meta(new, after, Some(task)));
            if let Some(key) = first_key(&pair.0, &pair.1) {
                return Some(format!("task \"{}\" meta.{key}", task.name));
            }
        }
    }
    None
}

fn destructive_task(before: &Task, after: &Task) -> Option<String> {
    if before.driver != after.driver {
        return Some("driver".to_owned());
    }
    if before.user != after.user {
        return Some("user".to_owned());
    }
    if let Some(key) = first_key(&before.config, &after.config) {
        return Some(format!("config.{key}"));
    }
    if let Some(key) = first_key(&before.env, &after.env) {
        return Some(format!("env.{key}"));
    }
    let (old, new) = (&before.resources, &after.resources);
    [
        ("resources.cpu", old.cpu == new.cpu),
        ("resources.memory", old.memory_mb == new.memory_mb),
        ("resources.memory_max", old.memory_max_mb == new.memory_max_mb),
        ("logs.disabled", before.log_config.disabled == after.log_config.disabled),
    ]
    .into_iter()
    .find(|(_, same)| !same)
    .map(|(field, _)| field.to_owned())
}

fn network(before: &[Network], after: &[Network]) -> Option<String> {
    if before.len() != after.len() {
        return Some("network".to_owned());
    }
    for (old, new) in before.iter().zip(after) {
        // An empty mode means `host`.
        let mode = |network: &Network| match network.mode.as_str() {
            "" => "host".to_owned(),
            other => other.to_owned(),
        };
        if mode(old) != mode(new) {
            return Some("network mode".to_owned());
        }
        if old.hostname != new.hostname {
            return Some("network hostname".to_owned());
        }
        let ports = |network: &Network| -> BTreeMap<String, (u16, i32, String)> {
            network
                .ports()
                .map(|port| {
                    let host = match port.host_network.as_str() {
                        "default" => "",
                        other => other,
                    };
                    (port.label.clone(), (port.value, port.to, host.to_owned()))
                })
                .collect()
        };
        if let Some(label) = first_key(&ports(old), &ports(new)) {
            return Some(format!("network port \"{label}\""));
        }
    }
    None
}

fn in_place(old: &Job, new: &Job, before: &Group, after: &Group) -> Option<String> {
    if before.count != after.count {
        return Some("count".to_owned());
    }
    for task in &after.tasks {
        let Some(previous) = before.task(&task.name) else { continue };
        if let Some(field) = first_field(previous, task) {
            return Some(format!("task \"{}\" {field}", task.name));
        }
    }
    if let Some(field) = first_field(before, after) {
        return Some(format!("group \"{}\" {field}", after.name));
    }
    // What differs elsewhere in the job still gives the allocation a new version.
    first_field(old, new)
}

/// The first key, in order, under which the two maps differ.
fn first_key<'a, K: Ord + ToString, V: PartialEq>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> Option<String> {
    before
        .keys()
        .chain(after.keys())
        .filter(|key| before.get(key) != after.get(key))
        .min()
        .map(ToString::to_string)
}

/// The first field, in the type's order, that serialises differently, as job files spell it.
fn first_field<T: Serialize>(before: &T, after: &T) -> Option<String> {
    let (Ok(serde_json::Value::Object(before)), Ok(serde_json::Value::Object(after))) =
        (serde_json::to_value(before), serde_json::to_value(after))
    else {
        return None;
    };
    before
        .keys()
        .chain(after.keys())
        .find(|key| before.get(*key) != after.get(*key))
        .map(|key| spelled(key))
}

/// `KillTimeout` as `kill_timeout`.
fn spelled(field: &str) -> String {
    let mut out = String::with_capacity(field.len() + 4);
    let mut lower_before = false;
    for c in field.chars() {
        if c.is_ascii_uppercase() && lower_before {
            out.push('_');
        }
        lower_before = c.is_ascii_lowercase();
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::service;

    #[test]
    fn each_field_makes_its_kind_of_change() {
        type Edit = fn(&mut Job);
        let replaced: [(&str, Edit); 9] = [
            ("task \"web\" config.command", |job| {
                job.task_groups[0].tasks[0].config.insert("command".into(), "b".into());
            }),
            ("task \"web\" env.A", |job| {
                job.task_groups[0].tasks[0].env.insert("A".into(), "1".into());
            }),
            ("task \"web\" driver", |job| job.task_groups[0].tasks[0].driver = "exec".into()),
            ("task \"web\" resources.memory", |job| {
                job.task_groups[0].tasks[0].resources.memory_mb += 1;
            }),
            ("task \"web\" logs.disabled", |job| {
                job.task_groups[0].tasks[0].log_config.disabled = true;
            }),
            ("task \"side\" added", |job| {
                let task = Task { name: "side".into(), ..Task::default() };
                job.task_groups[0].tasks.push(task);
            }),
            ("ephemeral_disk", |job| job.task_groups[0].ephemeral_disk.size_mb += 1),
            ("network port \"http\"", |job| {
                job.task_groups[0].networks[0].dynamic_ports[0].to = 80;
            }),
            ("network mode", |job| job.task_groups[0].networks[0].mode = "bridge".into()),
        ];
        for (field, edit) in replaced {
            let old = service("a", 1);
            let mut new = old.clone();
            edit(&mut new);
            assert_eq!(compare(&old, &new, "web"), Change::Destructive(field.into()), "{field}");
        }
        let kept: [(&str, Edit); 6] = [
            ("count", |job| job.task_groups[0].count = 9),
            ("task \"web\" kill_timeout", |job| {
                job.task_groups[0].tasks[0].kill_timeout = std::time::Duration::from_secs(9);
            }),
            ("group \"web\" services", |job| {
                job.task_groups[0].services.push(model::Service::default());
            }),
            ("meta", |job| {
                job.meta.insert("a".into(), "b".into());
            }),
            ("priority", |job| job.priority = 80),
            ("constraints", |job| job.constraints.push(model::Constraint::default())),
        ];
        for (field, edit) in kept {
            let old = service("a", 1);
            let mut new = old.clone();
            edit(&mut new);
            assert_eq!(compare(&old, &new, "web"), Change::InPlace(field.into()), "{field}");
        }
        assert_eq!(compare(&service("a", 1), &service("a", 1), "web"), Change::None);
    }

    #[test]
    fn metadata_replaces_only_where_the_job_asks_for_it() {
        let old = service("a", 1);
        let mut new = old.clone();
        new.gitops.restart_on_meta = true;
        new.task_groups[0].meta.insert("team".into(), "x".into());
        assert_eq!(
            compare(&old, &new, "web"),
            Change::Destructive("task \"web\" meta.team".into())
        );
    }

    #[test]
    fn an_empty_network_mode_is_host() {
        let old = service("a", 1);
        let mut new = old.clone();
        new.task_groups[0].networks[0].mode = "host".into();
        assert!(matches!(compare(&old, &new, "web"), Change::InPlace(_)));
    }
}
