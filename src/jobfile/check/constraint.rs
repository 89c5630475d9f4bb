//! Constraints.

use model::Constraint;

use super::Rules;
use crate::suggest::did_you_mean;

/// Nomad's (nomad.md 1.1).
const OPERATORS: [&str; 19] = [
    "=",
    "==",
    "is",
    "!=",
    "not",
    "<",
    "<=",
    ">",
    ">=",
    "regexp",
    "version",
    "semver",
    "set_contains",
    "set_contains_all",
    "set_contains_any",
    "is_set",
    "is_not_set",
    "distinct_hosts",
    "distinct_property",
];

pub(super) fn check(rules: &Rules<'_>, parent: &str, constraints: &[Constraint], in_task: bool) {
    for (at, constraint) in constraints.iter().enumerate() {
        let path = format!("{parent}/constraint.{at}");
        one(rules, &path, constraint, in_task);
    }
}

fn one(rules: &Rules<'_>, path: &str, constraint: &Constraint, in_task: bool) {
    let Constraint { attribute, value, operator } = constraint;
    let needs_attribute = operator != "distinct_hosts";
    if !OPERATORS.contains(&operator.as_str()) {
        let message =
            format!("`operator` cannot be `{operator}`; it is one of {}", OPERATORS.join(", "));
        let help = did_you_mean(operator, OPERATORS).unwrap_or_default();
        rules.error("invalid-value", &format!("{path}/operator"), message, &help);
        return;
    }
    if needs_attribute && attribute.is_empty() {
        let help = "for example attribute = \"${attr.kernel.name}\"";
        rules.error("missing-attribute", path, "`constraint` needs `attribute`", help);
    }
    let needs_value = !matches!(
        operator.as_str(),
        "distinct_hosts" | "distinct_property" | "is_set" | "is_not_set"
    );
    if needs_value && value.is_empty() && !matches!(operator.as_str(), "=" | "!=") {
        rules.error("missing-attribute", path, format!("`{operator}` needs `value`"), "");
    }
    if in_task && operator.starts_with("distinct_") {
        let message = format!("`{operator}` cannot be used in a task");
        rules.error("invalid-constraint", path, message, "move it to the group or the job");
    }
    for side in [attribute, value] {
        unknown_reference(rules, path, side);
    }
    let values = |name| format!("{path}/{name}");
    match operator.as_str() {
        "regexp" if !value.contains("${") => {
            if let Err(error) = regex::RegexBuilder::new(value).size_limit(1 << 20).build() {
                let said = error.to_string();
                let said =
                    said.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
                let at = place_of(rules, path, "regexp");
                let message = format!("`{value}` is not a regular expression: {said}");
                rules.error("invalid-constraint", &at, message, "");
            }
        }
        "version" | "semver" if !value.contains("${") => {
            if let Some(wrong) = value.split(',').find(|part| !is_version_range(part.trim())) {
                let at = place_of(rules, path, operator);
                let message = format!("`{}` is not a version constraint", wrong.trim());
                rules.error("invalid-constraint", &at, message, "for example \">= 1.2, < 2.0\"");
            }
        }
        "distinct_property" if !value.is_empty() => {
            if value.parse::<u32>().is_ok_and(|n| n > 0) {
                return;
            }
            let message = format!("`{value}` is not a number of allocations per property");
            rules.error("invalid-constraint", &values("value"), message, "");
        }
        _ => {}
    }
}

fn place_of(rules: &Rules<'_>, path: &str, sugar: &str) -> String {
    let sugared = format!("{path}/{sugar}");
    if rules.places.has(&sugared) { sugared } else { format!("{path}/value") }
}

/// Placement knows nodes only, nothing that exists once a task runs.
fn unknown_reference(rules: &Rules<'_>, path: &str, text: &str) {
    for reference in model::references(text) {
        let known =
            ["node.", "attr.", "meta.", "device.", "env["].iter().any(|p| reference.starts_with(p));
        if !known {
            let message = format!("a constraint cannot refer to `${{{reference}}}`");
            let help = "it may refer to ${node.…}, ${attr.…}, ${meta.…} and ${device.…}";
            rules.error("invalid-constraint", path, message, help);
        }
    }
}

/// `>= 1.2.3`, `~> 1.0`, `1.2`, `v1`.
fn is_version_range(text: &str) -> bool {
    let version = text.trim_start_matches(['<', '>', '=', '!', '~', '^']).trim();
    let version = version.strip_prefix('v').unwrap_or(version);
    let numbers = version.split(['-', '+']).next().unwrap_or("");
    !numbers.is_empty()
        && numbers
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        && version
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::is_version_range;

    #[test]
    fn version_ranges() {
        for good in [">= 1.2", "~> 1.0.3", "1", "v1.2.3-beta.1", "!= 2.0", "< 3.0.0+build"] {
            assert!(is_version_range(good), "{good}");
        }
        for bad in ["", ">=", "latest", "1..2", "1.x", ">= a.b"] {
            assert!(!is_version_range(bad), "{bad}");
        }
    }
}
