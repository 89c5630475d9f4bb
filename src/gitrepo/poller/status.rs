//! What following a repository tells the rest.

use model::Timestamp;
use serde::Serialize;

use crate::error::FetchError;
use crate::reader::CommitInfo;

/// Where the branch is. The mirror holds the commit with everything it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Head {
    /// The commit.
    pub commit: CommitInfo,
    /// The branch; `HEAD` for a work tree that has none checked out.
    pub branch: String,
}

/// News: the branch moved, could not be looked at, or can be looked at again. Also the first look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The repository's name.
    pub repo: String,
    /// When it was seen.
    pub at: Timestamp,
    /// What was seen. An error says nothing about what the repository holds.
    pub result: Result<Head, FetchError>,
}

/// How following goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PollStatus {
    /// The last look.
    pub last_poll_at: Option<Timestamp>,
    /// The last look that succeeded.
    pub last_success_at: Option<Timestamp>,
    /// The last commit that was seen; kept through failures and restarts.
    pub head: Option<CommitInfo>,
    /// Its branch.
    pub branch: Option<String>,
    /// Why the last look failed, if it did.
    pub error: Option<Failure>,
    /// The next look, if nothing asks for an earlier one.
    pub next_poll_at: Option<Timestamp>,
    /// Looks so far.
    pub polls: u64,
    /// Looks that brought objects.
    pub fetches: u64,
}

/// A [`FetchError`] as a status page shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Failure {
    /// [`FetchError::kind`].
    pub kind: &'static str,
    /// The message.
    pub message: String,
    /// Failures in a row.
    pub failures: u32,
}
