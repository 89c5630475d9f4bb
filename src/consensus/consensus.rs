//! The handle that everybody else holds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::error::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::{BasicNode, Raft, ReadPolicy, ServerState};
use state::{Applied, Command, State};
use tokio::sync::{Semaphore, broadcast, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::counters::Counters;
use crate::error::{ConsensusError, ProposeError, ReadError};
use crate::guard::DirGuard;
use crate::log::LogStore;
use crate::machine::{Machine, View};
use crate::network::Network;
use crate::options::Options;
use crate::snapshot::{Restored, Snapshots};
use crate::status::RaftStatus;
use crate::store::{Loaded, Store};
use crate::subscription::{CAPACITY, Notice, Subscription};
use crate::types::{MAX_COMMAND_BYTES, Proposal, Types};

/// How long a command may take before its proposer is told that the outcome is not known.
const PROPOSE_LIMIT: Duration = Duration::from_secs(10);
/// How long coming up, a snapshot or closing may take.
const WAIT_LIMIT: Duration = Duration::from_secs(60);
/// Pauses between attempts while the leader is not ready to take a command.
const RETRY: [Duration; 4] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(200),
];
/// One unit of room for commands on their way.
const ROOM_UNIT: usize = 8 << 10;
/// Room for commands on their way, in units: 8,192 small ones, or eight of the largest. More wait their turn.
const ROOM: usize = 8_192 * 2;

/// The leader and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    raft: Raft<Types, Machine>,
    node: u64,
    dir: PathBuf,
    view: View,
    counters: Arc<Counters>,
    failure: Arc<OnceLock<String>>,
    room: Semaphore,
    ticker: Mutex<Option<tokio::task::AbortHandle>>,
    closed: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let ticker = self.ticker.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(ticker) = ticker.take() {
            ticker.abort();
        }
    }
}

/// What opening a directory yields, before Raft runs.
struct Opened {
    store: Store,
    loaded: Loaded,
    snapshots: Snapshots,
    restored: Option<Restored>,
}

/// Test doubles for what is below.
#[derive(Clone, Default)]
pub(crate) struct Seams {
    #[cfg(test)]
    pub(crate) faults: Arc<crate::backend::Faults>,
}

impl Opened {
    fn open(
        dir: &Path,
        node: u64,
        counters: Arc<Counters>,
        closed: oneshot::Sender<()>,
        seams: &Seams,
    ) -> Result<Self, ConsensusError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| {
            ConsensusError::Io { what: "create", path: dir.to_owned(), source }
        })?;
        let guard = DirGuard::take(dir)?;
        #[cfg(not(test))]
        let Seams {} = seams;
        let (store, loaded) = Store::open(
            dir,
            node,
            guard,
            counters,
            closed,
            #[cfg(test)]
            seams.faults.clone(),
        )?;
        let (snapshots, restored) = Snapshots::open(dir.join("snapshots"), loaded.purged.as_ref())?;
        Ok(Self { store, loaded, snapshots, restored })
    }
}

impl Consensus {
    /// Opens or creates the directory, restores the newest snapshot and the log, and starts Raft. A new directory
    /// becomes a cluster of this one voter. A sole voter leads, with everything that was ever committed applied, when
    /// this returns; with others, the state is what this node knew to be committed.
    pub async fn open(options: Options) -> Result<Self, ConsensusError> {
        Self::open_with(options, Seams::default()).await
    }

    pub(crate) async fn open_with(options: Options, seams: Seams) -> Result<Self, ConsensusError> {
        let config = Arc::new(options.config()?);
        let Options { dir, node, address, .. } = options;
        let counters = Arc::new(Counters::default());
        let (closing, closed) = oneshot::channel();
        let opened = {
            let (dir, counters) = (dir.clone(), counters.clone());
            tokio::task::spawn_blocking(move || Opened::open(&dir, node, counters, closing, &seams))
        };
        // redb answers some kinds of damage with a panic.
        let Opened { store, loaded, snapshots, restored } =
            opened.await.map_err(|error| ConsensusError::Damaged {
                path: dir.join("log.redb"),
                what: format!("reading it failed unexpectedly: {error}"),
            })??;

        let failure = Arc::new(OnceLock::new());
        let log = LogStore::start(store, &loaded, failure.clone())?;
        let (machine, view) = Machine::new(snapshots, restored);
        let raft = Raft::new(node, config, Network, log, machine).await.map_err(|error| {
            ConsensusError::Stopped { dir: dir.clone(), reason: error.to_string() }
        })?;
        let consensus = Self {
            inner: Arc::new(Inner {
                raft,
                node,
                dir,
                view,
                counters,
                failure,
                room: Semaphore::new(ROOM),
                ticker: Mutex::new(None),
                closed: Mutex::new(Some(closed)),
            }),
        };
        if let Err(error) = consensus.inner.come_up(address).await {
            consensus.close().await;
            return Err(error);
        }
        let ticker = tokio::spawn(keep_ticking(
            consensus.inner.raft.server_metrics(),
            Arc::downgrade(&consensus.inner),
        ));
        *consensus.inner.ticker.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(ticker.abort_handle());
        Ok(consensus)
    }

    /// Puts a command into the log. When this returns it is on disk with a quorum, applied here, and in
    /// [`Consensus::state`]; a command that made no sense is answered with [`Applied::rejection`]. Waits up to 10 s while
    /// the leader is not ready.
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let inner = &self.inner;
        let proposal = Proposal::new(command)?;
        let deadline = Instant::now() + PROPOSE_LIMIT;
        let units = proposal.encoded().len().min(MAX_COMMAND_BYTES) / ROOM_UNIT + 1;
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let _room = timeout_at(deadline, inner.room.acquire_many(units))
            .await
            .map_err(|_| ProposeError::Timeout { seconds: PROPOSE_LIMIT.as_secs() })?
            .map_err(|_| inner.stopped("it was closed".to_owned()))?;
        let mut pauses = RETRY.into_iter();
        let mut pause = Duration::ZERO;
        loop {
            let answer = timeout_at(deadline, inner.raft.client_write(proposal.clone())).await;
            let forward = match answer {
                Err(_) => {
                    return Err(ProposeError::Timeout { seconds: PROPOSE_LIMIT.as_secs() });
                }
                Ok(Ok(response)) => return Ok(Arc::unwrap_or_clone(response.data.0)),
                Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => forward,
                Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => {
                    return Err(ProposeError::Unknown);
                }
                Ok(Err(error)) => return Err(inner.stopped(error.to_string())),
            };
            // Refused before it was taken, so it can be tried again.
            pause = pauses.next().unwrap_or(pause);
            if let Some(leader) = inner.elsewhere(&forward) {
                return Err(ProposeError::NotLeader { leader: Some(leader) });
            }
            if Instant::now() + pause >= deadline {
                return Err(ProposeError::NotLeader { leader: None });
            }
            sleep(pause).await;
        }
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
        let receiver = self.inner.view.notices.upgrade().map_or_else(
            || broadcast::channel::<Notice>(CAPACITY).1,
            |notices| notices.subscribe(),
        );
        Subscription::new(receiver)
    }

    /// Whether this node leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.inner.raft.metrics().borrow_watched().state == ServerState::Leader
    }

    /// Whether this node leads, to wait on. Who begins to decide first waits for [`Consensus::linearizable`], so that
    /// what the leader before decided is known. Its sender is dropped when the node stops.
    pub fn leadership(&self) -> watch::Receiver<bool> {
        let mut metrics = self.inner.raft.server_metrics();
        let (sender, receiver) = watch::channel(self.is_leader());
        tokio::spawn(async move {
            loop {
                let leads = metrics.borrow_watched().state == ServerState::Leader;
                sender.send_if_modified(|known| std::mem::replace(known, leads) != leads);
                tokio::select! {
                    changed = metrics.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        receiver
    }

    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> Option<Leader> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let node = metrics.current_leader?;
        let known = metrics.membership_config.membership().get_node(&node);
        Some(Leader { node, address: known.map(|known| known.addr.clone()).unwrap_or_default() })
    }

    /// Returns once [`Consensus::state`] contains everything that was committed anywhere before the call. Asks a quorum
    /// whether this node still leads.
    pub async fn linearizable(&self) -> Result<(), ReadError> {
        let read = self.inner.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        match timeout(PROPOSE_LIMIT, read).await {
            Err(_) => Err(ReadError::Timeout { seconds: PROPOSE_LIMIT.as_secs() }),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(ReadError::NotLeader { leader: self.inner.elsewhere(&forward) })
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error)))) => {
                Err(ReadError::NoQuorum(error.to_string()))
            }
            Ok(Err(RaftError::Fatal(error))) => {
                Err(ReadError::Stopped { reason: self.inner.reason(error.to_string()) })
            }
        }
    }

    /// Where this node stands.
    pub fn metrics(&self) -> RaftStatus {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        RaftStatus::new(&metrics, self.inner.counters.status())
    }

    /// Writes a snapshot of what is applied now, unless the newest is one; returns the entry that it ends at.
    pub async fn snapshot(&self) -> Result<u64, ConsensusError> {
        let inner = &self.inner;
        let stopped = |reason: String| ConsensusError::Stopped {
            dir: inner.dir.clone(),
            reason: inner.reason(reason),
        };
        let wanted = self.metrics().applied;
        let deadline = Instant::now() + WAIT_LIMIT;
        let late = || ConsensusError::Timeout {
            dir: inner.dir.clone(),
            what: "write a snapshot",
            seconds: WAIT_LIMIT.as_secs(),
        };
        let mut metrics = inner.raft.metrics();
        let mut asked = None;
        loop {
            let snapshot = {
                let metrics = metrics.borrow_watched();
                if let Err(error) = &metrics.running_state {
                    return Err(stopped(error.to_string()));
                }
                metrics.snapshot.map(|id| id.index)
            };
            if snapshot >= wanted {
                return Ok(snapshot.unwrap_or_default());
            }
            // One that was begun before the call ends too early; then it is asked for again.
            if asked != Some(snapshot) {
                asked = Some(snapshot);
                inner
                    .raft
                    .trigger()
                    .snapshot()
                    .await
                    .map_err(|error| stopped(error.to_string()))?;
            }
            timeout_at(deadline, metrics.changed())
                .await
                .map_err(|_| late())?
                .map_err(|error| stopped(error.to_string()))?;
        }
    }

    /// Stops this node, all clones included, and lets go of the directory. What was answered is on disk.
    pub async fn close(self) {
        let inner = self.inner;
        inner.room.close();
        let ticker = inner.ticker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ticker) = ticker {
            ticker.abort();
        }
        if let Err(error) = inner.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        let closed = inner.closed.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(inner);
        if let Some(closed) = closed
            && timeout(WAIT_LIMIT, closed).await.is_err()
        {
            tracing::warn!("the raft log is still open a minute after raft stopped");
        }
    }
}

impl Inner {
    /// Makes a new directory a cluster, and a sole voter the leader without waiting for a timeout.
    async fn come_up(&self, address: String) -> Result<(), ConsensusError> {
        let stopped = |reason: String| ConsensusError::Stopped {
            dir: self.dir.clone(),
            reason: self.reason(reason),
        };
        let initialised =
            self.raft.is_initialized().await.map_err(|error| stopped(error.to_string()))?;
        if !initialised {
            let members = BTreeMap::from([(self.node, BasicNode { addr: address })]);
            self.raft.initialize(members).await.map_err(|error| stopped(error.to_string()))?;
        }
        // Asked of the engine itself: what it publishes may lag behind what was just answered.
        let node = self.node;
        let sole = self
            .raft
            .with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([node]))
            .await
            .map_err(|error| stopped(error.to_string()))?;
        if !sole {
            return Ok(());
        }
        self.raft.trigger().elect(false).await.map_err(|error| stopped(error.to_string()))?;
        let wait = self.raft.wait(Some(WAIT_LIMIT));
        let up = wait.metrics(
            |metrics| {
                metrics.state == ServerState::Leader
                    && metrics
                        .last_applied
                        .is_some_and(|id| id.leader_id.term == metrics.current_term)
            },
            "the sole voter leads and has applied its log",
        );
        match up.await {
            Ok(_) => Ok(()),
            Err(openraft::metrics::WaitError::ShuttingDown) => {
                Err(stopped("it ended while starting".to_owned()))
            }
            Err(openraft::metrics::WaitError::Timeout(..)) => Err(ConsensusError::Timeout {
                dir: self.dir.clone(),
                what: "come up",
                seconds: WAIT_LIMIT.as_secs(),
            }),
        }
    }

    /// The leader, if it is another node.
    fn elsewhere(&self, forward: &ForwardToLeader<Types>) -> Option<u64> {
        forward.leader_id.filter(|leader| *leader != self.node)
    }

    /// What the writer said, if it failed, or else what the engine says.
    fn reason(&self, engine: String) -> String {
        self.failure.get().cloned().unwrap_or(engine)
    }

    fn stopped(&self, engine: String) -> ProposeError {
        ProposeError::Stopped { reason: self.reason(engine) }
    }
}

/// Whether a node has to look at the clock: a leader to tell its followers that it is there, everyone else to notice
/// that the leader is gone. A sole voter that leads sleeps until there is something to do.
fn needs_clock(node: u64, leads: bool, voters: &[u64], learners: usize) -> bool {
    !(leads && voters == [node] && learners == 0)
}

async fn keep_ticking(
    mut metrics: openraft::alias::WatchReceiverOf<
        Types,
        openraft::metrics::RaftServerMetrics<Types>,
    >,
    inner: Weak<Inner>,
) {
    loop {
        let needed = {
            let metrics = metrics.borrow_watched();
            let members = metrics.membership_config.membership();
            let voters: Vec<u64> = members.voter_ids().collect();
            needs_clock(
                metrics.id,
                metrics.state == ServerState::Leader,
                &voters,
                members.learner_ids().count(),
            )
        };
        let Some(inner) = inner.upgrade() else { return };
        inner.raft.runtime_config().tick(needed);
        drop(inner);
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
