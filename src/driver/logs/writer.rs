//! Writes a stream into numbered files of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use model::LogConfig;

use super::{LogError, LogStream, log_files, open, prefix};

/// Appends a task's output to its newest file and keeps the newest `max_files`.
///
/// A full disk never stops the task: what cannot be written is dropped, counted, and noted in the log as soon as
/// something can be written again.
#[derive(Debug)]
pub struct LogWriter {
    dir: PathBuf,
    prefix: String,
    max_size: u64,
    max_files: u64,
    index: u64,
    size: u64,
    file: Option<File>,
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
        let last = log_files(dir, task, stream)?.pop();
        let max_size = config.max_file_size_mb.max(1).saturating_mul(1024 * 1024);
        Ok(Self {
            dir: dir.to_owned(),
            prefix: prefix(task, stream)?,
            max_size,
            max_files: u64::from(config.max_files.max(1)),
            index: last.as_ref().map_or(0, |file| file.index),
            size: last.map_or(0, |file| file.size),
            file: None,
            unnoted: 0,
            dropped: 0,
        })
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

    /// Appends `bytes`, or drops what the disk does not take.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.unnoted > 0 && !bytes.is_empty() {
            let note = format!("\n[herder: {} bytes of output were lost here]\n", self.unnoted);
            if self.append(note.as_bytes()).is_err() {
                self.lose(bytes.len() as u64);
                return;
            }
            self.unnoted = 0;
        }
        if let Err((written, _)) = self.append(bytes) {
            self.lose((bytes.len() - written) as u64);
        }
    }

    fn lose(&mut self, bytes: u64) {
        self.unnoted += bytes;
        self.dropped += bytes;
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let done = bytes.len() - rest.len();
            let room = self.max_size.saturating_sub(self.size);
            let fits = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            let part = if fits == rest.len() { fits } else { whole_lines(rest, fits, self.size) };
            if part == 0 {
                self.rotate().map_err(|error| (done, error))?;
                continue;
            }
            let wrote = self
                .current()
                .and_then(|file| file.write(rest.get(..part).unwrap_or(rest)))
                .and_then(|n| if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) });
            match wrote {
                Ok(n) => {
                    self.size += n as u64;
                    rest = rest.get(n..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Somebody may have removed the directory; look again next time.
                    self.file = None;
                    return Err((done, error));
                }
            }
        }
        Ok(())
    }

    fn current(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let path = self.path(self.index);
            let file = open(&path, OpenOptions::new().append(true).create(true))?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let next = self.index + 1;
        let file = open(&self.path(next), OpenOptions::new().append(true).create(true))?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        self.index = next;
        // The oldest one goes after the new one is there, so that a reader always finds the next.
        if let Some(old) = next.checked_sub(self.max_files) {
            let _ = fs::remove_file(self.path(old));
        }
        Ok(())
    }

    fn path(&self, index: u64) -> PathBuf {
        self.dir.join(format!("{}{index}", self.prefix))
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
