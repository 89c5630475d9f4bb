//! The handle that the rest of the agent holds, and the loops behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consensus::{Consensus, RaftStatus};
use gitrepo::Observation;
use model::{AllocId, CommitId, DeploymentId, JobId, Timestamp};
use state::{Applied, Command, Plan, State, StopAlloc};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fleet::{FleetOptions, Listening};
use crate::follow::{Intake, release};
use crate::garbage::{Keep, collect, is_empty};
use crate::intake::{IntakeOptions, Others, Overlay, Reader, plan_revision, read_head};
use crate::lead::Lead;
use crate::reconciler::Reconciler;
use crate::request::{PlanOutcome, PlanRequest, PlanSource, RepoStatus, ServerError};
use crate::source::RevisionSource;
use crate::worker::{Worker, WorkerStatus, Workers};

/// Where "now" comes from: the one place that may ask.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How often old records are looked for.
const GARBAGE_INTERVAL: Duration = Duration::from_secs(300);

/// A repository that the server follows.
pub struct Repository {
    /// Its name.
    pub name: String,
    /// Where it is, without credentials.
    pub url: String,
    /// How its revisions are read.
    pub source: Arc<dyn RevisionSource>,
    /// What its poller saw.
    pub observations: mpsc::Receiver<Observation>,
    /// How revisions are taken in.
    pub intake: IntakeOptions,
}

/// What a server is made of.
pub struct ServerOptions {
    /// The log and the state.
    pub consensus: Consensus,
    /// The repositories, each with a name of its own.
    pub repositories: Vec<Repository>,
    /// The clock.
    pub clock: Clock,
    /// Ends the loops.
    pub stop: CancellationToken,
}

/// A running server. Cloning it is another handle to the same one.
#[derive(Clone)]
pub struct Server {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) consensus: Consensus,
    pub(crate) fleet: FleetOptions,
    pub(crate) listening: Listening,
    repositories: BTreeMap<String, Followed>,
    clock: Clock,
    workers: Workers,
    tasks: TaskTracker,
}

/// What is left of a repository once its loop has taken the observations.
struct Followed {
    url: String,
    source: Arc<dyn RevisionSource>,
    intake: IntakeOptions,
    error: Arc<Mutex<Option<String>>>,
    branch: Arc<Mutex<String>>,
}

impl Server {
    /// Starts the loops, for a server that may be alone. See [`Server::start_in_fleet`].
    pub fn start(options: ServerOptions) -> Self {
        Self::start_in_fleet(options, FleetOptions::default())
    }

    /// Starts the loops. Those that decide wait until this server leads, and begin anew from the state each time.
    pub fn start_in_fleet(options: ServerOptions, fleet: FleetOptions) -> Self {
        let ServerOptions { consensus, repositories, clock, stop } = options;
        let workers = Workers::default();
        let tasks = TaskTracker::new();
        let lead = Lead::new(consensus.clone(), stop.clone());
        let names: Arc<BTreeSet<String>> =
            Arc::new(repositories.iter().map(|repository| repository.name.clone()).collect());
        tasks.spawn(lead.clone().keep({
            let (consensus, names, clock) = (consensus.clone(), Arc::clone(&names), clock.clone());
            move || release(consensus.clone(), Arc::clone(&names), Arc::clone(&clock))
        }));
        let mut followed = BTreeMap::new();
        for repository in repositories {
            let error = Arc::new(Mutex::new(None));
            let branch = Arc::new(Mutex::new(String::new()));
            let intake = Intake {
                name: repository.name.clone(),
                source: Arc::clone(&repository.source),
                consensus: consensus.clone(),
                clock: Arc::clone(&clock),
                worker: workers.register(format!("intake {}", repository.name)),
                reader: Reader::new(repository.intake.inputs.clone()),
                options: repository.intake.clone(),
                error: Arc::clone(&error),
                branch: Arc::clone(&branch),
                followed: Arc::clone(&names),
                looked: false,
            };
            tasks.spawn(intake.run(repository.observations, lead.clone(), stop.clone()));
            followed.insert(
                repository.name,
                Followed {
                    url: repository.url,
                    source: repository.source,
                    intake: repository.intake,
                    error,
                    branch,
                },
            );
        }
        tasks.spawn(lead.clone().keep({
            let worker = Arc::new(workers.register("reconciler"));
            let (consensus, clock) = (consensus.clone(), Arc::clone(&clock));
            move || {
                let (clock, worker) = (Arc::clone(&clock), Arc::clone(&worker));
                Reconciler::new(consensus.clone(), clock, worker).run(stop.clone())
            }
        }));
        tasks.spawn(lead.clone().keep({
            let worker = Arc::new(workers.register("garbage"));
            let (consensus, clock) = (consensus.clone(), Arc::clone(&clock));
            move || collect_garbage(consensus.clone(), Arc::clone(&clock), Arc::clone(&worker))
        }));
        tasks.spawn(lead.clone().keep({
            let worker = Arc::new(workers.register("drainer"));
            let (consensus, clock) = (consensus.clone(), Arc::clone(&clock));
            move || crate::drainer::run(consensus.clone(), Arc::clone(&clock), Arc::clone(&worker))
        }));
        tasks.spawn(lead.clone().keep({
            let worker = Arc::new(workers.register("periodic"));
            let (consensus, clock) = (consensus.clone(), Arc::clone(&clock));
            move || crate::periodic::run(consensus.clone(), Arc::clone(&clock), Arc::clone(&worker))
        }));
        tasks.spawn(lead.clone().keep({
            let worker = Arc::new(workers.register("improve"));
            let (consensus, clock) = (consensus.clone(), Arc::clone(&clock));
            move || crate::improve::run(consensus.clone(), Arc::clone(&clock), Arc::clone(&worker))
        }));
        let listening = Listening::default();
        tasks.spawn(lead.keep({
            let worker = Arc::new(workers.register("heartbeats"));
            let (consensus, clock) = (consensus.clone(), Arc::clone(&clock));
            let (fleet, listening) = (fleet.clone(), listening.clone());
            move || {
                let (clock, worker) = (Arc::clone(&clock), Arc::clone(&worker));
                listening.clone().run(consensus.clone(), fleet.clone(), clock, worker)
            }
        }));
        tasks.close();
        let inner =
            Inner { consensus, fleet, listening, repositories: followed, clock, workers, tasks };
        Self { inner: Arc::new(inner) }
    }

    /// Waits until the loops have ended after the stop was asked for.
    pub async fn join(&self) {
        self.inner.tasks.wait().await;
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.inner.consensus.state()
    }

    /// The index of the last command applied, for those who wait for a change.
    pub fn index(&self) -> watch::Receiver<u64> {
        self.inner.consensus.index()
    }

    /// Whether this server leads.
    pub fn is_leader(&self) -> bool {
        self.inner.consensus.is_leader()
    }

    /// Where Raft stands.
    pub fn raft_status(&self) -> RaftStatus {
        self.inner.consensus.metrics()
    }

    /// The loops and what they do.
    pub fn workers(&self) -> BTreeMap<String, WorkerStatus> {
        self.inner.workers.list()
    }

    /// Promotes a deployment's canaries; all groups if none is named. Returns the state's index.
    pub async fn promote(
        &self,
        deployment: DeploymentId,
        groups: Vec<String>,
    ) -> Result<u64, ServerError> {
        self.propose(Command::Promote { deployment, groups, at: self.now() }).await
    }

    /// Fails a deployment. Returns the state's index.
    pub async fn fail_deployment(&self, deployment: DeploymentId) -> Result<u64, ServerError> {
        self.propose(Command::FailDeployment { deployment, at: self.now() }).await
    }

    /// Stops an allocation that is to run; what is desired brings another one in its place. Returns the state's index.
    pub async fn stop_allocation(&self, id: AllocId) -> Result<u64, ServerError> {
        // Another plan may come first; then it is looked at again.
        let mut attempts = 5;
        loop {
            let before = self.state();
            match self.propose(self.stop_of(&before, id)?).await {
                Err(ServerError::Conflict(_))
                    if attempts > 0 && before.index() < self.state().index() =>
                {
                    attempts -= 1;
                }
                answer => return answer,
            }
        }
    }

    fn stop_of(&self, state: &State, id: AllocId) -> Result<Command, ServerError> {
        let alloc = state
            .alloc(id)
            .ok_or_else(|| ServerError::NotFound { what: format!("allocation `{id}`") })?;
        if alloc.terminal() {
            let words = format!("allocation {} is stopped or over already", id.short());
            return Err(ServerError::Conflict(words));
        }
        let stop = vec![StopAlloc {
            alloc: id,
            description: "alloc was stopped on request".to_owned(),
            ..StopAlloc::default()
        }];
        let plan = Plan { basis: state.index(), at: self.now(), stop, ..Plan::default() };
        Ok(Command::ApplyPlan(Box::new(plan)))
    }

    /// Lets removals go on that were held; all if no job is named. Returns the state's index.
    pub async fn approve_removals(
        &self,
        repo: Option<&str>,
        jobs: Vec<JobId>,
    ) -> Result<u64, ServerError> {
        let name = match (self.repository(repo), repo) {
            (Ok((name, _)), _) => name,
            // What a repository left behind that is followed no more.
            (Err(_), Some(name)) if self.state().repo(name).is_some() => name,
            (Err(error), _) => return Err(error),
        };
        self.propose(Command::ApproveRemovals { repo: name.to_owned(), jobs, at: self.now() }).await
    }

    /// The repositories.
    pub fn repos(&self) -> Vec<RepoStatus> {
        let locked =
            |text: &Mutex<String>| text.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.inner
            .repositories
            .iter()
            .map(|(name, repo)| RepoStatus {
                name: name.clone(),
                url: repo.url.clone(),
                branch: locked(&repo.branch),
                poll: repo.source.status(),
                intake_error: repo.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            })
            .collect()
    }

    /// Asks the pollers to look now; all of them if none is named.
    pub async fn check_now(&self, repo: Option<&str>) -> Result<(), ServerError> {
        let chosen: Vec<&Followed> = match repo {
            Some(_) => vec![self.repository(repo)?.1],
            None => self.inner.repositories.values().collect(),
        };
        for repo in chosen {
            repo.source.check_now().await?;
        }
        Ok(())
    }

    /// What would happen, by the function that makes it happen (law 2). Changes nothing.
    pub async fn plan(&self, request: PlanRequest) -> Result<PlanOutcome, ServerError> {
        let (name, repo) = self.repository(request.repo.as_deref())?;
        let state = self.state();
        let record = state.repo(name);
        let branch = repo.branch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut reader = Reader::new(repo.intake.inputs.clone());
        let (commit, head, reading) = match request.source {
            PlanSource::Files { files, under, gone } => {
                let (head, reading) = crate::intake::read_files(
                    repo.source.as_ref(),
                    &mut reader,
                    record.map(Arc::as_ref),
                    (name, &branch),
                    Overlay { files: &files, under: &under, gone: &gone },
                    self.now(),
                )
                .await?;
                (None, head, reading)
            }
            source @ (PlanSource::Revision(_) | PlanSource::Head) => {
                let commit = match source {
                    PlanSource::Revision(revision) => repo.source.resolve(&revision).await?,
                    _ => self.polled_head(name, repo)?,
                };
                let (head, reading) = read_head(
                    repo.source.as_ref(),
                    &mut reader,
                    record.map(Arc::as_ref),
                    (name, &branch),
                    &commit,
                    self.now(),
                )
                .await?;
                (Some(commit), head, reading)
            }
        };
        let followed = self.inner.repositories.keys().cloned().collect();
        let others = Others::of(&state, name, &followed);
        let taken = plan_revision(
            record.map(Arc::as_ref),
            &others,
            &head,
            &reading,
            repo.intake.budget,
            self.now(),
        );
        let mut problems = Vec::new();
        let mut paths = BTreeMap::new();
        let mut launches = BTreeMap::new();
        for (path, outcome) in &taken.files {
            problems.extend(outcome.problems().iter().cloned());
            for submission in outcome.submissions() {
                paths.insert(submission.job.id.clone(), path.clone());
                let next = crate::periodic::next_time(&submission.job, self.now());
                launches.extend(next.map(|next| (submission.job.id.clone(), next)));
            }
            if !matches!(
                outcome,
                state::FileOutcome::Removed
                    | state::FileOutcome::RemovalHeld
                    | state::FileOutcome::Forgotten
            ) {
                continue;
            }
            let file = record.and_then(|record| record.files.get(path));
            // A job that its file declares no more is named after both.
            match (file, path.rsplit_once('#')) {
                (Some(file), _) => {
                    for job in &file.jobs {
                        paths.entry(job.clone()).or_insert_with(|| path.clone());
                    }
                }
                (None, Some((path, job))) => {
                    paths.insert(job.into(), path.to_owned());
                }
                (None, None) => {}
            }
        }
        let preview = evaluator::preview(&state, &taken, self.now());
        let mut notes = taken.notes;
        notes.extend(crate::improve::notes(&preview.moves));
        Ok(PlanOutcome { repo: name.to_owned(), commit, preview, paths, launches, problems, notes })
    }

    fn polled_head(&self, name: &str, repo: &Followed) -> Result<CommitId, ServerError> {
        let status = repo.source.status();
        match (status.head, status.error) {
            (Some(head), _) => Ok(head.id),
            (None, Some(error)) => {
                Err(ServerError::Unavailable(format!("repository `{name}`: {}", error.message)))
            }
            (None, None) => Err(ServerError::Unavailable(format!(
                "repository `{name}` was not read yet; try again in a moment"
            ))),
        }
    }

    fn repository(&self, name: Option<&str>) -> Result<(&str, &Followed), ServerError> {
        let repos = &self.inner.repositories;
        match name {
            Some(name) => repos
                .get_key_value(name)
                .map(|(name, repo)| (name.as_str(), repo))
                .ok_or_else(|| ServerError::NotFound { what: format!("repository `{name}`") }),
            None if repos.len() == 1 => repos
                .iter()
                .next()
                .map(|(name, repo)| (name.as_str(), repo))
                .ok_or_else(|| ServerError::NotFound { what: "repository".to_owned() }),
            None if repos.is_empty() => Err(ServerError::Invalid(
                "this agent follows no repository; start it with --repo".to_owned(),
            )),
            None => Err(ServerError::Invalid(format!(
                "there are several repositories, name one of them: {}",
                repos.keys().cloned().collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// Puts a command into the log, and turns a rejection into an error.
    pub async fn propose(&self, command: Command) -> Result<u64, ServerError> {
        let applied: Applied = self
            .inner
            .consensus
            .propose(command)
            .await
            .map_err(|error| ServerError::Unavailable(error.to_string()))?;
        match applied.rejection {
            None => Ok(applied.index),
            Some(state::Rejection::NotFound { what, id }) => {
                Err(ServerError::NotFound { what: format!("{what} `{id}`") })
            }
            Some(rejection) => Err(ServerError::Conflict(rejection.to_string())),
        }
    }

    /// The time, by the server's clock.
    pub fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }
}

async fn collect_garbage(consensus: Consensus, clock: Clock, worker: Arc<Worker>) {
    loop {
        tokio::time::sleep(GARBAGE_INTERVAL).await;
        worker.busy();
        let garbage = collect(&consensus.state(), Keep::default(), clock());
        let error = if is_empty(&garbage) {
            None
        } else {
            consensus
                .propose(Command::CollectGarbage(garbage))
                .await
                .err()
                .map(|error| error.to_string())
        };
        worker.done(clock(), error);
    }
}
