//! A job as its file means it: after variables, inheritance and defaults. Serialises as Nomad's API JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::service::Service;
use crate::task::Task;
use crate::{JobId, SpecHash, nanos, optional_nanos};

/// What kind of work a job is, which decides how its allocations are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobType {
    /// Runs for ever; `count` allocations are kept alive.
    #[default]
    Service,
    /// Runs to completion.
    Batch,
    /// One allocation on each feasible node, kept alive.
    System,
    /// One allocation on each feasible node, run to completion.
    Sysbatch,
}

impl JobType {
    /// The name as job files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
            Self::System => "system",
            Self::Sysbatch => "sysbatch",
        }
    }

    /// Whether a finished task is the end (batch, sysbatch) and not a fault.
    pub const fn runs_to_completion(self) -> bool {
        matches!(self, Self::Batch | Self::Sysbatch)
    }

    /// Whether placement is one per node.
    pub const fn per_node(self) -> bool {
        matches!(self, Self::System | Self::Sysbatch)
    }
}

/// A job: the unit that one file declares and one deployment rolls out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Job {
    /// The job's ID; its label in the file unless `id` is set.
    #[serde(rename = "ID")]
    pub id: JobId,
    /// Display name; the ID by default.
    pub name: String,
    /// `default` unless the file says otherwise.
    pub namespace: String,
    /// `global` unless the file says otherwise.
    pub region: String,
    /// The kind of work.
    #[serde(rename = "Type")]
    pub kind: JobType,
    /// 1–100, default 50; higher is placed first.
    pub priority: u16,
    /// Place all or none.
    pub all_at_once: bool,
    /// Globs of datacenters that may run it; `["*"]` by default.
    pub datacenters: Vec<String>,
    /// The node pool; `default` by default.
    pub node_pool: String,
    /// Constraints for all groups.
    pub constraints: Vec<Constraint>,
    /// The groups, in file order.
    pub task_groups: Vec<Group>,
    /// Free metadata, inherited by groups and tasks.
    pub meta: BTreeMap<String, String>,
    /// What Herder adds to a job.
    #[serde(skip_serializing_if = "GitopsBlock::is_default")]
    pub gitops: GitopsBlock,
}

impl Job {
    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.task_groups.iter().find(|group| group.name == name)
    }

    /// The identity of a version: a hash of the canonical JSON. Object keys are ordered by the field order of these
    /// types and by `BTreeMap`, so that equal jobs give equal bytes.
    pub fn spec_hash(&self) -> SpecHash {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let digest = Sha256::digest(&bytes);
        SpecHash::from(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

/// Settings that only Herder knows (`gitops {}` in a job).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GitopsBlock {
    /// Whether a change of `meta` alone replaces allocations, as Nomad does. Off by default.
    pub restart_on_meta: bool,
}

impl GitopsBlock {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Tasks that are placed together on one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Group {
    /// Name, unique in the job.
    pub name: String,
    /// How many allocations; 1 by default.
    pub count: u32,
    /// Constraints beside the job's.
    pub constraints: Vec<Constraint>,
    /// The tasks, in file order.
    pub tasks: Vec<Task>,
    /// Networks; only the first is used for placement, as in Nomad.
    pub networks: Vec<Network>,
    /// Services of the whole group.
    pub services: Vec<Service>,
    /// Shared disk.
    pub ephemeral_disk: EphemeralDisk,
    /// Restarts on the node, for tasks that set none of their own.
    pub restart_policy: Restart,
    /// Replacement after restarts are used up. System jobs have none.
    pub reschedule_policy: Option<Reschedule>,
    /// Rolling updates. `None` where the type of job has none or `max_parallel = 0`.
    pub update: Option<Update>,
    /// Moves off draining nodes.
    pub migrate: Option<Migrate>,
    /// Wait between leaving the catalog and being told to stop.
    #[serde(with = "optional_nanos")]
    pub shutdown_delay: Option<Duration>,
    /// Metadata of the group alone.
    pub meta: BTreeMap<String, String>,
}

impl Group {
    /// The task of this name.
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// All services: the group's, then each task's with the task's name.
    pub fn all_services(&self) -> impl Iterator<Item = (Option<&Task>, &Service)> {
        self.services.iter().map(|service| (None, service)).chain(
            self.tasks
                .iter()
                .flat_map(|task| task.services.iter().map(move |service| (Some(task), service))),
        )
    }

    /// The network that placement uses.
    pub fn network(&self) -> Option<&Network> {
        self.networks.first()
    }
}

/// A condition that a node must meet. Operands as in Nomad (`=`, `!=`, `<`, `regexp`, `version`, `distinct_hosts` …).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Constraint {
    /// The attribute, as `${attr.kernel.name}`.
    #[serde(rename = "LTarget")]
    pub attribute: String,
    /// The value to compare with.
    #[serde(rename = "RTarget")]
    pub value: String,
    /// The operator.
    #[serde(rename = "Operand")]
    pub operator: String,
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.attribute.as_str(), self.value.as_str()) {
            ("", "") => f.write_str(&self.operator),
            (attribute, "") => write!(f, "{attribute} {}", self.operator),
            ("", value) => write!(f, "{} {value}", self.operator),
            (attribute, value) => write!(f, "{attribute} {} {value}", self.operator),
        }
    }
}

/// A group's network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Network {
    /// `host` (also when empty), `bridge`, `none` or `cni/<name>`.
    pub mode: String,
    /// Host name inside the network.
    pub hostname: String,
    /// Ports chosen from the node's dynamic range.
    pub dynamic_ports: Vec<Port>,
    /// Ports fixed by the file.
    pub reserved_ports: Vec<Port>,
}

impl Network {
    /// Static and dynamic ports, static first.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.reserved_ports.iter().chain(&self.dynamic_ports)
    }
}

/// A port that a group asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    /// Label, unique in the group.
    pub label: String,
    /// The fixed host port; 0 for a dynamic one.
    pub value: u16,
    /// The port inside the task's network; 0 means the host port.
    pub to: u16,
    /// The host network; empty or `default` for the node's own.
    pub host_network: String,
}

/// A group's shared disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EphemeralDisk {
    /// Keep with the previous node where possible.
    pub sticky: bool,
    /// Megabytes; 300 by default.
    #[serde(rename = "SizeMB")]
    pub size_mb: u64,
    /// Move data to the replacement's node.
    pub migrate: bool,
}

impl Default for EphemeralDisk {
    fn default() -> Self {
        Self { sticky: false, size_mb: 300, migrate: false }
    }
}

/// What happens when restart attempts are used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartMode {
    /// The task fails, and the allocation may be rescheduled.
    #[default]
    Fail,
    /// Wait until the interval is over and go on.
    Delay,
}

/// Restarts of a task on its node (nomad.md 1.1, 2.12).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Restart {
    /// Attempts within the interval.
    pub attempts: u32,
    /// Length of the window that attempts are counted in.
    #[serde(with = "nanos")]
    pub interval: Duration,
    /// Wait before a restart; up to a quarter more is added by chance.
    #[serde(with = "nanos")]
    pub delay: Duration,
    /// What happens when the attempts are used up.
    pub mode: RestartMode,
}

impl Restart {
    /// The default for a type of job.
    pub const fn default_for(kind: JobType) -> Self {
        let (attempts, interval) =
            if kind.runs_to_completion() { (3, 24 * 3600) } else { (2, 30 * 60) };
        Self {
            attempts,
            interval: Duration::from_secs(interval),
            delay: Duration::from_secs(15),
            mode: RestartMode::Fail,
        }
    }
}

impl Default for Restart {
    fn default() -> Self {
        Self::default_for(JobType::Service)
    }
}

/// How the wait between replacements grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DelayFunction {
    /// Always the same.
    Constant,
    /// Doubles.
    #[default]
    Exponential,
    /// The sum of the last two.
    Fibonacci,
}

/// Replacement of failed allocations (nomad.md 1.1, 2.12).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Reschedule {
    /// Attempts within the interval, unless unlimited.
    pub attempts: u32,
    /// Window that attempts are counted in.
    #[serde(with = "nanos")]
    pub interval: Duration,
    /// First wait.
    #[serde(with = "nanos")]
    pub delay: Duration,
    /// How the wait grows.
    pub delay_function: DelayFunction,
    /// The longest wait.
    #[serde(with = "nanos")]
    pub max_delay: Duration,
    /// No limit of attempts.
    pub unlimited: bool,
}

impl Reschedule {
    /// The default for a type of job; system jobs have none.
    pub const fn default_for(kind: JobType) -> Option<Self> {
        match kind {
            JobType::Service => Some(Self {
                attempts: 0,
                interval: Duration::ZERO,
                delay: Duration::from_secs(30),
                delay_function: DelayFunction::Exponential,
                max_delay: Duration::from_secs(3600),
                unlimited: true,
            }),
            JobType::Batch => Some(Self {
                attempts: 1,
                interval: Duration::from_secs(24 * 3600),
                delay: Duration::from_secs(5),
                delay_function: DelayFunction::Constant,
                max_delay: Duration::ZERO,
                unlimited: false,
            }),
            JobType::System | JobType::Sysbatch => None,
        }
    }
}

impl Default for Reschedule {
    fn default() -> Self {
        Self {
            attempts: 0,
            interval: Duration::ZERO,
            delay: Duration::from_secs(30),
            delay_function: DelayFunction::Exponential,
            max_delay: Duration::from_secs(3600),
            unlimited: true,
        }
    }
}

/// What decides whether an allocation is healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateHealth {
    /// All tasks run and all checks pass.
    #[default]
    Checks,
    /// All tasks run.
    TaskStates,
    /// Somebody says so through the API.
    Manual,
}

/// Rolling updates (nomad.md 1.1, 2.3–2.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Update {
    /// Allocations replaced at a time.
    pub max_parallel: u32,
    /// What health is judged by.
    pub health_check: UpdateHealth,
    /// How long an allocation must be healthy before the next batch.
    #[serde(with = "nanos")]
    pub min_healthy_time: Duration,
    /// How long it may take to become healthy.
    #[serde(with = "nanos")]
    pub healthy_deadline: Duration,
    /// How long the deployment may go without progress; zero fails it on the first unhealthy allocation.
    #[serde(with = "nanos")]
    pub progress_deadline: Duration,
    /// Go back to the last stable version on failure.
    pub auto_revert: bool,
    /// Promote canaries when all are healthy.
    pub auto_promote: bool,
    /// Canaries to place before the rest.
    pub canary: u32,
    /// Deprecated; kept for the wire.
    #[serde(with = "nanos")]
    pub stagger: Duration,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            max_parallel: 1,
            health_check: UpdateHealth::Checks,
            min_healthy_time: Duration::from_secs(10),
            healthy_deadline: Duration::from_secs(300),
            progress_deadline: Duration::from_secs(600),
            auto_revert: false,
            auto_promote: false,
            canary: 0,
            stagger: Duration::from_secs(30),
        }
    }
}

/// Moves off draining nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Migrate {
    /// Allocations moved at a time.
    pub max_parallel: u32,
    /// What health is judged by.
    pub health_check: UpdateHealth,
    /// How long a replacement must be healthy.
    #[serde(with = "nanos")]
    pub min_healthy_time: Duration,
    /// How long it may take.
    #[serde(with = "nanos")]
    pub healthy_deadline: Duration,
}

impl Default for Migrate {
    fn default() -> Self {
        Self {
            max_parallel: 1,
            health_check: UpdateHealth::Checks,
            min_healthy_time: Duration::from_secs(10),
            healthy_deadline: Duration::from_secs(300),
        }
    }
}
