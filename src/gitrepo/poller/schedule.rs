//! When to look next. Pure.

use std::time::Duration;

use super::status::Head;
use crate::config::RepoConfig;
use crate::error::FetchError;

/// The longest back-off from failures, unless the interval itself is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// The longest stay away that a host can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How the last looks went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Failures in a row; 0 after a success.
    pub failures: u32,
    /// How long the host wants us to stay away, from the last failure.
    pub retry_after: Option<Duration>,
    /// Whether looking costs no more than reading a file: then failures do not make looks rarer.
    pub local: bool,
}

/// Decides when one of many that follow the same remote looks. Asked on the thread that follows, so it must be quick.
pub trait Turns: Send + Sync {
    /// The time from now until the next look. `alone` is how long one that is alone would still wait: what is left of
    /// [`next_poll`]. Asked again now and then while it is waited, because who else looks may change.
    fn wait(&self, config: &RepoConfig, history: &History, alone: Duration) -> Duration;

    /// Told what each look found.
    fn saw(&self, config: &RepoConfig, result: &Result<Head, FetchError>);
}

/// Nobody else looks.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Turns for Alone {
    fn wait(&self, _: &RepoConfig, _: &History, alone: Duration) -> Duration {
        alone
    }

    fn saw(&self, _: &RepoConfig, _: &Result<Head, FetchError>) {}
}

/// The time until the next look: the interval, doubled with each failure after the first up to five minutes, at least
/// what the host asks for, plus up to 10 % by `roll`.
pub fn next_poll(interval: Duration, history: &History, roll: u64) -> Duration {
    let doublings = if history.local { 0 } else { history.failures.saturating_sub(1).min(16) };
    let backed_off = interval.saturating_mul(1 << doublings).min(MAX_BACKOFF.max(interval));
    let asked = history.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    let base = backed_off.max(asked);
    let jitter = base.mul_f64(0.1 * ((roll % 1024) as f64 / 1024.0));
    base + jitter
}

/// The next of a sequence of numbers that looks random (SplitMix64).
pub(super) fn roll(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(interval: u64, failures: u32, retry_after: Option<u64>, local: bool) -> u64 {
        let retry_after = retry_after.map(Duration::from_secs);
        let history = History { failures, retry_after, local };
        next_poll(Duration::from_secs(interval), &history, 0).as_secs()
    }

    #[test]
    fn failures_make_looks_rarer_up_to_a_limit() {
        assert_eq!(seconds(30, 0, None, false), 30);
        assert_eq!(seconds(30, 1, None, false), 30);
        assert_eq!(seconds(30, 2, None, false), 60);
        assert_eq!(seconds(30, 4, None, false), 240);
        assert_eq!(seconds(30, 5, None, false), 300);
        assert_eq!(seconds(30, u32::MAX, None, false), 300);
        assert_eq!(seconds(900, 9, None, false), 900);
        assert_eq!(seconds(30, 9, None, true), 30);
    }

    #[test]
    fn the_host_decides_how_long_we_stay_away() {
        assert_eq!(seconds(30, 1, Some(90), false), 90);
        assert_eq!(seconds(30, 1, Some(5), false), 30);
        assert_eq!(seconds(30, 1, Some(999_999), false), 3600);
    }

    proptest! {
        #[test]
        fn jitter_is_at_most_a_tenth(interval in 100_u64..10_000_000, failures in 0_u32..40, seed: u64) {
            let (interval, mut state) = (Duration::from_millis(interval), seed);
            let history = History { failures, ..History::default() };
            let plain = next_poll(interval, &history, 0);
            let rolled = next_poll(interval, &history, roll(&mut state));
            prop_assert!(plain >= interval && rolled >= plain);
            prop_assert!(rolled <= plain.mul_f64(1.1));
        }
    }
}
