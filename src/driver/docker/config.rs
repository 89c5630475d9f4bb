//! What a task says to `docker`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::DockerOptions;
use crate::settings::Settings;

/// What Docker itself grants a container, which a file may therefore always ask for.
const DEFAULT_CAPS: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Keys that Nomad knows and this driver does not act on yet.
const NOT_YET: [&str; 24] = [
    "advertise_ipv6_address",
    "cgroupns",
    "cpu_hard_limit",
    "cpuset_cpus",
    "devices",
    "dns_options",
    "dns_search_domains",
    "group_add",
    "healthchecks",
    "interactive",
    "ipc_mode",
    "ipv4_address",
    "ipv6_address",
    "isolation",
    "load",
    "mac_address",
    "memory_hard_limit",
    "network_aliases",
    "pid_mode",
    "pids_limit",
    "runtime",
    "security_opt",
    "storage_opt",
    "volume_driver",
];

/// Where a mount takes its files from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A path of the node, or one relative to the task's directory.
    Path(String),
    /// A volume of the daemon.
    Volume(String),
    /// Memory, with a size in bytes and a mode, 0 for the defaults.
    Memory { size: i64, mode: i64 },
}

/// A mount that the file asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    pub(super) source: Source,
    pub(super) target: String,
    pub(super) read_only: bool,
}

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
#[derive(Debug, Default, PartialEq)]
pub(super) struct Config {
    pub(super) image: String,
    pub(super) command: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) ports: Vec<String>,
    /// Labels to ports in the container, of files that still use `port_map`.
    pub(super) port_map: BTreeMap<String, u16>,
    pub(super) network_mode: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) mounts: Vec<Mounted>,
    pub(super) work_dir: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) extra_hosts: Vec<String>,
    pub(super) dns_servers: Vec<String>,
    pub(super) cap_add: Vec<String>,
    pub(super) cap_drop: Vec<String>,
    /// Name, soft and hard limit.
    pub(super) ulimits: Vec<(String, i64, i64)>,
    pub(super) sysctl: BTreeMap<String, String>,
    pub(super) shm_size: Option<i64>,
    pub(super) init: Option<bool>,
    pub(super) readonly_rootfs: bool,
    pub(super) privileged: bool,
    pub(super) force_pull: bool,
    pub(super) pull_timeout: Duration,
    pub(super) auth: Option<Auth>,
    /// Whether the file sets `logging`, which has no effect here.
    pub(super) sets_logging: bool,
}

/// Reads the settings; the second part says what is wrong with them or not allowed on this node.
pub(super) fn parse(
    values: &BTreeMap<String, Value>,
    options: &DockerOptions,
) -> (Config, Vec<String>) {
    let mut settings = Settings::new(values);
    let s = &mut settings;
    let image = s.required("image");
    let mut command: Vec<String> =
        s.text("command").filter(|c| !c.is_empty()).into_iter().collect();
    command.extend(s.list("args"));
    let config = Config {
        image,
        command,
        entrypoint: entrypoint(s),
        ports: s.list("ports"),
        port_map: port_map(s),
        network_mode: s.text("network_mode").filter(|mode| !mode.is_empty()),
        labels: labels(s),
        mounts: mounts(s, options),
        work_dir: s.text("work_dir").filter(|dir| !dir.is_empty()),
        hostname: s.text("hostname").filter(|name| !name.is_empty()),
        extra_hosts: s.list("extra_hosts"),
        dns_servers: s.list("dns_servers"),
        cap_add: cap_add(s, options),
        cap_drop: s.list("cap_drop").iter().map(|cap| capability(cap)).collect(),
        ulimits: ulimits(s),
        sysctl: s.map("sysctl"),
        shm_size: s.integer("shm_size"),
        init: s.flag("init"),
        readonly_rootfs: s.flag("readonly_rootfs").unwrap_or(false),
        privileged: s.flag("privileged").unwrap_or(false),
        force_pull: s.flag("force_pull").unwrap_or(false),
        pull_timeout: pull_timeout(s),
        auth: auth(s),
        sets_logging: s.value("logging").is_some(),
    };
    if config.privileged && !options.allow_privileged {
        s.problem("`privileged` is not allowed on this node");
    }
    if s.flag("tty") == Some(true) {
        s.problem("`tty` is not supported: the output of a terminal cannot be kept by stream");
    }
    s.unsupported(&NOT_YET);
    (config, settings.finish())
}

fn entrypoint(s: &mut Settings<'_>) -> Vec<String> {
    match s.value("entrypoint") {
        Some(Value::String(one)) => vec![one.clone()],
        _ => s.list("entrypoint"),
    }
}

fn port_map(s: &mut Settings<'_>) -> BTreeMap<String, u16> {
    let mut map = BTreeMap::new();
    for (label, port) in s.map("port_map") {
        match port.parse() {
            Ok(port) => {
                map.insert(label, port);
            }
            Err(_) => s.problem(format!("`port_map`: `{port}` is not a port")),
        }
    }
    map
}

fn labels(s: &mut Settings<'_>) -> BTreeMap<String, String> {
    let labels = s.map("labels");
    if let Some(label) = labels.keys().find(|label| label.starts_with("herder.")) {
        s.problem(format!("`labels`: `{label}` is Herder's own; choose another prefix"));
    }
    labels
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

/// A capability as the kernel's headers name it, without the prefix.
fn capability(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

fn cap_add(s: &mut Settings<'_>, options: &DockerOptions) -> Vec<String> {
    let asked: Vec<String> = s.list("cap_add").iter().map(|cap| capability(cap)).collect();
    let allowed = |cap: &String| {
        DEFAULT_CAPS.contains(&cap.as_str())
            || options.allow_caps.iter().any(|allow| capability(allow) == *cap)
    };
    for refused in asked.iter().filter(|cap| !allowed(cap)) {
        s.problem(format!("`cap_add`: {refused} is not allowed on this node"));
    }
    asked
}

fn ulimits(s: &mut Settings<'_>) -> Vec<(String, i64, i64)> {
    let mut limits = Vec::new();
    for (name, text) in s.map("ulimit") {
        let mut parts = text.splitn(2, ':').map(|part| part.trim().parse::<i64>());
        match (parts.next(), parts.next()) {
            (Some(Ok(soft)), None) => limits.push((name, soft, soft)),
            (Some(Ok(soft)), Some(Ok(hard))) => limits.push((name, soft, hard)),
            _ => s.problem(format!("`ulimit`: `{text}` for {name} is not `soft` or `soft:hard`")),
        }
    }
    limits
}

fn mounts(s: &mut Settings<'_>, options: &DockerOptions) -> Vec<Mounted> {
    let mut mounts = Vec::new();
    for volume in s.list("volumes") {
        match volume_line(&volume) {
            Some(mount) => mounts.push(mount),
            None => s.problem(format!(
                "`volumes`: `{volume}` is not `source:target`, `source:target:ro` or \
                 `source:target:rw` with an absolute target"
            )),
        }
    }
    for key in ["mount", "mounts"] {
        for block in s.blocks(key) {
            let mut inner = Settings::new(&block);
            let mount = mount_block(&mut inner);
            s.nested(key, inner.finish());
            mounts.extend(mount);
        }
    }
    if !options.volumes_enabled {
        for mount in &mounts {
            match &mount.source {
                Source::Path(path) if path.starts_with('/') => s.problem(format!(
                    "the path {path} of the node cannot be mounted: volumes are not enabled on \
                     this node"
                )),
                Source::Volume(name) => s.problem(format!(
                    "the volume `{name}` cannot be mounted: volumes are not enabled on this node"
                )),
                Source::Path(_) | Source::Memory { .. } => {}
            }
        }
    }
    mounts
}

fn volume_line(line: &str) -> Option<Mounted> {
    let mut parts = line.split(':');
    let (source, target) = (parts.next()?, parts.next()?);
    let read_only = match (parts.next(), parts.next()) {
        (None | Some("rw"), None) => false,
        (Some("ro"), None) => true,
        _ => return None,
    };
    let valid = !source.is_empty() && target.starts_with('/');
    let source = Source::Path(source.to_owned());
    valid.then(|| Mounted { source, target: target.to_owned(), read_only })
}

fn mount_block(inner: &mut Settings<'_>) -> Option<Mounted> {
    let kind = inner.text("type").unwrap_or_else(|| "volume".to_owned());
    let source = inner.text("source").unwrap_or_default();
    let target = inner.required("target");
    let read_only = inner.flag("readonly").unwrap_or(false);
    let mut memory = (0, 0);
    for block in inner.blocks("tmpfs_options") {
        let mut tmpfs = Settings::new(&block);
        memory = (tmpfs.integer("size").unwrap_or(0), tmpfs.integer("mode").unwrap_or(0));
        inner.nested("tmpfs_options", tmpfs.finish());
    }
    inner.unsupported(&["bind_options", "volume_options"]);
    let source = match kind.as_str() {
        "bind" => Source::Path(source),
        "volume" => Source::Volume(source),
        "tmpfs" => Source::Memory { size: memory.0, mode: memory.1 },
        other => {
            inner.problem(format!("`type` must be bind, volume or tmpfs, not `{other}`"));
            return None;
        }
    };
    if matches!(&source, Source::Path(path) if path.is_empty()) {
        inner.problem("`source` is missing");
    }
    if !target.starts_with('/') {
        inner.problem("`target` must be absolute");
    }
    Some(Mounted { source, target, read_only })
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
        assert_eq!(config.ulimits, [("nofile".to_owned(), 2048, 4096)]);
        assert_eq!(config.mounts.len(), 2);
        assert_eq!(config.pull_timeout, Duration::from_secs(60));
        assert_eq!(config.cap_add, ["CHOWN"]);
        assert!(config.sets_logging);
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
            "ulimit": {"nofile": "many"}, "devices": [], "tty": true,
            "labels": {"herder.task": "evil"}, "image_pull_timeout": "soon",
        }));
        let all = problems.join("\n");
        for words in [
            "`image` is missing",
            "`volumes`: `nope`",
            "`volumes`: `a:b`",
            "in `mount`: `type` must be",
            "`ulimit`: `many`",
            "`devices` is not supported yet",
            "`tty` is not supported",
            "`herder.task` is Herder's own",
            "`image_pull_timeout`: `soon` is not a duration",
            "`img` is not known",
        ] {
            assert!(all.contains(words), "{words} in\n{all}");
        }
    }
}
