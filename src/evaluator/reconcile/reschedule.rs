//! When a failed allocation is replaced (nomad.md 2.12).

use std::time::Duration;

use model::{Allocation, DelayFunction, Group, JobType, Reschedule, RescheduleEvent, Timestamp};

/// Replacements in a row that are remembered where their number is not limited.
const REMEMBERED: usize = 5;

/// Whether and when an allocation is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Not any more.
    Never,
    /// Then, after this wait.
    At(Timestamp, Duration),
}

/// The policy of a group. Jobs that run on every node have none of their own: they are kept alive for ever, with growing
/// waits, or not at all when they run to completion.
pub(crate) fn policy(kind: JobType, group: &Group) -> Option<Reschedule> {
    match kind {
        JobType::System => Some(Reschedule::default()),
        JobType::Sysbatch => None,
        JobType::Service | JobType::Batch => group.reschedule_policy.clone(),
    }
}

/// When an allocation that failed is replaced.
pub(crate) fn next(policy: Option<&Reschedule>, alloc: &Allocation) -> Next {
    let Some(policy) = policy else { return Next::Never };
    let failed_at = failed_at(alloc);
    let delay = delay(policy, alloc, failed_at);
    if !policy.unlimited {
        let recent = alloc
            .reschedules
            .iter()
            .filter(|event| failed_at.since(event.at) < policy.interval)
            .count();
        if recent >= policy.attempts as usize || delay >= policy.interval {
            return Next::Never;
        }
    }
    Next::At(failed_at + delay, delay)
}

/// The chain of a replacement.
pub(crate) fn chain(
    policy: Option<&Reschedule>,
    failed: &Allocation,
    delay: Duration,
    now: Timestamp,
) -> Vec<RescheduleEvent> {
    let mut chain = failed.reschedules.to_vec();
    chain.push(RescheduleEvent {
        at: now,
        previous: failed.id,
        node: failed.node,
        delay: u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX),
    });
    // A limit of attempts needs as many to be remembered.
    let keep = policy
        .filter(|policy| !policy.unlimited)
        .map_or(REMEMBERED, |policy| REMEMBERED.max(policy.attempts as usize));
    let surplus = chain.len().saturating_sub(keep);
    chain.drain(..surplus);
    chain
}

/// When its last task ended.
pub(crate) fn failed_at(alloc: &Allocation) -> Timestamp {
    let ended = alloc.tasks.values().map(|task| task.finished_at).max().unwrap_or_default();
    if ended.is_zero() { alloc.modified_at } else { ended }
}

fn delay(policy: &Reschedule, alloc: &Allocation, failed_at: Timestamp) -> Duration {
    let past = |back: usize| -> Option<&RescheduleEvent> {
        alloc.reschedules.len().checked_sub(back).and_then(|at| alloc.reschedules.get(at))
    };
    let Some(last) = past(1) else { return policy.delay };
    let last_delay = Duration::from_nanos(last.delay);
    let delay = match policy.delay_function {
        DelayFunction::Constant => return policy.delay,
        DelayFunction::Exponential => last_delay.saturating_mul(2),
        DelayFunction::Fibonacci => past(2).map_or(policy.delay, |before| {
            let before = Duration::from_nanos(before.delay);
            // After the ceiling the series starts again.
            if before > last_delay { last_delay } else { last_delay.saturating_add(before) }
        }),
    };
    if policy.max_delay.is_zero() || delay <= policy.max_delay {
        return delay;
    }
    // It ran for longer than the longest wait: what was wrong is over, and this is something new.
    if failed_at.since(last.at) > policy.max_delay { policy.delay } else { policy.max_delay }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn series(policy: &Reschedule, runs: u64, steps: usize) -> Vec<u64> {
        let mut alloc = Allocation::default();
        let mut at = Timestamp::from_secs(1000);
        let mut out = Vec::new();
        for _ in 0..steps {
            at = at + secs(runs);
            alloc.modified_at = at;
            let Next::At(due, wait) = next(Some(policy), &alloc) else { break };
            out.push(wait.as_secs());
            at = due;
            alloc.reschedules = chain(Some(policy), &alloc, wait, at).into();
        }
        out
    }

    #[test]
    fn waits_grow_as_the_policy_says() {
        let unlimited = |delay_function| Reschedule {
            delay: secs(5),
            max_delay: secs(60),
            delay_function,
            ..Reschedule::default()
        };
        assert_eq!(series(&unlimited(DelayFunction::Exponential), 1, 6), [5, 10, 20, 40, 60, 60]);
        assert_eq!(series(&unlimited(DelayFunction::Fibonacci), 1, 6), [5, 5, 10, 15, 25, 40]);
        assert_eq!(series(&unlimited(DelayFunction::Constant), 1, 3), [5, 5, 5]);
        // Each run is longer than the ceiling: the series starts anew after it.
        assert_eq!(series(&unlimited(DelayFunction::Exponential), 100, 6), [5, 10, 20, 40, 5, 10]);
    }

    #[test]
    fn attempts_are_counted_within_the_interval() {
        let policy = Reschedule {
            attempts: 2,
            interval: secs(100),
            delay: secs(5),
            delay_function: DelayFunction::Constant,
            max_delay: Duration::ZERO,
            unlimited: false,
        };
        assert_eq!(series(&policy, 1, 9), [5, 5]);
        assert_eq!(series(&policy, 90, 9).len(), 9, "old attempts are forgiven");
        assert_eq!(next(None, &Allocation::default()), Next::Never);
        assert_eq!(
            next(Some(&Reschedule { attempts: 0, ..policy }), &Allocation::default()),
            Next::Never
        );
    }
}
