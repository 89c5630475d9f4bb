//! An agent that empties its node before it stops, and takes it back into service when it comes again.
//!
//! It goes the way that an operator's drain goes: the leader lets allocations move one after the other, and what is left at
//! the deadline is stopped. That the node left by itself is written down beside its records, so that the next agent knows
//! that nobody else wanted it out of service.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use consensus::Consensus;
use model::{DrainStrategy, Eligibility, Node, NodeId, Timestamp};
use node::NodeRuntime;
use server::Server;
use state::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::directory::write_atomically;

/// How often it is looked whether the node is empty.
const LOOK: Duration = Duration::from_millis(100);
/// How long a leader is looked for that takes note of it.
const ASK: Duration = Duration::from_secs(30);
/// The wait between two attempts.
const RETRY: Duration = Duration::from_secs(1);
/// What tasks may take to end after the deadline.
const ENDING: Duration = Duration::from_secs(60);

/// How a node is emptied when its agent stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DrainOnShutdown {
    /// When what is left is stopped.
    pub(crate) deadline: Duration,
    /// Everything is stopped at once.
    pub(crate) force: bool,
    /// What belongs to system jobs stays, and outlives the agent.
    pub(crate) ignore_system: bool,
    /// Whether SIGTERM is answered so.
    pub(crate) on_terminate: bool,
    /// Whether SIGINT is.
    pub(crate) on_interrupt: bool,
}

/// What a node has to do with a drain that began at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It goes on.
    Leaving,
    /// It is over, by whatever end.
    Over,
    /// Somebody has had other plans for the node since.
    Overtaken,
}

fn stand(node: &Node, began: Timestamp) -> Stand {
    match (&node.drain, &node.last_drain) {
        (Some(drain), _) if drain.started_at == began => Stand::Leaving,
        (None, Some(last)) if last.started_at == began => Stand::Over,
        _ => Stand::Overtaken,
    }
}

/// Empties the node; returns when it is empty or the time for that is over.
pub(crate) async fn leave(
    policy: &DrainOnShutdown,
    consensus: &Consensus,
    server: &Server,
    runtime: &NodeRuntime,
    id: NodeId,
    data_dir: &Path,
) {
    let begin = Instant::now();
    let wait = if policy.force { Duration::ZERO } else { policy.deadline } + ENDING;
    // What an operator said a moment ago counts. Where nobody leads now, the command below waits for somebody who does.
    let _ = consensus.linearizable().await;
    let known = server.state().node(id).map(|node| (node.drain.clone(), node.eligibility));
    let began = match known {
        // An operator's goes on as it was meant.
        Some((Some(drain), _)) => Some(drain.started_at),
        Some((None, eligibility)) => {
            set(policy, server, id, eligibility == Eligibility::Eligible, data_dir).await
        }
        None => None,
    };
    let Some(began) = began else {
        tracing::warn!(
            "no server took note that this node leaves; its tasks are left to the next agent"
        );
        return;
    };
    tracing::info!("leaving: what runs here moves to other nodes first");
    let mut seen = false;
    loop {
        let stand = server.state().node(id).map_or(Stand::Over, |node| stand(node, began));
        // This agent's copy of the state may not have come so far yet.
        seen |= stand == Stand::Leaving;
        let settled = stand == Stand::Over || (seen && stand == Stand::Overtaken);
        let statuses = runtime.statuses();
        let left = statuses.iter().filter(|status| !status.client.is_terminal()).count();
        if settled {
            tracing::info!(left, "the node has left");
            return;
        }
        if begin.elapsed() >= wait {
            tracing::warn!(left, "the node did not become empty in time; what is left runs on");
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Has the leader take note. Returns when the drain began, if it did.
async fn set(
    policy: &DrainOnShutdown,
    server: &Server,
    id: NodeId,
    comes_back: bool,
    data_dir: &Path,
) -> Option<Timestamp> {
    let give_up = Instant::now() + ASK;
    let at = server.now();
    if comes_back && let Err(error) = note(data_dir, at) {
        tracing::warn!("the node will not be eligible again by itself: {error:#}");
    }
    let drain = DrainStrategy {
        deadline: Some(at + policy.deadline).filter(|_| !policy.force),
        force: policy.force,
        ignore_system: policy.ignore_system,
        started_at: at,
    };
    let drain = Some(drain);
    loop {
        let drain = drain.clone();
        let command = Command::SetDrain { node: id, drain, mark_eligible: false, at };
        match server.propose(command).await {
            Ok(_) => return Some(at),
            Err(error) if Instant::now() >= give_up => {
                tracing::warn!("this node cannot be drained: {error}");
                return None;
            }
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// Lets allocations come to this node again if it left by itself when its last agent stopped.
pub(crate) async fn come_back(
    consensus: Consensus,
    server: Server,
    id: NodeId,
    data_dir: PathBuf,
    stop: CancellationToken,
) {
    let Some(began) = noted(&data_dir) else { return };
    loop {
        match back(&consensus, &server, id, began).await {
            Ok(()) => break,
            Err(error) => tracing::debug!("this node is not back in service yet: {error:#}"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
    if let Err(error) = fs::remove_file(path(&data_dir)) {
        tracing::warn!(%error, "that this node has left once is still written down");
    }
}

async fn back(
    consensus: &Consensus,
    server: &Server,
    id: NodeId,
    began: Timestamp,
) -> anyhow::Result<()> {
    consensus.linearizable().await?;
    let stand = {
        let state = server.state();
        stand(state.node(id).context("it is not registered")?, began)
    };
    if stand == Stand::Overtaken {
        tracing::info!("this node left by itself, but has been drained since; it stays as it is");
        return Ok(());
    }
    let at = server.now();
    let command = Command::SetDrain { node: id, drain: None, mark_eligible: true, at };
    server.propose(command).await?;
    tracing::info!("this node is back in service");
    Ok(())
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("client/left")
}

fn note(data_dir: &Path, began: Timestamp) -> anyhow::Result<()> {
    write_atomically(&path(data_dir), began.0.to_string().as_bytes())
}

fn noted(data_dir: &Path) -> Option<Timestamp> {
    let text = fs::read_to_string(path(data_dir)).ok()?;
    text.trim().parse().map(Timestamp).ok()
}

#[cfg(test)]
mod tests {
    use model::LastDrain;

    use super::*;

    #[test]
    fn one_drain_is_told_from_another() {
        let (ours, theirs) = (Timestamp::from_secs(5), Timestamp::from_secs(6));
        let drain = |started_at| Some(DrainStrategy { started_at, ..DrainStrategy::default() });
        let last = |started_at| Some(LastDrain { started_at, ..LastDrain::default() });
        let node = |drain, last_drain| Node { drain, last_drain, ..Node::default() };
        assert_eq!(stand(&node(drain(ours), last(ours)), ours), Stand::Leaving);
        assert_eq!(stand(&node(None, last(ours)), ours), Stand::Over);
        assert_eq!(stand(&node(drain(theirs), last(theirs)), ours), Stand::Overtaken);
        assert_eq!(stand(&node(None, last(theirs)), ours), Stand::Overtaken);
        assert_eq!(stand(&Node::default(), ours), Stand::Overtaken);
    }

    #[test]
    fn the_next_agent_knows_that_the_last_one_left() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("client")).expect("a directory");
        assert_eq!(noted(dir.path()), None);
        note(dir.path(), Timestamp(17)).expect("written");
        assert_eq!(noted(dir.path()), Some(Timestamp(17)));
    }
}
