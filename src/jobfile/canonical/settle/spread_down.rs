//! What is written once for many: tasks without a group, Vault and secrets of a job or group.

use serde_json::Value;

use super::super::Object;
use super::super::read::AT;
use super::{objects, text};

/// Each task of the job itself is a group of its own, before the others.
pub(super) fn wrap_tasks(job: &mut Object) {
    let Some(Value::Array(tasks)) = job.remove("@Tasks") else { return };
    let mut groups: Vec<Value> = tasks
        .into_iter()
        .map(|task| {
            let mut group = Object::new();
            let part = |name: &str| task.get(name).cloned().unwrap_or(Value::Null);
            group.insert("Name".to_owned(), part("Name"));
            group.insert(AT.to_owned(), part(AT));
            group.insert("Tasks".to_owned(), Value::Array(vec![task]));
            group.into()
        })
        .collect();
    if let Some(Value::Array(named)) = job.remove("TaskGroups") {
        groups.extend(named);
    }
    job.insert("TaskGroups".to_owned(), groups.into());
}

/// A task's own `vault` goes before its group's, and that before its job's. Secrets are added, unless the task has one
/// of that name.
pub(super) fn vault_and_secrets(job: &mut Object) {
    let of_job = take(job);
    for group in objects(job, "TaskGroups") {
        let of_group = take(group);
        for task in objects(group, "Tasks") {
            for (vault, secrets) in [&of_group, &of_job] {
                if let (Some(vault), None) = (vault, task.get("Vault")) {
                    task.insert("Vault".to_owned(), vault.clone());
                }
                add_secrets(task, secrets);
            }
        }
    }
}

fn take(parent: &mut Object) -> (Option<Value>, Vec<Value>) {
    let secrets = match parent.remove("@Secrets") {
        Some(Value::Array(secrets)) => secrets,
        _ => Vec::new(),
    };
    (parent.remove("@Vault"), secrets)
}

fn add_secrets(task: &mut Object, more: &[Value]) {
    let own: Vec<String> =
        objects(task, "Secrets").map(|secret| text(secret, "Name").to_owned()).collect();
    let new = more.iter().filter(|secret| {
        let name = secret.get("Name").and_then(Value::as_str).unwrap_or_default();
        !own.iter().any(|own| own == name)
    });
    let new: Vec<Value> = new.cloned().collect();
    if new.is_empty() {
        return;
    }
    match task.get_mut("Secrets").and_then(Value::as_array_mut) {
        Some(secrets) => secrets.extend(new),
        None => {
            task.insert("Secrets".to_owned(), new.into());
        }
    }
}

/// The first identity without a name of its own is the task's.
pub(super) fn identity(task: &mut Object) {
    if matches!(task.get("Identity"), Some(Value::Object(_))) {
        // Nomad's API has it apart already.
        return;
    }
    let Some(all) = task.get_mut("Identities").and_then(Value::as_array_mut) else { return };
    let own = all.iter().position(|identity| {
        matches!(identity.get("Name").and_then(Value::as_str), None | Some("" | "default"))
    });
    if let Some(own) = own {
        let identity = all.remove(own);
        task.insert("Identity".to_owned(), identity);
    }
}
