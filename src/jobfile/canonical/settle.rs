//! Nomad's passes over what a file says: what is written in one place and meant in another is moved there, what is
//! inherited is merged, and defaults that depend on something else are set (nomad.md 1.0).

mod connect;
mod constraint;
mod material;
mod names;
mod policy;
mod spread_down;

use serde_json::Value;

use super::Object;
use super::read::AT;

/// Runs all passes over a job.
pub(super) fn settle(job: &mut Object) {
    names::of_job(job);
    spread_down::wrap_tasks(job);
    spread_down::vault_and_secrets(job);
    constraint::sugar(job);
    policy::of_job(job);
    let kind = text(job, "Type").to_owned();
    let name = text(job, "Name").to_owned();
    let above = policy::Above::take(job, &kind);
    for group in objects(job, "TaskGroups") {
        constraint::sugar(group);
        ports(group);
        policy::of_group(group, &above);
        cluster(group, "Consul");
        names::services(group, &name, None);
        let restart = group.get("RestartPolicy").cloned();
        for task in objects(group, "Tasks") {
            of_task(task, restart.as_ref());
        }
        names::task_services(group, &name);
    }
    set_default(job, "Datacenters", vec![Value::from("*")]);
    if let Some(periodic) = object(job, "Periodic") {
        periodic.insert("SpecType".to_owned(), "cron".into());
        set_default(periodic, "TimeZone", "UTC");
    }
}

fn of_task(task: &mut Object, restart: Option<&Value>) {
    constraint::sugar(task);
    policy::of_task(task, restart);
    spread_down::identity(task);
    material::settle(task);
    cluster(task, "Consul");
    cluster(task, "Vault");
    if let Some(resources) = object(task, "Resources") {
        asked(resources);
    }
    for scaling in objects(task, "ScalingPolicies") {
        let kind = match text(scaling, "@label").to_lowercase().as_str() {
            "cpu" => "vertical_cpu",
            "mem" => "vertical_mem",
            _ => "",
        };
        let label = text(scaling, "@label");
        if !label.is_empty() && !["", kind].contains(&text(scaling, "Type")) {
            // Neither is right; the rules say so.
            scaling.remove("Type");
        } else {
            set_default(scaling, "Type", kind);
        }
    }
}

/// What the resources of a task ask for beside numbers.
fn asked(resources: &mut Object) {
    ports(resources);
    for device in objects(resources, "Devices") {
        constraint::sugar(device);
    }
}

/// No cluster is called nothing.
fn cluster(parent: &mut Object, name: &str) {
    if let Some(block) = object(parent, name) {
        set_default(block, "Cluster", "default");
    }
}

/// Ports with a fixed number stand apart from others. As in Nomad they take the place of the older `reserved_ports`, which
/// count only where there is no `port`.
fn ports(parent: &mut Object) {
    for network in objects(parent, "Networks") {
        let Some(Value::Array(all)) = network.remove("DynamicPorts") else { continue };
        let is_fixed = |port: &Value| port.get("Value").and_then(Value::as_i64).unwrap_or(0) > 0;
        let (fixed, dynamic): (Vec<_>, Vec<_>) = all.into_iter().partition(is_fixed);
        if !dynamic.is_empty() {
            network.insert("DynamicPorts".to_owned(), dynamic.into());
        }
        let is_older = |port: &Value| {
            let place = port.get(AT).and_then(Value::as_str).unwrap_or_default();
            place.rsplit('/').next().is_some_and(|last| last.starts_with("reserved_ports."))
        };
        let mut reserved = network.remove("ReservedPorts");
        let reserved = reserved.as_mut().and_then(Value::as_array_mut).map(std::mem::take);
        let kept = reserved.into_iter().flatten().filter(|port| !is_older(port));
        network.insert("ReservedPorts".to_owned(), kept.chain(fixed).collect());
    }
}

/// The objects of a list; none where there is no list.
fn objects<'a>(parent: &'a mut Object, name: &str) -> impl Iterator<Item = &'a mut Object> + 'a {
    let list = parent.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn object<'a>(parent: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    parent.get_mut(name).and_then(Value::as_object_mut)
}

/// A text, or nothing.
fn text<'a>(parent: &'a Object, name: &str) -> &'a str {
    parent.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Sets what is not set, or empty.
fn set_default(parent: &mut Object, name: &str, value: impl Into<Value>) {
    let is_set = match parent.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    };
    if !is_set {
        parent.insert(name.to_owned(), value.into());
    }
}
