//! The types that the engine is built with.

use std::fmt;
use std::sync::Arc;

use openraft::alias;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use state::{Applied, Command};

use crate::error::ProposeError;

/// The largest command that the log takes, in bytes as encoded.
pub const MAX_COMMAND_BYTES: usize = 16 << 20;

openraft::declare_raft_types!(
    /// What the log holds and what it answers.
    pub(crate) Types:
        D = Proposal,
        R = Answer,
);

pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type LeaderId = alias::LeaderIdOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type Payload = alias::PayloadOf<Types>;
pub(crate) type Members = openraft::Membership<u64, openraft::BasicNode>;
pub(crate) type StoredMembers = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// A command with its encoding. Encoded once, by whoever proposes it, so that neither the engine's task nor the writer
/// spends time on it; cloning costs nothing.
#[derive(Clone)]
pub(crate) struct Proposal {
    command: Arc<Command>,
    encoded: Arc<[u8]>,
}

impl Proposal {
    pub(crate) fn new(command: Command) -> Result<Self, ProposeError> {
        let encoded =
            command.to_bytes().map_err(|error| ProposeError::Encode(error.to_string()))?;
        if encoded.len() > MAX_COMMAND_BYTES {
            return Err(ProposeError::TooLarge { size: encoded.len(), limit: MAX_COMMAND_BYTES });
        }
        Ok(Self { command: Arc::new(command), encoded: encoded.into() })
    }

    pub(crate) fn decode(encoded: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        let command = Command::from_bytes(encoded)?;
        Ok(Self { command: Arc::new(command), encoded: encoded.into() })
    }

    pub(crate) fn command(&self) -> &Command {
        &self.command
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

/// Commands may hold what must not be logged, so only the size is shown.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a command of {} bytes", self.encoded.len())
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Proposal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.command.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Proposal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Command::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// What came of a command. It stays on the node that applied it; the engine merely asks for a type that could travel.
#[derive(Clone, Debug)]
pub(crate) struct Answer(pub(crate) Arc<Applied>);

const ANSWER_STAYS: &str = "the answer to a command stays on the node that applied it";

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom(ANSWER_STAYS))
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(ANSWER_STAYS))
    }
}
