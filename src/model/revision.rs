//! A commit as desired state.

use serde::{Deserialize, Serialize};

use crate::{BlobId, CommitId, Diagnostic, JobId, Timestamp};

/// Where a job version comes from (law 1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Origin {
    /// The repository's name.
    pub repo: String,
    /// The commit that brought this version.
    pub commit: CommitId,
    /// The file, from the repository's root.
    pub path: String,
    /// The file's content.
    pub blob: BlobId,
}

impl Origin {
    /// Whether it names nothing.
    pub fn is_nowhere(&self) -> bool {
        let said = [self.repo.as_str(), self.commit.as_str(), &self.path, self.blob.as_str()];
        said.iter().all(|part| part.is_empty())
    }
}

/// What a revision did with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileChangeKind {
    /// A job that was not there before.
    Added,
    /// A job whose meaning changed.
    Changed,
    /// A file whose text changed and whose job did not.
    Unchanged,
    /// A job that is stopped because its file is gone.
    Removed,
    /// A removal that was not carried out; the revision's `notes` say why.
    Held,
    /// A file that could not be read as a job; what ran before goes on.
    Broken,
}

/// One file of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FileChange {
    /// The file, from the repository's root.
    pub path: String,
    /// The job in it, where it is known.
    pub job: Option<JobId>,
    /// What happened.
    pub change: FileChangeKind,
    /// The job version that resulted, for added and changed jobs.
    pub version: Option<u64>,
    /// What is wrong with the file.
    pub problems: Vec<Diagnostic>,
}

/// What became of a revision, derived from its deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevisionOutcome {
    /// It changed no job.
    Unchanged,
    /// Being rolled out.
    Deploying,
    /// All its jobs are as it says.
    Deployed,
    /// A job did not get healthy and was not taken back.
    Failed,
    /// A job did not get healthy and went back to its last stable version.
    Reverted,
    /// A newer revision changed the same jobs before it was done.
    Superseded,
}

impl RevisionOutcome {
    /// The name as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Deploying => "deploying",
            Self::Deployed => "deployed",
            Self::Failed => "failed",
            Self::Reverted => "reverted",
            Self::Superseded => "superseded",
        }
    }
}

/// A commit as desired state, in the order in which the log took it in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Revision {
    /// The repository's name.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: CommitId,
    /// The commit that was desired before it.
    pub parent: Option<CommitId>,
    /// Author, as `Name <address>`.
    pub author: String,
    /// First line of the message.
    pub subject: String,
    /// The commit's own time.
    pub committed_at: Timestamp,
    /// When a node first saw it.
    pub seen_at: Timestamp,
    /// Its files that changed, by path.
    pub files: Vec<FileChange>,
    /// What a person should know, such as removals that were held.
    pub notes: Vec<String>,
    /// State index that took it in.
    pub index: u64,
}
