//! A constraint, compiled, against a node's attributes (nomad.md 1.1).

use std::borrow::Cow;
use std::cmp::Ordering;

use model::{Constraint, Node, interpolate};
use regex::Regex;

use super::version::Requirement;

/// A constraint with its pattern compiled.
pub(crate) struct Compiled {
    attribute: String,
    value: String,
    test: Test,
    /// As it is shown to people and counted by.
    pub(crate) text: String,
}

enum Test {
    Equal,
    NotEqual,
    /// Equal as quantities, however they are written.
    Same,
    /// Not so.
    Differs,
    Order(fn(Ordering) -> bool),
    Matches(Option<Regex>),
    Meets(Option<Requirement>),
    ContainsAll,
    ContainsAny,
    IsSet,
    IsNotSet,
    /// The operator is none that is known: no node meets it.
    Never,
}

impl From<&Constraint> for Compiled {
    fn from(constraint: &Constraint) -> Self {
        let value = constraint.value.as_str();
        let test = match constraint.operator.as_str() {
            "" | "=" | "==" | "is" => Test::Equal,
            "!=" | "not" => Test::NotEqual,
            "<" => Test::Order(Ordering::is_lt),
            "<=" => Test::Order(Ordering::is_le),
            ">" => Test::Order(Ordering::is_gt),
            ">=" => Test::Order(Ordering::is_ge),
            "regexp" => Test::Matches(Regex::new(value).ok()),
            "version" => Test::Meets(Requirement::version(value)),
            "semver" => Test::Meets(Requirement::semver(value)),
            "set_contains" | "set_contains_all" => Test::ContainsAll,
            "set_contains_any" => Test::ContainsAny,
            "is_set" => Test::IsSet,
            "is_not_set" => Test::IsNotSet,
            _ => Test::Never,
        };
        Self {
            attribute: constraint.attribute.clone(),
            value: constraint.value.clone(),
            test,
            text: constraint.to_string(),
        }
    }
}

impl Compiled {
    /// The same for values that have units: `1 GiB` is `1024 MiB`.
    pub(super) fn of_quantities(mut self) -> Self {
        self.test = match self.test {
            Test::Equal => Test::Same,
            Test::NotEqual => Test::Differs,
            other => other,
        };
        self
    }

    pub(crate) fn holds(&self, node: &Node) -> bool {
        self.holds_where(|name| node.attribute(name), order)
    }

    /// Whether it holds where `lookup` says what references mean, and `order` how values compare.
    pub(super) fn holds_where<'a>(
        &'a self,
        lookup: impl Fn(&str) -> Option<Cow<'a, str>>,
        order: fn(&str, &str) -> Ordering,
    ) -> bool {
        let left = resolve_where(&self.attribute, &lookup);
        let right = resolve_where(&self.value, &lookup);
        let both = left.as_deref().zip(right.as_deref());
        let same = |left: &str, right: &str| left == right || order(left, right).is_eq();
        match &self.test {
            Test::Equal => both.is_some_and(|(left, right)| left == right),
            // An attribute that is not there differs from every value.
            Test::NotEqual => left != right,
            Test::Same => both.is_some_and(|(left, right)| same(left, right)),
            Test::Differs => !both.is_some_and(|(left, right)| same(left, right)),
            Test::Order(wanted) => both.is_some_and(|(left, right)| wanted(order(left, right))),
            Test::Matches(pattern) => left
                .as_deref()
                .zip(pattern.as_ref())
                .is_some_and(|(left, pattern)| pattern.is_match(left)),
            Test::Meets(requirement) => left
                .as_deref()
                .zip(requirement.as_ref())
                .is_some_and(|(left, requirement)| requirement.holds(left)),
            Test::ContainsAll => both.is_some_and(|(left, right)| {
                items(right).all(|wanted| items(left).any(|item| item == wanted))
            }),
            Test::ContainsAny => both.is_some_and(|(left, right)| {
                items(right).any(|wanted| items(left).any(|item| item == wanted))
            }),
            Test::IsSet => left.is_some(),
            Test::IsNotSet => left.is_none(),
            Test::Never => false,
        }
    }
}

/// What a side of a constraint means on a node: a reference its attribute, anything else itself.
pub(crate) fn resolve<'a>(text: &'a str, node: &'a Node) -> Option<Cow<'a, str>> {
    resolve_where(text, |name| node.attribute(name))
}

fn resolve_where<'a>(
    text: &'a str,
    lookup: impl Fn(&str) -> Option<Cow<'a, str>>,
) -> Option<Cow<'a, str>> {
    if let Some(reference) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
        && !reference.contains('{')
    {
        return lookup(reference.trim());
    }
    if text.contains("${") {
        let found = interpolate(text, |name| lookup(name).map(Cow::into_owned));
        return Some(Cow::Owned(found));
    }
    Some(Cow::Borrowed(text))
}

/// Whole numbers and decimals order as numbers, everything else as text.
pub(super) fn order(left: &str, right: &str) -> Ordering {
    if let (Ok(left), Ok(right)) = (left.parse::<i64>(), right.parse::<i64>()) {
        return left.cmp(&right);
    }
    if let (Ok(left), Ok(right)) = (left.parse::<f64>(), right.parse::<f64>()) {
        return left.total_cmp(&right);
    }
    left.cmp(right)
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn every_operator_has_its_meaning() {
        let mut node = samples::node(1);
        for (key, value) in [
            ("kernel.name", "linux"),
            ("cpu.numcores", "12"),
            ("kernel.version", "5.15.0"),
            ("features", "a, b,c"),
        ] {
            node.attributes.insert(key.into(), value.into());
        }
        node.meta.insert("want".into(), "linux".into());
        for (attribute, operator, value, holds) in [
            ("${attr.kernel.name}", "=", "linux", true),
            ("${attr.kernel.name}", "==", "darwin", false),
            ("${attr.kernel.name}", "is", "${meta.want}", true),
            ("${attr.kernel.name}", "!=", "darwin", true),
            ("${attr.absent}", "!=", "darwin", true),
            ("${attr.absent}", "=", "", false),
            ("${attr.kernel.name}", "not", "linux", false),
            ("${attr.cpu.numcores}", ">", "9", true),
            ("${attr.cpu.numcores}", "<=", "11", false),
            ("${attr.cpu.numcores}", ">=", "11.5", true),
            ("${attr.kernel.name}", "<", "m", true),
            ("${attr.kernel.name}", "regexp", "^lin.x$", true),
            ("${attr.kernel.name}", "regexp", "(", false),
            ("${attr.kernel.version}", "version", ">= 5.4, < 6", true),
            ("${attr.kernel.version}", "semver", "> 5.15.0", false),
            ("${attr.features}", "set_contains", "a,c", true),
            ("${attr.features}", "set_contains_all", "a,d", false),
            ("${attr.features}", "set_contains_any", "d,b", true),
            ("${attr.features}", "is_set", "", true),
            ("${attr.absent}", "is_set", "", false),
            ("${attr.absent}", "is_not_set", "", true),
            ("${node.datacenter}", "=", "dc1", true),
            ("${attr.kernel.name}", "resembles", "linux", false),
        ] {
            let constraint = Constraint {
                attribute: attribute.into(),
                value: value.into(),
                operator: operator.into(),
            };
            assert_eq!(Compiled::from(&constraint).holds(&node), holds, "{constraint}");
        }
    }
}
