//! How good a node is for a placement (nomad.md 2.6): the mean of the parts that apply.
//!
//! Affinity and spread are parts wherever the group asks for them, also where they come out at nothing: otherwise a node
//! without affinity would beat one with a little (which Nomad had to mend).

use model::{NodeId, NodeScore, PlacementAlgorithm, ScorePart};

/// Part of a score.
pub(crate) type Part = Option<f64>;

/// What the score of a node is made up of, each from −1 to 1; spread may lie beyond.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) packing: f64,
    pub(crate) affinity: Part,
    pub(crate) devices: Part,
    pub(crate) anti_affinity: Part,
    pub(crate) spread: Part,
    pub(crate) penalty: Part,
    pub(crate) preemption: Part,
}

impl Standing {
    /// What depends on the node and what is asked for, and not on where the job is already.
    pub(crate) fn base(&self) -> f64 {
        self.packing + self.affinity.unwrap_or(0.0) + self.devices.unwrap_or(0.0)
    }

    /// The score. All parts are added up in one order, so that equal parts give equal scores to the last bit.
    pub(crate) fn total(&self) -> f64 {
        let own = self.base() + self.anti_affinity.unwrap_or(0.0);
        let rest = self.penalty.unwrap_or(0.0) + self.preemption.unwrap_or(0.0);
        (own + self.spread.unwrap_or(0.0) + rest) / self.parts()
    }

    fn parts(&self) -> f64 {
        let parts = [
            self.affinity,
            self.devices,
            self.anti_affinity,
            self.spread,
            self.penalty,
            self.preemption,
        ];
        1.0 + parts.iter().flatten().count() as f64
    }

    /// The score with its parts, for people.
    pub(crate) fn explained(&self, node: NodeId) -> NodeScore {
        let parts = [
            (ScorePart::Binpack, Some(self.packing)),
            (ScorePart::JobAntiAffinity, self.anti_affinity),
            (ScorePart::NodeReschedulePenalty, self.penalty),
            (ScorePart::NodeAffinity, self.affinity),
            (ScorePart::AllocationSpread, self.spread),
            (ScorePart::Devices, self.devices),
            (ScorePart::Preemption, self.preemption),
        ];
        let parts = parts.into_iter().filter_map(|(part, score)| Some((part, score?))).collect();
        NodeScore { node, total: self.total(), parts }
    }
}

/// How well a node is packed, given what would be free of it, each from 0 to 1.
pub(crate) fn packing(algorithm: PlacementAlgorithm, free_cpu: f64, free_memory: f64) -> f64 {
    let left = ten_to(free_cpu) + ten_to(free_memory);
    let score = match algorithm {
        PlacementAlgorithm::Binpack => 20.0 - left,
        PlacementAlgorithm::Spread => left - 2.0,
    };
    score.clamp(0.0, 18.0) / 18.0
}

/// The part of `all` that is left when `used` is taken.
pub(crate) fn free(used: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { (1.0 - used as f64 / all as f64).max(0.0) }
}

/// The part for allocations of the same group that are there already.
pub(crate) fn anti_affinity(collisions: u32, desired: u32) -> Part {
    (collisions > 0).then(|| -f64::from(collisions + 1) / f64::from(desired.max(1)))
}

/// The part for what must go: the less important, the better (nomad.md 2.6).
pub(crate) fn preemption(priorities: impl Iterator<Item = u16>) -> f64 {
    let (mut most, mut sum) = (0_u32, 0_u32);
    for priority in priorities {
        most = most.max(priority.into());
        sum += u32::from(priority);
    }
    if most == 0 {
        return 1.0;
    }
    let net = f64::from(most) + f64::from(sum) / f64::from(most);
    // A base of ten raised to a fraction, so that the same table serves.
    let power = 0.0048 * (net - 2048.0) * std::f64::consts::LOG10_E;
    1.0 / (1.0 + ten_to_any(power))
}

/// Steps of the table between 0 and 1.
const STEPS: usize = 256;
/// The 256th root of ten.
const ROOT: f64 = 1.009_035_044_841_447_4;

/// The powers of ten from 10^0 to 10^1. Made of multiplications alone, which give the same bits on every machine, as the
/// system's `pow` does not.
const POWERS: [f64; STEPS + 1] = {
    let mut powers = [1.0; STEPS + 1];
    let mut at = 1;
    while at <= STEPS {
        powers[at] = powers[at - 1] * ROOT;
        at += 1;
    }
    powers
};

/// 10^x for x from 0 to 1, to twelve digits.
pub(crate) fn ten_to(x: f64) -> f64 {
    let scaled = x.clamp(0.0, 1.0) * STEPS as f64;
    let whole = scaled as usize;
    let y = (scaled - whole as f64) * (std::f64::consts::LN_10 / STEPS as f64);
    // e^y for y below 0.009.
    let rest = 1.0 + y * (1.0 + y * (0.5 + y * (1.0 / 6.0 + y * (1.0 / 24.0))));
    POWERS.get(whole).copied().unwrap_or(10.0) * rest
}

/// 10^x for any x that matters here.
fn ten_to_any(x: f64) -> f64 {
    let x = x.clamp(-300.0, 300.0);
    let whole = x.floor();
    let mut power = ten_to(x - whole);
    for _ in 0..(whole.abs() as u32) {
        power = if whole < 0.0 { power / 10.0 } else { power * 10.0 };
    }
    power
}

/// Breaks ties between nodes: a number that follows from the node alone, and looks like chance. The same at all times,
/// so that what a plan shows is what runs even when something else happens in between.
pub(crate) fn tie_break(node: NodeId) -> u64 {
    let bits = node.uuid().as_u128();
    mix(bits as u64 ^ mix((bits >> 64) as u64))
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
    use model::PlacementAlgorithm::{Binpack, Spread};

    #[test]
    fn scores_follow_the_formula() {
        assert!((packing(Binpack, 0.0, 0.0) - 1.0).abs() < 1e-12);
        assert!(packing(Binpack, 1.0, 1.0).abs() < 1e-12);
        assert!((packing(Spread, 1.0, 1.0) - 1.0).abs() < 1e-12);
        assert!(packing(Spread, 0.0, 0.0).abs() < 1e-12);
        // Half of both is free: (20 − 2·√10) / 18.
        let half = packing(Binpack, 0.5, 0.5);
        assert!((half - (20.0 - 2.0 * 10f64.sqrt()) / 18.0).abs() < 1e-12);

        let full = Standing { packing: 1.0, ..Standing::default() };
        let collides = Standing { anti_affinity: anti_affinity(1, 4), ..full };
        assert_eq!(collides.total(), (1.0 - 0.5) / 2.0);
        let failed = Standing { penalty: Some(-1.0), ..collides };
        assert_eq!(failed.total(), (1.0 - 0.5 - 1.0) / 3.0);
        let names: Vec<_> = failed
            .explained(NodeId::default())
            .parts
            .iter()
            .map(|(part, _)| part.as_str())
            .collect();
        assert_eq!(names, ["binpack", "job-anti-affinity", "node-reschedule-penalty"]);
    }

    #[test]
    fn a_part_that_is_asked_for_counts_where_it_is_nothing() {
        let none = Standing { packing: 0.9, affinity: Some(0.0), ..Standing::default() };
        let little = Standing { packing: 0.85, affinity: Some(0.1), ..Standing::default() };
        assert!(little.total() > none.total());
    }

    #[test]
    fn powers_are_powers() {
        for step in 0..=1000 {
            let x = f64::from(step) / 1000.0;
            let exact = 10f64.powf(x);
            assert!((ten_to(x) - exact).abs() < exact * 1e-11, "{x}");
        }
        assert!((ten_to_any(-2.5) - 10f64.powf(-2.5)).abs() < 1e-14);
        assert!((ten_to_any(3.25) / 10f64.powf(3.25) - 1.0).abs() < 1e-11);
    }

    #[test]
    fn the_less_important_the_better() {
        let of = |priorities: &[u16]| preemption(priorities.iter().copied());
        assert!(of(&[10]) > of(&[40]));
        assert!(of(&[10]) > of(&[10, 10]));
        assert_eq!(of(&[]), 1.0);
        // 1 / (1 + e^(0.0048 · (51 − 2048))), for one of priority 50.
        let exact = 1.0 / (1.0 + (0.0048_f64 * (51.0 - 2048.0)).exp());
        assert!((of(&[50]) - exact).abs() < 1e-9, "{}", of(&[50]));
    }

    #[test]
    fn fuller_is_better() {
        let at = |used| packing(Binpack, free(used, 4000), free(4000, 8000));
        assert!(at(3000) > at(1000));
        assert_eq!(free(5000, 4000), 0.0);
        assert_eq!(free(0, 0), 0.0);
    }
}
