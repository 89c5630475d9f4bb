//! Defaults of templates and artifacts that depend on their other fields.

use serde_json::Value;

use super::super::Object;
use super::{object, objects, set_default, text};

pub(super) fn settle(task: &mut Object) {
    for template in objects(task, "Templates") {
        let signal = text(template, "ChangeSignal").to_uppercase();
        let signal = match (signal.as_str(), text(template, "ChangeMode")) {
            ("", "signal") => "SIGHUP".to_owned(),
            _ => signal,
        };
        template.insert("ChangeSignal".to_owned(), signal.into());
    }
    for artifact in objects(task, "Artifacts") {
        let destination = match text(artifact, "GetterMode") {
            "file" => {
                let source = text(artifact, "GetterSource").trim_end_matches('/');
                format!("local/{}", source.rsplit('/').next().unwrap_or_default())
            }
            _ => "local/".to_owned(),
        };
        // An empty one is said: the task's own folder.
        artifact.entry("RelativeDest").or_insert_with(|| destination.into());
    }
    if let Some(logs) = object(task, "LogConfig")
        && logs.get("Enabled") == Some(&Value::Bool(false))
    {
        logs.insert("Disabled".to_owned(), true.into());
    }
    if let Some(plugin) = object(task, "CSIPluginConfig") {
        set_default(plugin, "MountDir", "/csi");
        set_default(plugin, "StagePublishBaseDir", "/local/csi");
        plugin.retain(|name, value| name != "HealthTimeout" || *value != 0);
    }
    resources(task);
}

/// A task's share of its node. Who has whole cores asks for no other share.
pub(super) fn resources(task: &mut Object) {
    if let Some(resources) = object(task, "Resources") {
        let has_cores = resources.get("Cores").and_then(Value::as_i64).unwrap_or(0) > 0;
        set_default(resources, "CPU", if has_cores { 0 } else { 100 });
    } else {
        let mut resources = Object::new();
        resources.insert("CPU".to_owned(), 100.into());
        task.insert("Resources".to_owned(), resources.into());
    }
}
