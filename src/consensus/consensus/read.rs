//! Reads that must see everything before them.

use std::time::Duration;

use openraft::ReadPolicy;
use openraft::error::{LinearizableReadError, RaftError};
use tokio::time::{Instant, timeout_at};

use super::{Consensus, Leader, Pauses};
use crate::error::ReadError;
use crate::wire::{Reply, Request};

/// How long one leader is asked before another is looked for. Asking twice does no harm.
const ASK_LIMIT: Duration = Duration::from_secs(2);

impl Consensus {
    /// Returns once [`Consensus::state`] contains everything that was committed anywhere before the call. The leader
    /// asks a quorum whether it still leads; everyone else asks the leader how far that was, and waits for it. Waits
    /// [`crate::Options::patience`] at most.
    pub async fn linearizable(&self) -> Result<(), ReadError> {
        let inner = &self.inner;
        let patience = inner.options.patience;
        let deadline = Instant::now() + patience;
        let late = || ReadError::Timeout { seconds: patience.as_secs() };
        let mut pauses = Pauses(0);
        let mut turn = 0;
        let mut hint: Option<Leader> = None;
        loop {
            let news = inner.news();
            let mut answered = self.is_leader();
            let part = inner.part.load_full();
            if part.seat.is_none() && part.replica.is_none() {
                return Err(ReadError::Stopped { reason: "it was closed".to_owned() });
            }
            let mut leader = None;
            if let Some(seat) = &part.seat {
                let read = seat.raft.ensure_linearizable(ReadPolicy::ReadIndex);
                match timeout_at(deadline, read).await.map_err(|_| late())? {
                    Ok(_) => return Ok(()),
                    Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                        leader = seat.elsewhere(forward);
                    }
                    Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error))) => {
                        return Err(ReadError::NoQuorum(error.to_string()));
                    }
                    Err(RaftError::Fatal(error)) => {
                        return Err(ReadError::Stopped { reason: seat.reason(error.to_string()) });
                    }
                }
            }
            if inner.caller.transport.is_none() {
                return Err(ReadError::NotLeader { leader: leader.map(|leader| leader.node) });
            }
            if let Some((to, address)) = part.target(hint.take().or(leader), turn) {
                turn += 1;
                let limit = deadline.saturating_duration_since(Instant::now()).min(ASK_LIMIT);
                let asked = inner.caller.call(to, &address, false, Request::ReadIndex, limit);
                match asked.await {
                    Ok(Reply::ReadAt(index)) => {
                        let shown = inner.wait_shown(index, deadline).await;
                        return if shown { Ok(()) } else { Err(late()) };
                    }
                    Ok(Reply::NotTaken { leader }) => {
                        answered |= leader.is_none();
                        hint = leader;
                    }
                    Ok(Reply::NoQuorum(reason)) => {
                        tracing::debug!(%reason, "the leader is not sure that it leads");
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "the leader could not be asked"),
                }
            }
            let pause = pauses.next(answered);
            if Instant::now() + pause >= deadline {
                return Err(ReadError::NotLeader { leader: None });
            }
            inner.pause(pause, news).await;
        }
    }
}
