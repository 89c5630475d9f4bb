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
use super::gathering::{Gathering, hand_on};
use super::limits::Hosts;
use super::messages::{
    AUTHORITY_KEY, CONSENSUS, HEAD_SEEN, HEARTBEAT, HOST_REFUSES, HTTP, HTTP_MORE, HeadSeen,
    Heartbeat, HeartbeatAnswer, HostRefuses, HttpRequest, JOIN, JoinRequest, MoreRequest, OBJECTS,
    RENEW, RenewRequest, WHO, WhoAnswer, decode, encode,
};
use super::papers::{ALONE, Papers, number_of};
use super::pieces::OpenBodies;
use super::proxy::{self, Proxy};
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
    /// Whether certificates come from an authority that this cluster does not have.
    pub(crate) own: bool,
    /// Where the others reach this agent.
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) gathering: Arc<Gathering>,
    /// Asks other agents what they alone can answer.
    pub(crate) proxy: Proxy,
    /// Answers that other agents take in pieces.
    pub(crate) open: Arc<OpenBodies>,
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
            WHO => Ok(self.who()),
            HTTP_MORE => self.http_more(peer, &body).await,
            HOST_REFUSES => self.host_refuses(&body),
            _ => Err(Refused::new(Code::UNKNOWN_METHOD, "this version does not know the request")),
        }
    }
}

impl Desk {
    fn who(&self) -> Bytes {
        encode(&WhoAnswer { cluster: self.cluster, servers: self.servers() })
    }

    fn servers(&self) -> Vec<String> {
        self.consensus.members().into_iter().map(|member| member.address).collect()
    }

    async fn join(&self, body: Bytes) -> Result<Bytes, Refused> {
        if !self.consensus.is_leader() {
            return self.ask_leader(JOIN, body).await;
        }
        let request: JoinRequest = decode(&body).map_err(no)?;
        let state = self.consensus.state();
        let authority = self.authority()?;
        let office = self.office(&state, &authority);
        let answer = office.join(&request, self.servers()).map_err(|words| {
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
        let heartbeat: Heartbeat = decode(body).map_err(no)?;
        let own = |node: &model::NodeId| peer.node.is_none_or(|own| own == *node);
        if peer.role != Role::Server && !heartbeat.nodes.iter().all(own) {
            return Err(no("a node speaks for itself"));
        }
        if !self.consensus.is_leader() {
            // What a server says was on its way to the leader already.
            return match (peer.role, heartbeat.nodes.as_slice()) {
                (Role::Worker, [node]) if self.is_member() => {
                    let (consensus, client) = (self.consensus.clone(), Arc::clone(&self.client));
                    self.gathering.hear(*node, |nodes| hand_on(consensus, client, nodes)).await
                }
                _ => Err(self.not_leader()),
            };
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
        let from_worker = peer.role != Role::Server;
        if from_worker && !proxy::is_for_workers(&request) {
            let words =
                "a worker passes on nothing that changes something: ask the agent of a server";
            return Err(Refused::new(proxy::NOT_FOR_WORKERS, words));
        }
        // A server asks in its own name for what a worker may know; what a server asks for is here or nowhere.
        let relayed = match from_worker {
            true => {
                if !self.is_server() {
                    let words = "a worker answers servers alone";
                    return Err(Refused::new(proxy::NOT_FOR_WORKERS, words));
                }
                self.proxy.relay(&request).await
            }
            false => None,
        };
        let response = match relayed {
            Some(response) => response,
            None => {
                let api = self.api.get().ok_or_else(|| no("this agent is still starting"))?;
                proxy::response(api, &request).await.map_err(no)?
            }
        };
        let answer = proxy::hand_out(&self.open, peer.node, response, request.pieces).await;
        answer.map(|answer| encode(&answer)).map_err(no)
    }

    async fn http_more(&self, peer: &Peer, body: &[u8]) -> Result<Bytes, Refused> {
        let request: MoreRequest = decode(body).map_err(no)?;
        // Only what was begun for this very peer, which was let in then, goes on.
        let piece = self.open.more(peer.node, &request).await;
        piece.map(|piece| encode(&piece)).map_err(no)
    }

    /// Whether this agent's certificate says that it decides with the others.
    fn is_server(&self) -> bool {
        self.proxy.credentials.peer().is_some_and(|peer| peer.role == Role::Server)
    }

    fn office<'a>(
        &self,
        state: &'a state::State,
        authority: &'a identity::Authority,
    ) -> Office<'a> {
        let servers = self.servers();
        Office { state, authority, cluster: self.cluster, now: self.clock.now(), servers }
    }

    fn authority(&self) -> Result<identity::Authority, Refused> {
        if self.own {
            return Err(no(
                "the certificates of this cluster come from an authority of its organisation: a machine that has one \
                 needs no token, and new ones are put in place of the old",
            ));
        }
        match self.papers.authority() {
            Ok(Some(authority)) => Ok(authority),
            Ok(None) => {
                Err(no("this server does not have the authority's key yet; try again in a moment"))
            }
            Err(error) => Err(no(format!("{error:#}"))),
        }
    }

    /// Whether this agent takes part in Raft, and so knows at once who leads.
    fn is_member(&self) -> bool {
        self.consensus.metrics().role != consensus::Role::Replica
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
