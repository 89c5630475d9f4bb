//! The thread that looks at the remote.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::Timestamp;
use tokio::sync::{mpsc, oneshot, watch as state};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::schedule::{History, Turns, next_poll, roll};
use super::status::{Failure, Head, Observation, PollStatus};
use super::watch::GitWatch;
use super::{Ask, QUEUE};
use crate::config::RepoConfig;
use crate::error::{FetchError, ReadError};
use crate::mirror::{Mirror, Refreshed};
use crate::pack::{Given, TakeError};

/// The longest wait after which whoever hands out turns is asked again, unless the interval is shorter.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// No turn is farther away.
const FARTHEST: Duration = Duration::from_secs(24 * 3600);

/// What following needs.
pub(super) struct Follower {
    pub(super) config: Arc<RepoConfig>,
    pub(super) data_dir: PathBuf,
    pub(super) seed: u64,
    pub(super) turns: Arc<dyn Turns>,
    pub(super) events: mpsc::Sender<Observation>,
    pub(super) stop: CancellationToken,
    pub(super) prefix: Arc<OnceLock<String>>,
    pub(super) status: state::Sender<PollStatus>,
}

/// Looks, tells, waits; until `stop`, or until nobody can ask any more.
pub(super) async fn run(mut follower: Follower, mut asked: mpsc::Receiver<Ask>) {
    let stop = follower.stop.clone();
    let mut mirror = None;
    let mut watch = GitWatch::new();
    let mut history =
        History { local: follower.config.url.local_path().is_some(), ..History::default() };
    let mut last: Option<Result<Head, FetchError>> = None;
    let mut not_before = Instant::now();
    let mut waiting: Vec<oneshot::Sender<Result<Head, FetchError>>> = Vec::new();
    loop {
        let result = match &last {
            // While the host limits our requests, asking again would only make it worse.
            Some(Err(error @ FetchError::RateLimited { .. })) if Instant::now() < not_before => {
                Err(error.clone())
            }
            _ => {
                let result = follower.look(&mut mirror, &mut watch);
                if stop.is_cancelled() {
                    break;
                }
                if matches!(result, Err(FetchError::Corrupt { .. })) {
                    // The damage may be ours: the mirror is checked, and if need be made anew, with the next look.
                    mirror = None;
                }
                history.failures = match &result {
                    Ok(_) => 0,
                    Err(_) => history.failures.saturating_add(1),
                };
                history.retry_after = result.as_ref().err().and_then(FetchError::retry_after);
                let wait = next_poll(follower.config.interval, &history, roll(&mut follower.seed));
                not_before = Instant::now() + wait;
                let turn = follower.turns.wait(&follower.config, &history, wait);
                follower.note(&result, history.failures, turn);
                let result = result.map(|(head, _)| head);
                follower.turns.saw(&follower.config, &result);
                result
            }
        };
        for answer in waiting.drain(..) {
            // A caller that no longer waits is no concern of ours.
            drop(answer.send(result.clone()));
        }
        if is_news(last.as_ref(), &result) && !follower.tell(result.clone()).await {
            break;
        }
        last = Some(result);
        let rest = Rest { history, alone: not_before };
        if !follower.wait(&mut mirror, &watch, &mut asked, &mut waiting, rest).await {
            break;
        }
    }
}

/// What the wait until the next look follows from.
#[derive(Clone, Copy)]
struct Rest {
    history: History,
    /// When one that is alone would look.
    alone: Instant,
}

type Looked = Result<(Head, bool), FetchError>;

impl Follower {
    /// Waits for a reason to look. `false` when it is time to end.
    async fn wait(
        &self,
        mirror: &mut Option<Mirror>,
        watch: &GitWatch,
        asked: &mut mpsc::Receiver<Ask>,
        waiting: &mut Vec<oneshot::Sender<Result<Head, FetchError>>>,
        rest: Rest,
    ) -> bool {
        let again = ASK_AGAIN.min(self.config.interval);
        let mut due = self.due(rest);
        loop {
            let now = Instant::now();
            let ask = tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                ask = asked.recv() => ask,
                () = watch.changed() => return true,
                () = sleep_until(due.min(now + again)) => {
                    if due <= Instant::now() {
                        return true;
                    }
                    due = self.due(rest);
                    continue;
                }
            };
            let Some(ask) = ask else { return false };
            // What was asked together is answered by one look.
            let more = std::iter::from_fn(|| asked.try_recv().ok()).take(QUEUE);
            for ask in std::iter::once(ask).chain(more) {
                match ask {
                    Ask::Check(answer) => waiting.push(answer),
                    Ask::Resolve(revision, answer) => {
                        drop(answer.send(self.resolve(mirror, &revision)));
                    }
                    // What the remote itself says counts, where it says something.
                    Ask::Take(_, answer) if rest.history.failures == 0 => {
                        drop(answer.send(Err(TakeError::Readable)));
                    }
                    Ask::Take(given, answer) => {
                        let taken = self.take(mirror, &given);
                        if let Ok(head) = &taken
                            && !self.tell(Ok(head.clone())).await
                        {
                            return false;
                        }
                        drop(answer.send(taken));
                    }
                }
            }
            if !waiting.is_empty() {
                return true;
            }
        }
    }

    /// When it is this one's turn.
    fn due(&self, rest: Rest) -> Instant {
        let now = Instant::now();
        let alone = rest.alone.saturating_duration_since(now);
        now + self.turns.wait(&self.config, &rest.history, alone).min(FARTHEST)
    }

    fn look(&self, mirror: &mut Option<Mirror>, watch: &mut GitWatch) -> Looked {
        let mirror = self.open(mirror)?;
        let mut looked = mirror.refresh(&self.stop);
        if let Some(prefix) = mirror.prefix() {
            self.prefix.get_or_init(|| prefix.to_owned());
        }
        // What is watched is known after the first look, and what happened between the two is seen by a second one.
        if watch.follow(&mirror.watched()) {
            let first = looked.as_ref().is_ok_and(|refreshed| refreshed.fetched);
            looked = mirror.refresh(&self.stop);
            if let Ok(refreshed) = &mut looked {
                refreshed.fetched |= first;
            }
        }
        let Refreshed { commit, branch, fetched } = looked?;
        Ok((Head { commit, branch }, fetched))
    }

    fn open<'a>(&self, mirror: &'a mut Option<Mirror>) -> Result<&'a mut Mirror, FetchError> {
        let opened = match mirror.take() {
            // Someone may have tidied up the data directory.
            Some(open) if open.path().exists() => open,
            _ => {
                let opened = Mirror::open(Arc::clone(&self.config), &self.data_dir)?;
                self.status.send_modify(|status| {
                    if let (None, Some((commit, branch))) = (&status.head, opened.head()) {
                        (status.head, status.branch) = (Some(commit), Some(branch));
                    }
                });
                opened
            }
        };
        Ok(mirror.insert(opened))
    }

    fn resolve(
        &self,
        mirror: &mut Option<Mirror>,
        revision: &str,
    ) -> Result<model::CommitId, ReadError> {
        self.open(mirror)?.resolve(revision, &self.stop)
    }

    /// `false` when it is time to end.
    async fn tell(&self, result: Result<Head, FetchError>) -> bool {
        let observation = Observation { repo: self.config.name.clone(), at: now(), result };
        let sent = self.stop.run_until_cancelled(self.events.send(observation)).await;
        matches!(sent, Some(Ok(())))
    }

    fn take(&self, mirror: &mut Option<Mirror>, given: &Given) -> Result<Head, TakeError> {
        let opened =
            self.open(mirror).map_err(|error| TakeError::Mirror { detail: error.to_string() })?;
        let Refreshed { commit, branch, .. } = opened.take(given, &self.stop)?;
        let head = Head { commit, branch };
        self.status.send_modify(|status| {
            status.fetches += 1;
            (status.head, status.branch) = (Some(head.commit.clone()), Some(head.branch.clone()));
        });
        let (repository, commit) = (self.config.name.as_str(), head.commit.id.short());
        tracing::info!(repository, commit, "the branch moved, as another agent's mirror has it");
        Ok(head)
    }

    fn note(&self, result: &Looked, failures: u32, wait: Duration) {
        let at = now();
        self.status.send_modify(|status| {
            status.polls += 1;
            status.last_poll_at = Some(at);
            status.next_poll_at = Some(at + wait);
            match result {
                Ok((head, fetched)) => {
                    status.fetches += u64::from(*fetched);
                    status.last_success_at = Some(at);
                    status.head = Some(head.commit.clone());
                    status.branch = Some(head.branch.clone());
                    status.error = None;
                }
                Err(error) => {
                    let (kind, message) = (error.kind(), error.to_string());
                    status.error = Some(Failure { kind, message, failures });
                }
            }
        });
        let repository = self.config.name.as_str();
        match result {
            Ok((head, true)) => {
                tracing::info!(repository, commit = head.commit.id.short(), "the branch moved");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(repository, failures, %error, "cannot look at the remote"),
        }
    }
}

/// Whether this differs from what was told last. A failure of the same kind is no news, whatever its words.
fn is_news(last: Option<&Result<Head, FetchError>>, result: &Result<Head, FetchError>) -> bool {
    match (last, result) {
        (None, _) => true,
        (Some(Ok(before)), Ok(head)) => {
            before.commit.id != head.commit.id || before.branch != head.branch
        }
        (Some(Err(before)), Err(error)) => before.kind() != error.kind(),
        (Some(_), _) => true,
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
