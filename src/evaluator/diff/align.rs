//! Which entries of two lists belong together.

use std::cmp::Ordering;

/// A pair of places, old and new; one of them is missing for what came or went.
pub(super) type Pair = (Option<usize>, Option<usize>);

/// The most pairs of entries that are compared for a longest common part; beyond, entries pair by position.
const MOST_WORK: usize = 1 << 20;

/// Pairs the entries of two lists whose order means something. What is equal in both, in the same order, is kept; between,
/// the first that is left of one list pairs with the first of the other where `paired` says so. The answer for the lists
/// exchanged is the same with its pairs exchanged.
pub(super) fn in_order<K: Ord>(old: &[K], new: &[K], paired: bool) -> Vec<Pair> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = rest.0.iter().rev().zip(rest.1.iter().rev()).take_while(|(a, b)| a == b).count();
    let middle = (head..old.len() - tail, head..new.len() - tail);
    let anchors = common(
        old.get(middle.0.clone()).unwrap_or_default(),
        new.get(middle.1.clone()).unwrap_or_default(),
    );
    let mut pairs: Vec<Pair> = (0..head).map(|at| (Some(at), Some(at))).collect();
    let (mut i, mut j) = (head, head);
    let ends = (middle.0.end, middle.1.end);
    for (a, b) in anchors.into_iter().map(|(a, b)| (a + head, b + head)).chain([ends]) {
        gap(&mut pairs, i..a, j..b, paired);
        if (a, b) != ends {
            pairs.push((Some(a), Some(b)));
        }
        (i, j) = (a + 1, b + 1);
    }
    pairs.extend((0..tail).map(|at| (Some(ends.0 + at), Some(ends.1 + at))));
    pairs
}

fn gap(
    pairs: &mut Vec<Pair>,
    old: std::ops::Range<usize>,
    new: std::ops::Range<usize>,
    paired: bool,
) {
    let both = if paired { old.len().min(new.len()) } else { 0 };
    pairs.extend((0..both).map(|at| (Some(old.start + at), Some(new.start + at))));
    pairs.extend(old.skip(both).map(|at| (Some(at), None)));
    pairs.extend(new.skip(both).map(|at| (None, Some(at))));
}

/// The places of a longest common part of both lists. Of several the one whose entries sort first, so that it does not
/// depend on which list is the old one.
fn common<K: Ord>(old: &[K], new: &[K]) -> Vec<(usize, usize)> {
    if old.is_empty() || new.is_empty() || old.len().saturating_mul(new.len()) > MOST_WORK {
        return Vec::new();
    }
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    let length =
        |lengths: &[u32], i: usize, j: usize| lengths.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let longest = if a == b {
                length(&lengths, i + 1, j + 1) + 1
            } else {
                length(&lengths, i + 1, j).max(length(&lengths, i, j + 1))
            };
            if let Some(cell) = lengths.get_mut(i * width + j) {
                *cell = longest;
            }
        }
    }
    let mut found = Vec::new();
    let (mut i, mut j) = (0, 0);
    while length(&lengths, i, j) > 0 {
        let left = length(&lengths, i, j);
        let mut best: Option<(&K, usize, usize)> = None;
        for (a, key) in old.iter().enumerate().skip(i) {
            if length(&lengths, a, j) < left {
                break;
            }
            if best.is_some_and(|(other, ..)| other.cmp(key) != Ordering::Greater) {
                continue;
            }
            let partner = new.iter().enumerate().skip(j).find(|(_, other)| *other == key);
            if let Some((b, _)) = partner
                && length(&lengths, a + 1, b + 1) + 1 == left
            {
                best = Some((key, a, b));
            }
        }
        let Some((_, a, b)) = best else { break };
        found.push((a, b));
        (i, j) = (a + 1, b + 1);
    }
    found
}

/// Pairs the entries of two lists whose order means nothing: those with the same key of the first kind, then of the next,
/// and so on; each in order. New ones come in their order, then those that are gone.
pub(super) fn by_keys<K: PartialEq>(old: &[Vec<K>], new: &[Vec<K>]) -> Vec<Pair> {
    let mut partner: Vec<Option<usize>> = vec![None; new.len()];
    let mut taken = vec![false; old.len()];
    let kinds = old.iter().chain(new).map(Vec::len).max().unwrap_or(0);
    for kind in 0..kinds {
        for (j, keys) in new.iter().enumerate() {
            let Some(slot @ None) = partner.get_mut(j) else { continue };
            let found = old.iter().enumerate().find(|(i, other)| {
                !taken.get(*i).copied().unwrap_or(true)
                    && keys.get(kind).is_some()
                    && other.get(kind) == keys.get(kind)
            });
            if let Some((i, _)) = found {
                *slot = Some(i);
                if let Some(taken) = taken.get_mut(i) {
                    *taken = true;
                }
            }
        }
    }
    let gone = taken.iter().enumerate().filter(|(_, taken)| !**taken).map(|(i, _)| (Some(i), None));
    partner.iter().enumerate().map(|(j, i)| (*i, Some(j))).chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn swapped(pairs: &[Pair]) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = pairs.iter().map(|(i, j)| (*j, *i)).collect();
        pairs.sort_unstable();
        pairs
    }

    #[test]
    fn an_entry_in_the_middle_is_one_pair() {
        let pairs = in_order(&["a", "b", "c"], &["a", "x", "b", "c"], true);
        assert_eq!(
            pairs,
            [(Some(0), Some(0)), (None, Some(1)), (Some(1), Some(2)), (Some(2), Some(3))]
        );
        let pairs = in_order(&["a", "b", "c"], &["a", "x", "c"], true);
        assert_eq!(pairs, [(Some(0), Some(0)), (Some(1), Some(1)), (Some(2), Some(2))]);
    }

    proptest! {
        #[test]
        fn pairs_are_whole_and_in_order(
            old in prop::collection::vec(0_u8..4, 0..9),
            new in prop::collection::vec(0_u8..4, 0..9),
            paired in any::<bool>(),
        ) {
            let pairs = in_order(&old, &new, paired);
            let olds: Vec<_> = pairs.iter().filter_map(|(i, _)| *i).collect();
            let news: Vec<_> = pairs.iter().filter_map(|(_, j)| *j).collect();
            prop_assert_eq!(olds, (0..old.len()).collect::<Vec<_>>());
            prop_assert_eq!(news, (0..new.len()).collect::<Vec<_>>());
            let mut back = in_order(&new, &old, paired);
            back.sort_unstable();
            prop_assert_eq!(swapped(&pairs), back);
        }
    }
}
