//! How far each stream was sent: one small file per allocation, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use driver::{LogPosition, LogStream};
use model::AllocId;

/// The most that is read of a file.
const LIMIT: u64 = 1024 * 1024;

/// The streams of one allocation: `web.stdout` to its place.
type Streams = BTreeMap<String, LogPosition>;

/// Places by allocation, in memory as far as they were asked for.
#[derive(Debug)]
pub(super) struct Positions {
    dir: PathBuf,
    known: BTreeMap<AllocId, Streams>,
}

impl Positions {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self { dir: dir.to_owned(), known: BTreeMap::new() })
    }

    fn path(&self, alloc: AllocId) -> PathBuf {
        self.dir.join(format!("{alloc}.json"))
    }

    fn streams(&mut self, alloc: AllocId) -> &mut Streams {
        let path = self.path(alloc);
        self.known.entry(alloc).or_insert_with(|| load(&path).unwrap_or_default())
    }

    /// Where a stream goes on; `None` at its beginning.
    pub(super) fn get(
        &mut self,
        alloc: AllocId,
        task: &str,
        stream: LogStream,
    ) -> Option<LogPosition> {
        self.streams(alloc).get(&key(task, stream)).copied()
    }

    pub(super) fn set(&mut self, alloc: AllocId, task: &str, stream: LogStream, at: LogPosition) {
        self.streams(alloc).insert(key(task, stream), at);
    }

    /// Stores an allocation's places.
    pub(super) fn save(&self, alloc: AllocId) -> io::Result<()> {
        let Some(streams) = self.known.get(&alloc) else { return Ok(()) };
        let (path, temporary) = (self.path(alloc), self.dir.join(format!(".{alloc}.new")));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec(streams)?)?;
        fs::rename(temporary, path)
    }

    /// Forgets all allocations but these.
    pub(super) fn retain(&mut self, keep: impl Fn(AllocId) -> bool) {
        self.known.retain(|alloc, _| keep(*alloc));
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let alloc = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            if alloc.is_some_and(|alloc| !keep(alloc)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn key(task: &str, stream: LogStream) -> String {
    format!("{task}.{}", stream.as_str())
}

fn load(path: &Path) -> Option<Streams> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}
