//! The thread that writes. Whatever waits when it comes round goes to the disk in one transaction with one flush, so
//! that a thousand commands at once cost hardly more than one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use crate::record::encode_entry;
use crate::store::{Change, Loaded, Store};
use crate::tail::Tail;
use crate::types::{Entry, LogId, Types, Vote};

/// Operations that may wait. The engine merges entries before they come here, so there are never many.
pub(crate) const QUEUE: usize = 1_024;
/// Bytes of entries that go into one transaction at most, give or take one operation.
const BATCH_BYTES: usize = 32 << 20;

/// Something to write, in order.
pub(crate) enum Op {
    /// Add entries.
    Append {
        /// The tail's generation when they were added.
        generation: u64,
        entries: Vec<Entry>,
        flushed: IOFlushed<Types>,
    },
    /// Remember a vote; answered when it is on disk.
    Vote { vote: Vote, done: oneshot::Sender<Result<(), String>> },
    /// Forget entries from here on.
    Truncate { from: u64 },
    /// Forget entries up to here.
    Purge(LogId),
}

/// What the writer shares with the engine's side.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) tail: Mutex<Tail>,
    /// The committed mark. It goes to the disk with the next write and never costs one of its own: after a crash it may
    /// be behind, and what lies between is committed again by the next leader.
    pub(crate) committed: Mutex<Option<LogId>>,
    /// Why nothing is written any more.
    pub(crate) failure: Arc<OnceLock<String>>,
}

impl Shared {
    pub(crate) fn new(loaded: &Loaded, failure: Arc<OnceLock<String>>) -> Self {
        Self {
            tail: Mutex::new(Tail::new(loaded.vote, loaded.purged, loaded.last)),
            committed: Mutex::new(loaded.committed),
            failure,
        }
    }

    /// The tail. A panic elsewhere cannot leave it half changed: each method is one step.
    pub(crate) fn tail(&self) -> std::sync::MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn committed(&self) -> std::sync::MutexGuard<'_, Option<LogId>> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever waits for a transaction.
enum Waiter {
    Entries { generation: u64, next: Option<u64>, flushed: IOFlushed<Types> },
    Vote(oneshot::Sender<Result<(), String>>),
}

pub(crate) struct Writer {
    store: Arc<Store>,
    shared: Arc<Shared>,
    ops: mpsc::Receiver<Op>,
    /// Last entry in the file; the committed mark never points behind it.
    written: Option<u64>,
    /// The committed mark in the file.
    marked: Option<LogId>,
}

impl Writer {
    pub(crate) fn new(
        store: Arc<Store>,
        shared: Arc<Shared>,
        ops: mpsc::Receiver<Op>,
        loaded: &Loaded,
    ) -> Self {
        let written = loaded.last.as_ref().map(|id| id.index);
        Self { store, shared, ops, written, marked: loaded.committed }
    }

    /// Writes until nobody can hand in anything any more.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.ops.blocking_recv() {
            let mut batch = Batch::default();
            batch.add(first);
            while batch.bytes < BATCH_BYTES
                && let Ok(op) = self.ops.try_recv()
            {
                batch.add(op);
            }
            self.write(batch);
        }
        self.write(Batch::default());
    }

    fn write(&mut self, mut batch: Batch) {
        if let Some(reason) = self.shared.failure.get() {
            batch.fail(reason);
            return;
        }
        let written = batch.written(self.written);
        let committed = *self.shared.committed();
        let mark = committed.filter(|id| Some(id.index) <= written && committed > self.marked);
        if let Some(mark) = mark {
            batch.changes.push(Change::Committed(mark));
        }
        if batch.changes.is_empty() && batch.error.is_none() {
            batch.succeed(&self.shared);
            return;
        }
        let result = match batch.error.take() {
            Some(error) => Err(error),
            // A damaged file can make redb panic; to whoever waits that is a failed write like any other.
            None => catch_unwind(AssertUnwindSafe(|| self.store.commit(&batch.changes)))
                .map_err(|_| {
                    format!("writing `{}` failed unexpectedly", self.store.path().display())
                })
                .and_then(|result| result.map_err(|error| error.to_string())),
        };
        match result {
            Ok(()) => {
                self.written = written;
                self.marked = mark.or(self.marked);
                batch.succeed(&self.shared);
            }
            Err(reason) => {
                tracing::error!(%reason, "the raft log takes no more writes");
                let _ = self.shared.failure.set(reason.clone());
                batch.fail(&reason);
            }
        }
    }
}

#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    waiters: Vec<Waiter>,
    bytes: usize,
    error: Option<String>,
}

impl Batch {
    fn add(&mut self, op: Op) {
        match op {
            Op::Append { generation, entries, flushed } => {
                let next = entries.last().map(|entry| entry.log_id.index + 1);
                for entry in entries {
                    let index = entry.log_id.index;
                    match encode_entry(&entry) {
                        Ok(bytes) => {
                            self.bytes += bytes.len();
                            self.changes.push(Change::Append { index, bytes });
                        }
                        Err(error) => {
                            self.error = Some(format!("entry {index} cannot be written: {error}"));
                        }
                    }
                }
                self.waiters.push(Waiter::Entries { generation, next, flushed });
            }
            Op::Vote { vote, done } => {
                self.changes.push(Change::Vote(vote));
                self.waiters.push(Waiter::Vote(done));
            }
            Op::Truncate { from } => self.changes.push(Change::Truncate { from }),
            Op::Purge(upto) => self.changes.push(Change::Purge(upto)),
        }
    }

    /// The last entry in the file once the changes are made.
    fn written(&self, before: Option<u64>) -> Option<u64> {
        self.changes.iter().fold(before, |last, change| match change {
            Change::Append { index, .. } => Some(*index),
            Change::Truncate { from } => last.min(from.checked_sub(1)),
            Change::Purge(upto) => last.max(Some(upto.index)),
            Change::Vote(_) | Change::Committed(_) => last,
        })
    }

    fn succeed(self, shared: &Shared) {
        for waiter in self.waiters {
            match waiter {
                Waiter::Entries { generation, next, flushed } => {
                    if let Some(next) = next {
                        shared.tail().durable(generation, next);
                    }
                    flushed.io_completed(Ok(()));
                }
                Waiter::Vote(done) => {
                    let _ = done.send(Ok(()));
                }
            }
        }
    }

    fn fail(self, reason: &str) {
        for waiter in self.waiters {
            match waiter {
                Waiter::Entries { flushed, .. } => {
                    flushed.io_completed(Err(std::io::Error::other(reason.to_owned())));
                }
                Waiter::Vote(done) => {
                    let _ = done.send(Err(reason.to_owned()));
                }
            }
        }
    }
}
