//! Commands on their way into the log, from wherever they come.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use state::{Applied, Command};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Consensus, Leader, Pauses, units};
use crate::error::ProposeError;
use crate::network::CallError;
use crate::seat::Written;
use crate::types::Proposal;
use crate::wire::{Reply, Request};

/// How often a follower looks whether another leads than the one that has its command.
const LOOK: Duration = Duration::from_millis(250);
/// How long the old leader's answer is waited for when another one leads.
const GRACE: Duration = Duration::from_millis(20);

impl Consensus {
    /// Puts a command into the log. When this returns it is on disk with a quorum, applied here, and in
    /// [`Consensus::state`]; a command that made no sense is answered with [`Applied::rejection`]. On a node that does not
    /// lead it goes to the leader, and [`Applied::events`] are empty: they come by [`Consensus::subscribe`]. Waits
    /// [`crate::Options::patience`] at most; it is tried again only while it is certain that nobody took it.
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        self.propose_from(command, true).await
    }

    /// The same for what only a leader may say: on a node that does not lead any more it goes nowhere, and fails with
    /// [`ProposeError::NotLeader`].
    pub async fn propose_here(&self, command: Command) -> Result<Applied, ProposeError> {
        self.propose_from(command, false).await
    }

    async fn propose_from(
        &self,
        command: Command,
        may_forward: bool,
    ) -> Result<Applied, ProposeError> {
        let inner = &self.inner;
        let proposal = Proposal::new(command)?;
        let patience = inner.options.patience;
        let deadline = Instant::now() + patience;
        let late = || ProposeError::Timeout { seconds: patience.as_secs() };
        let closed = || ProposeError::Stopped { reason: "it was closed".to_owned() };
        let _room = timeout_at(deadline, inner.room.acquire_many(units(proposal.encoded().len())))
            .await
            .map_err(|_| late())?
            .map_err(|_| inner.stopped("it was closed".to_owned()))?;
        let mut pauses = Pauses(0);
        let mut turn = 0;
        let mut hint: Option<Leader> = None;
        loop {
            let news = inner.news();
            let mut answered = self.is_leader();
            let part = inner.part.load_full();
            if part.seat.is_none() && part.replica.is_none() {
                return Err(closed());
            }
            let mut leader = None;
            if let Some(seat) = &part.seat {
                let written = timeout_at(deadline, seat.write(proposal.clone())).await;
                match written.map_err(|_| late())? {
                    Written::Applied(applied) => return Ok(applied),
                    Written::Unknown => return Err(ProposeError::Unknown),
                    Written::Stopped(reason) => return Err(ProposeError::Stopped { reason }),
                    Written::NotTaken(elsewhere) => leader = elsewhere,
                }
            }
            // Refused before it was taken, so it can be tried elsewhere, or again.
            if !may_forward {
                return Err(ProposeError::NotLeader { leader: leader.map(|leader| leader.node) });
            }
            if inner.caller.transport.is_none()
                && let Some(Leader { node, .. }) = leader
            {
                return Err(ProposeError::NotLeader { leader: Some(node) });
            }
            if let Some(target) = part.target(hint.take().or(leader), turn) {
                turn += 1;
                match self.forward(&proposal, target, deadline).await? {
                    Forwarded::Applied(applied) => return Ok(applied),
                    Forwarded::NotTaken(leader) => hint = leader,
                    Forwarded::NotReady => answered = true,
                }
            }
            let pause = pauses.next(answered);
            if Instant::now() + pause >= deadline {
                return Err(ProposeError::NotLeader { leader: None });
            }
            inner.pause(pause, news).await;
        }
    }

    async fn forward(
        &self,
        proposal: &Proposal,
        target: (Option<u64>, String),
        deadline: Instant,
    ) -> Result<Forwarded, ProposeError> {
        let inner = &self.inner;
        let (to, address) = target;
        let limit = deadline.saturating_duration_since(Instant::now());
        let wait_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let body = Request::Propose { command: proposal.encoded().to_vec(), wait_ms };
        let call = inner.caller.call(to, &address, false, body, limit);
        let reply = tokio::select! {
            reply = call => reply,
            // Whoever has it is no longer the one who could say what came of it.
            () = self.led_by_another(to) => return Err(ProposeError::Unknown),
        };
        match reply {
            Ok(Reply::Proposed { index, rejection }) => {
                if !inner.wait_shown(index, deadline).await {
                    let seconds = inner.options.patience.as_secs();
                    return Err(ProposeError::Behind { index, seconds });
                }
                let rejection = rejection.map(Into::into);
                Ok(Forwarded::Applied(Applied { index, events: Vec::new(), rejection }))
            }
            Ok(Reply::NotTaken { leader: None }) => Ok(Forwarded::NotReady),
            Ok(Reply::NotTaken { leader }) => Ok(Forwarded::NotTaken(leader)),
            Err(CallError::NotDone(reason)) => {
                tracing::debug!(%reason, "a command could not be handed to the leader");
                Ok(Forwarded::NotTaken(None))
            }
            Ok(_) | Err(CallError::Unknown(_)) => Err(ProposeError::Unknown),
        }
    }

    /// Returns once this node knows of a leader that is not `asked`, for good.
    async fn led_by_another(&self, asked: Option<u64>) {
        let Some(asked) = asked else { return std::future::pending().await };
        let seat = self.inner.part.load().seat.clone();
        let mut changes = seat.map(|seat| seat.raft.server_metrics());
        loop {
            let known = match &changes {
                Some(changes) => changes.borrow_watched().current_leader,
                None => self.leader().map(|leader| leader.node),
            };
            if known.is_some_and(|leader| leader != asked) {
                // What it answered may be on its way.
                sleep(GRACE).await;
                return;
            }
            match &mut changes {
                Some(changes) => {
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
                None => sleep(LOOK).await,
            }
        }
    }
}

enum Forwarded {
    Applied(Applied),
    /// Not taken by somebody who knows of no other leader: perhaps it is about to lead.
    NotReady,
    /// Not taken; maybe somebody else leads.
    NotTaken(Option<Leader>),
}

impl super::Inner {
    /// What the writer said, if it failed, or else what is said here.
    fn stopped(&self, reason: String) -> ProposeError {
        let reason = match &self.part.load().seat {
            Some(seat) => seat.reason(reason),
            None => reason,
        };
        ProposeError::Stopped { reason }
    }
}
