//! What is followed, and within which limits.

use std::time::Duration;

use thiserror::Error;

use crate::pattern::{PathPattern, PatternError};
use crate::secret::Credentials;
use crate::url::{RemoteUrl, UrlError};

/// A repository to follow.
#[derive(Clone, Debug)]
pub struct RepoConfig {
    /// Its name among the fleet's repositories; also the mirror's folder, so letters, digits, `.`, `_` and `-` only.
    pub name: String,
    /// Where it is.
    pub url: RemoteUrl,
    /// The branch; by default the one that the remote's `HEAD` names.
    pub branch: Option<String>,
    /// The files that matter; empty means all.
    pub paths: Vec<PathPattern>,
    /// Time between polls; jitter of up to 10 % is added.
    pub interval: Duration,
    /// How we show who we are.
    pub credentials: Credentials,
    /// How long and how much.
    pub limits: Limits,
}

/// Bounds on one look at a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest single wait: for a connection, an answer, the next bytes.
    pub timeout: Duration,
    /// The longest whole fetch.
    pub fetch_timeout: Duration,
    /// The most bytes that one fetch may bring.
    pub max_fetch_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            fetch_timeout: Duration::from_secs(600),
            max_fetch_bytes: 4 << 30,
        }
    }
}

/// Why a repository cannot be followed as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The name does not fit.
    #[error(
        "repository name `{name}` cannot be used: 1 to 64 letters, digits, `.`, `_`, `-`, beginning with a letter or digit"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The branch does not fit.
    #[error("repository `{repo}`: `{branch}` cannot be a branch name")]
    Branch {
        /// The repository.
        repo: String,
        /// The branch.
        branch: String,
    },
    /// The interval does not fit.
    #[error("repository `{repo}`: the interval must be between 100 ms and 24 h")]
    Interval {
        /// The repository.
        repo: String,
    },
    /// The address does not fit.
    #[error("repository `{repo}`: {source}")]
    Url {
        /// The repository.
        repo: String,
        /// Why.
        source: UrlError,
    },
    /// A path does not fit.
    #[error("repository `{repo}`: {source}")]
    Path {
        /// The repository.
        repo: String,
        /// Why.
        source: PatternError,
    },
}

impl RepoConfig {
    /// A repository with defaults: the remote's own branch, all files, a poll every 30 seconds.
    ///
    /// # Errors
    /// When the name or the address cannot be used.
    pub fn new(name: &str, url: &str) -> Result<Self, ConfigError> {
        let url = RemoteUrl::parse(url)
            .map_err(|source| ConfigError::Url { repo: name.to_owned(), source })?;
        let config = Self {
            name: name.to_owned(),
            url,
            branch: None,
            paths: Vec::new(),
            interval: Duration::from_secs(30),
            credentials: Credentials::default(),
            limits: Limits::default(),
        };
        config.check()?;
        Ok(config)
    }

    /// The same with these files only.
    ///
    /// # Errors
    /// When a path is not a pattern.
    pub fn with_paths<S: AsRef<str>>(mut self, paths: &[S]) -> Result<Self, ConfigError> {
        self.paths = paths
            .iter()
            .map(|path| PathPattern::parse(path.as_ref()))
            .collect::<Result<_, _>>()
            .map_err(|source| ConfigError::Path { repo: self.name.clone(), source })?;
        Ok(self)
    }

    /// Whether everything fits.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let begins = self.name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        if !begins || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err(ConfigError::Name { name: self.name.clone() });
        }
        if let Some(branch) = &self.branch {
            let name = format!("refs/heads/{branch}");
            if branch.len() > 255 || !git2::Reference::is_valid_name(&name) {
                let (repo, branch) = (self.name.clone(), branch.clone());
                return Err(ConfigError::Branch { repo, branch });
            }
        }
        let bounds = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);
        if !bounds.contains(&self.interval) {
            return Err(ConfigError::Interval { repo: self.name.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_data_directory() {
        for name in ["", "..", ".git", "a/b", "-a", "a b", &"a".repeat(65)] {
            assert!(RepoConfig::new(name, "/srv/r").is_err(), "{name:?}");
        }
        assert!(RepoConfig::new("fleet-1.prod_eu", "/srv/r").is_ok());
    }

    #[test]
    fn branches_are_checked() {
        let mut config = RepoConfig::new("r", "/srv/r").expect("a config");
        config.branch = Some("release/1.0".into());
        assert!(config.check().is_ok());
        for branch in ["", "a..b", "a b", "a:b", "/a", "a.lock"] {
            config.branch = Some(branch.into());
            assert!(config.check().is_err(), "{branch:?}");
        }
    }
}
