//! Herder's own answers: repositories, revisions and plans.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::diff::{FieldChange, JobDiff};
use crate::{
    CommitId, DesiredUpdates, Diagnostic, FileChangeKind, JobId, NodeId, NodeScore,
    PlacementFailure, Revision, RevisionOutcome, Timestamp,
};

/// `/v1/gitops/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GitopsStatus {
    /// The repositories, by name.
    pub repos: Vec<RepoView>,
}

/// A repository and how the agent that answers follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RepoView {
    /// Name.
    pub name: String,
    /// Where it is, without credentials.
    pub url: String,
    /// The branch that is followed.
    pub branch: String,
    /// The commit that is desired; null before the first.
    pub head: Option<CommitId>,
    /// The newest commit that was seen; differs from `Head` while it is taken in.
    pub seen: Option<CommitId>,
    /// First line of the desired commit's message.
    pub subject: String,
    /// Its author.
    pub author: String,
    /// Its own time.
    pub committed_at: Timestamp,
    /// Last look at the remote; zero before the first.
    pub last_poll: Timestamp,
    /// Last look that worked.
    pub last_success: Timestamp,
    /// Next look.
    pub next_poll: Timestamp,
    /// Why the last look failed.
    pub error: Option<GitopsError>,
    /// Job files at the head.
    pub files: u32,
    /// Files that cannot be used; their jobs keep their last good version.
    pub broken: Vec<BrokenFile>,
    /// Removals that are held.
    pub held: Vec<HeldRemoval>,
}

/// Why a remote could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GitopsError {
    /// A stable word, such as `auth` or `network`.
    pub kind: String,
    /// In words.
    pub message: String,
}

/// A file that cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BrokenFile {
    /// The file, from the repository's root.
    pub path: String,
    /// The first job that it last declared.
    pub job: Option<JobId>,
    /// All of them; they keep running as they were.
    pub jobs: Vec<JobId>,
    /// What is wrong.
    pub problems: Vec<Diagnostic>,
}

/// A file that is gone while its job is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HeldRemoval {
    /// The file, from the repository's root.
    pub path: String,
    /// The job that it declared.
    pub job: Option<JobId>,
}

/// A row of `/v1/gitops/revisions`, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RevisionEntry {
    /// The revision.
    #[serde(flatten)]
    pub revision: Revision,
    /// What became of it.
    pub outcome: RevisionOutcome,
    /// When the last of its jobs was done; null while one is not.
    pub finished_at: Option<Timestamp>,
    /// From the first sight of the commit to the end, in milliseconds.
    pub duration_ms: Option<u64>,
    /// What became of each job.
    pub jobs: Vec<JobOutcome>,
}

/// What became of a job of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobOutcome {
    /// The job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// What became of it.
    pub outcome: RevisionOutcome,
    /// The same in words.
    pub description: String,
}

/// The body of `POST /v1/gitops/plan`. Exactly one of `Files`, `Rev` and `Head` says what to plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
pub struct PlanRequest {
    /// The repository; may be left out when there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Job files by path from the repository's root, and the vars files and included files that go with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<BTreeMap<String, String>>,
    /// The folder that `Files` are all job files of, so that one that is missing is gone, or the one file that was
    /// looked at; the whole repository when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under: Option<String>,
    /// What was looked for beside `Files` and is not there any more: files, and folders (with `/` behind them) that have
    /// no vars files but those in `Files`. All else that is not beneath `Under` is read at the head.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<String>,
    /// A branch, tag or commit that the agent's mirror has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// The branch that is followed, as the agent's mirror has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<bool>,
}

/// What would happen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PlanResponse {
    /// The repository.
    pub repo: String,
    /// The commit that was planned; null for files.
    pub commit: Option<CommitId>,
    /// Each job that is affected.
    pub jobs: Vec<PlannedJob>,
    /// Findings in the files.
    pub problems: Vec<Diagnostic>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Whether anything would change.
    pub changes: bool,
    /// Whether anything would start or stop.
    pub disruptive: bool,
}

/// What would happen to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PlannedJob {
    /// The job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// Its file, from the repository's root.
    pub path: String,
    /// What happens with the file; null for a job whose file declares another one now.
    pub change: Option<FileChangeKind>,
    /// The difference of the versions; null when nothing differs.
    pub diff: Option<JobDiff>,
    /// Each change of a version that runs, what it makes of allocations and why: those that replace first.
    #[serde(default)]
    pub changes: Vec<FieldChange>,
    /// What starts, stops and changes, by group.
    #[serde(default)]
    pub updates: BTreeMap<String, DesiredUpdates>,
    /// Why, by group.
    #[serde(default)]
    pub reasons: BTreeMap<String, Vec<String>>,
    /// Sizes of the batches to come, by group: canaries first.
    #[serde(default)]
    pub batches: BTreeMap<String, Vec<u32>>,
    /// What would not fit, by group.
    #[serde(default)]
    pub failures: BTreeMap<String, PlacementFailure>,
    /// When it starts next, for a periodic job.
    #[serde(default)]
    pub next_periodic_launch: Option<Timestamp>,
    /// Where the first pass puts what, by group; at most 20 of each. `Updates` counts all of them.
    #[serde(default)]
    pub placements: BTreeMap<String, Vec<PlannedPlacement>>,
    /// Allocations of other jobs that make room for it, by job.
    #[serde(default)]
    pub evicts: BTreeMap<JobId, u32>,
    /// The jobs that it waits for before it does any of this, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<WaitsFor>,
}

/// A job that another one waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitsFor {
    /// Which.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// What is not settled about it, in words.
    pub reason: String,
}

/// Where an allocation would be put, and why there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PlannedPlacement {
    /// `<job>.<group>[<index>]`.
    pub name: String,
    /// The node.
    #[serde(rename = "NodeID")]
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// Why the allocation is needed, in words.
    pub reason: String,
    /// The node's score.
    pub score: Option<NodeScore>,
}

/// The body of `POST /v1/gitops/check`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckRequest {
    /// The repository; all when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
}

/// The body of `POST /v1/gitops/approve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
pub struct ApproveRequest {
    /// The repository; may be left out when there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The jobs whose held removals go on; all when empty.
    pub jobs: Vec<JobId>,
}

/// The answer to a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ChangeResponse {
    /// State index of the change.
    pub index: u64,
}
