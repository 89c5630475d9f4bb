//! The shorter ways to write constraints and affinities.

use super::super::Object;
use super::{objects, text};

/// In the order in which Nomad lets the later one win.
const SUGAR: [(&str, &str); 6] = [
    ("@version", "version"),
    ("@semver", "semver"),
    ("@regexp", "regexp"),
    ("@set_contains_any", "set_contains_any"),
    ("@set_contains_all", "set_contains_all"),
    ("@set_contains", "set_contains"),
];

/// Writes the constraints and affinities of a job, group, task or device in full.
pub(super) fn sugar(parent: &mut Object) {
    for constraint in objects(parent, "Constraints") {
        operator(constraint);
        distinct(constraint);
        presence(constraint);
        if text(constraint, "Operand").is_empty() {
            constraint.insert("Operand".to_owned(), "=".into());
        }
    }
    for affinity in objects(parent, "Affinities") {
        operator(affinity);
        if text(affinity, "Operand").is_empty() {
            affinity.insert("Operand".to_owned(), "=".into());
        }
    }
}

fn operator(one: &mut Object) {
    for (key, operator) in SUGAR {
        if let Some(value) = one.remove(key).filter(|value| *value != "") {
            one.insert("Operand".to_owned(), operator.into());
            one.insert("RTarget".to_owned(), value);
        }
    }
}

fn distinct(constraint: &mut Object) {
    if let Some(hosts) = constraint.remove("@distinct_hosts") {
        constraint.insert("Operand".to_owned(), "distinct_hosts".into());
        constraint.insert("RTarget".to_owned(), hosts.to_string().into());
    }
    if let Some(property) = constraint.remove("@distinct_property").filter(|name| *name != "") {
        constraint.insert("Operand".to_owned(), "distinct_property".into());
        constraint.insert("LTarget".to_owned(), property);
    }
}

/// Nomad's grammar has these two as attributes and does not read them; what they mean is plain.
fn presence(constraint: &mut Object) {
    for (key, operator) in [("@is_set", "is_set"), ("@is_not_set", "is_not_set")] {
        let Some(value) = constraint.remove(key) else { continue };
        match value.as_str() {
            Some("false" | "") | None => continue,
            Some("true") => {}
            Some(_) => {
                constraint.insert("LTarget".to_owned(), value);
            }
        }
        constraint.insert("Operand".to_owned(), operator.into());
    }
}
