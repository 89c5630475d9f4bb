//! One process or container of a group.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::{Consul, Secret, Vault, WorkloadIdentity};
use crate::material::{Artifact, Template};
use crate::network::Network;
use crate::placement::{Affinity, Constraint};
use crate::policy::Restart;
use crate::service::Service;
use crate::storage::{CsiPlugin, VolumeMount};
use crate::timing::Scaling;
use crate::{nanos, nullable};

/// One process or container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    /// Name, unique in the group.
    pub name: String,
    /// The driver that runs it.
    pub driver: String,
    /// User to run as; the driver's default when empty.
    pub user: String,
    /// Where it stands in the group's life; `None` for a main task.
    pub lifecycle: Option<Lifecycle>,
    /// The driver's own settings, read by the driver alone.
    #[serde(with = "nullable")]
    pub config: BTreeMap<String, Value>,
    /// Constraints beside the group's.
    #[serde(with = "nullable")]
    pub constraints: Vec<Constraint>,
    /// Affinities beside the group's.
    #[serde(with = "nullable")]
    pub affinities: Vec<Affinity>,
    /// Environment beside `NOMAD_*`.
    #[serde(with = "nullable")]
    pub env: BTreeMap<String, String>,
    /// Services of this task.
    #[serde(with = "nullable")]
    pub services: Vec<Service>,
    /// What it needs.
    pub resources: Resources,
    /// Restarts; the group's unless set.
    pub restart_policy: Option<Restart>,
    /// Metadata of the task alone.
    #[serde(with = "nullable")]
    pub meta: BTreeMap<String, String>,
    /// Time between the kill signal and SIGKILL; 5 s by default.
    #[serde(with = "nanos")]
    pub kill_timeout: Duration,
    /// Rotation of its logs.
    pub log_config: LogConfig,
    /// Downloads.
    #[serde(with = "nullable")]
    pub artifacts: Vec<Artifact>,
    /// Its access to the secret store.
    pub vault: Option<Vault>,
    /// Kept for the wire: there is one catalog here.
    pub consul: Option<Consul>,
    /// Files rendered for it.
    #[serde(with = "nullable")]
    pub templates: Vec<Template>,
    /// Where a dispatch's payload goes.
    pub dispatch_payload: Option<DispatchPayload>,
    /// Where it sees the group's volumes.
    #[serde(with = "nullable")]
    pub volume_mounts: Vec<VolumeMount>,
    /// A CSI plugin's part.
    #[serde(rename = "CSIPluginConfig", skip_serializing_if = "Option::is_none")]
    pub csi_plugin: Option<CsiPlugin>,
    /// When it ends, the rest of the group is told to.
    pub leader: bool,
    /// Wait between leaving the catalog and the kill signal.
    #[serde(with = "nanos")]
    pub shutdown_delay: Duration,
    /// Signal that asks it to end; the driver's default when empty.
    pub kill_signal: String,
    /// Kept for the wire: what kind of proxy it is.
    pub kind: String,
    /// Bounds of its resources for those who change them from outside.
    #[serde(with = "nullable")]
    pub scaling_policies: Vec<Scaling>,
    /// Secrets it reads.
    #[serde(with = "nullable")]
    pub secrets: Vec<Secret>,
    /// Its own identity.
    pub identity: Option<WorkloadIdentity>,
    /// Its other identities.
    #[serde(with = "nullable")]
    pub identities: Vec<WorkloadIdentity>,
    /// Commands that people may run in it.
    #[serde(with = "nullable")]
    pub actions: Vec<Action>,
    /// When it may run, as Nomad writes it.
    pub schedule: Option<Value>,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            name: String::new(),
            driver: String::new(),
            user: String::new(),
            lifecycle: None,
            config: BTreeMap::new(),
            constraints: Vec::new(),
            affinities: Vec::new(),
            env: BTreeMap::new(),
            services: Vec::new(),
            resources: Resources::default(),
            restart_policy: None,
            meta: BTreeMap::new(),
            kill_timeout: Duration::from_secs(5),
            log_config: LogConfig::default(),
            artifacts: Vec::new(),
            vault: None,
            consul: None,
            templates: Vec::new(),
            dispatch_payload: None,
            volume_mounts: Vec::new(),
            csi_plugin: None,
            leader: false,
            shutdown_delay: Duration::ZERO,
            kill_signal: String::new(),
            kind: String::new(),
            scaling_policies: Vec::new(),
            secrets: Vec::new(),
            identity: None,
            identities: Vec::new(),
            actions: Vec::new(),
            schedule: None,
        }
    }
}

impl Task {
    /// Whether it is one of the group's main tasks.
    pub const fn is_main(&self) -> bool {
        self.lifecycle.is_none()
    }
}

/// When a task that is not a main task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LifecycleHook {
    /// Before the main tasks.
    Prestart,
    /// After the main tasks have started.
    Poststart,
    /// After the main tasks have ended.
    Poststop,
}

/// A task's place in the group's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Lifecycle {
    /// When it runs.
    pub hook: LifecycleHook,
    /// Whether it keeps running beside the main tasks.
    pub sidecar: bool,
}

/// What a task needs of its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// MHz; 100 by default, 0 where cores are asked for.
    #[serde(rename = "CPU")]
    pub cpu: u64,
    /// Whole cores for the task alone.
    pub cores: u64,
    /// Megabytes; 300 by default.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: u64,
    /// Hard limit above `memory_mb`; 0 for none beside it, −1 for no limit at all. Placement counts `memory_mb` only.
    #[serde(rename = "MemoryMaxMB", with = "nullable")]
    pub memory_max_mb: i64,
    /// Kept for the wire; given up by Nomad.
    #[serde(rename = "DiskMB")]
    pub disk_mb: Option<i64>,
    /// The older way to ask for ports: the group's networks are the newer.
    #[serde(with = "nullable")]
    pub networks: Vec<Network>,
    /// Devices.
    #[serde(with = "nullable")]
    pub devices: Vec<DeviceRequest>,
    /// Nearness of cores, memory and devices.
    #[serde(rename = "NUMA")]
    pub numa: Option<Numa>,
    /// Size of the `secrets` folder in megabytes, on top of `memory_mb`.
    #[serde(rename = "SecretsMB", with = "nullable")]
    pub secrets_mb: u64,
    /// Kept for the wire; given up by Nomad.
    #[serde(rename = "IOPS")]
    pub iops: Option<i64>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu: 100,
            cores: 0,
            memory_mb: 300,
            memory_max_mb: 0,
            disk_mb: None,
            networks: Vec::new(),
            devices: Vec::new(),
            numa: None,
            secrets_mb: 0,
            iops: None,
        }
    }
}

/// A device that a task asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceRequest {
    /// `type`, `vendor/type` or `vendor/type/name`.
    pub name: String,
    /// How many; 1 by default.
    pub count: u64,
    /// Conditions that they must meet.
    #[serde(with = "nullable")]
    pub constraints: Vec<Constraint>,
    /// Conditions that they had better meet.
    #[serde(with = "nullable")]
    pub affinities: Vec<Affinity>,
}

/// Nearness of cores, memory and devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Numa {
    /// `none`, `prefer` or `require`.
    pub affinity: String,
    /// Devices that must be near.
    #[serde(with = "nullable")]
    pub devices: Vec<String>,
}

/// Rotation of a task's logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// Files kept per stream; 10 by default.
    pub max_files: u32,
    /// Size of a file in megabytes; 10 by default.
    #[serde(rename = "MaxFileSizeMB")]
    pub max_file_size_mb: u64,
    /// Kept for the wire: the older form of `disabled`.
    pub enabled: Option<bool>,
    /// Collect nothing.
    pub disabled: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { max_files: 10, max_file_size_mb: 10, enabled: None, disabled: false }
    }
}

/// Where a dispatch's payload goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DispatchPayload {
    /// The file, from the task's `local/`.
    pub file: String,
}

/// A command that people may run in a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// The command.
    pub command: String,
    /// Its arguments.
    #[serde(with = "nullable")]
    pub args: Vec<String>,
}
