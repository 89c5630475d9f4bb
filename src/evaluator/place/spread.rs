//! How a group's allocations are spread over the values of an attribute, kept up with each that comes and goes
//! (nomad.md 2.6).

use std::collections::BTreeMap;

use model::Spread;

/// The number of a value of an attribute; [`MISSING`] where a node has none.
pub(super) type Domain = u32;
/// A node without the attribute.
pub(super) const MISSING: Domain = u32::MAX;

/// Where a group's allocations are, by the values of one attribute.
pub(super) struct Spreading {
    /// Its part of the weights of all of the group's spreads.
    share: f64,
    /// How many each value should have; nothing where they are spread evenly.
    targets: Option<Targets>,
    counts: Vec<u32>,
    /// How many values have each count above nothing.
    levels: BTreeMap<u32, u32>,
}

struct Targets {
    desired: Vec<Option<f64>>,
    /// For all values that are not named.
    rest: Option<f64>,
}

impl Spreading {
    /// `values` are the attribute's, by number; `share` its part of all weights.
    pub(super) fn new<V: AsRef<str>>(
        spread: &Spread,
        share: f64,
        count: u32,
        values: impl Iterator<Item = V>,
    ) -> Self {
        let count = f64::from(count);
        let part = |percent: u8| f64::from(percent) / 100.0 * count;
        let targets = (!spread.targets.is_empty()).then(|| {
            let named: f64 = spread.targets.iter().map(|target| part(target.percent)).sum();
            let of = |value: V| {
                let named = spread.targets.iter().find(|target| target.value == value.as_ref());
                named.map(|target| part(target.percent))
            };
            let desired = values.map(of).collect();
            let rest = spread.targets.iter().find(|target| target.value == "*");
            let rest = rest.map(|target| part(target.percent));
            Targets { desired, rest: rest.or_else(|| (named < count).then_some(count - named)) }
        });
        Self { share, targets, counts: Vec::new(), levels: BTreeMap::new() }
    }

    /// One more or one less has a value.
    pub(super) fn shift(&mut self, domain: Domain, comes: bool) {
        if domain == MISSING {
            return;
        }
        let at = domain as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        let Some(count) = self.counts.get_mut(at) else { return };
        let before = *count;
        *count = if comes { before + 1 } else { before.saturating_sub(1) };
        let after = *count;
        if before > 0
            && let Some(values) = self.levels.get_mut(&before)
        {
            *values -= 1;
            if *values == 0 {
                self.levels.remove(&before);
            }
        }
        if after > 0 {
            *self.levels.entry(after).or_default() += 1;
        }
    }

    fn count(&self, domain: Domain) -> u32 {
        self.counts.get(domain as usize).copied().unwrap_or_default()
    }

    /// How much better the spread is with one more of this value.
    pub(super) fn boost(&self, domain: Domain) -> f64 {
        match &self.targets {
            _ if domain == MISSING => -1.0,
            None => self.even(self.count(domain)),
            Some(targets) => match targets.of(domain) {
                None => -1.0,
                Some(desired) if desired <= 0.0 => self.lowest(targets),
                Some(desired) => self.towards(desired, self.count(domain)),
            },
        }
    }

    fn towards(&self, desired: f64, count: u32) -> f64 {
        (desired - f64::from(count + 1)) / desired * self.share
    }

    /// What nothing is wanted of is worse than all that something is wanted of.
    fn lowest(&self, targets: &Targets) -> f64 {
        let known = 0..targets.desired.len().max(self.counts.len()) as Domain;
        let wanted = known.filter_map(|domain| {
            let desired = targets.of(domain).filter(|desired| *desired > 0.0)?;
            Some(self.towards(desired, self.count(domain)))
        });
        wanted.fold(-1.0, f64::min)
    }

    fn even(&self, count: u32) -> f64 {
        let lowest = self.levels.first_key_value().map(|(count, _)| f64::from(*count));
        let highest = self.levels.last_key_value().map(|(count, _)| f64::from(*count));
        let (Some(lowest), Some(highest)) = (lowest, highest) else { return 0.0 };
        let gap = (highest - lowest) / lowest;
        if count == 0 {
            // Nomad gives a value that has none 1 at most, so that one that has some may come before it.
            return 1.0 + gap;
        }
        let count = f64::from(count);
        if count > lowest {
            (lowest - count) / lowest
        } else if highest > lowest {
            gap
        } else {
            -1.0
        }
    }
}

impl Targets {
    fn of(&self, domain: Domain) -> Option<f64> {
        self.desired.get(domain as usize).copied().flatten().or(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::SpreadTarget;

    fn spread(targets: &[(&str, u8)]) -> Spread {
        let target = |(value, percent): &(&str, u8)| SpreadTarget {
            value: (*value).into(),
            percent: *percent,
        };
        Spread { targets: targets.iter().map(target).collect(), ..Spread::default() }
    }

    fn at(spread: &Spread, count: u32, there: &[Domain]) -> Vec<f64> {
        let mut spreading = Spreading::new(spread, 1.0, count, ["a", "b", "c"].iter());
        for domain in there {
            spreading.shift(*domain, true);
        }
        (0..3).map(|domain| spreading.boost(domain)).collect()
    }

    #[test]
    fn targets_draw_until_they_are_met() {
        let to = spread(&[("a", 50), ("b", 30)]);
        // 5, 3, and the rest: 2.
        assert_eq!(at(&to, 10, &[]), [0.8, 2.0 / 3.0, 0.5]);
        assert_eq!(at(&to, 10, &[0, 0, 0, 0, 0]), [-0.2, 2.0 / 3.0, 0.5]);
        // Nothing is left for others, and nothing is wanted of b.
        let to = spread(&[("a", 100), ("b", 0)]);
        assert_eq!(at(&to, 4, &[]), [0.75, -1.0, -1.0]);
        assert_eq!(at(&to, 4, &[0; 11]), [-2.0, -2.0, -1.0]);
        let to = spread(&[("a", 40), ("*", 60)]);
        assert_eq!(at(&to, 10, &[1]), [0.75, 4.0 / 6.0, 5.0 / 6.0]);
    }

    #[test]
    fn without_targets_the_emptiest_comes_first() {
        let even = spread(&[]);
        assert_eq!(at(&even, 9, &[]), [0.0, 0.0, 0.0]);
        assert_eq!(at(&even, 9, &[0]), [-1.0, 1.0, 1.0]);
        assert_eq!(at(&even, 9, &[0, 1, 2]), [-1.0, -1.0, -1.0]);
        assert_eq!(at(&even, 9, &[0, 0, 1, 2]), [-1.0, 1.0, 1.0]);
        assert_eq!(at(&even, 9, &[0, 0, 0, 1]), [-2.0, 2.0, 3.0], "c has none");
        let mut spreading = Spreading::new(&even, 1.0, 9, ["a"].iter());
        assert_eq!(spreading.boost(MISSING), -1.0);
        spreading.shift(0, true);
        spreading.shift(0, false);
        assert_eq!(spreading.boost(0), 0.0, "gone again");
    }
}
