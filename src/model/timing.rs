//! When and how often a job runs: periodic, parameterized, scaling, schedules.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::nullable;

/// A job that starts at set times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Periodic {
    /// Whether it starts at all.
    pub enabled: bool,
    /// One cron expression; the older way.
    pub spec: String,
    /// Cron expressions.
    pub specs: Vec<String>,
    /// `cron`.
    pub spec_type: String,
    /// Whether a run is left out while one before it still goes on.
    pub prohibit_overlap: bool,
    /// Time zone, by its IANA name.
    pub time_zone: String,
}

impl Default for Periodic {
    fn default() -> Self {
        Self {
            enabled: true,
            spec: String::new(),
            specs: Vec::new(),
            spec_type: "cron".to_owned(),
            prohibit_overlap: false,
            time_zone: "UTC".to_owned(),
        }
    }
}

/// A job that starts when it is dispatched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Parameterized {
    /// `optional`, `required` or `forbidden`.
    pub payload: String,
    /// Keys that a dispatch must give.
    #[serde(with = "nullable")]
    pub meta_required: Vec<String>,
    /// Keys that a dispatch may give.
    #[serde(with = "nullable")]
    pub meta_optional: Vec<String>,
}

/// Within which bounds a count may be changed from outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Scaling {
    /// At least; the group's count by default.
    pub min: Option<i64>,
    /// At most.
    pub max: Option<i64>,
    /// What an autoscaler reads.
    #[serde(with = "nullable")]
    pub policy: BTreeMap<String, serde_json::Value>,
    /// Whether it is in force.
    pub enabled: Option<bool>,
    /// `horizontal`, `vertical_cpu` or `vertical_mem`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Kept for the wire; set by Nomad's servers.
    #[serde(rename = "ID")]
    pub id: String,
    /// Kept for the wire; set by Nomad's servers.
    pub namespace: String,
    /// Kept for the wire; set by Nomad's servers.
    #[serde(with = "nullable")]
    pub target: BTreeMap<String, String>,
    /// Kept for the wire; set by Nomad's servers.
    pub create_index: u64,
    /// Kept for the wire; set by Nomad's servers.
    pub modify_index: u64,
}
