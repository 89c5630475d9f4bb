//! Writes a stream into numbered files of bounded size.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::LogConfig;

use super::directory::{LogDir, is_foreign};
use super::{LogError, LogStream, prefix};

/// How many names that something stands in the place of are passed over at once.
const TAKEN: u64 = 1024;

/// Appends a task's output to its newest file and keeps the newest `max_files`.
///
/// A full disk never stops the task: what cannot be written is dropped, counted, and noted in the log as soon as
/// something can be written again.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    prefix: String,
    max_size: u64,
    max_files: u64,
    dir: Option<LogDir>,
    index: u64,
    size: u64,
    file: Option<File>,
    /// Where each file begins, counted from the stream's first byte.
    begins: BTreeMap<u64, u64>,
    /// What of a note is still to be written.
    note: Vec<u8>,
    /// Bytes lost since the last note.
    unnoted: u64,
    dropped: u64,
}

impl LogWriter {
    /// Goes on in the newest file there is. Touches the disk only to look; files come with the first byte.
    pub fn new(
        dir: &Path,
        task: &str,
        stream: LogStream,
        config: &LogConfig,
    ) -> Result<Self, LogError> {
        let failed = |source| LogError::Io { path: dir.to_owned(), source };
        let prefix = prefix(task, stream)?;
        let open = match LogDir::open(dir) {
            Ok(open) => Some(open),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let mut begins = BTreeMap::new();
        let (mut index, mut size) = (0, 0);
        if let Some(open) = &open {
            let stored = open.offsets(&prefix);
            let mut begin = 0;
            for (found, length) in open.files(&prefix).map_err(failed)? {
                begin = stored.get(&found).copied().unwrap_or(begin);
                begins.insert(found, begin);
                begin = begin.saturating_add(length);
                (index, size) = (found, length);
            }
        }
        Ok(Self {
            path: dir.to_owned(),
            prefix,
            max_size: config.max_file_size_mb.max(1).saturating_mul(1024 * 1024),
            max_files: u64::from(config.max_files.max(1)),
            dir: open,
            index,
            size,
            file: None,
            begins,
            note: Vec::new(),
            unnoted: 0,
            dropped: 0,
        })
    }

    /// Writers of a task's two outputs.
    pub(crate) fn both(
        dir: &Path,
        task: &str,
        config: &LogConfig,
    ) -> Result<[(LogStream, Self); 2], LogError> {
        let stdout = Self::new(dir, task, LogStream::Stdout, config)?;
        let mut stderr = Self::new(dir, task, LogStream::Stderr, config)?;
        stderr.dir.clone_from(&stdout.dir);
        Ok([(LogStream::Stdout, stdout), (LogStream::Stderr, stderr)])
    }

    /// A writer whose files hold `bytes` each, for tests of rotation.
    #[cfg(test)]
    pub(crate) fn with_max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// The file being written and how much is in it.
    pub fn position(&self) -> (u64, u64) {
        (self.index, self.size)
    }

    /// Bytes that were lost because nothing could be written.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends `bytes`, or drops what the disk does not take. With no bytes, only tries to note what was dropped.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.write_notes().is_err() {
            self.lose(bytes.len() as u64);
            return;
        }
        if let Err((written, _)) = self.append(bytes) {
            self.lose((bytes.len() - written) as u64);
        }
    }

    /// Says in the log that something is missing there which never came here, in a line of its own.
    pub fn write_note(&mut self, words: &str) {
        if self.note.is_empty() {
            self.note = format!("\n[herder: {words}]\n").into_bytes();
        }
        let _ = self.write_notes();
    }

    /// Writes what is to be said of losses. A note that the disk took half of goes on where it broke off.
    fn write_notes(&mut self) -> Result<(), ()> {
        while !self.note.is_empty() || self.unnoted > 0 {
            if self.note.is_empty() {
                let words = format!("{} bytes of output were lost here", self.unnoted);
                self.note = format!("\n[herder: {words}]\n").into_bytes();
                self.unnoted = 0;
            }
            let note = std::mem::take(&mut self.note);
            if let Err((written, _)) = self.append(&note) {
                self.note = note.get(written..).unwrap_or_default().to_owned();
                return Err(());
            }
        }
        Ok(())
    }

    fn lose(&mut self, bytes: u64) {
        self.unnoted += bytes;
        self.dropped += bytes;
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let done = bytes.len() - rest.len();
            let wrote = self.append_some(rest);
            match wrote {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    use io::ErrorKind::{NotFound, QuotaExceeded, StorageFull};
                    if !matches!(error.kind(), StorageFull | QuotaExceeded) {
                        self.file = None;
                    }
                    // Somebody removed the directory; look again next time. One that was renamed is still ours.
                    if error.kind() == NotFound {
                        self.dir = None;
                    }
                    return Err((done, error));
                }
            }
        }
        Ok(())
    }

    /// Appends a part of `bytes` to the file it belongs in.
    fn append_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Opened first: only then is it known how much is in it.
        self.current()?;
        let room = self.max_size.saturating_sub(self.size);
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let part = if fits == bytes.len() { fits } else { whole_lines(bytes, fits, self.size) };
        if part == 0 {
            self.rotate()?;
            return Ok(0);
        }
        let mut file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        match file.write(bytes.get(..part).unwrap_or(bytes))? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            n => {
                self.size += n as u64;
                Ok(n)
            }
        }
    }

    fn dir(&mut self) -> io::Result<&LogDir> {
        if self.dir.is_none() {
            self.dir = Some(LogDir::open(&self.path)?);
        }
        self.dir.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes sure that the newest file is open and has its name.
    fn current(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else {
            let name = self.name(self.index);
            match self.dir()?.append(&name) {
                Ok(file) => {
                    self.size = file.metadata()?.len();
                    self.file = Some(file);
                    return Ok(());
                }
                Err(error) if is_foreign(&error) => return self.rotate(),
                Err(error) => return Err(error),
            }
        };
        // Somebody removed it, or gave it a second name to have it kept or written to: the next one is ours again.
        if file.metadata()?.nlink() == 1 { Ok(()) } else { self.rotate() }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let begin = self.begins.get(&self.index).copied().unwrap_or(0).saturating_add(self.size);
        let mut next = self.index;
        let file = loop {
            next += 1;
            let mut begins = self.begins.clone();
            begins.insert(next, begin);
            while begins.len() as u64 > self.max_files.saturating_add(1) {
                begins.pop_first();
            }
            let (prefix, name) = (self.prefix.clone(), self.name(next));
            let dir = self.dir()?;
            // Before the file is there, so that whoever finds it knows where it begins. It is a hint: a log without it
            // is as good.
            let _ = dir.store_offsets(&prefix, &begins);
            match dir.create(&name) {
                Ok(file) => {
                    self.begins = begins;
                    break file;
                }
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists
                        && next - self.index < TAKEN => {}
                Err(error) => return Err(error),
            }
        };
        (self.file, self.index, self.size) = (Some(file), next, 0);
        self.prune();
        Ok(())
    }

    /// The old ones go after the new one is there, so that a reader always finds the next.
    fn prune(&mut self) {
        let (prefix, kept) = (self.prefix.clone(), self.max_files);
        let newest = self.index;
        let Ok(dir) = self.dir() else { return };
        for (index, _) in dir.files(&prefix).unwrap_or_default() {
            if index.saturating_add(kept) <= newest {
                dir.remove(&format!("{prefix}{index}"));
            }
        }
    }

    fn name(&self, index: u64) -> String {
        format!("{}{index}", self.prefix)
    }
}

/// How much of the `fits` bytes to write before rotating: up to the last line end, so that lines stay whole. A line that
/// is longer than a file is cut.
fn whole_lines(bytes: &[u8], fits: usize, size: u64) -> usize {
    let end = bytes.get(..fits).unwrap_or(bytes).iter().rposition(|byte| *byte == b'\n');
    match end {
        Some(end) => end + 1,
        None if size == 0 => fits,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::log_files;
    use super::*;

    fn writer(dir: &Path, max_files: u32, size: u64) -> LogWriter {
        let config = LogConfig { max_files, ..LogConfig::default() };
        LogWriter::new(dir, "web", LogStream::Stdout, &config).expect("opens").with_max_size(size)
    }

    fn contents(dir: &Path) -> Vec<(u64, String)> {
        log_files(dir, "web", LogStream::Stdout)
            .expect("lists")
            .into_iter()
            .map(|file| (file.index, fs::read_to_string(file.path).expect("reads")))
            .collect()
    }

    #[test]
    fn rotates_at_line_ends_and_keeps_the_newest() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = writer(dir.path(), 2, 8);
        log.write(b"one\ntwo\nthree\nfour\n");
        let kept = contents(dir.path());
        assert_eq!(kept, [(1, "three\n".to_owned()), (2, "four\n".to_owned())]);
        assert_eq!(log.position(), (2, 5));
    }

    #[test]
    fn goes_on_in_the_newest_file() {
        let dir = tempfile::tempdir().expect("a directory");
        writer(dir.path(), 3, 8).write(b"123456\n78\n");
        writer(dir.path(), 3, 8).write(b"9\n");
        assert_eq!(contents(dir.path()).pop(), Some((1, "78\n9\n".to_owned())));
    }

    #[test]
    fn a_line_longer_than_a_file_is_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        writer(dir.path(), 9, 4).write(b"abcdefghij\n");
        let all: String = contents(dir.path()).into_iter().map(|(_, text)| text).collect();
        assert_eq!(all, "abcdefghij\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_noted() {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("logs");
        let mut log = writer(&dir, 2, 1000);
        log.write(b"lost\n");
        assert_eq!(log.dropped(), 5);
        fs::create_dir(&dir).expect("makes");
        log.write(b"kept\n");
        let text = contents(&dir).pop().expect("a file").1;
        assert_eq!(text, "\n[herder: 5 bytes of output were lost here]\nkept\n");
    }

    #[test]
    fn never_writes_through_a_link() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().join("victim");
        fs::write(&target, "").expect("writes");
        std::os::unix::fs::symlink(&target, dir.path().join("web.stdout.0")).expect("links");
        writer(dir.path(), 2, 100).write(b"secret");
        assert_eq!(fs::read(&target).expect("reads"), b"");
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost_whatever_the_chunks(
            chunks in proptest::collection::vec("[a-z\n]{0,40}", 0..40), size in 1u64..64,
        ) {
            let dir = tempfile::tempdir().expect("a directory");
            let mut log = writer(dir.path(), u32::MAX, size);
            for chunk in &chunks {
                log.write(chunk.as_bytes());
            }
            let kept = contents(dir.path());
            proptest::prop_assert!(kept.iter().all(|(_, text)| text.len() as u64 <= size));
            let all: String = kept.into_iter().map(|(_, text)| text).collect();
            proptest::prop_assert_eq!(all, chunks.concat());
        }
    }
}
