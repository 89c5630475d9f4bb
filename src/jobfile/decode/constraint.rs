//! `constraint {}` in all its forms.

use model::Constraint;

use super::reader::Reader;

/// Operators and how they are kept: the many spellings of one become one, so that equal jobs are equal.
pub(crate) const OPERATORS: [(&str, &str); 19] = [
    ("=", "="),
    ("==", "="),
    ("is", "="),
    ("!=", "!="),
    ("not", "!="),
    ("<", "<"),
    ("<=", "<="),
    (">", ">"),
    (">=", ">="),
    ("regexp", "regexp"),
    ("version", "version"),
    ("semver", "semver"),
    ("set_contains", "set_contains"),
    ("set_contains_all", "set_contains"),
    ("set_contains_any", "set_contains_any"),
    ("is_set", "is_set"),
    ("is_not_set", "is_not_set"),
    ("distinct_hosts", "distinct_hosts"),
    ("distinct_property", "distinct_property"),
];

const SUGAR: [&str; 6] =
    ["regexp", "version", "semver", "set_contains", "set_contains_all", "set_contains_any"];

/// The constraints of a job, group or task.
pub(super) fn all(parent: &Reader<'_>) -> Vec<Constraint> {
    let blocks = parent.blocks("constraint");
    blocks.iter().filter_map(|(reader, _)| one(reader)).collect()
}

fn one(reader: &Reader<'_>) -> Option<Constraint> {
    let mut found = Constraint {
        attribute: reader.text("attribute").unwrap_or_default(),
        value: reader.text("value").unwrap_or_default(),
        operator: reader
            .choice("operator", &OPERATORS)
            .unwrap_or_else(|| if reader.is_set("operator") { "" } else { "=" })
            .to_owned(),
    };
    for name in SUGAR {
        if let Some(value) = reader.text(name) {
            found.operator = OPERATORS
                .iter()
                .find(|(spelling, _)| *spelling == name)
                .map_or(name, |(_, kept)| kept)
                .to_owned();
            found.value = value;
        }
    }
    if let Some(property) = reader.text("distinct_property") {
        found.operator = "distinct_property".to_owned();
        found.attribute = property;
    }
    for name in ["is_set", "is_not_set"] {
        // Nomad's grammar has these two and does not read them; what they mean is plain.
        match reader.value(name) {
            Some((value, _)) if value.as_bool() == Some(true) => found.operator = name.to_owned(),
            Some((value, _)) if value.as_bool().is_none() => {
                found.operator = name.to_owned();
                found.attribute = reader.text(name).unwrap_or_default();
            }
            _ => {}
        }
    }
    match reader.flag("distinct_hosts") {
        Some(true) => found.operator = "distinct_hosts".to_owned(),
        Some(false) => return None,
        None => {}
    }
    if found.operator == "distinct_hosts" && found.value == "false" {
        return None;
    }
    // The operator alone says it all: `value = "true"` is no second meaning.
    if found.operator == "distinct_hosts" {
        found.attribute.clear();
        found.value.clear();
    }
    Some(found)
}
