//! Applies what is committed and tells those who follow.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use state::{Applied, State};
use tokio::sync::{broadcast, watch};

use crate::snapshot::{Restored, SnapshotData, Snapshots};
use crate::subscription::{CAPACITY, Notice};
use crate::types::{Answer, LogId, Payload, SnapshotMeta, StoredMembers, Types};

/// Entries that are applied before the result is shown; keeps the time between two shown states short.
const STEP: usize = 512;

/// The state as everybody else sees it.
pub(crate) type Published = Arc<ArcSwap<State>>;

/// The state and who is told of it. Dropping it tells followers that nothing more will come.
pub(crate) struct Machine {
    working: State,
    applied: Option<LogId>,
    members: StoredMembers,
    published: Published,
    index: watch::Sender<u64>,
    notices: broadcast::Sender<Notice>,
    snapshots: Arc<Snapshots>,
    /// Answers that wait until the state is shown.
    waiting: Vec<(ApplyResponder<Types>, Arc<Applied>)>,
    /// Results that wait likewise.
    unsent: Vec<Arc<Applied>>,
}

/// What [`crate::Consensus`] keeps of the machine.
pub(crate) struct View {
    pub(crate) published: Published,
    pub(crate) index: watch::Receiver<u64>,
    pub(crate) notices: broadcast::WeakSender<Notice>,
}

impl Machine {
    pub(crate) fn new(snapshots: Snapshots, restored: Option<Restored>) -> (Self, View) {
        let (working, meta) =
            restored.map_or_else(Default::default, |restored| (restored.state, restored.meta));
        let published = Arc::new(ArcSwap::from_pointee(working.clone()));
        let (index, index_seen) = watch::channel(working.index());
        let (notices, _) = broadcast::channel(CAPACITY);
        let view =
            View { published: published.clone(), index: index_seen, notices: notices.downgrade() };
        let machine = Self {
            working,
            applied: meta.last_log_id,
            members: meta.last_membership,
            published,
            index,
            notices,
            snapshots: Arc::new(snapshots),
            waiting: Vec::new(),
            unsent: Vec::new(),
        };
        (machine, view)
    }

    fn apply_one(&mut self, (entry, responder): EntryResponder<Types>) {
        let index = entry.log_id.index;
        let applied = match entry.payload {
            Payload::Normal(proposal) => self.working.apply(index, proposal.command()),
            Payload::Blank => Applied { index, ..Applied::default() },
            Payload::Membership(members) => {
                self.members = StoredMembers::new(Some(entry.log_id), members);
                Applied { index, ..Applied::default() }
            }
        };
        self.applied = Some(entry.log_id);
        let applied = Arc::new(applied);
        if !applied.events.is_empty() {
            self.unsent.push(applied.clone());
        }
        if let Some(responder) = responder {
            self.waiting.push((responder, applied));
        }
    }

    /// Shows the state first, then tells those who follow, then answers: whoever is answered can read what it wrote.
    fn publish(&mut self) {
        self.published.store(Arc::new(self.working.clone()));
        self.index.send_if_modified(|index| {
            let now = self.working.index();
            std::mem::replace(index, now) != now
        });
        for applied in self.unsent.drain(..) {
            // Nobody may be following.
            let _ = self.notices.send(Notice::Applied(applied));
        }
        for (responder, applied) in self.waiting.drain(..) {
            responder.send(Answer(applied));
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembers), io::Error> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut result = Ok(());
        let mut since = 0;
        while let Some(item) = entries.next().await {
            match item {
                Ok(entry) => self.apply_one(entry),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            since += 1;
            if since == STEP {
                since = 0;
                self.publish();
                tokio::task::yield_now().await;
            }
        }
        self.publish();
        result
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            meta: SnapshotMeta { last_log_id: self.applied, last_membership: self.members.clone() },
            state: self.working.clone(),
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let snapshots = self.snapshots.clone();
        let wanted = meta.clone();
        let restored = tokio::task::spawn_blocking(move || {
            let restored = snapshot.restore()?;
            snapshots.write(&wanted, &restored.state)?;
            Ok::<_, crate::error::ConsensusError>(restored)
        })
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)?;
        if restored.meta.last_log_id != meta.last_log_id {
            return Err(io::Error::other(
                "the snapshot that was received ends at another entry than announced",
            ));
        }
        self.working = restored.state;
        self.applied = meta.last_log_id;
        self.members = meta.last_membership.clone();
        self.publish();
        let _ = self.notices.send(Notice::Replaced);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::alias::SnapshotOf<Types, SnapshotData>>, io::Error> {
        Ok(self.snapshots.current().map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// A state to be written, while the machine goes on.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    state: State,
    snapshots: Arc<Snapshots>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> Result<openraft::alias::SnapshotOf<Types, SnapshotData>, io::Error> {
        let (meta, state, snapshots) =
            (self.meta.clone(), self.state.clone(), self.snapshots.clone());
        tokio::task::spawn_blocking(move || {
            let snapshot = snapshots.write(&meta, &state)?;
            Ok::<_, crate::error::ConsensusError>(Snapshot { meta, snapshot })
        })
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)
    }
}
