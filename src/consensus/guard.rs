//! One agent per directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::ConsensusError;

/// How long a dead agent's leftovers may hold the directory. A process becomes another program in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// The wait between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// Holds the directory until dropped; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub(crate) struct DirGuard {
    _file: File,
}

impl DirGuard {
    /// Takes the directory. A process that the agent was just starting when it was killed holds what the agent held
    /// until it becomes another program; that is waited for.
    pub(crate) fn take(dir: &Path) -> Result<Self, ConsensusError> {
        let began = Instant::now();
        Self::take_with(dir, || {
            std::thread::sleep(PAUSE);
            began.elapsed() < PATIENCE
        })
    }

    /// `again` waits a little and says whether to try again, while the directory is held in a dead agent's name.
    fn take_with(dir: &Path, mut again: impl FnMut() -> bool) -> Result<Self, ConsensusError> {
        let path = dir.join("lock");
        let io = |what| {
            let path = path.clone();
            move |source| ConsensusError::Io { what, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io("open"))?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    if holder.is_some_and(is_alive) || !again() {
                        return Err(ConsensusError::InUse { dir: dir.to_owned(), holder });
                    }
                }
                Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
            }
        }
        file.set_len(0).map_err(io("write"))?;
        file.seek(SeekFrom::Start(0)).map_err(io("write"))?;
        write!(file, "{}", std::process::id()).map_err(io("write"))?;
        Ok(Self { _file: file })
    }
}

/// Who holds it, as far as it is written there; not knowing changes nothing but the message.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether a process runs. One that ended and was not collected yet holds nothing any more.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with('Z')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Above what Linux gives out (`/proc/sys/kernel/pid_max` is at most 2^22).
    const NOBODY: &str = "99999999";

    #[test]
    fn what_a_dead_agent_was_starting_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut left = Some(File::create(dir.path().join("lock")).expect("a lock file"));
        let held = left.as_mut().expect("held");
        held.try_lock().expect("locked");
        held.write_all(NOBODY.as_bytes()).expect("written");
        let taken = DirGuard::take_with(dir.path(), || {
            left = None;
            true
        });
        assert!(taken.is_ok(), "{taken:?}");
    }

    #[test]
    fn neither_a_living_agent_nor_for_ever() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = DirGuard::take(dir.path()).expect("taken");
        let second = DirGuard::take_with(dir.path(), || panic!("a living agent is not waited for"));
        assert!(matches!(second, Err(ConsensusError::InUse { holder: Some(_), .. })), "{second:?}");
        std::fs::write(dir.path().join("lock"), NOBODY).expect("written");
        let third = DirGuard::take_with(dir.path(), || false);
        assert!(matches!(third, Err(ConsensusError::InUse { .. })), "{third:?}");
        drop(first);
    }
}
