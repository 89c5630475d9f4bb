//! The log as the engine sees it: in memory at once, on disk when the writer says so.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::{mpsc, oneshot};

use crate::error::ConsensusError;
use crate::store::{Loaded, Store};
use crate::types::{Entry, LogId, Types, Vote};
use crate::writer::{Op, QUEUE, Shared, Writer};

/// Entries that one read for a follower returns at most.
const READ_ENTRIES: u64 = 1_024;
/// The same in bytes; a single entry may be larger.
const READ_BYTES: usize = 4 << 20;

/// A handle to the log; all handles are the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    store: Arc<Store>,
    /// `None` only while dropping.
    ops: Option<mpsc::Sender<Op>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    /// Waits until what was handed in is on disk, so that the file can be opened again right after.
    fn drop(&mut self) {
        drop(self.ops.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl LogStore {
    pub(crate) fn start(
        store: Store,
        loaded: &Loaded,
        failure: Arc<OnceLock<String>>,
    ) -> Result<Self, ConsensusError> {
        let store = Arc::new(store);
        let shared = Arc::new(Shared::new(loaded, failure));
        let (ops, receiver) = mpsc::channel(QUEUE);
        let writer = Writer::new(store.clone(), shared.clone(), receiver, loaded);
        let thread = std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| ConsensusError::Io {
                what: "start the writer of",
                path: store.path().to_owned(),
                source,
            })?;
        Ok(Self { inner: Arc::new(Inner { shared, store, ops: Some(ops), writer: Some(thread) }) })
    }

    async fn hand_in(&self, op: Op) -> io::Result<()> {
        let ops = self.inner.ops.as_ref().ok_or_else(writer_gone)?;
        ops.send(op).await.map_err(|_| writer_gone())
    }

    /// Entries from the start of `range`, as many as `budget` bytes hold and at least one if there is one. What was
    /// purged is left out.
    async fn entries(&self, range: Range<u64>, budget: usize) -> io::Result<Vec<Entry>> {
        let cut = self.inner.shared.tail().cut(range);
        let mut room = Room::new(budget);
        if cut.disk.is_empty() {
            return Ok(cut.entries.into_iter().take_while(|entry| room.takes(entry)).collect());
        }
        let store = self.inner.store.clone();
        let wanted = cut.disk.clone();
        let mut entries = tokio::task::spawn_blocking(move || store.read(wanted, budget))
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        // Entries may have been purged meanwhile, but only from the front.
        let low = self.inner.shared.tail().purged.as_ref().map_or(0, |id| id.index + 1);
        let start = cut.disk.start.max(low);
        entries.retain(|entry| entry.log_id.index >= start);
        let end = entries.last().map_or(start, |entry| entry.log_id.index + 1);
        let complete = end >= cut.disk.end;
        let in_order = entries.iter().map(|entry| entry.log_id.index).eq(start..end);
        if !in_order || (entries.is_empty() && start < cut.disk.end) {
            return Err(io::Error::other(ConsensusError::Damaged {
                path: self.inner.store.path().to_owned(),
                what: format!("of the entries {start} to {} some are missing", cut.disk.end),
            }));
        }
        let fitting = entries.iter().take_while(|entry| room.takes(entry)).count();
        let full = fitting < entries.len();
        entries.truncate(fitting);
        if complete && !full {
            entries.extend(cut.entries.into_iter().take_while(|entry| room.takes(entry)));
        }
        Ok(entries)
    }

    /// Entries in `range` for someone who follows: a few megabytes at most, nothing that was purged.
    pub(crate) async fn read(&self, range: Range<u64>) -> io::Result<Vec<Entry>> {
        let end = range.end.min(range.start.saturating_add(READ_ENTRIES));
        self.entries(range.start..end, READ_BYTES).await
    }

    /// The last entry that is only in a snapshot any more.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.inner.shared.tail().purged
    }

    /// A handle that does not keep the log open.
    pub(crate) fn downgrade(&self) -> WeakLog {
        WeakLog(Arc::downgrade(&self.inner))
    }
}

/// A log that may be closed already.
#[derive(Clone)]
pub(crate) struct WeakLog(Weak<Inner>);

impl WeakLog {
    pub(crate) fn upgrade(&self) -> Option<LogStore> {
        self.0.upgrade().map(|inner| LogStore { inner })
    }
}

/// Room for entries in an answer; the first always fits.
struct Room {
    left: usize,
    first: bool,
}

impl Room {
    fn new(budget: usize) -> Self {
        Self { left: budget, first: true }
    }

    fn takes(&mut self, entry: &Entry) -> bool {
        let size = crate::tail::size(entry);
        let fits = size <= self.left || self.first;
        self.first = false;
        self.left = self.left.saturating_sub(size);
        fits
    }
}

fn writer_gone() -> io::Error {
    io::Error::other("the writer of the raft log has stopped")
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end.max(start)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.entries(half_open(&range), usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.inner.shared.tail().vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end).await
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let tail = self.inner.shared.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, written) = oneshot::channel();
        self.hand_in(Op::Vote { vote: *vote, done }).await?;
        written.await.map_err(|_| writer_gone())?.map_err(io::Error::other)?;
        self.inner.shared.tail().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        *self.inner.shared.committed() = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(*self.inner.shared.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let generation = {
            let mut tail = self.inner.shared.tail();
            for entry in &entries {
                tail.push(entry.clone()).map_err(|expected| {
                    io::Error::other(format!(
                        "entry {} does not follow the log, which goes on at {expected}",
                        entry.log_id.index
                    ))
                })?;
            }
            tail.generation()
        };
        self.hand_in(Op::Append { generation, entries, flushed: callback }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.inner.shared.tail().truncate(last_log_id);
        // Later entries go to the disk after this, so nobody has to wait for it.
        self.hand_in(Op::Truncate { from: last_log_id.map_or(0, |id| id.index + 1) }).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.inner.shared.tail().purge(log_id);
        self.hand_in(Op::Purge(log_id)).await
    }
}
