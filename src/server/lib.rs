//! The leader's loops: take in revisions, evaluate, start periodic jobs, listen to nodes, empty them, collect garbage; and
//! what operators ask of them.
//!
//! Each loop is a pure step (`intake::plan_revision`, `dirty::Dirty`, `heartbeat::Heartbeats`,
//! `drainer::step`, `periodic::Timetable`, `garbage::collect`) with a thin shell around it
//! that waits, reads Git and proposes commands. Nothing here starts a process or speaks HTTP.

mod autopilot;
mod blocked;
mod dirty;
mod dispatch;
mod drainer;
mod fleet;
mod follow;
mod garbage;
mod heartbeat;
mod improve;
mod intake;
mod lead;
mod members;
mod nodes;
mod periodic;
mod polling;
mod reconciler;
mod request;
mod scheduling;
mod server;
#[cfg(test)]
mod simulation;
mod source;
mod tokens;
mod worker;

pub use autopilot::{Action, AutopilotOptions, Candidate, Member, next as next_member};
pub use dispatch::{DispatchRequest, Started};
pub use fleet::FleetOptions;
pub use heartbeat::{HeartbeatOptions, HeartbeatStatus};
pub use intake::{Budget, IntakeOptions};
pub use periodic::next_launch;
pub use polling::{HostLimits, next_turn};
pub use request::{PlanOutcome, PlanRequest, PlanSource, RepoStatus, ServerError};
pub use server::{Clock, Repository, Server, ServerOptions};
pub use source::{RevisionSource, SourceError};
pub use tokens::NewToken;
pub use worker::{WorkerState, WorkerStatus};
