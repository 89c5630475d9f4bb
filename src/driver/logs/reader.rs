//! Reads a stream on while it grows, without holding up the runtime.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{LogChunk, LogCursor, LogError, LogStart, LogStream};

/// How long a follower at the end waits before it looks again.
const POLL: Duration = Duration::from_millis(150);

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
    Idle(Box<LogCursor>),
    Reading(JoinHandle<(Box<LogCursor>, Chunk)>),
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
    let cursor = tokio::task::spawn_blocking(move || LogCursor::open(&dir, &task, stream, start))
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

#[cfg(test)]
mod tests {
    use std::fs;

    use model::LogConfig;

    use super::super::LogWriter;
    use super::*;

    fn all(dir: &Path, start: LogStart) -> String {
        let mut cursor = LogCursor::open(dir, "web", LogStream::Stdout, start).expect("opens");
        drain(&mut cursor)
    }

    fn drain(cursor: &mut LogCursor) -> String {
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
        let mut cursor = LogCursor::open(dir.path(), "web", LogStream::Stdout, LogStart::Offset(0))
            .expect("opens");
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
