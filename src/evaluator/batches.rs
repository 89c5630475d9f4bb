//! The sizes of the batches that a rollout will go through, for people who look at a plan.

/// What is known of a group before its rollout.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    /// New allocations that wait for nothing.
    pub(crate) fresh: u32,
    /// Canaries.
    pub(crate) canaries: u32,
    /// Allocations to replace.
    pub(crate) replaced: u32,
    /// Replacements at a time; `None` for all at once.
    pub(crate) max_parallel: Option<u32>,
}

/// Sizes of the batches to come: canaries, new allocations, then replacements.
pub(crate) fn sizes(ahead: Ahead) -> Vec<u32> {
    let mut sizes = Vec::new();
    if ahead.canaries > 0 {
        sizes.push(ahead.canaries);
    }
    if ahead.fresh > 0 {
        sizes.push(ahead.fresh);
    }
    // Each promoted canary takes the place of one that would be replaced.
    let mut left = ahead.replaced.saturating_sub(ahead.canaries);
    let step = ahead.max_parallel.unwrap_or(left).max(1);
    while left > 0 {
        let size = left.min(step);
        sizes.push(size);
        left -= size;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_canaries() {
        let cases: [(Ahead, &[u32]); 5] = [
            (Ahead::default(), &[]),
            (Ahead { fresh: 3, ..Ahead::default() }, &[3]),
            (Ahead { replaced: 5, max_parallel: Some(2), ..Ahead::default() }, &[2, 2, 1]),
            (Ahead { replaced: 5, ..Ahead::default() }, &[5]),
            (
                Ahead { replaced: 5, canaries: 2, max_parallel: Some(2), ..Ahead::default() },
                &[2, 2, 1],
            ),
        ];
        for (ahead, wanted) in cases {
            assert_eq!(sizes(ahead), wanted, "{ahead:?}");
        }
    }
}
