//! What this agent answers when another one asks.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use consensus::Consensus;
use identity::{Clock, ClusterId, Peer, Role};
use rpc::{Class, Client, Code, Handler, Method, Refused};
use server::Server;

use super::admission::Office;
use super::limits::Hosts;
use super::messages::{
    AUTHORITY_KEY, CONSENSUS, HEAD_SEEN, HEARTBEAT, HOST_REFUSES, HTTP, HeadSeen, Heartbeat,
    HeartbeatAnswer, HostRefuses, HttpRequest, JOIN, JoinRequest, OBJECTS, RENEW, RenewRequest,
    decode, encode,
};
use super::papers::{ALONE, Papers, number_of};
use super::proxy;
use super::relay::Relay;

/// The request cannot be carried out; the words say why.
const NO: Code = Code(100);
/// Somebody else has to be asked.
const NOT_LEADER: Code = Code(101);
/// How long the leader may take where this agent asks in another's place.
const FORWARD_LIMIT: Duration = Duration::from_secs(15);

/// Answers other agents.
pub(crate) struct Desk {
    pub(crate) consensus: Consensus,
    pub(crate) client: Arc<Client>,
    pub(crate) papers: Papers,
    pub(crate) cluster: ClusterId,
    /// Where the others reach this agent.
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) relay: Relay,
    /// There once the agent's other parts have started.
    pub(crate) server: OnceLock<Server>,
    pub(crate) api: OnceLock<axum::Router>,
}

fn no(words: impl AsRef<str>) -> Refused {
    Refused::new(NO, words)
}

#[async_trait]
impl Handler for Desk {
    async fn handle(
        &self,
        peer: Option<&Peer>,
        method: Method,
        body: Bytes,
    ) -> Result<Bytes, Refused> {
        let Some(peer) = peer else {
            return match method {
                JOIN => self.join(body).await,
                _ => Err(Refused::new(Code::NOT_ALLOWED, "this takes a certificate: join first")),
            };
        };
        match method {
            // Asked in the place of a newcomer.
            JOIN => self.join(body).await,
            CONSENSUS => self.consensus(peer, body).await,
            HEARTBEAT => self.heartbeat(peer, &body).await,
            RENEW => self.renew(peer, &body),
            AUTHORITY_KEY => self.authority_key(peer),
            HEAD_SEEN => self.head_seen(peer, &body).await,
            OBJECTS => self.relay.give(peer, &body).await.map_err(no),
            HTTP => self.http(peer, &body).await,
            HOST_REFUSES => self.host_refuses(&body),
            _ => Err(Refused::new(Code::UNKNOWN_METHOD, "this version does not know the request")),
        }
    }
}

impl Desk {
    async fn join(&self, body: Bytes) -> Result<Bytes, Refused> {
        if !self.consensus.is_leader() {
            return self.ask_leader(JOIN, body).await;
        }
        let request: JoinRequest = decode(&body).map_err(no)?;
        let state = self.consensus.state();
        let authority = self.authority()?;
        let office = self.office(&state, &authority);
        let servers = self.consensus.members().into_iter().map(|member| member.address).collect();
        let answer = office.join(&request, servers).map_err(|words| {
            tracing::warn!(name = request.name, node = %request.node.short(), "not let in: {words}");
            no(words)
        })?;
        tracing::info!(name = request.name, node = %request.node.short(), "let in");
        Ok(encode(&answer))
    }

    fn renew(&self, peer: &Peer, body: &[u8]) -> Result<Bytes, Refused> {
        if !self.consensus.is_leader() {
            return Err(self.not_leader());
        }
        let request: RenewRequest = decode(body).map_err(no)?;
        let state = self.consensus.state();
        let authority = self.authority()?;
        let number = peer.node.map(number_of);
        // What a node says of its address proves nothing: it counts for one that was a server all along, whose number
        // does not follow from its ID.
        let address = peer
            .node
            .filter(|_| peer.role == Role::Server)
            .and_then(|node| state.node(node))
            .map(|node| node.rpc_address.as_str());
        let is_member = self.consensus.members().iter().any(|member| {
            Some(member.node) == number
                || (member.node == ALONE && address == Some(member.address.as_str()))
        });
        let certificate =
            self.office(&state, &authority).renew(peer, is_member, &request).map_err(no)?;
        Ok(encode(&certificate))
    }

    fn authority_key(&self, peer: &Peer) -> Result<Bytes, Refused> {
        if peer.role != Role::Server {
            return Err(no("the authority's key is for servers alone"));
        }
        Ok(Bytes::from(self.authority()?.key_pem().reveal().to_owned()))
    }

    async fn consensus(&self, peer: &Peer, body: Bytes) -> Result<Bytes, Refused> {
        let may = |command: &state::Command| {
            super::rights::may_propose(peer.node, &self.consensus.state(), command)
        };
        let answered = match peer.role {
            Role::Server => self.consensus.answer(body).await,
            Role::Worker => self.consensus.answer_worker(body, may).await,
        };
        answered.map_err(|error| no(error.to_string()))
    }

    async fn heartbeat(&self, peer: &Peer, body: &Bytes) -> Result<Bytes, Refused> {
        if !self.consensus.is_leader() {
            return Err(self.not_leader());
        }
        let heartbeat: Heartbeat = decode(body).map_err(no)?;
        let own = |node: &model::NodeId| peer.node.is_none_or(|own| own == *node);
        if peer.role != Role::Server && !heartbeat.nodes.iter().all(own) {
            return Err(no("a node speaks for itself"));
        }
        if let Some(server) = self.server.get() {
            server.heard(&heartbeat.nodes);
        }
        let hosts = self.hosts.said(crate::clock::now());
        if hosts.is_empty() {
            return Ok(Bytes::new());
        }
        Ok(encode(&HeartbeatAnswer { hosts }))
    }

    /// Nobody else has to ask that host to learn it: the answers to heartbeats say so.
    fn host_refuses(&self, body: &[u8]) -> Result<Bytes, Refused> {
        if !self.consensus.is_leader() {
            return Err(self.not_leader());
        }
        let refusal: HostRefuses = decode(body).map_err(no)?;
        tracing::info!(host = refusal.host, "a node is refused by a Git host; all look less often");
        self.hosts.refused(&refusal.host, refusal.retry_after, crate::clock::now());
        Ok(Bytes::new())
    }

    async fn head_seen(&self, peer: &Peer, body: &[u8]) -> Result<Bytes, Refused> {
        if !self.consensus.is_leader() {
            return Err(self.not_leader());
        }
        let seen: HeadSeen = decode(body).map_err(no)?;
        let state = self.consensus.state();
        if state.repo(&seen.repo).is_some_and(|known| known.head.as_ref() == Some(&seen.commit)) {
            return Ok(Bytes::new());
        }
        // The leader believes its own eyes, as long as they see: that somebody saw something only makes it look now.
        self.relay.look(peer, &seen).await.map_err(no)?;
        Ok(Bytes::new())
    }

    async fn http(&self, peer: &Peer, body: &[u8]) -> Result<Bytes, Refused> {
        let request: HttpRequest = decode(body).map_err(no)?;
        // A worker's certificate lets nobody look into another worker, nor change who leads; what it can read is no secret.
        if peer.role != Role::Server && !proxy::is_for_workers(&request) {
            return Err(no("this is for servers: ask the agent of a server"));
        }
        let api = self.api.get().ok_or_else(|| no("this agent is still starting"))?;
        proxy::answer(api, request).await.map(|answer| encode(&answer)).map_err(no)
    }

    fn office<'a>(
        &self,
        state: &'a state::State,
        authority: &'a identity::Authority,
    ) -> Office<'a> {
        Office { state, authority, cluster: self.cluster, now: self.clock.now() }
    }

    fn authority(&self) -> Result<identity::Authority, Refused> {
        match self.papers.authority() {
            Ok(Some(authority)) => Ok(authority),
            Ok(None) => {
                Err(no("this server does not have the authority's key yet; try again in a moment"))
            }
            Err(error) => Err(no(format!("{error:#}"))),
        }
    }

    fn not_leader(&self) -> Refused {
        Refused::new(NOT_LEADER, "this server does not lead")
    }

    async fn ask_leader(&self, method: Method, body: Bytes) -> Result<Bytes, Refused> {
        let leader = self.consensus.leader().filter(|leader| !leader.address.is_empty());
        let Some(leader) = leader else {
            return Err(Refused::new(
                Code::BUSY,
                "the cluster has no leader now; try again in a moment",
            ));
        };
        let called =
            self.client.call(&leader.address, Class::Control, method, body, FORWARD_LIMIT).await;
        called.map_err(|error| match error {
            rpc::CallError::Refused { refused, .. } => refused,
            other => Refused::new(Code::BUSY, other.to_string()),
        })
    }
}
