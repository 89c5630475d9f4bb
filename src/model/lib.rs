//! What the things Herder speaks of *are*: job, group, task, node, allocation, evaluation, deployment, revision,
//! service. Plain data with serde, in Nomad's names and JSON shapes wherever Nomad has them.
//!
//! This room never reads a clock, a file, a socket or the environment, and holds no rule of what *happens*: rules live
//! in `state`, `evaluator` and `node`. Everything here can be built by hand in a test.

mod allocation;
mod catalog;
mod child;
mod cpuset;
mod deployment;
mod device;
mod diagnostic;
mod drain;
mod environment;
mod evaluation;
mod identity;
mod ids;
mod interpolate;
mod job;
mod material;
mod network;
mod node;
pub mod nullable;
mod placement;
mod policy;
mod quantity;
mod revision;
mod scheduling;
mod score;
pub mod secret;
mod service;
mod snapshot_file;
mod spec;
mod storage;
mod task;
mod timing;
pub mod wire;
mod words;

pub use allocation::{
    AllocHealth, AllocReport, AllocResources, Allocation, CheckState, CheckStatus, ClientStatus,
    DesiredStatus, Few, Move, NodeInputs, PortAssignment, RescheduleEvent, TaskEvent, TaskRunState,
    TaskState,
};
pub use catalog::{Instance, InstanceCheck};
pub use child::{Child, Payload};
pub use cpuset::{format_cpuset, parse_cpuset};
pub use deployment::{Deployment, DeploymentGroup, DeploymentStatus};
pub use device::{DeviceGrant, DeviceInstance, NodeDevice, TaskGrant};
pub use diagnostic::{Dependency, Diagnostic, Related, Severity};
pub use drain::{DrainStatus, DrainStrategy, LastDrain};
pub use environment::{TaskPaths, combined_meta, environment, lookup};
pub use evaluation::{
    DesiredUpdates, EvalStatus, EvalTrigger, Evaluation, Explanation, PlacementFailure,
};
pub use identity::{Consul, Secret, Vault, WorkloadIdentity};
pub use ids::{
    AllocId, BlobId, CommitId, DeploymentId, EvalId, IdError, JobId, NodeId, SpecHash, seeded_uuid,
};
pub use interpolate::{interpolate, references};
pub use job::{GitopsBlock, Group, Improve, Job, JobType};
pub use material::{Artifact, ChangeScript, Template, Wait};
pub use network::{Cni, Dns, Network, Port};
pub use node::{
    DriverInfo, Eligibility, HostNetwork, Node, NodeEvent, NodeResources, NodeRole, NodeStatus,
};
pub use placement::{Affinity, Constraint, Spread, SpreadTarget};
pub use policy::{
    DelayFunction, Disconnect, Migrate, Reconcile, Reschedule, Restart, RestartMode, Update,
    UpdateHealth,
};
pub use quantity::{
    DurationError, Timestamp, format_duration, nanos, optional_nanos, parse_duration,
};
pub use revision::{FileChange, FileChangeKind, Origin, Revision, RevisionOutcome};
pub use scheduling::{PlacementAlgorithm, Preemption, SchedulerConfig};
pub use score::{NodeScore, ScorePart, ScoreParts};
pub use service::{Check, CheckRestart, CheckType, OnUpdate, Service, Weights};
pub use snapshot_file::{SnapshotFileError, read_snapshot, write_snapshot};
pub use spec::{JobStatus, JobVersion};
pub use storage::{CsiPlugin, EphemeralDisk, HostVolume, MountOptions, VolumeMount, VolumeRequest};
pub use task::{
    Action, DeviceRequest, DispatchPayload, Lifecycle, LifecycleHook, LogConfig, Numa, Resources,
    Task,
};
pub use timing::{Parameterized, Periodic, Scaling};
pub use words::Words;
