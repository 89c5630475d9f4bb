//! From a task to the container that Docker is asked for.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Component, Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountTmpfsOptions, MountType,
    PortBinding, ResourcesUlimits,
};

use super::config::{Config, Mounted, Source};
use crate::TaskSpec;

/// The labels that make a container ours.
pub(super) const ALLOC: &str = "herder.alloc_id";
pub(super) const TASK: &str = "herder.task";
pub(super) const INSTANCE: &str = "herder.instance";
pub(super) const SPEC: &str = "herder.spec";

/// The label that says where the output goes, for an agent that finds nothing but the container.
pub(super) const LOG: &str = "herder.log";

/// What the daemon keeps of the output at most: it has to bridge the time in which no agent is there to take it.
const MAX_LOG_MB: u64 = 20;

/// The container's name. Characters that Docker does not take become `_`; the labels tell tasks apart for sure.
pub(super) fn name(spec: &TaskSpec) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let task: String = spec.task.chars().map(safe).collect();
    let first = task.chars().next().filter(char::is_ascii_alphanumeric).map_or("t", |_| "");
    format!("{first}{task}-{}", spec.alloc)
}

/// What tells a container of this very task from one of another version of it.
pub(super) fn fingerprint(spec: &TaskSpec) -> String {
    let mut hasher = DefaultHasher::new();
    let ports = format!("{:?}", spec.ports);
    let config = format!("{:?}", spec.driver_config);
    let resources = format!("{:?}", spec.resources);
    (&spec.env, &spec.user, ports, config, resources).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Everything Docker is told. Only fields of API 1.41 are set. Fails, in words, if the task asks for what is not there.
pub(super) fn body(
    spec: &TaskSpec,
    config: &Config,
    instance: &str,
    mounts: Vec<Mount>,
) -> Result<ContainerCreateBody, String> {
    let filled = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let published = published(spec, config)?;
    let joined = joined(spec, config);
    let host_network = joined.is_some() || config.network_mode.as_deref() == Some("host");
    let exposed = published.iter().map(|(port, _)| port.clone()).collect();
    Ok(ContainerCreateBody {
        image: Some(config.image.clone()),
        cmd: filled(&config.command),
        entrypoint: filled(&config.entrypoint),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        user: (!spec.user.is_empty()).then(|| spec.user.clone()),
        working_dir: config.work_dir.clone(),
        hostname: config.hostname.clone().filter(|_| joined.is_none()),
        labels: Some(labels(spec, config, instance)),
        exposed_ports: (!host_network).then_some(exposed),
        host_config: Some(HostConfig {
            port_bindings: (!host_network).then(|| bindings(published)),
            extra_hosts: filled(&config.extra_hosts).filter(|_| joined.is_none()),
            dns: filled(&config.dns_servers).filter(|_| joined.is_none()),
            network_mode: joined.or_else(|| config.network_mode.clone()),
            ..host_config(spec, config, mounts)
        }),
        ..ContainerCreateBody::default()
    })
}

/// The group's network, which has the ports and names; unless the file asks for another one.
fn joined(spec: &TaskSpec, config: &Config) -> Option<String> {
    let network = spec.network.as_ref().filter(|_| config.network_mode.is_none())?;
    network.container.as_ref().map(|container| format!("container:{container}"))
}

fn host_config(spec: &TaskSpec, config: &Config, mounts: Vec<Mount>) -> HostConfig {
    let filled = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let bytes = |mb: u64| i64::try_from(mb.saturating_mul(1024 * 1024)).unwrap_or(i64::MAX);
    let resources = &spec.resources;
    let soft = bytes(resources.memory_mb);
    // -1 asks for no limit at all.
    let limit = u64::try_from(resources.memory_max_mb)
        .ok()
        .map(|most| bytes(most.max(resources.memory_mb)));
    let ulimit = |(name, soft, hard): &(String, i64, i64)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(*soft),
        hard: Some(*hard),
    };
    HostConfig {
        // Docker refuses less than 2.
        cpu_shares: Some(i64::try_from(resources.cpu.max(2)).unwrap_or(i64::MAX)),
        memory: limit,
        memory_reservation: limit.is_none_or(|limit| soft < limit).then_some(soft),
        // As much as memory means: no swap on top.
        memory_swap: limit,
        mounts: Some(mounts),
        cap_add: filled(&config.cap_add),
        cap_drop: filled(&config.cap_drop),
        ulimits: Some(config.ulimits.iter().map(ulimit).collect()),
        sysctls: Some(config.sysctl.clone().into_iter().collect()),
        shm_size: config.shm_size,
        init: config.init,
        readonly_rootfs: Some(config.readonly_rootfs),
        privileged: Some(config.privileged),
        log_config: Some(log_config(spec)),
        ..HostConfig::default()
    }
}

fn log_config(spec: &TaskSpec) -> HostConfigLogConfig {
    if spec.log.disabled {
        return HostConfigLogConfig { typ: Some("none".to_owned()), config: None };
    }
    let size = spec.log.max_file_size_mb.clamp(1, MAX_LOG_MB / 2);
    let config =
        HashMap::from([("max-size".into(), format!("{size}m")), ("max-file".into(), "2".into())]);
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(config) }
}

fn labels(spec: &TaskSpec, config: &Config, instance: &str) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    labels.extend(config.labels.clone());
    // Ours last: nobody takes them from us.
    for (key, value) in [
        (ALLOC, spec.alloc.to_string()),
        (TASK, spec.task.clone()),
        (INSTANCE, instance.to_owned()),
        (SPEC, fingerprint(spec)),
        ("herder.job", spec.job.to_string()),
        ("herder.group", spec.group.clone()),
        (LOG, serde_json::to_string(&(&spec.dirs.logs, &spec.log)).unwrap_or_default()),
    ] {
        labels.insert(key.to_owned(), value);
    }
    labels
}

/// Ports in the container with the node's port for each; both protocols, as Nomad does it.
fn published(spec: &TaskSpec, config: &Config) -> Result<Vec<(String, PortBinding)>, String> {
    let mut all = Vec::new();
    let labels = config.ports.iter().map(|label| (label, None));
    let mapped = config.port_map.iter().map(|(label, port)| (label, Some(*port)));
    for (label, to) in labels.chain(mapped) {
        let port = spec
            .ports
            .iter()
            .find(|port| port.label == *label)
            .ok_or_else(|| format!("port `{label}` is not in the group's network block"))?;
        let inside = to.unwrap_or(if port.to == 0 { port.value } else { port.to });
        let binding = PortBinding {
            host_ip: (!port.host_ip.is_empty()).then(|| port.host_ip.clone()),
            host_port: Some(port.value.to_string()),
        };
        for protocol in ["tcp", "udp"] {
            all.push((format!("{inside}/{protocol}"), binding.clone()));
        }
    }
    Ok(all)
}

fn bindings(published: Vec<(String, PortBinding)>) -> bollard::models::PortMap {
    let mut map = bollard::models::PortMap::new();
    for (port, binding) in published {
        map.entry(port).or_default().get_or_insert_default().push(binding);
    }
    map
}

/// The task's three directories and what its file asks for. Looks at the disk; blocks.
pub(super) fn mounts(spec: &TaskSpec, asked: &[Mounted]) -> Result<Vec<Mount>, String> {
    let dirs = &spec.dirs;
    let bind = |source: &Path, target: &str, read_only| Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    };
    let mut mounts = vec![
        bind(&dirs.alloc_dir, "/alloc", false),
        bind(&dirs.local, "/local", false),
        bind(&dirs.secrets, "/secrets", false),
    ];
    for mount in asked {
        let target = mount.target.as_str();
        mounts.push(match &mount.source {
            Source::Path(path) => bind(&source(&dirs.task_dir, path)?, target, mount.read_only),
            Source::Volume(volume) => Mount {
                typ: Some(MountType::VOLUME),
                source: (!volume.is_empty()).then(|| volume.clone()),
                ..bind(Path::new(""), target, mount.read_only)
            },
            Source::Memory { size, mode } => Mount {
                typ: Some(MountType::TMPFS),
                source: None,
                tmpfs_options: Some(MountTmpfsOptions {
                    size_bytes: (*size > 0).then_some(*size),
                    mode: (*mode > 0).then_some(*mode),
                    options: None,
                }),
                ..bind(Path::new(""), target, mount.read_only)
            },
        });
    }
    Ok(mounts)
}

/// Where a relative path leads: from the task's directory to somewhere in the allocation's, through no link, because a
/// task could have placed one. What is not there becomes a directory. Absolute paths were allowed or refused before.
fn source(task_dir: &Path, path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        return Ok(PathBuf::from(path));
    }
    let outside = || format!("the volume `{path}` leads out of the allocation's directory");
    let root = task_dir.parent().ok_or_else(outside)?;
    let mut inside: Vec<_> = task_dir.file_name().into_iter().collect();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                inside.pop().ok_or_else(outside)?;
            }
            Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    // The allocation's root itself would show every task's secrets.
    if inside.is_empty() {
        return Err(outside());
    }
    let mut at = root.to_owned();
    for part in inside {
        at.push(part);
        match std::fs::symlink_metadata(&at) {
            Ok(meta) if meta.is_symlink() => {
                return Err(format!("the volume `{path}` goes through a link: {}", at.display()));
            }
            Ok(_) => {}
            Err(_) => std::fs::create_dir(&at)
                .map_err(|error| format!("cannot make {} for a volume: {error}", at.display()))?,
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{AllocId, LogConfig, PortAssignment, Resources};

    use super::*;
    use crate::TaskDirs;

    fn spec() -> TaskSpec {
        TaskSpec {
            alloc: AllocId::default(),
            job: "shop".to_owned().into(),
            group: "front".into(),
            task: "we b".into(),
            driver_config: BTreeMap::new(),
            env: [("A".to_owned(), "b".to_owned())].into(),
            dirs: TaskDirs::default(),
            user: String::new(),
            resources: Resources {
                cpu: 1,
                memory_mb: 64,
                memory_max_mb: 128,
                ..Resources::default()
            },
            ports: vec![PortAssignment {
                label: "http".into(),
                value: 20_000,
                to: 80,
                host_ip: "10.0.0.1".into(),
                host_network: None,
            }],
            kill_signal: String::new(),
            log: LogConfig::default(),
            labels: [(TASK.to_owned(), "evil".to_owned())].into(),
            volumes: Vec::new(),
            network: None,
            dns: None,
            progress: crate::Progress::default(),
        }
    }

    #[test]
    fn ports_are_published_where_they_were_assigned() {
        let config = Config { ports: vec!["http".into()], ..Config::default() };
        let body = body(&spec(), &config, "i", Vec::new()).expect("fits");
        let host = body.host_config.expect("is set");
        let bindings = host.port_bindings.expect("is set");
        let tcp = bindings["80/tcp"].as_ref().expect("is set");
        assert_eq!(tcp[0].host_port.as_deref(), Some("20000"));
        assert_eq!(tcp[0].host_ip.as_deref(), Some("10.0.0.1"));
        assert!(bindings.contains_key("80/udp"));
        assert_eq!((host.cpu_shares, host.memory), (Some(2), Some(128 << 20)));
        assert_eq!(host.memory_reservation, Some(64 << 20));
        assert_eq!(body.labels.expect("is set")[TASK], "we b");
        let wrong = Config { ports: vec!["nope".into()], ..Config::default() };
        let problem = super::body(&spec(), &wrong, "i", Vec::new()).expect_err("no such port");
        assert_eq!(problem, "port `nope` is not in the group's network block");
    }

    #[test]
    fn names_are_what_docker_takes() {
        assert!(name(&spec()).starts_with("we_b-0000"));
        assert!(name(&TaskSpec { task: "-x".into(), ..spec() }).starts_with("t-x-"));
    }

    #[test]
    fn relative_volumes_stay_in_the_allocation() {
        let root = tempfile::tempdir().expect("a directory");
        let task_dir = root.path().join("web");
        std::fs::create_dir(&task_dir).expect("makes");
        let found = source(&task_dir, "./local/data").expect("inside");
        assert_eq!(found, task_dir.join("local/data"));
        assert!(found.is_dir());
        assert_eq!(source(&task_dir, "../alloc").expect("inside"), root.path().join("alloc"));
        for path in ["..", "../..", "../../etc", "local/../../../x"] {
            let problem = source(&task_dir, path).expect_err("outside");
            assert!(problem.contains("leads out"), "{problem}");
        }
        std::os::unix::fs::symlink("/etc", task_dir.join("link")).expect("links");
        assert!(source(&task_dir, "link/x").expect_err("a link").contains("through a link"));
    }
}
