//! The versions of a job.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Job, Origin, SpecHash, Timestamp};

/// One version of a job. A new one is made only when the job's meaning changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobVersion {
    /// Counts from 0.
    pub version: u64,
    /// The job.
    pub job: Arc<Job>,
    /// Its identity.
    pub hash: SpecHash,
    /// Where it comes from.
    pub origin: Arc<Origin>,
    /// The version that it brings back, for a rollback.
    pub reverts_to: Option<u64>,
    /// Whether a deployment of it succeeded.
    pub stable: bool,
    /// What a dispatch handed over for its tasks; empty for all other jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub payload: Vec<u8>,
    /// When it was taken in.
    pub submitted_at: Timestamp,
    /// State index of creation.
    pub create_index: u64,
}

/// A job's status on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Nothing of it runs yet.
    #[default]
    Pending,
    /// Something of it runs or is to run.
    Running,
    /// It is over.
    Dead,
}

impl JobStatus {
    /// The name as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}
