//! How a group is kept alive and replaced: restart, reschedule, update, migrate, disconnect.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::JobType;
use crate::{nanos, optional_nanos};

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
    /// Length of the window that attempts are counted in.
    #[serde(with = "nanos")]
    pub interval: Duration,
    /// Attempts within the interval.
    pub attempts: u32,
    /// Wait before a restart; up to a quarter more is added by chance.
    #[serde(with = "nanos")]
    pub delay: Duration,
    /// What happens when the attempts are used up.
    pub mode: RestartMode,
    /// Whether templates are rendered anew.
    pub render_templates: bool,
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
            render_templates: false,
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
    /// Deprecated; kept for the wire.
    #[serde(with = "nanos")]
    pub stagger: Duration,
    /// Allocations replaced at a time; 0 for all at once and no deployment.
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
    /// Canaries to place before the rest.
    pub canary: u32,
    /// Go back to the last stable version on failure.
    pub auto_revert: bool,
    /// Promote canaries when all are healthy.
    pub auto_promote: bool,
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

/// Which allocation stays when a lost node comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconcile {
    /// The one on the better node.
    #[default]
    BestScore,
    /// The one that was there first.
    KeepOriginal,
    /// Its replacement.
    KeepReplacement,
    /// The one that has run longer.
    LongestRunning,
}

/// What happens to allocations on a node that does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Disconnect {
    /// How long they are waited for; not at all when nothing is said.
    #[serde(with = "optional_nanos")]
    pub lost_after: Option<Duration>,
    /// After which time the node itself stops them.
    #[serde(with = "optional_nanos")]
    pub stop_on_client_after: Option<Duration>,
    /// Whether they are replaced meanwhile.
    pub replace: bool,
    /// Which stays when the node comes back.
    pub reconcile: Reconcile,
}

impl Default for Disconnect {
    fn default() -> Self {
        Self {
            lost_after: None,
            stop_on_client_after: None,
            replace: true,
            reconcile: Reconcile::BestScore,
        }
    }
}
