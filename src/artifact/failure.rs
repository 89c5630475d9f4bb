//! Why a download failed, in words, and whether another attempt may work.

use serde::{Deserialize, Serialize};

/// A download failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    /// What happened, to what, and what to do. Holds no secret.
    pub message: String,
    /// Whether another attempt may work: a host that does not answer, not a checksum that is wrong.
    pub recoverable: bool,
}

impl FetchError {
    /// Another attempt fails the same way.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), recoverable: false }
    }

    /// Another attempt may work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), recoverable: true }
    }

    /// The system refused something.
    pub(crate) fn system(doing: &str, error: impl std::fmt::Display) -> Self {
        Self::failed(format!("{doing}: {error}"))
    }

    /// Without these words, which may have come back in an answer.
    pub(crate) fn without(mut self, secrets: &[String]) -> Self {
        for secret in secrets {
            self.message = self.message.replace(secret.as_str(), "[secret]");
        }
        self.message = self.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if self.message.len() > MAX_MESSAGE {
            let end = (0..=MAX_MESSAGE).rev().find(|at| self.message.is_char_boundary(*at));
            self.message.truncate(end.unwrap_or(0));
            self.message.push('…');
        }
        self
    }
}

/// The longest message that is passed on.
const MAX_MESSAGE: usize = 2000;

/// A name from outside as it may be shown: short, and without what a terminal would obey.
pub(crate) fn shown(name: &[u8]) -> String {
    const LONGEST: usize = 120;
    let text = String::from_utf8_lossy(name.get(..LONGEST * 4).unwrap_or(name));
    let mut short: String =
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(LONGEST).collect();
    if short.len() < name.len() && text.chars().count() > LONGEST {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_controls_are_taken_out() {
        let error = FetchError::failed("no hunter2\x1b[0m here").without(&["hunter2".into()]);
        assert_eq!(error.message, "no [secret] [0m here");
        let long = FetchError::failed("ä".repeat(5000)).without(&[]);
        assert!(long.message.len() < 2010);
        assert!(shown(&[b'x'; 5000]).chars().count() < 130);
    }
}
