//! The end of the log in memory: what is not on disk yet, and a little more so that applying rarely reads the disk.

use std::collections::VecDeque;
use std::ops::Range;

use crate::types::{Entry, LogId, Payload, Vote};

/// Entries on disk that are kept here as well.
const KEEP_ENTRIES: usize = 4_096;
/// The same in bytes.
const KEEP_BYTES: usize = 8 << 20;

/// What the log is, as of everything handed to the writer so far.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Everything below is on disk.
    durable: u64,
    /// Counts truncations: a write from before one says nothing about the entries after it.
    generation: u64,
}

/// A read, split into what the disk has to give and what is here.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Indexes to read from the disk, before `entries`.
    pub(crate) disk: Range<u64>,
    pub(crate) entries: Vec<Entry>,
}

/// What an entry takes in memory, about.
pub(crate) fn size(entry: &Entry) -> usize {
    let body = match &entry.payload {
        Payload::Normal(proposal) => proposal.encoded().len(),
        Payload::Blank | Payload::Membership(_) => 0,
    };
    body + size_of::<Entry>()
}

impl Tail {
    /// The end of a log whose entries are all on disk.
    pub(crate) fn new(vote: Option<Vote>, purged: Option<LogId>, last: Option<LogId>) -> Self {
        let durable = last.as_ref().map_or(0, |id| id.index + 1);
        Self { vote, purged, last, durable, ..Self::default() }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    fn next(&self) -> u64 {
        self.last.as_ref().map_or(0, |id| id.index + 1)
    }

    /// Adds an entry. It must follow the last one: a hole is refused and the expected index returned.
    pub(crate) fn push(&mut self, entry: Entry) -> Result<(), u64> {
        // The very first entry of a log may follow a snapshot that was installed.
        let expected = self.next();
        if entry.log_id.index != expected {
            return Err(expected);
        }
        self.last = Some(entry.log_id);
        self.bytes += size(&entry);
        self.entries.push_back(entry);
        Ok(())
    }

    /// Forgets what comes after `after`.
    pub(crate) fn truncate(&mut self, after: Option<LogId>) {
        let next = after.as_ref().map_or(0, |id| id.index + 1);
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= next) {
            self.bytes -= self.entries.pop_back().as_ref().map_or(0, size);
        }
        self.last = after.max(self.purged);
        self.durable = self.durable.min(next);
        self.generation += 1;
    }

    /// Forgets what comes up to `upto`, inclusive.
    pub(crate) fn purge(&mut self, upto: LogId) {
        while self.entries.front().is_some_and(|entry| entry.log_id.index <= upto.index) {
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, size);
        }
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
            self.durable = self.durable.max(upto.index + 1);
        }
        self.purged = self.purged.max(Some(upto));
    }

    /// The disk has everything below `next`, as far as `generation` knew. Lets go of what need not be here any more.
    pub(crate) fn durable(&mut self, generation: u64, next: u64) {
        if generation != self.generation {
            return;
        }
        self.durable = self.durable.max(next);
        let durable = self.durable;
        while (self.entries.len() > KEEP_ENTRIES || self.bytes > KEEP_BYTES)
            && self.entries.front().is_some_and(|entry| entry.log_id.index < durable)
        {
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, size);
        }
    }

    /// What a read of `range` needs.
    pub(crate) fn cut(&self, range: Range<u64>) -> Cut {
        let low = self.purged.as_ref().map_or(0, |id| id.index + 1);
        let start = range.start.max(low);
        let end = range.end.min(self.next()).max(start);
        let first = self.entries.front().map_or(end, |entry| entry.log_id.index);
        let disk = start..first.clamp(start, end);
        let skip = usize::try_from(disk.end.saturating_sub(first)).unwrap_or(usize::MAX);
        let count = usize::try_from(end - disk.end).unwrap_or(usize::MAX);
        Cut { disk, entries: self.entries.iter().skip(skip).take(count).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::log_id;

    fn blank(index: u64) -> Entry {
        Entry { log_id: log_id(1, 1, index), payload: Payload::Blank }
    }

    fn indexes(cut: &Cut) -> Vec<u64> {
        cut.disk.clone().chain(cut.entries.iter().map(|entry| entry.log_id.index)).collect()
    }

    fn filled(count: u64) -> Tail {
        let mut tail = Tail::default();
        for index in 0..count {
            tail.push(blank(index)).expect("they follow each other");
        }
        tail
    }

    #[test]
    fn a_hole_is_refused() {
        let mut tail = filled(3);
        assert_eq!(tail.push(blank(4)), Err(3));
        assert_eq!(tail.push(blank(2)), Err(3));
    }

    #[test]
    fn what_is_not_on_disk_is_never_let_go() {
        let count = KEEP_ENTRIES as u64 + 100;
        let mut tail = filled(count);
        tail.durable(0, 40);
        let cut = tail.cut(0..count);
        assert_eq!(cut.disk, 0..40);
        assert_eq!(indexes(&cut), (0..count).collect::<Vec<_>>());
        tail.durable(0, count);
        let cut = tail.cut(0..count);
        assert_eq!(cut.disk, 0..100);
        assert_eq!(indexes(&cut), (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn a_write_from_before_a_truncation_proves_nothing() {
        let mut tail = filled(10);
        let before = tail.generation();
        tail.truncate(Some(log_id(1, 1, 4)));
        tail.push(blank(5)).expect("it follows");
        tail.durable(before, 10);
        assert_eq!(tail.durable, 0);
        tail.durable(tail.generation(), 6);
        assert_eq!(tail.durable, 6);
        assert_eq!(indexes(&tail.cut(0..100)), (0..6).collect::<Vec<_>>());
    }

    #[test]
    fn reads_stay_between_purged_and_last() {
        let mut tail = filled(10);
        tail.purge(log_id(1, 1, 3));
        assert_eq!(indexes(&tail.cut(0..100)), (4..10).collect::<Vec<_>>());
        assert_eq!(indexes(&tail.cut(6..8)), vec![6, 7]);
        assert!(indexes(&tail.cut(20..30)).is_empty());
        tail.purge(log_id(2, 1, 20));
        assert_eq!(tail.last, Some(log_id(2, 1, 20)));
        assert!(indexes(&tail.cut(0..100)).is_empty());
        assert_eq!(tail.push(blank(21)), Ok(()));
    }

    #[test]
    fn a_log_on_disk_is_read_from_there() {
        let mut tail = Tail::new(None, Some(log_id(1, 1, 4)), Some(log_id(1, 1, 9)));
        tail.push(blank(10)).expect("it follows");
        let cut = tail.cut(0..11);
        assert_eq!(cut.disk, 5..10);
        assert_eq!(cut.entries.len(), 1);
        tail.truncate(Some(log_id(1, 1, 7)));
        tail.push(blank(8)).expect("it follows");
        let cut = tail.cut(6..100);
        assert_eq!(cut.disk, 6..8, "the disk may still hold an old entry 8");
        assert_eq!(indexes(&cut), vec![6, 7, 8]);
    }
}
