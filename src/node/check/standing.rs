//! One check's standing: status after thresholds, when it runs next, and whether its task is to be restarted.

use std::time::Duration;

use model::{Check, CheckRestart, CheckStatus, Timestamp};

use super::Seen;

/// The first wait of a check whose task was just started and does not answer yet. It doubles up to [`FAST_MAX`].
const FAST_MIN: Duration = Duration::from_millis(20);
/// The longest wait between runs of a check that has not passed since its task was started.
const FAST_MAX: Duration = Duration::from_millis(500);
/// How long after a start that haste lasts; then the check's own interval holds.
const FAST_FOR: Duration = Duration::from_secs(120);

/// One check's standing.
///
/// A task that was just started is looked at right away and then soon again (20 ms, 40 ms … 500 ms, never slower than
/// its interval) until it first passes, so that a rollout waits for the task and not for the check's interval.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standing {
    /// After thresholds.
    pub status: CheckStatus,
    /// What it last saw.
    pub output: String,
    /// When the status last changed.
    pub since: Timestamp,
    /// When it runs next; `None` while its task does not run.
    pub next_at: Option<Timestamp>,
    successes: u32,
    failures: u32,
    started: Timestamp,
    passed: bool,
    fast: Duration,
    /// Since when it has been unwell, for a restart.
    unwell_since: Option<Timestamp>,
}

impl Standing {
    /// A check that never ran. Its `initial_status` holds from the first start of its task.
    pub(crate) fn new(check: &Check, now: Timestamp) -> Self {
        let status = initial(check);
        Self::kept(status, "the check has not run yet".into(), now)
    }

    /// A check that an earlier agent ran: its status stands until it has run again (a restart of the agent takes no
    /// service out of the catalog).
    pub(crate) const fn kept(status: CheckStatus, output: String, since: Timestamp) -> Self {
        Self {
            status,
            output,
            since,
            next_at: None,
            successes: 0,
            failures: 0,
            started: Timestamp::ZERO,
            passed: false,
            fast: FAST_MIN,
            unwell_since: None,
        }
    }

    /// Its task was started, or found again by a new agent (`again`), at `at`.
    pub(crate) fn task_started(
        &mut self,
        check: &Check,
        again: bool,
        at: Timestamp,
        now: Timestamp,
    ) {
        let status = if again { self.status } else { initial(check) };
        let since = if status == self.status { self.since } else { now };
        let output = std::mem::take(&mut self.output);
        let output =
            if again { output } else { "the check has not run since the task was started".into() };
        *self = Self::kept(status, output, since);
        self.started = at;
        self.passed = again && status == CheckStatus::Passing;
        self.next_at = Some(now);
    }

    /// Its task ended. It is critical at once: nothing answers there. Returns whether the status changed.
    pub(crate) fn task_ended(&mut self, why: String, now: Timestamp) -> bool {
        self.next_at = None;
        self.unwell_since = None;
        self.successes = 0;
        self.output = why;
        self.become_status(CheckStatus::Critical, now)
    }

    /// A run is under way; the next is planned by its result.
    pub(crate) const fn running(&mut self) {
        self.next_at = None;
    }

    /// Takes in a result. Returns whether the status changed.
    pub(crate) fn saw(&mut self, check: &Check, seen: Seen, now: Timestamp) -> bool {
        let good = seen.status != CheckStatus::Critical;
        self.output = seen.output;
        let reached = if good {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            self.successes >= check.success_before_passing.max(1)
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            self.failures >= check.failures_before_critical.max(1)
        };
        let changed = reached && self.become_status(seen.status, now);
        self.passed |= reached && good;
        let hasty = !self.passed && !good && now < self.started + FAST_FOR;
        let wait = if hasty { self.fast.min(check.interval) } else { check.interval };
        self.fast = (self.fast * 2).min(FAST_MAX);
        self.next_at = Some(now + wait);
        changed
    }

    /// Whether the task is to be restarted: unwell for `limit` intervals, not counting the grace after its start. Time
    /// is counted and not runs, so that haste after a start restarts nothing earlier.
    pub(crate) fn wants_restart(
        &mut self,
        rule: &CheckRestart,
        interval: Duration,
        now: Timestamp,
    ) -> bool {
        let well = match self.status {
            CheckStatus::Passing => true,
            CheckStatus::Warning => rule.ignore_warnings,
            CheckStatus::Critical => false,
        };
        if well || rule.limit == 0 {
            self.unwell_since = None;
            return false;
        }
        if now < self.started + rule.grace {
            return false;
        }
        let since = *self.unwell_since.get_or_insert(now);
        now >= since + interval * (rule.limit - 1)
    }

    fn become_status(&mut self, status: CheckStatus, now: Timestamp) -> bool {
        if self.status == status {
            return false;
        }
        self.status = status;
        self.since = now;
        true
    }
}

fn initial(check: &Check) -> CheckStatus {
    match check.initial_status.as_str() {
        "passing" => CheckStatus::Passing,
        "warning" => CheckStatus::Warning,
        _ => CheckStatus::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp(millis * 1_000_000)
    }

    fn seen(status: CheckStatus) -> Seen {
        Seen::new(status, "x".into())
    }

    const GOOD: CheckStatus = CheckStatus::Passing;
    const BAD: CheckStatus = CheckStatus::Critical;

    fn started(check: &Check) -> Standing {
        let mut standing = Standing::new(check, at(0));
        standing.task_started(check, false, at(0), at(0));
        standing
    }

    #[test]
    fn hurries_until_it_passes_and_then_keeps_its_interval() {
        let check = Check { interval: Duration::from_secs(10), ..Check::default() };
        let mut standing = started(&check);
        assert_eq!(standing.next_at, Some(at(0)));
        for (now, next) in [(0, 20), (20, 60), (60, 140)] {
            assert!(!standing.saw(&check, seen(BAD), at(now)));
            assert_eq!(standing.next_at, Some(at(next)));
        }
        assert!(standing.saw(&check, seen(GOOD), at(140)));
        assert_eq!((standing.status, standing.next_at), (GOOD, Some(at(10_140))));
        standing.saw(&check, seen(BAD), at(10_140));
        assert_eq!(standing.next_at, Some(at(20_140)));
    }

    #[test]
    fn the_hurry_ends() {
        let check = Check { interval: Duration::from_secs(10), ..Check::default() };
        let mut standing = started(&check);
        standing.saw(&check, seen(BAD), at(120_000));
        assert_eq!(standing.next_at, Some(at(130_000)));
    }

    #[test]
    fn thresholds_hold_a_flapping_check() {
        let check = Check {
            success_before_passing: 2,
            failures_before_critical: 3,
            interval: Duration::from_secs(1),
            ..Check::default()
        };
        let mut standing = started(&check);
        let mut run = |statuses: &[CheckStatus]| {
            statuses.iter().for_each(|status| {
                standing.saw(&check, seen(*status), at(1));
            });
            standing.status
        };
        assert_eq!(run(&[GOOD]), BAD);
        assert_eq!(run(&[BAD, GOOD]), BAD);
        assert_eq!(run(&[GOOD]), GOOD);
        assert_eq!(run(&[BAD, BAD, GOOD, BAD, BAD]), GOOD);
        assert_eq!(run(&[BAD]), BAD);
    }

    #[test]
    fn a_new_agent_keeps_what_it_knew() {
        let check = Check::default();
        let mut standing = Standing::kept(GOOD, "200".into(), at(5));
        standing.task_started(&check, true, at(1), at(9));
        assert_eq!(
            (standing.status, standing.since, standing.output.as_str()),
            (GOOD, at(5), "200")
        );
        assert_eq!(standing.next_at, Some(at(9)));
    }

    #[test]
    fn restarts_after_limit_intervals_beyond_the_grace() {
        let rule = CheckRestart { limit: 3, grace: Duration::from_secs(5), ignore_warnings: false };
        let interval = Duration::from_secs(1);
        let check = Check { interval, ..Check::default() };
        let mut standing = started(&check);
        let mut wants = |millis, status| {
            standing.saw(&check, seen(status), at(millis));
            standing.wants_restart(&rule, interval, at(millis))
        };
        assert!(!wants(4_999, BAD));
        assert!(!wants(5_000, BAD));
        assert!(!wants(6_999, BAD));
        assert!(!wants(7_000, GOOD), "a pass starts the count anew");
        assert!(!wants(8_000, BAD));
        assert!(!wants(9_000, CheckStatus::Warning), "a warning counts as bad");
        assert!(wants(10_000, BAD));
    }
}
