//! The checks of one allocation: they follow their tasks, run when due and may ask for a restart.

use std::time::Duration;

use model::{CheckState, CheckStatus, Timestamp};

use super::{Done, Runner, rules};
use crate::check::{Follows, PlannedCheck, Probe, Seen, Standing, http_or_tcp, plan, script};
use crate::lifecycle::Event;
use crate::task_env::{env_of, task_paths};

/// How often a check that stays bad may report a new output.
const REFRESH: Duration = Duration::from_secs(5);

/// One check and its standing.
pub(super) struct CheckRun {
    pub planned: PlannedCheck,
    pub standing: Standing,
    /// When its tasks were started; the outer `None` until that is known.
    up: Option<Option<Timestamp>>,
    /// Whether its standing was kept from an earlier agent.
    kept: bool,
    /// Whether it has run since.
    ran: bool,
    /// Names the run under way; results of older ones are dropped.
    number: u64,
    reported_at: Timestamp,
}

impl CheckRun {
    /// Whether its standing is this agent's own, or nothing runs that it could look at.
    pub(super) const fn is_certain(&self) -> bool {
        self.ran || !self.kept || matches!(self.up, Some(None))
    }

    pub(super) fn state(&self) -> CheckState {
        CheckState {
            service: self.planned.service.clone(),
            name: self.planned.name.clone(),
            status: self.standing.status,
            output: self.standing.output.clone(),
            since: self.standing.since,
        }
    }
}

impl Runner {
    /// Takes the checks from the job as it is now. What stayed the same keeps its standing.
    pub(super) fn replan_checks(&mut self) {
        let now = self.shared.now();
        let job = self.record.job.clone();
        let Some(group) = job.job.group(&self.record.alloc.group) else { return };
        let alloc = self.record.alloc.clone();
        let node = &self.shared.options.node;
        let planned = plan(&alloc, &job.job, group, node, |task| {
            let paths = task.and_then(|task| {
                let driver = self.shared.drivers.get(&task.driver)?;
                Some((task, task_paths(&**driver, &self.shared.dirs.of_task(alloc.id, &task.name))))
            });
            env_of(
                &alloc,
                &job.job,
                group,
                paths.as_ref().map(|(task, paths)| (*task, paths)),
                node,
            )
        });
        let mut before = std::mem::take(&mut self.checks);
        for (key, planned) in planned {
            let same = before.remove(&key).filter(|check| check.planned == planned);
            let check = same.unwrap_or_else(|| {
                let state = self.record.checks.get(&key);
                let state = state.filter(|state| {
                    (&state.service, &state.name) == (&planned.service, &planned.name)
                });
                let standing = match state {
                    Some(state) => Standing::kept(state.status, state.output.clone(), state.since),
                    None => Standing::new(&planned.check, now),
                };
                CheckRun {
                    standing,
                    kept: state.is_some(),
                    ran: false,
                    planned,
                    up: None,
                    number: 0,
                    reported_at: Timestamp::ZERO,
                }
            });
            self.checks.insert(key, check);
        }
        self.record.checks =
            self.checks.iter().map(|(key, check)| (key.clone(), check.state())).collect();
    }

    /// Starts and ends checks with their tasks.
    pub(super) fn follow_tasks(&mut self, now: Timestamp) {
        let keys: Vec<_> = self.checks.keys().cloned().collect();
        for key in keys {
            let up = self.checks.get(&key).and_then(|check| self.followed(&check.planned.follows));
            let (Some(up), Some(check)) = (up, self.checks.get_mut(&key)) else { continue };
            if check.up == Some(up) {
                continue;
            }
            let first = check.up.is_none();
            check.up = Some(up);
            check.number += 1;
            match up {
                Some(started) => {
                    let again = first && check.kept;
                    check.standing.task_started(&check.planned.check, again, started, now);
                }
                None => {
                    let why = match &check.planned.follows {
                        Follows::Task(task) => format!("task `{task}` is not running"),
                        Follows::MainTasks => "not all tasks are running".to_owned(),
                    };
                    check.standing.task_ended(why, now);
                }
            }
            self.record.checks.insert(key, check.state());
        }
    }

    /// When everything that a check follows was started, if all of it runs.
    fn followed(&self, follows: &Follows) -> Option<Option<Timestamp>> {
        match follows {
            Follows::Task(task) => self.task_up(task),
            Follows::MainTasks => {
                let group = self.record.job.job.group(&self.record.alloc.group)?;
                let mut latest = None;
                for task in group.tasks.iter().filter(|task| task.is_main()) {
                    match self.task_up(&task.name)? {
                        Some(started) => latest = latest.max(Some(started)),
                        None => return Some(None),
                    }
                }
                Some(latest)
            }
        }
    }

    /// Runs what is due.
    pub(super) fn launch_checks(&mut self, now: Timestamp) {
        let mut due = Vec::new();
        for (key, check) in &mut self.checks {
            if check.standing.next_at.is_some_and(|at| at <= now) {
                check.standing.running();
                check.number += 1;
                let limit = check.planned.check.timeout.max(Duration::from_millis(1));
                due.push((key.clone(), check.number, check.planned.probe.clone(), limit));
            }
        }
        for (key, number, probe, limit) in due {
            let run = self.probe(probe, limit);
            self.ops.push(Box::pin(async move { Done::Check { key, number, seen: run.await } }));
        }
    }

    fn probe(
        &self,
        probe: Probe,
        limit: Duration,
    ) -> impl Future<Output = Seen> + Send + 'static + use<> {
        let in_task = match &probe {
            Probe::Script { task, .. } => self.handle(task).and_then(|handle| {
                Some((self.shared.drivers.get(&handle.driver)?.clone(), handle))
            }),
            _ => None,
        };
        async move {
            match (&probe, in_task) {
                (Probe::Script { command, args, .. }, Some((driver, handle))) => {
                    script(&*driver, &handle, command, args, limit).await
                }
                (Probe::Script { task, .. }, None) => {
                    Seen::critical(format!("task `{task}` is not running"))
                }
                _ => http_or_tcp(&probe, limit).await,
            }
        }
    }

    pub(super) fn take_check(&mut self, key: &str, number: u64, seen: Seen, now: Timestamp) {
        let Some(check) = self.checks.get_mut(key).filter(|check| check.number == number) else {
            return;
        };
        check.ran = true;
        let changed = check.standing.saw(&check.planned.check, seen, now);
        let stale = check.standing.status != CheckStatus::Passing
            && now.since(check.reported_at) >= REFRESH;
        if changed || stale {
            check.reported_at = now;
            self.record.checks.insert(key.to_owned(), check.state());
        }
        let Some(rule) = &check.planned.check.check_restart else { return };
        if !check.standing.wants_restart(rule, check.planned.check.interval, now) {
            return;
        }
        let reason = format!("healthcheck: check {:?} unhealthy", check.planned.name);
        let job = self.record.job.clone();
        let Some(rules) = rules(&self.record, &job) else { return };
        let targets: Vec<_> = match &check.planned.follows {
            Follows::Task(task) => vec![task.clone()],
            Follows::MainTasks => {
                let mains = rules.group.tasks.iter().filter(|task| task.is_main());
                mains.map(|task| task.name.clone()).collect()
            }
        };
        for task in targets {
            let event = Event::RestartWanted(reason.clone());
            self.record.lifecycle.handle(rules, &task, None, event, now);
        }
    }
}
