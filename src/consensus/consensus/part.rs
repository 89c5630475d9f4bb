//! What a node is to the cluster at the moment, and how it turns from one thing into the other.

use std::fs;
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Consensus, Inner, Leader};
use crate::error::ConsensusError;
use crate::membership::MemberStatus;
use crate::record::decode_members;
use crate::replica::{Copied, Replica};
use crate::seat::{Seams, Seat};
use crate::wire::{Reply, Request};

/// How often a node looks whether it is still what it was.
const LOOK: Duration = Duration::from_millis(500);
/// A member that hears nothing for this long asks the others whether it is one still.
const SILENCE: Duration = Duration::from_secs(3);
const ASK_LIMIT: Duration = Duration::from_secs(1);

/// A member has a seat, a follower a replica; both while it waits to be added and catches up; neither when closed.
#[derive(Clone, Default)]
pub(super) struct Part {
    pub(super) seat: Option<Arc<Seat>>,
    pub(super) replica: Option<Arc<Replica>>,
}

impl Part {
    pub(super) fn leader(&self) -> Option<Leader> {
        let known = self.seat.as_ref().and_then(|seat| seat.leader());
        known.or_else(|| self.replica.as_ref().and_then(|replica| replica.leader()))
    }

    pub(super) fn members(&self) -> Vec<MemberStatus> {
        let known = self.seat.as_ref().map(|seat| seat.members()).unwrap_or_default();
        match &self.replica {
            Some(replica) if known.is_empty() => replica.members(),
            _ => known,
        }
    }

    /// Whom to ask for what only the leader can do: the leader, or else one server after the other, who know it.
    pub(super) fn target(
        &self,
        leader: Option<Leader>,
        turn: usize,
    ) -> Option<(Option<u64>, String)> {
        let leader = leader.filter(|leader| !leader.address.is_empty());
        // Every other time somebody else is asked: what is known here may be old.
        let replica = self.replica.as_ref();
        let leader = leader.or_else(|| {
            let known = replica.and_then(|replica| replica.leader());
            known.filter(|known| turn.is_multiple_of(2) && !known.address.is_empty())
        });
        match leader {
            Some(leader) => Some((Some(leader.node), leader.address)),
            None => {
                let servers = replica?.servers();
                let at = turn.checked_rem(servers.len())?;
                servers.into_iter().nth(at).map(|address| (None, address))
            }
        }
    }
}

impl Consensus {
    /// Turns a follower into a member that waits to be added by the leader ([`Consensus::add_learner`]). It follows on
    /// until its own log has caught up; what is shown never goes back. Nothing happens on a member.
    pub async fn become_member(&self) -> Result<(), ConsensusError> {
        let inner = &self.inner;
        let _turn = inner.turning.lock().await;
        let part = inner.part.load_full();
        if part.seat.is_some() {
            return Ok(());
        }
        let closed =
            || ConsensusError::Stopped { dir: inner.dir(), reason: "it was closed".to_owned() };
        let screen = inner.view.screen.upgrade().ok_or_else(closed)?;
        let (seat, _) = Seat::open(&inner.options, Some(screen), Seams::default()).await?;
        inner.part.store(Arc::new(Part { seat: Some(seat), replica: part.replica.clone() }));
        Ok(())
    }
}

/// Tells whether this node leads, whatever it turns into, until it stops or nobody listens.
pub(super) async fn show_leadership(inner: Weak<Inner>, sender: watch::Sender<bool>) {
    loop {
        let Some(part) = inner.upgrade().map(|inner| inner.part.load_full()) else { return };
        let changed = async {
            match &part.seat {
                Some(seat) => {
                    let mut metrics = seat.raft.server_metrics();
                    loop {
                        // What was published before is looked at here, what comes after wakes.
                        let elected = metrics.borrow_and_update().state == ServerState::Leader;
                        let leads = elected && seat.is_leader();
                        sender.send_if_modified(|known| std::mem::replace(known, leads) != leads);
                        let changed = metrics.changed();
                        // A quorum that falls silent publishes nothing; one alone has nobody to wait for.
                        let changed = match elected && !seat.is_sole() {
                            true => timeout(LOOK, changed).await.unwrap_or(Ok(())),
                            false => changed.await,
                        };
                        if changed.is_err() {
                            // Who has stopped does not lead, whatever it was.
                            sender.send_if_modified(|known| std::mem::replace(known, false));
                            return false;
                        }
                    }
                }
                None => {
                    sender.send_if_modified(|known| std::mem::replace(known, false));
                    sleep(LOOK / 5).await;
                    part.replica.is_some()
                }
            }
        };
        tokio::select! {
            goes_on = changed => {
                // A seat that closed may be followed by a replica.
                let follows = |inner: Arc<Inner>| inner.part.load().replica.is_some();
                if !goes_on && !inner.upgrade().is_some_and(follows) {
                    return;
                }
            }
            () = sender.closed() => return,
        }
        sleep(LOOK / 50).await;
    }
}

/// Watches whether a member that caught up still needs its stream, and whether one is a member still.
pub(super) async fn keep(inner: Weak<Inner>) {
    loop {
        let Some(strong) = inner.upgrade() else { return };
        let part = strong.part.load_full();
        // What is published from here on wakes; what was before is looked at now.
        let changes = part.seat.as_ref().map(|seat| {
            let mut changes = seat.raft.server_metrics();
            changes.borrow_and_update();
            changes
        });
        match (&part.seat, &part.replica) {
            (Some(seat), Some(replica)) if has_caught_up(seat, &strong) => {
                let _turn = strong.turning.lock().await;
                replica.close().await;
                strong.part.store(Arc::new(Part { seat: Some(seat.clone()), replica: None }));
            }
            (Some(seat), None) => {
                if is_removed(seat, &strong).await
                    && let Err(error) = fall_back(seat, &strong).await
                {
                    tracing::error!(%error, "this server was removed, but cannot follow the others");
                    return;
                }
            }
            _ => {}
        }
        // A leader need not look: it would be the first to know.
        let leads = part.seat.as_ref().is_some_and(|seat| seat.is_leader());
        let changes = changes.filter(|_| leads);
        drop((strong, part));
        match changes {
            Some(mut changes) => {
                let _ = changes.changed().await;
            }
            None => sleep(LOOK).await,
        }
    }
}

/// Whether the member's own log has brought it to where its stream is.
fn has_caught_up(seat: &Seat, inner: &Inner) -> bool {
    let metrics = seat.raft.metrics();
    let metrics = metrics.borrow_watched();
    let applied = metrics.last_applied.map_or(0, |id| id.index + 1);
    metrics.membership_config.membership().get_node(&seat.node).is_some()
        && applied >= *inner.view.reached.borrow()
}

/// Whether it is certain that this node is no member any more. Who was never one is not removed.
async fn is_removed(seat: &Seat, inner: &Inner) -> bool {
    let (known_at, addresses) = {
        let metrics = seat.raft.metrics();
        let metrics = metrics.borrow_watched();
        // Read here, not asked of the seat: two looks at once in one place wait for each other when the engine writes
        // between them.
        if metrics.running_state.is_err() || metrics.state == ServerState::Leader {
            return false;
        }
        let committed = &metrics.committed_membership_config;
        let effective = &metrics.membership_config;
        let without = |node| effective.membership().get_node(node).is_none();
        if committed.log_id().is_some() && committed == effective && without(&seat.node) {
            return true;
        }
        let Some(known_at) = effective.log_id().as_ref().map(|id| id.index) else { return false };
        let addresses: Vec<String> = effective
            .nodes()
            .filter(|(node, _)| **node != seat.node)
            .map(|(_, place)| place.addr.clone())
            .collect();
        (known_at, addresses)
    };
    if seat.silence() < SILENCE {
        return false;
    }
    let listed =
        inner.options.following.as_ref().map(|following| following.servers.borrow().clone());
    for address in addresses.into_iter().chain(listed.unwrap_or_default()) {
        if address == inner.options.address {
            continue;
        }
        let asked = inner.caller.call(None, &address, false, Request::Members, ASK_LIMIT).await;
        let Ok(Reply::Members(head)) = asked else { continue };
        let newer = head.members_at.is_some_and(|[_, _, index]| index > known_at);
        let Ok(members) = decode_members(&head.members) else { continue };
        if newer && members.get_node(&seat.node).is_none() {
            return true;
        }
    }
    false
}

/// Gives up the seat and follows. The log is put aside: this number may come back with a new one.
async fn fall_back(seat: &Arc<Seat>, inner: &Inner) -> Result<(), ConsensusError> {
    let _turn = inner.turning.lock().await;
    let Some(screen) = inner.view.screen.upgrade() else { return Ok(()) };
    tracing::warn!(node = seat.node, "this server is no member any more, from now on it follows");
    let copied = seat
        .raft
        .with_state_machine(|machine| {
            let copied = machine.copied();
            Box::pin(async move { copied })
        })
        .await;
    let copied: Option<Copied> = copied.ok();
    seat.close().await;
    let dir = inner.dir();
    let aside = dir.with_extension("removed");
    let moved = match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => fs::rename(&dir, &aside),
    };
    moved.map_err(|source| ConsensusError::Io { what: "put aside", path: dir, source })?;
    let replica = Replica::open(&inner.options, Some(screen), copied).await?;
    inner.part.store(Arc::new(Part { seat: None, replica: Some(replica) }));
    Ok(())
}

/// For tests that look inside.
#[cfg(test)]
impl Consensus {
    pub(crate) fn seat(&self) -> Option<Arc<Seat>> {
        self.inner.part.load().seat.clone()
    }

    pub(crate) fn follows(&self) -> bool {
        self.inner.part.load().replica.is_some()
    }
}
