//! A job as it is shown.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{HIDDEN, is_secret_name, redact, redact_argument, redact_text};
use crate::{Job, Service, Task};

/// The job without what may be secret in it: in variables, settings of drivers, metadata, artifacts, templates and
/// checks. Good for showing, and for nothing else: it is another job than the one that was asked for.
pub fn without_secrets(job: &Job) -> Job {
    let mut job = job.clone();
    hide(&mut job.meta);
    for group in &mut job.task_groups {
        hide(&mut group.meta);
        group.services.iter_mut().for_each(hide_in_service);
        group.tasks.iter_mut().for_each(hide_in_task);
    }
    job
}

fn hide_in_task(task: &mut Task) {
    hide(&mut task.env);
    hide(&mut task.meta);
    for (name, value) in &mut task.config {
        hide_value(name, value);
    }
    for artifact in &mut task.artifacts {
        hide(&mut artifact.options);
        hide(&mut artifact.headers);
        artifact.source.iter_mut().for_each(hide_text);
    }
    task.templates.iter_mut().for_each(|template| hide_text(&mut template.data));
    task.services.iter_mut().for_each(hide_in_service);
}

fn hide_in_service(service: &mut Service) {
    hide(&mut service.meta);
    hide(&mut service.canary_meta);
    for check in &mut service.checks {
        hide_text(&mut check.path);
        hide_text(&mut check.body);
        hide_arguments(&mut check.args);
        for (name, values) in &mut check.header {
            for value in values {
                *value = redact(name, value).into_owned();
            }
        }
    }
}

fn hide(named: &mut BTreeMap<String, String>) {
    for (name, value) in named {
        *value = redact(name, value).into_owned();
    }
}

fn hide_text(text: &mut String) {
    *text = redact_text(text).into_owned();
}

fn hide_arguments(arguments: &mut [String]) {
    let mut before: Option<String> = None;
    for argument in arguments {
        let shown = redact_argument(before.as_deref(), argument).into_owned();
        before = Some(std::mem::replace(argument, shown));
    }
}

fn hide_value(name: &str, value: &mut Value) {
    match value {
        Value::String(text) => *text = redact(name, text).into_owned(),
        Value::Array(items) => {
            let mut before: Option<String> = None;
            for item in items {
                match item {
                    Value::String(text) if is_secret_name(name) => HIDDEN.clone_into(text),
                    Value::String(text) => {
                        let shown = redact_argument(before.as_deref(), text).into_owned();
                        before = Some(std::mem::replace(text, shown));
                    }
                    other => hide_value(name, other),
                }
            }
        }
        Value::Object(items) => items.iter_mut().for_each(|(name, item)| hide_value(name, item)),
        Value::Number(_) if is_secret_name(name) => *value = Value::from(HIDDEN),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Group, Template};

    use super::*;

    #[test]
    fn a_job_is_shown_without_its_secrets_and_whole_otherwise() {
        let map = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let config = json!({
            "image": "redis:7",
            "auth": [{"username": "me", "password": "canary-1"}],
            "args": ["--token", "canary-2", "--port", "80", "--api-key=canary-3"],
            "volumes": ["a:/b"],
        });
        let task = Task {
            name: "web".into(),
            config: serde_json::from_value(config).expect("a map"),
            env: BTreeMap::from([
                ("DB_PASSWORD".to_owned(), "canary-4".to_owned()),
                ("DB_URL".to_owned(), "postgres://me:canary-5@db/x".to_owned()),
                ("COLOUR".to_owned(), "blue".to_owned()),
                ("API_TOKEN".to_owned(), "${secret.token}".to_owned()),
            ]),
            artifacts: vec![crate::Artifact {
                source: Some("https://me:canary-6@example.org/a".to_owned()),
                headers: map("Authorization", "Bearer canary-7"),
                ..crate::Artifact::default()
            }],
            templates: vec![Template {
                data: "a = 1\npassword = canary-8-canary\n".to_owned(),
                ..Template::default()
            }],
            services: vec![Service {
                checks: vec![crate::Check {
                    header: BTreeMap::from([("X-Token".to_owned(), vec!["canary-9".to_owned()])]),
                    ..crate::Check::default()
                }],
                ..Service::default()
            }],
            ..Task::default()
        };
        let group = Group { tasks: vec![task], ..Group::default() };
        let job = Job { task_groups: vec![group], ..Job::default() };
        let shown = without_secrets(&job);
        let text = serde_json::to_string(&shown).expect("JSON");
        assert!(!text.contains("canary-"), "{text}");
        for kept in ["redis:7", "blue", "--port", "a:/b", "${secret.token}", "postgres://me:"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        let plain = Job { id: "a".to_owned().into(), ..Job::default() };
        assert_eq!(without_secrets(&plain), plain);
    }
}
