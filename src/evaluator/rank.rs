//! How good a node is for a placement (nomad.md 2.6): the mean of the parts that apply.

use std::collections::BTreeMap;

use model::{NodeId, NodeScore};

/// What the score of a node depends on.
pub(crate) struct Standing {
    /// CPU that would be used, and all there is.
    pub(crate) cpu: (u64, u64),
    /// Memory that would be used, and all there is.
    pub(crate) memory: (u64, u64),
    /// Allocations of the same group that are there already.
    pub(crate) collisions: u32,
    /// Allocations wanted of the group.
    pub(crate) desired: u32,
    /// Whether an earlier attempt failed there.
    pub(crate) penalised: bool,
}

impl Standing {
    /// The score, from −1 to 1.
    pub(crate) fn total(&self) -> f64 {
        let (mut sum, mut parts) = (self.packing(), 1.0);
        if let Some(part) = self.anti_affinity() {
            sum += part;
            parts += 1.0;
        }
        if self.penalised {
            sum -= 1.0;
            parts += 1.0;
        }
        sum / parts
    }

    /// The score with its parts, for people.
    pub(crate) fn explained(&self, node: NodeId) -> NodeScore {
        let mut parts = BTreeMap::from([("binpack".to_owned(), self.packing())]);
        if let Some(part) = self.anti_affinity() {
            parts.insert("job-anti-affinity".to_owned(), part);
        }
        if self.penalised {
            parts.insert("node-reschedule-penalty".to_owned(), -1.0);
        }
        NodeScore { node, total: self.total(), parts }
    }

    /// Best fit: the less would be left, the better.
    fn packing(&self) -> f64 {
        let free = |(used, all): (u64, u64)| {
            if all == 0 { 0.0 } else { 1.0 - used as f64 / all as f64 }
        };
        let left = 10f64.powf(free(self.cpu)) + 10f64.powf(free(self.memory));
        (20.0 - left).clamp(0.0, 18.0) / 18.0
    }

    fn anti_affinity(&self) -> Option<f64> {
        (self.collisions > 0)
            .then(|| -f64::from(self.collisions + 1) / f64::from(self.desired.max(1)))
    }
}

/// Breaks ties between nodes: a number that follows from the seed and the node alone, and looks like chance.
pub(crate) fn tie_break(seed: u64, node: NodeId) -> u64 {
    let bits = node.uuid().as_u128();
    mix(seed ^ mix(bits as u64 ^ mix((bits >> 64) as u64)))
}

/// A bijection of 64 bits that spreads every input bit over all output bits.
pub(crate) const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(cpu: u64, memory: u64) -> Standing {
        Standing {
            cpu: (cpu, 4000),
            memory: (memory, 8000),
            collisions: 0,
            desired: 4,
            penalised: false,
        }
    }

    #[test]
    fn scores_follow_the_formula() {
        assert_eq!(standing(4000, 8000).total(), 1.0);
        assert_eq!(standing(0, 0).total(), 0.0);
        // Half of both is free: (20 − 2·√10) / 18.
        let half = standing(2000, 4000).total();
        assert!((half - (20.0 - 2.0 * 10f64.sqrt()) / 18.0).abs() < 1e-12);

        let collides = Standing { collisions: 1, ..standing(4000, 8000) };
        assert_eq!(collides.total(), (1.0 - 0.5) / 2.0);
        let failed = Standing { penalised: true, ..collides };
        assert_eq!(failed.total(), (1.0 - 0.5 - 1.0) / 3.0);
        let parts = failed.explained(NodeId::default()).parts;
        assert_eq!(
            parts.keys().collect::<Vec<_>>(),
            ["binpack", "job-anti-affinity", "node-reschedule-penalty"]
        );
    }

    #[test]
    fn fuller_is_better() {
        assert!(standing(3000, 4000).total() > standing(1000, 4000).total());
    }
}
