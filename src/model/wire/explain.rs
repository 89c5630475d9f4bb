//! Why something runs where it does, and why not elsewhere or not at all (law 8).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::empty_is_none;
use crate::{
    AllocId, ClientStatus, CommitId, DeploymentId, DeploymentStatus, DesiredStatus, EvalId,
    EvalStatus, EvalTrigger, JobId, JobType, NodeId, NodeScore, Timestamp,
};

/// `/v1/gitops/explain/job/:id`: a job, and what each of its groups would find if one more of it had to be placed now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobExplanation {
    /// The job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// The desired version.
    pub job_version: u64,
    /// Its type.
    #[serde(rename = "Type")]
    pub kind: JobType,
    /// Its priority.
    pub priority: u16,
    /// The commit that the version came from.
    pub commit: CommitId,
    /// Its file, from the repository's root.
    pub path: String,
    /// Why nothing of it is to run, in words; empty for a job that is to run.
    pub stopped: String,
    /// The deployment of the desired version.
    pub deployment: Option<DeploymentBrief>,
    /// The last pass over the job that is on record.
    pub evaluation: Option<EvaluationBrief>,
    /// Its groups, in the file's order.
    pub groups: Vec<GroupExplanation>,
}

impl JobExplanation {
    /// Whether something of it waits.
    pub fn waits(&self) -> bool {
        self.groups.iter().any(|group| !group.waits.is_empty())
    }
}

/// `/v1/gitops/explain/allocation/:id`: an allocation, then and now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocationExplained {
    /// The allocation.
    pub allocation: AllocationExplanation,
    /// The job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// The job version that it runs.
    pub job_version: u64,
    /// The commit that it came from.
    pub commit: CommitId,
    /// Its file, from the repository's root.
    pub path: String,
    /// The job that took its room, if it was evicted.
    #[serde(rename = "EvictedFor")]
    pub evicted_for: Option<JobId>,
    /// The allocation that it replaces.
    #[serde(rename = "PreviousAllocation", with = "empty_is_none")]
    pub previous: Option<AllocId>,
    /// The allocation that replaces it.
    #[serde(rename = "NextAllocation", with = "empty_is_none")]
    pub next: Option<AllocId>,
    /// The pass that placed it; null when that is forgotten.
    pub evaluation: Option<EvaluationBrief>,
    /// The deployment that it belongs to.
    pub deployment: Option<DeploymentBrief>,
    /// Nodes looked at when it was placed.
    pub nodes_evaluated: u32,
    /// Nodes refused then, by what.
    pub filtered: BTreeMap<String, u32>,
    /// Nodes without room then, by dimension.
    pub exhausted: BTreeMap<String, u32>,
    /// Its node as it scored then, and the best of the others; at most five.
    pub scores: Vec<NodeVerdict>,
    /// Its group as it stands now; null when that is not desired any more.
    pub group: Option<GroupExplanation>,
}

/// A deployment in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentBrief {
    /// ID.
    #[serde(rename = "ID")]
    pub id: DeploymentId,
    /// Where it stands.
    pub status: DeploymentStatus,
    /// The same in words.
    #[serde(rename = "StatusDescription")]
    pub description: String,
}

/// A pass over a job in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EvaluationBrief {
    /// ID.
    #[serde(rename = "ID")]
    pub id: EvalId,
    /// What made it necessary.
    pub triggered_by: EvalTrigger,
    /// How it ended.
    pub status: EvalStatus,
    /// The same in words.
    #[serde(rename = "StatusDescription")]
    pub description: String,
    /// When.
    #[serde(rename = "CreateTime")]
    pub created_at: Timestamp,
}

/// A group: what each node says to one more of it, what it waits for, and what there is of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GroupExplanation {
    /// The group.
    #[serde(rename = "TaskGroup")]
    pub group: String,
    /// Allocations wanted.
    pub desired: u32,
    /// Allocations that are placed, are to run and are not over.
    pub placed: u32,
    /// Nodes that there are.
    pub nodes_total: u32,
    /// Nodes that would take one more now.
    pub nodes_fit: u32,
    /// Nodes that must not have it, by what says so.
    pub filtered: BTreeMap<String, u32>,
    /// Nodes without room, by the first dimension that they are short of.
    pub exhausted: BTreeMap<String, u32>,
    /// Each node's answer: those that fit, best first; then those without room, the nearest first; then the others.
    /// At most 1,000, shared by the groups of an answer.
    pub nodes: Vec<NodeVerdict>,
    /// Nodes that are counted above and left out of `Nodes`.
    pub nodes_left_out: u32,
    /// How many of its allocations may be replaced now; null when none is to be.
    pub gate: Option<GateView>,
    /// What it waits for; empty when it waits for nothing.
    pub waits: Vec<WaitView>,
    /// What there is of it: what is to run by index, then the newest that are over. At most 1,000, shared by the groups of
    /// an answer.
    pub allocations: Vec<AllocationExplanation>,
    /// Allocations that are left out of `Allocations`.
    pub allocations_left_out: u32,
}

/// What a node says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It would do.
    #[default]
    Fits,
    /// It would do if it had room.
    Exhausted,
    /// It must not be.
    Filtered,
}

/// A node's answer to one more of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeVerdict {
    /// The node.
    #[serde(rename = "NodeID")]
    pub node: NodeId,
    /// Its name; empty for one that is forgotten.
    #[serde(rename = "NodeName")]
    pub name: String,
    /// Its answer.
    pub verdict: Verdict,
    /// What refuses it, or the first dimension that it is short of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// All that it is short of and that can be counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<Shortage>,
    /// Its score, if it fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<NodeScore>,
}

/// What a node is short of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Shortage {
    /// `cpu` (MHz), `memory` and `disk` (MB), `cores`.
    pub dimension: String,
    /// How much is asked for.
    pub asked: u64,
    /// How much of it is free.
    pub free: u64,
    /// How much of it the node has.
    pub total: u64,
}

impl Shortage {
    /// How much is missing.
    pub const fn missing(&self) -> u64 {
        self.asked.saturating_sub(self.free)
    }

    /// What it is counted in; empty for what is counted in pieces.
    pub fn unit(&self) -> &'static str {
        match self.dimension.as_str() {
            "cpu" => "MHz",
            "memory" | "disk" => "MB",
            _ => "",
        }
    }
}

/// How many of a group may be replaced now, and why no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GateView {
    /// Allocations that the desired version is to replace.
    pub outdated: u32,
    /// How many of them may go now.
    pub now: u32,
    /// Why, in words.
    pub reason: String,
}

/// What kind of thing is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitKind {
    /// For room, or for a node that will do.
    #[default]
    Room,
    /// For the next pass: there is room.
    Pass,
    /// For the time to replace one that failed.
    Reschedule,
    /// For a person, or a new version: what failed is not tried again.
    Retries,
    /// For the gate of a rollout.
    Gate,
    /// For promotion of its canaries.
    Promotion,
    /// For a deployment that is paused or failed.
    Deployment,
    /// For something that was told to stop to be over.
    Stopping,
    /// For another job that comes first.
    Order,
}

/// Something that a group waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitView {
    /// What kind of thing.
    pub kind: WaitKind,
    /// In words.
    pub description: String,
    /// Since when, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// An allocation in one line: why it exists, why it is where it is, and whether it would be put there again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocationExplanation {
    /// ID.
    #[serde(rename = "ID")]
    pub id: AllocId,
    /// Name.
    pub name: String,
    /// Its node.
    #[serde(rename = "NodeID")]
    pub node: NodeId,
    /// Its node's name.
    pub node_name: String,
    /// The job version that it runs.
    pub job_version: u64,
    /// What is wanted of it.
    #[serde(rename = "DesiredStatus")]
    pub desired: DesiredStatus,
    /// Why it is to stop, in words.
    #[serde(rename = "DesiredDescription")]
    pub desired_description: String,
    /// What its node says of it.
    #[serde(rename = "ClientStatus")]
    pub client: ClientStatus,
    /// Created.
    #[serde(rename = "CreateTime")]
    pub created_at: Timestamp,
    /// Why it exists, in words.
    pub reason: String,
    /// What its node scored then.
    pub score_then: Option<f64>,
    /// What choosing its node anew would say; null for one that is over, or when it was not worked out.
    pub today: Option<ChosenToday>,
}

/// What would come of choosing a node anew for an allocation that had left its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ChosenToday {
    /// Whether it would be the same node.
    pub same: bool,
    /// Its own node's answer.
    pub own: NodeVerdict,
    /// The best of the others, if any would do.
    pub best_other: Option<NodeVerdict>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_never_less_than_nothing() {
        let shortage = |asked, free| Shortage { asked, free, ..Shortage::default() }.missing();
        assert_eq!((shortage(1500, 1300), shortage(1, 2)), (200, 0));
    }
}
