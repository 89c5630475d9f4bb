//! How far a container's output has been written to its log files, so that the next agent goes on exactly there.
//!
//! Docker gives each piece of output with its time. Kept are, per stream, the time of the last piece written, how many
//! pieces had that very time, and where the log then ended. What was written after the position was last stored is in
//! the log beyond that end: that many bytes are skipped when the pieces after the position come again.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::LogConfig;
use serde::{Deserialize, Serialize};

use super::inspect::timestamp;
use crate::logs::{LogError, LogStream, LogWriter, log_files};

/// How far back pieces are asked for again: the two streams are stamped by different threads of the daemon.
const OVERLAP_SECS: i64 = 2;

/// Where one stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Time of the last piece written, in nanoseconds since the epoch; 0 before the first.
    at: i64,
    /// How many pieces of that time were written.
    same: u32,
    file: u64,
    offset: u64,
}

/// What is stored.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    container: String,
    stdout: Mark,
    stderr: Mark,
}

/// One stream: what came, what is still to be passed over, and where it goes.
#[derive(Debug)]
struct Feed {
    writer: LogWriter,
    mark: Mark,
    /// Pieces up to this mark were written before; `None` once one beyond it has come.
    replay: Option<Mark>,
    /// Whether the mark's own piece is among those asked for.
    expected: bool,
    /// Of the pieces beyond the mark, bytes that are in the log already.
    skip: u64,
}

impl Feed {
    fn new(
        dir: &Path,
        task: &str,
        stream: LogStream,
        log: &LogConfig,
        mark: Option<Mark>,
    ) -> Result<Self, LogError> {
        let writer = LogWriter::new(dir, task, stream, log)?;
        let skip = match mark {
            Some(mark) => log_files(dir, task, stream)?
                .iter()
                .map(|file| match file.index.cmp(&mark.file) {
                    std::cmp::Ordering::Less => 0,
                    std::cmp::Ordering::Equal => file.size.saturating_sub(mark.offset),
                    std::cmp::Ordering::Greater => file.size,
                })
                .sum(),
            None => 0,
        };
        let mark = mark.unwrap_or_default();
        Ok(Self { writer, mark, replay: Some(mark), expected: false, skip })
    }

    /// Takes a piece. True if something before it is missing, which the log then says.
    fn take(&mut self, piece: &[u8]) -> bool {
        let mut lost = false;
        let (at, data) = stamped(piece);
        let at = at.unwrap_or(self.mark.at);
        if let Some(replay) = &mut self.replay {
            if at < replay.at {
                return false;
            }
            if at == replay.at && replay.same > 0 {
                replay.same -= 1;
                return false;
            }
            // The daemon has removed the piece at the mark, and so perhaps others behind it. Which of those are in the log
            // is not known any more: better some twice than some not at all.
            if self.expected && replay.same == self.mark.same {
                self.writer.write_note("output was lost here");
                self.skip = 0;
                lost = true;
            }
            self.replay = None;
        }
        if at == self.mark.at {
            self.mark.same += 1;
        } else {
            self.mark = Mark { at, same: 1, ..self.mark };
        }
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX).min(data.len());
        self.skip -= skip as u64;
        self.writer.write(data.get(skip..).unwrap_or_default());
        lost
    }

    fn stored(&self) -> Mark {
        let (file, offset) = self.writer.position();
        Mark { file, offset, ..self.mark }
    }
}

/// Both streams of a container on their way to the log files. All methods that touch the disk block.
#[derive(Debug)]
pub(super) struct Sink {
    path: PathBuf,
    container: String,
    stdout: Feed,
    stderr: Feed,
    dirty: bool,
}

impl Sink {
    /// Goes on where the last agent was with this container, or begins.
    pub(super) fn open(
        dir: &Path,
        task: &str,
        container: &str,
        log: &LogConfig,
    ) -> Result<Self, LogError> {
        let path = dir.join(format!(".{task}.docker.json"));
        let stored = load(&path).filter(|stored| stored.container == container);
        let feed = |stream, mark| Feed::new(dir, task, stream, log, mark);
        let mut sink = Self {
            container: container.to_owned(),
            stdout: feed(LogStream::Stdout, stored.as_ref().map(|stored| stored.stdout))?,
            stderr: feed(LogStream::Stderr, stored.as_ref().map(|stored| stored.stderr))?,
            dirty: stored.is_none(),
            path,
        };
        // Before the first byte: what is in the files now is of an earlier container.
        sink.save();
        Ok(sink)
    }

    /// From when on pieces have to be asked for, in seconds since the epoch; 0 for all. To be called before each request.
    pub(super) fn rewind(&mut self) -> i32 {
        let last = self.stdout.mark.at.max(self.stderr.mark.at);
        let since = (last / 1_000_000_000 - OVERLAP_SECS).max(0);
        for feed in [&mut self.stdout, &mut self.stderr] {
            feed.replay = Some(feed.mark);
            feed.expected = feed.mark.same > 0 && feed.mark.at / 1_000_000_000 >= since;
        }
        i32::try_from(since).unwrap_or(0)
    }

    /// Takes one piece as the daemon sent it, with its time in front.
    pub(super) fn take(&mut self, stream: LogStream, piece: &[u8]) {
        let feed = match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let file = feed.writer.position().0;
        let lost = feed.take(piece);
        self.dirty = true;
        // The file that a stored position names must not be rotated away, and our own words are no piece to be skipped.
        if lost || feed.writer.position().0 != file {
            self.save();
        }
    }

    /// Stores how far it is, if that has changed. A full disk makes some output come twice after the next restart.
    pub(super) fn save(&mut self) {
        if !self.dirty {
            return;
        }
        let stored = Stored {
            container: self.container.clone(),
            stdout: self.stdout.stored(),
            stderr: self.stderr.stored(),
        };
        self.dirty = store(&self.path, &stored).is_err();
    }
}

fn load(path: &Path) -> Option<Stored> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let mut bytes = Vec::new();
    file.ok()?.take(16 * 1024).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn store(path: &Path, stored: &Stored) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(stored)?)?;
    fs::rename(temporary, path)
}

/// A piece's time and what follows it.
fn stamped(piece: &[u8]) -> (Option<i64>, &[u8]) {
    let end = piece.iter().take(40).position(|byte| *byte == b' ');
    let parts = end.and_then(|end| Some((piece.get(..end)?, piece.get(end + 1..)?)));
    let Some((stamp, rest)) = parts else { return (None, piece) };
    match std::str::from_utf8(stamp).ok().and_then(timestamp) {
        Some(at) => (Some(at.0), rest),
        None => (None, piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of one container, two of them with the same time.
    const PIECES: [&str; 6] = [
        "2026-11-20T20:00:01.000000001Z one\n",
        "2026-11-20T20:00:01.000000002Z two\n",
        "2026-11-20T20:00:01.000000002Z three\n",
        "2026-11-20T20:00:01.000000003Z four\n",
        "2026-11-20T20:00:02Z five\n",
        "2026-11-20T20:00:03Z six\n",
    ];

    fn open(dir: &Path) -> Sink {
        Sink::open(dir, "web", "abc", &LogConfig::default()).expect("opens")
    }

    fn feed(sink: &mut Sink, pieces: &[&str]) {
        sink.rewind();
        for piece in pieces {
            sink.take(LogStream::Stdout, piece.as_bytes());
        }
    }

    fn written(dir: &Path) -> String {
        fs::read_to_string(dir.join("web.stdout.0")).expect("reads")
    }

    #[test]
    fn an_agent_that_dies_anywhere_leaves_neither_gap_nor_repetition() {
        for stored_after in 0..=PIECES.len() {
            for died_after in stored_after..=PIECES.len() {
                let dir = tempfile::tempdir().expect("a directory");
                let mut first = open(dir.path());
                feed(&mut first, &PIECES[..stored_after]);
                first.save();
                // More is written, and the position is not stored again.
                for piece in &PIECES[stored_after..died_after] {
                    first.take(LogStream::Stdout, piece.as_bytes());
                }
                drop(first);
                let mut second = open(dir.path());
                feed(&mut second, &PIECES);
                // The stream breaks and all of it comes a third time.
                feed(&mut second, &PIECES);
                let all = "one\ntwo\nthree\nfour\nfive\nsix\n";
                assert_eq!(written(dir.path()), all, "{stored_after} {died_after}");
            }
        }
    }

    #[test]
    fn what_the_daemon_removed_meanwhile_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut first = open(dir.path());
        feed(&mut first, &PIECES[..2]);
        first.save();
        first.take(LogStream::Stdout, PIECES[2].as_bytes());
        drop(first);
        // While no agent was there, the files with the first four pieces were rotated away.
        let mut second = open(dir.path());
        feed(&mut second, &PIECES[4..]);
        let all = "one\ntwo\nthree\n\n[herder: output was lost here]\nfive\nsix\n";
        assert_eq!(written(dir.path()), all);
        // It is told once.
        drop(second);
        let mut third = open(dir.path());
        feed(&mut third, &PIECES[4..]);
        assert_eq!(written(dir.path()), all);
    }

    #[test]
    fn a_quiet_stream_has_lost_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut first = open(dir.path());
        feed(&mut first, &PIECES[..1]);
        first.take(LogStream::Stderr, b"2026-11-20T20:01:00Z error\n");
        first.save();
        drop(first);
        // Its last piece is too old to be asked for again.
        let mut second = open(dir.path());
        second.rewind();
        second.take(LogStream::Stderr, b"2026-11-20T20:01:00Z error\n");
        second.take(LogStream::Stdout, b"2026-11-20T20:01:01Z two\n");
        assert_eq!(written(dir.path()), "one\ntwo\n");
        assert_eq!(fs::read_to_string(dir.path().join("web.stderr.0")).expect("reads"), "error\n");
    }

    #[test]
    fn another_container_begins_anew_after_what_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        feed(&mut open(dir.path()), &PIECES[..1]);
        let mut next = Sink::open(dir.path(), "web", "def", &LogConfig::default()).expect("opens");
        assert_eq!(next.rewind(), 0);
        feed(&mut next, &PIECES[..1]);
        assert_eq!(written(dir.path()), "one\none\n");
    }

    #[test]
    fn asks_again_from_shortly_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut sink = open(dir.path());
        feed(&mut sink, &PIECES);
        assert_eq!(i64::from(sink.rewind()), 1_795_204_803 - OVERLAP_SECS);
    }

    #[test]
    fn a_piece_without_a_time_is_kept_whole() {
        assert_eq!(stamped(b"hello world"), (None, &b"hello world"[..]));
        assert_eq!(stamped(b""), (None, &b""[..]));
        assert_eq!(stamped(b"2026-11-20T20:00:01Z "), (Some(1_795_204_801_000_000_000), &b""[..]));
    }
}
