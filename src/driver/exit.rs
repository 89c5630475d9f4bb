//! How a task ended.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// How a task ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExitStatus {
    /// Its exit code. `None` when a signal ended it or nobody saw the end. A container always has one: 128 + n stands for
    /// signal n there.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was killed because it used more memory than it may.
    pub oom: bool,
    /// What a person should know beside the numbers; empty when there is nothing.
    pub message: String,
    /// When it ended, by the node's clock.
    pub finished_at: Timestamp,
}

impl ExitStatus {
    /// Whether it ended by itself with code 0.
    pub fn is_success(&self) -> bool {
        self.code == Some(0) && self.signal.is_none() && !self.oom
    }

    /// The one number that shells use: the code, 128 + n for signal n, -1 when nobody knows.
    pub fn shell_code(&self) -> i32 {
        match (self.code, self.signal) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => -1,
        }
    }

    /// The end that nobody saw.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self { message: message.into(), finished_at: now(), ..Self::default() }
    }

    /// The end of a container: codes above 128 stand for a signal.
    pub(crate) fn of_container(code: i64, oom: bool, message: String, at: Timestamp) -> Self {
        let code = i32::try_from(code).unwrap_or(-1);
        let signal = (129..=128 + 64).contains(&code).then(|| code - 128);
        Self { code: Some(code), signal, oom, message, finished_at: at }
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (_, Some(signal)) => write!(f, "ended by {}", signal_name(signal))?,
            (Some(code), None) => write!(f, "exit code {code}")?,
            (None, None) => f.write_str("exit code unknown")?,
        }
        if self.oom {
            f.write_str(", out of memory")?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

fn signal_name(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().to_owned())
}

/// A signal by name (`SIGTERM`, `TERM`, in any case) or number.
pub(crate) fn parse_signal(text: &str) -> Option<nix::sys::signal::Signal> {
    if let Ok(number) = text.parse::<i32>() {
        return nix::sys::signal::Signal::try_from(number).ok();
    }
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    full.parse().ok()
}

/// The clock, read here and nowhere else in this room.
pub(crate) fn now() -> Timestamp {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| span.as_nanos());
    Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_tell_codes_from_signals() {
        let at = Timestamp::from_secs(1);
        let plain = ExitStatus::of_container(3, false, String::new(), at);
        assert_eq!((plain.code, plain.signal), (Some(3), None));
        let killed = ExitStatus::of_container(137, true, String::new(), at);
        assert_eq!((killed.code, killed.signal, killed.oom), (Some(137), Some(9), true));
        assert_eq!(killed.to_string(), "ended by SIGKILL, out of memory");
        assert_eq!(ExitStatus::of_container(128, false, String::new(), at).signal, None);
        assert_eq!(ExitStatus::of_container(255, false, String::new(), at).signal, None);
        assert!(ExitStatus::of_container(0, false, String::new(), at).is_success());
    }

    #[test]
    fn the_unknown_end_is_no_success() {
        let end = ExitStatus::unknown("nobody saw it");
        assert!(!end.is_success());
        assert_eq!(end.shell_code(), -1);
        assert_eq!(end.to_string(), "exit code unknown: nobody saw it");
    }

    #[test]
    fn signals_have_names_and_numbers() {
        use nix::sys::signal::Signal;
        for text in ["SIGTERM", "term", "SigTerm", "15"] {
            assert_eq!(parse_signal(text), Some(Signal::SIGTERM), "{text}");
        }
        for text in ["", "SIG", "SIGNOPE", "0", "999", "-9"] {
            assert_eq!(parse_signal(text), None, "{text}");
        }
    }
}
