//! The operators `version` and `semver`: lists of conditions such as `>= 1.2, < 2`.

use std::cmp::Ordering;

/// A version as `version` reads it: any number of numeric segments, then an optional pre-release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loose {
    segments: Vec<u64>,
    given: usize,
    pre: Vec<Part>,
}

/// A part of a pre-release, ordered as SemVer orders them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Number(u64),
    Text(String),
}

impl Loose {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let (numbers, pre) =
            text.split_once('-').map_or((text, None), |(numbers, pre)| (numbers, Some(pre)));
        let mut segments = numbers
            .split('.')
            .map(|part| part.parse::<u64>().ok())
            .collect::<Option<Vec<u64>>>()?;
        let given = segments.len();
        while segments.len() < 3 {
            segments.push(0);
        }
        let pre = pre
            .into_iter()
            .flat_map(|pre| pre.split('.'))
            .map(|part| {
                part.parse::<u64>().map_or_else(|_| Part::Text(part.to_owned()), Part::Number)
            })
            .collect();
        Some(Self { segments, given, pre })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let length = self.segments.len().max(other.segments.len());
        let at = |version: &Self, i: usize| version.segments.get(i).copied().unwrap_or(0);
        (0..length)
            .map(|i| at(self, i).cmp(&at(other, i)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.pre.cmp(&other.pre),
            })
    }

    /// Whether it starts with all but the last segment that `floor` gives.
    fn within(&self, floor: &Self) -> bool {
        let fixed = floor.given.saturating_sub(1).max(1);
        let at = |version: &Self, i: usize| version.segments.get(i).copied().unwrap_or(0);
        (0..fixed).all(|i| at(self, i) == at(floor, i))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Pessimistic,
}

impl Operator {
    fn split(text: &str) -> (Self, &str) {
        let text = text.trim();
        for (sign, operator) in [
            ("~>", Self::Pessimistic),
            (">=", Self::GreaterOrEqual),
            ("<=", Self::LessOrEqual),
            ("!=", Self::NotEqual),
            ("=", Self::Equal),
            (">", Self::Greater),
            ("<", Self::Less),
        ] {
            if let Some(rest) = text.strip_prefix(sign) {
                return (operator, rest.trim());
            }
        }
        (Self::Equal, text)
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual | Self::Pessimistic => order.is_ge(),
        }
    }
}

/// A list of conditions that a version must all meet.
#[derive(Clone, Debug)]
pub(crate) enum Requirement {
    Version(Vec<Condition<Loose>>),
    Semver(Vec<Condition<semver::Version>>),
}

/// An operator and the version it compares with.
#[derive(Clone, Debug)]
pub(crate) struct Condition<V>(Operator, V);

impl Requirement {
    /// Reads what the operator `version` takes; `None` if it is not a list of conditions.
    pub(crate) fn version(text: &str) -> Option<Self> {
        let list = text
            .split(',')
            .map(|part| {
                let (operator, version) = Operator::split(part);
                Loose::parse(version).map(|version| Condition(operator, version))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self::Version(list))
    }

    /// Reads what the operator `semver` takes: no `~>`, and pre-releases order as SemVer says.
    pub(crate) fn semver(text: &str) -> Option<Self> {
        let list = text
            .split(',')
            .map(|part| {
                let (operator, version) = Operator::split(part);
                if operator == Operator::Pessimistic {
                    return None;
                }
                strict(version).map(|version| Condition(operator, version))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self::Semver(list))
    }

    /// Whether `version` meets all conditions. A text that is no version meets none.
    pub(crate) fn holds(&self, version: &str) -> bool {
        match self {
            Self::Version(list) => {
                let Some(found) = Loose::parse(version) else { return false };
                list.iter().all(|Condition(operator, wanted)| {
                    // A pre-release counts only for a condition that names a pre-release of the same version.
                    let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
                    if ordered
                        && !found.pre.is_empty()
                        && (wanted.pre.is_empty() || found.segments != wanted.segments)
                    {
                        return false;
                    }
                    operator.holds(found.compare(wanted))
                        && (*operator != Operator::Pessimistic || found.within(wanted))
                })
            }
            Self::Semver(list) => {
                let Some(found) = strict(version) else { return false };
                list.iter()
                    .all(|Condition(operator, wanted)| operator.holds(found.cmp_precedence(wanted)))
            }
        }
    }
}

/// SemVer, with missing segments as zero and a leading `v` allowed, as job files write it.
fn strict(text: &str) -> Option<semver::Version> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    if let Ok(version) = semver::Version::parse(text) {
        return Some(version);
    }
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let padded = match numbers.split('.').count() {
        1 => format!("{numbers}.0.0{rest}"),
        2 => format!("{numbers}.0{rest}"),
        _ => return None,
    };
    semver::Version::parse(&padded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_meet_conditions() {
        for (wanted, found, holds) in [
            (">= 1.2", "1.2.0", true),
            (">= 1.2, < 2", "1.9.9", true),
            (">= 1.2, < 2", "2.0.0", false),
            ("~> 1.2", "1.9", true),
            ("~> 1.2", "2.0", false),
            ("~> 1.2.3", "1.2.9", true),
            ("~> 1.2.3", "1.3.0", false),
            ("!= 1.0", "1.0.0", false),
            ("1.0", "v1.0.0", true),
            (">= 0.6.1", "1.0.0-beta1", false),
            (">= 1.0.0-alpha", "1.0.0-beta", true),
            (">= 5", "5.15.0.1", true),
            (">= 1", "nonsense", false),
        ] {
            let requirement = Requirement::version(wanted).expect(wanted);
            assert_eq!(requirement.holds(found), holds, "{found} {wanted}");
        }
        assert!(Requirement::version(">= x").is_none());
    }

    #[test]
    fn semver_orders_pre_releases() {
        for (wanted, found, holds) in [
            (">= 0.6.1", "1.0.0-beta1", true),
            ("< 1.0.0", "1.0.0-beta1", true),
            ("= 1.2", "1.2.0+build", true),
            ("> 1.2.3", "1.2.3", false),
        ] {
            let requirement = Requirement::semver(wanted).expect(wanted);
            assert_eq!(requirement.holds(found), holds, "{found} {wanted}");
        }
        assert!(Requirement::semver("~> 1.0").is_none());
    }
}
