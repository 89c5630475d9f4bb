//! One pass of the evaluator over one job, and why it decided as it did (law 8).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{DeploymentId, EvalId, JobId, NodeScore, Timestamp};

/// What made a pass necessary. Nomad's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvalTrigger {
    /// A revision added or changed the job.
    #[default]
    JobRegister,
    /// A revision removed the job.
    JobDeregister,
    /// A node came, went or changed.
    NodeUpdate,
    /// An allocation failed.
    AllocFailure,
    /// A deployment went on, ended or was promoted.
    DeploymentWatcher,
    /// Capacity came back for what did not fit.
    QueuedAllocs,
    /// A wait was over.
    Scheduled,
    /// It lost its room to something more important.
    Preemption,
    /// Its time to run had come.
    PeriodicJob,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvalStatus {
    /// All that was wanted was planned.
    #[default]
    Complete,
    /// Something did not fit and waits.
    Blocked,
}

/// What a plan does to a group, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DesiredUpdates {
    /// Left as they are.
    pub ignore: u32,
    /// New allocations.
    pub place: u32,
    /// Moves to another node.
    pub migrate: u32,
    /// Stops without replacement.
    pub stop: u32,
    /// Changed without a restart.
    pub in_place_update: u32,
    /// Replaced.
    pub destructive_update: u32,
    /// New canaries.
    pub canary: u32,
    /// Allocations of other jobs that make room.
    pub preemptions: u32,
}

impl DesiredUpdates {
    /// Whether anything starts or stops.
    pub const fn is_disruptive(&self) -> bool {
        self.place + self.migrate + self.stop + self.destructive_update + self.canary > 0
    }
}

/// Why a group could not be placed on any node, counted over all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PlacementFailure {
    /// Nodes looked at.
    pub nodes_evaluated: u32,
    /// Nodes refused by each constraint, by its text.
    #[serde(rename = "ConstraintFiltered")]
    pub filtered: BTreeMap<String, u32>,
    /// Nodes without room, by dimension (`cpu`, `memory`, `disk`, `network: port 80 …`).
    #[serde(rename = "DimensionExhausted")]
    pub exhausted: BTreeMap<String, u32>,
    /// Allocations that were not placed.
    pub unplaced: u32,
}

/// Why an allocation exists and why it is on its node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Explanation {
    /// Why it exists, in words: `new`, `replaces 1a2b3c4d: task "web" config.args changed` …
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Arc<str>,
    /// Nodes refused, and by what. Shared with what was placed beside it.
    #[serde(skip_serializing_if = "is_nothing")]
    pub filtered: Arc<PlacementFailure>,
    /// The score of its node.
    #[serde(rename = "Score", skip_serializing_if = "Option::is_none")]
    pub score: Option<NodeScore>,
    /// The best nodes when the first of what was placed beside it was, best first; at most five. Shared with those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<Arc<Vec<NodeScore>>>,
}

fn is_nothing(failure: &PlacementFailure) -> bool {
    *failure == PlacementFailure::default()
}

impl Explanation {
    /// The score of its node, then those of the best others; at most five.
    pub fn all_scores(&self) -> impl Iterator<Item = &NodeScore> {
        let own = self.score.as_ref().map(|score| score.node);
        let others = self.best.iter().flat_map(|best| best.iter());
        self.score.iter().chain(others.filter(move |score| Some(score.node) != own)).take(5)
    }
}

/// One pass of the evaluator over one job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// Derived from the job and the state's index.
    pub id: EvalId,
    /// The job.
    pub job: JobId,
    /// The job's version at that time.
    pub job_version: u64,
    /// The job's type and priority, for the wire.
    pub kind: crate::JobType,
    /// Priority.
    pub priority: u16,
    /// What made it necessary.
    pub trigger: EvalTrigger,
    /// How it ended.
    pub status: EvalStatus,
    /// The same in words.
    pub description: String,
    /// The deployment it drove.
    pub deployment: Option<DeploymentId>,
    /// What it did, by group.
    pub updates: BTreeMap<String, DesiredUpdates>,
    /// What did not fit, by group.
    pub failures: BTreeMap<String, PlacementFailure>,
    /// The state index since which something does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<u64>,
    /// When.
    pub created_at: Timestamp,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
}
