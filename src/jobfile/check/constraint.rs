//! Constraints, and what affinities have in common with them.

use model::Constraint;

use super::Rules;
use crate::suggest::{did_you_mean, nearest};

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

/// Those of them that can be wished for.
pub(super) const AFFINITY_OPERATORS: [&str; 15] = [
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
];

/// What placement knows of a node beside its attributes and metadata.
pub(super) const OF_NODES: [&str; 7] = [
    "node.unique.id",
    "node.unique.name",
    "node.datacenter",
    "node.region",
    "node.class",
    "node.pool",
    "node.status",
];

pub(super) fn check(rules: &Rules<'_>, parent: &str, constraints: &[Constraint], in_task: bool) {
    for (at, constraint) in constraints.iter().enumerate() {
        let path = format!("{parent}/constraint.{at}");
        one(rules, &path, constraint, in_task);
    }
}

fn one(rules: &Rules<'_>, path: &str, constraint: &Constraint, in_task: bool) {
    let Constraint { attribute, value, operator: op } = constraint;
    if !operator(rules, path, op, &OPERATORS) {
        return;
    }
    if in_task && op.starts_with("distinct_") {
        let message = format!("`{op}` cannot be used in a task");
        rules.error("invalid-constraint", path, message, "move it to the group or the job");
    }
    sides(rules, path, "constraint", (attribute, op, value));
    pattern(rules, path, op, value);
    if op == "distinct_property" && !value.is_empty() && !value.parse::<u32>().is_ok_and(|n| n > 0)
    {
        let message = format!("`{value}` is not a number of allocations per property");
        rules.error("invalid-constraint", &format!("{path}/value"), message, "");
    }
    if matches!(op.as_str(), "is_set" | "is_not_set") && !value.is_empty() {
        let message = format!("`{op}` takes no `value`");
        rules.error("invalid-constraint", &format!("{path}/value"), message, "delete `value`");
    }
}

/// Whether this is one of the operators; says so if not.
pub(super) fn operator(rules: &Rules<'_>, path: &str, operator: &str, known: &[&str]) -> bool {
    if known.contains(&operator) {
        return true;
    }
    let message = format!("`operator` cannot be `{operator}`; it is one of {}", known.join(", "));
    let help = did_you_mean(operator, known.iter().copied()).unwrap_or_default();
    rules.error("invalid-value", &format!("{path}/operator"), message, &help);
    false
}

/// Whether both sides are there, and what they refer to.
pub(super) fn sides(
    rules: &Rules<'_>,
    path: &str,
    block: &str,
    (attribute, operator, value): (&str, &str, &str),
) {
    if !rules.places.is_whole(path) {
        return;
    }
    if attribute.is_empty() && operator != "distinct_hosts" {
        let help = "for example attribute = \"${attr.kernel.name}\"";
        rules.error("missing-attribute", path, format!("`{block}` needs `attribute`"), help);
        return;
    }
    let needs_value =
        !matches!(operator, "distinct_hosts" | "distinct_property" | "is_set" | "is_not_set");
    if needs_value && value.is_empty() {
        let message = format!("`{block}` with the operator `{operator}` needs `value`");
        let help = match operator {
            "=" | "==" | "is" => "to ask that something is there, write operator = \"is_set\"",
            _ => "",
        };
        rules.error("missing-attribute", path, message, help);
    }
    let with = format!("a {block}");
    let with = if block == "affinity" { "an affinity" } else { with.as_str() };
    if !attribute.is_empty() {
        let own = format!("{path}/distinct_property");
        let place = if rules.places.has(&own) { own } else { format!("{path}/attribute") };
        reference(rules, &place, attribute, with);
    }
    references(rules, &format!("{path}/value"), value, with);
}

/// What is compared must be a reference: plain text is the same on all nodes.
pub(super) fn reference(rules: &Rules<'_>, place: &str, text: &str, with: &str) {
    if references(rules, place, text, with) > 0 || text.contains("${") {
        return;
    }
    let plain = text.trim_start_matches('$').trim_matches(['{', '}', ' ']);
    let looks_meant =
        ["node.", "attr.", "meta.", "device."].iter().any(|root| plain.starts_with(root));
    let help = if looks_meant {
        format!("write \"${{{plain}}}\"")
    } else {
        format!(
            "to ask for an attribute of a node, write \"${{attr.{plain}}}\" or \"${{meta.{plain}}}\""
        )
    };
    let message = format!(
        "`{text}` is plain text, the same on every node: {with} refers to a node by `${{…}}`"
    );
    rules.warning("unknown-reference", place, message, &help);
}

/// Placement knows nodes only, nothing that exists once a task runs. Gives how many references there are.
fn references(rules: &Rules<'_>, place: &str, text: &str, with: &str) -> usize {
    let all = model::references(text);
    for reference in &all {
        let known = ["node.", "attr.", "meta.", "device.", "env["]
            .iter()
            .any(|root| reference.starts_with(root));
        if !known {
            let message = format!("{with} cannot refer to `${{{reference}}}`");
            let (root, rest) = reference.split_once('.').unwrap_or((reference, ""));
            let help = match nearest(root, ["node", "attr", "meta", "device"]) {
                Some(meant) if !rest.is_empty() => format!("did you mean `${{{meant}.{rest}}}`?"),
                _ => {
                    "nodes are known by ${node.…}, ${attr.…}, ${meta.…} and ${device.…}".to_owned()
                }
            };
            // Nomad looks at constraints only: a wish that means nothing costs nothing.
            if with == "a constraint" {
                rules.error("invalid-constraint", place, message, &help);
            } else {
                rules.warning("unknown-reference", place, message, &help);
            }
        } else if reference.starts_with("node.") && !OF_NODES.contains(&reference.as_str()) {
            let message = format!("nodes have no `${{{reference}}}`");
            let help = did_you_mean(reference, OF_NODES)
                .unwrap_or_else(|| format!("what there is: {}", OF_NODES.join(", ")));
            rules.warning("unknown-reference", place, message, &help);
        }
    }
    all.len()
}

/// Whether a value that is a pattern of its operator is one.
pub(super) fn pattern(rules: &Rules<'_>, path: &str, operator: &str, value: &str) {
    if value.is_empty() || value.contains("${") {
        return;
    }
    match operator {
        "regexp" => {
            if let Err(error) = regex::RegexBuilder::new(value).size_limit(1 << 20).build() {
                let said = error.to_string();
                let said =
                    said.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
                let at = place_of(rules, path, "regexp");
                let message = format!("`{value}` is not a regular expression: {said}");
                rules.error("invalid-constraint", &at, message, "");
            }
        }
        "version" | "semver" => {
            let strict = operator == "semver";
            let mut parts = value.split(',');
            if let Some(wrong) = parts.find(|part| !is_version_range(part.trim(), strict)) {
                let at = place_of(rules, path, operator);
                let message = format!("`{}` is not a version constraint", wrong.trim());
                rules.error("invalid-constraint", &at, message, "for example \">= 1.2, < 2.0\"");
            }
        }
        _ => {}
    }
}

fn place_of(rules: &Rules<'_>, path: &str, sugar: &str) -> String {
    let sugared = format!("{path}/{sugar}");
    if rules.places.has(&sugared) { sugared } else { format!("{path}/value") }
}

/// `>= 1.2.3`, `~> 1.0`, `1.2`, `v1`. Strict ones have no `~>`.
fn is_version_range(text: &str, strict: bool) -> bool {
    let version = text.trim_start_matches(['<', '>', '=', '!', '~', '^']);
    let operator = text.get(..text.len() - version.len()).unwrap_or_default();
    match operator {
        "" | "=" | "!=" | ">" | "<" | ">=" | "<=" => {}
        "~>" if !strict => {}
        _ => return false,
    }
    let version = version.trim();
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
            assert!(is_version_range(good, false), "{good}");
        }
        for bad in ["", ">=", "latest", "1..2", "1.x", ">= a.b", "=> 1", "== 1.2", "^1.2", "~1"] {
            assert!(!is_version_range(bad, false), "{bad}");
        }
        assert!(!is_version_range("~> 1.0", true));
    }
}
