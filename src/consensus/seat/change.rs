//! Changes of who takes part, made by the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::error::{ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers, Instant as _, ServerState};
use tokio::time::timeout;

use super::Seat;
use crate::consensus::Leader;
use crate::membership::{Change, Council, Member, MemberStatus};
use crate::wire::Reply;

/// How long one change may take: it is two entries in the log.
const LIMIT: Duration = Duration::from_secs(20);

/// Why a change was not made here.
pub(crate) enum Refused {
    /// Certainly not begun; maybe somebody else leads.
    NotLeader(Option<Leader>),
    /// It makes no sense, or is not safe.
    Words(String),
    /// It may still be made.
    Unknown,
}

impl Refused {
    pub(super) fn into_reply(self) -> Reply {
        match self {
            Self::NotLeader(leader) => Reply::NotTaken { leader },
            Self::Words(reason) => Reply::Refused(reason),
            Self::Unknown => Reply::Unknown,
        }
    }
}

impl Seat {
    /// Makes a change if this node leads and it is safe.
    pub(crate) async fn change(&self, change: Change) -> Result<(), Refused> {
        if !self.is_leader() {
            return Err(Refused::NotLeader(self.leader()));
        }
        match change {
            Change::AddLearner(member) => self.add_learner(member).await,
            Change::Address(member) => self.set_address(member).await,
            Change::Voters(wanted) => self.set_voters(wanted).await,
            Change::Remove(node) => self.remove(node).await,
            Change::Transfer(node) => self.transfer(node).await,
        }
    }

    async fn add_learner(&self, member: Member) -> Result<(), Refused> {
        let known = self.members().into_iter().find(|known| known.node == member.node);
        match known {
            Some(known) if known.address == member.address => Ok(()),
            Some(_) => self.set_address(member).await,
            None => {
                let nodes = BTreeMap::from([place(&member)]);
                self.commit(ChangeMembers::AddNodes(nodes), true).await
            }
        }
    }

    async fn set_address(&self, member: Member) -> Result<(), Refused> {
        if !self.members().iter().any(|known| known.node == member.node) {
            return Err(Refused::Words(format!("server {} is no member", member.node)));
        }
        let nodes = BTreeMap::from([place(&member)]);
        self.commit(ChangeMembers::SetNodes(nodes), true).await
    }

    async fn set_voters(&self, wanted: BTreeSet<u64>) -> Result<(), Refused> {
        let council = self.council();
        if council.voters == wanted {
            return Ok(());
        }
        council.check(&wanted).map_err(Refused::Words)?;
        self.commit(ChangeMembers::ReplaceAllVoters(wanted), true).await
    }

    async fn remove(&self, node: u64) -> Result<(), Refused> {
        let council = self.council();
        let nodes = BTreeSet::from([node]);
        if council.learners.contains(&node) {
            return self.commit(ChangeMembers::RemoveNodes(nodes), false).await;
        }
        if !council.voters.contains(&node) {
            return Ok(());
        }
        council.check(&(&council.voters - &nodes)).map_err(Refused::Words)?;
        self.commit(ChangeMembers::RemoveVoters(nodes), false).await
    }

    async fn transfer(&self, node: u64) -> Result<(), Refused> {
        if node == self.node {
            return Ok(());
        }
        let council = self.council();
        if !council.voters.contains(&node) {
            return Err(Refused::Words(format!("server {node} has no vote, so it cannot lead")));
        }
        if !council.answering.contains(&node) {
            return Err(Refused::Words(format!("server {node} does not answer")));
        }
        let trigger = self.raft.trigger();
        trigger.transfer_leader(node).await.map_err(|_| Refused::Unknown)?;
        let wait = self.raft.wait(Some(self.contact));
        let moved = wait.metrics(
            |metrics| metrics.current_leader.is_some_and(|leader| leader != self.node),
            "another server leads",
        );
        moved.await.map(drop).map_err(|_| Refused::Unknown)
    }

    async fn commit(
        &self,
        change: ChangeMembers<u64, BasicNode>,
        retain: bool,
    ) -> Result<(), Refused> {
        match timeout(LIMIT, self.raft.change_membership(change, retain)).await {
            Err(_) => Err(Refused::Unknown),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(Refused::NotLeader(self.elsewhere(forward)))
            }
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => {
                Err(Refused::Unknown)
            }
            Ok(Err(RaftError::APIError(error))) => Err(Refused::Words(error.to_string())),
            Ok(Err(RaftError::Fatal(_))) => Err(Refused::Unknown),
        }
    }

    fn council(&self) -> Council {
        let mut council = Council::default();
        for member in self.members() {
            let side = if member.voter { &mut council.voters } else { &mut council.learners };
            side.insert(member.node);
            if member.last_contact.is_some_and(|ago| ago <= self.contact) {
                council.answering.insert(member.node);
            }
        }
        council
    }

    /// The members as this node knows them; how they do is only known while it leads.
    pub(crate) fn members(&self) -> Vec<MemberStatus> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let leads = metrics.state == ServerState::Leader;
        let status = |(node, place): (&u64, &BasicNode)| {
            let own = *node == self.node;
            let heartbeat = metrics.heartbeat.as_ref().and_then(|all| all.get(node).copied());
            let replication = metrics.replication.as_ref().and_then(|all| all.get(node).copied());
            let answered = heartbeat.flatten().map(|at| at.elapsed());
            let matched = replication.flatten().map(|id| id.index);
            MemberStatus {
                node: *node,
                address: place.addr.clone(),
                voter: voters.contains(node),
                leader: metrics.current_leader == Some(*node),
                last_contact: if own { Some(Duration::ZERO) } else { answered },
                matched: if own && leads { metrics.last_log_index } else { matched },
            }
        };
        membership.nodes().map(status).collect()
    }
}

fn place(member: &Member) -> (u64, BasicNode) {
    (member.node, BasicNode { addr: member.address.clone() })
}
