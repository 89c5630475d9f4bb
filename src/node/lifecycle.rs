//! The life of an allocation's tasks, as a step function over plain data.
//!
//! [`Lifecycle::handle`] takes in what happened to a task; [`Lifecycle::advance`] says what is to be done next. The
//! second is level-triggered: it compares each task's phase with the act that is under way. A lifecycle that was just
//! read from disk has none under way, so that restoring needs no rules of its own: `advance` begins with finding the
//! tasks again.

mod exits;
mod turn;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use driver::{Attached, ExitStatus, TaskHandle};
use model::{
    AllocId, ClientStatus, Group, JobType, LifecycleHook, TaskRunState, TaskState, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::restart::{RestartWindow, longest_wait};

/// Where a task stands. Finer than what is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Its turn has not come.
    #[default]
    Waiting,
    /// An agent may have started it, and nobody wrote down how that went.
    Recovering,
    /// Its start was decided and written down.
    Starting,
    /// It was started.
    Running,
    /// It ended and is started again at this time.
    Backoff {
        /// When.
        until: Timestamp,
    },
    /// It is over.
    Dead,
}

/// Why a task is being stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stopping {
    /// It is to end.
    Kill,
    /// It is to be started again, and that counts as a failure.
    Restart,
    /// Somebody wants it started again; that counts as nothing.
    Again,
}

/// What a driver is doing for a task. At most one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Look for what an earlier agent may have started.
    Recover,
    /// Take up a task that an earlier agent started.
    Attach,
    /// Make directories and start.
    Start,
    /// Wait for the end.
    Wait,
    /// Signal, wait, kill.
    Stop,
    /// Remove what is left.
    Destroy,
}

/// One task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TaskRun {
    /// Where it stands.
    pub phase: Phase,
    /// What finds it again.
    pub handle: Option<TaskHandle>,
    /// Why it is being stopped.
    pub stopping: Option<Stopping>,
    /// Restarts counted.
    pub window: RestartWindow,
    /// What is reported.
    pub state: TaskState,
    /// Ends for want of memory.
    pub ooms: u32,
    /// What the driver is doing.
    #[serde(skip)]
    pub op: Option<Op>,
    /// Names the act under way; the results of older ones are dropped.
    #[serde(skip)]
    pub generation: u64,
    /// Whether this agent has found it.
    #[serde(skip)]
    pub attached: bool,
    /// Whether the start under way was told to give up.
    #[serde(skip)]
    pub cancelled: bool,
    /// Acts that failed in a row.
    #[serde(skip)]
    pub failures: u32,
    /// When the next attempt may be made.
    #[serde(skip)]
    pub retry_at: Timestamp,
}

/// The servers' order to stop the whole allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StopOrder {
    /// When it came.
    pub at: Timestamp,
    /// The least wait before a kill signal.
    #[serde(with = "model::nanos")]
    pub grace: Duration,
    /// The allocation is forgotten by the servers: no waits, no poststop tasks.
    pub forced: bool,
}

/// All tasks of an allocation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Lifecycle {
    /// By name.
    pub tasks: BTreeMap<String, TaskRun>,
    /// The order to stop, once given.
    pub stop: Option<StopOrder>,
    /// When the first task was started; zero before.
    pub began: Timestamp,
    /// When it was found to have run longer than it may.
    pub expired: Option<Timestamp>,
    /// When the node stopped it by itself, because no server was heard for too long.
    pub cut_off: Option<Timestamp>,
}

/// What the steps need to know of the job.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// The allocation, which seeds jitter.
    pub alloc: AllocId,
    /// The job's kind.
    pub kind: JobType,
    /// The group.
    pub group: &'a Group,
}

/// What is said of a task that runs although nobody wrote down that it was started.
const FOUND: &str = "Task started by an earlier agent and found again";

/// What was found of a task that nobody wrote down.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Recovery {
    /// It runs.
    Running(TaskHandle),
    /// It ran.
    Exited(TaskHandle, ExitStatus),
    /// Nothing.
    Nothing,
}

/// What happened to a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// [`Op::Recover`] is done.
    Recovered(Recovery),
    /// [`Op::Attach`] is done.
    Attached(Attached),
    /// [`Op::Start`] worked.
    Started(TaskHandle),
    /// [`Op::Start`] did not.
    StartFailed {
        /// The event that tells of it, in Nomad's words.
        kind: &'static str,
        /// Why.
        message: String,
        /// Whether another attempt may work.
        recoverable: bool,
    },
    /// [`Op::Start`] gave up as told and left nothing behind.
    StartAborted,
    /// [`Op::Start`] gave up as told, and whether it left something behind could not be seen.
    StartLost,
    /// It ended.
    Exited(ExitStatus),
    /// [`Op::Destroy`] is done.
    Destroyed,
    /// An act failed and is to be tried again.
    Failed,
    /// Something wants it started again.
    RestartWanted(String),
    /// Somebody wants it started again at once.
    RestartOrdered,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Begin this for the task; the result comes back with the generation.
    Begin {
        /// The task.
        task: String,
        /// What.
        op: Op,
        /// Its number.
        generation: u64,
    },
    /// Tell the start under way to give up.
    CancelStart(String),
}

impl Lifecycle {
    /// A new allocation. With `maybe_running`, its tasks are looked for first, because an earlier agent of this machine
    /// may have started them and lost its record.
    pub(crate) fn new(group: &Group, maybe_running: bool, now: Timestamp) -> Self {
        let phase = if maybe_running { Phase::Recovering } else { Phase::Waiting };
        let mut tasks = BTreeMap::new();
        for task in &group.tasks {
            let mut run = TaskRun { phase, ..TaskRun::default() };
            run.note("Received", "Task received by client", now);
            tasks.insert(task.name.clone(), run);
        }
        Self { tasks, ..Self::default() }
    }

    /// After reading it from disk: a start that nobody saw the end of must be looked for, and what lies in the future
    /// was written before the clock was set back, and must not be waited for.
    pub(crate) fn restored(mut self, group: &Group, now: Timestamp) -> Self {
        for (name, run) in &mut self.tasks {
            if run.phase == Phase::Starting {
                run.phase = Phase::Recovering;
            }
            if let Phase::Backoff { until } = &mut run.phase {
                let own = group.task(name).and_then(|task| task.restart_policy.as_ref());
                let policy = own.unwrap_or(&group.restart_policy);
                *until = (*until).min(now + longest_wait(policy));
            }
            run.window.start = run.window.start.min(now);
            run.state.started_at = run.state.started_at.min(now);
        }
        if let Some(order) = &mut self.stop {
            order.at = order.at.min(now);
        }
        // A record of an older version does not say when it began.
        let first = self.tasks.values().map(|run| run.state.started_at);
        if self.began.is_zero() {
            self.began = first.filter(|at| !at.is_zero()).min().unwrap_or_default();
        }
        self.began = self.began.min(now);
        for (name, run) in Self::new(group, false, now).tasks {
            self.tasks.entry(name).or_insert(run);
        }
        self
    }

    /// Gives the order to stop. A forced one sharpens one that is not.
    pub(crate) fn order_stop(&mut self, order: StopOrder) {
        match &mut self.stop {
            None => self.stop = Some(order),
            Some(given) => given.forced |= order.forced,
        }
    }

    /// Stops it because no server was heard for too long. Without waits and poststop tasks: when the servers replace it,
    /// it must be over. Returns whether that is news.
    pub(crate) fn cut_off(&mut self, now: Timestamp) -> bool {
        if self.is_over() || self.stop.is_some_and(|order| order.forced) {
            return false;
        }
        // What was to stop anyway stops sooner, and is no loss.
        if self.stop.is_none() {
            self.cut_off = Some(now);
        }
        for run in self.tasks.values_mut().filter(|run| run.phase != Phase::Dead) {
            run.note("Disconnected", words::CUT_OFF, now);
        }
        self.order_stop(StopOrder { at: now, grace: Duration::ZERO, forced: true });
        true
    }

    /// Takes in what happened. An event of an act that was overtaken is dropped by its `generation`.
    pub(crate) fn handle(
        &mut self,
        rules: Rules<'_>,
        name: &str,
        generation: Option<u64>,
        event: Event,
        now: Timestamp,
    ) {
        let Some(run) = self.tasks.get_mut(name) else { return };
        if let Some(generation) = generation {
            if generation != run.generation || run.op.is_none() {
                return;
            }
            run.op = None;
            if event == Event::Failed {
                run.failures = run.failures.saturating_add(1);
                run.retry_at = now + retry_delay(run.failures);
                // The driver may have lost the task while it failed; find it again before the next act.
                run.attached = false;
                run.give_up_destroying();
                return;
            }
            run.failures = 0;
            run.retry_at = Timestamp::ZERO;
        }
        match event {
            Event::Recovered(Recovery::Running(handle)) => {
                run.handle = Some(handle);
                run.running(now);
                run.note("Started", FOUND, now);
            }
            Event::Recovered(Recovery::Exited(handle, status)) => {
                run.handle = Some(handle);
                run.running(now);
                run.note("Started", FOUND, now);
                self.exited(rules, name, &status, now);
            }
            Event::Recovered(Recovery::Nothing) => {
                run.phase = Phase::Waiting;
                if run.stopping.take().is_some() {
                    run.killed(now);
                }
            }
            Event::Attached(Attached::Running) => run.attached = true,
            Event::Attached(Attached::Exited(status)) => self.exited(rules, name, &status, now),
            Event::Attached(Attached::Gone) => self.gone(name, now),
            Event::Started(handle) => {
                run.handle = Some(handle);
                run.running(now);
                run.note("Started", "Task started by client", now);
            }
            Event::StartFailed { kind, message, recoverable } => {
                run.note(kind, &message, now);
                self.start_failed(rules, name, recoverable, now);
            }
            Event::StartAborted => run.killed(now),
            Event::StartLost => run.phase = Phase::Recovering,
            Event::Exited(status) => self.exited(rules, name, &status, now),
            Event::Destroyed => run.handle = None,
            Event::Failed => {}
            Event::RestartOrdered => {
                if run.phase == Phase::Running && run.stopping.is_none() {
                    run.stopping = Some(Stopping::Again);
                    run.note("Restart Signaled", "User requested task to restart", now);
                }
            }
            Event::RestartWanted(reason) => {
                if run.phase == Phase::Running && run.stopping.is_none() {
                    run.stopping = Some(Stopping::Restart);
                    run.note("Restart Signaled", &reason, now);
                }
            }
        }
    }

    /// Writes down what is being done for a task.
    pub(crate) fn note(&mut self, name: &str, kind: &str, message: &str, now: Timestamp) {
        if let Some(run) = self.tasks.get_mut(name) {
            run.note(kind, message, now);
        }
    }

    /// Moves every task on whose time or turn has come and says what is to be done.
    pub(crate) fn advance(&mut self, rules: Rules<'_>, now: Timestamp) -> Vec<Action> {
        self.note_first_start();
        if self.expired.is_none() && self.expires_at(rules).is_some_and(|at| at <= now) {
            self.expired = Some(now);
        }
        while self.take_turns(rules, now) {}
        let mut actions = Vec::new();
        for task in &rules.group.tasks {
            let Some(run) = self.tasks.get_mut(&task.name) else { continue };
            if run.op == Some(Op::Start) && run.stopping.is_some() && !run.cancelled {
                run.cancelled = true;
                actions.push(Action::CancelStart(task.name.clone()));
            }
            let Some(op) = run.wanted_op() else { continue };
            if run.op == Some(op) || run.retry_at > now {
                continue;
            }
            // Waiting gives way to stopping; everything else is let finish.
            if run.op.is_some() && run.op != Some(Op::Wait) {
                continue;
            }
            run.op = Some(op);
            run.cancelled = false;
            run.generation += 1;
            let generation = run.generation;
            actions.push(Action::Begin { task: task.name.clone(), op, generation });
        }
        actions
    }

    /// When [`Self::advance`] is to be called even if nothing happens.
    pub(crate) fn next_wake(&self, rules: Rules<'_>, now: Timestamp) -> Option<Timestamp> {
        let mut wakes = Vec::new();
        for task in &rules.group.tasks {
            let Some(run) = self.tasks.get(&task.name) else { continue };
            match run.phase {
                Phase::Backoff { until } => wakes.push(until),
                Phase::Running if run.stopping.is_none() => {
                    wakes.extend(self.stop.map(|order| turn::due(order, task)));
                }
                _ => {}
            }
            if run.op.is_none() && run.wanted_op().is_some() {
                wakes.push(run.retry_at);
            }
        }
        if self.expired.is_none() {
            wakes.extend(self.expires_at(rules));
        }
        wakes.into_iter().filter(|at| *at > now).min()
    }

    /// The allocation's status (nomad.md 2.1).
    pub(crate) fn status(&self, rules: Rules<'_>) -> ClientStatus {
        let mut running = false;
        let mut pending = false;
        for (name, run) in &self.tasks {
            let task = rules.group.task(name);
            let poststop =
                task.is_some_and(|task| turn::hook(task) == Some(LifecycleHook::Poststop));
            match run.state.state {
                _ if run.state.failed => return ClientStatus::Failed,
                TaskRunState::Running => running = true,
                // A poststop task that waits says nothing; one that is being started comes after a run.
                TaskRunState::Pending if poststop => running |= run.phase != Phase::Waiting,
                TaskRunState::Pending => pending = true,
                TaskRunState::Dead => {}
            }
        }
        match (running, pending) {
            (false, false) if self.cut_off.is_some() => ClientStatus::Lost,
            (false, false) if self.expired.is_some() => ClientStatus::Failed,
            (true, _) => ClientStatus::Running,
            (false, true) => ClientStatus::Pending,
            (false, false) => ClientStatus::Complete,
        }
    }

    /// What the status means, in words.
    pub(crate) fn describe(&self, status: ClientStatus) -> &'static str {
        match status {
            ClientStatus::Lost => words::CUT_OFF,
            ClientStatus::Failed if self.expired.is_some() => words::RAN_TOO_LONG,
            status => words::describe(status),
        }
    }

    fn note_first_start(&mut self) {
        if self.began.is_zero() {
            let started = self.tasks.values().map(|run| run.state.started_at);
            self.began = started.filter(|at| !at.is_zero()).min().unwrap_or_default();
        }
    }

    /// When the allocation has run as long as its group says it may, if it runs and is not told to stop anyway. Poststop
    /// tasks come after that and are let finish.
    fn expires_at(&self, rules: Rules<'_>) -> Option<Timestamp> {
        let most = rules.group.max_run_duration.filter(|_| rules.kind.runs_to_completion())?;
        let alive = |(name, run): (&String, &TaskRun)| {
            let hook = rules.group.task(name).and_then(turn::hook);
            run.phase != Phase::Dead && hook != Some(LifecycleHook::Poststop)
        };
        let runs = !self.began.is_zero() && self.stop.is_none() && self.tasks.iter().any(alive);
        runs.then(|| self.began + most)
    }

    /// Whether this agent has seen how every task is. What the record says is old until then.
    pub(crate) fn is_certain(&self) -> bool {
        !self.tasks.values().any(|run| {
            run.phase == Phase::Recovering || (run.phase == Phase::Running && !run.attached)
        })
    }

    /// Whether no task runs nor ever will.
    pub(crate) fn is_over(&self) -> bool {
        self.tasks.values().all(|run| run.phase == Phase::Dead)
    }

    /// Whether nothing is left at the drivers either.
    pub(crate) fn is_clean(&self) -> bool {
        self.is_over() && self.tasks.values().all(|run| run.handle.is_none() && run.op.is_none())
    }
}

impl TaskRun {
    fn wanted_op(&self) -> Option<Op> {
        match self.phase {
            Phase::Recovering => Some(Op::Recover),
            Phase::Starting => Some(Op::Start),
            Phase::Running if !self.attached => Some(Op::Attach),
            Phase::Running if self.stopping.is_some() => Some(Op::Stop),
            Phase::Running => Some(Op::Wait),
            Phase::Backoff { .. } | Phase::Dead => self.handle.as_ref().map(|_| Op::Destroy),
            Phase::Waiting => None,
        }
    }

    fn running(&mut self, now: Timestamp) {
        self.phase = Phase::Running;
        self.attached = true;
        self.state.state = TaskRunState::Running;
        self.state.started_at = now;
        self.window.started(now);
    }

    /// A leftover that cannot be removed must not hold up the next start, which replaces it.
    fn give_up_destroying(&mut self) {
        if matches!(self.phase, Phase::Backoff { .. } | Phase::Dead) && self.failures > 3 {
            self.handle = None;
        }
    }
}

/// The wait after an act of a driver failed: 1 s, doubling, at most 30 s.
fn retry_delay(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests;
