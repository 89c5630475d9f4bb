//! The versions of a job.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Child, Job, Origin, Payload, SpecHash, Timestamp};

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
    /// Whether nothing of an earlier version goes on beside it: the job was stopped before, or is new.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// Whether it has started, for a job that is after others; without meaning for all other jobs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub started: bool,
    /// Whether a deployment of it succeeded.
    pub stable: bool,
    /// What a dispatch handed over for its tasks; empty for all other jobs.
    #[serde(skip_serializing_if = "is_empty")]
    pub payload: Payload,
    /// Whose run it is, for a job that no file declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child: Option<Child>,
    /// When it was taken in.
    pub submitted_at: Timestamp,
    /// State index of creation.
    pub create_index: u64,
}

impl JobVersion {
    /// Whether it runs because it is desired. Periodic and parameterized jobs wait for a time or a dispatch, which
    /// makes a child that runs; that of a dispatch still says what it was made of.
    pub fn starts_by_itself(&self) -> bool {
        self.child.is_some() || self.job.starts_by_itself()
    }

    /// Whether it waits for no other job, or did and has started.
    pub fn has_started(&self) -> bool {
        self.started || self.stable || self.reverts_to.is_some() || self.job.gitops.after.is_empty()
    }
}

fn is_empty(payload: &Payload) -> bool {
    payload.is_empty()
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
