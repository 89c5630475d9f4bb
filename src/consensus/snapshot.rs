//! Snapshots on disk: whole, flushed and named before anyone relies on them; the newest two are kept.
//!
//! A file: magic (8 bytes), format (4), length of the header (4), length of the body (8), checksum over header and body
//! (4), the header (which entry, which members), the body (the state as it writes itself).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use state::State;

use crate::error::ConsensusError;
use crate::record::{decode_meta, encode_meta};
use crate::types::{LogId, SnapshotMeta};

const MAGIC: &[u8; 8] = b"HERDSNAP";
/// The format of the file around the state, which has its own.
const FORMAT: u32 = 1;
const HEADER: usize = 28;
/// How many are kept.
const KEEP: usize = 2;
/// The largest snapshot that is read.
pub(crate) const MAX_BYTES: u64 = 4 << 30;

/// A snapshot file, open. It stays readable while open, even after newer ones took its place.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotData {
    file: Arc<File>,
    path: PathBuf,
}

/// A snapshot that was read and checked.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) meta: SnapshotMeta,
    pub(crate) state: State,
    pub(crate) data: SnapshotData,
}

/// The folder of snapshots.
#[derive(Debug)]
pub(crate) struct Snapshots {
    dir: PathBuf,
    /// The newest, and the one before for those who are just reading it.
    newest: Mutex<Vec<(SnapshotMeta, SnapshotData)>>,
}

impl SnapshotData {
    /// Opens a file; nothing is checked yet.
    pub(crate) fn open(path: &Path) -> Result<Self, ConsensusError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        Ok(Self { file: Arc::new(file), path: path.to_owned() })
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> Result<u64, ConsensusError> {
        Ok(self.file.metadata().map_err(io_error("look at", &self.path))?.len())
    }

    /// A piece of the file; shorter than asked for only at its end.
    pub(crate) fn piece(&self, offset: u64, length: usize) -> Result<Vec<u8>, ConsensusError> {
        let rest = self.length()?.saturating_sub(offset);
        let length = length.min(usize::try_from(rest).unwrap_or(usize::MAX));
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).map_err(io_error("read", &self.path))?;
        Ok(bytes)
    }

    /// The whole content, checked.
    pub(crate) fn restore(&self) -> Result<Restored, ConsensusError> {
        let damaged = |what: String| ConsensusError::Damaged { path: self.path.clone(), what };
        let read = io_error("read", &self.path);
        let length = self.file.metadata().map_err(&read)?.len();
        if length > MAX_BYTES {
            return Err(damaged(format!("it has {length} bytes, more than any snapshot")));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, 0).map_err(&read)?;
        let short = || damaged("it is cut short".to_owned());
        let (header, content) = bytes.split_first_chunk::<HEADER>().ok_or_else(short)?;
        let (magic, numbers) = header.split_at(MAGIC.len());
        let word = |at: usize| -> u32 {
            let bytes = numbers.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        if magic != MAGIC {
            return Err(damaged("it is not a snapshot".to_owned()));
        }
        if word(0) != FORMAT {
            return Err(ConsensusError::Format {
                path: self.path.clone(),
                found: word(0).into(),
                supported: FORMAT.into(),
            });
        }
        let meta_length = word(4) as usize;
        let body_length = (u64::from(word(12)) << 32) | u64::from(word(8));
        if content.len() as u64 != body_length.saturating_add(meta_length as u64) {
            return Err(short());
        }
        if crc32fast::hash(content) != word(16) {
            return Err(damaged(
                "its checksum does not match, some byte changed since it was written".to_owned(),
            ));
        }
        let (meta, body) = content.split_at_checked(meta_length).ok_or_else(short)?;
        let meta = decode_meta(meta).map_err(|error| damaged(format!("its header: {error}")))?;
        let state = State::from_bytes(body).map_err(|error| damaged(error.to_string()))?;
        Ok(Restored { meta, state, data: self.clone() })
    }
}

fn io_error(what: &'static str, path: &Path) -> impl Fn(io::Error) -> ConsensusError {
    let path = path.to_owned();
    move |source| ConsensusError::Io { what, path: path.clone(), source }
}

fn name(last: Option<&LogId>) -> String {
    // Sorts by age.
    let (index, term, node) =
        last.map_or((0, 0, 0), |id| (id.index, id.leader_id.term, id.leader_id.node_id));
    format!("{term:020}-{index:020}-{node}")
}

impl Snapshots {
    /// Opens the folder and reads the newest snapshot that is whole. `purged` is the last entry that the log does not
    /// have any more: a snapshot older than that is no help.
    pub(crate) fn open(
        dir: PathBuf,
        purged: Option<&LogId>,
    ) -> Result<(Self, Option<Restored>), ConsensusError> {
        fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
        for path in files(&dir, "tmp")? {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
        let mut first_error = None;
        let mut restored = None;
        for path in files(&dir, "snap")?.into_iter().rev() {
            match SnapshotData::open(&path).and_then(|data| data.restore()) {
                Ok(found) => {
                    restored = Some(found);
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, "a snapshot is not usable, trying the one before");
                    first_error.get_or_insert((path, error));
                }
            }
        }
        let reached = restored.as_ref().and_then(|found| found.meta.last_log_id.as_ref());
        if reached.map(|id| id.index) < purged.map(|id| id.index) {
            return Err(first_error.map_or_else(
                || ConsensusError::Damaged {
                    path: dir.clone(),
                    what: "the snapshot that the log begins at is missing".to_owned(),
                },
                |(_, error)| error,
            ));
        }
        if let Some((path, _)) = first_error {
            // Out of the way, so that it does not count as one of those to keep; not removed, it may be evidence.
            let aside = path.with_extension("damaged");
            fs::rename(&path, &aside).map_err(io_error("rename", &path))?;
        }
        let newest =
            restored.iter().map(|found| (found.meta.clone(), found.data.clone())).collect();
        Ok((Self { dir, newest: Mutex::new(newest) }, restored))
    }

    /// The newest.
    pub(crate) fn current(&self) -> Option<(SnapshotMeta, SnapshotData)> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }

    /// The one that ends at this entry, if it is among the newest.
    pub(crate) fn find(&self, last: &LogId) -> Option<SnapshotData> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let found = newest.iter().find(|(meta, _)| meta.last_log_id.as_ref() == Some(last));
        found.map(|(_, data)| data.clone())
    }

    /// A place for what is being received. Leftovers are removed when the folder is opened again.
    pub(crate) fn incoming(&self, name: &str) -> PathBuf {
        self.dir.join(format!("incoming-{name}.tmp"))
    }

    /// Writes a snapshot and makes it the newest. Blocks; it is on disk when this returns.
    pub(crate) fn write(
        &self,
        meta: &SnapshotMeta,
        state: &State,
    ) -> Result<SnapshotData, ConsensusError> {
        let name = name(meta.last_log_id.as_ref());
        let temporary = self.dir.join(format!("{name}.tmp"));
        let path = self.dir.join(format!("{name}.snap"));
        let unusable = |what: String| ConsensusError::Log {
            what: "written as a snapshot",
            path: path.clone(),
            reason: what,
        };
        let header = encode_meta(meta).map_err(|error| unusable(error.to_string()))?;
        let body = state.to_bytes().map_err(|error| unusable(error.to_string()))?;
        let meta_length =
            u32::try_from(header.len()).map_err(|error| unusable(error.to_string()))?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&header);
        checksum.update(&body);

        let failed = io_error("write", &temporary);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(MAGIC)?;
            file.write_all(&FORMAT.to_le_bytes())?;
            file.write_all(&meta_length.to_le_bytes())?;
            file.write_all(&(body.len() as u64).to_le_bytes())?;
            file.write_all(&checksum.finalize().to_le_bytes())?;
            file.write_all(&header)?;
            file.write_all(&body)?;
            file.sync_all()
        };
        write().map_err(failed)?;
        fs::rename(&temporary, &path).map_err(io_error("rename", &temporary))?;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(io_error("flush", &self.dir))?;
        let data = SnapshotData::open(&path)?;
        {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            if newest.first().is_none_or(|(held, _)| held.last_log_id <= meta.last_log_id) {
                newest.insert(0, (meta.clone(), data.clone()));
                newest.truncate(KEEP);
            }
        }
        self.prune();
        Ok(data)
    }

    /// Removes all but the newest. One that cannot be removed costs room, nothing else.
    fn prune(&self) {
        let Ok(paths) = files(&self.dir, "snap") else { return };
        for path in paths.iter().rev().skip(KEEP) {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "an old snapshot could not be removed");
            }
        }
    }
}

/// Files with this extension, oldest first.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, ConsensusError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let path = entry.map_err(io_error("list", dir))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::log_id;

    fn meta(index: u64) -> SnapshotMeta {
        SnapshotMeta { last_log_id: Some(log_id(1, 1, index)), ..SnapshotMeta::default() }
    }

    fn kept(dir: &Path) -> usize {
        files(dir, "snap").expect("the folder can be listed").len()
    }

    #[test]
    fn the_newest_two_are_kept_and_the_newest_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let (snapshots, none) = Snapshots::open(dir.path().to_owned(), None).expect("it opens");
        assert!(none.is_none());
        for index in 1..=5 {
            snapshots.write(&meta(index), &State::default()).expect("it is written");
        }
        assert_eq!(kept(dir.path()), KEEP);
        let (_, restored) = Snapshots::open(dir.path().to_owned(), None).expect("it opens");
        assert_eq!(restored.expect("there is one").meta, meta(5));
    }

    #[test]
    fn a_flipped_byte_falls_back_or_is_reported() {
        let dir = tempfile::tempdir().expect("a folder");
        let (snapshots, _) = Snapshots::open(dir.path().to_owned(), None).expect("it opens");
        snapshots.write(&meta(3), &State::default()).expect("it is written");
        let newest = snapshots.write(&meta(9), &State::default()).expect("it is written").path;
        let whole = fs::read(&newest).expect("it can be read");
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            fs::write(&newest, &broken).expect("it can be written");
            let data = SnapshotData::open(&newest).expect("it opens");
            assert!(data.restore().is_err(), "byte {at}");
        }
        let purged = log_id(1, 1, 5);
        let error = Snapshots::open(dir.path().to_owned(), Some(&purged)).expect_err("too old");
        assert!(error.to_string().contains("0009-1.snap"), "{error}");
        let (_, restored) =
            Snapshots::open(dir.path().to_owned(), Some(&log_id(1, 1, 3))).expect("it opens");
        assert_eq!(restored.expect("the older one").meta, meta(3));
        assert_eq!(kept(dir.path()), 1, "the damaged one is put aside");
    }

    #[test]
    fn a_missing_snapshot_is_not_an_empty_state() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = Snapshots::open(dir.path().to_owned(), Some(&log_id(1, 1, 5)));
        assert!(matches!(error, Err(ConsensusError::Damaged { .. })));
    }
}
