//! Changes of who takes part, from wherever they are asked for.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{Consensus, Leader, Pauses};
use crate::error::ChangeError;
use crate::membership::{Change, Member};
use crate::network::CallError;
use crate::seat::Refused;
use crate::wire::{Reply, Request};

impl Consensus {
    /// Adds a server that follows without a vote, or corrects the address of a member. Returns when the others know of
    /// it; how far it has caught up is in [`Consensus::members`] on the leader. Its directory must be new, or the one that
    /// this number had before.
    pub async fn add_learner(&self, member: Member) -> Result<(), ChangeError> {
        self.change(Change::AddLearner(member)).await
    }

    /// Corrects where a member is reached.
    pub async fn set_address(&self, member: Member) -> Result<(), ChangeError> {
        self.change(Change::Address(member)).await
    }

    /// Makes these members the voters and the others learners. Refused in words where it would endanger the quorum: who
    /// gets a vote must answer, of those that answer only one may lose it at a time, and enough of those that stay must
    /// answer.
    pub async fn set_voters(&self, voters: BTreeSet<u64>) -> Result<(), ChangeError> {
        self.change(Change::Voters(voters)).await
    }

    /// Removes a member, under the same conditions. Nothing happens if it is none.
    pub async fn remove(&self, node: u64) -> Result<(), ChangeError> {
        self.change(Change::Remove(node)).await
    }

    /// Lets another voter lead. Returns when another one does.
    pub async fn transfer(&self, node: u64) -> Result<(), ChangeError> {
        self.change(Change::Transfer(node)).await
    }

    async fn change(&self, change: Change) -> Result<(), ChangeError> {
        let inner = &self.inner;
        let deadline = Instant::now() + inner.options.patience;
        let mut pauses = Pauses(0);
        let mut turn = 0;
        let mut hint: Option<Leader> = None;
        loop {
            let news = inner.news();
            let mut answered = self.is_leader();
            let part = inner.part.load_full();
            if part.seat.is_none() && part.replica.is_none() {
                return Err(ChangeError::Stopped { reason: "it was closed".to_owned() });
            }
            let mut leader = None;
            if let Some(seat) = &part.seat {
                match seat.change(change.clone()).await {
                    Ok(()) => return Ok(()),
                    Err(Refused::Words(reason)) => return Err(ChangeError::Refused(reason)),
                    Err(Refused::Unknown) => return Err(ChangeError::Unknown),
                    Err(Refused::NotLeader(elsewhere)) => leader = elsewhere,
                }
            }
            if inner.caller.transport.is_none()
                && let Some(Leader { node, .. }) = leader
            {
                return Err(ChangeError::NotLeader { leader: Some(node) });
            }
            if let Some((to, address)) = part.target(hint.take().or(leader), turn) {
                turn += 1;
                let body = Request::Change(change.clone());
                let limit = deadline.saturating_duration_since(Instant::now());
                match inner.caller.call(to, &address, false, body, limit).await {
                    Ok(Reply::Changed) => return Ok(()),
                    Ok(Reply::Refused(reason)) => return Err(ChangeError::Refused(reason)),
                    Ok(Reply::NotTaken { leader }) => {
                        answered |= leader.is_none();
                        hint = leader;
                    }
                    Ok(_) | Err(CallError::Unknown(_)) => return Err(ChangeError::Unknown),
                    Err(CallError::NotDone(reason)) => {
                        tracing::debug!(%reason, "a change could not be handed to the leader");
                    }
                }
            }
            let pause = pauses.next(answered);
            if Instant::now() + pause >= deadline {
                return Err(ChangeError::NotLeader { leader: None });
            }
            inner.pause(pause, news).await;
        }
    }
}
