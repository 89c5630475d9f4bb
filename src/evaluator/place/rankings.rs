//! The rankings that are kept, by what is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::asked::Asked;
use super::ranking::Ranking;

/// Rankings that are kept at once in a pass: each is as long as there are nodes.
const MOST: usize = 64;
/// Nodes in all rankings together that are kept from one pass to the next. One takes up to a hundred bytes.
const MOST_NODES: usize = 250_000;

#[derive(Default)]
pub(super) struct Rankings {
    kept: Vec<Kept>,
    /// Where each is.
    places: BTreeMap<Arc<[u8]>, usize>,
    /// The one that was used last: mostly it is the next, too.
    last: usize,
    /// Goes up with each use.
    uses: u64,
}

struct Kept {
    key: Arc<[u8]>,
    /// Nothing while somebody uses it.
    ranking: Option<Ranking>,
    used: u64,
}

impl Rankings {
    /// Takes the ranking of what is asked for out, if there is one.
    pub(super) fn take(&mut self, asked: &Asked) -> Option<Ranking> {
        let at = self.place_of(asked)?;
        self.kept.get_mut(at)?.ranking.take()
    }

    /// Puts it back, or in.
    pub(super) fn put(&mut self, asked: &Asked, ranking: Ranking) {
        self.uses += 1;
        let at = self.place_of(asked).unwrap_or_else(|| self.make_place(&asked.key));
        self.last = at;
        if let Some(kept) = self.kept.get_mut(at) {
            kept.ranking = Some(ranking);
            kept.used = self.uses;
        }
    }

    /// A place for a new one, if need be that of the one that was not used for longest.
    fn make_place(&mut self, key: &[u8]) -> usize {
        if self.kept.len() >= MOST {
            self.leave(MOST - 1);
        }
        let (at, key) = (self.kept.len(), Arc::from(key));
        self.places.insert(Arc::clone(&key), at);
        self.kept.push(Kept { key, ranking: None, used: self.uses });
        at
    }

    fn place_of(&self, asked: &Asked) -> Option<usize> {
        if self.kept.get(self.last).is_some_and(|kept| *kept.key == *asked.key) {
            return Some(self.last);
        }
        self.places.get(&*asked.key).copied()
    }

    /// Leaves only the `most` that were used last.
    fn leave(&mut self, most: usize) {
        if self.kept.len() <= most {
            return;
        }
        self.kept.sort_unstable_by_key(|kept| std::cmp::Reverse(kept.used));
        self.kept.truncate(most);
        self.settle();
    }

    /// Leaves only those that the next pass may use, each of so many nodes.
    pub(super) fn rest(&mut self, nodes: usize) {
        self.leave(MOST_NODES / nodes.max(1));
    }

    pub(super) fn retain(&mut self, holds: impl Fn(&Ranking) -> bool) {
        self.kept.retain(|kept| kept.ranking.as_ref().is_some_and(&holds));
        self.settle();
    }

    pub(super) fn clear(&mut self) {
        self.retain(|_| false);
    }

    fn settle(&mut self) {
        self.last = 0;
        let places = self.kept.iter().enumerate();
        self.places = places.map(|(at, kept)| (Arc::clone(&kept.key), at)).collect();
    }
}
