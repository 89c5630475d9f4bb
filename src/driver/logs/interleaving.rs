//! Writers and readers in every order: no byte is missed or repeated unless the reader says so.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use model::LogConfig;
use proptest::prelude::*;

use super::*;

fn writer(dir: &Path, max_files: u32, size: u64) -> LogWriter {
    let config = LogConfig { max_files, ..LogConfig::default() };
    LogWriter::new(dir, "web", LogStream::Stdout, &config).expect("opens").with_max_size(size)
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>),
    /// The writer is replaced, as when a task is restarted.
    Restart,
    /// So many pieces are read.
    Read(usize),
    /// The reader stores its place and comes back to it.
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    // Few letters and many line ends: files end at line ends and in the middle of lines.
    let byte = prop_oneof![3 => Just(b'\n'), 5 => any::<u8>()];
    prop_oneof![
        5 => proptest::collection::vec(byte, 0..60).prop_map(Step::Write),
        1 => Just(Step::Restart),
        3 => (1usize..4).prop_map(Step::Read),
        1 => Just(Step::Resume),
    ]
}

/// Takes pieces and holds them against what was written; returns the place after them.
fn check(cursor: &mut LogCursor, written: &[u8], at: &mut usize, pieces: usize) {
    for _ in 0..pieces {
        let Some(chunk) = cursor.next_chunk().expect("reads") else { break };
        if let Some(gap) = chunk.gap {
            *at += usize::try_from(gap.bytes.expect("it is known how many")).expect("fits");
        }
        let expected = written.get(*at..*at + chunk.data.len());
        assert_eq!(expected, Some(&chunk.data[..]), "at {at}");
        *at += chunk.data.len();
        assert_eq!(cursor.position().total, *at as u64);
    }
}

proptest! {
    #[test]
    fn every_byte_comes_once_or_is_told_to_be_missing(
        before in proptest::collection::vec(any::<u8>(), 0..200),
        from_end in any::<bool>(), offset in 0u64..150,
        steps in proptest::collection::vec(step(), 0..60),
        size in 1u64..64, max_files in 1u32..6,
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = writer(dir.path(), max_files, size);
        log.write(&before);
        let mut written = before;
        let files = log_files(dir.path(), "web", LogStream::Stdout).expect("lists");
        prop_assert!(files.len() <= max_files as usize);
        let kept: u64 = files.iter().map(|file| file.size).sum();
        let kept = usize::try_from(kept).expect("fits");
        let offset = offset.min(kept as u64);
        let start = if from_end { LogStart::TailBytes(offset) } else { LogStart::Offset(offset) };
        let offset = usize::try_from(offset).expect("fits");
        let mut at = if from_end { written.len() - offset } else { written.len() - kept + offset };
        let open = || LogCursor::open(dir.path(), "web", LogStream::Stdout, start).expect("opens");
        let mut cursor = open();
        for step in steps {
            match step {
                Step::Write(bytes) => {
                    log.write(&bytes);
                    written.extend(bytes);
                }
                Step::Restart => log = writer(dir.path(), max_files, size),
                Step::Read(pieces) => check(&mut cursor, &written, &mut at, pieces),
                Step::Resume => {
                    let place = cursor.position();
                    cursor = LogCursor::resume(dir.path(), "web", LogStream::Stdout, place)
                        .expect("opens");
                }
            }
        }
        prop_assert_eq!(log.dropped(), 0);
        // A place that was stored before anything was written is the very beginning.
        for _ in 0..40 {
            check(&mut cursor, &written, &mut at, 1000);
        }
        prop_assert_eq!(at, written.len());
    }

    #[test]
    fn the_last_lines_begin_after_a_line_end(
        text in "[a-c\n]{0,120}", lines in 0u32..8, size in 1u64..40,
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        writer(dir.path(), 1000, size).write(text.as_bytes());
        let start = LogStart::TailLines(lines);
        let mut cursor =
            LogCursor::open(dir.path(), "web", LogStream::Stdout, start).expect("opens");
        let mut read = Vec::new();
        while let Some(chunk) = cursor.next_chunk().expect("reads") {
            read.extend(chunk.data);
        }
        let all: Vec<&str> = text.split_inclusive('\n').collect();
        let expected = all[all.len().saturating_sub(lines as usize)..].concat();
        prop_assert_eq!(String::from_utf8(read).expect("text"), expected);
    }
}

/// The real thing, with threads: tiny files, so that the writer rotates all the time.
#[test]
fn a_reader_beside_a_hasty_writer_misses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    for max_files in [2, 100_000] {
        let task = format!("web{max_files}");
        let config = LogConfig { max_files, ..LogConfig::default() };
        let mut log = LogWriter::new(dir.path(), &task, LogStream::Stdout, &config)
            .expect("opens")
            .with_max_size(512);
        let mut cursor = LogCursor::open(dir.path(), &task, LogStream::Stdout, LogStart::Offset(0))
            .expect("opens");
        let done = AtomicBool::new(false);
        let total = std::thread::scope(|threads| {
            let writing = threads.spawn(|| {
                let mut total = 0u64;
                for line in 0..40_000u64 {
                    // Each line says where it is.
                    let text = format!("{total:015}\n");
                    debug_assert_eq!(text.len() as u64 * line, total);
                    log.write(text.as_bytes());
                    total += text.len() as u64;
                }
                done.store(true, Ordering::SeqCst);
                total
            });
            let mut at = 0u64;
            loop {
                let over = done.load(Ordering::SeqCst);
                let chunk = cursor.next_chunk().expect("reads");
                let Some(chunk) = chunk else {
                    // Every so many looks one is thorough.
                    if over && cursor.position().total == 640_000 {
                        break;
                    }
                    continue;
                };
                if let Some(gap) = chunk.gap {
                    assert!(max_files == 2, "nothing was rotated away: {gap} at {at}");
                    at += gap.bytes.expect("known");
                }
                for line in chunk.data.chunks(16) {
                    let text = std::str::from_utf8(line).expect("text");
                    if line.len() == 16 && chunk.offset.is_multiple_of(16) {
                        assert_eq!(text.trim_end().parse(), Ok(at), "{text}");
                    }
                    at += line.len() as u64;
                }
            }
            assert_eq!(at, 640_000);
            writing.join().expect("writes")
        });
        assert_eq!(total, 640_000);
        assert_eq!(log.dropped(), 0);
    }
}

#[test]
fn a_smaller_limit_removes_what_is_too_much() {
    let dir = tempfile::tempdir().expect("a directory");
    writer(dir.path(), 9, 4).write(b"a\nb\nc\nd\ne\nf\ng\nh\n");
    assert_eq!(log_files(dir.path(), "web", LogStream::Stdout).expect("lists").len(), 4);
    let mut less = writer(dir.path(), 2, 2);
    less.write(b"i\n");
    let files = log_files(dir.path(), "web", LogStream::Stdout).expect("lists");
    assert_eq!(files.iter().map(|file| file.index).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn what_a_task_plants_leads_nowhere() {
    let place = tempfile::tempdir().expect("a directory");
    let (logs, outside) = (place.path().join("a/alloc/logs"), place.path().join("outside"));
    fs::create_dir_all(&logs).expect("makes");
    fs::write(&outside, "victim").expect("writes");
    let mut log = writer(&logs, 9, 4);
    log.write(b"one\n");
    // In the place of the next files: a link, a second name, a pipe, a directory.
    std::os::unix::fs::symlink(&outside, logs.join("web.stdout.1")).expect("links");
    fs::hard_link(&outside, logs.join("web.stdout.2")).expect("links");
    nix::unistd::mkfifo(&logs.join("web.stdout.3"), nix::sys::stat::Mode::S_IRWXU).expect("makes");
    fs::create_dir(logs.join("web.stdout.4")).expect("makes");
    let mut cursor =
        LogCursor::open(&logs, "web", LogStream::Stdout, LogStart::Offset(0)).expect("opens");
    log.write(b"two\n");
    assert_eq!(log.position(), (5, 4));
    let mut read = Vec::new();
    for _ in 0..40 {
        while let Some(chunk) = cursor.next_chunk().expect("reads") {
            assert_eq!(chunk.gap, None, "numbers were passed over, bytes were not");
            read.extend(chunk.data);
        }
    }
    assert_eq!(read, b"one\ntwo\n");
    assert_eq!(fs::read(&outside).expect("reads"), b"victim");
    // A writer that comes later goes on in none of them either.
    fs::hard_link(&outside, logs.join("web.stdout.6")).expect("links");
    let mut later = writer(&logs, 9, 4);
    later.write(b"six\n");
    assert_eq!(later.position().0, 7);
    assert_eq!(fs::read(&outside).expect("reads"), b"victim");
}

#[test]
fn an_exchanged_directory_redirects_nobody() {
    let place = tempfile::tempdir().expect("a directory");
    let (logs, victim) = (place.path().join("a/alloc/logs"), place.path().join("victim"));
    fs::create_dir_all(&logs).expect("makes");
    fs::create_dir(&victim).expect("makes");
    let mut log = writer(&logs, 3, 4);
    log.write(b"one\n");
    let mut cursor =
        LogCursor::open(&logs, "web", LogStream::Stdout, LogStart::Offset(0)).expect("opens");
    let moved = place.path().join("a/alloc/moved");
    fs::rename(&logs, &moved).expect("renames");
    std::os::unix::fs::symlink(&victim, &logs).expect("links");
    log.write(b"two\nsix\n");
    let mut read = Vec::new();
    while let Some(chunk) = cursor.next_chunk().expect("reads") {
        read.extend(chunk.data);
    }
    assert_eq!(read, b"one\ntwo\nsix\n");
    assert_eq!(fs::read_dir(&victim).expect("lists").count(), 0);
    let open = || LogCursor::open(&logs, "web", LogStream::Stdout, LogStart::Offset(0));
    assert!(open().is_err(), "nor is a new reader led there");
    // One level higher.
    fs::remove_file(&logs).expect("removes");
    fs::rename(place.path().join("a/alloc"), place.path().join("a/gone")).expect("renames");
    fs::create_dir(victim.join("logs")).expect("makes");
    std::os::unix::fs::symlink(&victim, place.path().join("a/alloc")).expect("links");
    assert!(open().is_err());
}

#[test]
fn a_newest_file_that_was_removed_is_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = writer(dir.path(), 3, 100);
    log.write(b"one\n");
    let mut cursor =
        LogCursor::open(dir.path(), "web", LogStream::Stdout, LogStart::Offset(0)).expect("opens");
    fs::remove_file(dir.path().join("web.stdout.0")).expect("removes");
    log.write(b"two\n");
    assert_eq!(log.position(), (1, 4));
    let mut read = Vec::new();
    while let Some(chunk) = cursor.next_chunk().expect("reads") {
        read.extend(chunk.data);
    }
    assert_eq!(read, b"one\ntwo\n", "who had it open lost nothing");
}
