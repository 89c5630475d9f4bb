//! Reads a stream across its files, and on while it grows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{LogError, LogFile, LogStream, log_files, open, prefix};

/// The most that one chunk holds, in bytes.
const CHUNK: usize = 64 * 1024;

/// How far back the last lines are looked for, in bytes.
const TAIL_LIMIT: u64 = 16 * 1024 * 1024;

/// How long a follower at the end waits before it looks again.
const POLL: Duration = Duration::from_millis(150);

/// Where to begin. Offsets count over all files that are still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// This many bytes after the oldest that is kept.
    Offset(u64),
    /// This many bytes before the end.
    TailBytes(u64),
    /// This many lines before the end; what is more than 16 MiB back is not looked for.
    TailLines(u32),
}

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// The name of the file it is in.
    pub file: String,
    /// Where it begins in that file.
    pub offset: u64,
    /// The bytes; at most 64 KiB and never empty.
    pub data: Vec<u8>,
}

/// A place in a stream that moves on as it is read.
#[derive(Debug)]
pub struct LogFollower {
    state: State,
    follow: bool,
}

type Chunk = Result<Option<LogChunk>, LogError>;

/// A cursor, or the read that holds it. A read goes on when the call that began it is dropped, and the next call takes
/// its result: nothing is lost by a `select!`.
#[derive(Debug)]
enum State {
    Idle(Box<Cursor>),
    Reading(JoinHandle<(Box<Cursor>, Chunk)>),
    Broken,
}

/// Opens a stream at `start`. With `follow` the reader waits for more at the end, else it ends there. A stream without
/// files is empty.
pub async fn read_logs(
    dir: &Path,
    task: &str,
    stream: LogStream,
    start: LogStart,
    follow: bool,
) -> Result<LogFollower, LogError> {
    let (dir, task) = (dir.to_owned(), task.to_owned());
    let path = dir.clone();
    let cursor = tokio::task::spawn_blocking(move || Cursor::new(&dir, &task, stream, start))
        .await
        .map_err(|error| LogError::Io { path, source: io::Error::other(error) })??;
    Ok(LogFollower { state: State::Idle(Box::new(cursor)), follow })
}

impl LogFollower {
    /// The next piece, or `None` at the end. A follower waits there; drop it to end it. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<LogChunk>, LogError> {
        loop {
            match std::mem::replace(&mut self.state, State::Broken) {
                State::Broken => return Ok(None),
                State::Idle(mut cursor) => {
                    self.state = State::Reading(tokio::task::spawn_blocking(move || {
                        let chunk = cursor.next_chunk();
                        (cursor, chunk)
                    }));
                }
                reading @ State::Reading(_) => self.state = reading,
            }
            let State::Reading(read) = &mut self.state else { continue };
            let Ok((cursor, chunk)) = read.await else {
                self.state = State::Broken;
                return Ok(None);
            };
            self.state = State::Idle(cursor);
            match chunk? {
                Some(chunk) => return Ok(Some(chunk)),
                None if self.follow => tokio::time::sleep(POLL).await,
                None => return Ok(None),
            }
        }
    }

    /// Ends at the end instead of waiting there: for a task that has stopped writing.
    pub fn finish(&mut self) {
        self.follow = false;
    }
}

/// The reader without the runtime.
#[derive(Debug)]
struct Cursor {
    dir: PathBuf,
    task: String,
    stream: LogStream,
    /// The file being read; `None` before the first.
    at: Option<(u64, File)>,
    offset: u64,
}

impl Cursor {
    fn new(dir: &Path, task: &str, stream: LogStream, start: LogStart) -> Result<Self, LogError> {
        let files = log_files(dir, task, stream)?;
        let total: u64 = files.iter().map(|file| file.size).sum();
        let mut offset = match start {
            LogStart::Offset(offset) => offset.min(total),
            LogStart::TailBytes(bytes) => total.saturating_sub(bytes),
            LogStart::TailLines(lines) => tail_lines(&files, lines),
        };
        let mut cursor =
            Self { dir: dir.to_owned(), task: task.to_owned(), stream, at: None, offset: 0 };
        let last = files.last().map(|file| file.index);
        for file in files {
            if offset < file.size || Some(file.index) == last {
                cursor.enter(&file, offset)?;
                break;
            }
            offset -= file.size;
        }
        Ok(cursor)
    }

    /// Goes to `offset` of a file. One that is gone by now is passed over.
    fn enter(&mut self, file: &LogFile, offset: u64) -> Result<(), LogError> {
        match open(&file.path, OpenOptions::new().read(true)) {
            Ok(handle) => {
                self.at = Some((file.index, handle));
                self.offset = offset;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(LogError::Io { path: file.path.clone(), source }),
        }
    }

    fn next_chunk(&mut self) -> Result<Option<LogChunk>, LogError> {
        loop {
            if let Some(chunk) = self.read()? {
                return Ok(Some(chunk));
            }
            let current = self.at.as_ref().map(|(index, _)| *index);
            let newer = log_files(&self.dir, &self.task, self.stream)?
                .into_iter()
                .find(|file| current.is_none_or(|current| file.index > current));
            let Some(newer) = newer else { return Ok(None) };
            // The writer finishes a file before it makes the next. Now that the next is seen, one more read gets what
            // was written between the read above and the look at the directory.
            if let Some(chunk) = self.read()? {
                return Ok(Some(chunk));
            }
            self.enter(&newer, 0)?;
        }
    }

    fn read(&mut self) -> Result<Option<LogChunk>, LogError> {
        let Some((index, file)) = &mut self.at else { return Ok(None) };
        let name = format!("{}{index}", prefix(&self.task, self.stream)?);
        let mut data = Vec::new();
        file.seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.take(CHUNK as u64).read_to_end(&mut data))
            .map_err(|source| LogError::Io { path: self.dir.join(&name), source })?;
        if data.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        self.offset += data.len() as u64;
        Ok(Some(LogChunk { file: name, offset, data }))
    }
}

/// Where the last `lines` lines begin, counted over all files. A file that cannot be read counts as having no line ends.
fn tail_lines(files: &[LogFile], lines: u32) -> u64 {
    let total: u64 = files.iter().map(|file| file.size).sum();
    if lines == 0 {
        return total;
    }
    let mut missing = u64::from(lines);
    let mut begin_of_file = total;
    let mut block = Vec::new();
    for file in files.iter().rev() {
        begin_of_file -= file.size;
        let Ok(mut handle) = open(&file.path, OpenOptions::new().read(true)) else { continue };
        let mut end = file.size;
        while end > 0 {
            let start = end.saturating_sub(CHUNK as u64);
            block.clear();
            let read = handle
                .seek(SeekFrom::Start(start))
                .and_then(|_| (&mut handle).take(end - start).read_to_end(&mut block));
            if read.is_err() {
                break;
            }
            for (at, byte) in block.iter().enumerate().rev() {
                let after = begin_of_file + start + at as u64 + 1;
                // The very last line end closes the last line and begins none.
                if *byte == b'\n' && after != total {
                    missing -= 1;
                    if missing == 0 {
                        return after;
                    }
                }
            }
            if total - (begin_of_file + start) >= TAIL_LIMIT {
                return begin_of_file + start;
            }
            end = start;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use std::fs;

    use model::LogConfig;

    use super::super::LogWriter;
    use super::*;

    fn all(dir: &Path, start: LogStart) -> String {
        let mut cursor = Cursor::new(dir, "web", LogStream::Stdout, start).expect("opens");
        drain(&mut cursor)
    }

    fn drain(cursor: &mut Cursor) -> String {
        let mut text = String::new();
        while let Some(chunk) = cursor.next_chunk().expect("reads") {
            text += std::str::from_utf8(&chunk.data).expect("text");
        }
        text
    }

    fn writer(dir: &Path, size: u64) -> LogWriter {
        let config = LogConfig { max_files: 4, ..LogConfig::default() };
        LogWriter::new(dir, "web", LogStream::Stdout, &config).expect("opens").with_max_size(size)
    }

    #[test]
    fn begins_where_it_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        writer(dir.path(), 8).write(b"one\ntwo\nthree\nfour\nfive");
        for (start, expected) in [
            (LogStart::Offset(0), "one\ntwo\nthree\nfour\nfive"),
            (LogStart::Offset(4), "two\nthree\nfour\nfive"),
            (LogStart::Offset(8), "three\nfour\nfive"),
            (LogStart::Offset(999), ""),
            (LogStart::TailBytes(6), "r\nfive"),
            (LogStart::TailBytes(999), "one\ntwo\nthree\nfour\nfive"),
            (LogStart::TailLines(0), ""),
            (LogStart::TailLines(1), "five"),
            (LogStart::TailLines(3), "three\nfour\nfive"),
            (LogStart::TailLines(99), "one\ntwo\nthree\nfour\nfive"),
        ] {
            assert_eq!(all(dir.path(), start), expected, "{start:?}");
        }
    }

    #[test]
    fn a_closing_line_end_is_not_a_line() {
        let dir = tempfile::tempdir().expect("a directory");
        writer(dir.path(), 100).write(b"one\ntwo\n");
        assert_eq!(all(dir.path(), LogStart::TailLines(1)), "two\n");
    }

    #[test]
    fn goes_on_across_rotations_and_over_what_was_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = writer(dir.path(), 4);
        let mut cursor =
            Cursor::new(dir.path(), "web", LogStream::Stdout, LogStart::Offset(0)).expect("opens");
        assert_eq!(drain(&mut cursor), "");
        log.write(b"a\n");
        assert_eq!(drain(&mut cursor), "a\n");
        log.write(b"b\nc\nd\n");
        assert_eq!(drain(&mut cursor), "b\nc\nd\n");
        for _ in 0..5 {
            log.write(b"e\nf\n");
        }
        log.write(b"g\n");
        assert!(!dir.path().join("web.stdout.1").exists());
        assert!(drain(&mut cursor).ends_with("e\nf\ng\n"));
    }

    #[test]
    fn a_pipe_in_the_place_of_a_log_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        nix::unistd::mkfifo(&dir.path().join("web.stdout.0"), nix::sys::stat::Mode::S_IRWXU)
            .expect("makes");
        assert_eq!(all(dir.path(), LogStart::Offset(0)), "");
    }

    #[tokio::test]
    async fn a_follower_sees_what_comes_and_ends_when_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let start = LogStart::TailLines(10);
        let mut reader =
            read_logs(dir.path(), "web", LogStream::Stdout, start, true).await.expect("opens");
        let waited = tokio::time::timeout(Duration::from_millis(20), reader.next()).await;
        assert!(waited.is_err(), "nothing is there yet");
        fs::write(dir.path().join("web.stdout.0"), "hello").expect("writes");
        let chunk = reader.next().await.expect("reads").expect("a chunk");
        assert_eq!(
            (chunk.file.as_str(), chunk.offset, &chunk.data[..]),
            ("web.stdout.0", 0, &b"hello"[..])
        );
        reader.finish();
        assert_eq!(reader.next().await.expect("reads"), None);
    }
}
