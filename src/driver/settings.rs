//! Reads a driver's settings as job files write them, and says in words what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The settings of one task, read key by key. Problems are collected; [`Settings::finish`] adds the keys that nobody
/// asked for.
pub(crate) struct Settings<'a> {
    values: &'a BTreeMap<String, Value>,
    asked: BTreeSet<&'static str>,
    problems: Vec<String>,
}

impl<'a> Settings<'a> {
    pub(crate) fn new(values: &'a BTreeMap<String, Value>) -> Self {
        Self { values, asked: BTreeSet::new(), problems: Vec::new() }
    }

    /// The value of a key, unless it is missing or null. HCL writes a missing optional value as null.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.insert(key);
        self.values.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        let text = as_text(value);
        if text.is_none() {
            self.wrong(key, "a string", value);
        }
        text
    }

    /// A text that has to be there.
    pub(crate) fn required(&mut self, key: &'static str) -> String {
        let text = self.text(key).unwrap_or_default();
        if text.is_empty() && !self.problems.iter().any(|known| known.starts_with(&tick(key))) {
            self.problem(format!("`{key}` is missing"));
        }
        text
    }

    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = as_flag(value);
        if flag.is_none() {
            self.wrong(key, "true or false", value);
        }
        flag
    }

    pub(crate) fn integer(&mut self, key: &'static str) -> Option<i64> {
        let value = self.value(key)?;
        let number = as_integer(value);
        if number.is_none() {
            self.wrong(key, "a whole number", value);
        }
        number
    }

    pub(crate) fn list(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = value.as_array().map(|items| items.iter().map(as_text).collect());
        match items {
            Some(Some(list)) => list,
            _ => {
                self.wrong(key, "a list of strings", value);
                Vec::new()
            }
        }
    }

    /// Texts by name. A block that is written several times comes as a list of objects, which are taken together.
    pub(crate) fn map(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let Some(value) = self.value(key) else { return BTreeMap::new() };
        let merged = objects(value).map(|objects| {
            let fields = objects.into_iter().flatten();
            fields.map(|(name, value)| Some((name.clone(), as_text(value)?))).collect()
        });
        match merged {
            Some(Some(map)) => map,
            _ => {
                self.wrong(key, "a map of strings", value);
                BTreeMap::new()
            }
        }
    }

    /// Blocks that may be written several times.
    pub(crate) fn blocks(&mut self, key: &'static str) -> Vec<BTreeMap<String, Value>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        match objects(value) {
            Some(objects) => objects
                .into_iter()
                .map(|object| object.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
                .collect(),
            None => {
                self.wrong(key, "a block", value);
                Vec::new()
            }
        }
    }

    /// Takes over the problems of a nested block.
    pub(crate) fn nested(&mut self, block: &str, inner: Vec<String>) {
        self.problems.extend(inner.into_iter().map(|problem| format!("in `{block}`: {problem}")));
    }

    /// All problems, with one for each key that nobody asked for.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let unknown: Vec<_> =
            self.values.keys().filter(|key| !self.asked.contains(key.as_str())).collect();
        for key in unknown {
            let hint = self
                .asked
                .iter()
                .map(|known| (distance(key, known), known))
                .min()
                .filter(|(distance, _)| *distance <= 2)
                .map(|(_, known)| format!("; did you mean `{known}`?"));
            self.problems.push(format!("`{key}` is not known{}", hint.unwrap_or_default()));
        }
        self.problems
    }

    fn wrong(&mut self, key: &str, expected: &str, value: &Value) {
        // The kind and not the value, which may be a secret.
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "a map",
        };
        self.problem(format!("{} must be {expected}, not {found}", tick(key)));
    }
}

fn tick(key: &str) -> String {
    format!("`{key}`")
}

fn objects(value: &Value) -> Option<Vec<&serde_json::Map<String, Value>>> {
    match value {
        Value::Object(object) => Some(vec![object]),
        Value::Array(items) => items.iter().map(Value::as_object).collect(),
        _ => None,
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn as_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Edits between two words, for hints. Long words are not compared.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 40 || b.len() > 40 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let best = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(value: Value) -> BTreeMap<String, Value> {
        serde_json::from_value(value).expect("a map")
    }

    #[test]
    fn says_what_is_wrong_in_words() {
        let values = values(json!({"comand": "x", "args": "one", "n": [], "none": null}));
        let mut settings = Settings::new(&values);
        settings.required("command");
        settings.list("args");
        settings.integer("n");
        settings.text("none");
        assert_eq!(
            settings.finish(),
            [
                "`command` is missing",
                "`args` must be a list of strings, not a string",
                "`n` must be a whole number, not a list",
                "`comand` is not known; did you mean `command`?",
            ]
        );
    }

    #[test]
    fn repeated_blocks_are_taken_together() {
        let values = values(json!({"labels": [{"a": 1}, {"b": true}], "one": {"c": "x"}}));
        let mut settings = Settings::new(&values);
        let labels = settings.map("labels");
        assert_eq!(labels, BTreeMap::from([("a".into(), "1".into()), ("b".into(), "true".into())]));
        assert_eq!(settings.blocks("one").len(), 1);
        assert_eq!(settings.finish(), Vec::<String>::new());
    }
}
