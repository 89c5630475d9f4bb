//! One rollout of one job version (nomad.md 2.5).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AllocId, CommitId, DeploymentId, JobId, Timestamp, nanos};

/// Where a deployment stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentStatus {
    /// Going on, or waiting for promotion.
    #[default]
    Running,
    /// Held by an operator.
    Paused,
    /// Did not get healthy.
    Failed,
    /// All healthy.
    Successful,
    /// Overtaken by a newer version, or the job was stopped.
    Cancelled,
}

impl DeploymentStatus {
    /// Whether it may still change.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// The name as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Successful => "successful",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A group's part of a deployment. Counters follow from the allocations and are kept by `state`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentGroup {
    /// Go back on failure.
    pub auto_revert: bool,
    /// Promote without being asked.
    pub auto_promote: bool,
    /// Whether the canaries were promoted.
    pub promoted: bool,
    /// Canaries wanted.
    pub desired_canaries: u32,
    /// Allocations wanted.
    pub desired_total: u32,
    /// Canaries placed.
    pub placed_canaries: Vec<AllocId>,
    /// Allocations placed.
    #[serde(rename = "PlacedAllocs")]
    pub placed: u32,
    /// Of these, healthy.
    #[serde(rename = "HealthyAllocs")]
    pub healthy: u32,
    /// Of these, unhealthy.
    #[serde(rename = "UnhealthyAllocs")]
    pub unhealthy: u32,
    /// Time without progress that fails it.
    #[serde(with = "nanos")]
    pub progress_deadline: Duration,
    /// When that time is over; `None` before the first placement.
    pub require_progress_by: Option<Timestamp>,
}

/// One rollout of one job version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deployment {
    /// Derived from job and version.
    pub id: DeploymentId,
    /// The job.
    pub job: JobId,
    /// The version that it rolls out.
    pub job_version: u64,
    /// The commit that the version came from.
    pub commit: CommitId,
    /// Where it stands.
    pub status: DeploymentStatus,
    /// The same in words.
    pub description: String,
    /// Its groups.
    pub groups: BTreeMap<String, DeploymentGroup>,
    /// The version that it goes back from, for a rollback.
    pub reverts: Option<u64>,
    /// Created.
    pub created_at: Timestamp,
    /// Ended; zero while active.
    pub finished_at: Timestamp,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
}

impl Deployment {
    /// Whether a group waits for its canaries' promotion.
    pub fn needs_promotion(&self) -> bool {
        self.groups.values().any(|group| group.desired_canaries > 0 && !group.promoted)
    }
}
