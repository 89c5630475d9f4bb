//! Whether a task that ended is started again, and when (nomad.md 2.12).

use std::time::Duration;

use model::{Restart, RestartMode, Timestamp, format_duration};
use serde::{Deserialize, Serialize};

/// The window that restarts are counted in. Kept across agents, so that a crash loop does not start anew with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RestartWindow {
    /// When it began; zero before the first start.
    pub start: Timestamp,
    /// Ends counted in it.
    pub count: u32,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By itself, with exit code 0.
    Success,
    /// Badly: another exit code, a signal, or a check that stayed critical.
    Failure,
    /// It never ran, and another attempt may work.
    StartFailed,
    /// It never ran and never will.
    StartNever,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is over, and well.
    Done,
    /// Start it again.
    Restart {
        /// After this wait.
        after: Duration,
        /// Why, in words.
        reason: String,
    },
    /// It failed for good.
    Fail {
        /// Why, in words.
        reason: String,
    },
}

/// The longest that a policy ever lets a task wait.
pub(crate) fn longest_wait(policy: &Restart) -> Duration {
    policy.interval.max(policy.delay + policy.delay / 4)
}

impl RestartWindow {
    /// Notes a start; the first opens the window.
    pub(crate) fn started(&mut self, now: Timestamp) {
        if self.start.is_zero() {
            self.start = now;
        }
    }

    /// Decides what follows from an end. `restart_on_success` holds for services and sidecars; `seed` picks the jitter.
    pub(crate) fn decide(
        &mut self,
        policy: &Restart,
        restart_on_success: bool,
        outcome: Outcome,
        now: Timestamp,
        seed: u64,
    ) -> Decision {
        if outcome == Outcome::StartNever {
            return Decision::Fail { reason: "Error was unrecoverable".into() };
        }
        if outcome == Outcome::Success && !restart_on_success {
            return Decision::Done;
        }
        if policy.attempts == 0 {
            return Decision::Fail { reason: "Policy allows no restarts".into() };
        }
        if self.start.is_zero() || now > self.start + policy.interval {
            *self = Self { start: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        if self.count <= policy.attempts {
            let after = policy.delay + jitter(policy.delay, seed);
            return Decision::Restart { after, reason: "Restart within policy".into() };
        }
        let exceeded = format!(
            "Exceeded allowed attempts {} in interval {}",
            policy.attempts,
            format_duration(policy.interval)
        );
        match policy.mode {
            RestartMode::Fail => {
                Decision::Fail { reason: format!("{exceeded} and mode is \"fail\"") }
            }
            RestartMode::Delay => Decision::Restart {
                after: (self.start + policy.interval).since(now),
                reason: format!("{exceeded} and mode is \"delay\""),
            },
        }
    }
}

/// Up to a quarter of `delay`, so that tasks that fell together do not rise together.
fn jitter(delay: Duration, seed: u64) -> Duration {
    let quarter = u64::try_from(delay.as_nanos() / 4).unwrap_or(u64::MAX);
    Duration::from_nanos(if quarter == 0 { 0 } else { seed % quarter })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(attempts: u32, mode: RestartMode) -> Restart {
        Restart {
            attempts,
            interval: Duration::from_secs(60),
            delay: Duration::from_secs(4),
            mode,
            render_templates: false,
        }
    }

    #[test]
    fn attempts_are_counted_within_the_interval() {
        let policy = policy(2, RestartMode::Fail);
        let mut window = RestartWindow::default();
        let at = Timestamp::from_secs;
        window.started(at(100));
        for second in [101, 102] {
            let next = window.decide(&policy, true, Outcome::Failure, at(second), 0);
            assert!(matches!(next, Decision::Restart { after, .. } if after == policy.delay));
        }
        let next = window.decide(&policy, true, Outcome::Failure, at(103), 0);
        assert_eq!(
            next,
            Decision::Fail {
                reason: "Exceeded allowed attempts 2 in interval 1m and mode is \"fail\"".into()
            }
        );
        // A new window forgives.
        let next = window.decide(&policy, true, Outcome::Failure, at(161), 0);
        assert!(matches!(next, Decision::Restart { .. }));
    }

    #[test]
    fn mode_delay_waits_for_the_end_of_the_interval() {
        let policy = policy(1, RestartMode::Delay);
        let mut window = RestartWindow { start: Timestamp::from_secs(0), count: 0 };
        window.started(Timestamp::from_secs(1));
        window.decide(&policy, true, Outcome::Failure, Timestamp::from_secs(2), 0);
        let next = window.decide(&policy, true, Outcome::Failure, Timestamp::from_secs(21), 7);
        let Decision::Restart { after, .. } = next else { panic!("{next:?}") };
        assert_eq!(after, Duration::from_secs(40));
    }

    #[test]
    fn success_ends_a_batch_task_and_restarts_a_service() {
        let policy = policy(2, RestartMode::Fail);
        let now = Timestamp::from_secs(5);
        let decide = |on_success, outcome| {
            RestartWindow::default().decide(&policy, on_success, outcome, now, 0)
        };
        assert_eq!(decide(false, Outcome::Success), Decision::Done);
        assert!(matches!(decide(true, Outcome::Success), Decision::Restart { .. }));
        assert!(matches!(decide(false, Outcome::Failure), Decision::Restart { .. }));
        assert!(matches!(decide(true, Outcome::StartNever), Decision::Fail { .. }));
    }

    #[test]
    fn no_attempts_means_no_restart() {
        let policy = policy(0, RestartMode::Fail);
        let now = Timestamp::from_secs(5);
        let mut window = RestartWindow::default();
        assert_eq!(window.decide(&policy, false, Outcome::Success, now, 0), Decision::Done);
        assert!(matches!(
            window.decide(&policy, true, Outcome::Success, now, 0),
            Decision::Fail { .. }
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_more_restarts_than_attempts_in_one_interval(
            attempts in 1_u32..6, gaps in prop::collection::vec(0_i64..5, 1..20), seed: u64,
        ) {
            let policy = Restart { interval: Duration::from_secs(1000), ..policy(attempts, RestartMode::Fail) };
            let mut window = RestartWindow::default();
            let mut now = 10;
            let mut restarts = 0;
            for gap in gaps {
                now += gap;
                match window.decide(&policy, true, Outcome::Failure, Timestamp::from_secs(now), seed) {
                    Decision::Restart { after, .. } => {
                        prop_assert!(after >= policy.delay && after < policy.delay * 5 / 4);
                        restarts += 1;
                    }
                    _ => break,
                }
            }
            prop_assert!(restarts <= attempts);
        }
    }
}
