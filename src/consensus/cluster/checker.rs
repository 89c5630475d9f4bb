//! Whether what clients saw of one register could have happened one after the other, each within its time.

use std::collections::HashSet;

/// What a client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Write(u64),
    Read(u64),
}

/// An operation and when it was. A write of which nobody knows what came has no end: it may have been done at any time
/// after its start, or never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) what: What,
    pub(super) start: u64,
    pub(super) end: Option<u64>,
}

/// The most operations on one register that can be checked.
pub(super) const MOST: usize = 128;

/// Whether there is an order of all operations in which each read sees the write before it (0 if none), and none comes
/// before another that had ended when it began. Searches all orders, but none twice.
pub(super) fn is_linearizable(history: &[Done]) -> bool {
    assert!(history.len() <= MOST, "{} operations are too many to check", history.len());
    let certain = history
        .iter()
        .enumerate()
        .filter(|(_, done)| done.end.is_some())
        .fold(0_u128, |all, (at, _)| all | (1 << at));
    let mut seen: HashSet<(u128, u64)> = HashSet::new();
    let mut open = vec![(0_u128, 0_u64)];
    while let Some((placed, value)) = open.pop() {
        if placed & certain == certain {
            return true;
        }
        if !seen.insert((placed, value)) {
            continue;
        }
        let left = |at: &usize| placed & (1 << at) == 0;
        let first_end = (0..history.len())
            .filter(left)
            .filter_map(|at| history[at].end)
            .min()
            .unwrap_or(u64::MAX);
        for at in (0..history.len()).filter(left) {
            let done = history[at];
            if done.start > first_end {
                continue;
            }
            match done.what {
                What::Write(written) => open.push((placed | (1 << at), written)),
                What::Read(read) if read == value => open.push((placed | (1 << at), value)),
                What::Read(_) => {}
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: u64, start: u64, end: u64) -> Done {
        Done { what: What::Write(value), start, end: Some(end) }
    }

    fn read(value: u64, start: u64, end: u64) -> Done {
        Done { what: What::Read(value), start, end: Some(end) }
    }

    fn lost(value: u64, start: u64) -> Done {
        Done { what: What::Write(value), start, end: None }
    }

    #[test]
    fn what_could_have_happened_is_let_pass() {
        assert!(is_linearizable(&[]));
        assert!(is_linearizable(&[read(0, 0, 1), write(1, 2, 3), read(1, 4, 5)]));
        // At the same time, in either order.
        assert!(is_linearizable(&[write(1, 0, 9), read(0, 1, 2), read(1, 3, 4)]));
        assert!(is_linearizable(&[write(1, 0, 9), write(2, 0, 9), read(2, 10, 11)]));
        // Perhaps done, and late.
        assert!(is_linearizable(&[lost(1, 0), read(0, 1, 2), read(0, 3, 4)]));
        assert!(is_linearizable(&[lost(1, 0), write(2, 1, 2), read(2, 3, 4), read(1, 5, 6)]));
    }

    #[test]
    fn what_could_not_is_found() {
        assert!(!is_linearizable(&[write(1, 0, 1), read(0, 2, 3)]), "a stale read");
        assert!(!is_linearizable(&[read(7, 0, 1)]), "a value that nobody wrote");
        let back = [write(1, 0, 9), read(1, 1, 2), read(0, 3, 4)];
        assert!(!is_linearizable(&back), "back in time");
        let twice = [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)];
        assert!(!is_linearizable(&twice), "a write that was done twice");
        let gone = [lost(1, 0), read(1, 1, 2), read(0, 3, 4)];
        assert!(!is_linearizable(&gone), "one that was seen is done");
    }
}
