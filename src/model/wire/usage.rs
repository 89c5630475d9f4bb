//! What tasks and nodes use, and the files of allocations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What an allocation uses (`/v1/client/allocation/:id/stats`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocResourceUsage {
    /// All tasks together.
    pub resource_usage: ResourceUsage,
    /// By task: those that run and whose drivers can tell.
    pub tasks: BTreeMap<String, TaskResourceUsage>,
    /// When this was looked at.
    pub timestamp: Timestamp,
}

/// What a task uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskResourceUsage {
    /// What it uses.
    pub resource_usage: ResourceUsage,
    /// When this was looked at.
    pub timestamp: Timestamp,
    /// Its processes. Herder's own: Nomad lists each.
    pub processes: u64,
}

/// Memory and processor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ResourceUsage {
    /// Memory.
    pub memory_stats: MemoryStats,
    /// Processor.
    pub cpu_stats: CpuStats,
}

/// Memory, in bytes. What is not in `Measured` is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MemoryStats {
    /// What nobody could take away.
    #[serde(rename = "RSS")]
    pub rss: u64,
    /// What the kernel keeps of files.
    pub cache: u64,
    /// What is swapped out.
    pub swap: u64,
    /// With what the kernel keeps.
    pub usage: u64,
    /// The most there ever was.
    pub max_usage: u64,
    /// Of the kernel for it.
    pub kernel_usage: u64,
    /// The most of that.
    pub kernel_max_usage: u64,
    /// Which of these were measured.
    pub measured: Vec<String>,
}

/// Processor. Percents are of one core: 200 is two cores in full use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CpuStats {
    /// Percent in the kernel.
    pub system_mode: f64,
    /// Percent in the task itself.
    pub user_mode: f64,
    /// MHz.
    pub total_ticks: f64,
    /// Times that it was held back.
    pub throttled_periods: u64,
    /// How long it was held back, in nanoseconds.
    pub throttled_time: u64,
    /// Percent.
    pub percent: f64,
    /// Which of these were measured.
    pub measured: Vec<String>,
}

/// What a node uses (`/v1/client/stats`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostStats {
    /// Memory.
    pub memory: HostMemory,
    /// Each core.
    #[serde(rename = "CPU")]
    pub cpu: Vec<HostCpu>,
    /// The file system of the allocations. Nomad lists all.
    pub disk_stats: Vec<HostDisk>,
    /// The same.
    pub alloc_dir_stats: HostDisk,
    /// Seconds since the machine was started.
    pub uptime: u64,
    /// MHz in use.
    #[serde(rename = "CPUTicksConsumed")]
    pub cpu_ticks_consumed: f64,
    /// When this was looked at.
    pub timestamp: Timestamp,
}

/// A node's memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostMemory {
    /// All of it.
    pub total: u64,
    /// What can be had without swapping.
    pub available: u64,
    /// What cannot.
    pub used: u64,
    /// What nobody uses for anything.
    pub free: u64,
}

/// A core, in percent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostCpu {
    /// `cpu0` …
    #[serde(rename = "CPU")]
    pub cpu: String,
    /// In programs.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
    /// Idle.
    pub idle: f64,
    /// Not idle.
    pub total_percent: f64,
}

/// A file system.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostDisk {
    /// Empty: Herder looks at a folder, not at a device.
    pub device: String,
    /// The folder that was looked at.
    pub mountpoint: String,
    /// Bytes.
    pub size: u64,
    /// Bytes in use.
    pub used: u64,
    /// Bytes that can be had.
    pub available: u64,
    /// Percent in use.
    pub used_percent: f64,
    /// Percent of the inodes in use.
    pub inodes_used_percent: f64,
}

/// A file of an allocation (`/v1/client/fs/ls` and `/stat`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocFileInfo {
    /// Its name.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Bytes.
    pub size: u64,
    /// As `ls -l` writes it: `-rw-r--r--`.
    pub file_mode: String,
    /// Last change.
    #[serde(with = "super::rfc3339")]
    pub mod_time: Timestamp,
}

/// What `POST /v1/allocation/:id/stop` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocStopResponse {
    /// Empty: the evaluation comes after the answer.
    #[serde(rename = "EvalID")]
    pub eval_id: String,
    /// State index of the change.
    pub index: u64,
}
