//! The way to the other members: what the engine wants said, said over a [`Transport`].

mod receive;
mod snapshot;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2, alias};

use crate::snapshot::SnapshotData;
use crate::transport::{Transport, TransportError};
use crate::types::{Members, Types, Vote};
use crate::wire::{self, Envelope, Record, Reply, Request};

pub(crate) use receive::{Received, Receiver};

/// How long a small batch of entries may take to be on the other's disk, and how much longer for each megabyte. What
/// took longer is sent again, which does no harm.
const APPEND_LIMIT: Duration = Duration::from_millis(1_000);
const APPEND_LIMIT_PER_MEGABYTE: Duration = Duration::from_millis(500);

/// Where each member is, by the newest membership seen. The engine keeps its own copy for as long as it keeps a way
/// open; a member that moved is found by this one.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<BTreeMap<u64, String>>);

impl Book {
    pub(crate) fn learn(&self, members: &Members) {
        let nodes = members.nodes().map(|(node, place)| (*node, place.addr.clone()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(nodes);
    }

    pub(crate) fn address(&self, node: u64) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }
}

/// Why a member gave no usable answer. Says whether it may have acted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// It did not act.
    #[error("{0}")]
    NotDone(String),
    /// It may have acted.
    #[error("{0}")]
    Unknown(String),
}

/// Sends requests in this node's name.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) transport: Option<Arc<dyn Transport>>,
    pub(crate) cluster: String,
    pub(crate) node: u64,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Caller {
    /// Asks whoever is at `address`, which must be `to` if that is given.
    pub(crate) async fn call(
        &self,
        to: Option<u64>,
        address: &str,
        bulk: bool,
        body: Request,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let who = || match to {
            Some(node) => format!("server {node} at `{address}`"),
            None => format!("the server at `{address}`"),
        };
        let Some(transport) = &self.transport else {
            let reason = format!("{} cannot be reached: there is no transport", who());
            return Err(CallError::NotDone(reason));
        };
        if address.is_empty() {
            return Err(CallError::NotDone(format!("{} has no known address", who())));
        }
        let envelope = Envelope { cluster: self.cluster.clone(), to, from: self.node, body };
        let request = envelope.encode().map_err(|error| CallError::NotDone(error.to_string()))?;
        match transport.send(address, bulk, request, limit).await {
            Ok(answer) => Reply::decode(&answer)
                .map_err(|error| CallError::Unknown(format!("{}: {error}", who()))),
            Err(error @ TransportError::NoAnswer(_)) => {
                Err(CallError::Unknown(format!("{} {error}", who())))
            }
            Err(error) => Err(CallError::NotDone(format!("{} {error}", who()))),
        }
    }
}

/// Makes a way to each member that the membership names.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) caller: Caller,
    pub(crate) book: Arc<Book>,
}

/// The way to one member.
#[derive(Debug)]
pub(crate) struct Peer {
    node: u64,
    /// As the engine knows it.
    address: String,
    network: Network,
}

impl From<CallError> for RPCError<Types> {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotDone(_) => RPCError::Unreachable(Unreachable::new(&error)),
            CallError::Unknown(_) => RPCError::Network(NetworkError::new(&error)),
        }
    }
}

impl Peer {
    async fn call(&self, bulk: bool, body: Request, limit: Duration) -> Result<Reply, CallError> {
        let address = self.network.book.address(self.node).unwrap_or_else(|| self.address.clone());
        self.network.caller.call(Some(self.node), &address, bulk, body, limit).await
    }

    fn odd(&self, reply: &Reply) -> CallError {
        let kind = match reply {
            Reply::Refused(reason) => reason.as_str(),
            _ => "it answered something else",
        };
        CallError::NotDone(format!("server {} gave no usable answer: {kind}", self.node))
    }

    async fn ask_vote(
        &self,
        body: Request,
        limit: Duration,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(false, body, limit).await? {
            Reply::Voted { vote, last, granted } => {
                Ok(VoteResponse::new(wire::vote(vote), wire::log_id(last), granted))
            }
            other => Err(self.odd(&other).into()),
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        Peer { node: target, address: node.addr.clone(), network: self.clone() }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let mut entries = Vec::with_capacity(request.entries.len());
        let mut size = 0;
        for entry in &request.entries {
            let record = Record::new(entry).map_err(CallError::NotDone)?;
            size += record.bytes.len();
            entries.push(record);
        }
        let limit = if entries.is_empty() {
            option.soft_ttl()
        } else {
            let megabytes = u32::try_from(size >> 20).unwrap_or(u32::MAX);
            APPEND_LIMIT + APPEND_LIMIT_PER_MEGABYTE * megabytes
        };
        let body = Request::Append {
            vote: wire::vote_triple(&request.vote),
            previous: wire::triple(request.prev_log_id.as_ref()),
            committed: wire::triple(request.leader_commit.as_ref()),
            entries,
        };
        match self.call(false, body, limit).await? {
            Reply::Appended => Ok(AppendEntriesResponse::Success),
            Reply::AppendedUpTo(last) => {
                Ok(AppendEntriesResponse::PartialSuccess(wire::log_id(last)))
            }
            Reply::Conflict => Ok(AppendEntriesResponse::Conflict),
            Reply::HigherVote(vote) => Ok(AppendEntriesResponse::HigherVote(wire::vote(vote))),
            other => Err(self.odd(&other).into()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let body = Request::Vote {
            vote: wire::vote_triple(&request.vote),
            last: wire::triple(request.last_log_id.as_ref()),
            transfer: request.leadership_transfer,
        };
        self.ask_vote(body, option.soft_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let body = Request::PreVote {
            vote: wire::vote_triple(&request.vote),
            last: wire::triple(request.last_log_id.as_ref()),
        };
        self.ask_vote(body, option.soft_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: alias::SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot, option.soft_ttl()) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let body = Request::Transfer {
            vote: wire::vote_triple(request.from_leader()),
            to: *request.to_node_id(),
            last: wire::triple(request.last_log_id()),
        };
        match self.call(false, body, option.soft_ttl()).await? {
            Reply::Transferred => Ok(Ok(())),
            other => Err(self.odd(&other).into()),
        }
    }
}
