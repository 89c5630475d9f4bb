//! What a task says to `exec`, and what all drivers that keep tasks apart are asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::IsolationOptions;
use crate::isolate::is_capability;
use crate::settings::Settings;

/// How the task wants to be kept apart, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) work_dir: Option<PathBuf>,
    pub(crate) host_pid: bool,
    pub(crate) host_ipc: bool,
    pub(crate) capabilities: Vec<String>,
}

/// A task's settings, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) command: String,
    pub(super) args: Vec<String>,
    pub(super) asked: Asked,
}

/// Reads the settings; the second part says what is wrong with them or not allowed on this node.
pub(super) fn parse(
    values: &BTreeMap<String, Value>,
    options: &IsolationOptions,
) -> (Config, Vec<String>) {
    let mut settings = Settings::new(values);
    let command = settings.required("command");
    let args = settings.list("args");
    let asked = read_asked(&mut settings, options);
    if std::iter::once(&command).chain(&args).any(|text| text.contains('\0')) {
        settings.problem("`command` and `args` must not hold a NUL byte");
    }
    (Config { command, args, asked }, settings.finish())
}

/// Reads what every driver that keeps tasks apart knows.
pub(crate) fn read_asked(settings: &mut Settings<'_>, options: &IsolationOptions) -> Asked {
    let work_dir = settings.text("work_dir").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    Asked {
        work_dir,
        host_pid: mode(settings, "pid_mode", options.host_pid),
        host_ipc: mode(settings, "ipc_mode", options.host_ipc),
        capabilities: capabilities(settings, options),
    }
}

/// Whether a namespace is the node's. A file may ask for less than the node gives, and never for more.
fn mode(settings: &mut Settings<'_>, key: &'static str, host: bool) -> bool {
    match settings.text(key).as_deref() {
        None | Some("") => host,
        Some("private") => false,
        Some("host") if host => true,
        Some("host") => {
            settings.problem(format!(
                "`{key}`: \"host\" is not allowed on this node; its owner can set default_{key}"
            ));
            false
        }
        Some(other) => {
            settings.problem(format!("`{key}` must be \"private\" or \"host\", not `{other}`"));
            false
        }
    }
}

fn plain(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    lower.strip_prefix("cap_").unwrap_or(&lower).to_owned()
}

/// What a task may do beside what its user may: what it asks for, of what the node allows.
fn capabilities(settings: &mut Settings<'_>, options: &IsolationOptions) -> Vec<String> {
    let allowed: Vec<String> = options.allow_caps.iter().map(|name| plain(name)).collect();
    let mut kept = Vec::new();
    for name in settings.list("cap_add").iter().map(|name| plain(name)) {
        if name == "all" && allowed.contains(&name) {
            settings.problem("`cap_add`: name each capability; `all` is not taken");
        } else if !is_capability(&name) {
            settings.problem(format!("`cap_add`: the kernel knows no capability `{name}`"));
        } else if !allowed.contains(&name) && !allowed.contains(&"all".to_owned()) {
            settings.problem(format!("`cap_add`: {name} is not allowed on this node"));
        } else {
            kept.push(name);
        }
    }
    let dropped: Vec<String> = settings.list("cap_drop").iter().map(|name| plain(name)).collect();
    kept.retain(|name| !dropped.contains(name));
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> (Config, Vec<String>) {
        let values = serde_json::from_value(value).expect("a map");
        parse(&values, &IsolationOptions::new("/x", "i"))
    }

    #[test]
    fn reads_what_nomad_files_write() {
        let (config, problems) = read(json!({
            "command": "/bin/sh", "args": ["-c", "true"], "work_dir": "/local",
            "pid_mode": "private", "ipc_mode": "private",
            "cap_add": ["CAP_NET_BIND_SERVICE", "kill"], "cap_drop": ["kill", "all"],
        }));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(config.asked.capabilities, ["net_bind_service"]);
        assert_eq!(config.asked.work_dir, Some("/local".into()));
    }

    #[test]
    fn what_reaches_beyond_the_task_is_refused_in_words() {
        let (config, problems) = read(json!({
            "command": "x", "pid_mode": "host", "ipc_mode": "shared",
            "cap_add": ["net_raw", "sys_admin", "nonsense"], "privileged": true,
        }));
        assert!(!config.asked.host_pid && config.asked.capabilities.is_empty());
        let all = problems.join("\n");
        for words in [
            "`pid_mode`: \"host\" is not allowed",
            "`ipc_mode` must be \"private\" or \"host\", not `shared`",
            "net_raw is not allowed on this node",
            "sys_admin is not allowed on this node",
            "no capability `nonsense`",
            "`privileged` is not known",
        ] {
            assert!(all.contains(words), "{words} in\n{all}");
        }
    }
}
