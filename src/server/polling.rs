//! Which node looks at a Git remote when. Pure: the nodes that follow a repository and the time in, a point in time out.
//!
//! The nodes take turns, evenly spread over a period, so that the fleet sees a push after a part of the time that one
//! node would need, and the host is asked at most once a second however many they are. All that a node needs to know is
//! who takes part: nobody hands out turns. While two nodes differ about that, a turn is taken twice or left out, no more.

use std::time::Duration;

use model::{NodeId, Timestamp, seeded_uuid};

/// The shortest time between two looks of the fleet at one remote.
const APART: Duration = Duration::from_secs(1);
/// Answers in a row that say "too often", beyond which nothing gets slower.
const MOST_DOUBLINGS: u32 = 6;

/// What a host has said to any of the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLimits {
    /// Until when it wants to be left alone.
    pub until: Option<Timestamp>,
    /// How often in a row it said that it is asked too often; 0 after an answer. Each doubles the period for everybody.
    pub refusals: u32,
}

/// When this node looks next, after `now`; never, if it is not among those that do.
///
/// `nodes` are those that follow the repository, sorted and each once; `interval` is how often one that is alone looks.
pub fn next_turn(
    repo: &str,
    nodes: &[NodeId],
    own: NodeId,
    interval: Duration,
    limits: HostLimits,
    now: Timestamp,
) -> Option<Timestamp> {
    let rank = nodes.binary_search(&own).ok()?;
    let period = period(nodes.len(), interval, limits);
    let count = i128::try_from(nodes.len()).ok()?;
    let slot = i128::try_from(rank).ok()? * period / count;
    // Repositories on one host do not all begin at the same moment.
    let shift = seeded_uuid(&[b"turns", repo.as_bytes()]).as_u128() >> 64;
    let first = (i128::try_from(shift).ok()? + slot).rem_euclid(period);
    let after = i128::from(limits.until.map_or(now, |until| until.max(now)).0);
    let next = after + 1 + (first - (after + 1)).rem_euclid(period);
    i64::try_from(next).ok().map(Timestamp)
}

/// How long one round of turns takes, in nanoseconds.
fn period(nodes: usize, interval: Duration, limits: HostLimits) -> i128 {
    let least = APART.saturating_mul(u32::try_from(nodes).unwrap_or(u32::MAX));
    let doubled = 1_u32 << limits.refusals.min(MOST_DOUBLINGS);
    let period = interval.max(least).saturating_mul(doubled);
    i128::try_from(period.as_nanos()).unwrap_or(i128::MAX / 4).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(count: u32) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> =
            (0..count).map(|n| NodeId::new(seeded_uuid(&[b"node", &n.to_be_bytes()]))).collect();
        nodes.sort_unstable();
        nodes
    }

    /// All looks of the fleet within a span of time.
    fn looks(
        nodes: &[NodeId],
        interval: Duration,
        limits: HostLimits,
        from: Timestamp,
        span: Duration,
    ) -> Vec<Timestamp> {
        let mut looks = Vec::new();
        for own in nodes {
            let mut now = from;
            while let Some(next) = next_turn("fleet", nodes, *own, interval, limits, now) {
                if next > from + span {
                    break;
                }
                looks.push(next);
                now = next;
            }
        }
        looks.sort_unstable();
        looks
    }

    const FROM: Timestamp = Timestamp::from_secs(1_700_000_000);

    #[test]
    fn more_nodes_look_more_often_but_not_more_than_once_a_second() {
        let per_minute = |count| {
            let (interval, span) = (Duration::from_secs(30), Duration::from_secs(600));
            looks(&nodes(count), interval, HostLimits::default(), FROM, span).len() / 10
        };
        assert_eq!(per_minute(1), 2);
        assert_eq!(per_minute(3), 6);
        assert_eq!(per_minute(30), 60);
        assert_eq!(per_minute(500), 60);
    }

    #[test]
    fn who_does_not_follow_has_no_turn() {
        let all = nodes(4);
        let interval = Duration::from_secs(30);
        let turn =
            |nodes: &[NodeId]| next_turn("r", nodes, all[3], interval, HostLimits::default(), FROM);
        assert_eq!(turn(&all[..3]), None);
        assert_eq!(turn(&[]), None);
        assert!(turn(&all).is_some());
    }

    #[test]
    fn a_host_that_is_asked_too_often_is_asked_less_by_all() {
        let (all, interval) = (nodes(10), Duration::from_secs(10));
        let until = FROM + Duration::from_secs(120);
        let limits = HostLimits { until: Some(until), refusals: 2 };
        let looks = looks(&all, interval, limits, FROM, Duration::from_secs(520));
        assert!(looks.iter().all(|at| *at > until));
        assert_eq!(looks.len(), 100, "one in four seconds, from then on");
    }

    proptest! {
        #[test]
        fn turns_are_even_and_apart(
            count in 1_u32..60,
            seconds in 1_u64..120,
            refusals in 0_u32..9,
            from in 0_i64..i64::MAX / 4,
        ) {
            let (all, interval) = (nodes(count), Duration::from_secs(seconds));
            let limits = HostLimits { until: None, refusals };
            let span = Duration::from_nanos(period(count as usize, interval, limits) as u64) * 3;
            let looks = looks(&all, interval, limits, Timestamp(from), span);
            prop_assert_eq!(looks.len(), 3 * count as usize, "each has one turn in a round");
            let gaps: Vec<Duration> = looks.windows(2).map(|two| two[1].since(two[0])).collect();
            let even = span / (3 * count);
            for gap in gaps {
                prop_assert!(gap + Duration::from_nanos(1) >= APART, "{gap:?}");
                let off = gap.abs_diff(even);
                prop_assert!(off <= Duration::from_nanos(2), "{gap:?} is not {even:?}");
            }
        }
    }
}
