//! What the things Herder speaks of *are*: job, group, task, node, allocation, evaluation, deployment, revision,
//! service. Plain data with serde, in Nomad's names and JSON shapes wherever Nomad has them.
//!
//! This room never reads a clock, a file, a socket or the environment, and holds no rule of what *happens*: rules live
//! in `state`, `evaluator` and `node`. Everything here can be built by hand in a test.

mod allocation;
mod catalog;
mod deployment;
mod diagnostic;
mod environment;
mod evaluation;
mod ids;
mod interpolate;
mod job;
mod node;
mod quantity;
mod revision;
mod service;
mod spec;
mod task;
pub mod wire;

pub use allocation::{
    AllocHealth, AllocReport, AllocResources, Allocation, CheckState, CheckStatus, ClientStatus,
    DesiredStatus, PortAssignment, RescheduleEvent, TaskEvent, TaskRunState, TaskState,
};
pub use catalog::{Instance, InstanceCheck};
pub use deployment::{Deployment, DeploymentGroup, DeploymentStatus};
pub use diagnostic::{Diagnostic, Severity};
pub use environment::{TaskPaths, combined_meta, environment, lookup};
pub use evaluation::{
    DesiredUpdates, EvalStatus, EvalTrigger, Evaluation, Explanation, NodeScore, PlacementFailure,
};
pub use ids::{
    AllocId, BlobId, CommitId, DeploymentId, EvalId, IdError, JobId, NodeId, SpecHash, seeded_uuid,
};
pub use interpolate::{interpolate, references};
pub use job::{
    Constraint, DelayFunction, EphemeralDisk, GitopsBlock, Group, Job, JobType, Migrate, Network,
    Port, Reschedule, Restart, RestartMode, Update, UpdateHealth,
};
pub use node::{DriverInfo, Eligibility, Node, NodeResources, NodeStatus};
pub use quantity::{
    DurationError, Timestamp, format_duration, nanos, optional_nanos, parse_duration,
};
pub use revision::{FileChange, FileChangeKind, Origin, Revision, RevisionOutcome};
pub use service::{Check, CheckRestart, CheckType, OnUpdate, Service};
pub use spec::{JobStatus, JobVersion};
pub use task::{Lifecycle, LifecycleHook, LogConfig, Resources, Task};
