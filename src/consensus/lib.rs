//! Agreement on the order of commands: Raft over an embedded log, behind one small type.
//!
//! [`Consensus::propose`] returns once a command is on disk with a quorum and applied here; [`Consensus::state`] is the
//! state that follows from every command so far. The log and the vote live in one redb file whose records carry a
//! format and a checksum of their own, so that the engine underneath can be replaced; the state lives in memory and is
//! rebuilt from the newest snapshot and the log.
//!
//! A node takes a seat among the members (`seat`: Raft) or follows without one (`replica`: a stream of what was
//! applied). Both fill the same `screen`, which is all that the rest of the node sees, and which never goes back. What
//! nodes say to each other is in `wire`; how it gets there is somebody else's ([`Transport`]).
//!
//! What never belongs here: what a command means, decisions about jobs, HTTP, and the engine's own types in a public
//! signature.

mod backend;
#[cfg(test)]
mod cluster;
mod consensus;
mod counters;
mod courier;
mod error;
mod guard;
mod log;
mod machine;
mod membership;
mod network;
mod options;
mod record;
mod recover;
mod replica;
mod restore;
mod screen;
mod seat;
mod snapshot;
mod status;
mod store;
mod subscription;
mod tail;
mod transport;
mod types;
mod wire;
mod writer;

pub use consensus::{Consensus, Leader};
pub use courier::Courier;
pub use error::{AnswerError, ChangeError, ConsensusError, ProposeError, ReadError};
pub use membership::{Member, MemberStatus};
pub use options::{FollowOptions, Following, Options, Start};
pub use recover::{Recovered, recover};
pub use restore::restore;
pub use status::{ElectionStatus, RaftStatus, Role, StorageStatus};
pub use subscription::{Subscription, SubscriptionError};
pub use transport::{MAX_MESSAGE_BYTES, Transport, TransportError};
pub use types::MAX_COMMAND_BYTES;
