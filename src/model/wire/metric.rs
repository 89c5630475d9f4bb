//! Why a placement went where it went, or nowhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::NodeScore;

/// What the scheduler saw (`Metrics` of an allocation, `FailedTGAllocs` of an evaluation).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocMetric {
    /// Nodes looked at.
    pub nodes_evaluated: u32,
    /// Of these, refused by a constraint.
    pub nodes_filtered: u32,
    /// Of these, without room.
    pub nodes_exhausted: u32,
    /// Nodes refused by each constraint.
    pub constraint_filtered: BTreeMap<String, u32>,
    /// Nodes without room, by dimension.
    pub dimension_exhausted: BTreeMap<String, u32>,
    /// Further allocations of the group that failed for the same reasons.
    pub coalesced_failures: u32,
    /// The best nodes, best first.
    pub score_meta_data: Vec<NodeScore>,
    /// Why the allocation exists, in words. Herder's own.
    pub reason: String,
}
