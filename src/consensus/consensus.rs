//! The handle that everybody else holds.

mod change;
mod part;
mod propose;
mod read;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use serde::{Deserialize, Serialize};
use state::{Command, State};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::error::{AnswerError, ConsensusError};
use crate::membership::MemberStatus;
use crate::network::Caller;
use crate::options::{FollowOptions, Options};
use crate::replica::Replica;
use crate::screen::{Screen, View};
use crate::seat::{Seams, Seat};
use crate::status::RaftStatus;
use crate::subscription::{CAPACITY, Notice, Subscription};
use crate::types::MAX_COMMAND_BYTES;
use crate::wire::{Envelope, Reply, Request};

use part::Part;

/// One unit of room for commands on their way.
const ROOM_UNIT: usize = 8 << 10;
/// Room for commands on their way, in units: 8,192 small ones, or eight of the largest. More wait their turn.
const ROOM: usize = 8_192 * 2;
/// Pauses between attempts while the leader is not ready, or not known.
const RETRY: [Duration; 5] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// A new leader takes commands when a quorum has answered it once.
const READY: Duration = Duration::from_millis(10);
/// A change of the leadership takes at least this long to be of use.
const SHORT: Duration = Duration::from_millis(2);

/// What a follower misses for this long does not come any more from the server that it asks.
const STALLED: Duration = Duration::from_millis(500);

/// The leader and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its number.
    pub node: u64,
    /// Where the other voters reach it; empty while there are none.
    pub address: String,
}

/// One node's part of the cluster. Clones are the same node; it stops when [`Consensus::close`] is called or the last
/// one is dropped.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    caller: Caller,
    view: View,
    room: Semaphore,
    part: ArcSwap<Part>,
    /// Held while the node turns from one kind into the other.
    turning: tokio::sync::Mutex<()>,
    keeper: Mutex<Option<tokio::task::AbortHandle>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = keeper.take() {
            keeper.abort();
        }
    }
}

/// Commands of `size` bytes, as room.
fn units(size: usize) -> u32 {
    u32::try_from(size.min(MAX_COMMAND_BYTES) / ROOM_UNIT + 1).unwrap_or(u32::MAX)
}

/// The pauses between attempts; the last one again and again.
struct Pauses(usize);

impl Pauses {
    /// The next pause. `answered`: somebody who may be the new leader is there, and is only not ready yet.
    fn next(&mut self, answered: bool) -> Duration {
        let at = self.0.min(RETRY.len() - 1);
        self.0 += 1;
        let pause = RETRY.get(at).copied().unwrap_or_default();
        if answered { pause.min(READY) } else { pause }
    }
}

/// Tells of changes in who leads.
type News = openraft::alias::WatchReceiverOf<
    crate::types::Types,
    openraft::metrics::RaftServerMetrics<crate::types::Types>,
>;

impl Consensus {
    /// Opens or creates the directory, restores the newest snapshot and the log, and starts Raft. A new directory
    /// becomes a cluster of this one voter, or waits to be added by the others ([`crate::Start`]). A sole voter leads,
    /// with everything that was ever committed applied, when this returns; with others, the state is what this node knew
    /// to be committed.
    pub async fn open(options: Options) -> Result<Self, ConsensusError> {
        Self::open_with(options, Seams::default()).await
    }

    pub(crate) async fn open_with(options: Options, seams: Seams) -> Result<Self, ConsensusError> {
        let (seat, screen) = Seat::open(&options, None, seams).await?;
        let gone = || seat.stopped("it ended while starting".to_owned());
        let screen = screen.upgrade().ok_or_else(gone)?;
        // Until it is added, it sees what the servers tell it.
        let waits = seat.raft.metrics().borrow_watched().membership_config.log_id().is_none();
        let replica = if waits && options.following.is_some() {
            Some(Replica::open(&options, Some(screen.clone()), None).await?)
        } else {
            None
        };
        Ok(Self::new(options, &screen, Part { seat: Some(seat), replica }))
    }

    /// Follows the servers without taking part: the same state, by a stream of what was applied. Returns with the copy
    /// that the directory holds, or an empty state; it need not reach a server for that.
    pub async fn follow(options: FollowOptions) -> Result<Self, ConsensusError> {
        let options = options.into_options();
        let replica = Replica::open(&options, None, None).await?;
        let Some(screen) = replica.screen() else {
            return Err(ConsensusError::Stopped {
                dir: options.dir.clone(),
                reason: "it ended while starting".to_owned(),
            });
        };
        Ok(Self::new(options, &screen, Part { seat: None, replica: Some(replica) }))
    }

    fn new(options: Options, screen: &Arc<Screen>, part: Part) -> Self {
        let keeps = options.following.is_some();
        let inner = Arc::new(Inner {
            caller: options.caller(),
            options,
            view: screen.view(),
            room: Semaphore::new(ROOM),
            part: ArcSwap::from_pointee(part),
            turning: tokio::sync::Mutex::default(),
            keeper: Mutex::new(None),
        });
        if keeps {
            let keeper = tokio::spawn(part::keep(Arc::downgrade(&inner)));
            *inner.keeper.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(keeper.abort_handle());
        }
        Self { inner }
    }

    /// The state that follows from everything applied so far. Costs nothing.
    pub fn state(&self) -> State {
        State::clone(&self.inner.view.published.load())
    }

    /// [`State::index`] of [`Consensus::state`], to wait on. Seen here, it is in the state already.
    pub fn index(&self) -> watch::Receiver<u64> {
        self.inner.view.index.clone()
    }

    /// What is applied from now on. To miss nothing, subscribe first and read the state then.
    pub fn subscribe(&self) -> Subscription {
        let receiver =
            self.inner.view.screen.upgrade().map_or_else(
                || broadcast::channel::<Notice>(CAPACITY).1,
                |screen| screen.subscribe(),
            );
        Subscription::new(receiver)
    }

    /// Whether this node leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.inner.part.load().seat.as_ref().is_some_and(|seat| seat.is_leader())
    }

    /// Whether this node leads, to wait on. Who begins to decide first waits for [`Consensus::linearizable`], so that
    /// what the leader before decided is known. Its sender is dropped when the node stops.
    pub fn leadership(&self) -> watch::Receiver<bool> {
        let (sender, receiver) = watch::channel(self.is_leader());
        tokio::spawn(part::show_leadership(Arc::downgrade(&self.inner), sender));
        receiver
    }

    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> Option<Leader> {
        self.inner.part.load().leader()
    }

    /// Who takes part, as far as this node knows. How far the others are is only known to the leader.
    pub fn members(&self) -> Vec<MemberStatus> {
        self.inner.part.load().members()
    }

    /// Where this node stands.
    pub fn metrics(&self) -> RaftStatus {
        let part = self.inner.part.load();
        match (&part.seat, &part.replica) {
            (Some(seat), _) => seat.status(),
            (None, Some(replica)) => replica.status(),
            (None, None) => RaftStatus::closed(self.inner.options.node),
        }
    }

    /// Writes a snapshot of what is applied now, unless the newest is one; returns the entry that it ends at.
    pub async fn snapshot(&self) -> Result<u64, ConsensusError> {
        let part = self.inner.part.load_full();
        match (&part.seat, &part.replica) {
            (Some(seat), _) => seat.snapshot().await,
            (None, Some(replica)) => replica.keep().await,
            (None, None) => Err(ConsensusError::Stopped {
                dir: self.inner.options.dir.clone(),
                reason: "it was closed".to_owned(),
            }),
        }
    }

    /// Answers what another server sent here over its [`crate::Transport`]. Whoever hands it over vouches for the sender:
    /// a server may change everything. Nothing is checked here but that the request is meant for this node of this
    /// cluster.
    pub async fn answer(&self, request: Bytes) -> Result<Bytes, AnswerError> {
        self.answer_any(request, |_| Ok(())).await
    }

    /// Answers what a node that is no server sent here: it may follow, propose and read, but neither lead nor vote nor
    /// change who does. It puts into the log what `may` finds nothing wrong with.
    pub async fn answer_worker(
        &self,
        request: Bytes,
        may: impl Fn(&Command) -> Result<(), String>,
    ) -> Result<Bytes, AnswerError> {
        let allowed = |envelope: &Envelope| {
            if !envelope.body.is_for_workers() {
                return Err(AnswerError::Forbidden { node: envelope.from });
            }
            let Request::Propose { command, .. } = &envelope.body else { return Ok(()) };
            let command = Command::from_bytes(command)
                .map_err(|error| AnswerError::Malformed(error.to_string()))?;
            may(&command).map_err(AnswerError::NotAllowed)
        };
        self.answer_any(request, allowed).await
    }

    async fn answer_any(
        &self,
        request: Bytes,
        allowed: impl Fn(&Envelope) -> Result<(), AnswerError>,
    ) -> Result<Bytes, AnswerError> {
        let inner = &self.inner;
        let envelope = Envelope::decode(&request, &inner.caller.cluster, inner.caller.node)?;
        drop(request);
        allowed(&envelope)?;
        let part = inner.part.load_full();
        let Some(seat) = &part.seat else {
            return Err(AnswerError::NoMember { node: inner.caller.node });
        };
        let reply = match envelope.body {
            Request::Propose { command, wait_ms } => {
                let deadline =
                    Instant::now() + Duration::from_millis(wait_ms).min(inner.options.patience);
                let room = inner.room.acquire_many(units(command.len()));
                let Ok(Ok(_room)) = timeout_at(deadline, room).await else {
                    return Reply::NotTaken { leader: None }.encode();
                };
                let body = Request::Propose { command, wait_ms };
                seat.answer(envelope.from, body, &inner.view).await?
            }
            body => seat.answer(envelope.from, body, &inner.view).await?,
        };
        reply.encode()
    }

    /// Stops this node, all clones included, and lets go of the directory. What was answered is on disk.
    pub async fn close(self) {
        let inner = self.inner;
        inner.room.close();
        let _turn = inner.turning.lock().await;
        let keeper = inner.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper {
            keeper.abort();
        }
        let part = inner.part.load_full();
        if let Some(replica) = &part.replica {
            replica.close().await;
        }
        if let Some(seat) = &part.seat {
            seat.close().await;
        }
    }
}

impl Inner {
    fn dir(&self) -> PathBuf {
        self.options.dir.clone()
    }

    /// What changes from now on in who leads; nothing on a node without a seat.
    fn news(&self) -> Option<News> {
        let seat = self.part.load().seat.clone()?;
        let mut news = seat.raft.server_metrics();
        news.borrow_and_update();
        Some(news)
    }

    /// A pause between two attempts; shorter if the leadership changed since `news` was taken.
    async fn pause(&self, pause: Duration, news: Option<News>) {
        sleep(pause.min(SHORT)).await;
        match news {
            Some(mut news) => {
                let _ = timeout(pause, news.changed()).await;
            }
            None => sleep(pause).await,
        }
    }

    /// Waits until this node shows the entry; false if that is too late. A follower whose stream has stalled is told to
    /// ask another server.
    async fn wait_shown(&self, index: u64, deadline: Instant) -> bool {
        let mut reached = self.view.reached.clone();
        loop {
            let soon = deadline.min(Instant::now() + STALLED);
            let waiting = timeout_at(soon, reached.wait_for(|reached| *reached > index));
            match waiting.await {
                Ok(Ok(_)) => return true,
                Ok(Err(_)) => return false,
                Err(_) if Instant::now() >= deadline => return false,
                Err(_) => {}
            }
            if let Some(replica) = &self.part.load().replica {
                replica.hurry();
            }
        }
    }
}

#[cfg(test)]
mod tests;
