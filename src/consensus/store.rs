//! The log's file: two tables in redb, checked from end to end when it is opened.

use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};
use tokio::sync::oneshot;

use crate::backend::Backend;
use crate::counters::Counters;
use crate::error::ConsensusError;
use crate::guard::DirGuard;
use crate::record::{
    RecordError, check_entry, decode_entry, decode_mark, encode_mark, id_fields, id_from,
    vote_fields, vote_from,
};
use crate::types::{Entry, LogId, Vote};

/// The format of the file as a whole. A change that old versions cannot read raises it.
pub(crate) const STORE_FORMAT: u64 = 1;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const MARKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("marks");

const IDENTITY: &str = "identity";
const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";

/// Pages that redb keeps in memory; the log is written far more than read.
const CACHE_BYTES: usize = 8 << 20;

/// An open log. The order of the fields is the order of closing: the file, then the directory, then whoever waits.
pub(crate) struct Store {
    database: Database,
    path: PathBuf,
    counters: Arc<Counters>,
    _guard: DirGuard,
    _closed: oneshot::Sender<()>,
}

/// What an opened log holds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Loaded {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
}

/// One change of the log. Changes are applied in order.
#[derive(Debug)]
pub(crate) enum Change {
    Append { index: u64, bytes: Vec<u8> },
    Truncate { from: u64 },
    Purge(LogId),
    Vote(Vote),
    Committed(LogId),
}

impl Store {
    /// Opens or creates the log in `dir`, which `guard` holds.
    pub(crate) fn open(
        dir: &Path,
        node: u64,
        guard: DirGuard,
        counters: Arc<Counters>,
        closed: oneshot::Sender<()>,
        #[cfg(test)] faults: Arc<crate::backend::Faults>,
    ) -> Result<(Self, Loaded), ConsensusError> {
        let path = dir.join("log.redb");
        let fresh = dir.join("log.redb.new");
        let io = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| ConsensusError::Io { what, path, source }
        };
        let exists = path.try_exists().map_err(io("look at", &path))?;
        let target = if exists { &path } else { &fresh };
        // A new file gets its name only when it is whole: half of one would be taken for damage.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(!exists)
            .truncate(!exists)
            .open(target)
            .map_err(io("open", target))?;
        let failed = |what: &'static str| {
            let path = path.clone();
            move |error: redb::Error| redb_error(what, &path, &error)
        };
        let backend = Backend::new(
            file,
            counters.clone(),
            #[cfg(test)]
            faults,
        )
        .map_err(|error| failed("opened")(error.into()))?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(|error| failed("opened")(error.into()))?;
        let store = Self { database, path: path.clone(), counters, _guard: guard, _closed: closed };
        if !exists {
            store.initialise(node).map_err(failed("created"))?;
            fs::rename(&fresh, &path).map_err(io("rename", &fresh))?;
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("flush", dir))?;
            return Ok((store, Loaded::default()));
        }
        let loaded = store.load(node)?;
        Ok((store, loaded))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn initialise(&self, node: u64) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            transaction.open_table(LOG)?;
            let mut marks = transaction.open_table(MARKS)?;
            let identity = encode_mark(IDENTITY, [STORE_FORMAT, node]);
            marks.insert(IDENTITY, identity.as_slice())?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Reads the marks and checks every entry: what is damaged is found now, not when it is needed.
    fn load(&self, node: u64) -> Result<Loaded, ConsensusError> {
        let failed = |error: redb::Error| redb_error("read", &self.path, &error);
        let damaged = |what: String| ConsensusError::Damaged { path: self.path.clone(), what };
        let transaction = self.database.begin_read().map_err(|error| failed(error.into()))?;
        let marks = transaction.open_table(MARKS).map_err(|error| failed(error.into()))?;
        let bad_mark = |name: &str, error: &RecordError| match error {
            RecordError::Format(found) => ConsensusError::Format {
                path: self.path.clone(),
                found: u64::from(*found),
                supported: STORE_FORMAT,
            },
            error => damaged(format!("the mark `{name}` is not usable: {error}")),
        };
        let identity = marks
            .get(IDENTITY)
            .map_err(|error| failed(error.into()))?
            .ok_or_else(|| damaged("it does not say what it is".to_owned()))?;
        let [format, owner] =
            decode_mark(IDENTITY, identity.value()).map_err(|error| bad_mark(IDENTITY, &error))?;
        if format != STORE_FORMAT {
            return Err(ConsensusError::Format {
                path: self.path.clone(),
                found: format,
                supported: STORE_FORMAT,
            });
        }
        if owner != node {
            return Err(ConsensusError::OtherNode {
                path: self.path.clone(),
                found: owner,
                wanted: node,
            });
        }
        let mark = |name: &'static str| -> Result<Option<[u64; 3]>, ConsensusError> {
            let bytes = marks.get(name).map_err(|error| failed(error.into()))?;
            bytes
                .map(|bytes| decode_mark(name, bytes.value()))
                .transpose()
                .map_err(|error| bad_mark(name, &error))
        };
        let vote = mark(VOTE)?.map(vote_from);
        let committed = mark(COMMITTED)?.map(id_from);
        let purged = mark(PURGED)?.map(id_from);

        let log = transaction.open_table(LOG).map_err(|error| failed(error.into()))?;
        let mut last = purged;
        let count = log.len().map_err(|error| failed(error.into()))?;
        tracing::debug!(count, path = %self.path.display(), "checking the raft log");
        for item in log.iter().map_err(|error| failed(error.into()))? {
            let (index, bytes) = item.map_err(|error| failed(error.into()))?;
            let index = index.value();
            // Only the first log of all begins without a mark.
            let expected = last.as_ref().map_or(0, |id| id.index + 1);
            if index != expected {
                return Err(damaged(format!("entry {expected} is missing before entry {index}")));
            }
            let id = check_entry(index, bytes.value())
                .map_err(|error| damaged(format!("entry {index} is not usable: {error}")))?;
            if last.as_ref().is_some_and(|last| last.leader_id > id.leader_id) {
                return Err(damaged(format!("entry {index} is older than the one before")));
            }
            last = Some(id);
        }
        if committed.as_ref().map(|id| id.index) > last.as_ref().map(|id| id.index) {
            return Err(damaged("the last committed entry is missing".to_owned()));
        }
        Ok(Loaded { vote, committed, purged, last })
    }

    /// Entries from the start of `range` until `budget` bytes are reached; an error if one is damaged.
    pub(crate) fn read(
        &self,
        range: Range<u64>,
        budget: usize,
    ) -> Result<Vec<Entry>, ConsensusError> {
        let failed = |error: redb::Error| redb_error("read", &self.path, &error);
        let damaged = |what: String| ConsensusError::Damaged { path: self.path.clone(), what };
        let transaction = self.database.begin_read().map_err(|error| failed(error.into()))?;
        let log = transaction.open_table(LOG).map_err(|error| failed(error.into()))?;
        let mut entries = Vec::new();
        let mut size = 0;
        for item in log.range(range).map_err(|error| failed(error.into()))? {
            let (index, bytes) = item.map_err(|error| failed(error.into()))?;
            let index = index.value();
            let entry = decode_entry(index, bytes.value())
                .map_err(|error| damaged(format!("entry {index} is not usable: {error}")))?;
            size += bytes.value().len();
            entries.push(entry);
            if size >= budget {
                break;
            }
        }
        Ok(entries)
    }

    /// Makes the changes, all or none. They are on disk when this returns.
    pub(crate) fn commit(&self, changes: &[Change]) -> Result<(), ConsensusError> {
        let entries =
            self.write(changes).map_err(|error| redb_error("written", &self.path, &error))?;
        self.counters.committed(entries);
        Ok(())
    }

    fn write(&self, changes: &[Change]) -> Result<u64, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut entries = 0;
        {
            let mut log = transaction.open_table(LOG)?;
            let mut marks = transaction.open_table(MARKS)?;
            for change in changes {
                match change {
                    Change::Append { index, bytes } => {
                        log.insert(index, bytes.as_slice())?;
                        entries += 1;
                    }
                    Change::Truncate { from } => log.retain_in(*from.., |_, _| false)?,
                    Change::Purge(upto) => {
                        log.retain_in(..=upto.index, |_, _| false)?;
                        marks.insert(PURGED, encode_mark(PURGED, id_fields(upto)).as_slice())?;
                    }
                    Change::Vote(vote) => {
                        marks.insert(VOTE, encode_mark(VOTE, vote_fields(vote)).as_slice())?;
                    }
                    Change::Committed(id) => {
                        let bytes = encode_mark(COMMITTED, id_fields(id));
                        marks.insert(COMMITTED, bytes.as_slice())?;
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(entries)
    }
}

fn redb_error(what: &'static str, path: &Path, error: &redb::Error) -> ConsensusError {
    let path = path.to_owned();
    match error {
        redb::Error::Corrupted(what) => ConsensusError::Damaged { path, what: what.clone() },
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => {
            let reason = "the disk is full; make room and restart the agent".to_owned();
            ConsensusError::Log { what, path, reason }
        }
        error => ConsensusError::Log { what, path, reason: error.to_string() },
    }
}

/// The mark that says which format and whose log it is; for tests that forge one.
#[cfg(test)]
pub(crate) fn forge_identity(path: &Path, format: u64, node: u64) {
    let database = Database::create(path).expect("the log opens");
    let transaction = database.begin_write().expect("a transaction begins");
    {
        let mut marks = transaction.open_table(MARKS).expect("the table opens");
        let identity = encode_mark(IDENTITY, [format, node]);
        marks.insert(IDENTITY, identity.as_slice()).expect("it is written");
    }
    transaction.commit().expect("it commits");
}
