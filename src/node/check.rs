//! Health checks: which there are, where they look, when they run and what a result means.

mod http;
mod plan;
mod probe;
mod standing;

use model::CheckStatus;

pub(crate) use plan::{Follows, PlannedCheck, Probe, plan};
pub(crate) use probe::{http_or_tcp, script};
pub(crate) use standing::Standing;

/// What is kept of what a check saw, in bytes.
pub(crate) const MAX_OUTPUT: usize = 4096;

/// What one run of a check saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The result, before thresholds.
    pub status: CheckStatus,
    /// In words, at most [`MAX_OUTPUT`] bytes.
    pub output: String,
}

impl Seen {
    pub(crate) fn new(status: CheckStatus, mut output: String) -> Self {
        truncate(&mut output, MAX_OUTPUT);
        Self { status, output }
    }

    pub(crate) fn critical(output: String) -> Self {
        Self::new(CheckStatus::Critical, output)
    }
}

/// Cuts a text to at most `limit` bytes, between characters.
pub(crate) fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let cut = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
    }
}
