//! The loop behind each repository: what its poller sees is taken in.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consensus::Consensus;
use gitrepo::Observation;
use model::{CommitId, Timestamp};
use state::{Command, FileOutcome, RepoRecord, TakeRevision};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::intake::{
    DECLARED_ELSEWHERE, IntakeOptions, Others, Reader, plan_revision, read_head, split,
};
use crate::lead::Lead;
use crate::server::Clock;
use crate::source::RevisionSource;
use crate::worker::Worker;

/// Waits between tries to take in a head that could not be read.
const INTAKE_RETRY: Duration = Duration::from_secs(5);

/// A head, and when a poller saw it.
type Seen = (CommitId, Timestamp);

/// Takes in what one repository's poller sees, while this server leads.
pub(crate) struct Intake {
    pub(crate) name: String,
    pub(crate) source: Arc<dyn RevisionSource>,
    pub(crate) consensus: Consensus,
    pub(crate) clock: Clock,
    pub(crate) worker: Worker,
    pub(crate) reader: Reader,
    pub(crate) options: IntakeOptions,
    pub(crate) error: Arc<Mutex<Option<String>>>,
    pub(crate) branch: Arc<Mutex<String>>,
    /// The names of all repositories that are followed.
    pub(crate) followed: Arc<BTreeSet<String>>,
    /// Whether the head was looked at since the start: its files may mean something else now, if the settings changed.
    pub(crate) looked: bool,
}

impl Intake {
    pub(crate) async fn run(
        mut self,
        mut observations: mpsc::Receiver<Observation>,
        mut lead: Lead,
        stop: CancellationToken,
    ) {
        let mut pending: Option<Seen> = None;
        let mut led = lead.leads();
        loop {
            let retry = pending.is_some() && led;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                observed = observations.recv() => match observed {
                    None => return,
                    Some(observed) => self.see(observed, &mut pending),
                },
                begun = lead.begin(), if !led => {
                    if !begun {
                        return;
                    }
                    while let Ok(observed) = observations.try_recv() {
                        self.see(observed, &mut pending);
                    }
                    if let Some(seen) = pending.take() {
                        pending = stop.run_until_cancelled(self.check(seen)).await.flatten();
                    }
                }
                () = tokio::time::sleep(INTAKE_RETRY), if retry => {}
            }
            led = lead.leads();
            let Some((commit, seen_at)) = pending.as_ref().filter(|_| led) else { continue };
            self.worker.busy();
            let result = self.take(&commit.clone(), *seen_at).await;
            if let Err(error) = &result {
                tracing::warn!(
                    repo = self.name,
                    commit = commit.short(),
                    "revision was not taken in: {error}"
                );
            }
            *self.error.lock().unwrap_or_else(PoisonError::into_inner) = result.clone().err();
            // What another repository declares may become free at any time.
            if result.is_ok() && !self.waits() {
                pending = None;
            }
            self.worker.done((self.clock)(), result.err());
        }
    }

    /// Notes what the poller saw.
    fn see(&self, observed: Observation, pending: &mut Option<Seen>) {
        match observed.result {
            Ok(head) => {
                let mut branch = self.branch.lock().unwrap_or_else(PoisonError::into_inner);
                head.branch.clone_into(&mut branch);
                *pending = Some((head.commit.id, observed.at));
            }
            // What runs goes on; the poller's status says what is wrong.
            Err(error) => tracing::warn!(repo = self.name, "{error}"),
        }
    }

    /// What a server that just came to lead saw before may be old: the leader before may have taken in what came after
    /// it. So it is looked up again; and where that cannot be, only what follows what is desired counts.
    async fn check(&self, (commit, seen_at): Seen) -> Option<Seen> {
        match self.source.check_now().await {
            Ok(()) => match self.source.status().head {
                Some(head) if head.id != commit => Some((head.id, (self.clock)())),
                _ => Some((commit, seen_at)),
            },
            Err(error) => {
                let head = self.consensus.state().repo(&self.name)?.head.clone()?;
                let follows = self.source.is_ancestor(&head, &commit).await.unwrap_or(false);
                if !follows {
                    tracing::warn!(
                        repo = self.name,
                        commit = commit.short(),
                        "not taken in before the repository can be read again: {error}"
                    );
                }
                follows.then_some((commit, seen_at))
            }
        }
    }

    async fn take(&mut self, commit: &CommitId, seen_at: Timestamp) -> Result<(), String> {
        let state = self.consensus.state();
        let record = state.repo(&self.name).map(Arc::as_ref);
        let same = record.is_some_and(|record| record.head.as_ref() == Some(commit));
        if same && self.looked && !self.waits() {
            return Ok(());
        }
        let branch = self.branch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (head, reading) = read_head(
            self.source.as_ref(),
            &mut self.reader,
            record,
            (&self.name, &branch),
            commit,
            seen_at,
        )
        .await
        .map_err(|error| error.to_string())?;
        let others = Others::of(&state, &self.name, &self.followed);
        let at = (self.clock)();
        let taken = plan_revision(record, &others, &head, &reading, self.options.budget, at);
        self.looked = true;
        if same && taken.files.is_empty() {
            return Ok(());
        }
        for note in &taken.notes {
            tracing::warn!(repo = self.name, commit = commit.short(), "{note}");
        }
        let changed = taken.files.len();
        let subject = taken.subject.clone();
        let mut index = 0;
        for part in split(taken) {
            let applied = self
                .consensus
                .propose(Command::TakeRevision(Box::new(part)))
                .await
                .map_err(|error| error.to_string())?;
            if let Some(rejection) = applied.rejection {
                return Err(rejection.to_string());
            }
            index = applied.index;
        }
        tracing::info!(
            repo = self.name,
            commit = commit.short(),
            files = changed,
            index,
            "revision taken in: {subject}"
        );
        Ok(())
    }

    /// Whether a file cannot be used because another repository declares its job.
    fn waits(&self) -> bool {
        self.consensus.state().repo(&self.name).is_some_and(|record| {
            let mut problems = record.files.values().flat_map(|file| &file.problems);
            problems.any(|problem| problem.code == DECLARED_ELSEWHERE)
        })
    }
}

/// Holds the jobs of repositories that are followed no more: they keep running, and somebody has to say that they may
/// stop. When such a repository is followed again, its files say what is desired, as before.
pub(crate) async fn release(consensus: Consensus, followed: Arc<BTreeSet<String>>, clock: Clock) {
    let state = consensus.state();
    for record in state.repos().filter(|record| !followed.contains(&record.name)) {
        let Some(taken) = held(record, clock()) else { continue };
        for note in &taken.notes {
            tracing::warn!(repo = record.name, "{note}");
        }
        let proposed = consensus.propose(Command::TakeRevision(Box::new(taken))).await;
        let error = match proposed {
            Ok(applied) => applied.rejection.map(|rejection| rejection.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error {
            tracing::warn!(repo = record.name, "its jobs could not be held: {error}");
        }
    }
}

/// The same head again, with all that is not held yet held.
fn held(record: &RepoRecord, at: Timestamp) -> Option<TakeRevision> {
    let head = record.head.clone()?;
    let files: std::collections::BTreeMap<_, _> = record
        .files
        .iter()
        .filter(|(_, file)| !file.jobs.is_empty() && !file.removal_held)
        .map(|(path, _)| (path.clone(), FileOutcome::RemovalHeld))
        .collect();
    if files.is_empty() {
        return None;
    }
    let jobs: usize =
        files.keys().filter_map(|path| record.files.get(path)).map(|f| f.jobs.len()).sum();
    let note = format!(
        "repository `{}` is followed no more: {jobs} of its jobs keep running; run `herder hold approve` to stop them, \
         or follow it again",
        record.name,
    );
    Some(TakeRevision {
        repo: record.name.clone(),
        branch: record.branch.clone(),
        expected_head: Some(head.clone()),
        commit: head,
        subject: "followed no more".to_owned(),
        committed_at: at,
        seen_at: at,
        files,
        notes: vec![note],
        at,
        ..TakeRevision::default()
    })
}
