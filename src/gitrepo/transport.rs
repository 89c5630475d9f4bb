//! How bytes get to a remote and back: our own transports under libgit2, which is built without any of its own network
//! code.
//!
//! libgit2 only ever sees the address `herder://remote`. What that means for the fetch at hand is the [`Session`] of
//! the thread that fetches; so no address with credentials reaches libgit2 or its messages, and no Git configuration
//! can rewrite it.

mod classify;
mod daemon;
mod http;
mod ssh;

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use git2::transport::Transport;
use tokio_util::sync::CancellationToken;

use crate::config::{Limits, RepoConfig};
use crate::error::FetchError;
use crate::url::Place;

pub(crate) use http::agent;

/// The only address that libgit2 gets to see.
pub(crate) const ADDRESS: &str = "herder://remote";

thread_local! {
    static CURRENT: RefCell<Option<Arc<Session>>> = const { RefCell::new(None) };
}

/// Makes libgit2 ready, once per process. Everything that opens a repository calls it first.
#[expect(
    unsafe_code,
    reason = "libgit2 takes transports and options process-wide, unsynchronised; `Once` is the synchronisation"
)]
pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `Once` lets one thread in, and every use of libgit2 in this crate waits for it. The option is a plain
        // flag. We read only repositories that the operator named, and libgit2 runs no program from their
        // configuration, so it does not matter that an agent run by root does not own them.
        if let Err(error) = unsafe { git2::opts::set_verify_owner_validation(false) } {
            tracing::warn!(%error, "repositories of other users cannot be read");
        }
        // SAFETY: as above; nothing creates a transport before this returns.
        if let Err(error) = unsafe { git2::transport::register("herder", connect) } {
            tracing::error!(%error, "remote repositories cannot be fetched");
        }
    });
}

fn connect(remote: &git2::Remote<'_>) -> Result<Transport, git2::Error> {
    let session = CURRENT.with(|current| current.borrow().clone());
    let Some(session) = session else {
        return Err(git2::Error::from_str("no fetch is under way on this thread"));
    };
    match &session.config.url.0 {
        Place::Http { .. } => Transport::smart(remote, true, http::Http::new(session)),
        Place::Ssh { .. } => Transport::smart(remote, false, ssh::Ssh::new(session)),
        Place::Git { .. } => Transport::smart(remote, false, daemon::Daemon::new(session)),
        Place::Local(_) => Err(git2::Error::from_str("folders are read without a transport")),
    }
}

/// One look at a remote: its bounds, and what went wrong in words that libgit2 cannot carry.
pub(crate) struct Session {
    pub(crate) config: Arc<RepoConfig>,
    agent: Option<ureq::Agent>,
    deadline: Instant,
    stop: CancellationToken,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    failure: Option<FetchError>,
    stderr: Vec<u8>,
    secrets: Vec<String>,
}

/// Ends the thread's session when dropped.
pub(crate) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| current.borrow_mut().take());
    }
}

impl Session {
    pub(crate) fn new(
        config: Arc<RepoConfig>,
        agent: Option<ureq::Agent>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let deadline = Instant::now() + config.limits.fetch_timeout;
        Arc::new(Self { config, agent, deadline, stop, noted: Mutex::default() })
    }

    /// Makes this the session of the calling thread.
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        CURRENT.with(|current| current.borrow_mut().replace(Arc::clone(self)));
        Entered
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    pub(crate) fn remote(&self) -> String {
        self.config.url.redacted()
    }

    /// Notes why the fetch fails; the first reason stays. Returns an error for libgit2 to stop with.
    pub(crate) fn fail(&self, error: FetchError) -> io::Error {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.failure.get_or_insert(error);
        io::Error::other("the transfer was given up")
    }

    pub(crate) fn timed_out(&self, after: Duration, doing: &str) -> io::Error {
        self.fail(FetchError::Timeout { remote: self.remote(), after, doing: doing.to_owned() })
    }

    pub(crate) fn other(&self, detail: impl Into<String>) -> io::Error {
        self.fail(FetchError::Other { remote: self.remote(), detail: detail.into() })
    }

    /// How long the next wait may last.
    ///
    /// # Errors
    /// When the whole fetch has taken too long or is to stop.
    pub(crate) fn next_wait(&self, doing: &str) -> io::Result<Duration> {
        if self.stop.is_cancelled() {
            return Err(self.other("the agent is stopping"));
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.timed_out(self.limits().fetch_timeout, doing));
        }
        Ok(left.min(self.limits().timeout))
    }

    /// Whether a transfer of so many bytes may go on.
    pub(crate) fn may_go_on(&self, received: u64) -> bool {
        if received > self.limits().max_fetch_bytes {
            let limit = self.limits().max_fetch_bytes;
            self.other(format!("the transfer is larger than {limit} bytes; raise the limit"));
            return false;
        }
        self.next_wait("receiving objects").is_ok()
    }

    /// Keeps what a program wrote to its standard error: the last 4 KiB.
    pub(crate) fn note_stderr(&self, bytes: &[u8]) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.stderr.extend_from_slice(bytes);
        let surplus = noted.stderr.len().saturating_sub(4096);
        noted.stderr.drain(..surplus);
    }

    /// Words that no message may hold.
    pub(crate) fn note_secret(&self, secret: &str) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if !secret.is_empty() && !noted.secrets.iter().any(|known| known == secret) {
            noted.secrets.push(secret.to_owned());
        }
    }

    /// What an error of libgit2 means, given what was noted on the way.
    pub(crate) fn explain(&self, error: &git2::Error) -> FetchError {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = &noted.failure {
            return failure.clone();
        }
        let scrub = |text: &str| {
            let shown = noted
                .secrets
                .iter()
                .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[secret]"));
            shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
        };
        let stderr = scrub(String::from_utf8_lossy(&noted.stderr).trim());
        if !stderr.is_empty() && matches!(self.config.url.0, Place::Ssh { .. }) {
            return classify::from_ssh(&stderr, self.remote());
        }
        classify::from_git(error, &scrub(error.message()), self.remote())
    }
}
