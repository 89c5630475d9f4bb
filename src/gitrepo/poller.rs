//! Follows one repository for as long as it is configured.
//!
//! Two threads per repository, because libgit2 blocks and a repository belongs to one thread at a time: one looks at
//! the remote, the other reads from the mirror. So a read never waits for a host that hangs.

mod follow;
mod reads;
mod schedule;
mod status;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use model::{BlobId, CommitId};
use tokio::sync::{mpsc, oneshot, watch as state};
use tokio_util::sync::CancellationToken;

use crate::config::RepoConfig;
use crate::error::{FetchError, ReadError};
use crate::mirror::Mirror;
use crate::pack::{Given, TakeError};
use crate::pattern::PathPattern;
use crate::reader::{CommitInfo, Reader, Tree};

pub use schedule::{Alone, History, Turns, next_poll};
pub use status::{Failure, Head, Observation, PollStatus};

/// Most requests that wait for a thread.
const QUEUE: usize = 64;

/// Starts following repositories.
pub struct Poller;

/// What the following thread is asked from outside.
enum Ask {
    /// Look at the remote now.
    Check(oneshot::Sender<Result<Head, FetchError>>),
    /// Find out what a revision means.
    Resolve(String, oneshot::Sender<Result<CommitId, ReadError>>),
    /// Take what another mirror has.
    Take(Box<Given>, oneshot::Sender<Result<Head, TakeError>>),
}

type Read = Box<dyn FnOnce(Result<&Reader, ReadError>) + Send>;

impl Poller {
    /// Starts to follow a repository: the first look is at once. Observations go to `events`; `stop` ends it. `seed`
    /// spreads the polls of many agents that do not know of each other; `turns` is for those that do.
    ///
    /// # Errors
    /// When the configuration does not fit or no thread can be started. A remote that cannot be reached is not an
    /// error here: it is observed.
    pub fn start(
        config: RepoConfig,
        data_dir: PathBuf,
        seed: u64,
        turns: Arc<dyn Turns>,
        events: mpsc::Sender<Observation>,
        stop: CancellationToken,
    ) -> Result<RepoHandle, FetchError> {
        let remote = config.url.redacted();
        let other = |detail: String| FetchError::Other { remote: remote.clone(), detail };
        config.check().map_err(|error| other(error.to_string()))?;
        let config = Arc::new(config);
        let prefix = Arc::new(OnceLock::new());
        let (asks, asked) = mpsc::channel(QUEUE);
        let (reads, to_read) = mpsc::channel(QUEUE);
        let (status, seen) = state::channel(PollStatus::default());
        let follower = follow::Follower {
            config: Arc::clone(&config),
            data_dir: data_dir.clone(),
            seed,
            turns,
            events,
            stop: stop.clone(),
            prefix: Arc::clone(&prefix),
            status,
        };
        let path = Mirror::path_in(&data_dir, &config);
        let (reading, place) = (stop.clone(), remote.clone());
        spawn(format!("git {}", config.name), move |runtime| {
            runtime.block_on(follow::run(follower, asked));
        })
        .and_then(|()| {
            spawn(format!("read {}", config.name), move |runtime| {
                runtime.block_on(reads::run(path, place, to_read, reading));
            })
        })
        .map_err(|error| {
            stop.cancel();
            other(format!("cannot start a thread: {error}"))
        })?;
        Ok(RepoHandle { config, prefix, asks, reads, status: seen })
    }
}

/// An own thread with a runtime for its waits. It ends by the stop token, or when nobody can ask it any more. The
/// runtime is made on the thread, because one must not be dropped where the caller runs.
fn spawn(
    name: String,
    body: impl FnOnce(tokio::runtime::Runtime) + Send + 'static,
) -> std::io::Result<()> {
    let told = name.clone();
    let run = move || match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => body(runtime),
        Err(error) => tracing::error!(thread = told, %error, "a repository cannot be followed"),
    };
    std::thread::Builder::new().name(name).spawn(run).map(drop)
}

/// Asks a followed repository. Clones share one queue.
#[derive(Clone)]
pub struct RepoHandle {
    config: Arc<RepoConfig>,
    prefix: Arc<OnceLock<String>>,
    asks: mpsc::Sender<Ask>,
    reads: mpsc::Sender<Read>,
    status: state::Receiver<PollStatus>,
}

impl RepoHandle {
    /// The repository's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// How it is configured.
    pub fn config(&self) -> &RepoConfig {
        &self.config
    }

    /// How following goes, at this moment.
    pub fn status(&self) -> PollStatus {
        self.status.borrow().clone()
    }

    /// Waits until both threads have ended: after the stop token, this takes no longer than one network wait.
    pub async fn ended(&self) {
        self.asks.closed().await;
        self.reads.closed().await;
    }

    /// Looks at the remote now and says what is there. Requests that come together are one look; while the host limits
    /// our requests there is none, and the answer is that error.
    ///
    /// # Errors
    /// What kept us from knowing.
    pub async fn check_now(&self) -> Result<Head, FetchError> {
        let (answer, answered) = oneshot::channel();
        let stopped = || FetchError::Other {
            remote: self.config.url.redacted(),
            detail: "it is no longer followed".into(),
        };
        self.asks.send(Ask::Check(answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// The commit that a revision means: the branch, a tag, a short ID, `HEAD~1` and the like.
    ///
    /// # Errors
    /// When it means none, or the remote had to be asked and did not answer.
    pub async fn resolve(&self, revision: &str) -> Result<CommitId, ReadError> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Resolve(revision.to_owned(), answer);
        self.asks.send(ask).await.map_err(|_| self.stopped())?;
        answered.await.map_err(|_| self.stopped())?
    }

    /// Goes on from what another mirror gives, as if it had been fetched: for while the remote cannot be read. Whether
    /// the giver may be believed that the branch is there is the caller's to know.
    ///
    /// # Errors
    /// See [`TakeError`]; nothing has changed then.
    pub async fn take(&self, given: Given) -> Result<Head, TakeError> {
        let (answer, answered) = oneshot::channel();
        let stopped = || TakeError::Mirror { detail: "it is no longer followed".to_owned() };
        self.asks.send(Ask::Take(Box::new(given), answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// The configured files at a commit.
    ///
    /// # Errors
    /// As [`Reader::tree`].
    pub async fn tree(&self, commit: &CommitId) -> Result<Tree, ReadError> {
        let patterns = self.patterns()?;
        let commit = commit.clone();
        self.read(move |reader| reader.tree(&commit, &patterns)).await
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// As [`Reader::blob`].
    pub async fn blob(&self, id: &BlobId, limit: u64) -> Result<Vec<u8>, ReadError> {
        let id = id.clone();
        self.read(move |reader| reader.blob(&id, limit)).await
    }

    /// Many files' bytes with one request, in order; the first error is the answer for all.
    ///
    /// # Errors
    /// As [`Reader::blob`].
    pub async fn blobs(&self, ids: Vec<BlobId>, limit: u64) -> Result<Vec<Vec<u8>>, ReadError> {
        self.read(move |reader| ids.iter().map(|id| reader.blob(id, limit)).collect()).await
    }

    /// The file at a path, from the repository's root, at a commit.
    ///
    /// # Errors
    /// As [`Reader::file`].
    pub async fn file(
        &self,
        commit: &CommitId,
        path: &str,
        limit: u64,
    ) -> Result<(BlobId, Vec<u8>), ReadError> {
        let (commit, path) = (commit.clone(), path.to_owned());
        self.read(move |reader| reader.file(&commit, &path, limit)).await
    }

    /// Whether `old` is `new` or one of the commits that it builds on.
    ///
    /// # Errors
    /// As [`Reader::is_ancestor`].
    pub async fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, ReadError> {
        let (old, new) = (old.clone(), new.clone());
        self.read(move |reader| reader.is_ancestor(&old, &new)).await
    }

    /// What a commit says of itself.
    ///
    /// # Errors
    /// As [`Reader::commit`].
    pub async fn commit(&self, id: &CommitId) -> Result<CommitInfo, ReadError> {
        let id = id.clone();
        self.read(move |reader| reader.commit(&id)).await
    }

    /// What a commit says of itself, after a look at the remote if the mirror does not have it yet.
    ///
    /// # Errors
    /// When the remote cannot be asked, or does not have it on the branch either.
    pub async fn ensure(&self, id: &CommitId) -> Result<CommitInfo, ReadError> {
        match self.commit(id).await {
            Err(ReadError::NotFound { .. }) => {
                self.check_now().await?;
                self.commit(id).await
            }
            known => known,
        }
    }

    /// Commits that `to` builds on and `from` does not, newest first.
    ///
    /// # Errors
    /// As [`Reader::log`].
    pub async fn log(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
        limit: usize,
    ) -> Result<Vec<CommitInfo>, ReadError> {
        let (from, to) = (from.cloned(), to.clone());
        self.read(move |reader| reader.log(from.as_ref(), &to, limit)).await
    }

    /// Runs several reads as one request, on the thread that owns the mirror.
    ///
    /// # Errors
    /// What `job` returns; also when the mirror cannot be opened or is no longer followed.
    pub async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        let read: Read = Box::new(move |reader| {
            // Nobody waits any more: the caller was cancelled, which is no concern of ours.
            drop(answer.send(reader.and_then(job)));
        });
        self.reads.send(read).await.map_err(|_| self.stopped())?;
        answered.await.map_err(|_| self.stopped())?
    }

    /// The configured patterns, from the repository's root: with a local address, they are relative to the folder that
    /// it names.
    ///
    /// # Errors
    /// While it is not known yet which folder that is.
    pub fn patterns(&self) -> Result<Vec<PathPattern>, ReadError> {
        let Some(prefix) = self.prefix.get() else {
            return Err(ReadError::NotFound {
                what: "the folder that the address names".into(),
                place: self.config.url.redacted(),
            });
        };
        if self.config.paths.is_empty() {
            return Ok(match prefix.as_str() {
                "" => Vec::new(),
                prefix => vec![PathPattern::folder(prefix)],
            });
        }
        self.config
            .paths
            .iter()
            .map(|pattern| {
                pattern.beneath(prefix).map_err(|error| ReadError::Refused {
                    path: pattern.to_string(),
                    reason: error.to_string(),
                })
            })
            .collect()
    }

    fn stopped(&self) -> ReadError {
        ReadError::Stopped { repo: self.config.name.clone() }
    }
}
