//! Turns: one operation at a time on an allocation's network, over threads, agents and what an agent left running.
//!
//! The lock belongs to an open file that every child gets as its standard input. When an agent is killed while a plugin
//! works, the plugin holds the lock until it ends, and the next agent does not undo what is still being done.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::NetworkError;

/// How long a turn is waited for: longer than a plugin may take.
const WAIT: Duration = Duration::from_secs(60);

/// How often the lock is tried meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// The right to work on one allocation's network.
#[derive(Debug)]
pub(crate) struct Turn {
    lock: Flock<File>,
    path: PathBuf,
}

impl Turn {
    /// Waits for the turn.
    pub(crate) fn take(path: PathBuf) -> Result<Self, NetworkError> {
        let lock = lock(&path, FlockArg::LockExclusiveNonblock, WAIT)?;
        Ok(Self { lock, path })
    }

    /// A child's standard input that holds `bytes` and carries the lock.
    pub(crate) fn input(&mut self, bytes: &[u8]) -> Result<File, NetworkError> {
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(bytes)?;
            file.seek(SeekFrom::Start(0))?;
            file.try_clone()
        };
        write(&mut self.lock).map_err(|error| NetworkError::system("write", &self.path, error))
    }

    /// Ends the turn for good: nothing of the allocation is left that could need another one.
    pub(crate) fn end(self) {
        // While it is still locked: whoever waits for it sees that it is gone and makes a new one.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Locks the file at `path`, which is made if need be.
pub(crate) fn lock(
    path: &Path,
    how: FlockArg,
    wait: Duration,
) -> Result<Flock<File>, NetworkError> {
    let deadline = Instant::now() + wait;
    loop {
        let open = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path);
        let file = open.map_err(|error| NetworkError::system("open", path, error))?;
        match Flock::lock(file, how) {
            Ok(lock) if is_at(&lock, path) => return Ok(lock),
            // Removed between opening and locking.
            Ok(_) => {}
            Err((_, Errno::EWOULDBLOCK)) => {}
            Err((_, errno)) => return Err(NetworkError::system("lock", path, errno)),
        }
        if Instant::now() >= deadline {
            let doing = format!("waiting for {}, which another operation holds,", path.display());
            return Err(NetworkError::Timeout { doing, limit: wait });
        }
        std::thread::sleep(PAUSE);
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_keeps_the_turn() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("turn");
        let mut turn = Turn::take(path.clone()).expect("free");
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(turn.input(b"{}").expect("written")))
            .spawn()
            .expect("started");
        // As if the agent was killed: its descriptor closes and nothing is unlocked.
        let Turn { lock, .. } = turn;
        let kept = std::mem::ManuallyDrop::new(lock);
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&**kept);
        nix::unistd::close(descriptor).expect("closed");
        let busy = super::lock(&path, FlockArg::LockExclusiveNonblock, Duration::ZERO);
        assert!(matches!(busy, Err(NetworkError::Timeout { .. })), "{busy:?}");
        child.kill().expect("killed");
        child.wait().expect("reaped");
        Turn::take(path.clone()).expect("free again").end();
        assert!(!path.exists());
    }
}
