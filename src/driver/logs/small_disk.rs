//! A disk that is really full: a file system of a few pages, in a mount namespace of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::LogConfig;

use super::*;

/// Where the small disk is mounted, for the half of the test that runs there.
const PLACE: &str = "HERDER_TEST_SMALL_DISK";

#[test]
fn a_full_disk_loses_only_what_it_tells() {
    let place = tempfile::tempdir().expect("a directory");
    let script =
        "mount -t tmpfs -o size=64k,nr_inodes=24 small \"$1\" || exit 77; shift; exec \"$@\"";
    let status = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(place.path())
        .arg(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", "logs::small_disk::on_the_small_disk"])
        .env(PLACE, place.path())
        .status();
    let code = status.ok().and_then(|status| status.code());
    if !matches!(code, Some(0 | 101)) {
        assert!(std::env::var_os("CI").is_none(), "a small disk cannot be mounted here: {code:?}");
        println!("skipped: a small disk cannot be mounted here");
        return;
    }
    assert_eq!(code, Some(0));
}

fn read(dir: &Path) -> String {
    let mut cursor =
        LogCursor::open(dir, "web", LogStream::Stdout, LogStart::Offset(0)).expect("opens");
    let mut read = Vec::new();
    while let Some(chunk) = cursor.next_chunk().expect("reads") {
        assert_eq!(chunk.gap, None);
        read.extend(chunk.data);
    }
    String::from_utf8(read).expect("text")
}

/// The log without its notes, how much they say is missing, and how many they are.
fn account(text: &str) -> (usize, u64, usize) {
    let (mut kept, mut lost, mut notes) = (text.len(), 0, 0);
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("[herder: ") else { continue };
        let count = rest.split(' ').next().expect("a number");
        lost += count.parse::<u64>().expect("a number");
        notes += 1;
        // With the line ends before and after it.
        kept -= line.len() + 2;
    }
    (kept, lost, notes)
}

#[test]
#[ignore = "run by a_full_disk_loses_only_what_it_tells, on a disk of its own"]
fn on_the_small_disk() {
    let place = PathBuf::from(std::env::var_os(PLACE).expect("run on the small disk"));
    full_while_rotating(&place.join("a"));
    out_of_inodes(&place.join("b"));
}

fn full_while_rotating(dir: &Path) {
    fs::create_dir(dir).expect("makes");
    let config = LogConfig { max_files: 100, ..LogConfig::default() };
    let mut log = LogWriter::new(dir, "web", LogStream::Stdout, &config)
        .expect("opens")
        .with_max_size(16 * 1024);
    let (filler, mut written, mut told) = (dir.join("filler"), 0, 0);
    for round in 0..2 {
        // Takes what there is, if that is less.
        let _ = fs::write(&filler, vec![0; 20 * 1024]);
        let before = log.dropped();
        for line in 0..4000 {
            let line = format!("line {line} of round {round}\n");
            log.write(line.as_bytes());
            written += line.len() as u64;
        }
        assert!(log.dropped() > before, "full in round {round}: {:?}", log.position());
        fs::remove_file(&filler).expect("removes");
        log.write(b"there is room again\n");
        written += 20;
        let (kept, lost, notes) = account(&read(dir));
        assert_eq!(kept as u64 + log.dropped(), written, "each byte is kept or counted");
        assert_eq!(lost, log.dropped(), "and what is lost is told");
        assert!(notes > told);
        told = notes;
    }
    for file in log_files(dir, "web", LogStream::Stdout).expect("lists") {
        fs::remove_file(file.path).expect("removes");
    }
    log.write(b"all were removed, also the newest\n");
    assert_eq!(read(dir), "all were removed, also the newest\n");
    fs::remove_dir_all(dir).expect("removes");
    let before = log.dropped();
    log.write(b"nowhere\n");
    assert_eq!(log.dropped(), before + 8, "without a directory there is only counting");
}

fn out_of_inodes(dir: &Path) {
    fs::create_dir(dir).expect("makes");
    let config = LogConfig { max_files: 100, ..LogConfig::default() };
    let mut log =
        LogWriter::new(dir, "web", LogStream::Stdout, &config).expect("opens").with_max_size(64);
    for line in 0..200 {
        log.write(format!("line {line}\n").as_bytes());
    }
    assert!(log.dropped() > 0, "no file can be made");
    for file in log_files(dir, "web", LogStream::Stdout).expect("lists").iter().take(4) {
        fs::remove_file(&file.path).expect("removes");
    }
    log.write(b"on\n");
    let text = read(dir);
    let (_, lost, _) = account(&text);
    assert!(text.ends_with("bytes of output were lost here]\non\n"), "{text}");
    assert_eq!(lost, log.dropped());
}
