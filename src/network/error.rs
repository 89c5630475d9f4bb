//! What can go wrong with a network, for the person who meets it.

use std::path::PathBuf;
use std::time::Duration;

/// Why a network could not be made, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The job asks for what cannot be meant; another attempt fails the same way.
    #[error("{0}")]
    Asked(String),
    /// A CNI configuration is missing or cannot be used.
    #[error("the CNI configuration {name}: {problem}")]
    Config {
        /// Its name or file.
        name: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A CNI plugin refused, in its own words.
    #[error("the CNI plugin `{plugin}` failed to {command}: {problem}")]
    Plugin {
        /// Its type.
        plugin: String,
        /// `ADD`, `DEL` …
        command: &'static str,
        /// What it said.
        problem: String,
    },
    /// A program cannot be found.
    #[error("`{program}` was not found in {places}; {advice}")]
    Missing {
        /// Its name.
        program: String,
        /// Where it was looked for.
        places: String,
        /// What to do.
        advice: &'static str,
    },
    /// It took longer than allowed and was ended.
    #[error("{doing} took longer than {}", model::format_duration(*.limit))]
    Timeout {
        /// What was done.
        doing: String,
        /// How long it may take.
        limit: Duration,
    },
    /// The system refused.
    #[error("cannot {act} {}: {source}", .path.display())]
    System {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another program of ours failed.
    #[error("{doing}: {problem}")]
    Failed {
        /// What was tried.
        doing: String,
        /// What it said.
        problem: String,
    },
}

impl NetworkError {
    /// Whether another attempt may succeed without somebody changing the job.
    pub const fn is_recoverable(&self) -> bool {
        !matches!(self, Self::Asked(_))
    }

    pub(crate) fn system(
        act: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<std::io::Error>,
    ) -> Self {
        Self::System { act, path: path.into(), source: source.into() }
    }
}
