//! The verdict that a deployment's gate waits for (nomad.md 2.5): healthy once every task has run and every check has
//! passed for `min_healthy_time`; unhealthy at once when a task failed for good, or at `healthy_deadline`.

use std::collections::BTreeMap;

use model::{
    AllocHealth, CheckState, CheckStatus, DeploymentId, LifecycleHook, OnUpdate, TaskRunState,
    TaskState, Timestamp, Update, UpdateHealth, format_duration,
};
use serde::{Deserialize, Serialize};

/// What one task means for the verdict.
pub(crate) struct TaskView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its hook; `None` for a main task.
    pub hook: Option<LifecycleHook>,
    /// Whether it keeps running beside the main tasks.
    pub sidecar: bool,
    /// Its state.
    pub state: &'a TaskState,
}

/// What one check means for the verdict.
pub(crate) struct CheckView<'a> {
    /// Its state.
    pub state: &'a CheckState,
    /// How it counts.
    pub on_update: OnUpdate,
}

/// Watches one allocation for one deployment. Kept on disk, so that the deadline does not start anew with each agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gate {
    /// The deployment.
    pub deployment: DeploymentId,
    /// When the watch began.
    pub began: Timestamp,
    /// Since when all has been well.
    pub good_since: Option<Timestamp>,
    /// The verdict, once reached; it never changes.
    pub verdict: Option<AllocHealth>,
}

impl Gate {
    /// Begins a watch.
    pub(crate) const fn new(deployment: DeploymentId, now: Timestamp) -> Self {
        Self { deployment, began: now, good_since: None, verdict: None }
    }

    /// After reading it from disk: what lies in the future was written before the clock was set back.
    pub(crate) fn restored(mut self, now: Timestamp) -> Self {
        self.began = self.began.min(now);
        self.good_since = self.good_since.map(|since| since.min(now));
        self
    }

    /// Looks at tasks and checks. Returns whether a verdict was reached now.
    pub(crate) fn look(
        &mut self,
        update: &Update,
        tasks: &[TaskView<'_>],
        checks: &BTreeMap<String, CheckView<'_>>,
        now: Timestamp,
    ) -> bool {
        if self.verdict.is_some() || update.health_check == UpdateHealth::Manual {
            return false;
        }
        if let Some(reason) = tasks.iter().find_map(failed) {
            return self.conclude(false, reason, now);
        }
        let unwell = tasks.iter().find_map(not_running).or_else(|| {
            let counts = update.health_check == UpdateHealth::Checks;
            checks.values().filter(|_| counts).find_map(not_passing)
        });
        match unwell {
            None => {
                // A task that was started after the checks last looked has not been well for longer than it runs.
                let started = tasks.iter().map(|task| task.state.started_at).max();
                let since = *self.good_since.get_or_insert(now);
                let since = since.max(started.unwrap_or_default());
                self.good_since = Some(since);
                if now >= since + update.min_healthy_time {
                    return self.conclude(true, String::new(), now);
                }
            }
            Some(_) => self.good_since = None,
        }
        if now < self.began + update.healthy_deadline {
            return false;
        }
        let limit = format_duration(update.healthy_deadline);
        let reason = unwell.unwrap_or_else(|| {
            format!(
                "everything runs and passes, but not yet for {}",
                format_duration(update.min_healthy_time)
            )
        });
        self.conclude(false, format!("not healthy within {limit}: {reason}"), now)
    }

    /// When to look again even if nothing changes.
    pub(crate) fn next_wake(&self, update: &Update) -> Option<Timestamp> {
        if self.verdict.is_some() || update.health_check == UpdateHealth::Manual {
            return None;
        }
        let deadline = self.began + update.healthy_deadline;
        Some(
            self.good_since.map_or(deadline, |since| deadline.min(since + update.min_healthy_time)),
        )
    }

    fn conclude(&mut self, healthy: bool, reason: String, now: Timestamp) -> bool {
        self.verdict = Some(AllocHealth { healthy, at: now, reason: reason.into() });
        true
    }
}

fn failed(task: &TaskView<'_>) -> Option<String> {
    if task.hook == Some(LifecycleHook::Poststop) {
        return None;
    }
    let over = task.hook.is_none() && task.state.state == TaskRunState::Dead;
    (task.state.failed || over).then(|| {
        let verb = if task.state.failed { "failed" } else { "ended" };
        format!("task `{}` {verb}: {}", task.name, last_words(task.state))
    })
}

/// What was last said of how it ended.
fn last_words(state: &TaskState) -> String {
    let telling = ["Terminated", "Driver Failure", "Restart Signaled"];
    let event = state.events.iter().rev().find(|event| telling.contains(&event.kind.as_str()));
    let last = event.or_else(|| state.events.last());
    last.map_or_else(|| "no reason is known".to_owned(), |event| lower_first(&event.message))
}

fn lower_first(text: &str) -> String {
    let text = text.replace("Exit Code:", "exit code").replace("Signal:", "signal");
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => text,
    }
}

fn not_running(task: &TaskView<'_>) -> Option<String> {
    let state = task.state;
    let good = match task.hook {
        Some(LifecycleHook::Poststop) => true,
        // One that does its work and ends may be over by now, well.
        Some(_) if !task.sidecar && state.state == TaskRunState::Dead => !state.failed,
        Some(LifecycleHook::Prestart) if !task.sidecar => false,
        _ => state.state == TaskRunState::Running,
    };
    (!good).then(|| match (state.restarts, task.hook) {
        (_, Some(LifecycleHook::Prestart)) if state.state == TaskRunState::Running => {
            format!("prestart task `{}` has not ended", task.name)
        }
        (0, _) => format!("task `{}` is not running", task.name),
        (restarts, _) => format!(
            "task `{}` is not running after {restarts} restarts: {}",
            task.name,
            last_words(state)
        ),
    })
}

fn not_passing(check: &CheckView<'_>) -> Option<String> {
    let good = match check.on_update {
        OnUpdate::Ignore => true,
        OnUpdate::IgnoreWarnings => check.state.status != CheckStatus::Critical,
        OnUpdate::RequireHealthy => check.state.status == CheckStatus::Passing,
    };
    (!good).then(|| {
        let CheckState { name, status, output, .. } = check.state;
        format!("check {name:?} is {}: {}", status.as_str(), output.trim_end())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::TaskEvent;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn update() -> Update {
        Update {
            min_healthy_time: Duration::from_secs(10),
            healthy_deadline: Duration::from_secs(60),
            ..Update::default()
        }
    }

    fn running(since: i64) -> TaskState {
        TaskState { state: TaskRunState::Running, started_at: at(since), ..TaskState::default() }
    }

    fn check(status: CheckStatus) -> CheckState {
        CheckState {
            name: "service: \"web\" check".into(),
            status,
            output: "HTTP GET http://10.0.0.1:80/health: 503".into(),
            ..CheckState::default()
        }
    }

    fn look(
        gate: &mut Gate,
        update: &Update,
        task: &TaskState,
        check: &CheckState,
        now: i64,
    ) -> bool {
        let tasks = [TaskView { name: "web", hook: None, sidecar: false, state: task }];
        let view = CheckView { state: check, on_update: OnUpdate::RequireHealthy };
        gate.look(update, &tasks, &[("0.0".to_owned(), view)].into(), at(now))
    }

    #[test]
    fn healthy_after_all_was_well_for_min_healthy_time() {
        let mut gate = Gate::new(DeploymentId::default(), at(0));
        let good = check(CheckStatus::Passing);
        assert!(!look(&mut gate, &update(), &running(1), &check(CheckStatus::Critical), 2));
        assert_eq!(gate.next_wake(&update()), Some(at(60)));
        assert!(!look(&mut gate, &update(), &running(1), &good, 5));
        assert_eq!(gate.next_wake(&update()), Some(at(15)));
        assert!(!look(&mut gate, &update(), &running(1), &good, 14));
        assert!(look(&mut gate, &update(), &running(1), &good, 15));
        assert!(gate.verdict.as_ref().is_some_and(|verdict| verdict.healthy));
        // A verdict stands.
        assert!(!look(&mut gate, &update(), &TaskState::default(), &good, 70));
    }

    #[test]
    fn a_flap_or_a_restart_starts_the_time_anew() {
        let mut gate = Gate::new(DeploymentId::default(), at(0));
        let good = check(CheckStatus::Passing);
        look(&mut gate, &update(), &running(1), &good, 5);
        look(&mut gate, &update(), &running(1), &check(CheckStatus::Warning), 6);
        assert!(!look(&mut gate, &update(), &running(1), &good, 10));
        assert!(!look(&mut gate, &update(), &running(1), &good, 16));
        // Started anew between two looks.
        assert!(!look(&mut gate, &update(), &running(18), &good, 20));
        assert!(look(&mut gate, &update(), &running(18), &good, 28));
    }

    #[test]
    fn the_deadline_names_the_check_and_what_it_saw() {
        let mut gate = Gate::new(DeploymentId::default(), at(0));
        assert!(look(&mut gate, &update(), &running(1), &check(CheckStatus::Critical), 60));
        assert_eq!(
            gate.verdict.expect("a verdict").reason,
            "not healthy within 1m: check \"service: \\\"web\\\" check\" is critical: \
             HTTP GET http://10.0.0.1:80/health: 503"
        );
    }

    #[test]
    fn a_failed_task_is_unhealthy_at_once() {
        let mut gate = Gate::new(DeploymentId::default(), at(0));
        let task = TaskState {
            state: TaskRunState::Dead,
            failed: true,
            events: vec![TaskEvent {
                kind: "Terminated".into(),
                message: "Exit Code: 1".into(),
                ..TaskEvent::default()
            }],
            ..TaskState::default()
        };
        assert!(look(&mut gate, &update(), &task, &check(CheckStatus::Critical), 3));
        assert_eq!(gate.verdict.expect("a verdict").reason, "task `web` failed: exit code 1");
    }

    #[test]
    fn task_states_and_manual_look_away_from_checks() {
        let bad = check(CheckStatus::Critical);
        let states = Update { health_check: UpdateHealth::TaskStates, ..update() };
        let mut gate = Gate::new(DeploymentId::default(), at(0));
        assert!(!look(&mut gate, &states, &running(1), &bad, 1));
        assert!(look(&mut gate, &states, &running(1), &bad, 11));
        let manual = Update { health_check: UpdateHealth::Manual, ..update() };
        let mut gate = Gate::new(DeploymentId::default(), at(0));
        assert!(!look(&mut gate, &manual, &running(1), &bad, 100));
        assert_eq!(gate.next_wake(&manual), None);
    }

    #[test]
    fn prestart_tasks_must_have_ended_and_sidecars_must_run() {
        let ended = TaskState { state: TaskRunState::Dead, ..TaskState::default() };
        let view = |hook, sidecar, state| TaskView { name: "t", hook, sidecar, state };
        let runs = running(1);
        let pre = Some(LifecycleHook::Prestart);
        assert_eq!(not_running(&view(pre, false, &ended)), None);
        assert!(not_running(&view(pre, false, &runs)).is_some());
        assert_eq!(not_running(&view(pre, true, &runs)), None);
        let untouched = TaskState::default();
        assert_eq!(not_running(&view(Some(LifecycleHook::Poststop), false, &untouched)), None);
        assert_eq!(not_running(&view(Some(LifecycleHook::Poststart), false, &ended)), None);
    }
}
