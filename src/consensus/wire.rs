//! What members say to each other. Ours, not the engine's: it can be replaced without a flag day.
//!
//! A message: version (1 byte), then MessagePack with named fields. Entries travel as they lie in the log, with their
//! format and checksum. A request names its cluster and whom it is for: an address that was given to another machine must
//! not lead to a foreign log.

mod rejection;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::consensus::Leader;
use crate::error::AnswerError;
use crate::membership::Change;
use crate::record::{decode_entry, encode_entry, id_fields, id_from, vote_fields, vote_from};
use crate::types::{Entry, LogId, Vote};

pub(crate) use rejection::StoredRejection;

/// The version of the messages. One that old members cannot read raises it.
const VERSION: u8 = 1;
/// Bytes of a snapshot in one message.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// A log id or a vote in three numbers.
pub(crate) type Triple = [u64; 3];

pub(crate) fn triple(id: Option<&LogId>) -> Option<Triple> {
    id.map(id_fields)
}

pub(crate) fn log_id(triple: Option<Triple>) -> Option<LogId> {
    triple.map(id_from)
}

pub(crate) fn vote_triple(vote: &Vote) -> Triple {
    vote_fields(vote)
}

pub(crate) fn vote(triple: Triple) -> Vote {
    vote_from(triple)
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) cluster: String,
    /// Whom it is for; nobody in particular if missing.
    #[serde(default)]
    pub(crate) to: Option<u64>,
    pub(crate) from: u64,
    pub(crate) body: Request,
}

/// An entry as it lies in the log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) index: u64,
    #[serde(with = "crate::record::serde_bytes_vec")]
    pub(crate) bytes: Vec<u8>,
}

impl Record {
    pub(crate) fn new(entry: &Entry) -> Result<Self, String> {
        let bytes = encode_entry(entry).map_err(|error| error.to_string())?;
        Ok(Self { index: entry.log_id.index, bytes })
    }

    pub(crate) fn entry(&self) -> Result<Entry, String> {
        decode_entry(self.index, &self.bytes)
            .map_err(|error| format!("entry {} is not usable: {error}", self.index))
    }
}

/// A part of a file, with a checksum of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    #[serde(with = "crate::record::serde_bytes_vec")]
    pub(crate) bytes: Vec<u8>,
    pub(crate) checksum: u32,
}

impl Piece {
    pub(crate) fn new(offset: u64, bytes: Vec<u8>) -> Self {
        let checksum = crc32fast::hash(&bytes);
        Self { offset, bytes, checksum }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.bytes.len() <= PIECE_BYTES && crc32fast::hash(&self.bytes) == self.checksum
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Append {
        vote: Triple,
        previous: Option<Triple>,
        committed: Option<Triple>,
        entries: Vec<Record>,
    },
    Vote {
        vote: Triple,
        last: Option<Triple>,
        transfer: bool,
    },
    PreVote {
        vote: Triple,
        last: Option<Triple>,
    },
    Transfer {
        vote: Triple,
        to: u64,
        last: Option<Triple>,
    },
    /// A part of a snapshot from the leader. An empty part asks how far the receiver is.
    Snapshot {
        vote: Triple,
        last: Option<Triple>,
        length: u64,
        piece: Piece,
    },
    Propose {
        #[serde(with = "crate::record::serde_bytes_vec")]
        command: Vec<u8>,
        wait_ms: u64,
    },
    ReadIndex,
    Change(Change),
    /// What was applied after this entry; waits for something to come.
    Follow {
        after: Option<Triple>,
        wait_ms: u64,
    },
    /// A part of the snapshot that ends at this entry.
    Fetch {
        last: Triple,
        offset: u64,
    },
    /// Who is a member, as far as it is committed.
    Members,
}

impl Request {
    /// Whether a node may ask it that is no server.
    pub(crate) fn is_for_workers(&self) -> bool {
        match self {
            Self::Propose { .. }
            | Self::ReadIndex
            | Self::Follow { .. }
            | Self::Fetch { .. }
            | Self::Members => true,
            Self::Append { .. }
            | Self::Vote { .. }
            | Self::PreVote { .. }
            | Self::Transfer { .. }
            | Self::Snapshot { .. }
            | Self::Change(_) => false,
        }
    }
}

/// What a member knows of the cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) leader: Option<Leader>,
    /// The entry that holds the membership, and the membership as in the log.
    pub(crate) members_at: Option<Triple>,
    #[serde(with = "crate::record::serde_bytes_vec")]
    pub(crate) members: Vec<u8>,
    /// One past the last entry that it has applied.
    pub(crate) reached: u64,
    /// For how long it has heard nothing of a leader (or, leading, of a quorum).
    pub(crate) silent_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Appended,
    AppendedUpTo(Option<Triple>),
    Conflict,
    HigherVote(Triple),
    Voted {
        vote: Triple,
        last: Option<Triple>,
        granted: bool,
    },
    Transferred,
    /// Where the receiver goes on.
    SnapshotAt(u64),
    SnapshotDone {
        vote: Triple,
    },
    Proposed {
        index: u64,
        rejection: Option<StoredRejection>,
    },
    /// Certainly not taken; maybe somebody else leads.
    NotTaken {
        leader: Option<Leader>,
    },
    /// Taken, but what came of it is not known.
    Unknown,
    ReadAt(u64),
    NoQuorum(String),
    Changed,
    Refused(String),
    Applied {
        entries: Vec<Record>,
        head: Head,
    },
    /// Those entries are gone or never were; here is the snapshot to begin with.
    Restart {
        last: Triple,
        length: u64,
        head: Head,
    },
    Piece(Piece),
    Gone,
    Members(Head),
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes, AnswerError> {
    let mut bytes = vec![VERSION];
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    value.serialize(&mut serializer).map_err(|error| AnswerError::Malformed(error.to_string()))?;
    Ok(bytes.into())
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AnswerError> {
    match bytes.split_first() {
        None => Err(AnswerError::Malformed("it is empty".to_owned())),
        Some((&VERSION, rest)) => {
            rmp_serde::from_slice(rest).map_err(|error| AnswerError::Malformed(error.to_string()))
        }
        Some((&found, _)) => Err(AnswerError::Version { found, supported: VERSION }),
    }
}

impl Envelope {
    pub(crate) fn encode(&self) -> Result<Bytes, AnswerError> {
        encode(self)
    }

    /// Reads a request and checks that it is meant for this node.
    pub(crate) fn decode(bytes: &[u8], cluster: &str, node: u64) -> Result<Self, AnswerError> {
        let envelope: Self = decode(bytes)?;
        if envelope.cluster != cluster {
            return Err(AnswerError::OtherCluster {
                wanted: envelope.cluster,
                ours: cluster.to_owned(),
            });
        }
        match envelope.to {
            Some(wanted) if wanted != node => Err(AnswerError::OtherNode { wanted, ours: node }),
            _ => Ok(envelope),
        }
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> Result<Bytes, AnswerError> {
        encode(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, AnswerError> {
        decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope { cluster: "herder".to_owned(), to: Some(2), from: 1, body: Request::ReadIndex }
    }

    #[test]
    fn a_request_is_only_read_by_whom_it_is_for() {
        let bytes = envelope().encode().expect("it encodes");
        assert!(Envelope::decode(&bytes, "herder", 2).is_ok());
        let error = Envelope::decode(&bytes, "herder", 3).expect_err("another node");
        assert_eq!(error, AnswerError::OtherNode { wanted: 2, ours: 3 });
        let error = Envelope::decode(&bytes, "test", 2).expect_err("another cluster");
        assert!(matches!(error, AnswerError::OtherCluster { .. }), "{error}");
    }

    #[test]
    fn another_version_is_named_and_rubbish_refused() {
        let mut bytes = envelope().encode().expect("it encodes").to_vec();
        for length in 0..bytes.len() {
            assert!(Envelope::decode(&bytes[..length], "herder", 2).is_err(), "cut at {length}");
        }
        bytes[0] = 9;
        let error = Envelope::decode(&bytes, "herder", 2).expect_err("another version");
        assert_eq!(error, AnswerError::Version { found: 9, supported: VERSION });
    }

    #[test]
    fn a_piece_that_changed_is_found() {
        let mut piece = Piece::new(0, vec![1, 2, 3]);
        assert!(piece.is_whole());
        piece.bytes[1] ^= 1;
        assert!(!piece.is_whole());
    }
}
