//! What must survive the agent: one file for each allocation, written before and after each act that matters.
//!
//! A file is replaced whole (write, fsync, rename, fsync of the directory), so that after a crash there is the old one or
//! the new one. A file that cannot be read is set aside, never overwritten, and its tasks are left alone.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{AllocId, Allocation, CheckState, JobVersion};
use serde::{Deserialize, Serialize};

use crate::health::Gate;
use crate::lifecycle::Lifecycle;

/// The format that is written.
const VERSION: u32 = 1;

/// The largest record that is read; a job is at most a few hundred kilobytes.
const MAX_BYTES: u64 = 16 << 20;

/// An allocation as its node remembers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The format.
    pub version: u32,
    /// The allocation as last assigned.
    pub alloc: Arc<Allocation>,
    /// The version it runs.
    pub job: Arc<JobVersion>,
    /// Its tasks.
    pub lifecycle: Lifecycle,
    /// The deployment's gate.
    #[serde(default)]
    pub gate: Option<Gate>,
    /// Its checks as last reported.
    #[serde(default)]
    pub checks: BTreeMap<String, CheckState>,
    /// Whether the node removed its files by itself.
    #[serde(default)]
    pub collected: bool,
    /// Whether some of the node's cores were not for its tasks at any time since it began: they may still run on fewer
    /// than there are for them now.
    #[serde(default)]
    pub narrowed: bool,
}

impl Record {
    pub(crate) const fn new(
        alloc: Arc<Allocation>,
        job: Arc<JobVersion>,
        lifecycle: Lifecycle,
    ) -> Self {
        Self {
            version: VERSION,
            alloc,
            job,
            lifecycle,
            gate: None,
            checks: BTreeMap::new(),
            collected: false,
            narrowed: false,
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, RecordError> {
        self.json(self)
    }

    /// The part that changes while the job stays: small, and enough to tell whether the record must be written again.
    pub(crate) fn encode_moving(&self) -> Result<Vec<u8>, RecordError> {
        self.json(&(&self.lifecycle, &self.gate, &self.checks, self.collected, self.narrowed))
    }

    fn json(&self, value: &impl Serialize) -> Result<Vec<u8>, RecordError> {
        serde_json::to_vec(value).map_err(|error| RecordError::Encode {
            alloc: self.alloc.id,
            problem: error.to_string(),
        })
    }
}

/// A record could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The disk refused.
    #[error("cannot {act} {path}: {source}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The record has no JSON form.
    #[error("the record of allocation {alloc} cannot be written as JSON: {problem}")]
    Encode {
        /// Which.
        alloc: AllocId,
        /// Why.
        problem: String,
    },
}

/// Where records are kept.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    damaged: PathBuf,
}

/// What was found when the agent started.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Good records.
    pub records: Vec<Record>,
    /// Files set aside, with the allocation that the file's name says and why.
    pub damaged: Vec<(Option<AllocId>, String)>,
}

impl Store {
    /// Opens the records under `data_dir`, making the directories.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, RecordError> {
        let dir = data_dir.join("client/allocs");
        let damaged = data_dir.join("client/damaged");
        for path in [&dir, &damaged] {
            // Job files can hold what should have been a secret.
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(io_error("make", path))?;
        }
        Ok(Self { dir, damaged })
    }

    /// Replaces a record. Blocks until it is safe on the disk.
    pub(crate) fn save(&self, alloc: AllocId, bytes: &[u8]) -> Result<(), RecordError> {
        let path = self.path(alloc);
        let fresh = path.with_extension("new");
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
                .open(&fresh)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(io_error("write", &path))
    }

    /// Removes a record; one that is gone is fine.
    pub(crate) fn remove(&self, alloc: AllocId) -> Result<(), RecordError> {
        let path = self.path(alloc);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Reads every record. One that is damaged is set aside and the rest go on.
    pub(crate) fn load(&self) -> Result<Found, RecordError> {
        let mut found = Found::default();
        let entries = fs::read_dir(&self.dir).map_err(io_error("list", &self.dir))?;
        for entry in entries {
            let path = entry.map_err(io_error("list", &self.dir))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => {}
                // Half of a write that a crash cut short; the record itself is whole.
                Some("new") => {
                    let _ = fs::remove_file(&path);
                    continue;
                }
                _ => continue,
            }
            let named = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            match read(&path, named) {
                Ok(record) => found.records.push(record),
                Err(problem) => {
                    if let Some(name) = path.file_name() {
                        let aside = self.damaged.join(name);
                        fs::rename(&path, &aside).map_err(io_error("set aside", &path))?;
                    }
                    found.damaged.push((named, format!("{}: {problem}", path.display())));
                }
            }
        }
        found.records.sort_by_key(|record| record.alloc.id);
        Ok(found)
    }

    fn path(&self, alloc: AllocId) -> PathBuf {
        self.dir.join(format!("{alloc}.json"))
    }
}

fn read(path: &Path, named: Option<AllocId>) -> Result<Record, String> {
    let mut bytes = Vec::new();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(|error| error.to_string())?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if record.version > VERSION {
        return Err(format!("it was written by a newer agent (format {})", record.version));
    }
    if named != Some(record.alloc.id) {
        return Err(format!(
            "it holds allocation {}, not the one it is named for",
            record.alloc.id
        ));
    }
    if record.job.job.group(&record.alloc.group).is_none() {
        return Err(format!("its job has no group `{}`", record.alloc.group));
    }
    Ok(record)
}

fn io_error<'a>(act: &'static str, path: &'a Path) -> impl Fn(io::Error) -> RecordError + 'a {
    move |source| RecordError::Io { act, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use model::{Group, Job, Timestamp};

    use super::*;

    fn record(name: &[u8]) -> Record {
        let group = Group { name: "g".into(), ..Group::default() };
        let job = Job { task_groups: vec![group.clone()], ..Job::default() };
        let alloc = Allocation {
            id: AllocId::new(model::seeded_uuid(&[name])),
            group: "g".into(),
            ..Allocation::default()
        };
        let version = JobVersion { job: Arc::new(job), ..JobVersion::default() };
        let lifecycle = Lifecycle::new(&group, false, Timestamp::from_secs(1));
        Record::new(Arc::new(alloc), Arc::new(version), lifecycle)
    }

    fn save(store: &Store, record: &Record) {
        store.save(record.alloc.id, &record.encode().expect("JSON")).expect("saved");
    }

    #[test]
    fn records_survive() {
        let data = tempfile::tempdir().expect("a directory");
        let store = Store::open(data.path()).expect("a store");
        let (one, two) = (record(b"1"), record(b"2"));
        save(&store, &one);
        save(&store, &two);
        save(&store, &two);
        store.remove(one.alloc.id).expect("removed");
        store.remove(one.alloc.id).expect("removed twice");
        let found = Store::open(data.path()).expect("a store").load().expect("a list");
        assert_eq!(found.records, [two]);
        assert!(found.damaged.is_empty());
    }

    #[test]
    fn a_damaged_record_is_set_aside_and_the_rest_goes_on() {
        let data = tempfile::tempdir().expect("a directory");
        let store = Store::open(data.path()).expect("a store");
        let (good, bad, foreign) = (record(b"1"), record(b"2"), record(b"3"));
        save(&store, &good);
        let bytes = bad.encode().expect("JSON");
        store.save(bad.alloc.id, &bytes[..bytes.len() / 2]).expect("saved");
        store.save(foreign.alloc.id, &good.encode().expect("JSON")).expect("saved");
        fs::write(store.dir.join("x.new"), "half").expect("a file");
        let found = store.load().expect("a list");
        assert_eq!(found.records, [good]);
        let mut damaged: Vec<_> = found.damaged.iter().filter_map(|(alloc, _)| *alloc).collect();
        damaged.sort();
        let mut expected = [bad.alloc.id, foreign.alloc.id];
        expected.sort();
        assert_eq!(damaged, expected);
        assert!(store.damaged.join(format!("{}.json", bad.alloc.id)).exists());
        assert!(store.load().expect("a list").damaged.is_empty());
    }
}
