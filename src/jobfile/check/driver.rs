//! A driver's settings. Only the driver knows all of them, and reads them when a task starts; what it is sure to refuse
//! is said before.

use model::{Group, Task};
use serde_json::Value;

use super::{Rules, network};
use crate::suggest::did_you_mean;

/// What a setting is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Texts,
    Map,
}

/// Settings that the drivers have in common, and those of containers.
const FORMS: [(&str, Form); 31] = [
    ("command", Form::Text),
    ("args", Form::Texts),
    ("image", Form::Text),
    ("ports", Form::Texts),
    ("entrypoint", Form::Texts),
    ("volumes", Form::Texts),
    ("network_mode", Form::Text),
    ("cap_add", Form::Texts),
    ("cap_drop", Form::Texts),
    ("dns_servers", Form::Texts),
    ("extra_hosts", Form::Texts),
    ("labels", Form::Map),
    ("sysctl", Form::Map),
    ("ulimit", Form::Map),
    ("port_map", Form::Map),
    ("storage_opt", Form::Map),
    ("security_opt", Form::Texts),
    ("group_add", Form::Texts),
    ("dns_options", Form::Texts),
    ("dns_search_domains", Form::Texts),
    ("network_aliases", Form::Texts),
    ("runtime", Form::Text),
    ("hostname", Form::Text),
    ("work_dir", Form::Text),
    ("pid_mode", Form::Text),
    ("ipc_mode", Form::Text),
    ("uts_mode", Form::Text),
    ("userns_mode", Form::Text),
    ("cgroupns", Form::Text),
    ("cpuset_cpus", Form::Text),
    ("load", Form::Text),
];

pub(super) fn check(rules: &Rules<'_>, path: &str, group: &Group, task: &Task) {
    let is_container = matches!(task.driver.as_str(), "docker" | "podman");
    if !is_container && !matches!(task.driver.as_str(), "exec" | "java" | "raw_exec") {
        return;
    }
    for (name, form) in FORMS {
        let Some(value) = task.config.get(name).filter(|_| is_container || name_is_common(name))
        else {
            continue;
        };
        let place = format!("{path}/config/{name}");
        if !fits(value, form) {
            let message = format!("`{name}` is {}, this is {}", form.words(), kind(value));
            let help = match (form, value) {
                (Form::Texts, Value::String(_)) => format!("write {name} = [ … ]"),
                (Form::Texts, Value::Number(_)) if name == "ports" => {
                    "write ports = [\"http\"], with port \"http\" {} in the group's network"
                        .to_owned()
                }
                (Form::Texts, Value::Array(_)) if name == "volumes" => {
                    "write volumes = [\"source:target\"]".to_owned()
                }
                _ => String::new(),
            };
            rules.warning("invalid-config", &place, message, &help);
        } else if is_container && name == "ports" {
            ports(rules, &place, group, value);
        }
    }
}

fn name_is_common(name: &str) -> bool {
    matches!(name, "command" | "args")
}

/// Each port that a container publishes is one of the group's.
fn ports(rules: &Rules<'_>, place: &str, group: &Group, value: &Value) {
    if !network::is_whole(rules, place, group) {
        return;
    }
    let labels = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    for label in labels.filter(|label| !label.contains("${")) {
        if network::labels(group).any(|known| known == label) {
            continue;
        }
        let message = format!("the group has no port `{label}`, so that the task will not start");
        let help = did_you_mean(label, network::labels(group)).unwrap_or_else(|| {
            match label.split_once(':').filter(|_| label.len() < 40) {
                Some((host, inner)) => format!(
                    "name a port of the group's network: port \"http\" {{ static = {host}, to = {inner} }}, on lines of their own"
                ),
                None => "add it to the group's network".to_owned(),
            }
        });
        rules.warning("unknown-port", place, message, &help);
    }
}

impl Form {
    const fn words(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Texts => "a list of strings",
            Self::Map => "a map",
        }
    }
}

/// A map is a list of one map, as a block is.
fn fits(value: &Value, form: Form) -> bool {
    let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    match (form, value) {
        (_, Value::Null) => true,
        (Form::Text, value) => is_plain(value),
        (Form::Texts, Value::Array(items)) => {
            items.iter().all(|item| is_plain(item) || item.is_null())
        }
        (Form::Map, Value::Array(items)) => items.iter().all(Value::is_object),
        (Form::Map, value) => value.is_object(),
        _ => false,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Array(items) if items.iter().any(Value::is_object) => "a map",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a bool",
        _ => "a string",
    }
}

#[cfg(test)]
mod tests {
    use crate::{Inputs, Source, parse};

    fn of(driver: &str, config: &str) -> Vec<String> {
        let text = format!(
            "job \"j\" {{\n  group \"g\" {{\n    network {{\n      port \"http\" {{}}\n    }}\n    task \"t\" {{\n      \
             driver = \"{driver}\"\n      config {{\n        image = \"a:1\"\n        {config}\n      }}\n    }}\n  }}\n}}\n"
        );
        let parsed = parse(Source { path: "a.hcl", bytes: text.as_bytes() }, &Inputs::default());
        assert_eq!(parsed.jobs.len(), 1, "only warnings");
        parsed.diagnostics.into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn what_a_driver_will_refuse_is_told() {
        assert_eq!(
            of("docker", "args = \"-v\""),
            ["`args` is a list of strings, this is a string"]
        );
        assert_eq!(
            of("raw_exec", "args = \"-v\""),
            ["`args` is a list of strings, this is a string"]
        );
        assert_eq!(
            of("podman", "security_opt = \"x\""),
            ["`security_opt` is a list of strings, this is a string"]
        );
        assert_eq!(of("docker", "ports = 80"), ["`ports` is a list of strings, this is a number"]);
        assert_eq!(
            of("docker", "volumes = { \"/a\" = \"/b\" }"),
            ["`volumes` is a list of strings, this is a map"]
        );
        assert_eq!(
            of("docker", "ports = [\"htpp\"]"),
            ["the group has no port `htpp`, so that the task will not start"]
        );
    }

    #[test]
    fn what_fits_or_is_not_known_is_passed_over() {
        let fine = [
            "args = [\"-v\", 1]",
            "ports = [\"http\"]",
            "ports = [\"${meta.port}\"]",
            "labels = { a = \"b\" }",
            "labels {\n a = \"b\"\n}",
            "port_map {\n http = 80\n}",
            "anything = { b = 1 }",
        ];
        for config in fine {
            assert_eq!(of("docker", config), [""; 0], "{config}");
        }
        assert_eq!(of("other", "args = 1"), [""; 0]);
        assert_eq!(of("exec", "ports = 1"), [""; 0]);
    }
}
