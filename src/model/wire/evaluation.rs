//! Evaluations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::empty_is_none;
use super::metric::AllocMetric;
use crate::{
    DeploymentId, DesiredUpdates, EvalId, EvalStatus, EvalTrigger, JobId, JobType, Timestamp,
};

/// An evaluation (`/v1/evaluation/:id`, and a row of `/v1/evaluations`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EvaluationView {
    /// ID.
    #[serde(rename = "ID")]
    pub id: EvalId,
    /// Namespace.
    pub namespace: String,
    /// The job's priority.
    pub priority: u16,
    /// The job's type.
    #[serde(rename = "Type")]
    pub kind: JobType,
    /// What made it necessary.
    pub triggered_by: EvalTrigger,
    /// The job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// The job's version. Herder's own.
    pub job_version: u64,
    /// Always empty: a pass is over a job.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// The deployment that it drove.
    #[serde(rename = "DeploymentID", with = "empty_is_none")]
    pub deployment_id: Option<DeploymentId>,
    /// How it ended.
    pub status: EvalStatus,
    /// The same in words.
    pub status_description: String,
    /// What did not fit, by group.
    #[serde(rename = "FailedTGAllocs")]
    pub failed_tg_allocs: BTreeMap<String, AllocMetric>,
    /// How many did not fit, by group.
    pub queued_allocations: BTreeMap<String, u32>,
    /// What it did.
    pub plan_annotations: PlanAnnotations,
    /// State index that it was made from.
    pub snapshot_index: u64,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
    /// Created.
    pub create_time: Timestamp,
    /// Changed.
    pub modify_time: Timestamp,
}

/// What a plan does, by group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PlanAnnotations {
    /// By group.
    #[serde(rename = "DesiredTGUpdates")]
    pub desired_tg_updates: BTreeMap<String, DesiredUpdates>,
}
