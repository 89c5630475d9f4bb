//! Nodes that are emptied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DrainStatus, DrainStrategy, Eligibility, EvalId, LastDrain, NodeEvent, Timestamp};

/// How a node is to be emptied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DrainSpec {
    /// How long allocations may take to leave, in nanoseconds; 0 for as long as they need, less for no time at all.
    pub deadline: i64,
    /// Whether allocations of system jobs stay.
    pub ignore_system_jobs: bool,
}

/// The body of `/v1/node/:id/drain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeDrainRequest {
    /// How; nothing ends it.
    pub drain_spec: Option<DrainSpec>,
    /// When it ends: whether new allocations may come again.
    pub mark_eligible: bool,
}

/// The body of `/v1/node/:id/eligibility`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeEligibilityRequest {
    /// Whether new allocations may come; it must be said.
    pub eligibility: Option<Eligibility>,
}

/// How a node is being emptied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DrainStrategyView {
    /// As in [`DrainSpec`].
    pub deadline: i64,
    /// Whether allocations of system jobs stay.
    pub ignore_system_jobs: bool,
    /// When what is left must go.
    #[serde(with = "super::rfc3339")]
    pub force_deadline: Timestamp,
    /// When it began.
    #[serde(with = "super::rfc3339")]
    pub started_at: Timestamp,
}

impl From<&DrainStrategy> for DrainStrategyView {
    fn from(drain: &DrainStrategy) -> Self {
        let span = drain.deadline.map(|deadline| deadline.0.saturating_sub(drain.started_at.0));
        Self {
            deadline: if drain.force { -1 } else { span.unwrap_or(0) },
            ignore_system_jobs: drain.ignore_system,
            force_deadline: drain.deadline.unwrap_or_default(),
            started_at: drain.started_at,
        }
    }
}

/// The last time that a node was emptied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DrainMetadata {
    /// When it began.
    #[serde(with = "super::rfc3339")]
    pub started_at: Timestamp,
    /// When it last changed.
    #[serde(with = "super::rfc3339")]
    pub updated_at: Timestamp,
    /// How it stands or ended.
    pub status: DrainStatus,
    /// Always empty.
    #[serde(rename = "AccessorID")]
    pub accessor_id: String,
    /// Always empty.
    pub meta: BTreeMap<String, String>,
}

impl From<&LastDrain> for DrainMetadata {
    fn from(last: &LastDrain) -> Self {
        Self {
            started_at: last.started_at,
            updated_at: last.updated_at,
            status: last.status,
            ..Self::default()
        }
    }
}

/// Something that happened to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeEventView {
    /// What, for a person.
    pub message: String,
    /// What it is about.
    pub subsystem: String,
    /// Always empty.
    pub details: BTreeMap<String, String>,
    /// When.
    #[serde(with = "super::rfc3339")]
    pub timestamp: Timestamp,
}

impl From<&NodeEvent> for NodeEventView {
    fn from(event: &NodeEvent) -> Self {
        Self {
            message: event.message.clone(),
            subsystem: event.subsystem.clone(),
            details: BTreeMap::new(),
            timestamp: event.at,
        }
    }
}

/// The answer to a change of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeUpdateResponse {
    /// Always empty: the evaluator sees the change by itself.
    #[serde(rename = "EvalIDs")]
    pub eval_ids: Vec<EvalId>,
    /// Always 0.
    pub eval_create_index: u64,
    /// State index of the change.
    pub node_modify_index: u64,
    /// State index of the change.
    pub index: u64,
}
