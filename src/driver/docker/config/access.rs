//! What a file asks of the walls around its container, and whether the node allows it. Everything that is not known to
//! be harmless is refused: a list of what is harmful would be one entry short.

use crate::docker::{DockerOptions, Engine};
use crate::settings::Settings;

/// What Docker itself grants a container, without `NET_RAW`, which lets it forge packets: a file may always ask for these.
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

/// A device of the node and how the task may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::docker) struct Device {
    pub(in crate::docker) host: String,
    pub(in crate::docker) container: String,
    pub(in crate::docker) permissions: String,
}

/// The walls.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::docker) struct Access {
    pub(in crate::docker) privileged: bool,
    pub(in crate::docker) cap_add: Vec<String>,
    pub(in crate::docker) cap_drop: Vec<String>,
    pub(in crate::docker) devices: Vec<Device>,
    pub(in crate::docker) security_opt: Vec<String>,
    pub(in crate::docker) pid_mode: Option<String>,
    pub(in crate::docker) ipc_mode: Option<String>,
    pub(in crate::docker) uts_mode: Option<String>,
    pub(in crate::docker) userns_mode: Option<String>,
    /// `host` or `private`.
    pub(in crate::docker) cgroupns: Option<String>,
    pub(in crate::docker) runtime: Option<String>,
    pub(in crate::docker) oom_score_adj: Option<i64>,
    pub(in crate::docker) group_add: Vec<String>,
}

pub(super) fn access(s: &mut Settings<'_>, options: &DockerOptions) -> Access {
    let privileged = s.flag("privileged").unwrap_or(false);
    if privileged && !options.allow_privileged {
        s.problem("`privileged` is not allowed on this node");
    }
    let cap_add = cap_add(s, options);
    let mut cap_drop: Vec<String> = s.list("cap_drop").iter().map(|cap| capability(cap)).collect();
    let is_named = |caps: &[String], name: &str| caps.iter().any(|cap| cap == name || cap == "ALL");
    if !privileged && !is_named(&cap_add, "NET_RAW") && !is_named(&cap_drop, "NET_RAW") {
        cap_drop.push("NET_RAW".to_owned());
    }
    Access {
        privileged,
        cap_add,
        cap_drop,
        devices: devices(s, options),
        security_opt: security_opt(s, options, privileged),
        pid_mode: namespace(s, options, "pid_mode", &["private"]),
        ipc_mode: namespace(s, options, "ipc_mode", &["private", "none", "shareable"]),
        uts_mode: namespace(s, options, "uts_mode", &["private"]),
        userns_mode: namespace(s, options, "userns_mode", &["private", "auto"]),
        cgroupns: namespace(s, options, "cgroupns", &["private"]),
        runtime: runtime(s, options),
        oom_score_adj: oom_score_adj(s, options),
        group_add: s.list("group_add"),
    }
}

/// A capability as the kernel's headers name it, without the prefix.
fn capability(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

fn cap_add(s: &mut Settings<'_>, options: &DockerOptions) -> Vec<String> {
    let asked: Vec<String> = s.list("cap_add").iter().map(|cap| capability(cap)).collect();
    let allowed = |cap: &String| {
        let is_listed = |allow: &String| ["ALL", cap].contains(&capability(allow).as_str());
        options.allow_privileged
            || DEFAULT_CAPS.contains(&cap.as_str())
            || options.allow_caps.iter().any(is_listed)
    };
    for refused in asked.iter().filter(|cap| !allowed(cap)) {
        s.problem(format!("`cap_add`: {refused} is not allowed on this node"));
    }
    asked
}

/// Blocks as Docker's files have them, or lines `host:container:permissions` as Podman's.
fn devices(s: &mut Settings<'_>, options: &DockerOptions) -> Vec<Device> {
    let is_lines = s
        .value("devices")
        .and_then(serde_json::Value::as_array)
        .is_some_and(|items| !items.is_empty() && items.iter().all(serde_json::Value::is_string));
    let mut devices = Vec::new();
    if is_lines && options.engine == Engine::Podman {
        for line in s.list("devices") {
            let parts: Vec<&str> = line.split(':').collect();
            let of = |host: &str, container: &str, permissions: &str| Device {
                host: host.to_owned(),
                container: container.to_owned(),
                permissions: permissions.to_owned(),
            };
            match parts.as_slice() {
                [host] => devices.push(of(host, host, "rwm")),
                [host, second] if second.starts_with('/') => devices.push(of(host, second, "rwm")),
                [host, second] => devices.push(of(host, host, second)),
                [host, second, third] => devices.push(of(host, second, third)),
                _ => s.problem(format!("`devices`: `{line}` is not `host:container:permissions`")),
            }
        }
    } else {
        for block in s.blocks("devices") {
            let mut inner = Settings::new(&block);
            let host = inner.required("host_path");
            let container = inner.text("container_path").filter(|path| !path.is_empty());
            let permissions = inner.text("cgroup_permissions").filter(|text| !text.is_empty());
            s.nested("devices", inner.finish());
            devices.push(Device {
                container: container.unwrap_or_else(|| host.clone()),
                permissions: permissions.unwrap_or_else(|| "rwm".to_owned()),
                host,
            });
        }
    }
    for device in &devices {
        let host = device.host.as_str();
        if !device.permissions.chars().all(|c| "rwm".contains(c)) {
            s.problem(format!("`devices`: the permissions of {host} are letters of `rwm`"));
        }
        if !options.allow_privileged && !options.allow_devices.iter().any(|a| covers(a, host)) {
            s.problem(format!("`devices`: {host} is not allowed on this node"));
        }
    }
    devices
}

/// Whether an allowed path is the device, or a folder that it is beneath. A path with `..` is beneath nothing.
fn covers(allowed: &str, device: &str) -> bool {
    let is_plain = device.starts_with('/') && !device.split('/').any(|part| part == "..");
    is_plain && (allowed == device || (allowed.ends_with('/') && device.starts_with(allowed)))
}

fn security_opt(s: &mut Settings<'_>, options: &DockerOptions, privileged: bool) -> Vec<String> {
    let mut asked = s.list("security_opt");
    for option in &asked {
        let plain = option.trim().to_ascii_lowercase().replacen(':', "=", 1);
        let is_harmless = matches!(
            plain.as_str(),
            "no-new-privileges"
                | "no-new-privileges=true"
                | "seccomp=builtin"
                | "apparmor=docker-default"
                | "apparmor=containers-default"
        );
        if !is_harmless && !options.allow_privileged {
            let shown: String = option.chars().take(60).collect();
            s.problem(format!("`security_opt`: `{shown}` is not allowed on this node"));
        }
    }
    let is_set = |option: &String| option.starts_with("no-new-privileges");
    if options.no_new_privileges && !privileged {
        asked.retain(|option| !is_set(option));
        asked.push("no-new-privileges".to_owned());
    }
    asked
}

/// A namespace of the container's own is always fine; the node's and other containers' are for the node to allow.
fn namespace(
    s: &mut Settings<'_>,
    options: &DockerOptions,
    key: &'static str,
    own: &[&str],
) -> Option<String> {
    let mode = s.text(key).filter(|mode| !mode.is_empty())?;
    if own.contains(&mode.as_str()) {
        // Docker has no word for what is the default there.
        let is_default = matches!(key, "pid_mode" | "uts_mode") && mode == "private";
        return (!is_default).then_some(mode);
    }
    let is_of_others = mode == "host" || mode.starts_with("container:") || mode.starts_with("ns:");
    if !is_of_others && (key != "userns_mode" || options.engine == Engine::Docker) {
        s.problem(format!("`{key}` must be host or {}, not `{mode}`", own.join(" or ")));
    } else if !options.allow_host_namespaces && !options.allow_privileged {
        s.problem(format!("`{key}`: `{mode}` is not allowed on this node"));
    }
    Some(mode)
}

fn runtime(s: &mut Settings<'_>, options: &DockerOptions) -> Option<String> {
    let runtime = s.text("runtime").filter(|name| !name.is_empty())?;
    if !options.allow_runtimes.contains(&runtime) {
        let allowed = options.allow_runtimes.join(", ");
        s.problem(format!(
            "`runtime`: `{runtime}` is not allowed on this node, which allows: {allowed}"
        ));
    }
    Some(runtime)
}

fn oom_score_adj(s: &mut Settings<'_>, options: &DockerOptions) -> Option<i64> {
    let score = s.integer("oom_score_adj")?;
    if !(-1000..=1000).contains(&score) {
        s.problem("`oom_score_adj` is a number from -1000 to 1000");
    } else if score < 0 && !options.allow_privileged {
        // The kernel would sooner end the node's own programs.
        s.problem("`oom_score_adj` below 0 is not allowed on this node");
    }
    Some(score)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value, options: &DockerOptions) -> (Access, Vec<String>) {
        let values = serde_json::from_value(value).expect("a map");
        let mut settings = Settings::new(&values);
        let access = access(&mut settings, options);
        (access, settings.finish())
    }

    /// Each way out of a container that files know.
    fn ways_out() -> Vec<Value> {
        vec![
            json!({"privileged": true}),
            json!({"cap_add": ["SYS_ADMIN"]}),
            json!({"cap_add": ["net_raw"]}),
            json!({"cap_add": ["ALL"]}),
            json!({"pid_mode": "host"}),
            json!({"ipc_mode": "host"}),
            json!({"ipc_mode": "container:other"}),
            json!({"uts_mode": "host"}),
            json!({"userns_mode": "host"}),
            json!({"cgroupns": "host"}),
            json!({"security_opt": ["seccomp=unconfined"]}),
            json!({"security_opt": ["seccomp:unconfined"]}),
            json!({"security_opt": ["apparmor=unconfined"]}),
            json!({"security_opt": ["label=disable"]}),
            json!({"security_opt": ["label:type:spc_t"]}),
            json!({"security_opt": ["systempaths=unconfined"]}),
            json!({"security_opt": ["no-new-privileges:false"]}),
            json!({"security_opt": ["seccomp={\"defaultAction\": \"SCMP_ACT_ALLOW\"}"]}),
            json!({"devices": [{"host_path": "/dev/sda"}]}),
            json!({"oom_score_adj": -1}),
        ]
    }

    #[test]
    fn every_way_out_is_refused_unless_the_node_allows_it() {
        for value in ways_out() {
            let (_, problems) = read(value.clone(), &DockerOptions::new("i"));
            assert_eq!(problems.len(), 1, "{value}: {problems:?}");
            assert!(problems[0].contains("not allowed on this node"), "{problems:?}");
            let open = DockerOptions { allow_privileged: true, ..DockerOptions::new("i") };
            assert_eq!(read(value.clone(), &open).1, Vec::<String>::new(), "{value}");
        }
        let value = json!({"runtime": "kata"});
        let (_, problems) = read(value.clone(), &DockerOptions::new("i"));
        assert_eq!(problems, ["`runtime`: `kata` is not allowed on this node, which allows: runc"]);
        let kata = DockerOptions { allow_runtimes: vec!["kata".into()], ..DockerOptions::new("i") };
        assert_eq!(read(value, &kata).1, Vec::<String>::new());
    }

    #[test]
    fn what_keeps_the_walls_is_allowed() {
        let value = json!({
            "pid_mode": "private", "ipc_mode": "none", "cgroupns": "private", "uts_mode": "",
            "security_opt": ["no-new-privileges"], "oom_score_adj": 300, "runtime": "runc",
            "group_add": ["audio", 1000], "cap_add": ["CAP_CHOWN"], "devices": null,
        });
        let (access, problems) = read(value, &DockerOptions::new("i"));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((access.pid_mode, access.ipc_mode.as_deref()), (None, Some("none")));
        assert_eq!(access.cap_drop, ["NET_RAW"]);
        assert_eq!(access.group_add, ["audio", "1000"]);
    }

    #[test]
    fn raw_packets_need_a_word_from_both_sides() {
        let raw = DockerOptions { allow_caps: vec!["NET_RAW".into()], ..DockerOptions::new("i") };
        assert_eq!(read(json!({}), &raw).0.cap_drop, ["NET_RAW"]);
        let (access, problems) = read(json!({"cap_add": ["net_raw"]}), &raw);
        assert_eq!((access.cap_drop, problems), (Vec::new(), Vec::new()));
    }

    #[test]
    fn devices_are_allowed_by_path_or_folder() {
        let options = DockerOptions {
            allow_devices: vec!["/dev/dri/".into(), "/dev/kvm".into()],
            ..DockerOptions::new("i")
        };
        for (path, fine) in [
            ("/dev/dri/card0", true),
            ("/dev/kvm", true),
            ("/dev/kvm2", false),
            ("/dev/dri/../sda", false),
            ("dev/kvm", false),
        ] {
            let (_, problems) = read(json!({"devices": {"host_path": path}}), &options);
            assert_eq!(problems.is_empty(), fine, "{path}: {problems:?}");
        }
        let podman = DockerOptions {
            allow_devices: vec!["/dev/kvm".into()],
            ..DockerOptions::of(Engine::Podman, "i")
        };
        let (access, problems) = read(json!({"devices": ["/dev/kvm:/dev/k:r"]}), &podman);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(access.devices[0].container, "/dev/k");
    }

    #[test]
    fn a_node_can_forbid_new_privileges_for_all() {
        let strict = DockerOptions { no_new_privileges: true, ..DockerOptions::new("i") };
        assert_eq!(read(json!({}), &strict).0.security_opt, ["no-new-privileges"]);
        let both = DockerOptions { allow_privileged: true, ..strict };
        let (access, _) = read(json!({"security_opt": ["no-new-privileges=false"]}), &both);
        assert_eq!(access.security_opt, ["no-new-privileges"]);
    }
}
