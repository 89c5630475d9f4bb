//! The configuration file as written: HCL with Nomad's names where Nomad has them, or the same in YAML.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// The largest configuration file that is read.
const LIMIT: u64 = 1024 * 1024;

/// A configuration file. Every key may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) name: Option<String>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) bind_addr: Option<std::net::IpAddr>,
    pub(crate) datacenter: Option<String>,
    pub(crate) log_level: Option<String>,
    pub(crate) log_json: Option<bool>,
    /// `auto`, `server` or `worker`.
    pub(crate) role: Option<String>,
    /// Agents of the cluster to join.
    pub(crate) join: Vec<String>,
    /// A file with the token for it.
    pub(crate) token_file: Option<PathBuf>,
    /// The address that other agents are told.
    pub(crate) advertise_addr: Option<std::net::IpAddr>,
    pub(crate) ports: Ports,
    pub(crate) server: ServerBlock,
    pub(crate) client: ClientBlock,
    pub(crate) dns: DnsBlock,
    pub(crate) plugin: BTreeMap<String, PluginBlock>,
    pub(crate) repo: BTreeMap<String, RepoBlock>,
    pub(crate) log_shipping: LogShippingBlock,
    pub(crate) tls: TlsBlock,
    /// Whether a node that drains on shutdown does so on SIGTERM.
    pub(crate) leave_on_terminate: Option<bool>,
    /// Whether it does so on SIGINT.
    pub(crate) leave_on_interrupt: Option<bool>,
}

/// Where HTTP speaks TLS, and certificates of the organisation's own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsBlock {
    /// Whether the API and the catalog speak TLS; where nothing is said, their address decides.
    pub(crate) http: Option<bool>,
    /// The same for the catalog alone.
    pub(crate) catalog: Option<bool>,
    /// Whether callers of HTTP must show a certificate.
    pub(crate) verify_https_client: Option<bool>,
    /// The region that certificates of the organisation's own are for.
    pub(crate) region: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ports {
    pub(crate) http: Option<u16>,
    pub(crate) rpc: Option<u16>,
    pub(crate) catalog: Option<u16>,
    pub(crate) dns: Option<u16>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerBlock {
    pub(crate) enabled: Option<bool>,
    /// How many servers vote: 3 or 5.
    pub(crate) voters: Option<usize>,
    /// A node that is silent for this long is lost.
    pub(crate) lost_after: Option<String>,
    /// How placement chooses, until somebody says so.
    pub(crate) default_scheduler_config: Option<SchedulerBlock>,
}

/// How placement chooses. Nomad's names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SchedulerBlock {
    /// `binpack` or `spread`.
    pub(crate) scheduler_algorithm: Option<String>,
    pub(crate) memory_oversubscription_enabled: Option<bool>,
    pub(crate) preemption_config: PreemptionBlock,
    /// Nomad's, and must not be true.
    pub(crate) reject_job_registration: bool,
    /// Nomad's, and must not be true.
    pub(crate) pause_eval_broker: bool,
}

/// Which types of job may take the room of less important ones.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PreemptionBlock {
    pub(crate) batch_scheduler_enabled: Option<bool>,
    pub(crate) service_scheduler_enabled: Option<bool>,
    pub(crate) sysbatch_scheduler_enabled: Option<bool>,
    pub(crate) system_scheduler_enabled: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClientBlock {
    pub(crate) enabled: Option<bool>,
    pub(crate) node_class: Option<String>,
    pub(crate) node_pool: Option<String>,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) min_dynamic_port: Option<u16>,
    pub(crate) max_dynamic_port: Option<u16>,
    pub(crate) cpu_total_compute: Option<u64>,
    pub(crate) memory_total_mb: Option<u64>,
    /// The control group that the agents of this machine make theirs in.
    pub(crate) cgroup_parent: Option<String>,
    /// What tasks of `exec` and `java` see of the node, and where.
    pub(crate) chroot_env: BTreeMap<PathBuf, PathBuf>,
    pub(crate) reserved: Reserved,
    /// Devices that tasks can be given, by `vendor/type/name`.
    pub(crate) device: BTreeMap<String, DeviceBlock>,
    /// Directories that job files may mount, by name.
    pub(crate) host_volume: BTreeMap<String, HostVolumeBlock>,
    pub(crate) max_kill_timeout: Option<String>,
    pub(crate) gc_interval: Option<String>,
    pub(crate) gc_disk_usage_threshold: Option<f64>,
    pub(crate) gc_inode_usage_threshold: Option<f64>,
    pub(crate) gc_max_allocs: Option<usize>,
    pub(crate) gc_parallel_destroys: Option<usize>,
    /// Further addresses of this node, by the names that job files use.
    pub(crate) host_network: BTreeMap<String, HostNetworkBlock>,
    /// Where CNI plugins are, folders parted by `:`.
    pub(crate) cni_path: Option<String>,
    pub(crate) cni_config_dir: Option<PathBuf>,
    pub(crate) bridge_network_name: Option<String>,
    pub(crate) bridge_network_subnet: Option<String>,
    pub(crate) bridge_network_hairpin_mode: Option<bool>,
    pub(crate) artifact: ArtifactBlock,
    pub(crate) drain_on_shutdown: Option<DrainOnShutdownBlock>,
}

/// Devices of one make.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DeviceBlock {
    /// A file beneath `/dev`, or a pattern for several.
    pub(crate) path: String,
    /// What job files may ask for: texts, numbers, true or false.
    pub(crate) attributes: BTreeMap<String, serde_json::Value>,
}

/// How the node is emptied when its agent stops. Nomad's names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DrainOnShutdownBlock {
    /// When what is left is stopped.
    pub(crate) deadline: Option<String>,
    /// Everything is stopped at once.
    pub(crate) force: bool,
    /// What belongs to system jobs stays.
    pub(crate) ignore_system_jobs: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HostVolumeBlock {
    pub(crate) path: String,
    pub(crate) read_only: bool,
    /// Whether mounts may go both ways.
    pub(crate) allow_bidirectional: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HostNetworkBlock {
    pub(crate) cidr: String,
    pub(crate) interface: String,
    /// `22,80,8500-8600`.
    pub(crate) reserved_ports: String,
}

/// How artifacts are downloaded. Nomad's names, and `allow` and `deny`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ArtifactBlock {
    pub(crate) http_read_timeout: Option<String>,
    pub(crate) http_max_size: Option<String>,
    pub(crate) git_timeout: Option<String>,
    pub(crate) s3_timeout: Option<String>,
    pub(crate) decompression_size_limit: Option<String>,
    pub(crate) decompression_file_count_limit: Option<u64>,
    pub(crate) disable_filesystem_isolation: Option<bool>,
    /// Names, separated by commas.
    pub(crate) set_environment_variables: Option<String>,
    /// Networks that may be asked beside those that may be anyway.
    pub(crate) allow: Vec<String>,
    /// Networks that may not.
    pub(crate) deny: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Reserved {
    pub(crate) cpu: u64,
    /// `0-1,3`.
    pub(crate) cores: String,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
    /// `22,80,8500-8600`.
    pub(crate) reserved_ports: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DnsBlock {
    pub(crate) domains: Option<Vec<String>>,
    pub(crate) ttl: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PluginBlock {
    pub(crate) config: PluginConfig,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PluginConfig {
    pub(crate) enabled: Option<bool>,
    pub(crate) endpoint: Option<String>,
    pub(crate) allow_privileged: Option<bool>,
    /// Capabilities that job files may add beside those that Docker grants anyway; for `exec` and `java`, all they may.
    pub(crate) allow_caps: Vec<String>,
    /// Users that job files may not name.
    pub(crate) denied_users: Option<Vec<String>>,
    /// Processes and threads of one task.
    pub(crate) max_processes: Option<u64>,
    pub(crate) default_pid_mode: Option<String>,
    pub(crate) default_ipc_mode: Option<String>,
    pub(crate) volumes: Volumes,
    /// Whether job files may put a task into namespaces of the node or of another container.
    pub(crate) allow_host_namespaces: Option<bool>,
    /// Devices that job files may pass on: paths, or folders with `/` at the end.
    pub(crate) allow_devices: Vec<String>,
    /// Runtimes that job files may name.
    pub(crate) allow_runtimes: Option<Vec<String>>,
    /// Whether no task may gain privileges by running a program.
    pub(crate) no_new_privileges: Option<bool>,
    /// The most processes that a task may have.
    pub(crate) pids_limit: Option<i64>,
    /// Nomad's labels that containers carry beside Herder's.
    pub(crate) extra_labels: Vec<String>,
    pub(crate) auth: RegistryAuth,
    /// How long a pull may bring nothing new.
    pub(crate) pull_activity_timeout: Option<String>,
    pub(crate) gc: ContainerGc,
}

/// Where logins for registries are found.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RegistryAuth {
    /// A `config.json` of the Docker client.
    pub(crate) config: Option<PathBuf>,
    /// `docker-credential-NAME` is asked.
    pub(crate) helper: Option<String>,
}

/// What is cleaned up after containers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ContainerGc {
    pub(crate) image: Option<bool>,
    pub(crate) image_delay: Option<String>,
    pub(crate) container: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Volumes {
    pub(crate) enabled: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogShippingBlock {
    pub(crate) syslog: Option<SyslogBlock>,
    pub(crate) otlp: Option<OtlpBlock>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SyslogBlock {
    /// `udp://HOST:PORT`, `tcp://HOST:PORT` or `unix:///PATH`.
    pub(crate) address: String,
    pub(crate) facility: Option<String>,
    pub(crate) format: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OtlpBlock {
    pub(crate) endpoint: String,
    /// A file with a header in each line.
    pub(crate) headers_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RepoBlock {
    pub(crate) url: String,
    pub(crate) branch: Option<String>,
    pub(crate) paths: Vec<String>,
    pub(crate) interval: Option<String>,
    /// A file that holds a token for https.
    pub(crate) token_file: Option<PathBuf>,
    /// An environment variable that holds it.
    pub(crate) token_env: Option<String>,
    pub(crate) username: Option<String>,
    /// A private key for ssh.
    pub(crate) ssh_key: Option<PathBuf>,
    pub(crate) known_hosts: Option<PathBuf>,
    /// Certificates that https trusts instead of the built-in roots.
    pub(crate) ca_file: Option<PathBuf>,
    /// How many jobs one commit may stop without approval: `"50%"` or a number.
    pub(crate) max_removals: Option<String>,
    /// Who may say where the branch is while the leader cannot see it: `servers`, and IDs of nodes.
    pub(crate) heads_from: Option<Vec<String>>,
    /// The environment whose vars files (`NAME.ENVIRONMENT.vars.hcl`) apply.
    pub(crate) env: Option<String>,
    /// Values for variables of the job files: text as for `-var`, or any other value as it is.
    pub(crate) variables: BTreeMap<String, serde_json::Value>,
}

impl File {
    /// Reads a file. YAML by its ending, HCL otherwise.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let size =
            std::fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len();
        if size > LIMIT {
            bail!(
                "{} has {size} bytes; a configuration file may have up to {LIMIT}",
                path.display()
            );
        }
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        Self::parse(&text, yaml)
            .with_context(|| format!("{} is not a configuration", path.display()))
    }

    pub(crate) fn parse(text: &str, yaml: bool) -> anyhow::Result<Self> {
        if yaml {
            return Ok(serde_yaml::from_str(text)?);
        }
        // HCL says no line of a wrong value anyway; through a tree, what reads it is half a megabyte smaller.
        let tree: serde_json::Value = hcl::from_str(text)?;
        Ok(serde_json::from_value(tree)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hcl_and_yaml_say_the_same() {
        let hcl = File::parse(
            r#"
            data_dir = "/var/lib/herder"
            ports { http = 0 }
            plugin "raw_exec" {
              config { enabled = true }
            }
            repo "infra" {
              url   = "https://example.org/infra.git"
              paths = ["jobs"]
              env   = "prod"
              variables {
                image = "web:1"
                hosts = ["a", "b"]
              }
            }
            "#,
            false,
        )
        .expect("HCL");
        let yaml = File::parse(
            "data_dir: /var/lib/herder\nports: {http: 0}\nplugin: {raw_exec: {config: {enabled: true}}}\n\
             repo: {infra: {url: 'https://example.org/infra.git', paths: [jobs], env: prod, \
             variables: {image: 'web:1', hosts: [a, b]}}}\n",
            true,
        )
        .expect("YAML");
        assert_eq!(format!("{hcl:?}"), format!("{yaml:?}"));
        assert_eq!(hcl.repo["infra"].paths, ["jobs"]);
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let error = File::parse("data_dri = \"/x\"", false).expect_err("unknown key");
        assert!(format!("{error:#}").contains("data_dri"), "{error:#}");
    }
}
