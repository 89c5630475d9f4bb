//! The replicated state machine: commands go in, tables change, events come out.
//!
//! `State` is a set of persistent maps, so that a clone costs nothing: a snapshot for the evaluator, for Raft, for a
//! blocking query or for DNS is `state.clone()`. [`State::apply`] never fails, never blocks and never looks at a clock:
//! whoever proposes a command stamps its time and ids. A command that makes no sense any more is answered with a
//! [`Rejection`] and changes nothing.
//!
//! What never belongs here: sockets, disks, time, randomness, decisions about where something should run.

mod apply;
mod command;
mod encoding;
mod event;
mod load;
mod outcome;
mod record;
mod seen;
mod sharing;
mod snapshot;
mod table;

pub use apply::renamed_path;
pub use command::{
    Command, DeploymentChange, Disconnected, Dispatch, FileOutcome, FileReading, Garbage,
    InPlaceUpdate, JobSubmission, Launch, Plan, Revert, StopAlloc, TakeRevision, Unplaced,
};
pub use event::{Applied, Event, Rejection};
pub use load::{NodeLoad, PortUse, device_make};
pub use outcome::RevisionReport;
pub use record::{
    ClusterRecord, FileRecord, JobRecord, JoinToken, Launches, RemovedNode, RepoRecord, SecretHash,
};
pub use seen::{NodeChanges, SeenNodes};
pub use snapshot::SnapshotError;
pub use table::State;

/// Versions of a job that are kept beside the stable one and those of its allocations.
pub const TRACKED_VERSIONS: usize = 20;
/// Revisions that are kept.
pub const TRACKED_REVISIONS: usize = 1_000;
/// Children of one job that can be there at once and not be over.
pub const LIVE_CHILDREN: usize = 1_000;
/// What the metadata of a dispatch can have, keys and values together, in bytes.
pub const DISPATCH_META: usize = 64 << 10;
/// The longest idempotency token of a dispatch, in bytes.
pub const IDEMPOTENCY_TOKEN: usize = 256;
/// How long it is remembered that a node was given up. Whoever counts losses together counts those of a shorter time.
pub const LOSSES_REMEMBERED: std::time::Duration = std::time::Duration::from_secs(3600);
/// Join tokens that can be there at once.
pub const JOIN_TOKENS: usize = 1_000;
/// Removed nodes that are remembered at once.
pub const REMOVED_NODES: usize = 10_000;
