//! Secrets as a type, and where they come from.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Longest token or password that is read.
const MAX_SECRET: u64 = 64 * 1024;

/// A value that never prints itself. There is no `Display` and no serde.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value in.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where a secret is read from, each time it is needed, so that a rotated one is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file; white space at its end is not part of the secret.
    File(PathBuf),
    /// An environment variable of the agent.
    Env(String),
    /// The value itself, as it stood in the URL.
    Given(Secret),
}

/// Why a secret could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the token file {}: {detail}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// The variable is not set or not text.
    #[error("the environment variable {name} is not set")]
    Env {
        /// Its name.
        name: String,
    },
    /// Nothing in it, or something that cannot be a token.
    #[error("{place} holds no usable token: one line of text is needed")]
    Unusable {
        /// The file or variable.
        place: String,
    },
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// When the source is missing, empty, too long, or holds control characters.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let (text, place) = match self {
            Self::Given(secret) => return Ok(secret.clone()),
            Self::File(path) => (read_file(path)?, path.display().to_string()),
            Self::Env(name) => {
                let text =
                    std::env::var(name).map_err(|_| SecretError::Env { name: name.clone() })?;
                (text, name.clone())
            }
        };
        let text = text.trim_end();
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(SecretError::Unusable { place });
        }
        Ok(Secret::new(text))
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    let fail = |detail: String| SecretError::File { path: path.to_owned(), detail };
    let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut text = String::new();
    file.take(MAX_SECRET + 1).read_to_string(&mut text).map_err(|error| fail(error.to_string()))?;
    if text.len() as u64 > MAX_SECRET {
        return Err(fail(format!("longer than {MAX_SECRET} bytes")));
    }
    Ok(text)
}

/// How we show who we are. Everything is optional: ssh then uses what the agent's user has set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User name for HTTP; `x-access-token` when there is only a token.
    pub username: Option<String>,
    /// Token or password for HTTP. Never sent over plain HTTP except to the loopback interface.
    pub token: Option<SecretSource>,
    /// Certificates (PEM) that HTTPS trusts instead of the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// Private key for ssh.
    pub ssh_key_file: Option<PathBuf>,
    /// Host keys for ssh, in place of the user's `known_hosts`.
    pub known_hosts_file: Option<PathBuf>,
    /// The ssh program; `ssh` from `PATH` by default.
    pub ssh_program: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let credentials = Credentials {
            token: Some(SecretSource::Given(Secret::new("hunter2"))),
            ..Credentials::default()
        };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }

    #[test]
    fn files_are_read_without_their_line_end() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("token");
        std::fs::write(&path, "abc\n").expect("written");
        assert_eq!(SecretSource::File(path.clone()).read().expect("read").reveal(), "abc");
        std::fs::write(&path, "a\nb\n").expect("written");
        assert!(matches!(
            SecretSource::File(path.clone()).read(),
            Err(SecretError::Unusable { .. })
        ));
        std::fs::write(&path, vec![b'a'; 70_000]).expect("written");
        assert!(matches!(SecretSource::File(path).read(), Err(SecretError::File { .. })));
    }
}
