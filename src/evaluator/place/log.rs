//! What happened, in order, for readers that each remember how far they have come. What is long past is forgotten: who
//! has not come so far begins anew.

#[derive(Clone)]
pub(super) struct Log<T> {
    forgotten: usize,
    items: Vec<T>,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self { forgotten: 0, items: Vec::new() }
    }
}

impl<T> Log<T> {
    pub(super) fn push(&mut self, item: T) {
        self.items.push(item);
    }

    /// How far somebody has come who knows everything.
    pub(super) const fn end(&self) -> usize {
        self.forgotten + self.items.len()
    }

    /// What happened since; nothing where that is forgotten.
    pub(super) fn since(&self, known: usize) -> Option<&[T]> {
        self.items.get(known.checked_sub(self.forgotten)?..)
    }

    /// Forgets all but the last `kept`, once there is twice as much, so that this costs nothing for each.
    pub(super) fn forget(&mut self, kept: usize) {
        if self.items.len() > kept.saturating_mul(2) {
            let surplus = self.items.len() - kept;
            self.items.drain(..surplus);
            self.forgotten += surplus;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_past_is_forgotten() {
        let mut log = Log::default();
        (0..4).for_each(|n| log.push(n));
        log.forget(2);
        assert_eq!(log.since(1), Some(&[1, 2, 3][..]), "not twice as much yet");
        log.push(4);
        log.forget(2);
        assert_eq!((log.since(2), log.since(3)), (None, Some(&[3, 4][..])));
        assert_eq!((log.end(), log.since(5)), (5, Some(&[][..])));
        assert_eq!(log.since(6), None, "nobody has come so far");
    }
}
