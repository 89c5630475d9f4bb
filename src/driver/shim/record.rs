//! What agent and shim tell each other, and the files through which the next agent learns of it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::{AllocId, LogConfig, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::process::Proc;
use crate::ExitStatus;
use crate::isolate::{Isolated, Isolation};

/// The most that one message or file may hold, in bytes.
pub(super) const MAX_MESSAGE: u64 = 4 * 1024 * 1024;

/// The variable that marks a task's processes as ours; its value is the task's state directory.
pub(super) const MARK: &str = "HERDER_SHIM";

const RECORD: &str = "shim.json";
const EXIT: &str = "exit.json";
const EXIT_RESERVE: &str = "exit.reserve";

/// Room for an exit record, set aside at the start so that a full disk does not lose the exit code.
const RESERVED: usize = 1024;

/// A command and what surrounds it. Sent through a pipe and never stored, for it holds secrets.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct CommandSpec {
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// Where it runs; a path in its own root if it has one.
    pub(crate) cwd: PathBuf,
    /// The task's directory on the node.
    pub(crate) task_dir: PathBuf,
    /// Empty for the agent's own user.
    pub(crate) user: String,
    pub(crate) oom_score_adj: Option<i32>,
    /// Cores that are its alone; any when empty.
    #[serde(default)]
    pub(crate) cores: Vec<u16>,
    /// Where the herder binary is, for `command = "herder"`.
    pub(crate) own_dir: Option<PathBuf>,
    /// The surroundings of a task that runs, for a command beside it.
    #[serde(default)]
    pub(crate) isolated: Option<Isolated>,
}

/// What a driver of processes wants to run.
#[derive(Default)]
pub struct Plan {
    pub(crate) command: CommandSpec,
    /// How it is kept apart from the node; `None` for not at all.
    pub(crate) isolation: Option<Isolation>,
}

/// What the shim is to run.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct ShimSpec {
    #[serde(default = "raw_exec")]
    pub(super) driver: String,
    pub(super) task_id: String,
    pub(super) command: CommandSpec,
    pub(super) task: String,
    pub(super) logs: PathBuf,
    pub(super) log: LogConfig,
    #[serde(default)]
    pub(super) isolation: Option<Isolation>,
}

/// Who wrote records that do not say so.
fn raw_exec() -> String {
    "raw_exec".to_owned()
}

/// What the shim answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The task runs.
    Started(Box<ShimRecord>),
    /// It could not be started.
    Failed {
        /// Why, in words.
        message: String,
        /// Whether every further attempt would fail the same way.
        never: bool,
    },
}

/// The processes of one run of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShimRecord {
    pub(super) task_id: String,
    pub(super) shim: Proc,
    pub(super) task: Proc,
    pub(super) boot_id: String,
    pub(super) started_at: Timestamp,
    /// Where it runs, and as whom: commands beside it do the same, also when nothing but this file is left.
    #[serde(default)]
    pub(super) cwd: PathBuf,
    #[serde(default)]
    pub(super) task_dir: PathBuf,
    #[serde(default)]
    pub(super) user: String,
    #[serde(default = "raw_exec")]
    pub(super) driver: String,
    /// What holds the task's surroundings, if it has its own.
    #[serde(default)]
    pub(super) isolated: Option<Isolated>,
}

/// The end of one run; the shim tells it from other runs in the same place.
#[derive(Debug, Serialize, Deserialize)]
struct ExitRecord {
    shim: Proc,
    status: ExitStatus,
}

/// A task's state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateDir(PathBuf);

impl StateDir {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the directory, for nobody else to look into, or takes the one that is there.
    pub(super) fn create(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        if fs::symlink_metadata(&self.0)?.is_dir() {
            return Ok(());
        }
        Err(io::Error::other("something that is not a directory is in its place"))
    }

    /// Forgets the last run.
    pub(super) fn clear(&self) -> io::Result<()> {
        for name in [RECORD, EXIT, EXIT_RESERVE] {
            match fs::remove_file(self.0.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The allocation's, if that was its last.
        if let Some(allocation) = self.0.parent() {
            let _ = fs::remove_dir(allocation);
        }
        Ok(())
    }

    /// The run that was started last. A file that makes no sense counts as none.
    pub(super) fn record(&self) -> io::Result<Option<ShimRecord>> {
        read(&self.0.join(RECORD))
    }

    pub(super) fn write_record(&self, record: &ShimRecord) -> io::Result<()> {
        let temporary = self.0.join("shim.json.new");
        let _ = fs::remove_file(&temporary);
        let bytes = serde_json::to_vec(record)?;
        create(&temporary)?.write_all(&bytes)?;
        fs::rename(temporary, self.0.join(RECORD))
    }

    /// How the run of this shim ended, once it has.
    pub(super) fn exit(&self, shim: Proc) -> io::Result<Option<ExitStatus>> {
        let record: Option<ExitRecord> = read(&self.0.join(EXIT))?;
        Ok(record.filter(|record| record.shim == shim).map(|record| record.status))
    }

    /// Sets disk blocks aside for [`Self::write_exit`].
    pub(super) fn reserve_exit(&self) -> io::Result<()> {
        create(&self.0.join(EXIT_RESERVE))?.write_all(&[b' '; RESERVED])
    }

    /// Stores the end so that it survives a power cut, in the blocks set aside for it.
    pub(super) fn write_exit(&self, shim: Proc, status: ExitStatus) -> io::Result<()> {
        let reserve = self.0.join(EXIT_RESERVE);
        let mut bytes = serde_json::to_vec(&ExitRecord { shim, status })?;
        // JSON may be followed by spaces; so the file keeps its size and needs no new block.
        bytes.resize(bytes.len().max(RESERVED), b' ');
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&reserve)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(reserve, self.0.join(EXIT))?;
        fs::File::open(&self.0)?.sync_all()
    }
}

/// The state directories below `root`, each with the allocation and the task that it is for. What does not have such a
/// name is not ours.
pub(super) fn states(root: &Path) -> io::Result<Vec<(AllocId, String, PathBuf)>> {
    let mut found = Vec::new();
    for dir in directories(root)? {
        let Some(alloc) = dir.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
            continue;
        };
        for state in directories(&dir)? {
            if let Some(task) = state.file_name().and_then(|name| name.to_str()) {
                found.push((alloc, task.to_owned(), state));
            }
        }
    }
    Ok(found)
}

/// The directories in a directory; none if it is gone by now.
fn directories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn create(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// `None` for a file that is not there or that makes no sense; an error for one that cannot be read now.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) => {
            return match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => Ok(None),
                _ => Err(error),
            };
        }
    };
    let mut bytes = Vec::new();
    file.take(64 * 1024).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_belongs_to_its_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::at(dir.path().join("state"));
        state.create().expect("makes");
        state.create().expect("takes what is there");
        state.reserve_exit().expect("reserves");
        let (this, other) = (Proc { pid: 7, ticks: 1 }, Proc { pid: 7, ticks: 2 });
        assert_eq!(state.exit(this).expect("reads"), None);
        let status = ExitStatus { code: Some(3), ..ExitStatus::default() };
        state.write_exit(this, status.clone()).expect("writes");
        assert_eq!(state.exit(this).expect("reads"), Some(status));
        assert_eq!(state.exit(other).expect("reads"), None);
        state.clear().expect("clears");
        assert_eq!(state.exit(this).expect("reads"), None);
    }

    #[test]
    fn a_link_is_not_taken_for_the_state_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/tmp", dir.path().join("state")).expect("links");
        assert!(StateDir::at(dir.path().join("state")).create().is_err());
    }
}
