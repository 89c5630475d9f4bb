//! What the disk was asked to do, and what became of the leadership, counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::status::{ElectionStatus, StorageStatus};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    entries: AtomicU64,
    fsyncs: AtomicU64,
    leadership: Mutex<Leadership>,
}

/// What was seen of the leadership last, and what that adds up to.
#[derive(Debug, Default)]
struct Leadership {
    term: Option<u64>,
    leader: Option<u64>,
    seen: ElectionStatus,
}

impl Leadership {
    fn note(&mut self, node: u64, term: u64, leader: Option<u64>) {
        // What came before this node looked is not its to count.
        let before = self.term.replace(term).unwrap_or(term);
        self.seen.terms += term.saturating_sub(before);
        let Some(leader) = leader else { return };
        let known = self.leader.replace(leader);
        if known != Some(leader) {
            self.seen.leaders += u64::from(known.is_some());
            self.seen.won += u64::from(leader == node);
        }
    }
}

impl Counters {
    /// Takes note of who leads, each time that this may have changed.
    pub(crate) fn led_by(&self, node: u64, term: u64, leader: Option<u64>) {
        let mut known = self.leadership.lock().unwrap_or_else(PoisonError::into_inner);
        known.note(node, term, leader);
    }

    pub(crate) fn elections(&self) -> ElectionStatus {
        self.leadership.lock().unwrap_or_else(PoisonError::into_inner).seen
    }

    pub(crate) fn committed(&self, entries: u64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.entries.fetch_add(entries, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self) {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> StorageStatus {
        StorageStatus {
            commits: self.commits.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            fsyncs: self.fsyncs.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_and_changes_of_the_leader_are_counted() {
        let counters = Counters::default();
        for (term, leader) in [
            (7, None),
            (7, Some(2)),
            (7, Some(2)),
            (9, None),
            (9, Some(1)),
            (10, Some(1)),
            (11, Some(3)),
        ] {
            counters.led_by(1, term, leader);
        }
        assert_eq!(counters.elections(), ElectionStatus { terms: 4, leaders: 2, won: 1 });
    }
}
