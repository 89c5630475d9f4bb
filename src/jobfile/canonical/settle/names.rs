//! Names that follow from others: of the job, of services and of their checks.

use serde_json::Value;

use super::super::Object;
use super::{objects, set_default, text};

/// The label is ID and name, unless the job says otherwise.
pub(super) fn of_job(job: &mut Object) {
    let label = text(job, "@label").to_owned();
    set_default(job, "ID", label.as_str());
    let id = text(job, "ID").to_owned();
    set_default(job, "Name", if label.is_empty() { id.as_str() } else { label.as_str() });
    for (name, default) in [
        ("Region", "global"),
        ("Namespace", "default"),
        ("Type", "service"),
        ("NodePool", "default"),
    ] {
        set_default(job, name, default);
    }
}

/// The services of each task.
pub(super) fn task_services(group: &mut Object, job: &str) {
    let group_name = text(group, "Name").to_owned();
    for task in objects(group, "Tasks") {
        let task_name = text(task, "Name").to_owned();
        for service in objects(task, "Services") {
            settle(service, job, &group_name, Some(&task_name));
        }
    }
}

/// The services of a group.
pub(super) fn services(group: &mut Object, job: &str, task: Option<&str>) {
    let group_name = text(group, "Name").to_owned();
    // A script check of the group runs in its only task, unless the file names one.
    let only = match group.get("Tasks").and_then(Value::as_array).map(Vec::as_slice) {
        Some([task]) => task.get("Name").and_then(Value::as_str).map(ToOwned::to_owned),
        _ => None,
    };
    for service in objects(group, "Services") {
        settle(service, job, &group_name, task);
        for check in objects(service, "Checks") {
            if let (Some(only), "script") = (&only, text(check, "Type")) {
                set_default(check, "TaskName", only.as_str());
            }
        }
    }
}

fn settle(service: &mut Object, job: &str, group: &str, task: Option<&str>) {
    super::connect::settle(service);
    let base =
        task.map_or_else(|| format!("{job}-{group}"), |task| format!("{job}-{group}-{task}"));
    let name = text(service, "Name")
        .replace("${JOB}", job)
        .replace("${TASKGROUP}", group)
        .replace("${TASK}", task.unwrap_or("group"))
        .replace("${BASE}", &format!("{job}-{group}-{}", task.unwrap_or("group")));
    service.insert("Name".to_owned(), if name.is_empty() { base } else { name }.into());
    if let Some(task) = task {
        set_default(service, "TaskName", task);
    }
    for (name, default) in [
        ("AddressMode", "auto"),
        ("Provider", "consul"),
        ("OnUpdate", "require_healthy"),
        ("Cluster", "default"),
    ] {
        set_default(service, name, default);
    }
    let name = text(service, "Name").to_owned();
    let task = text(service, "TaskName").to_owned();
    let on_update = text(service, "OnUpdate").to_owned();
    let restart = service.get("CheckRestart").cloned();
    if let Some(weights) = super::object(service, "Weights") {
        // A weight of zero is one that was not said.
        weights.retain(|_, weight| *weight != 0);
    }
    for check in objects(service, "Checks") {
        set_default(check, "Name", format!("service: \"{name}\" check"));
        set_default(check, "TaskName", task.as_str());
        set_default(check, "OnUpdate", on_update.as_str());
        check_restart(check, restart.as_ref());
    }
}

/// A check's fields go over its service's. Both count from a second after the start.
fn check_restart(check: &mut Object, of_service: Option<&Value>) {
    let own = super::policy::take(check, "CheckRestart");
    let of_service = of_service.and_then(Value::as_object).cloned();
    if let Some(mut merged) = super::policy::over(of_service, own) {
        set_default(&mut merged, "Grace", 1_000_000_000_i64);
        check.insert("CheckRestart".to_owned(), merged.into());
    }
}
