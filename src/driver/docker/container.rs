//! From a task to the container that the daemon is asked for.

mod host;
mod names;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig, Mount,
    NetworkingConfig, PortBinding,
};

use super::DockerOptions;
use super::config::{Config, Network};
use crate::TaskSpec;

pub(super) use names::files;

/// The labels that make a container ours.
pub(super) const ALLOC: &str = "herder.alloc_id";
pub(super) const TASK: &str = "herder.task";
pub(super) const INSTANCE: &str = "herder.instance";
pub(super) const SPEC: &str = "herder.spec";

/// The label that says where the output goes, for an agent that finds nothing but the container.
pub(super) const LOG: &str = "herder.log";

/// What Nomad's labels begin with; tools that read containers' output look for them.
const NOMAD: &str = "com.hashicorp.nomad";

/// The container's name. Characters that Docker does not take become `_`; the labels tell tasks apart for sure.
pub(super) fn name(spec: &TaskSpec) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let task: String = spec.task.chars().map(safe).collect();
    let first = task.chars().next().filter(char::is_ascii_alphanumeric).map_or("t", |_| "");
    format!("{first}{task}-{}", spec.alloc)
}

/// The same for a container whose name another agent's has: two small clusters may give an allocation the same id.
pub(super) fn second_name(spec: &TaskSpec, instance: &str) -> String {
    let short: String = instance.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("{}-{short}", name(spec))
}

/// What tells a container of this very task from one of another version of it.
pub(super) fn fingerprint(spec: &TaskSpec) -> String {
    let mut hasher = DefaultHasher::new();
    let ports = format!("{:?}", spec.ports);
    let config = format!("{:?}", spec.driver_config);
    let resources = format!("{:?}", spec.resources);
    let around = format!("{:?} {:?} {:?}", spec.volumes, spec.network, spec.dns);
    (&spec.env, &spec.user, ports, config, resources, around).hash(&mut hasher);
    // Which cores it shares with others changes with the others.
    (spec.hardware.own_cores(), &spec.hardware.devices).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What the task's network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joins<'a> {
    /// The one that the file names, or the daemon's default.
    Own,
    /// That of a container, which the group's tasks share. Ports and names are that container's.
    Container(&'a str),
    /// A namespace by its file; only Podman can.
    Namespace(&'a str),
}

impl<'a> Joins<'a> {
    /// A file that names a network for its task gets that one, as with Nomad.
    pub(super) fn of(spec: &'a TaskSpec, config: &Config) -> Self {
        let Some(network) = spec.network.as_ref().filter(|_| config.network.mode.is_none()) else {
            return Self::Own;
        };
        match (&network.container, network.namespace.to_str()) {
            (Some(container), _) => Self::Container(container),
            (None, Some(namespace)) => Self::Namespace(namespace),
            (None, None) => Self::Own,
        }
    }
}

/// Everything the daemon is told. Only fields of API 1.41 are set. Fails, in words, if the task asks for what is not there.
pub(super) fn body(
    spec: &TaskSpec,
    config: &Config,
    options: &DockerOptions,
    mounts: Vec<Mount>,
) -> Result<ContainerCreateBody, String> {
    let filled = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let published = published(spec, config)?;
    let joins = Joins::of(spec, config);
    let has_ports = joins == Joins::Own && config.network.mode.as_deref() != Some("host");
    let exposed = published.iter().map(|(port, _)| port.clone()).collect();
    Ok(ContainerCreateBody {
        image: Some(config.image.clone()),
        cmd: filled(&config.command),
        entrypoint: filled(&config.entrypoint),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        user: (!spec.user.is_empty()).then(|| spec.user.clone()),
        working_dir: config.work_dir.clone(),
        hostname: config.network.hostname.clone().filter(|_| joins == Joins::Own),
        tty: config.tty.then_some(true),
        open_stdin: config.interactive.then_some(true),
        healthcheck: config.no_healthcheck.then(|| HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        labels: Some(labels(spec, config, options)),
        exposed_ports: has_ports.then_some(exposed),
        host_config: Some(HostConfig {
            port_bindings: has_ports.then(|| bindings(published)),
            ..host::config(spec, config, options, mounts)
        }),
        networking_config: (joins == Joins::Own).then(|| endpoint(&config.network)).flatten(),
        ..ContainerCreateBody::default()
    })
}

/// Addresses and further names in a network of the daemon.
fn endpoint(network: &Network) -> Option<NetworkingConfig> {
    if !network.has_endpoint() {
        return None;
    }
    let has_address = network.ipv4.is_some() || network.ipv6.is_some();
    let settings = EndpointSettings {
        aliases: (!network.aliases.is_empty()).then(|| network.aliases.clone()),
        mac_address: network.mac.clone(),
        ipam_config: has_address.then(|| EndpointIpamConfig {
            ipv4_address: network.ipv4.clone(),
            ipv6_address: network.ipv6.clone(),
            link_local_ips: None,
        }),
        ..EndpointSettings::default()
    };
    let name = network.mode.clone().unwrap_or_else(|| "bridge".to_owned());
    Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(name, settings)])) })
}

fn labels(spec: &TaskSpec, config: &Config, options: &DockerOptions) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    for (name, value) in [
        ("job_id", spec.job.to_string()),
        ("job_name", spec.job.to_string()),
        ("task_group_name", spec.group.clone()),
        ("task_name", spec.task.clone()),
        ("node_id", options.instance.clone()),
    ] {
        if options.extra_labels.iter().any(|wanted| matches(wanted, name)) {
            labels.insert(format!("{NOMAD}.{name}"), value);
        }
    }
    labels.extend(config.labels.clone());
    // Ours last: nobody takes them from us.
    for (key, value) in [
        (ALLOC, spec.alloc.to_string()),
        (TASK, spec.task.clone()),
        (INSTANCE, options.instance.clone()),
        (SPEC, fingerprint(spec)),
        ("herder.job", spec.job.to_string()),
        ("herder.group", spec.group.clone()),
        (LOG, serde_json::to_string(&(&spec.dirs.logs, &spec.log)).unwrap_or_default()),
    ] {
        labels.insert(key.to_owned(), value);
    }
    labels
}

/// A name, or its beginning and `*`.
fn matches(wanted: &str, name: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == name, |start| name.starts_with(start))
}

/// Ports in the container with the node's port for each; both protocols, as Nomad does it.
fn published(spec: &TaskSpec, config: &Config) -> Result<Vec<(String, PortBinding)>, String> {
    let mut all = Vec::new();
    let labels = config.network.ports.iter().map(|label| (label, None));
    let mapped = config.network.port_map.iter().map(|(label, port)| (label, Some(*port)));
    for (label, to) in labels.chain(mapped) {
        let port = spec
            .ports
            .iter()
            .find(|port| *port.label == **label)
            .ok_or_else(|| format!("port `{label}` is not in the group's network block"))?;
        let inside = to.unwrap_or(if port.to == 0 { port.value } else { port.to });
        let binding = PortBinding {
            host_ip: (!port.host_ip.is_empty()).then(|| port.host_ip.to_string()),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{AllocId, LogConfig, PortAssignment, Resources};

    use super::*;
    use crate::{GroupNetwork, TaskDirs};

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
            hardware: crate::Hardware::default(),
            progress: crate::Progress::default(),
        }
    }

    fn with_ports(labels: &[&str]) -> Config {
        let ports = labels.iter().map(|label| (*label).to_owned()).collect();
        Config { network: Network { ports, ..Network::default() }, ..Config::default() }
    }

    #[test]
    fn ports_are_published_where_they_were_assigned() {
        let config = with_ports(&["http"]);
        let body = body(&spec(), &config, &DockerOptions::new("i"), Vec::new()).expect("fits");
        let host = body.host_config.expect("is set");
        let bindings = host.port_bindings.expect("is set");
        let tcp = bindings["80/tcp"].as_ref().expect("is set");
        assert_eq!(tcp[0].host_port.as_deref(), Some("20000"));
        assert_eq!(tcp[0].host_ip.as_deref(), Some("10.0.0.1"));
        assert!(bindings.contains_key("80/udp"));
        assert_eq!((host.cpu_shares, host.memory), (Some(2), Some(128 << 20)));
        assert_eq!(host.memory_reservation, Some(64 << 20));
        assert_eq!(body.labels.expect("is set")[TASK], "we b");
        let wrong = with_ports(&["nope"]);
        let problem = super::body(&spec(), &wrong, &DockerOptions::new("i"), Vec::new())
            .expect_err("no such port");
        assert_eq!(problem, "port `nope` is not in the group's network block");
    }

    #[test]
    fn names_are_what_docker_takes() {
        assert!(name(&spec()).starts_with("we_b-0000"));
        assert!(name(&TaskSpec { task: "-x".into(), ..spec() }).starts_with("t-x-"));
    }

    #[test]
    fn a_group_network_holds_ports_and_names() {
        let network = GroupNetwork { container: Some("abc".into()), ..GroupNetwork::default() };
        let spec = TaskSpec { network: Some(network), ..spec() };
        let mut config = with_ports(&["http"]);
        config.network.hostname = Some("mine".into());
        let body = super::body(&spec, &config, &DockerOptions::new("i"), Vec::new()).expect("fits");
        let host = body.host_config.expect("is set");
        assert_eq!(host.network_mode.as_deref(), Some("container:abc"));
        assert_eq!((body.hostname, body.exposed_ports, host.port_bindings), (None, None, None));
        config.network.mode = Some("host".into());
        assert_eq!(Joins::of(&spec, &config), Joins::Own);
    }

    #[test]
    fn nomads_labels_are_there_where_they_are_asked_for() {
        let options =
            DockerOptions { extra_labels: vec!["task*".into()], ..DockerOptions::new("i") };
        let labels = labels(&spec(), &Config::default(), &options);
        assert_eq!(labels["com.hashicorp.nomad.task_name"], "we b");
        assert_eq!(labels["com.hashicorp.nomad.task_group_name"], "front");
        assert!(!labels.contains_key("com.hashicorp.nomad.job_id"));
    }
}
