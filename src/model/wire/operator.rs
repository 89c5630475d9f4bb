//! The servers and what they agree on, for those who run them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Timestamp};

/// `/v1/operator/raft/configuration`: who takes part in Raft.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftConfiguration {
    /// The last entry of the log that the server which answers has applied.
    pub index: u64,
    /// The servers.
    pub servers: Vec<RaftServer>,
}

/// A server that takes part in Raft.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftServer {
    /// Its node's ID; its number where the node is not known.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its node's name; `(unknown)` where the node is not known.
    pub node: String,
    /// Where the others reach it.
    pub address: String,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it votes.
    pub voter: bool,
    /// Nomad's version of the protocol: always 3.
    pub raft_protocol: String,
    /// Its number in the log of the agents.
    pub number: u64,
    /// How long ago it answered the leader, in nanoseconds; null where only the leader knows.
    pub last_contact: Option<u64>,
    /// The last entry that it is known to have; null where only the leader knows.
    pub match_index: Option<u64>,
}

/// A server in the answer to a change of the leadership.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftIdAddress {
    /// As in [`RaftServer::id`].
    #[serde(rename = "ID")]
    pub id: String,
    /// Where the others reach it.
    pub address: String,
}

/// The answer to `PUT /v1/operator/raft/transfer-leadership`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LeadershipTransfer {
    /// Who led.
    pub from: RaftIdAddress,
    /// Who leads now.
    pub to: RaftIdAddress,
    /// Whether they are the same, and nothing was done.
    pub noop: bool,
}

/// `/v1/operator/lost-nodes`: how the nodes answer, and whether the brake holds losses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LostNodes {
    /// Nodes that are listened to.
    pub listening: u64,
    /// Nodes that were declared lost lately.
    pub declared: u64,
    /// How many may be declared lost together.
    pub allowed: u64,
    /// Nodes that do not answer and are not declared lost: too many fell silent at once.
    pub held: Vec<HeldNode>,
    /// What that means, in words; empty while nothing is held.
    pub message: String,
}

/// A node whose loss is held by the brake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HeldNode {
    /// Which.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Its name.
    pub name: String,
}

/// The answer to `POST /v1/operator/lost-nodes/approve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LossesApproved {
    /// How many nodes are declared lost now.
    pub approved: u64,
}

/// One of an agent's loops (a row of `/v1/agent/loops`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LoopView {
    /// Its name.
    pub name: String,
    /// `idle`, `busy` or `stopped`.
    pub state: String,
    /// Steps so far.
    pub steps: u64,
    /// When the last step ended; zero before the first.
    pub last_step_at: Timestamp,
    /// What went wrong in the last step, if anything.
    pub error: Option<String>,
}

/// What a snapshot file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SnapshotInfo {
    /// Herder's version that wrote it.
    pub version: String,
    /// When.
    pub created_at: Timestamp,
    /// The last command that it contains.
    pub index: u64,
    /// Raft's term at that time.
    pub term: u64,
    /// The cluster that it is of; empty for an agent that was alone.
    pub cluster: String,
    /// How many of what it holds.
    pub contents: BTreeMap<String, u64>,
}
