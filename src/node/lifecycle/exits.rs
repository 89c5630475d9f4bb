//! What follows from a task's end.

use driver::ExitStatus;
use model::{LifecycleHook, TaskRunState, Timestamp};

use super::{Lifecycle, Phase, Rules, Stopping, TaskRun, turn, words};
use crate::restart::{Decision, Outcome};

impl Lifecycle {
    /// A task that ran has ended.
    pub(super) fn exited(
        &mut self,
        rules: Rules<'_>,
        name: &str,
        status: &ExitStatus,
        now: Timestamp,
    ) {
        let Some(run) = self.tasks.get_mut(name) else { return };
        if run.phase != Phase::Running {
            return;
        }
        run.attached = false;
        run.state.finished_at = if status.finished_at.is_zero() { now } else { status.finished_at };
        run.push(words::terminated(status, now));
        run.ooms = run.ooms.saturating_add(u32::from(status.oom));
        match run.stopping.take() {
            Some(Stopping::Kill) => run.killed(now),
            Some(Stopping::Again) => run.again(now),
            Some(Stopping::Restart) => self.ended(rules, name, Outcome::Failure, now),
            None if status.is_success() => self.ended(rules, name, Outcome::Success, now),
            None => self.ended(rules, name, Outcome::Failure, now),
        }
    }

    /// A task could not be started.
    pub(super) fn start_failed(
        &mut self,
        rules: Rules<'_>,
        name: &str,
        recoverable: bool,
        now: Timestamp,
    ) {
        let Some(run) = self.tasks.get_mut(name) else { return };
        if run.stopping.take().is_some() {
            run.killed(now);
            return;
        }
        let outcome = if recoverable { Outcome::StartFailed } else { Outcome::StartNever };
        self.ended(rules, name, outcome, now);
    }

    /// Neither the task nor its end can be found: the machine was restarted. That is no fault of the task, so it is
    /// started again at once and nothing is counted.
    pub(super) fn gone(&mut self, name: &str, now: Timestamp) {
        let Some(run) = self.tasks.get_mut(name) else { return };
        run.attached = false;
        run.state.finished_at = now;
        if run.stopping.take() == Some(Stopping::Kill) {
            run.killed(now);
            return;
        }
        let message = "Task was gone when the agent came back, without an exit code";
        run.note("Restarting", message, now);
        run.again(now);
    }

    fn ended(&mut self, rules: Rules<'_>, name: &str, outcome: Outcome, now: Timestamp) {
        let (Some(run), Some(task)) = (self.tasks.get_mut(name), rules.group.task(name)) else {
            return;
        };
        let policy = task.restart_policy.as_ref().unwrap_or(&rules.group.restart_policy);
        let on_success = match &task.lifecycle {
            Some(lifecycle) => lifecycle.sidecar && lifecycle.hook != LifecycleHook::Poststop,
            None => !rules.kind.runs_to_completion(),
        };
        let seed = seed(rules, name, run.state.restarts);
        match run.window.decide(policy, on_success, outcome, now, seed) {
            Decision::Done => run.dead(false),
            Decision::Fail { reason } => {
                run.note("Not Restarting", &reason, now);
                run.dead(true);
            }
            Decision::Restart { after, reason } => {
                run.push(words::restarting(after, &reason, now));
                run.state.restarts = run.state.restarts.saturating_add(1);
                run.state.state = TaskRunState::Pending;
                run.phase = Phase::Backoff { until: now + after };
            }
        }
    }
}

impl TaskRun {
    /// Is started again at once, and nothing is counted.
    fn again(&mut self, now: Timestamp) {
        self.state.restarts = self.state.restarts.saturating_add(1);
        self.state.state = TaskRunState::Pending;
        self.phase = Phase::Backoff { until: now };
    }

    /// Ended because it was told to.
    pub(super) fn killed(&mut self, now: Timestamp) {
        self.note("Killed", "Task successfully killed", now);
        self.dead(false);
        if self.state.finished_at.is_zero() {
            self.state.finished_at = now;
        }
    }

    pub(super) fn dead(&mut self, failed: bool) {
        self.phase = Phase::Dead;
        self.stopping = None;
        self.attached = false;
        self.state.state = TaskRunState::Dead;
        self.state.failed |= failed;
    }
}

/// Different for each allocation, task and restart, and the same in every replay.
fn seed(rules: Rules<'_>, name: &str, restarts: u32) -> u64 {
    let alloc = rules.alloc.uuid();
    let parts = [alloc.as_bytes().as_slice(), name.as_bytes(), &restarts.to_be_bytes()];
    model::seeded_uuid(&parts).as_u64_pair().1
}

/// Whether a task must end well before the main tasks may start.
pub(super) fn blocks_main(task: &model::Task) -> bool {
    turn::hook(task) == Some(LifecycleHook::Prestart)
}
