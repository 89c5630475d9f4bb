//! The leader's loops: take in revisions, evaluate, collect garbage; and what operators ask of them.
//!
//! Each loop is a pure step (`intake::plan_revision`, `dirty::Dirty`, `garbage::collect`) with a thin shell around it
//! that waits, reads Git and proposes commands. Nothing here starts a process or speaks HTTP.

mod dirty;
mod follow;
mod garbage;
mod intake;
mod reconciler;
mod request;
mod server;
mod source;
mod worker;

pub use intake::{Budget, IntakeOptions};
pub use request::{PlanOutcome, PlanRequest, PlanSource, RepoStatus, ServerError};
pub use server::{Clock, Repository, Server, ServerOptions};
pub use source::{RevisionSource, SourceError};
pub use worker::{WorkerState, WorkerStatus};
