//! Jobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::diff::JobDiff;
use crate::{Job, JobId, JobStatus, JobType, Origin, Payload, SpecHash, Timestamp};

/// A row of `/v1/jobs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobListStub {
    /// ID.
    #[serde(rename = "ID")]
    pub id: JobId,
    /// The job that it is a run of; empty for a job that a file declares.
    #[serde(rename = "ParentID")]
    pub parent_id: String,
    /// Display name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Datacenters that may run it.
    pub datacenters: Vec<String>,
    /// Node pool.
    pub node_pool: String,
    /// Type.
    #[serde(rename = "Type")]
    pub kind: JobType,
    /// Priority.
    pub priority: u16,
    /// Whether it starts at set times.
    pub periodic: bool,
    /// Whether it starts when it is dispatched.
    pub parameterized_job: bool,
    /// Whether it is to stop.
    pub stop: bool,
    /// Status.
    pub status: JobStatus,
    /// The same in words.
    pub status_description: String,
    /// Its allocations, counted.
    pub job_summary: JobSummary,
    /// Desired version.
    pub version: u64,
    /// Metadata, with `?meta=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<BTreeMap<String, String>>,
    /// Where the desired version comes from. Herder's own.
    pub origin: Arc<Origin>,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
    /// State index of the last change of what is desired.
    pub job_modify_index: u64,
    /// When what is desired last changed.
    pub submit_time: Timestamp,
}

/// A job's allocations, counted (`/v1/job/:id/summary`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobSummary {
    /// The job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// Its namespace.
    pub namespace: String,
    /// By group.
    pub summary: BTreeMap<String, GroupSummary>,
    /// Its runs, for a periodic or parameterized job.
    pub children: SummaryChildren,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
}

/// A group's allocations by where they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GroupSummary {
    /// Wanted, but not placed.
    pub queued: u32,
    /// Ended well.
    pub complete: u32,
    /// Ended badly.
    pub failed: u32,
    /// Running.
    pub running: u32,
    /// Placed, not running yet.
    pub starting: u32,
    /// Lost with their node.
    pub lost: u32,
    /// On a node that does not answer.
    pub unknown: u32,
}

/// Child jobs, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SummaryChildren {
    /// Waiting.
    pub pending: u32,
    /// Running.
    pub running: u32,
    /// Over.
    pub dead: u32,
}

/// A job with where it stands (`/v1/job/:id`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobView {
    /// The job itself.
    #[serde(flatten)]
    pub job: Arc<Job>,
    /// Whether it is to stop.
    pub stop: bool,
    /// Status.
    pub status: JobStatus,
    /// The same in words.
    pub status_description: String,
    /// This version's number.
    pub version: u64,
    /// Whether a deployment of it succeeded.
    pub stable: bool,
    /// The version that it brings back. Herder's own.
    pub reverts_to: Option<u64>,
    /// Where it comes from. Herder's own.
    pub origin: Arc<Origin>,
    /// Its identity. Herder's own.
    pub spec_hash: SpecHash,
    /// When it was taken in.
    pub submit_time: Timestamp,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
    /// State index of the last change of what is desired.
    pub job_modify_index: u64,
    /// The job that it is a run of; empty for a job that a file declares.
    #[serde(rename = "ParentID")]
    pub parent_id: String,
    /// Whether a dispatch made it.
    pub dispatched: bool,
    /// What the dispatch gave to be found again.
    pub dispatch_idempotency_token: String,
    /// What the dispatch handed over.
    pub payload: Option<Payload>,
    /// When it starts next, for a periodic job. Herder's own.
    pub next_periodic_launch: Option<Timestamp>,
}

/// What `POST /v1/job/:id/dispatch` is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobDispatchRequest {
    /// What its tasks are handed.
    pub payload: Payload,
    /// Metadata beside the job's own.
    pub meta: Option<BTreeMap<String, String>>,
    /// A part of the new job's name.
    #[serde(alias = "IDPrefixTemplate")]
    pub id_prefix_template: String,
    /// Another priority than the job's; 0 for none.
    pub priority: u16,
}

/// What came of a dispatch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobDispatchResponse {
    /// The new job, or the one that the token found.
    #[serde(rename = "DispatchedJobID")]
    pub dispatched_job_id: JobId,
    /// The evaluation that looked at it first; empty if that takes long.
    #[serde(rename = "EvalID")]
    pub eval_id: String,
    /// State index of that evaluation.
    pub eval_create_index: u64,
    /// State index of the new job.
    pub job_create_index: u64,
    /// State index of the change.
    pub index: u64,
}

/// What came of starting a periodic job out of turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PeriodicForceResponse {
    /// The new job. Herder's own.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// The evaluation that looked at it first; empty if that takes long.
    #[serde(rename = "EvalID")]
    pub eval_id: String,
    /// State index of that evaluation.
    pub eval_create_index: u64,
    /// State index of the change.
    pub index: u64,
}

/// A job's versions, newest first (`/v1/job/:id/versions`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobVersions {
    /// The versions.
    pub versions: Vec<JobView>,
    /// Each against the one after it in the list; with `?diffs=true`.
    pub diffs: Option<Vec<JobDiff>>,
}
