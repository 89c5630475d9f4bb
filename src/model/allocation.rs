//! One placement of a group on a node, what it was told and what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use crate::evaluation::Explanation;
use crate::revision::Origin;
use crate::{AllocId, DeploymentId, EvalId, JobId, NodeId, TaskGrant, Timestamp, Words};

/// What the servers want of an allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredStatus {
    /// Run.
    #[default]
    Run,
    /// Stop.
    Stop,
    /// Stop to make room.
    Evict,
}

/// What its node says of an allocation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ClientStatus {
    /// Not started yet.
    #[default]
    Pending,
    /// A task runs and none failed.
    Running,
    /// Every task ended well, or was stopped.
    Complete,
    /// A task failed for good.
    Failed,
    /// Its node is gone.
    Lost,
    /// Its node cannot be reached.
    Unknown,
}

impl ClientStatus {
    /// Whether nothing more will happen on the node.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Lost)
    }

    /// The name as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// A port given to an allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortAssignment {
    /// The group's label.
    pub label: Arc<str>,
    /// The host's port.
    pub value: u16,
    /// The port in the task's network; equals `value` without mapping.
    pub to: u16,
    /// The host's address.
    #[serde(rename = "HostIP")]
    pub host_ip: Arc<str>,
    /// The node's host network that it is a port of; the node's own address when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<Box<str>>,
}

/// What an allocation holds of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocResources {
    /// MHz.
    pub cpu: u64,
    /// Megabytes of memory.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: u64,
    /// Megabytes of disk.
    #[serde(rename = "DiskMB")]
    pub disk_mb: u64,
    /// Ports, in the order the group names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortAssignment>,
    /// What single tasks have for themselves alone, by task.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, TaskGrant>,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskRunState {
    /// Not started, or waiting for a restart.
    #[default]
    Pending,
    /// Running.
    Running,
    /// Over.
    Dead,
}

/// Something that happened to a task, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskEvent {
    /// Nomad's name of the event: `Received`, `Started`, `Terminated`, `Restarting`, `Killing` …
    #[serde(rename = "Type")]
    pub kind: Words,
    /// When.
    pub time: Timestamp,
    /// What, for a person.
    #[serde(rename = "DisplayMessage")]
    pub message: Words,
    /// Exit code of a `Terminated` event.
    pub exit_code: Option<i32>,
    /// Signal of a `Terminated` event.
    pub signal: Option<i32>,
    /// Whether a `Terminated` task was ended for want of memory.
    #[serde(rename = "OOMKilled", skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
}

/// One task's state, as its node reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskState {
    /// Where it stands.
    pub state: TaskRunState,
    /// Whether it ended badly, for good.
    pub failed: bool,
    /// Restarts on this node.
    pub restarts: u32,
    /// Last start.
    pub started_at: Timestamp,
    /// Last end.
    pub finished_at: Timestamp,
    /// The newest events, oldest first; at most ten are kept.
    pub events: Vec<TaskEvent>,
}

/// A verdict on an allocation of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocHealth {
    /// The verdict.
    pub healthy: bool,
    /// When it was reached.
    #[serde(rename = "Timestamp")]
    pub at: Timestamp,
    /// Which task or check decided it, in words. Empty when healthy.
    pub reason: Words,
}

/// A check's status.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Good.
    Passing,
    /// Worth a look.
    Warning,
    /// Bad, or not known yet.
    #[default]
    Critical,
}

impl CheckStatus {
    /// The name as Consul's API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A check's last result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckState {
    /// The service it belongs to, after interpolation.
    pub service: String,
    /// The check's name.
    pub name: String,
    /// Status after thresholds.
    pub status: CheckStatus,
    /// What it saw, at most 4 KiB.
    pub output: String,
    /// When the status last changed.
    pub since: Timestamp,
}

/// One earlier replacement in an allocation's chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RescheduleEvent {
    /// When it was replaced.
    pub at: Timestamp,
    /// The allocation that failed.
    #[serde(rename = "PrevAllocID")]
    pub previous: AllocId,
    /// Its node.
    #[serde(rename = "PrevNodeID")]
    pub node: NodeId,
    /// The wait before this replacement, in nanoseconds.
    pub delay: u64,
}

/// What a node reports of one allocation. It replaces what was reported before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllocReport {
    /// Which.
    pub alloc: AllocId,
    /// Its status.
    pub client: ClientStatus,
    /// The same in words.
    pub client_description: String,
    /// Its tasks.
    pub tasks: BTreeMap<String, TaskState>,
    /// Its checks.
    pub checks: BTreeMap<String, CheckState>,
    /// The gate's verdict, for the deployment named in it.
    pub health: Option<AllocHealth>,
    /// The deployment that the verdict is for.
    pub deployment: Option<DeploymentId>,
}

/// Values of a node that tasks refer to: the reference, such as `meta.rack`, and a hash of the value; 0 where there was
/// none.
pub type NodeInputs = BTreeMap<String, u64>;

/// That an allocation is to move to another node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Move {
    /// Since when.
    pub since: Timestamp,
    /// Why, in words. Empty for one that leaves a node that is being emptied.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Box<str>,
}

/// One placement of a group on a node. There may be a million of them: what few have is kept apart, and what many have in
/// common is shared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allocation {
    /// Derived from the evaluation's inputs.
    pub id: AllocId,
    /// Index within the group, 0…count−1 for service and batch.
    pub index: u32,
    /// The job.
    #[serde(skip_serializing_if = "JobId::is_empty")]
    pub job: JobId,
    /// The job version it runs; an in-place update raises it.
    #[serde(skip_serializing_if = "is_default")]
    pub job_version: u64,
    /// The group.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub group: Arc<str>,
    /// The node.
    pub node: NodeId,
    /// The node's name.
    pub node_name: Arc<str>,
    /// The evaluation that placed it.
    pub eval: EvalId,
    /// The deployment it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// Whether it is a canary that is not promoted.
    #[serde(skip_serializing_if = "is_default")]
    pub canary: bool,
    /// The commit, path and blob that its job version came from (law 1).
    #[serde(skip_serializing_if = "Origin::is_nowhere")]
    pub origin: Arc<Origin>,
    /// What it holds.
    pub resources: AllocResources,
    /// What its tasks took from the node when it was placed; none where they name nothing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_inputs: Option<Box<NodeInputs>>,
    /// What is wanted.
    #[serde(skip_serializing_if = "is_default")]
    pub desired: DesiredStatus,
    /// Why it is to stop, in words.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub desired_description: Arc<str>,
    /// That it is to move to another node. Under `migrate` earlier versions wrote only since when, and whoever empties a
    /// node says it again.
    #[serde(rename = "move", skip_serializing_if = "Option::is_none")]
    pub migrate: Option<Box<Move>>,
    /// Since when its node cannot be reached while it is waited for. It stays until the allocation's return is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnected_at: Option<Timestamp>,
    /// What its node says.
    #[serde(skip_serializing_if = "is_default")]
    pub client: ClientStatus,
    /// The same in words.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub client_description: Arc<str>,
    /// Each task's state.
    #[serde(with = "few", skip_serializing_if = "Few::is_empty")]
    pub tasks: Few<TaskState>,
    /// The verdict of the deployment's gate, once reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<AllocHealth>,
    /// Each check's state, by [`crate::Instance::check_key`].
    #[serde(with = "few", skip_serializing_if = "Few::is_empty")]
    pub checks: Few<CheckState>,
    /// The allocation that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<AllocId>,
    /// The allocation that replaces this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<AllocId>,
    /// The job that takes its room, if it was evicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evicted_for: Option<Box<JobId>>,
    /// Earlier replacements in the chain, oldest first; at most five are kept.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub reschedules: Box<[RescheduleEvent]>,
    /// Why it exists and why it is where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Arc<Explanation>>,
    /// Created.
    pub created_at: Timestamp,
    /// Changed.
    pub modified_at: Timestamp,
    /// State index of creation.
    #[serde(skip_serializing_if = "is_default")]
    pub create_index: u64,
    /// State index of the last change.
    #[serde(skip_serializing_if = "is_default")]
    pub modify_index: u64,
}

/// Most fields of most allocations say nothing; those are not written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A map of few entries, as a sorted list: a tree would take room for eleven.
pub type Few<V> = LiteMap<String, V>;

/// How maps of a few entries are written: as any map. A length that bytes only claim reserves nothing.
mod few {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<V: Serialize, S: Serializer>(
        map: &super::Few<V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter())
    }

    pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<super::Few<V>, D::Error> {
        let map: BTreeMap<String, V> = BTreeMap::deserialize(from)?;
        Ok(super::Few::from_sorted_store_unchecked(map.into_iter().collect()))
    }
}

impl AsRef<Self> for Allocation {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Allocation {
    /// `<job>.<group>[<index>]`.
    pub fn name(&self) -> String {
        format!("{}.{}[{}]", self.job, self.group, self.index)
    }

    /// Why it is to move though its node is not emptied, in words. Empty for one that leaves such a node or stays.
    pub fn move_reason(&self) -> &str {
        self.migrate.as_ref().map_or("", |leaves| &leaves.reason)
    }

    /// Whether the servers want it gone.
    pub fn server_terminal(&self) -> bool {
        self.desired != DesiredStatus::Run
    }

    /// Whether it neither runs nor will.
    pub fn terminal(&self) -> bool {
        self.server_terminal() || self.client.is_terminal()
    }

    /// Whether the deployment's gate called it healthy.
    pub fn is_healthy(&self) -> bool {
        self.health.as_ref().is_some_and(|health| health.healthy)
    }

    /// Whether the deployment's gate called it unhealthy.
    pub fn is_unhealthy(&self) -> bool {
        self.health.as_ref().is_some_and(|health| !health.healthy)
    }

    /// The port with this label.
    pub fn port(&self, label: &str) -> Option<&PortAssignment> {
        self.resources.ports.iter().find(|port| &*port.label == label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node's record, the log and snapshots may be older than the agent.
    #[test]
    fn what_earlier_versions_wrote_is_read() {
        let written = serde_json::json!({
            "name": "web.front[2]",
            "index": 2,
            "job": "web",
            "group": "front",
            "migrate": 1_000_000_000_u64,
            "migrate_reason": "a better node",
            "client_description": "Tasks are running",
            "tasks": { "b": { "State": "running" }, "a": { "State": "dead" } },
            "checks": {},
            "reschedules": [],
            "evicted_for": "db",
            "explanation": { "Reason": "new", "ScoreMetaData": [{ "NormScore": 0.5 }] },
        });
        let read: Allocation = serde_json::from_value(written).expect("is read");
        assert_eq!(read.name(), "web.front[2]");
        assert_eq!((read.migrate.is_some(), read.move_reason()), (false, ""));
        assert_eq!(read.tasks.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read.evicted_for.as_deref(), Some(&JobId::from("db")));
        assert_eq!(read.explanation.as_ref().map(|why| &*why.reason), Some("new"));
        let again = serde_json::to_value(&read).expect("is written");
        assert_eq!(serde_json::from_value::<Allocation>(again).expect("is read"), read);
    }
}
