//! How entries and marks look on disk. Ours, not the engine's: it can be replaced without touching a log.
//!
//! An entry: format (1 byte), kind (1), term (8), leader (8), body, checksum (4); numbers little-endian. The body of a
//! command is MessagePack with named fields. The checksum covers the entry's index too, so that an entry in the wrong
//! place is found. A mark (vote, committed, purged …): format (1), fields of 8 bytes, checksum over its name and these.

use std::collections::{BTreeMap, BTreeSet};

use openraft::BasicNode;
use serde::{Deserialize, Serialize};

use crate::types::{Entry, LeaderId, LogId, Members, Payload, Proposal, StoredMembers, Vote};

/// The format of single records.
pub(crate) const RECORD_FORMAT: u8 = 1;

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERS: u8 = 2;
const HEADER: usize = 18;
const CHECKSUM: usize = 4;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("its checksum does not match, some byte changed since it was written")]
    Checksum,
    #[error("it is cut short at {0} bytes")]
    Short(usize),
    #[error("it has format {0}, but this version reads format {RECORD_FORMAT}")]
    Format(u8),
    #[error("it is of the unknown kind {0}")]
    Kind(u8),
    #[error("its content cannot be read: {0}")]
    Content(String),
}

/// A membership on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredNodes {
    voters: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, StoredNode>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredNode {
    address: String,
}

/// A membership as bytes.
pub(crate) fn encode_members(members: &Members) -> Result<Vec<u8>, RecordError> {
    let nodes = members
        .nodes()
        .map(|(id, node)| (*id, StoredNode { address: node.addr.clone() }))
        .collect();
    rmp_serde::to_vec_named(&StoredNodes { voters: members.get_joint_config().clone(), nodes })
        .map_err(|error| RecordError::Content(error.to_string()))
}

/// The membership that [`encode_members`] wrote.
pub(crate) fn decode_members(bytes: &[u8]) -> Result<Members, RecordError> {
    let stored: StoredNodes =
        rmp_serde::from_slice(bytes).map_err(|error| RecordError::Content(error.to_string()))?;
    if stored.voters.is_empty() && stored.nodes.is_empty() {
        return Ok(Members::default());
    }
    let nodes: BTreeMap<u64, BasicNode> =
        stored.nodes.into_iter().map(|(id, node)| (id, BasicNode { addr: node.address })).collect();
    Members::new(stored.voters, nodes).map_err(|error| RecordError::Content(error.to_string()))
}

pub(crate) fn log_id(term: u64, node: u64, index: u64) -> LogId {
    LogId { leader_id: LeaderId { term, node_id: node }, index }
}

/// An entry as bytes.
pub(crate) fn encode_entry(entry: &Entry) -> Result<Vec<u8>, RecordError> {
    let members;
    let (kind, body): (u8, &[u8]) = match &entry.payload {
        Payload::Blank => (BLANK, &[]),
        Payload::Normal(proposal) => (COMMAND, proposal.encoded()),
        Payload::Membership(config) => {
            members = encode_members(config)?;
            (MEMBERS, &members)
        }
    };
    let mut bytes = Vec::with_capacity(HEADER + body.len() + CHECKSUM);
    bytes.push(RECORD_FORMAT);
    bytes.push(kind);
    bytes.extend_from_slice(&entry.log_id.leader_id.term.to_le_bytes());
    bytes.extend_from_slice(&entry.log_id.leader_id.node_id.to_le_bytes());
    bytes.extend_from_slice(body);
    let checksum = entry_checksum(entry.log_id.index, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// Checks an entry's format and checksum without reading its body.
pub(crate) fn check_entry(index: u64, bytes: &[u8]) -> Result<LogId, RecordError> {
    let (id, _, _) = split_entry(index, bytes)?;
    Ok(id)
}

/// The entry that [`encode_entry`] wrote at `index`.
pub(crate) fn decode_entry(index: u64, bytes: &[u8]) -> Result<Entry, RecordError> {
    let (log_id, kind, body) = split_entry(index, bytes)?;
    let payload = match kind {
        BLANK => Payload::Blank,
        COMMAND => Payload::Normal(
            Proposal::decode(body).map_err(|error| RecordError::Content(error.to_string()))?,
        ),
        MEMBERS => Payload::Membership(decode_members(body)?),
        other => return Err(RecordError::Kind(other)),
    };
    Ok(Entry { log_id, payload })
}

fn split_entry(index: u64, bytes: &[u8]) -> Result<(LogId, u8, &[u8]), RecordError> {
    let (content, checksum) =
        bytes.split_last_chunk::<CHECKSUM>().ok_or(RecordError::Short(bytes.len()))?;
    if entry_checksum(index, content) != u32::from_le_bytes(*checksum) {
        return Err(RecordError::Checksum);
    }
    let (header, body) =
        content.split_first_chunk::<HEADER>().ok_or(RecordError::Short(bytes.len()))?;
    let [format, kind, numbers @ ..] = header;
    if *format != RECORD_FORMAT {
        return Err(RecordError::Format(*format));
    }
    let mut fields = numbers.as_chunks::<8>().0.iter().map(|field| u64::from_le_bytes(*field));
    let (Some(term), Some(node)) = (fields.next(), fields.next()) else {
        return Err(RecordError::Short(bytes.len()));
    };
    Ok((log_id(term, node, index), *kind, body))
}

fn entry_checksum(index: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// A mark as bytes.
pub(crate) fn encode_mark<const N: usize>(name: &str, fields: [u64; N]) -> Vec<u8> {
    let mut bytes = vec![RECORD_FORMAT];
    for field in fields {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    let checksum = mark_checksum(name, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The fields that [`encode_mark`] wrote under `name`.
pub(crate) fn decode_mark<const N: usize>(
    name: &str,
    bytes: &[u8],
) -> Result<[u64; N], RecordError> {
    let (content, checksum) =
        bytes.split_last_chunk::<CHECKSUM>().ok_or(RecordError::Short(bytes.len()))?;
    if mark_checksum(name, content) != u32::from_le_bytes(*checksum) {
        return Err(RecordError::Checksum);
    }
    let (format, fields) = content.split_first().ok_or(RecordError::Short(bytes.len()))?;
    if *format != RECORD_FORMAT {
        return Err(RecordError::Format(*format));
    }
    let (fields, rest) = fields.as_chunks::<8>();
    if fields.len() != N || !rest.is_empty() {
        return Err(RecordError::Short(bytes.len()));
    }
    let mut numbers = [0; N];
    for (number, field) in numbers.iter_mut().zip(fields) {
        *number = u64::from_le_bytes(*field);
    }
    Ok(numbers)
}

fn mark_checksum(name: &str, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(content);
    hasher.finalize()
}

pub(crate) fn vote_fields(vote: &Vote) -> [u64; 3] {
    [vote.leader_id.term, vote.leader_id.node_id, u64::from(vote.committed)]
}

pub(crate) fn vote_from([term, node_id, committed]: [u64; 3]) -> Vote {
    Vote { leader_id: LeaderId { term, node_id }, committed: committed != 0 }
}

pub(crate) fn id_fields(id: &LogId) -> [u64; 3] {
    [id.leader_id.term, id.leader_id.node_id, id.index]
}

pub(crate) fn id_from([term, node, index]: [u64; 3]) -> LogId {
    log_id(term, node, index)
}

/// What a snapshot's header says of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredMeta {
    last: Option<[u64; 3]>,
    members_at: Option<[u64; 3]>,
    #[serde(with = "serde_bytes_vec")]
    members: Vec<u8>,
}

/// A snapshot's header as bytes.
pub(crate) fn encode_meta(meta: &crate::types::SnapshotMeta) -> Result<Vec<u8>, RecordError> {
    let stored = StoredMeta {
        last: meta.last_log_id.as_ref().map(id_fields),
        members_at: meta.last_membership.log_id().as_ref().map(id_fields),
        members: encode_members(meta.last_membership.membership())?,
    };
    rmp_serde::to_vec_named(&stored).map_err(|error| RecordError::Content(error.to_string()))
}

/// The header that [`encode_meta`] wrote.
pub(crate) fn decode_meta(bytes: &[u8]) -> Result<crate::types::SnapshotMeta, RecordError> {
    let stored: StoredMeta =
        rmp_serde::from_slice(bytes).map_err(|error| RecordError::Content(error.to_string()))?;
    let members = decode_members(&stored.members)?;
    Ok(crate::types::SnapshotMeta {
        last_log_id: stored.last.map(id_from),
        last_membership: StoredMembers::new(stored.members_at.map(id_from), members),
    })
}

/// Bytes as bytes, not as a list of numbers.
pub(crate) mod serde_bytes_vec {
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let command = state::Command::CollectGarbage(state::Garbage::default());
        Entry {
            log_id: log_id(3, 1, 7),
            payload: Payload::Normal(Proposal::new(command).expect("it is small")),
        }
    }

    #[test]
    fn an_entry_comes_back() {
        let bytes = encode_entry(&entry()).expect("it encodes");
        let back = decode_entry(7, &bytes).expect("it decodes");
        assert_eq!(back.log_id, log_id(3, 1, 7));
        let Payload::Normal(proposal) = &back.payload else { panic!("a command was written") };
        assert_eq!(proposal.command(), &state::Command::CollectGarbage(state::Garbage::default()));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = encode_entry(&entry()).expect("it encodes");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut broken = bytes.clone();
                broken[at] ^= 1 << bit;
                assert_eq!(check_entry(7, &broken), Err(RecordError::Checksum), "byte {at}");
            }
        }
        for length in 0..bytes.len() {
            assert!(check_entry(7, &bytes[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn an_entry_in_the_wrong_place_is_found() {
        let bytes = encode_entry(&entry()).expect("it encodes");
        assert_eq!(check_entry(8, &bytes), Err(RecordError::Checksum));
    }

    #[test]
    fn another_format_is_named() {
        let mut bytes = encode_entry(&entry()).expect("it encodes");
        bytes[0] = 9;
        let content = bytes.len() - CHECKSUM;
        let checksum = entry_checksum(7, &bytes[..content]).to_le_bytes();
        bytes[content..].copy_from_slice(&checksum);
        assert_eq!(check_entry(7, &bytes), Err(RecordError::Format(9)));
    }

    #[test]
    fn a_mark_is_only_read_under_its_name() {
        let vote = Vote { leader_id: LeaderId { term: 4, node_id: 2 }, committed: true };
        let bytes = encode_mark("vote", vote_fields(&vote));
        assert_eq!(decode_mark("vote", &bytes).map(vote_from), Ok(vote));
        assert_eq!(decode_mark::<3>("committed", &bytes), Err(RecordError::Checksum));
        assert_eq!(decode_mark::<2>("vote", &bytes), Err(RecordError::Short(bytes.len())));
    }

    #[test]
    fn members_come_back() {
        let nodes = BTreeMap::from([
            (1, BasicNode { addr: "a:1".to_owned() }),
            (2, BasicNode { addr: "b:1".to_owned() }),
        ]);
        let members = Members::new(vec![BTreeSet::from([1])], nodes).expect("it is valid");
        let meta = crate::types::SnapshotMeta {
            last_log_id: Some(log_id(3, 1, 7)),
            last_membership: StoredMembers::new(Some(log_id(1, 1, 1)), members),
        };
        let bytes = encode_meta(&meta).expect("it encodes");
        assert_eq!(decode_meta(&bytes), Ok(meta));
    }
}
