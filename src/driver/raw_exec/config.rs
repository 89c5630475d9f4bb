//! What a task says to `raw_exec`, and the environment its process gets.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::settings::Settings;

/// Variables of the agent that no task gets: what is named like a credential, for the agent may be given its own under
/// any name, and what the service manager tells the agent alone.
const DENIED: [&str; 23] = [
    "*_AUTH",
    "*_AUTH_CONFIG",
    "*_KEY",
    "*_KEY_ID",
    "*_PASS",
    "*_PAT",
    "*ASKPASS*",
    "*CREDENTIAL*",
    "*PASSPHRASE*",
    "*PASSWORD*",
    "*PASSWD*",
    "*SECRET*",
    "*TOKEN*",
    "GIT_CONFIG_*",
    "HERDER_*",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_*",
    "NOMAD_*",
    "NOTIFY_SOCKET",
    "SSH_AUTH_SOCK",
    "VAULT_*",
    "WATCHDOG_*",
];

/// A task's settings, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) command: String,
    pub(super) args: Vec<String>,
    work_dir: Option<PathBuf>,
    pub(super) oom_score_adj: Option<i32>,
    denied: Vec<String>,
}

/// Reads the settings; the second part says what is wrong with them.
pub(super) fn parse(values: &BTreeMap<String, Value>) -> (Config, Vec<String>) {
    let mut settings = Settings::new(values);
    let command = settings.required("command");
    let args = settings.list("args");
    let work_dir = settings.text("work_dir").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let denied = settings.list("denied_envvars");
    let adjust = settings.integer("oom_score_adj");
    if adjust.is_some_and(|adjust| !(0..=1000).contains(&adjust)) {
        settings.problem("`oom_score_adj` must be between 0 and 1000");
    }
    // Taken so that files written for Nomad are valid here; processes stay in the agent's cgroup.
    settings.text("cgroup_v2_override");
    settings.map("cgroup_v1_override");
    let strings = std::iter::once(&command).chain(&args);
    if strings.into_iter().any(|text| text.contains('\0')) {
        settings.problem("`command` and `args` must not hold a NUL byte");
    }
    let oom_score_adj = adjust.and_then(|adjust| i32::try_from(adjust).ok());
    (Config { command, args, work_dir, oom_score_adj, denied }, settings.finish())
}

impl Config {
    /// The host's variables that are not denied, and the task's own over them.
    pub(super) fn environment(
        &self,
        denied: &[String],
        task: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let denied: Vec<String> = denied.iter().chain(&self.denied).cloned().collect();
        let mut env = host_environment(std::env::vars_os(), &denied);
        env.extend(task.iter().map(|(name, value)| (name.clone(), value.clone())));
        env
    }

    /// Where the command runs: in the task's directory unless `work_dir` names another, relative to it or absolute.
    pub(super) fn work_dir(&self, task_dir: &Path) -> PathBuf {
        self.work_dir.as_ref().map_or_else(|| task_dir.to_owned(), |dir| task_dir.join(dir))
    }
}

/// The agent's variables that a task may have. What is not UTF-8 cannot be meant for a task.
pub(crate) fn host_environment(
    host: impl IntoIterator<Item = (OsString, OsString)>,
    denied: &[String],
) -> BTreeMap<String, String> {
    let denied: Vec<&str> = DENIED.into_iter().chain(denied.iter().map(String::as_str)).collect();
    host.into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !denied.iter().any(|deny| matches(deny, name)))
        .collect()
}

/// Whether a name is meant by a pattern that may begin and end with `*`. Case does not count.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_uppercase(), name.to_ascii_uppercase());
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (None, None) => name == pattern,
        (None, Some(start)) => name.starts_with(start),
        (Some(end), None) => name.ends_with(end),
        (Some(end), Some(_)) => name.contains(end.trim_end_matches('*')),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(value: Value) -> BTreeMap<String, Value> {
        serde_json::from_value(value).expect("a map")
    }

    #[test]
    fn reads_what_nomad_files_write() {
        let (config, problems) = parse(&values(json!({
            "command": "sleep", "args": ["1"], "work_dir": "/x", "oom_score_adj": 5,
            "cgroup_v2_override": "a", "cgroup_v1_override": [{"pids": "b"}],
            "denied_envvars": ["FOO*"],
        })));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((config.command.as_str(), config.oom_score_adj), ("sleep", Some(5)));
    }

    #[test]
    fn says_what_is_wrong() {
        let (_, problems) = parse(&values(json!({"arg": ["1"], "oom_score_adj": -5})));
        assert_eq!(
            problems,
            [
                "`command` is missing",
                "`oom_score_adj` must be between 0 and 1000",
                "`arg` is not known; did you mean `args`?",
            ]
        );
    }

    #[test]
    fn credentials_of_the_agent_stay_with_it() {
        let host = [
            "PATH",
            "VAULT_TOKEN",
            "HERDER_TOKEN",
            "FOO_BAR",
            "HOME",
            "NOTIFY_SOCKET",
            "GH_TOKEN",
            "GIT_ASKPASS",
            "GIT_CONFIG_VALUE_0",
            "DEPLOY_KEY",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "DB_PASSWORD",
            "sops_age_key",
            "DOCKER_AUTH_CONFIG",
        ];
        let host = host.into_iter().map(|name| (name.into(), "host".into()));
        let env = host_environment(host, &["foo_*".to_owned()]);
        let expected = [("HOME", "host"), ("PATH", "host")];
        assert_eq!(env, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
}
