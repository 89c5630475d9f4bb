//! How a node is emptied (nomad.md 2.11).

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A node that is being emptied, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrainStrategy {
    /// When what is left must go, whether or not there is room elsewhere. Never when nothing is said.
    pub deadline: Option<Timestamp>,
    /// Whether everything must go at once.
    pub force: bool,
    /// Whether allocations of system jobs stay.
    pub ignore_system: bool,
    /// When it began.
    pub started_at: Timestamp,
}

impl DrainStrategy {
    /// Whether what is left must go now.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.force || self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// How a drain stands or ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainStatus {
    /// Allocations leave.
    #[default]
    Draining,
    /// All left.
    Complete,
    /// An operator ended it.
    Canceled,
}

impl DrainStatus {
    /// The name as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Complete => "complete",
            Self::Canceled => "canceled",
        }
    }
}

/// The last time that a node was emptied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LastDrain {
    /// When it began.
    pub started_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// How it stands or ended.
    pub status: DrainStatus,
}
