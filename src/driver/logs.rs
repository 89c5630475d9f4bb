//! A task's output on disk: `<task>.stdout.N` and `<task>.stderr.N`, the highest N being written.
//!
//! The writer is used by the shim, which must stay small and outlives agents, and by the docker driver. The reader is
//! for people: from an offset or the last lines, across rotations, and on as the task writes.

mod reader;
mod writer;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub use reader::{LogChunk, LogFollower, LogStart, read_logs};
pub use writer::LogWriter;

/// One of a task's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// The word in the file's name, and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl std::str::FromStr for LogStream {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            _ => Err(LogError::Name(text.to_owned())),
        }
    }
}

/// Why logs cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not the name of a task or stream; it would lead out of the log directory.
    #[error("`{0}` does not name a task's log")]
    Name(String),
    /// The disk refused.
    #[error("cannot read the log {}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// One file of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its number; higher is newer.
    pub index: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// A stream's files, oldest first. None when the task has written nothing or the directory is not there.
pub fn log_files(dir: &Path, task: &str, stream: LogStream) -> Result<Vec<LogFile>, LogError> {
    let prefix = prefix(task, stream)?;
    let failed = |source| LogError::Io { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(digits) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else {
            continue;
        };
        // `+1` and `01` parse as numbers too and are not ours.
        let Ok(index) = digits.parse::<u64>() else { continue };
        if index.to_string() != digits {
            continue;
        }
        // The file may be rotated away between listing and asking.
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_file() {
            files.push(LogFile { index, size: meta.len(), path: entry.path() });
        }
    }
    files.sort_by_key(|file| file.index);
    Ok(files)
}

/// The start of a stream's file names, checked: what comes from a request must not leave the directory.
fn prefix(task: &str, stream: LogStream) -> Result<String, LogError> {
    if task.is_empty() || task.len() > 200 || task.contains(['/', '\0']) || task.starts_with('.') {
        return Err(LogError::Name(task.to_owned()));
    }
    Ok(format!("{task}.{}.", stream.as_str()))
}

/// Opens a log without following a link that the task may have put in its place, and without waiting for a pipe.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_its_own_files_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["web.stdout.10", "web.stdout.9", "web.stderr.0", "web.stdout.01"] {
            fs::write(dir.path().join(name), "x").expect("writes");
        }
        fs::write(dir.path().join("webx.stdout.1"), "x").expect("writes");
        fs::create_dir(dir.path().join("web.stdout.11")).expect("makes");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("web.stdout.12")).expect("links");
        let files = log_files(dir.path(), "web", LogStream::Stdout).expect("lists");
        assert_eq!(files.iter().map(|file| file.index).collect::<Vec<_>>(), [9, 10]);
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        for task in ["../x", "a/b", "", ".hidden", "a\0b"] {
            assert!(log_files(Path::new("/"), task, LogStream::Stdout).is_err(), "{task:?}");
        }
    }
}
