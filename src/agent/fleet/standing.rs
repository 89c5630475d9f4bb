//! Keeps this agent what the cluster says it is: certificates that do not end, a part in Raft when it is given one.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use consensus::Consensus;
use identity::{Clock, Credentials, Role, SecretText};
use rpc::{Class, Method};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use std::sync::Arc;

use super::messages::{AUTHORITY_KEY, RENEW, RenewRequest, decode, encode};
use super::papers::{Membership, Papers};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);
/// How long the leader may take to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// The wait after something did not work out.
const RETRY: Duration = Duration::from_secs(1);

/// How often an agent without its log looks whether it was taken out of Raft: it is soon taken in again.
const WATCH: Duration = Duration::from_millis(50);

/// What an agent knows of its own past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Everything that it ever promised is in its log, or it never promised anything.
    Whole,
    /// It was a server, and its log is gone. It takes no part in Raft until the others have counted it out: it would
    /// vote against what it has promised, and a leader cannot go on with one that has less than it had.
    Lost {
        /// Whether it knows who takes part now.
        caught_up: bool,
    },
}

/// What is looked after.
pub(crate) struct Standing {
    pub(crate) consensus: Consensus,
    pub(crate) client: Arc<rpc::Client>,
    pub(crate) papers: Papers,
    pub(crate) credentials: Credentials,
    pub(crate) membership: Membership,
    pub(crate) servers: watch::Sender<Vec<String>>,
    pub(crate) clock: Clock,
    pub(crate) name: String,
    /// Where people reach this agent.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether that was asked for already: not all of it may be granted.
    pub(crate) asked: bool,
    pub(crate) memory: Memory,
}

impl Standing {
    pub(crate) async fn keep(mut self, stop: CancellationToken) {
        let mut wait = LOOK;
        let mut last = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            self.note_servers();
            wait = match self.look().await {
                Ok(()) => {
                    last.clear();
                    LOOK
                }
                Err(error) => {
                    let words = format!("{error:#}");
                    // The same again and again helps nobody.
                    if words != last {
                        tracing::warn!("this agent's standing in the cluster: {words}");
                        last = words;
                    }
                    if self.memory == Memory::Whole { RETRY } else { WATCH }
                }
            };
        }
    }

    /// Remembers where servers are, for the next start.
    fn note_servers(&mut self) {
        let servers: Vec<String> = self
            .consensus
            .members()
            .into_iter()
            .map(|member| member.address)
            .filter(|address| !address.is_empty())
            .collect();
        if servers.is_empty() || servers == self.membership.servers {
            return;
        }
        self.membership.servers.clone_from(&servers);
        self.servers.send_replace(servers);
        if let Err(error) = self.papers.store_membership(&self.membership) {
            tracing::warn!("where the servers are could not be stored: {error:#}");
        }
    }

    /// A server that lost its log takes no part before it was taken out and in anew.
    fn remembers(&mut self, takes_part: bool) -> anyhow::Result<()> {
        if self.memory != Memory::Whole {
            if takes_part {
                bail!(
                    "it was a server and has lost its log, so it does not vote: take it out with `herder operator raft \
                     remove-peer --peer-id {}`, and it is taken in anew",
                    self.membership.number
                );
            }
            self.memory = Memory::Whole;
        }
        Ok(())
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let Some(peer) = self.credentials.peer() else { return Ok(()) };
        if self.memory == (Memory::Lost { caught_up: false }) {
            self.consensus.linearizable().await?;
            self.memory = Memory::Lost { caught_up: true };
        }
        let takes_part =
            self.consensus.members().iter().any(|member| member.node == self.membership.number);
        if self.membership.own {
            // Who may be what was said by whoever signed the certificates.
            self.remembers(takes_part)?;
            if takes_part {
                self.consensus.become_member().await?;
            }
            return Ok(());
        }
        let is_server = peer.role == Role::Server;
        let moved =
            !self.asked && self.addresses.iter().any(|address| !peer.addresses.contains(address));
        if takes_part != is_server || self.clock.now() >= peer.renew_at() || moved {
            self.renew(takes_part).await?;
            self.asked = true;
        }
        self.remembers(takes_part)?;
        if takes_part {
            if self.papers.authority()?.is_none() {
                let key = self.ask_leader(AUTHORITY_KEY, bytes::Bytes::new()).await?;
                let key = String::from_utf8(key.into()).context("the authority's key")?;
                self.papers.store_authority_key(&SecretText::new(key))?;
            }
            self.consensus.become_member().await?;
        } else if is_server {
            self.papers.forget_authority_key()?;
        }
        Ok(())
    }

    async fn renew(&self, server: bool) -> anyhow::Result<()> {
        let key = self.papers.key()?;
        let request = RenewRequest {
            request: key.request()?,
            server,
            name: self.name.clone(),
            addresses: self.addresses.clone(),
        };
        let answer = self
            .ask_leader(RENEW, encode(&request))
            .await
            .context("the certificate could not be renewed")?;
        let certificate: String = decode(&answer).map_err(anyhow::Error::msg)?;
        self.credentials.replace(&certificate, &key, self.clock.now())?;
        self.papers.store_certificate(&certificate)?;
        tracing::info!(server, "certificate renewed");
        Ok(())
    }

    async fn ask_leader(&self, method: Method, body: bytes::Bytes) -> anyhow::Result<bytes::Bytes> {
        let leader = self
            .consensus
            .leader()
            .filter(|leader| !leader.address.is_empty())
            .context("no leader is known")?;
        Ok(self.client.call(&leader.address, Class::Control, method, body, LIMIT).await?)
    }
}
