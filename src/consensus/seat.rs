//! A node's seat among the members: Raft with its log, its snapshots and its clock.

mod answer;
mod change;
mod serve;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{BasicNode, Instant as _, Raft, RaftMetrics, ServerState};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::consensus::Leader;
use crate::counters::Counters;
use crate::error::ConsensusError;
use crate::guard::DirGuard;
use crate::log::{LogStore, WeakLog};
use crate::machine::Machine;
use crate::network::{Book, Network, Receiver};
use crate::options::{Options, Start};
use crate::screen::Screen;
use crate::snapshot::{Restored, Snapshots};
use crate::status::RaftStatus;
use crate::store::{Loaded, Store};
use crate::types::Types;

pub(crate) use answer::Written;
pub(crate) use change::Refused;

/// How long coming up, a snapshot or closing may take.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Raft as this node runs it. It stops when it is closed or dropped.
pub(crate) struct Seat {
    pub(crate) raft: Raft<Types, Machine>,
    pub(crate) node: u64,
    pub(crate) dir: PathBuf,
    log: WeakLog,
    snapshots: Arc<Snapshots>,
    receiver: Receiver,
    counters: Arc<Counters>,
    failure: Arc<OnceLock<String>>,
    /// A member that answered within this time counts as one that answers.
    contact: Duration,
    /// A leader that no quorum answered for this long leads nobody.
    unheard: Duration,
    /// When this node heard a leader last.
    heard: Mutex<Instant>,
    ticker: Mutex<Option<tokio::task::AbortHandle>>,
    closed: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Drop for Seat {
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

/// Makes the folder and takes it for this process.
pub(crate) fn take_dir(dir: &Path) -> Result<DirGuard, ConsensusError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| ConsensusError::Io { what: "create", path: dir.to_owned(), source })?;
    DirGuard::take(dir)
}

impl Opened {
    fn open(
        dir: &Path,
        node: u64,
        counters: Arc<Counters>,
        closed: oneshot::Sender<()>,
        seams: &Seams,
    ) -> Result<Self, ConsensusError> {
        let guard = take_dir(dir)?;
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

impl Seat {
    /// Opens or creates the directory, restores the newest snapshot and the log, and starts Raft. What it applies goes to
    /// `screen` if there is one already.
    pub(crate) async fn open(
        options: &Options,
        screen: Option<Arc<Screen>>,
        seams: Seams,
    ) -> Result<(Arc<Self>, Weak<Screen>), ConsensusError> {
        let config = Arc::new(options.config()?);
        let (dir, node) = (options.dir.clone(), options.node);
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
        let weak_log = log.downgrade();
        let snapshots = Arc::new(snapshots);
        let book = Arc::new(Book::default());
        let (machine, screen) = Machine::new(snapshots.clone(), restored, screen, book.clone());
        let screen = Arc::downgrade(&screen);
        let network = Network { caller: options.caller(), book };
        let raft = Raft::new(node, config, network, log, machine).await.map_err(|error| {
            ConsensusError::Stopped { dir: dir.clone(), reason: error.to_string() }
        })?;
        let seat = Arc::new(Self {
            raft,
            node,
            dir,
            log: weak_log,
            receiver: Receiver::new(snapshots.clone()),
            snapshots,
            counters,
            failure,
            contact: options.election_timeout * 2,
            unheard: options.election_timeout * 5,
            heard: Mutex::new(Instant::now()),
            ticker: Mutex::new(None),
            closed: Mutex::new(Some(closed)),
        });
        if let Err(error) = seat.come_up(options).await {
            seat.close().await;
            return Err(error);
        }
        let ticking = keep_ticking(seat.raft.server_metrics(), Arc::downgrade(&seat));
        *seat.ticker.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(tokio::spawn(ticking).abort_handle());
        Ok((seat, screen))
    }

    /// Makes a new directory a cluster if so wanted, and a sole voter the leader without waiting for a timeout.
    async fn come_up(&self, options: &Options) -> Result<(), ConsensusError> {
        let initialised =
            self.raft.is_initialized().await.map_err(|error| self.stopped(error.to_string()))?;
        if !initialised {
            if options.start == Start::Join {
                return Ok(());
            }
            let members =
                BTreeMap::from([(self.node, BasicNode { addr: options.address.clone() })]);
            self.raft.initialize(members).await.map_err(|error| self.stopped(error.to_string()))?;
        }
        // Asked of the engine itself: what it publishes may lag behind what was just answered.
        let node = self.node;
        let sole = self
            .raft
            .with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([node]))
            .await
            .map_err(|error| self.stopped(error.to_string()))?;
        if !sole {
            return Ok(());
        }
        self.raft.trigger().elect(false).await.map_err(|error| self.stopped(error.to_string()))?;
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
                Err(self.stopped("it ended while starting".to_owned()))
            }
            Err(openraft::metrics::WaitError::Timeout(..)) => Err(ConsensusError::Timeout {
                dir: self.dir.clone(),
                what: "come up",
                seconds: WAIT_LIMIT.as_secs(),
            }),
        }
    }

    /// Where this node stands.
    pub(crate) fn status(&self) -> RaftStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let mut status = RaftStatus::new(&metrics, self.counters.status());
        status.leader = status.leader.filter(|leader| *leader != self.node || self.leads(&metrics));
        status.last_contact = Some(match metrics.state {
            ServerState::Leader => Duration::ZERO,
            _ => self.silence(),
        });
        status.elections = self.counters.elections();
        status
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.leads(&self.raft.metrics().borrow_watched())
    }

    /// Whether nobody else has a vote.
    pub(crate) fn is_sole(&self) -> bool {
        is_sole(self.node, &self.raft.metrics().borrow_watched())
    }

    /// Whether this node leads: it was elected, its engine runs, and a quorum answered lately. The engine itself leads
    /// until it hears of another leader, which one that is cut off never does.
    fn leads(&self, metrics: &RaftMetrics<Types>) -> bool {
        metrics.state == ServerState::Leader
            && metrics.running_state.is_ok()
            && (is_sole(self.node, metrics)
                || metrics.last_quorum_acked.is_none_or(|at| at.elapsed() <= self.unheard))
    }

    /// Who leads, as far as this node knows.
    pub(crate) fn leader(&self) -> Option<Leader> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let node =
            metrics.current_leader.filter(|node| *node != self.node || self.leads(&metrics))?;
        let known = metrics.membership_config.membership().get_node(&node);
        Some(Leader { node, address: known.map(|known| known.addr.clone()).unwrap_or_default() })
    }

    /// Writes a snapshot of what is applied now, unless the newest is one; returns the entry that it ends at.
    pub(crate) async fn snapshot(&self) -> Result<u64, ConsensusError> {
        let stopped = |reason: String| self.stopped(reason);
        let wanted = self.status().applied;
        let deadline = Instant::now() + WAIT_LIMIT;
        let late = || ConsensusError::Timeout {
            dir: self.dir.clone(),
            what: "write a snapshot",
            seconds: WAIT_LIMIT.as_secs(),
        };
        let mut metrics = self.raft.metrics();
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
                self.raft.trigger().snapshot().await.map_err(|error| stopped(error.to_string()))?;
            }
            tokio::time::timeout_at(deadline, metrics.changed())
                .await
                .map_err(|_| late())?
                .map_err(|error| stopped(error.to_string()))?;
        }
    }

    /// Stops Raft and lets go of the directory. What was answered is on disk.
    pub(crate) async fn close(&self) {
        let ticker = self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ticker) = ticker {
            ticker.abort();
        }
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(closed) = closed
            && timeout(WAIT_LIMIT, closed).await.is_err()
        {
            tracing::warn!("the raft log is still open a minute after raft stopped");
        }
    }

    /// For how long no leader was heard here.
    pub(crate) fn silence(&self) -> Duration {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// What the writer said, if it failed, or else what the engine says.
    pub(crate) fn reason(&self, engine: String) -> String {
        self.failure.get().cloned().unwrap_or(engine)
    }

    pub(crate) fn stopped(&self, engine: String) -> ConsensusError {
        ConsensusError::Stopped { dir: self.dir.clone(), reason: self.reason(engine) }
    }
}

fn is_sole(node: u64, metrics: &RaftMetrics<Types>) -> bool {
    metrics.membership_config.membership().voter_ids().eq([node])
}

/// Whether a node has to look at the clock: a leader to tell its followers that it is there, everyone else to notice
/// that the leader is gone. A sole voter that leads sleeps until there is something to do.
pub(crate) fn needs_clock(node: u64, leads: bool, voters: &[u64], learners: usize) -> bool {
    !(leads && voters == [node] && learners == 0)
}

async fn keep_ticking(
    mut metrics: openraft::alias::WatchReceiverOf<
        Types,
        openraft::metrics::RaftServerMetrics<Types>,
    >,
    seat: Weak<Seat>,
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
        let Some(seat) = seat.upgrade() else { return };
        let (term, leader) = {
            let metrics = metrics.borrow_watched();
            (metrics.vote.leader_id.term, metrics.current_leader)
        };
        seat.counters.led_by(seat.node, term, leader);
        seat.raft.runtime_config().tick(needed);
        drop(seat);
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
