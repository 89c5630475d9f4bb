//! What makes blocks of two lists the same block.

use std::collections::BTreeMap;

use model::secret::redact_text;
use serde_json::Value;

use super::align::Pair;
use super::schema::{ListRule, said};
use super::walk::text;

/// The blocks of a list, or of a map from names to blocks.
pub(super) fn entries(value: Option<&Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(list)) => list.clone(),
        Some(Value::Object(map)) => {
            let named = |(name, value): (&String, &Value)| {
                let mut value = value.clone();
                if let Value::Object(fields) = &mut value {
                    fields.insert("Name".to_owned(), Value::String(name.clone()));
                }
                value
            };
            map.iter().map(named).collect()
        }
        _ => Vec::new(),
    }
}

/// What a block is matched by, the strictest first: all of it, what tells it apart, the most telling of that, and its
/// being left over.
pub(super) fn match_keys(rule: ListRule, value: &Value) -> Vec<String> {
    let mut keys = vec![plain(value).map(|value| value.to_string()).unwrap_or_default()];
    let telling = |names: &[&str]| -> String {
        let texts: Vec<String> =
            names.iter().map(|name| said(value.get(name)).map(text).unwrap_or_default()).collect();
        serde_json::to_string(&texts).unwrap_or_default()
    };
    if !rule.identity.is_empty() {
        keys.push(telling(rule.identity));
        keys.push(telling(rule.identity.get(..1).unwrap_or_default()));
    }
    if rule.ordered && rule.identity.is_empty() {
        keys = vec![String::new()];
    }
    if rule.pairs {
        keys.push(String::new());
    }
    keys
}

/// A value without what says nothing, so that equal values are written equally.
fn plain(value: &Value) -> Option<Value> {
    match said(Some(value))? {
        Value::Object(map) => {
            let map: BTreeMap<&String, Value> =
                map.iter().filter_map(|(key, value)| Some((key, plain(value)?))).collect();
            Some(map.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        Value::Array(list) => {
            Some(list.iter().map(|value| plain(value).unwrap_or_default()).collect())
        }
        other => Some(other.clone()),
    }
}

/// What tells a block from the others of its list, for people.
pub(super) fn label(rule: ListRule, value: &Value) -> String {
    let field = |name: &&str| said(value.get(*name)).map(text);
    let label = match rule.key {
        "Artifacts" => value.get("RelativeDest").and_then(|to| said(Some(to))).map(text),
        "Constraints" | "Affinities" => said(value.get("LTarget")).map(text),
        _ => rule.identity.iter().find_map(field),
    };
    redact_text(&label.unwrap_or_default()).into_owned()
}

/// Whether changed blocks alone would not say where in the list they are: one came before one that stays, or there are
/// equal ones.
pub(super) fn places_matter(pairs: &[Pair], old: &[Vec<String>]) -> bool {
    let mut came = false;
    for (i, j) in pairs {
        came |= i.is_none();
        if came && i.is_some() && j.is_some() {
            return true;
        }
    }
    let mut keys: Vec<&Vec<String>> = old.iter().collect();
    keys.sort();
    keys.windows(2).any(|pair| pair.first() == pair.last())
}
