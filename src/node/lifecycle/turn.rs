//! Whose turn it is to start and to stop.

use model::{LifecycleHook, Task, Timestamp};

use super::exits::blocks_main;
use super::{Lifecycle, Phase, Rules, StopOrder, Stopping, TaskRun, words};

/// Why tasks are to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Ordered(StopOrder),
    RanTooLong,
    SiblingFailed,
    LeaderDead,
    MainTasksDead,
}

pub(super) fn hook(task: &Task) -> Option<LifecycleHook> {
    task.lifecycle.as_ref().map(|lifecycle| lifecycle.hook)
}

fn is_sidecar(task: &Task) -> bool {
    task.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.sidecar)
}

fn is_poststop(task: &Task) -> bool {
    hook(task) == Some(LifecycleHook::Poststop)
}

/// When a task may get its kill signal under an order to stop.
pub(super) fn due(order: StopOrder, task: &Task) -> Timestamp {
    if order.forced { order.at } else { order.at + order.grace.max(task.shutdown_delay) }
}

impl Lifecycle {
    /// Moves tasks on once; returns whether any moved.
    pub(super) fn take_turns(&mut self, rules: Rules<'_>, now: Timestamp) -> bool {
        let cause = self.cause(rules);
        let mut moved = false;
        for task in &rules.group.tasks {
            if cause.is_some_and(|cause| self.must_stop(rules, cause, task, now)) {
                let Some(run) = self.tasks.get_mut(&task.name) else { continue };
                moved |= run.begin_stop(cause, now);
                continue;
            }
            moved |= self.take_start(rules, cause, task, now);
        }
        moved
    }

    fn cause(&self, rules: Rules<'_>) -> Option<Cause> {
        if let Some(order) = self.stop {
            return Some(Cause::Ordered(order));
        }
        if self.expired.is_some() {
            return Some(Cause::RanTooLong);
        }
        let dead = |task: &Task| self.phase(task) == Phase::Dead;
        let tasks = || rules.group.tasks.iter().filter(|task| !is_poststop(task));
        let failed = |task: &&Task| self.tasks.get(&task.name).is_some_and(|run| run.state.failed);
        if tasks().any(|task| failed(&task)) {
            return Some(Cause::SiblingFailed);
        }
        if tasks().any(|task| task.leader && dead(task)) {
            return Some(Cause::LeaderDead);
        }
        let mut mains = rules.group.tasks.iter().filter(|task| task.is_main()).peekable();
        (mains.peek().is_some() && mains.all(dead)).then_some(Cause::MainTasksDead)
    }

    fn phase(&self, task: &Task) -> Phase {
        self.tasks.get(&task.name).map_or(Phase::Dead, |run| run.phase)
    }

    fn has_started(&self, task: &Task) -> bool {
        self.tasks.get(&task.name).is_some_and(|run| !run.state.started_at.is_zero())
    }

    /// Whether a task is to stop now. Leaders go first, then the rest, then sidecars, which the others may need to the
    /// end. Poststop tasks are let finish.
    fn must_stop(&self, rules: Rules<'_>, cause: Cause, task: &Task, now: Timestamp) -> bool {
        let phase = self.phase(task);
        if phase == Phase::Dead {
            return false;
        }
        let forced = matches!(cause, Cause::Ordered(StopOrder { forced: true, .. }));
        if is_poststop(task) {
            return forced;
        }
        let idle = matches!(phase, Phase::Waiting | Phase::Backoff { .. });
        if cause == Cause::MainTasksDead {
            return is_sidecar(task);
        }
        if idle {
            return true;
        }
        if let Cause::Ordered(order) = cause
            && due(order, task) > now
            && phase == Phase::Running
        {
            return false;
        }
        let alive = |other: &&Task| other.name != task.name && self.phase(other) != Phase::Dead;
        let others = || rules.group.tasks.iter().filter(alive).filter(|other| !is_poststop(other));
        if !task.leader && others().any(|other| other.leader) {
            return false;
        }
        !is_sidecar(task) || !others().any(|other| !is_sidecar(other))
    }

    fn take_start(
        &mut self,
        rules: Rules<'_>,
        cause: Option<Cause>,
        task: &Task,
        now: Timestamp,
    ) -> bool {
        let tasks = &rules.group.tasks;
        let mains_dead =
            tasks.iter().filter(|task| task.is_main()).all(|task| self.phase(task) == Phase::Dead);
        let ready = match self.tasks.get(&task.name) {
            None => return false,
            Some(run) => match run.phase {
                Phase::Waiting => self.turn_has_come(rules, cause, task, mains_dead),
                // What is left of the last run goes first.
                Phase::Backoff { until } => until <= now && run.handle.is_none(),
                _ => false,
            },
        };
        let nothing_ran = is_poststop(task)
            && mains_dead
            && !tasks.iter().any(|task| task.is_main() && self.has_started(task));
        let Some(run) = self.tasks.get_mut(&task.name) else { return false };
        if nothing_ran && run.phase == Phase::Waiting {
            run.dead(false);
            return true;
        }
        if !ready {
            return false;
        }
        run.phase = Phase::Starting;
        run.retry_at = Timestamp::ZERO;
        if run.state.restarts == 0 {
            run.note("Task Setup", "Building Task Directory", now);
        }
        true
    }

    fn turn_has_come(
        &self,
        rules: Rules<'_>,
        cause: Option<Cause>,
        task: &Task,
        mains_dead: bool,
    ) -> bool {
        let tasks = &rules.group.tasks;
        if is_poststop(task) {
            return mains_dead && tasks.iter().any(|task| task.is_main() && self.has_started(task));
        }
        if !matches!(cause, None | Some(Cause::MainTasksDead)) {
            return false;
        }
        match hook(task) {
            Some(LifecycleHook::Prestart) => true,
            Some(LifecycleHook::Poststart) => {
                tasks.iter().filter(|task| task.is_main()).all(|task| self.has_started(task))
            }
            _ => tasks.iter().filter(|other| blocks_main(other)).all(|other| {
                if is_sidecar(other) {
                    self.has_started(other)
                } else {
                    self.phase(other) == Phase::Dead
                }
            }),
        }
    }
}

impl TaskRun {
    fn begin_stop(&mut self, cause: Option<Cause>, now: Timestamp) -> bool {
        if self.stopping == Some(Stopping::Kill) {
            return false;
        }
        let (kind, message) = match cause {
            Some(Cause::SiblingFailed) => {
                ("Sibling Task Failed", "Task's sibling failed; killing the rest of the group")
            }
            Some(Cause::RanTooLong) => ("Killing", words::RAN_TOO_LONG),
            Some(Cause::LeaderDead) => ("Leader Task Dead", "Leader Task in Group dead"),
            Some(Cause::MainTasksDead) => ("Main Tasks Dead", "Main tasks in the group died"),
            Some(Cause::Ordered(_)) | None => {
                ("Killing", "Sent interrupt. Waiting for the task to end")
            }
        };
        self.note(kind, message, now);
        match self.phase {
            Phase::Waiting | Phase::Backoff { .. } => self.killed(now),
            _ => self.stopping = Some(Stopping::Kill),
        }
        true
    }
}
