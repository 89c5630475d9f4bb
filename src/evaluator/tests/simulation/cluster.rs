//! The cluster: the state machine, virtual time and nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evaluator::{evaluate, preview};
use model::{
    AllocHealth, AllocId, AllocReport, Allocation, ClientStatus, CommitId, Deployment,
    DeploymentId, EvalTrigger, Job, JobId, Node, NodeId, NodeStatus, TaskState, Timestamp,
};
use state::{Command, FileOutcome, JobSubmission, State, TakeRevision};

use crate::laws;
use crate::samples::node;

/// Passes in a row that a single cause may need; more means that the loop spins.
const MOST_PASSES: usize = 12;
/// How long a task must run before its gate calls it healthy.
const HEALTHY_AFTER: Duration = Duration::from_secs(2);

/// What a task does, by its environment's `MODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Becomes healthy.
    Good,
    /// Fails as soon as it starts.
    Crash,
    /// Runs and never becomes healthy.
    Sick,
    /// Runs for three seconds and is done.
    Finish,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Crash => "crash",
            Self::Sick => "sick",
            Self::Finish => "finish",
        }
    }

    fn of(job: &Job) -> Self {
        let mode = job
            .task_groups
            .first()
            .and_then(|group| group.tasks.first())
            .and_then(|task| task.env.get("MODE"))
            .map_or("good", String::as_str);
        [Self::Good, Self::Crash, Self::Sick, Self::Finish]
            .into_iter()
            .find(|known| known.name() == mode)
            .unwrap_or(Self::Good)
    }
}

/// Gives a job a mode and a content that differs from others.
pub(crate) fn with(mut job: Job, mode: Mode, content: u32) -> Job {
    for group in &mut job.task_groups {
        for task in &mut group.tasks {
            task.env.insert("MODE".into(), mode.name().into());
            task.env.insert("CONTENT".into(), content.to_string());
        }
    }
    job
}

#[derive(Default)]
struct Life {
    born: Timestamp,
    started: Timestamp,
    judged_for: Option<DeploymentId>,
    judged_since: Timestamp,
    stop_at: Option<Timestamp>,
}

pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    /// Lowest number of serving instances of each job since [`Cluster::watch`].
    pub(crate) lowest: BTreeMap<JobId, usize>,
    /// All allocations ever placed, with the version they were placed with.
    pub(crate) placed: Vec<(AllocId, JobId, u64)>,
    lives: BTreeMap<AllocId, Life>,
    wake: Option<Timestamp>,
    dirty: bool,
    stop_takes: u64,
    /// Nodes that nobody hears; what they run goes on.
    pub(crate) cut: BTreeSet<NodeId>,
    /// Allocations that run in truth, whatever the servers think.
    pub(crate) truth: BTreeSet<AllocId>,
    /// Nodes on which nothing gets started, though they answer.
    pub(crate) stuck: BTreeSet<NodeId>,
}

impl Cluster {
    pub(crate) fn new(nodes: u32) -> Self {
        Self::of((1..=nodes).map(node))
    }

    pub(crate) fn of(nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut cluster = Self {
            state: State::default(),
            now: Timestamp::from_secs(1_000_000),
            lowest: BTreeMap::new(),
            placed: Vec::new(),
            lives: BTreeMap::new(),
            wake: None,
            dirty: false,
            stop_takes: 1,
            cut: BTreeSet::new(),
            truth: BTreeSet::new(),
            stuck: BTreeSet::new(),
        };
        for node in nodes {
            cluster.join(node);
        }
        cluster
    }

    pub(crate) fn apply(&mut self, command: &Command) -> state::Applied {
        let applied = self.state.apply(self.state.index() + 1, command);
        self.dirty = true;
        applied
    }

    pub(crate) fn must_apply(&mut self, command: &Command) {
        let applied = self.apply(command);
        assert_eq!(applied.rejection, None, "{command:?}");
    }

    pub(crate) fn join(&mut self, node: Node) {
        let at = self.now;
        self.must_apply(&Command::RegisterNode { node: Box::new(node), at });
    }

    pub(crate) fn node_down(&mut self, n: u32) {
        let (node, at) = (node(n).id, self.now);
        self.must_apply(&Command::SetNodeStatus { node, status: NodeStatus::Down, at });
    }

    pub(crate) fn node_up(&mut self, n: u32) {
        let (node, at) = (node(n).id, self.now);
        self.must_apply(&Command::SetNodeStatus { node, status: NodeStatus::Ready, at });
    }

    pub(crate) fn revision(&self, files: BTreeMap<String, FileOutcome>) -> TakeRevision {
        let repo = self.state.repo("infra");
        let commit = format!("{:040}", self.state.index() + 1);
        TakeRevision {
            repo: "infra".into(),
            branch: "main".into(),
            expected_head: repo.and_then(|repo| repo.head.clone()),
            commit: CommitId::from(commit),
            files,
            at: self.now,
            ..TakeRevision::default()
        }
    }

    pub(crate) fn file(job: &Job) -> (String, FileOutcome) {
        let outcome = FileOutcome::Job {
            blob: model::BlobId::default(),
            submission: JobSubmission { job: Arc::new(job.clone()) },
            problems: Vec::new(),
        };
        (format!("{}.hcl", job.id), outcome)
    }

    pub(crate) fn commit(&mut self, job: &Job) {
        let revision = self.revision([Self::file(job)].into());
        let shown = preview(&self.state, &revision, self.now);
        self.must_apply(&Command::TakeRevision(Box::new(revision)));
        if !shown.plan.is_empty() {
            let jobs = [(job.id.clone(), EvalTrigger::JobRegister)].into();
            let planned = evaluate(&self.state, &jobs, self.now);
            assert_eq!(shown.plan, planned, "what was shown is what runs");
        }
    }

    pub(crate) fn remove(&mut self, id: &str) {
        let revision = self.revision([(format!("{id}.hcl"), FileOutcome::Removed)].into());
        self.must_apply(&Command::TakeRevision(Box::new(revision)));
    }

    /// Starts to note the lowest number of serving instances.
    pub(crate) fn watch(&mut self) {
        self.lowest.clear();
    }

    /// Evaluates until nothing is left to do, then lets that many seconds pass.
    pub(crate) fn run(&mut self, secs: u64) {
        for _ in 0..secs {
            self.evaluate();
            self.tick();
        }
        self.evaluate();
        let plan = evaluate(&self.state, &self.everything(), self.now);
        assert!(plan.is_empty(), "evaluating again has nothing to add: {plan:#?}");
    }

    fn everything(&self) -> BTreeMap<JobId, EvalTrigger> {
        self.state.jobs().map(|job| (job.id.clone(), EvalTrigger::JobRegister)).collect()
    }

    fn evaluate(&mut self) {
        if !self.dirty && self.wake.is_none_or(|wake| wake > self.now) {
            self.note_serving();
            return;
        }
        for pass in 0.. {
            assert!(pass < MOST_PASSES, "the loop spins");
            let jobs = self.everything();
            let plan = evaluate(&self.state, &jobs, self.now);
            let again = evaluate(&self.state, &jobs, self.now);
            assert_eq!(
                serde_json::to_vec(&plan).expect("writes"),
                serde_json::to_vec(&again).expect("writes"),
                "equal inputs give equal plans"
            );
            self.wake = plan.wake.values().min().copied();
            assert!(self.wake.is_none_or(|wake| wake > self.now), "wakes lie ahead");
            if plan.is_empty() {
                break;
            }
            laws::check_plan(&self.state, &plan);
            laws::check_batches(&self.state, &plan);
            self.placed.extend(
                plan.place.iter().map(|alloc| (alloc.id, alloc.job.clone(), alloc.job_version)),
            );
            let before = self.state.clone();
            self.must_apply(&Command::ApplyPlan(Box::new(plan)));
            laws::check_step(&before, &self.state);
            laws::check_state(&self.state);
            self.note_serving();
        }
        laws::check_settled(&self.state);
        self.dirty = false;
        self.note_serving();
    }

    fn note_serving(&mut self) {
        let jobs: Vec<JobId> = self.state.jobs().map(|job| job.id.clone()).collect();
        for id in jobs {
            let serving = self.serving(id.as_str());
            let lowest = self.lowest.entry(id).or_insert(serving);
            *lowest = serving.min(*lowest);
        }
    }

    fn tick(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        let allocs: Vec<Arc<Allocation>> = self.state.allocs().cloned().collect();
        let updates: Vec<AllocReport> =
            allocs.iter().filter_map(|alloc| self.live(alloc)).collect();
        for update in &updates {
            if update.client == ClientStatus::Running {
                self.truth.insert(update.alloc);
            } else if update.client.is_terminal() {
                self.truth.remove(&update.alloc);
            }
        }
        // A node that is heard of again stops what it is told to, whatever that was taken for meanwhile.
        let cut = &self.cut;
        self.truth.retain(|id| {
            let alloc = self.state.alloc(*id);
            alloc.is_some_and(|alloc| cut.contains(&alloc.node) || !alloc.client.is_terminal())
        });
        if !updates.is_empty() {
            let at = self.now;
            self.must_apply(&Command::UpdateAllocs { updates, at });
        }
    }

    /// What a node reports of an allocation now.
    fn live(&mut self, alloc: &Allocation) -> Option<AllocReport> {
        let up = self.state.node(alloc.node).is_some_and(|node| node.status == NodeStatus::Ready);
        if alloc.client.is_terminal() || !up || self.cut.contains(&alloc.node) {
            return None;
        }
        let now = self.now;
        let version = self.state.job_version(&alloc.job, alloc.job_version)?;
        let mode = Mode::of(&version.job);
        let life =
            self.lives.entry(alloc.id).or_insert_with(|| Life { born: now, ..Life::default() });
        if alloc.server_terminal() {
            let wait = Duration::from_secs(self.stop_takes);
            let stop_at = *life.stop_at.get_or_insert(now + wait);
            return (now >= stop_at).then(|| report(alloc, ClientStatus::Complete, now));
        }
        if alloc.client == ClientStatus::Unknown {
            let runs = self.truth.contains(&alloc.id);
            let client = if runs { ClientStatus::Running } else { ClientStatus::Pending };
            life.born = now;
            return Some(report(alloc, client, now));
        }
        if alloc.client == ClientStatus::Pending {
            let starts = !self.stuck.contains(&alloc.node);
            if !starts || now.since(life.born) < Duration::from_secs(1) {
                return None;
            }
            if mode == Mode::Crash {
                return Some(crashed(alloc, now));
            }
            life.started = now;
            return Some(report(alloc, ClientStatus::Running, now));
        }
        if mode == Mode::Finish && now.since(life.started) >= Duration::from_secs(3) {
            return Some(report(alloc, ClientStatus::Complete, now));
        }
        if life.judged_for != alloc.deployment {
            life.judged_for = alloc.deployment;
            life.judged_since = now;
        }
        if alloc.deployment.is_none() || alloc.health.is_some() {
            return None;
        }
        let healthy = match mode {
            Mode::Good | Mode::Finish
                if now.since(life.started.max(life.judged_since)) >= HEALTHY_AFTER =>
            {
                true
            }
            Mode::Sick if now.since(life.started) >= Duration::from_secs(5) => false,
            _ => return None,
        };
        let reason = if healthy { String::new() } else { "check \"alive\" is critical".to_owned() };
        Some(AllocReport {
            health: Some(AllocHealth { healthy, at: now, reason: reason.into() }),
            ..report(alloc, ClientStatus::Running, now)
        })
    }

    /// Lets a running allocation fail for good.
    pub(crate) fn crash(&mut self, id: AllocId) {
        let Some(alloc) = self.state.alloc(id).cloned() else { return };
        let (update, at) = (crashed(&alloc, self.now), self.now);
        self.must_apply(&Command::UpdateAllocs { updates: vec![update], at });
    }

    /// How many instances of a job serve.
    pub(crate) fn serving(&self, job: &str) -> usize {
        self.state
            .allocs_of_job(&JobId::from(job))
            .filter(|alloc| {
                let version = self.state.job_version(&alloc.job, alloc.job_version);
                let ready = self.lives.get(&alloc.id).is_some_and(|life| {
                    !life.started.is_zero() && self.now.since(life.started) >= HEALTHY_AFTER
                });
                ready
                    && !alloc.server_terminal()
                    && alloc.client == ClientStatus::Running
                    && version.is_some_and(|version| Mode::of(&version.job) != Mode::Sick)
                    && self
                        .state
                        .node(alloc.node)
                        .is_some_and(|node| node.status == NodeStatus::Ready)
            })
            .count()
    }

    /// The allocations of a job that are meant to run and are not over.
    pub(crate) fn running(&self, job: &str) -> Vec<Arc<Allocation>> {
        self.state
            .allocs_of_job(&JobId::from(job))
            .filter(|alloc| !alloc.terminal())
            .cloned()
            .collect()
    }

    /// The versions that run, one entry for each allocation, sorted.
    pub(crate) fn versions(&self, job: &str) -> Vec<u64> {
        let mut versions: Vec<u64> =
            self.running(job).iter().map(|alloc| alloc.job_version).collect();
        versions.sort_unstable();
        versions
    }

    pub(crate) fn deployment(&self, job: &str) -> Arc<Deployment> {
        Arc::clone(self.state.latest_deployment(&JobId::from(job)).expect("there is a deployment"))
    }

    /// How many allocations were ever placed of a version.
    pub(crate) fn placed_of(&self, job: &str, version: u64) -> usize {
        self.placed.iter().filter(|(_, id, v)| id.as_str() == job && *v == version).count()
    }
}

fn report(alloc: &Allocation, client: ClientStatus, now: Timestamp) -> AllocReport {
    let failed = client == ClientStatus::Failed;
    let finished_at = if client.is_terminal() { now } else { Timestamp::ZERO };
    let task = TaskState { failed, finished_at, ..TaskState::default() };
    AllocReport {
        alloc: alloc.id,
        client,
        tasks: [("web".to_owned(), task)].into(),
        deployment: alloc.deployment,
        ..AllocReport::default()
    }
}

fn crashed(alloc: &Allocation, now: Timestamp) -> AllocReport {
    let reason = "task \"web\" exited with 1".to_owned();
    AllocReport {
        health: alloc.deployment.map(|_| AllocHealth {
            healthy: false,
            at: now,
            reason: reason.into(),
        }),
        ..report(alloc, ClientStatus::Failed, now)
    }
}
