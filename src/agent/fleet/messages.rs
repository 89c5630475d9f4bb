//! What agents say to each other, beside Raft's own messages.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use identity::ClusterId;
use model::{CommitId, NodeId, NodeRole};
use rpc::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Asks for a certificate with a join token. The only request that needs none already.
pub(crate) const JOIN: Method = Method(1);
/// Raft and what goes with it; the body is the consensus crate's.
pub(crate) const CONSENSUS: Method = Method(2);
/// Nodes that are there.
pub(crate) const HEARTBEAT: Method = Method(3);
/// Asks for a certificate with the one that is about to end.
pub(crate) const RENEW: Method = Method(4);
/// A server asks for the authority's key.
pub(crate) const AUTHORITY_KEY: Method = Method(5);
/// A node saw a commit that the leader may not know.
pub(crate) const HEAD_SEEN: Method = Method(6);
/// A request of the HTTP API that only this node can answer.
pub(crate) const HTTP: Method = Method(7);

/// A Git host refused a node because it is asked too often.
pub(crate) const HOST_REFUSES: Method = Method(8);
/// The leader asks for the objects of a commit that a node saw.
pub(crate) const OBJECTS: Method = Method(9);

/// Which cluster this is, for machines with a certificate of an authority that all know already.
pub(crate) const WHO: Method = Method(10);
/// Asks for the next piece of an answer to [`HTTP`] that was not whole.
pub(crate) const HTTP_MORE: Method = Method(11);

/// A machine wants in.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    pub(crate) token: String,
    /// Proves that the sender has its key (PKCS#10, PEM).
    pub(crate) request: String,
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) role: NodeRole,
    pub(crate) version: String,
    /// Where people reach it.
    #[serde(default)]
    pub(crate) addresses: Vec<IpAddr>,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest").field("node", &self.node).field("name", &self.name).finish()
    }
}

/// It is in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JoinAnswer {
    pub(crate) cluster: ClusterId,
    pub(crate) authority: String,
    pub(crate) certificate: String,
    /// Where the servers are.
    pub(crate) servers: Vec<String>,
}

/// A node wants to go on, or to become a server now that it is to vote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RenewRequest {
    pub(crate) request: String,
    pub(crate) server: bool,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) addresses: Vec<IpAddr>,
}

/// The cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WhoAnswer {
    pub(crate) cluster: ClusterId,
    /// Where the servers are.
    pub(crate) servers: Vec<String>,
}

/// A node says that it is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    pub(crate) nodes: Vec<NodeId>,
}

/// The answer to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HeartbeatAnswer {
    /// Git hosts that want to be left alone.
    pub(crate) hosts: Vec<HostSaid>,
}

/// How a Git host is to be treated, by everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostSaid {
    pub(crate) host: String,
    /// From now on.
    pub(crate) wait: Duration,
    pub(crate) refusals: u32,
}

/// What a host said to a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HostRefuses {
    pub(crate) host: String,
    pub(crate) retry_after: Option<Duration>,
}

/// What a node saw at a remote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HeadSeen {
    pub(crate) repo: String,
    pub(crate) commit: CommitId,
    /// The branch that it is on; empty from versions that did not say.
    #[serde(default)]
    pub(crate) branch: String,
}

/// Asks for a pack of what a commit needs. The answer is its size in bytes, as eight of them, and a piece of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectsRequest {
    pub(crate) repo: String,
    pub(crate) commit: CommitId,
    /// Commits whose objects are not needed.
    pub(crate) known: Vec<CommitId>,
    /// Where in the pack the piece begins.
    pub(crate) offset: u64,
}

/// A request of the HTTP API, for another node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    #[serde(with = "serde_bytes_as_base64")]
    pub(crate) body: Vec<u8>,
    /// Whether the sender takes the answer in pieces. Agents of earlier versions do not.
    #[serde(default)]
    pub(crate) pieces: bool,
}

/// Its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// Other headers that are passed on, by name.
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    /// The body, or its first piece.
    #[serde(with = "serde_bytes_as_base64")]
    pub(crate) body: Vec<u8>,
    /// What the rest of the body is asked for by, if there may be one.
    #[serde(default)]
    pub(crate) rest: Option<Uuid>,
}

/// Asks for a piece of a body. The same number asks for the same piece again: it may have been lost on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MoreRequest {
    pub(crate) rest: Uuid,
    /// Counts from 1.
    pub(crate) number: u64,
    /// Nobody waits for it any more.
    #[serde(default)]
    pub(crate) ended: bool,
}

/// A piece of a body. It may be empty: nothing came for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HttpPiece {
    #[serde(with = "serde_bytes_as_base64")]
    pub(crate) body: Vec<u8>,
    /// Whether there is nothing behind it.
    pub(crate) over: bool,
    /// Why it ended, if it did before it was whole.
    #[serde(default)]
    pub(crate) broken: Option<String>,
}

mod serde_bytes_as_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(de::Error::custom)
    }
}

/// A message as bytes. Those here always have an encoding.
pub(crate) fn encode<T: Serialize>(message: &T) -> Bytes {
    serde_json::to_vec(message).unwrap_or_default().into()
}

/// A message from bytes, or what is wrong with it.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the message makes no sense: {error}"))
}
