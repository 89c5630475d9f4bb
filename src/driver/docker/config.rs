//! What a task says to `docker` and `podman`.

mod access;
mod limits;
mod mounts;
mod network;
mod podman;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::{DockerOptions, Engine};
use crate::settings::Settings;

pub(super) use access::{Access, Device};
pub(super) use limits::Limits;
pub(super) use mounts::{Mounted, Source};
pub(super) use network::Network;

/// How the registry is to be asked.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Auth {
    pub(super) username: String,
    pub(super) password: String,
    pub(super) server: String,
}

/// Without the password.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auth({} at {})", self.username, self.server)
    }
}

/// A task's settings, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Config {
    pub(super) image: String,
    /// An archive in the task's directory that the image comes from.
    pub(super) load: Option<String>,
    pub(super) command: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) network: Network,
    pub(super) access: Access,
    pub(super) limits: Limits,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) mounts: Vec<Mounted>,
    pub(super) work_dir: Option<String>,
    pub(super) tty: bool,
    pub(super) interactive: bool,
    /// Whether the image's own health check is not to be run.
    pub(super) no_healthcheck: bool,
    pub(super) init: Option<bool>,
    pub(super) readonly_rootfs: bool,
    pub(super) storage_opt: BTreeMap<String, String>,
    pub(super) force_pull: bool,
    pub(super) pull_timeout: Duration,
    pub(super) auth: Option<Auth>,
    /// Whether a login that cannot be had or is refused is done without.
    pub(super) auth_soft_fail: bool,
    /// What the file sets without effect here, each with the reason.
    pub(super) ignored: Vec<&'static str>,
}

/// Reads the settings; the second part says what is wrong with them or not allowed on this node.
pub(super) fn parse(
    values: &BTreeMap<String, Value>,
    options: &DockerOptions,
) -> (Config, Vec<String>) {
    let values = match options.engine {
        Engine::Docker => Cow::Borrowed(values),
        Engine::Podman => Cow::Owned(podman::translated(values)),
    };
    let mut settings = Settings::new(&values);
    let s = &mut settings;
    let mut config = Config {
        image: image(s),
        load: s.text("load").filter(|path| !path.is_empty()),
        command: s.text("command").filter(|c| !c.is_empty()).into_iter().collect(),
        entrypoint: entrypoint(s),
        network: network::network(s, options),
        access: access::access(s, options),
        limits: limits::limits(s, options),
        labels: labels(s),
        mounts: mounts::mounts(s, options),
        work_dir: s.text("work_dir").filter(|dir| !dir.is_empty()),
        tty: s.flag("tty").unwrap_or(false),
        interactive: s.flag("interactive").unwrap_or(false),
        no_healthcheck: no_healthcheck(s),
        init: s.flag("init"),
        readonly_rootfs: s.flag("readonly_rootfs").unwrap_or(false),
        storage_opt: s.map("storage_opt"),
        force_pull: s.flag("force_pull").unwrap_or(false),
        pull_timeout: pull_timeout(s),
        auth: auth(s),
        auth_soft_fail: s.flag("auth_soft_fail").unwrap_or(false),
        ignored: ignored(s),
    };
    config.command.extend(s.list("args"));
    (config, settings.finish())
}

/// The image's name, without the `docker://` that some files write.
fn image(s: &mut Settings<'_>) -> String {
    let image = s.required("image");
    let bare = ["docker://", "https://", "http://"].iter().find_map(|p| image.strip_prefix(p));
    bare.map_or_else(|| image.clone(), str::to_owned)
}

fn entrypoint(s: &mut Settings<'_>) -> Vec<String> {
    match s.value("entrypoint") {
        Some(Value::String(one)) => vec![one.clone()],
        _ => s.list("entrypoint"),
    }
}

fn labels(s: &mut Settings<'_>) -> BTreeMap<String, String> {
    let labels = s.map("labels");
    if let Some(label) = labels.keys().find(|label| label.starts_with("herder.")) {
        s.problem(format!("`labels`: `{label}` is Herder's own; choose another prefix"));
    }
    labels
}

fn no_healthcheck(s: &mut Settings<'_>) -> bool {
    let mut disable = false;
    for block in s.blocks("healthchecks") {
        let mut inner = Settings::new(&block);
        disable = inner.flag("disable").unwrap_or(false);
        s.nested("healthchecks", inner.finish());
    }
    disable
}

fn pull_timeout(s: &mut Settings<'_>) -> Duration {
    let default = Duration::from_secs(5 * 60);
    let Some(text) = s.text("image_pull_timeout") else { return default };
    model::parse_duration(&text).unwrap_or_else(|error| {
        s.problem(format!("`image_pull_timeout`: {error}"));
        default
    })
}

fn auth(s: &mut Settings<'_>) -> Option<Auth> {
    let block = s.blocks("auth").into_iter().next()?;
    let mut inner = Settings::new(&block);
    let auth = Auth {
        username: inner.text("username").unwrap_or_default(),
        password: inner.text("password").unwrap_or_default(),
        server: inner.text("server_address").unwrap_or_default(),
    };
    inner.text("email");
    s.nested("auth", inner.finish());
    (!auth.username.is_empty()).then_some(auth)
}

/// Keys of Nomad's files that have nothing to act on here.
fn ignored(s: &mut Settings<'_>) -> Vec<&'static str> {
    // They say how Nomad itself is to go about things; nothing is lost without them.
    for key in ["advertise_ipv6_address", "container_exists_attempts"] {
        s.value(key);
    }
    let mut ignored = Vec::new();
    if s.value("logging").is_some() {
        ignored.push("`logging` has no effect: Herder keeps the output");
    }
    let isolation = s.text("isolation").unwrap_or_default();
    if !matches!(isolation.as_str(), "" | "default") {
        ignored.push("`isolation` has no effect: it is for Windows");
    }
    ignored
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> (Config, Vec<String>) {
        read_with(value, &DockerOptions::new("test"))
    }

    fn read_with(value: Value, options: &DockerOptions) -> (Config, Vec<String>) {
        parse(&serde_json::from_value(value).expect("a map"), options)
    }

    #[test]
    fn reads_what_nomad_files_write() {
        let (config, problems) = read(json!({
            "image": "redis:7", "command": "redis-server", "args": ["--port", 6379],
            "ports": ["db"], "port_map": [{"http": 80}], "labels": [{"a": "b"}],
            "volumes": ["local/conf:/etc/conf:ro"], "ulimit": {"nofile": "2048:4096"},
            "mount": {"type": "tmpfs", "target": "/t", "tmpfs_options": {"size": 1024}},
            "auth": [{"username": "u", "password": "hunter2"}], "image_pull_timeout": "1m",
            "sysctl": {"net.core.somaxconn": 16384}, "cap_add": ["cap_chown"], "tty": false,
            "logging": {"type": "journald"}, "init": null,
        }));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(config.command, ["redis-server", "--port", "6379"]);
        assert_eq!(config.limits.ulimits, [("nofile".to_owned(), 2048, 4096)]);
        assert_eq!(config.mounts.len(), 2);
        assert_eq!(config.pull_timeout, Duration::from_secs(60));
        assert_eq!(config.access.cap_add, ["CHOWN"]);
        assert_eq!(config.ignored, ["`logging` has no effect: Herder keeps the output"]);
        let auth = config.auth.as_ref().expect("is set");
        assert_eq!(auth.password, "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn what_opens_the_node_is_refused_unless_allowed() {
        let asks = json!({
            "image": "x", "privileged": true, "cap_add": ["SYS_ADMIN"],
            "volumes": ["/etc:/host"], "mount": [{"source": "v", "target": "/v"}],
        });
        let (_, problems) = read(asks.clone());
        assert_eq!(problems.len(), 4, "{problems:?}");
        let options = DockerOptions {
            allow_privileged: true,
            volumes_enabled: true,
            allow_caps: vec!["cap_sys_admin".to_owned()],
            ..DockerOptions::new("test")
        };
        assert_eq!(read_with(asks, &options).1, Vec::<String>::new());
    }

    #[test]
    fn says_what_is_wrong() {
        let (_, problems) = read(json!({
            "img": "x", "volumes": ["nope", "a:b"], "mount": {"type": "npipe", "target": "/x"},
            "ulimit": {"nofile": "many"}, "healthchecks": {"enable": 1},
            "labels": {"herder.task": "evil"}, "image_pull_timeout": "soon",
        }));
        let all = problems.join("\n");
        for words in [
            "`image` is missing",
            "`volumes`: `nope`",
            "`volumes`: `a:b`",
            "in `mount`: `type` must be",
            "`ulimit`: `many`",
            "in `healthchecks`: `enable` is not known",
            "`herder.task` is Herder's own",
            "`image_pull_timeout`: `soon` is not a duration",
            "`img` is not known",
        ] {
            assert!(all.contains(words), "{words} in\n{all}");
        }
    }
}
