//! Owns one allocation: takes in what happens, lets the pure machines decide, writes the record, then acts.
//!
//! A runner is one future. Whatever takes time (drivers, checks) runs inside it as a set of smaller futures, so that
//! dropping the runner drops everything and no task runs away. It sleeps until something happens or is due.

mod checks;
mod cores;
mod fence;
mod ops;
mod orders;
mod rerender;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driver::{Attached, Driver, Progress};
use futures_util::future::{AbortHandle, BoxFuture, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use model::{
    AllocId, Allocation, DesiredStatus, Group, JobVersion, TaskRunState, Timestamp, Update,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::checks::CheckRun;
use self::ops::OpContext;
use self::rerender::Rerendered;
pub(crate) use self::rerender::splay;
use crate::check::Seen;
use crate::dirs::Dirs;
use crate::health::{CheckView, Gate, TaskView};
use crate::ledger::{Ledger, ORDERS};
use crate::lifecycle::{Action, Event, Op, Phase, Recovery, Rules, StopOrder};
use crate::orders::{Answer, Order, OrderError};
use crate::prepare::artifacts;
use crate::record::{Record, Store};
use crate::reports::Reports;
use crate::stats::Samples;
use crate::usage::DiskUse;
use crate::{AllocReport, Assignment, Options, networks};

/// How long a stopping agent waits for starts that are under way, so that their handles are written down.
const FINISH_STARTS: Duration = Duration::from_secs(2);

/// How much of what drivers say may wait to be written down.
const NOTES: usize = 32;

/// What all runners of a node share.
pub(crate) struct Shared {
    pub options: Options,
    pub drivers: BTreeMap<String, Arc<dyn Driver>>,
    pub dirs: Dirs,
    pub store: Store,
    pub reports: Arc<Reports>,
    pub ledger: Ledger,
    pub samples: Samples,
    /// Allocations that were told that they fill more than they asked for.
    pub overfull: Mutex<BTreeSet<AllocId>>,
    /// Cores that are some task's alone.
    pub kept: watch::Sender<BTreeSet<u16>>,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    /// What a full core counts for, in MHz.
    pub(crate) fn mhz_of_a_core(&self) -> f64 {
        let mhz = self.options.node.attributes.get("cpu.frequency");
        mhz.and_then(|mhz| mhz.parse().ok()).unwrap_or(1000.0)
    }

    pub(crate) fn overfull(&self) -> MutexGuard<'_, BTreeSet<AllocId>> {
        self.overfull.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn disk_use(&self) -> DiskUse {
        let (look, path) = (self.options.disk_use.clone(), self.options.data_dir.join("alloc"));
        tokio::task::spawn_blocking(move || look(&path)).await.unwrap_or_default()
    }

    /// Gives a runner an order and waits for what came of it.
    pub(crate) async fn order(
        &self,
        alloc: AllocId,
        order: Order,
        answered: oneshot::Receiver<Result<(), OrderError>>,
    ) -> Result<(), OrderError> {
        let unknown =
            || OrderError::NotFound(format!("allocation {} is not on this node", alloc.short()));
        let orders = self.ledger.orders(alloc).ok_or_else(unknown)?;
        orders.send(order).await.map_err(|_| unknown())?;
        answered.await.unwrap_or_else(|_| Err(unknown()))
    }
}

/// What the servers want of an allocation.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// Nobody was asked since the agent started: go on.
    Unsaid,
    /// This.
    Assigned(Assignment),
    /// They forgot it.
    Gone,
}

/// How a runner ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The agent stops; tasks run on.
    Kept,
    /// Nothing of the allocation is left.
    Removed,
}

/// What a future of the set brings back.
enum Done {
    Task { task: String, generation: u64, event: Event },
    Check { key: String, number: u64, seen: Seen },
    Ordered { answer: Answer, result: Result<(), OrderError> },
    Rerendered { task: String, rerendered: Rerendered },
    Overtaken,
}

/// Something that is being done for a task, in words.
struct Note {
    task: String,
    kind: &'static str,
    message: String,
}

/// The act under way for a task.
struct Current {
    abort: AbortHandle,
    cancel: CancellationToken,
}

/// What is on the disk. Allocation and job are never changed in place, so that comparing pointers is enough.
struct Saved {
    alloc: Arc<Allocation>,
    job: Arc<JobVersion>,
    moving: Vec<u8>,
}

/// Owns one allocation.
pub(crate) struct Runner {
    shared: Arc<Shared>,
    record: Record,
    saved: Option<Saved>,
    wanted: watch::Receiver<Wanted>,
    kept: watch::Receiver<BTreeSet<u16>>,
    ops: FuturesUnordered<BoxFuture<'static, Done>>,
    current: BTreeMap<String, Current>,
    checks: BTreeMap<String, CheckRun>,
    /// What drivers and stages say while a task is being started.
    notes: (mpsc::Sender<Note>, mpsc::Receiver<Note>),
    orders: mpsc::Receiver<Order>,
    reported: Option<AllocReport>,
    gone: bool,
    /// Whether its network was released; the audit does it again where that failed.
    released: bool,
}

impl Runner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        record: Record,
        wanted: watch::Receiver<Wanted>,
    ) -> Self {
        let (sender, orders) = mpsc::channel(ORDERS);
        shared.ledger.reach(record.alloc.id, sender);
        let kept = shared.kept.subscribe();
        let mut runner = Self {
            shared,
            kept,
            record,
            saved: None,
            wanted,
            ops: FuturesUnordered::new(),
            current: BTreeMap::new(),
            checks: BTreeMap::new(),
            notes: mpsc::channel(NOTES),
            orders,
            reported: None,
            gone: false,
            released: false,
        };
        runner.replan_checks();
        runner
    }

    /// Runs until the allocation is gone or `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> End {
        self.take_wanted();
        self.finish_collecting().await;
        loop {
            let looked_at = self.settle().await;
            if self.record.lifecycle.is_clean() {
                self.release_network().await;
            }
            if self.gone && self.record.lifecycle.is_clean() {
                self.clean_up().await;
                return End::Removed;
            }
            let sleep = self.sleep_until_due(looked_at);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.take_wanted(),
                    Err(_) => break,
                },
                Ok(()) = self.kept.changed() => self.share_cores(),
                Some(note) = self.notes.1.recv() => self.write_down(&note),
                Some(done) = self.ops.next() => self.take(done),
                Some(order) = self.orders.recv() => self.obey(order).await,
                () = sleep => {}
            }
        }
        self.finish_starts().await;
        End::Kept
    }

    /// Does everything that follows from what is known, until nothing more does.
    /// Returns the moment as of which nothing more did.
    async fn settle(&mut self) -> Timestamp {
        let looked_at = loop {
            let now = self.shared.now();
            let job = self.record.job.clone();
            let Some(rules) = rules(&self.record, &job) else { return now };
            self.heed_silence(now);
            let actions = self.record.lifecycle.advance(rules, now);
            self.follow_tasks(now);
            self.look_at_gate(rules.group, now);
            self.mark_narrowed();
            let saved = self.save().await;
            if actions.is_empty() {
                break now;
            }
            for action in actions {
                self.act(action, &saved);
            }
        };
        let now = self.shared.now();
        self.launch_checks(now);
        self.report();
        looked_at
    }

    fn act(&mut self, action: Action, saved: &Result<(), String>) {
        match action {
            Action::CancelStart(task) => {
                if let Some(current) = self.current.get(&task) {
                    current.cancel.cancel();
                }
            }
            Action::Begin { task, op, generation } => {
                if op == Op::Start
                    && let Err(problem) = saved
                {
                    // Started without a record, it could be started twice after a crash.
                    let event = Event::StartFailed {
                        kind: "Setup Failure",
                        message: problem.clone(),
                        recoverable: true,
                    };
                    self.take(Done::Task { task, generation, event });
                    return;
                }
                let context = self.context(&task);
                let cancel = context.cancel.clone();
                let (future, abort) = abortable(context.perform(op));
                if let Some(before) = self.current.insert(task.clone(), Current { abort, cancel }) {
                    before.abort.abort();
                }
                self.ops.push(Box::pin(async move {
                    match future.await {
                        Ok(event) => Done::Task { task, generation, event },
                        Err(_) => Done::Overtaken,
                    }
                }));
            }
        }
    }

    fn context(&self, task: &str) -> OpContext {
        OpContext {
            shared: self.shared.clone(),
            alloc: self.record.alloc.clone(),
            job: self.record.job.clone(),
            handle: self.handle(task),
            restarted: self.has_run(task),
            progress: self.progress(task),
            task: task.to_owned(),
            cancel: CancellationToken::new(),
        }
    }

    fn progress(&self, task: &str) -> Progress {
        let (notes, task) = (self.notes.0.clone(), task.to_owned());
        Progress::to(move |kind, message| {
            // A burst that nobody could read anyway is cut short.
            let _ = notes.try_send(Note { task: task.clone(), kind, message });
        })
    }

    fn write_down(&mut self, note: &Note) {
        let now = self.shared.now();
        self.record.lifecycle.note(&note.task, note.kind, &note.message, now);
    }

    fn take(&mut self, done: Done) {
        // What was said on the way comes before what came of it.
        while let Ok(note) = self.notes.1.try_recv() {
            self.write_down(&note);
        }
        let now = self.shared.now();
        match done {
            Done::Overtaken => {}
            // Whoever asked may have gone.
            Done::Ordered { answer, result } => drop(answer.send(result)),
            Done::Task { task, generation, event } => {
                // Others may have got cores of their own, or have left them, while it was started or no agent was there.
                let runs = matches!(
                    event,
                    Event::Started(_)
                        | Event::Attached(Attached::Running)
                        | Event::Recovered(Recovery::Running(_))
                );
                let moves = runs && self.record.narrowed;
                let job = self.record.job.clone();
                if let Some(rules) = rules(&self.record, &job) {
                    self.record.lifecycle.handle(rules, &task, Some(generation), event, now);
                }
                if moves {
                    self.kept.mark_changed();
                }
            }
            Done::Check { key, number, seen } => self.take_check(&key, number, seen, now),
            Done::Rerendered { task, rerendered } => self.take_rerendered(&task, rerendered),
        }
    }

    fn take_wanted(&mut self) {
        let now = self.shared.now();
        let wanted = self.wanted.borrow_and_update().clone();
        match wanted {
            Wanted::Unsaid => {}
            Wanted::Gone => {
                self.gone = true;
                let order = StopOrder { at: now, grace: Duration::ZERO, forced: true };
                self.record.lifecycle.order_stop(order);
            }
            Wanted::Assigned(assignment) => self.assign(&assignment, now),
        }
    }

    fn assign(&mut self, assignment: &Assignment, now: Timestamp) {
        let Assignment { alloc, version } = assignment;
        let Some(group) = version.job.group(&alloc.group) else {
            tracing::error!(alloc = %alloc.id, group = %alloc.group, "the assigned job has no such group");
            return;
        };
        self.gone = false;
        let job = self.record.job.clone();
        let own = rules(&self.record, &job).map(|rules| self.record.lifecycle.status(rules));
        if own != Some(alloc.client) {
            // They could not reach this node, or have forgotten what it said: they were restored from a backup.
            self.reported = None;
        }
        if alloc.desired != DesiredStatus::Run {
            let published = group.all_services().next().is_some();
            let grace =
                if published { self.shared.options.deregister_grace } else { Duration::ZERO };
            let grace = grace.max(group.shutdown_delay.unwrap_or_default());
            self.record.lifecycle.order_stop(StopOrder { at: now, grace, forced: false });
        }
        let known = &self.record.alloc;
        let updated = known.job_version != alloc.job_version
            || self.record.job.create_index != version.create_index;
        let regated = known.deployment != alloc.deployment
            || (alloc.deployment.is_some() && self.record.gate.is_none());
        // Most assignments only echo what this node reported; they change nothing and cost no write.
        if !updated && !regated && known.desired == alloc.desired {
            return;
        }
        self.record.alloc = alloc.clone();
        self.record.job = version.clone();
        if regated {
            self.record.gate = alloc.deployment.map(|deployment| Gate::new(deployment, now));
        }
        if updated {
            self.replan_checks();
            self.rerender();
        }
    }

    /// Whether there can be a verdict: never of what is to stop, and not from what an earlier agent wrote down before
    /// this one has looked for itself.
    fn is_gate_open(&self) -> bool {
        let lifecycle = &self.record.lifecycle;
        lifecycle.stop.is_none()
            && lifecycle.is_certain()
            && self.checks.values().all(CheckRun::is_certain)
    }

    fn look_at_gate(&mut self, group: &Group, now: Timestamp) {
        if !self.is_gate_open() {
            return;
        }
        let Record { gate: Some(gate), lifecycle, .. } = &mut self.record else { return };
        let tasks: Vec<_> = group
            .tasks
            .iter()
            .filter_map(|task| {
                let lifecycle_of = task.lifecycle.as_ref();
                Some(TaskView {
                    name: &task.name,
                    hook: lifecycle_of.map(|lifecycle| lifecycle.hook),
                    sidecar: lifecycle_of.is_some_and(|lifecycle| lifecycle.sidecar),
                    state: &lifecycle.tasks.get(&task.name)?.state,
                })
            })
            .collect();
        let states: Vec<_> = self
            .checks
            .iter()
            .map(|(key, check)| (key.clone(), check.state(), check.planned.check.on_update))
            .collect();
        let checks = states
            .iter()
            .map(|(key, state, on_update)| {
                (key.clone(), CheckView { state, on_update: *on_update })
            })
            .collect();
        gate.look(&update_of(group), &tasks, &checks, now);
    }

    /// Writes the record if it differs from what is on the disk.
    async fn save(&mut self) -> Result<(), String> {
        let Record { alloc, job, .. } = &self.record;
        let moving = self.record.encode_moving().map_err(|error| error.to_string())?;
        let same = self.saved.as_ref().is_some_and(|saved| {
            Arc::ptr_eq(&saved.alloc, alloc)
                && Arc::ptr_eq(&saved.job, job)
                && saved.moving == moving
        });
        if same {
            return Ok(());
        }
        let saved = Saved { alloc: alloc.clone(), job: job.clone(), moving };
        let bytes = self.record.encode().map_err(|error| error.to_string())?;
        let (store, alloc) = (self.shared.store.clone(), self.record.alloc.id);
        match tokio::task::spawn_blocking(move || store.save(alloc, &bytes)).await {
            Ok(Ok(())) => {
                self.saved = Some(saved);
                Ok(())
            }
            Ok(Err(error)) => {
                tracing::error!(%alloc, %error, "the allocation's record is not up to date");
                Err(error.to_string())
            }
            Err(_) => Err("the allocation's record could not be written".to_owned()),
        }
    }

    fn report(&mut self) {
        let job = self.record.job.clone();
        let Some(rules) = rules(&self.record, &job) else { return };
        let lifecycle = &self.record.lifecycle;
        let client = lifecycle.status(rules);
        let tasks = lifecycle.tasks.iter().map(|(name, run)| (name.clone(), run.state.clone()));
        let gate = self.record.gate.as_ref();
        let report = AllocReport {
            alloc: self.record.alloc.id,
            client,
            client_description: self.describe(client),
            tasks: tasks.collect(),
            checks: self.record.checks.clone(),
            health: gate.and_then(|gate| gate.verdict.clone()),
            deployment: gate.map(|gate| gate.deployment),
        };
        self.shared.ledger.note(self.record.alloc.id, self.known(rules, client));
        if self.reported.as_ref() != Some(&report) {
            self.shared.reports.put(report.clone());
            self.reported = Some(report);
        }
    }

    /// Sleeps until the next thing is due, for ever if nothing is.
    /// What became due since `looked_at`, while a record was written, is due at once.
    fn sleep_until_due(&self, looked_at: Timestamp) -> impl Future<Output = ()> + use<> {
        let now = self.shared.now();
        let wake = self.next_wake(looked_at).map(|at| at.since(now));
        async move {
            match wake {
                Some(span) => tokio::time::sleep(span).await,
                None => std::future::pending().await,
            }
        }
    }

    fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let rules = rules(&self.record, &self.record.job)?;
        let tasks = self.record.lifecycle.next_wake(rules, now);
        let gate = self.record.gate.as_ref().filter(|_| self.is_gate_open());
        let gate = gate.and_then(|gate| gate.next_wake(&update_of(rules.group)));
        let checks = self.checks.values().filter_map(|check| check.standing.next_at).min();
        [tasks, gate, checks, self.silence_ends(now)].into_iter().flatten().min()
    }

    fn handle(&self, task: &str) -> Option<driver::TaskHandle> {
        self.record.lifecycle.tasks.get(task)?.handle.clone()
    }

    fn has_run(&self, task: &str) -> bool {
        let run = self.record.lifecycle.tasks.get(task);
        run.is_some_and(|run| !run.state.started_at.is_zero())
    }

    async fn finish_starts(&mut self) {
        let deadline = tokio::time::sleep(FINISH_STARTS);
        let mut deadline = std::pin::pin!(deadline);
        let starting =
            |record: &Record| record.lifecycle.tasks.values().any(|run| run.op == Some(Op::Start));
        while starting(&self.record) {
            tokio::select! {
                Some(done) = self.ops.next() => self.take(done),
                () = &mut deadline => break,
            }
        }
        let _ = self.save().await;
    }

    /// Once nothing of the allocation is left that could use its network.
    async fn release_network(&mut self) {
        let group = self.record.job.job.group(&self.record.alloc.group);
        let apart = group.and_then(Group::network).is_some_and(|network| network.is_apart());
        if apart && !std::mem::replace(&mut self.released, true) {
            networks::release(&self.shared, self.record.alloc.id).await;
        }
    }

    async fn clean_up(&mut self) {
        let (shared, alloc) = (self.shared.clone(), self.record.alloc.id);
        let removal = tokio::task::spawn_blocking(move || {
            if let Err(error) = shared.dirs.remove(alloc) {
                tracing::error!(%alloc, %error, "files of a removed allocation are left");
            }
            if let Err(error) = artifacts::forget(&shared.options.data_dir, alloc) {
                tracing::error!(%alloc, %error, "marks of a removed allocation are left");
            }
            if let Err(error) = shared.store.remove(alloc) {
                tracing::error!(%alloc, %error, "the record of a removed allocation is left");
            }
        });
        let _ = removal.await;
        self.shared.reports.forget(alloc);
        self.shared.ledger.forget(alloc);
    }

    /// When a task was started, if it runs and nobody is ending it; `None` while that is not known yet.
    fn task_up(&self, task: &str) -> Option<Option<Timestamp>> {
        let Some(run) = self.record.lifecycle.tasks.get(task) else { return Some(None) };
        if run.phase == Phase::Recovering {
            return None;
        }
        let up = run.phase == Phase::Running
            && run.stopping.is_none()
            && run.state.state == TaskRunState::Running;
        Some(up.then_some(run.state.started_at))
    }
}

fn rules<'a>(record: &Record, job: &'a model::JobVersion) -> Option<Rules<'a>> {
    let group = job.job.group(&record.alloc.group)?;
    Some(Rules { alloc: record.alloc.id, kind: job.job.kind, group })
}

fn update_of(group: &Group) -> Update {
    group.rollout().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
