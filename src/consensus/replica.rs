//! A node's copy of the state without a seat: it asks any server for what was applied after what it has, and applies it
//! with the same function. One copy of it is kept on disk, so that a node that starts with no server in reach still
//! knows what was.

mod stream;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use state::State;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::consensus::Leader;
use crate::error::ConsensusError;
use crate::guard::DirGuard;
use crate::membership::MemberStatus;
use crate::options::Options;
use crate::record::decode_members;
use crate::screen::{Screen, Step};
use crate::seat::{WAIT_LIMIT, take_dir};
use crate::snapshot::{Restored, Snapshots};
use crate::status::{RaftStatus, Role};
use crate::types::{LogId, Members, SnapshotMeta, StoredMembers};
use crate::wire::Head;

use stream::Stream;

/// A state with the entry that it ends at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copied {
    pub(crate) state: State,
    pub(crate) applied: Option<LogId>,
    pub(crate) members: StoredMembers,
}

impl Copied {
    /// One past the last entry in it.
    pub(crate) fn next(&self) -> u64 {
        self.applied.map_or(0, |id| id.index + 1)
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.applied, last_membership: self.members.clone() }
    }
}

impl From<Restored> for Copied {
    fn from(restored: Restored) -> Self {
        let Restored { meta, state, .. } = restored;
        Self { state, applied: meta.last_log_id, members: meta.last_membership }
    }
}

/// What the stream tells the handle.
#[derive(Clone, Debug, Default)]
struct Known {
    head: Option<Head>,
    members: Members,
    applied: Option<LogId>,
    kept: Option<u64>,
    /// A snapshot is being received.
    fetching: bool,
}

/// The handle to a running stream. It stops when it is closed or dropped.
pub(crate) struct Replica {
    node: u64,
    dir: PathBuf,
    address: String,
    servers: watch::Receiver<Vec<String>>,
    known: Arc<Mutex<Known>>,
    screen: Weak<Screen>,
    keep: mpsc::Sender<oneshot::Sender<Result<u64, ConsensusError>>>,
    stop: watch::Sender<bool>,
    hurry: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// The copy on disk, and what it holds.
struct Opened {
    guard: DirGuard,
    snapshots: Snapshots,
    restored: Option<Restored>,
}

impl Replica {
    /// Opens the copy in [`crate::Following::dir`] and starts to follow. `from` is used instead if it is newer.
    pub(crate) async fn open(
        options: &Options,
        screen: Option<Arc<Screen>>,
        from: Option<Copied>,
    ) -> Result<Arc<Self>, ConsensusError> {
        let Some(following) = options.following.clone() else {
            return Err(ConsensusError::Options("there is nobody to follow".to_owned()));
        };
        let dir = following.dir.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let guard = take_dir(&dir)?;
            let (snapshots, restored) = Snapshots::open(dir.join("snapshots"), None)?;
            Ok::<_, ConsensusError>(Opened { guard, snapshots, restored })
        });
        let Opened { guard, snapshots, restored } = opened.await.map_err(|error| {
            ConsensusError::Stopped { dir: following.dir.clone(), reason: error.to_string() }
        })??;
        let kept = restored.as_ref().map(|found| found.meta.last_log_id.map_or(0, |id| id.index));
        let copy = restored.map(Copied::from).unwrap_or_default();
        let copy = from.filter(|from| from.next() > copy.next()).unwrap_or(copy);
        let next = copy.next();
        let screen = match screen {
            Some(screen) => {
                screen.show(Step { state: &copy.state, from: next, to: next, results: &[] });
                screen
            }
            None => Screen::new(copy.state.clone(), next),
        };
        let known = Known {
            head: None,
            members: copy.members.membership().clone(),
            applied: copy.applied,
            kept,
            fetching: false,
        };
        let known = Arc::new(Mutex::new(known));
        let (stop, stopped) = watch::channel(false);
        let (keep, asked) = mpsc::channel(16);
        let weak = Arc::downgrade(&screen);
        let stream =
            Stream::new(options, following.clone(), snapshots, copy, screen, known.clone());
        let hurry = Arc::new(Notify::new());
        let hurried = hurry.clone();
        let task = tokio::spawn(async move {
            stream.run(stopped, asked, hurried).await;
            drop(guard);
        });
        Ok(Arc::new(Self {
            node: options.node,
            dir: following.dir,
            address: options.address.clone(),
            servers: following.servers,
            known,
            screen: weak,
            keep,
            stop,
            hurry,
            task: Mutex::new(Some(task)),
        }))
    }

    pub(crate) fn screen(&self) -> Option<Arc<Screen>> {
        self.screen.upgrade()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn leader(&self) -> Option<Leader> {
        self.known().head.as_ref()?.leader.clone()
    }

    pub(crate) fn members(&self) -> Vec<MemberStatus> {
        let leader = self.leader().map(|leader| leader.node);
        let members = self.known().members.clone();
        let voters: Vec<u64> = members.voter_ids().collect();
        members
            .nodes()
            .map(|(node, place)| MemberStatus {
                node: *node,
                address: place.addr.clone(),
                voter: voters.contains(node),
                leader: leader == Some(*node),
                last_contact: None,
                matched: None,
            })
            .collect()
    }

    /// Where servers are, as far as it is known.
    pub(crate) fn servers(&self) -> Vec<String> {
        candidates(&self.servers.borrow(), &self.known().members, &self.address)
    }

    pub(crate) fn status(&self) -> RaftStatus {
        let known = self.known().clone();
        let applied = known.applied.map(|id| id.index);
        let head = known.head.as_ref();
        RaftStatus {
            role: Role::Replica,
            leader: head.and_then(|head| head.leader.as_ref()).map(|leader| leader.node),
            term: known.applied.map_or(0, |id| id.leader_id.term),
            committed: head.and_then(|head| head.reached.checked_sub(1)).max(applied),
            applied,
            snapshot: known.kept,
            voters: known.members.voter_ids().collect(),
            learners: known.members.learner_ids().collect(),
            ..RaftStatus::closed(self.node)
        }
    }

    /// Asks another server at once: what should have come has not.
    pub(crate) fn hurry(&self) {
        if !self.known().fetching {
            self.hurry.notify_waiters();
        }
    }

    /// Writes the copy to the disk now; returns the entry that it ends at.
    pub(crate) async fn keep(&self) -> Result<u64, ConsensusError> {
        let stopped = || ConsensusError::Stopped {
            dir: self.dir.clone(),
            reason: "it was closed".to_owned(),
        };
        let (done, written) = oneshot::channel();
        self.keep.send(done).await.map_err(|_| stopped())?;
        let late = |_| ConsensusError::Timeout {
            dir: self.dir.clone(),
            what: "write a snapshot",
            seconds: WAIT_LIMIT.as_secs(),
        };
        timeout(WAIT_LIMIT, written).await.map_err(late)?.map_err(|_| stopped())?
    }

    /// Stops following; the copy is on disk when this returns.
    pub(crate) async fn close(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && timeout(Duration::from_secs(30), task).await.is_err()
        {
            tracing::warn!("the stream from the servers did not end in time");
        }
    }
}

/// Everyone who may be asked: those that the node was told of, and those that the cluster names.
fn candidates(told: &[String], members: &Members, own: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let named = members.nodes().map(|(_, place)| &place.addr);
    for address in told.iter().chain(named) {
        if !address.is_empty() && address != own && !all.contains(address) {
            all.push(address.clone());
        }
    }
    all
}

/// The membership that a server told.
fn members_of(head: &Head) -> Option<Members> {
    head.members_at?;
    decode_members(&head.members).ok()
}
