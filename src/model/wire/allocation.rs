//! Allocations.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::job::JobView;
use super::metric::AllocMetric;
use super::{empty_is_none, rfc3339};
use crate::{
    AllocId, CheckState, ClientStatus, DeploymentId, DesiredStatus, DeviceGrant, EvalId, JobId,
    JobType, NodeId, Origin, PortAssignment, TaskRunState, Timestamp,
};

/// A row of `/v1/allocations` and its like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocListStub {
    /// ID.
    #[serde(rename = "ID")]
    pub id: AllocId,
    /// The evaluation that placed it.
    #[serde(rename = "EvalID")]
    pub eval_id: EvalId,
    /// `<job>.<group>[<index>]`.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Its node.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// Its node's name.
    pub node_name: String,
    /// Its job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// Its job's type.
    pub job_type: JobType,
    /// The version that it runs.
    pub job_version: u64,
    /// Its group.
    pub task_group: String,
    /// What it holds, with `?resources=true`.
    pub allocated_resources: Option<AllocatedResources>,
    /// What is wanted.
    pub desired_status: DesiredStatus,
    /// Why.
    pub desired_description: String,
    /// What its node says.
    pub client_status: ClientStatus,
    /// The same in words.
    pub client_description: String,
    /// Its tasks.
    pub task_states: BTreeMap<String, TaskStateView>,
    /// The gate's verdict; null before there is one.
    pub deployment_status: Option<AllocDeploymentStatus>,
    /// The deployment that it belongs to. Herder's own in a list.
    #[serde(rename = "DeploymentID", with = "empty_is_none")]
    pub deployment_id: Option<DeploymentId>,
    /// What it replaces. Herder's own in a list.
    #[serde(with = "empty_is_none")]
    pub previous_allocation: Option<AllocId>,
    /// What replaces it.
    #[serde(with = "empty_is_none")]
    pub next_allocation: Option<AllocId>,
    /// Earlier replacements.
    pub reschedule_tracker: Option<RescheduleTracker>,
    /// Where its version comes from. Herder's own.
    pub origin: Arc<Origin>,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
    /// Created.
    pub create_time: Timestamp,
    /// Changed.
    pub modify_time: Timestamp,
}

/// An allocation (`/v1/allocation/:id`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocationView {
    /// What a list shows of it.
    #[serde(flatten)]
    pub stub: AllocListStub,
    /// Position in its group. Herder's own.
    pub index: u32,
    /// The job in the version that it runs; null when that version is no longer kept.
    pub job: Option<JobView>,
    /// Its totals.
    pub resources: ResourceTotals,
    /// The same by task.
    pub task_resources: BTreeMap<String, ResourceTotals>,
    /// Disk and ports.
    pub shared_resources: ResourceTotals,
    /// Why it is where it is.
    pub metrics: AllocMetric,
    /// Each check's state. Herder's own.
    pub checks: BTreeMap<String, CheckState>,
}

/// Where a task stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskStateView {
    /// Where it stands.
    pub state: TaskRunState,
    /// Whether it ended badly, for good.
    pub failed: bool,
    /// Restarts on this node.
    pub restarts: u32,
    /// Last restart.
    #[serde(with = "rfc3339")]
    pub last_restart: Timestamp,
    /// Last start.
    #[serde(with = "rfc3339")]
    pub started_at: Timestamp,
    /// Last end.
    #[serde(with = "rfc3339")]
    pub finished_at: Timestamp,
    /// What happened, oldest first.
    pub events: Vec<TaskEventView>,
}

/// Something that happened to a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskEventView {
    /// `Received`, `Started`, `Terminated` …
    #[serde(rename = "Type")]
    pub kind: String,
    /// When.
    pub time: Timestamp,
    /// The same as `DisplayMessage`, where older clients look.
    pub message: String,
    /// What, for a person.
    pub display_message: String,
    /// Exit code and signal as text, where newer clients look.
    pub details: BTreeMap<String, String>,
    /// Exit code of a `Terminated` event.
    pub exit_code: i32,
    /// Signal of a `Terminated` event.
    pub signal: i32,
}

/// The gate's verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocDeploymentStatus {
    /// The verdict; null for a canary that has none yet.
    pub healthy: Option<bool>,
    /// When.
    #[serde(with = "rfc3339")]
    pub timestamp: Timestamp,
    /// Whether it is a canary.
    pub canary: bool,
    /// What decided it, in words. Herder's own.
    pub reason: String,
}

/// Earlier replacements in an allocation's chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RescheduleTracker {
    /// Oldest first.
    pub events: Vec<RescheduleView>,
}

/// One earlier replacement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RescheduleView {
    /// When.
    pub reschedule_time: Timestamp,
    /// What failed.
    #[serde(rename = "PrevAllocID")]
    pub prev_alloc_id: AllocId,
    /// Its node.
    #[serde(rename = "PrevNodeID")]
    pub prev_node_id: NodeId,
    /// The wait, in nanoseconds.
    pub delay: u64,
}

/// What an allocation holds, by task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedResources {
    /// By task.
    pub tasks: BTreeMap<String, AllocatedTask>,
    /// What the tasks share.
    pub shared: AllocatedShared,
}

/// What a task holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedTask {
    /// Processor.
    pub cpu: AllocatedCpu,
    /// Memory.
    pub memory: AllocatedMemory,
    /// Devices.
    pub devices: Vec<DeviceGrant>,
}

/// Processor time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedCpu {
    /// MHz.
    pub cpu_shares: u64,
    /// Cores that are its alone, by number.
    pub reserved_cores: Vec<u16>,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedMemory {
    /// Megabytes.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: u64,
    /// Hard limit in megabytes; 0 for none above the other, -1 for no limit.
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: i64,
}

/// What the tasks of an allocation share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedShared {
    /// The group's network.
    pub networks: Vec<NetworkResource>,
    /// Megabytes of disk.
    #[serde(rename = "DiskMB")]
    pub disk_mb: u64,
    /// Ports.
    pub ports: Vec<PortAssignment>,
}

/// A group's network as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkResource {
    /// `host`, `bridge` …
    pub mode: String,
    /// The host's address.
    #[serde(rename = "IP")]
    pub ip: String,
    /// Ports chosen from the dynamic range.
    pub dynamic_ports: Vec<NetworkPort>,
    /// Ports fixed by the file.
    pub reserved_ports: Vec<NetworkPort>,
}

/// A port of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkPort {
    /// Label.
    pub label: String,
    /// The host's port.
    pub value: u16,
    /// The port in the task's network.
    pub to: u16,
    /// The host network.
    pub host_network: String,
}

/// Totals in Nomad's older shape, which most clients still read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ResourceTotals {
    /// MHz.
    #[serde(rename = "CPU")]
    pub cpu: u64,
    /// Megabytes of memory.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: u64,
    /// Hard limit in megabytes; 0 for none above the other, -1 for no limit.
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: i64,
    /// Megabytes of disk.
    #[serde(rename = "DiskMB")]
    pub disk_mb: u64,
    /// The group's network.
    pub networks: Vec<NetworkResource>,
}
