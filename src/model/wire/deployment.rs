//! Deployments.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rfc3339;
use crate::{AllocId, CommitId, DeploymentId, DeploymentStatus, JobId, Timestamp, nanos};

/// A deployment (`/v1/deployment/:id`, and a row of `/v1/deployments`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentView {
    /// ID.
    #[serde(rename = "ID")]
    pub id: DeploymentId,
    /// Namespace.
    pub namespace: String,
    /// Its job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// The version that it rolls out.
    pub job_version: u64,
    /// The job's modify index when this was asked for.
    pub job_modify_index: u64,
    /// The index at which the version was desired.
    pub job_spec_modify_index: u64,
    /// State index of the job's creation.
    pub job_create_index: u64,
    /// Never.
    pub is_multiregion: bool,
    /// By group.
    pub task_groups: BTreeMap<String, DeploymentGroupView>,
    /// Where it stands.
    pub status: DeploymentStatus,
    /// The same in words.
    pub status_description: String,
    /// The job's priority.
    pub eval_priority: u16,
    /// The commit that the version came from. Herder's own.
    pub commit: CommitId,
    /// The version that it goes back from, for a rollback. Herder's own.
    pub reverts: Option<u64>,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
    /// Created.
    pub create_time: Timestamp,
    /// Ended, or created while it goes on.
    pub modify_time: Timestamp,
    /// Ended; zero while it goes on. Herder's own.
    pub finish_time: Timestamp,
}

impl DeploymentView {
    /// Whether a group waits for its canaries' promotion.
    pub fn needs_promotion(&self) -> bool {
        self.status.is_active()
            && self.task_groups.values().any(|group| group.desired_canaries > 0 && !group.promoted)
    }
}

/// A group's part of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentGroupView {
    /// Go back on failure.
    pub auto_revert: bool,
    /// Promote without being asked.
    pub auto_promote: bool,
    /// Time without progress that fails it.
    #[serde(with = "nanos")]
    pub progress_deadline: Duration,
    /// When that time is over.
    #[serde(with = "rfc3339")]
    pub require_progress_by: Timestamp,
    /// Whether the canaries were promoted.
    pub promoted: bool,
    /// Canaries placed.
    pub placed_canaries: Vec<AllocId>,
    /// Canaries wanted.
    pub desired_canaries: u32,
    /// Allocations wanted.
    pub desired_total: u32,
    /// Allocations placed.
    pub placed_allocs: u32,
    /// Of these, healthy.
    pub healthy_allocs: u32,
    /// Of these, unhealthy.
    pub unhealthy_allocs: u32,
}
