//! What can go wrong, in words a status page can show.

use std::time::Duration;

use thiserror::Error;

/// Why a repository could not be looked at. None of these says anything about what the repository holds. Messages name
/// the remote without user, password or token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// No connection, or the server is not working.
    #[error("cannot reach {remote}: {detail}; check the address, the network and the host")]
    HostUnreachable {
        /// The remote, without credentials.
        remote: String,
        /// What the connection said.
        detail: String,
    },
    /// The host refuses us, or we cannot be sure of the host.
    #[error("{remote} refused access: {detail}")]
    Authentication {
        /// The remote, without credentials.
        remote: String,
        /// What was refused and what to do.
        detail: String,
    },
    /// There is no repository there, or none that we may see.
    #[error("no repository at {remote}: {detail}")]
    RepositoryNotFound {
        /// The remote, without credentials.
        remote: String,
        /// What was found in its place.
        detail: String,
    },
    /// The repository has branches, but not this one.
    #[error(
        "{remote} has no branch `{branch}`{}; push it or set another `branch`",
        named_branches(available)
    )]
    BranchNotFound {
        /// The remote, without credentials.
        remote: String,
        /// The branch that was looked for.
        branch: String,
        /// Up to ten branches that exist.
        available: Vec<String>,
    },
    /// The repository has no commit yet.
    #[error("{remote} is empty: it has no commit yet; push one")]
    EmptyRepository {
        /// The remote, without credentials.
        remote: String,
    },
    /// The host asks us to come back later.
    #[error(
        "{remote} limits our requests{}; a longer `interval` or a token helps",
        wait(retry_after)
    )]
    RateLimited {
        /// The remote, without credentials.
        remote: String,
        /// How long the host wants us to stay away, where it says so.
        retry_after: Option<Duration>,
    },
    /// The host stopped answering.
    #[error(
        "{remote} did not answer within {} s while {doing}; the host or the network is slow",
        after.as_secs_f32()
    )]
    Timeout {
        /// The remote, without credentials.
        remote: String,
        /// The wait that was over.
        after: Duration,
        /// What we waited for.
        doing: String,
    },
    /// Objects that are damaged or missing, here or there.
    #[error("objects of {remote} are damaged: {detail}; run `git fsck` there")]
    Corrupt {
        /// The remote, without credentials.
        remote: String,
        /// What libgit2 says.
        detail: String,
    },
    /// Anything else.
    #[error("cannot fetch {remote}: {detail}")]
    Other {
        /// The remote, without credentials.
        remote: String,
        /// What happened and what to do.
        detail: String,
    },
}

impl FetchError {
    /// The kind, as a word for a status field, a metric's label or a filter.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::HostUnreachable { .. } => "host-unreachable",
            Self::Authentication { .. } => "authentication",
            Self::RepositoryNotFound { .. } => "repository-not-found",
            Self::BranchNotFound { .. } => "branch-not-found",
            Self::EmptyRepository { .. } => "empty-repository",
            Self::RateLimited { .. } => "rate-limited",
            Self::Timeout { .. } => "timeout",
            Self::Corrupt { .. } => "corrupt",
            Self::Other { .. } => "other",
        }
    }

    /// How long the host wants us to stay away, where it says so.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn named_branches(available: &[String]) -> String {
    if available.is_empty() { String::new() } else { format!(" (it has {})", available.join(", ")) }
}

fn wait(retry_after: &Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |span| format!(" for another {} s", span.as_secs()))
}

/// Why something could not be read at a commit or from a folder. Never to be taken for "there is nothing".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The object, path or revision is not there.
    #[error("{what} is not in {place}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The repository or folder.
        place: String,
    },
    /// Bigger than the caller takes.
    #[error("{what} has {size} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// The object or file.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// More of something than we are ready to read.
    #[error("{what} has more than {limit} {unit}; narrow `paths`")]
    TooMany {
        /// The tree or folder.
        what: String,
        /// The limit.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// A link, or something else that is not a plain file.
    #[error("{path} is refused: {reason}")]
    Refused {
        /// The path.
        path: String,
        /// Why.
        reason: String,
    },
    /// Objects that are damaged or missing.
    #[error("cannot read {what} from {place}: {detail}")]
    Corrupt {
        /// What was asked for.
        what: String,
        /// The repository or folder.
        place: String,
        /// What libgit2 or the system says.
        detail: String,
    },
    /// The repository is no longer followed.
    #[error("repository `{repo}` is no longer followed")]
    Stopped {
        /// The repository's name.
        repo: String,
    },
    /// The repository could not be looked at, and what was asked for is not in the mirror.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl ReadError {
    /// From an error of libgit2 that arose while reading `what`.
    pub(crate) fn from_git(error: &git2::Error, what: impl Into<String>, place: &str) -> Self {
        let (what, place) = (what.into(), place.to_owned());
        match error.code() {
            git2::ErrorCode::NotFound => Self::NotFound { what, place },
            _ => Self::Corrupt { what, place, detail: error.message().to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let error = FetchError::BranchNotFound {
            remote: "https://git.example/r".into(),
            branch: "main".into(),
            available: vec!["master".into(), "next".into()],
        };
        assert_eq!(
            error.to_string(),
            "https://git.example/r has no branch `main` (it has master, next); push it or set another `branch`"
        );
        let error = FetchError::RateLimited {
            remote: "r".into(),
            retry_after: Some(Duration::from_secs(90)),
        };
        assert!(error.to_string().contains("for another 90 s"), "{error}");
        assert_eq!(error.kind(), "rate-limited");
    }
}
