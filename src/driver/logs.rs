//! A task's output on disk: `<task>.stdout.N` and `<task>.stderr.N`, the highest N being written.
//!
//! The writer is used by the shim, which must stay small and outlives agents, and by the docker driver. The reader is
//! for people: from an offset or the last lines, across rotations, and on as the task writes.

//!
//! The directory may hold what a task has put there. So both keep the directory open, name files beneath it, and touch
//! only regular files that have one name: no link, pipe or exchanged directory leads them anywhere else.

mod cursor;
mod directory;
#[cfg(test)]
mod interleaving;
mod reader;
#[cfg(test)]
mod small_disk;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

pub use cursor::{LogChunk, LogCursor, LogGap, LogPosition, LogStart};
use directory::LogDir;
pub use reader::{LogFollower, read_logs};
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
    let open = match LogDir::open(dir) {
        Ok(open) => open,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let files = open.files(&prefix).map_err(failed)?;
    let named = |(index, size)| LogFile { index, size, path: dir.join(format!("{prefix}{index}")) };
    Ok(files.into_iter().map(named).collect())
}

/// The start of a stream's file names, checked: what comes from a request must not leave the directory.
fn prefix(task: &str, stream: LogStream) -> Result<String, LogError> {
    if task.is_empty() || task.len() > 200 || task.contains(['/', '\0']) || task.starts_with('.') {
        return Err(LogError::Name(task.to_owned()));
    }
    Ok(format!("{task}.{}.", stream.as_str()))
}

#[cfg(test)]
mod tests {
    use std::fs;

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
