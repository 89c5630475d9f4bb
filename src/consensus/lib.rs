//! Agreement on the order of commands: Raft over an embedded log, behind one small type.
//!
//! [`Consensus::propose`] returns once a command is on disk with a quorum and applied here; [`Consensus::state`] is the
//! state that follows from every command so far. The log and the vote live in one redb file whose records carry a
//! format and a checksum of their own, so that the engine underneath can be replaced; the state lives in memory and is
//! rebuilt from the newest snapshot and the log.
//!
//! What never belongs here: what a command means, decisions about jobs, HTTP, and the engine's own types in a public
//! signature.

mod backend;
mod consensus;
mod counters;
mod error;
mod guard;
mod log;
mod machine;
mod network;
mod options;
mod record;
mod snapshot;
mod status;
mod store;
mod subscription;
mod tail;
mod types;
mod writer;

pub use consensus::{Consensus, Leader};
pub use error::{ConsensusError, ProposeError, ReadError};
pub use options::Options;
pub use status::{RaftStatus, Role, StorageStatus};
pub use subscription::{Subscription, SubscriptionError};
pub use types::MAX_COMMAND_BYTES;
