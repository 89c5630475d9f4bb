//! One process or container of a group.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::{Constraint, Restart};
use crate::nanos;
use crate::service::Service;

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
    /// The driver's own settings, read by the driver alone.
    pub config: BTreeMap<String, serde_json::Value>,
    /// Environment beside `NOMAD_*`.
    pub env: BTreeMap<String, String>,
    /// Metadata of the task alone.
    pub meta: BTreeMap<String, String>,
    /// Services of this task.
    pub services: Vec<Service>,
    /// Constraints beside the group's.
    pub constraints: Vec<Constraint>,
    /// What it needs.
    pub resources: Resources,
    /// Restarts; the group's unless set.
    pub restart_policy: Option<Restart>,
    /// Where it stands in the group's life; `None` for a main task.
    pub lifecycle: Option<Lifecycle>,
    /// Time between the kill signal and SIGKILL; 5 s by default.
    #[serde(with = "nanos")]
    pub kill_timeout: Duration,
    /// Signal that asks it to end; the driver's default when empty.
    pub kill_signal: String,
    /// Wait between leaving the catalog and the kill signal.
    #[serde(with = "nanos")]
    pub shutdown_delay: Duration,
    /// When it ends, the rest of the group is told to.
    pub leader: bool,
    /// Rotation of its logs.
    pub log_config: LogConfig,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            name: String::new(),
            driver: String::new(),
            user: String::new(),
            config: BTreeMap::new(),
            env: BTreeMap::new(),
            meta: BTreeMap::new(),
            services: Vec::new(),
            constraints: Vec::new(),
            resources: Resources::default(),
            restart_policy: None,
            lifecycle: None,
            kill_timeout: Duration::from_secs(5),
            kill_signal: String::new(),
            shutdown_delay: Duration::ZERO,
            leader: false,
            log_config: LogConfig::default(),
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
    /// MHz; 100 by default.
    #[serde(rename = "CPU")]
    pub cpu: u64,
    /// Megabytes; 300 by default.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: u64,
    /// Hard limit above `memory_mb`; 0 for none. Placement counts `memory_mb` only.
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: u64,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu: 100, memory_mb: 300, memory_max_mb: 0 }
    }
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
    /// Collect nothing.
    pub disabled: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { max_files: 10, max_file_size_mb: 10, disabled: false }
    }
}
