//! What the tables hold beside the model's own types.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{BlobId, CommitId, Diagnostic, Job, JobId, JobVersion, Timestamp};
use serde::{Deserialize, Serialize};

/// A job with its history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRecord {
    /// The job.
    pub id: JobId,
    /// Versions, oldest first; never empty. The last one is desired.
    pub versions: Vec<Arc<JobVersion>>,
    /// Whether it is to stop: its file is gone.
    pub stopped: bool,
    /// Why it is to stop, in words.
    pub stop_reason: String,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change of any kind.
    pub modify_index: u64,
    /// State index of the last change of what is desired.
    pub job_modify_index: u64,
    /// When what is desired last changed.
    pub submitted_at: Timestamp,
}

impl JobRecord {
    /// The desired version.
    pub fn current(&self) -> Option<&Arc<JobVersion>> {
        self.versions.last()
    }

    /// The desired job.
    pub fn job(&self) -> Option<&Arc<Job>> {
        self.current().map(|version| &version.job)
    }

    /// A version by number.
    pub fn version(&self, number: u64) -> Option<&Arc<JobVersion>> {
        self.versions.iter().rev().find(|version| version.version == number)
    }

    /// The newest version whose deployment succeeded.
    pub fn stable(&self) -> Option<&Arc<JobVersion>> {
        self.versions.iter().rev().find(|version| version.stable)
    }
}

/// One job file of a repository, as of the head.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileRecord {
    /// The content at the head.
    pub blob: BlobId,
    /// What it was read with beside its content: [`crate::TakeRevision::inputs`].
    pub inputs: String,
    /// The job it declares; for a broken file the job it last declared.
    pub job: Option<JobId>,
    /// Findings in the content at the head.
    pub problems: Vec<Diagnostic>,
    /// Whether it is unusable, so that its job keeps its last good version.
    pub broken: bool,
    /// Whether the file is gone but its job was kept because the removal was held.
    pub removal_held: bool,
}

/// A repository, as the log knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RepoRecord {
    /// Its name.
    pub name: String,
    /// The branch that is followed.
    pub branch: String,
    /// The commit that is desired.
    pub head: Option<CommitId>,
    /// A commit of which only a part was taken in so far.
    pub partial: Option<CommitId>,
    /// Its job files. A job whose file declares another one now, and whose removal is held, is here under
    /// [`crate::renamed_path`].
    pub files: BTreeMap<String, FileRecord>,
    /// State index of the last change.
    pub modify_index: u64,
}
