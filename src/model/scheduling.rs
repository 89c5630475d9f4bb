//! How placement chooses, for the whole cluster.

use serde::{Deserialize, Serialize};

use crate::JobType;

/// What makes a node the better one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlacementAlgorithm {
    /// The fuller one: others stay free for what is big.
    #[default]
    Binpack,
    /// The emptier one.
    Spread,
}

/// Which types of job may take the room of less important ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Preemption {
    /// System jobs; on by default.
    #[serde(rename = "SystemSchedulerEnabled")]
    pub system: bool,
    /// Sysbatch jobs.
    #[serde(rename = "SysBatchSchedulerEnabled")]
    pub sysbatch: bool,
    /// Batch jobs.
    #[serde(rename = "BatchSchedulerEnabled")]
    pub batch: bool,
    /// Service jobs.
    #[serde(rename = "ServiceSchedulerEnabled")]
    pub service: bool,
}

impl Default for Preemption {
    fn default() -> Self {
        Self { system: true, sysbatch: false, batch: false, service: false }
    }
}

impl Preemption {
    /// Whether jobs of this type may.
    pub const fn allows(&self, kind: JobType) -> bool {
        match kind {
            JobType::Service => self.service,
            JobType::Batch => self.batch,
            JobType::System => self.system,
            JobType::Sysbatch => self.sysbatch,
        }
    }
}

/// How placement chooses (`/v1/operator/scheduler/configuration`). Nomad's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SchedulerConfig {
    /// What makes a node the better one.
    #[serde(rename = "SchedulerAlgorithm")]
    pub algorithm: PlacementAlgorithm,
    /// Which types of job may take the room of less important ones.
    #[serde(rename = "PreemptionConfig")]
    pub preemption: Preemption,
    /// Whether `memory_max` lets a task use more than what placement counts. On by default, unlike Nomad: who writes
    /// it means it.
    #[serde(rename = "MemoryOversubscriptionEnabled")]
    pub memory_oversubscription: bool,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            algorithm: PlacementAlgorithm::default(),
            preemption: Preemption::default(),
            memory_oversubscription: true,
            create_index: 0,
            modify_index: 0,
        }
    }
}
