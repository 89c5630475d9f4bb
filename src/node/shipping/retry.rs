//! When to try again.

use std::time::{Duration, Instant};

/// The first pause and the longest.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// The longest pause that a receiver may ask for.
const ASKED: Duration = Duration::from_secs(300);

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has it.
    Taken,
    /// Not now; perhaps after so long.
    Later(Option<Duration>),
    /// The receiver does not want it, now or later.
    Refused,
}

/// Doubles its pauses until something is taken.
#[derive(Debug, Default)]
pub(super) struct Retry {
    pause: Duration,
    until: Option<Instant>,
}

impl Retry {
    /// How long there is still to wait.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Whether the last attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.until.is_some()
    }

    pub(super) fn took(&mut self) {
        *self = Self::default();
    }

    pub(super) fn failed(&mut self, now: Instant, asked: Option<Duration>) {
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        let pause = asked.map_or(self.pause, |asked| asked.clamp(FIRST, ASKED));
        self.until = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_are_bounded_and_end() {
        let now = Instant::now();
        let mut retry = Retry::default();
        assert_eq!((retry.left(now), retry.is_failing()), (Duration::ZERO, false));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            retry.failed(now, None);
            pauses.push(retry.left(now).as_millis());
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(retry.left(now + Duration::from_secs(61)), Duration::ZERO);
        retry.failed(now, Some(Duration::from_secs(7)));
        assert_eq!(retry.left(now), Duration::from_secs(7), "the receiver knows better");
        retry.failed(now, Some(Duration::from_secs(1_000_000)));
        assert_eq!(retry.left(now), ASKED);
        retry.took();
        assert_eq!(retry.left(now), Duration::ZERO);
    }
}
