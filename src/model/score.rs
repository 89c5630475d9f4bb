//! How good a node is for a placement, and of what that is made up.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU8;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::NodeId;

/// What a score is made up of. Nomad's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScorePart {
    /// How full the node would be.
    Binpack,
    /// How many of the same group are there.
    JobAntiAffinity,
    /// Whether an earlier attempt failed there.
    NodeReschedulePenalty,
    /// How well it meets affinities.
    NodeAffinity,
    /// How well it spreads the group.
    AllocationSpread,
    /// How well its devices meet affinities.
    Devices,
    /// How unimportant what must go for it is.
    Preemption,
}

impl ScorePart {
    const ALL: [Self; 7] = [
        Self::Binpack,
        Self::JobAntiAffinity,
        Self::NodeReschedulePenalty,
        Self::NodeAffinity,
        Self::AllocationSpread,
        Self::Devices,
        Self::Preemption,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The name as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binpack => "binpack",
            Self::JobAntiAffinity => "job-anti-affinity",
            Self::NodeReschedulePenalty => "node-reschedule-penalty",
            Self::NodeAffinity => "node-affinity",
            Self::AllocationSpread => "allocation-spread",
            Self::Devices => "devices",
            Self::Preemption => "preemption",
        }
    }
}

impl fmt::Display for ScorePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The parts of a score, in the order of [`ScorePart`]. Written as a map. To seven digits and without a place of their own
/// in memory: there are as many as allocations.
#[derive(Clone, Copy, PartialEq)]
pub struct ScoreParts {
    /// 0 where there is none, so that equal parts compare equal.
    scores: [f32; ScorePart::ALL.len()],
    /// A bit for each part that there is, and [`MARK`].
    known: NonZeroU8,
}

/// Always set, so that having no score takes no room.
const MARK: NonZeroU8 = NonZeroU8::new(0x80).expect("it is not zero");

impl Default for ScoreParts {
    fn default() -> Self {
        Self { scores: Default::default(), known: MARK }
    }
}

impl ScoreParts {
    /// The parts and what each says, from −1 to 1.
    pub fn iter(&self) -> impl Iterator<Item = (ScorePart, f64)> {
        let parts = ScorePart::ALL.into_iter().zip(self.scores);
        parts
            .filter(|(part, _)| self.known.get() & part.bit() != 0)
            // As short as they can be read back.
            .map(|(part, score)| (part, (f64::from(score) * 1e7).round() / 1e7))
    }

    /// What one part says.
    pub fn get(&self, part: ScorePart) -> Option<f64> {
        self.iter().find(|(known, _)| *known == part).map(|(_, score)| score)
    }
}

impl FromIterator<(ScorePart, f64)> for ScoreParts {
    fn from_iter<I: IntoIterator<Item = (ScorePart, f64)>>(parts: I) -> Self {
        let mut all = Self::default();
        for (part, score) in parts {
            all.known |= part.bit();
            // As it is written, so that what is read back is equal.
            all.scores[part as usize] = ((score * 1e7).round() / 1e7) as f32;
        }
        all
    }
}

impl fmt::Debug for ScoreParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(part, score)| (part.as_str(), score))).finish()
    }
}

impl Serialize for ScoreParts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().map(|(part, score)| (part.as_str(), score)))
    }
}

impl<'de> Deserialize<'de> for ScoreParts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parts = BTreeMap::<String, f64>::deserialize(from)?;
        // One that a newer version writes is not known here, and the total has it.
        let known = |name: &str| ScorePart::ALL.into_iter().find(|part| part.as_str() == name);
        Ok(parts.iter().filter_map(|(name, score)| Some((known(name)?, *score))).collect())
    }
}

/// A node's score for a placement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeScore {
    /// The node.
    #[serde(rename = "NodeID")]
    pub node: NodeId,
    /// The mean of the parts.
    #[serde(rename = "NormScore")]
    pub total: f64,
    /// The parts, by name.
    #[serde(rename = "Scores")]
    pub parts: ScoreParts,
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Servers that have it from the log must not differ from one that has it from memory.
        #[test]
        fn what_is_read_back_equals_what_was_written(score in -4.0..4.0_f64) {
            let parts: ScoreParts = [(ScorePart::Binpack, score)].into_iter().collect();
            let json = serde_json::to_value(parts).expect("is written");
            let read: ScoreParts = serde_json::from_value(json).expect("is read");
            proptest::prop_assert_eq!(read, parts);
        }
    }

    #[test]
    fn parts_are_a_map() {
        let parts: ScoreParts =
            ScorePart::ALL.into_iter().rev().zip([0.5, -1.0, 0.25, 1.0, 0.0, 0.75, 0.1]).collect();
        let json = serde_json::to_value(parts).expect("is written");
        assert_eq!(json["binpack"], 0.1);
        assert_eq!(json["node-reschedule-penalty"], 0.0);
        assert_eq!(serde_json::from_value::<ScoreParts>(json).expect("is read"), parts);
        let newer = serde_json::from_str::<ScoreParts>(r#"{"binpack":1,"new":0.5}"#);
        assert_eq!(newer.expect("is read").iter().count(), 1);
        for part in ScorePart::ALL {
            let name = serde_json::to_value(part).expect("is written");
            assert_eq!(name, part.as_str());
        }
    }
}
