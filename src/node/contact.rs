//! When this node last heard from the servers. What a group wants stopped after some silence (`stop_on_client_after`) is
//! stopped by the node itself: whoever is cut off is told nothing.
//!
//! Counted with the node's own clock, which no step of the wall clock moves. What was heard last is kept on disk, so that
//! a new agent goes on counting where the last one was; it is at most [`KEEP`] older than what was really heard, so that
//! an agent that was killed stops early rather than late. Between two agents only the wall clock passes: one that was set
//! back meanwhile counts as heard when the new agent began, and so does a file that is missing or cannot be read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// How often it is written down, where an allocation depends on it.
pub(crate) const KEEP: Duration = Duration::from_secs(1);
/// The longest text that is a time.
const LONGEST: u64 = 32;

/// What silence means for a group that is not to outlive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nothing before this time, if nothing is heard until then.
    BearableUntil(Timestamp),
    /// What runs must stop.
    TooLong,
}

/// Whether nothing was heard for too long.
pub(crate) fn silence(heard: Timestamp, bearable: Duration, now: Timestamp) -> Silence {
    let until = heard + bearable;
    if now < until { Silence::BearableUntil(until) } else { Silence::TooLong }
}

/// When the servers were last heard of.
pub struct Contact {
    clock: Clock,
    /// In nanoseconds.
    heard: AtomicI64,
    path: PathBuf,
    wanted: Notify,
}

impl std::fmt::Debug for Contact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contact").field("heard", &self.heard()).finish_non_exhaustive()
    }
}

impl Contact {
    /// What the last agent on this data directory heard, or this moment. The clock must be the node's.
    pub fn open(data_dir: &Path, clock: Clock) -> Self {
        let path = data_dir.join("client/contact");
        let now = clock();
        let heard = match read(&path) {
            Ok(heard) => heard.min(now),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "when servers were last heard of is not known; counting from now");
                }
                now
            }
        };
        Self { clock, heard: AtomicI64::new(heard.0), path, wanted: Notify::new() }
    }

    /// The servers took note of this node just now.
    pub fn hear(&self) {
        self.heard.fetch_max((self.clock)().0, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self) -> Timestamp {
        Timestamp(self.heard.load(Ordering::Relaxed))
    }

    /// An allocation depends on it: from now on it is written down.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Writes it down from when somebody wants it until the agent stops.
    pub(crate) async fn keep(self: std::sync::Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            biased;
            // What was wanted before the agent stops is written all the same.
            () = self.wanted.notified() => {}
            () = stop.cancelled() => return,
        }
        let mut written = None;
        loop {
            let stopping = stop.is_cancelled();
            let heard = self.heard();
            if written != Some(heard) {
                let path = self.path.clone();
                let done = tokio::task::spawn_blocking(move || write(&path, heard)).await;
                match done.map_err(io::Error::other).flatten() {
                    Ok(()) => written = Some(heard),
                    // What stands there is older, and so is what a new agent will go by.
                    Err(error) => {
                        tracing::debug!(%error, "when servers were heard is not written down")
                    }
                }
            }
            if stopping {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(KEEP) => {}
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Timestamp> {
    let mut text = String::new();
    OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(path)?
        .take(LONGEST)
        .read_to_string(&mut text)?;
    text.trim().parse().map(Timestamp).map_err(io::Error::other)
}

fn write(path: &Path, heard: Timestamp) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(&fresh)?;
    writeln!(file, "{}", heard.0)?;
    file.sync_data()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn clock() -> (Arc<Mutex<Timestamp>>, Clock) {
        let now = Arc::new(Mutex::new(at(100)));
        let shown = Arc::clone(&now);
        (now, Arc::new(move || *shown.lock().expect("a clock")))
    }

    #[test]
    fn silence_is_borne_for_as_long_as_the_group_says() {
        let ten = Duration::from_secs(10);
        assert_eq!(silence(at(5), ten, at(5)), Silence::BearableUntil(at(15)));
        assert_eq!(silence(at(5), ten, at(14)), Silence::BearableUntil(at(15)));
        assert_eq!(silence(at(5), ten, at(15)), Silence::TooLong);
        assert_eq!(silence(at(12), ten, at(15)), Silence::BearableUntil(at(22)));
        assert_eq!(silence(at(5), Duration::ZERO, at(5)), Silence::TooLong);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_agent_goes_on_counting() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("client")).expect("a directory");
        let (now, clock) = clock();
        let contact = Arc::new(Contact::open(dir.path(), clock.clone()));
        assert_eq!(contact.heard(), at(100), "nothing is known: from the agent's start");
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(Arc::clone(&contact).keep(stop.clone()));
        *now.lock().expect("a clock") = at(120);
        contact.hear();
        tokio::time::sleep(KEEP * 5).await;
        assert!(!dir.path().join("client/contact").exists(), "nobody wants to know");
        contact.want();
        *now.lock().expect("a clock") = at(130);
        contact.hear();
        stop.cancel();
        keeping.await.expect("ends");

        *now.lock().expect("a clock") = at(200);
        assert_eq!(Contact::open(dir.path(), clock.clone()).heard(), at(130));
        // The wall clock was set back.
        *now.lock().expect("a clock") = at(90);
        assert_eq!(Contact::open(dir.path(), clock.clone()).heard(), at(90));
        fs::write(dir.path().join("client/contact"), "soon").expect("written");
        assert_eq!(Contact::open(dir.path(), clock).heard(), at(90));
    }
}
