//! The JSON that the HTTP API speaks: Nomad's shapes where Nomad has one, and Herder's own for `/v1/gitops`.
//!
//! Both the API, which fills these in, and the client, which reads them, use the same types. Keys are PascalCase, spans
//! and most times whole nanoseconds; the few times that Nomad writes as RFC 3339 use [`rfc3339`].

mod agent;
mod allocation;
mod deployment;
mod diff;
mod document;
mod drain;
mod evaluation;
mod explain;
mod fleet;
mod gitops;
mod job;
mod metric;
mod node;
mod operator;
pub mod rfc3339;
mod scheduler;
mod service;
mod usage;

pub use agent::{
    AgentHealth, AgentMember, AgentMembers, AgentSelf, DeploymentUpdateResponse, HealthLine,
    Namespace,
};
pub use allocation::{
    AllocDeploymentStatus, AllocListStub, AllocatedCpu, AllocatedMemory, AllocatedResources,
    AllocatedShared, AllocatedTask, AllocationView, NetworkPort, NetworkResource,
    RescheduleTracker, RescheduleView, ResourceTotals, TaskEventView, TaskStateView,
};
pub use deployment::{DeploymentGroupView, DeploymentView};
pub use diff::{
    ChangeClass, DiffType, FieldChange, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff,
};
pub use document::JobDocument;
pub use drain::{
    DrainMetadata, DrainSpec, DrainStrategyView, NodeDrainRequest, NodeEligibilityRequest,
    NodeEventView, NodeUpdateResponse,
};
pub use evaluation::{EvaluationView, PlanAnnotations};
pub use explain::{
    AllocationExplained, AllocationExplanation, ChosenToday, DeploymentBrief, EvaluationBrief,
    GateView, GroupExplanation, JobExplanation, NodeVerdict, Shortage, Verdict, WaitKind, WaitView,
};
pub use fleet::{JoinTokenRequest, JoinTokenStub, NewJoinToken};
pub use gitops::{
    ApproveRequest, BrokenFile, ChangeResponse, CheckRequest, GitopsError, GitopsStatus,
    HeldRemoval, JobOutcome, PlanRequest, PlanResponse, PlannedJob, PlannedPlacement, RepoView,
    RevisionEntry, WaitsFor,
};
pub use job::{
    GroupSummary, JobDispatchRequest, JobDispatchResponse, JobListStub, JobSummary, JobVersions,
    JobView, PeriodicForceResponse, SummaryChildren,
};
pub use metric::AllocMetric;
pub use node::{
    DeviceAttribute, DeviceInstanceView, DriverView, HostVolumeView, NodeCpu, NodeDeviceView,
    NodeDisk, NodeListStub, NodeMemory, NodeResourcesView, NodeView,
};
pub use operator::{
    HeldNode, LeadershipTransfer, LoopView, LossesApproved, LostNodes, RaftConfiguration,
    RaftIdAddress, RaftServer, SnapshotInfo,
};
pub use scheduler::{
    PreemptionChange, SchedulerConfigChange, SchedulerConfigResponse, SchedulerConfigUpdated,
    SchedulerConfigView,
};
pub use service::{ServiceInstance, ServiceList, ServiceStub};
pub use usage::{
    AllocFileInfo, AllocResourceUsage, AllocStopResponse, CpuStats, HostCpu, HostDisk, HostMemory,
    HostStats, MemoryStats, ResourceUsage, TaskResourceUsage,
};

/// Serde for an optional identifier that Nomad writes as an empty string.
pub mod empty_is_none {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the identifier, or `""`.
    pub fn serialize<T: Display, S: Serializer>(id: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => to.collect_str(id),
            None => to.serialize_str(""),
        }
    }

    /// Reads what [`serialize`] writes; null is taken as none.
    pub fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        match Option::<String>::deserialize(from)? {
            Some(text) if !text.is_empty() => {
                text.parse().map(Some).map_err(serde::de::Error::custom)
            }
            _ => Ok(None),
        }
    }
}
