//! The HTTP faces: the orchestration dialect (Nomad's shapes, and Herder's own under `/v1/gitops`) and the discovery
//! dialect (Consul's shapes), each a router over one [`App`], and the server that carries them.
//!
//! What an answer says is made by pure functions from the state; a handler only finds out what was asked and waits.
//! What never belongs here: decisions about jobs, reading Git, running tasks, DNS.

mod app;
mod blocking;
mod control;
mod discovery;
#[cfg(test)]
mod fixture;
mod guard;
mod local;
mod logs;
mod metrics;
mod orchestration;
mod params;
mod refusal;
mod reply;
mod serve;
mod stack;
mod tls;

pub use app::{AgentInfo, App};
pub use control::{Control, Heartbeats, RaftMember, RaftView, RepoPoll};
pub use discovery::discovery;
pub use guard::guarded;
pub use local::{FilePieces, LocalError, LocalFigure, LocalNode};
pub use logs::{LogError, LogOrigin, LogOutput, LogPiece, LogPieces, LogRequest, TaskLogs};
pub use orchestration::orchestration;
pub use refusal::Refusal;
pub use serve::serve;
pub use stack::Live;
pub use tls::HTTPS;
