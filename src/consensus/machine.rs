//! Applies what is committed and tells those who follow.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use state::{Applied, State};

use crate::network::Book;
use crate::replica::Copied;
use crate::screen::{Screen, Step};
use crate::snapshot::{Restored, SnapshotData, Snapshots};
use crate::types::{Answer, LogId, Payload, SnapshotMeta, StoredMembers, Types};

/// Entries that are applied before the result is shown; keeps the time between two shown states short.
const STEP: usize = 512;

/// The state as this node's log makes it. Dropping it lets go of the screen.
pub(crate) struct Machine {
    working: State,
    applied: Option<LogId>,
    members: StoredMembers,
    screen: Arc<Screen>,
    book: Arc<Book>,
    snapshots: Arc<Snapshots>,
    /// One past the last entry that was handed to the screen.
    handed: u64,
    /// Answers that wait until the state is shown.
    waiting: Vec<(ApplyResponder<Types>, Arc<Applied>)>,
    /// Results that wait likewise.
    unsent: Vec<Arc<Applied>>,
}

fn next(applied: Option<&LogId>) -> u64 {
    applied.map_or(0, |id| id.index + 1)
}

impl Machine {
    /// Goes on from a snapshot. `screen` may show more already; then nothing is shown until that point is reached.
    pub(crate) fn new(
        snapshots: Arc<Snapshots>,
        restored: Option<Restored>,
        screen: Option<Arc<Screen>>,
        book: Arc<Book>,
    ) -> (Self, Arc<Screen>) {
        let (working, meta) =
            restored.map_or_else(Default::default, |restored| (restored.state, restored.meta));
        let handed = next(meta.last_log_id.as_ref());
        let screen = match screen {
            None => Screen::new(working.clone(), handed),
            Some(screen) => {
                let step = Step { state: &working, from: handed, to: handed, results: &[] };
                screen.show(step);
                screen
            }
        };
        book.learn(meta.last_membership.membership());
        let machine = Self {
            working,
            applied: meta.last_log_id,
            members: meta.last_membership,
            screen: screen.clone(),
            book,
            snapshots,
            handed,
            waiting: Vec::new(),
            unsent: Vec::new(),
        };
        (machine, screen)
    }

    /// The state with where it is, for whoever goes on from here.
    pub(crate) fn copied(&self) -> Copied {
        Copied { state: self.working.clone(), applied: self.applied, members: self.members.clone() }
    }

    fn apply_one(&mut self, (entry, responder): EntryResponder<Types>) {
        let index = entry.log_id.index;
        let applied = match entry.payload {
            Payload::Normal(proposal) => self.working.apply(index, proposal.command()),
            Payload::Blank => Applied { index, ..Applied::default() },
            Payload::Membership(members) => {
                self.book.learn(&members);
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

    /// Shows the state and only then answers: whoever is answered can read what it wrote.
    fn publish(&mut self) {
        let to = next(self.applied.as_ref());
        self.screen.show(Step {
            state: &self.working,
            from: self.handed,
            to,
            results: &self.unsent,
        });
        self.handed = to;
        self.unsent.clear();
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
        self.book.learn(self.members.membership());
        // What lies between is not known in single steps.
        self.unsent.clear();
        self.handed = next(self.applied.as_ref());
        self.publish();
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
