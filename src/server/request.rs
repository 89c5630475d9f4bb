//! What operators ask for, and how it can go wrong.

use std::collections::{BTreeMap, BTreeSet};

use model::{CommitId, Diagnostic};

use crate::source::SourceError;

/// What a plan is made for.
#[derive(Clone, Debug)]
pub enum PlanSource {
    /// Files as they are in somebody's working tree, by their path from the repository's root.
    Files {
        /// Job files, and with them vars files and files that they include or read. What is neither here nor beneath
        /// `under` is read at the desired head.
        files: BTreeMap<String, Vec<u8>>,
        /// The folder that these are all job files of, or the one file that was looked at; empty for the whole
        /// repository. What lies elsewhere stays as it is.
        under: String,
        /// What is not there any more though it lies elsewhere: files, and folders (with `/` behind them) that have no
        /// vars files but those in `files`.
        gone: BTreeSet<String>,
    },
    /// A commit, branch or tag that the mirror holds.
    Revision(String),
    /// The branch's head.
    Head,
}

/// A plan to make.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// The repository; may be left out where there is only one.
    pub repo: Option<String>,
    /// What it is made for.
    pub source: PlanSource,
}

/// A plan that was made. Nothing was changed by it.
#[derive(Clone, Debug)]
pub struct PlanOutcome {
    /// The repository.
    pub repo: String,
    /// The commit, if it was made for one.
    pub commit: Option<CommitId>,
    /// What would happen.
    pub preview: evaluator::Preview,
    /// Where each job of the preview is declared.
    pub paths: BTreeMap<model::JobId, String>,
    /// When each periodic job that it touches starts next.
    pub launches: BTreeMap<model::JobId, model::Timestamp>,
    /// Findings in the files.
    pub problems: Vec<Diagnostic>,
    /// What a person should know, such as removals that would be held.
    pub notes: Vec<String>,
}

/// A repository as an operator sees it: what the poller says. What the log says is in the state.
#[derive(Clone, Debug)]
pub struct RepoStatus {
    /// Its name.
    pub name: String,
    /// Where it is, without credentials.
    pub url: String,
    /// The branch that is followed; empty until it is known.
    pub branch: String,
    /// How polling goes.
    pub poll: gitrepo::PollStatus,
    /// What went wrong when the head was taken in, if anything.
    pub intake_error: Option<String>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServerError {
    /// It names something that is not there.
    #[error("{what} not found")]
    NotFound {
        /// What kind of thing, and its name.
        what: String,
    },
    /// It does not fit where its subject stands.
    #[error("{0}")]
    Conflict(String),
    /// It makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be carried out now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<SourceError> for ServerError {
    fn from(error: SourceError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
