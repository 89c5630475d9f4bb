//! The generic part: two JSON values of the same type, field by field.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::secret::{
    CHANGED, HIDDEN, announces_secret, gives_secret, is_secret_name, without_userinfo,
};
use super::{DiffType, FieldDiff, ObjectDiff};

/// Deeper than any job nests; what lies deeper is compared as text.
const MAX_DEPTH: usize = 24;

/// The fields and blocks that differ, without those in `skip`.
pub(super) fn parts(
    old: Option<&Value>,
    new: Option<&Value>,
    skip: &[&str],
) -> (Vec<FieldDiff>, Vec<ObjectDiff>) {
    let mut walk = Walk { context: false, secret: false, depth: 0 };
    walk.object(old.and_then(Value::as_object), new.and_then(Value::as_object), skip)
}

#[derive(Clone, Copy)]
struct Walk {
    /// Whether unchanged fields are shown too.
    context: bool,
    /// Whether everything here is secret.
    secret: bool,
    depth: usize,
}

impl Walk {
    fn object(
        &mut self,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
        skip: &[&str],
    ) -> (Vec<FieldDiff>, Vec<ObjectDiff>) {
        let keys: BTreeSet<&String> =
            old.into_iter().chain(new).flat_map(|map| map.keys()).collect();
        let (mut fields, mut objects) = (Vec::new(), Vec::new());
        for key in keys {
            if skip.contains(&key.as_str()) {
                continue;
            }
            let pair = (old.and_then(|map| map.get(key)), new.and_then(|map| map.get(key)));
            match shape(pair.0).max(shape(pair.1)) {
                Shape::Plain => fields.extend(self.field(key, pair, is_secret_name(key))),
                Shape::Map if matches!(key.as_str(), "Env" | "Meta") => {
                    fields.extend(self.map(key, pair));
                }
                Shape::Map if matches!(key.as_str(), "Config" | "Header") => {
                    objects.extend(self.config(key, pair));
                }
                Shape::Map => objects.extend(self.block(key, pair)),
                Shape::Texts => objects.extend(self.set(key, pair)),
                Shape::Blocks => objects.extend(self.blocks(key, pair)),
            }
        }
        (fields, objects)
    }

    /// A plain value.
    fn field(
        &self,
        name: &str,
        (old, new): (Option<&Value>, Option<&Value>),
        secret: bool,
    ) -> Option<FieldDiff> {
        let (old, new) = (old.map(text).unwrap_or_default(), new.map(text).unwrap_or_default());
        let kind = DiffType::of(!old.is_empty(), !new.is_empty(), old == new);
        if old == new && (!self.context || old.is_empty()) {
            return None;
        }
        let (old, new) = if secret || self.secret || gives_secret(&old) || gives_secret(&new) {
            let shown = |text: &str| if text.is_empty() { "" } else { HIDDEN }.to_owned();
            let after = if kind == DiffType::Edited { CHANGED.to_owned() } else { shown(&new) };
            (shown(&old), after)
        } else {
            let (before, mut after) =
                (without_userinfo(&old).into_owned(), without_userinfo(&new).into_owned());
            if kind == DiffType::Edited && before == after {
                CHANGED.clone_into(&mut after);
            }
            (before, after)
        };
        Some(FieldDiff { kind, name: name.to_owned(), old, new, annotations: Vec::new() })
    }

    /// A map of texts, as fields `Name[key]` of what it is in.
    fn map(&self, name: &str, (old, new): (Option<&Value>, Option<&Value>)) -> Vec<FieldDiff> {
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        let keys: BTreeSet<&String> =
            old.into_iter().chain(new).flat_map(|map| map.keys()).collect();
        keys.into_iter()
            .filter_map(|key| {
                let pair = (old.and_then(|map| map.get(key)), new.and_then(|map| map.get(key)));
                self.field(&format!("{name}[{key}]"), pair, is_secret_name(key))
            })
            .collect()
    }

    /// A driver's settings: one block with a field for each leaf.
    fn config(
        &self,
        name: &str,
        (old, new): (Option<&Value>, Option<&Value>),
    ) -> Option<ObjectDiff> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        flatten("", old, self.secret, 0, &mut before);
        flatten("", new, self.secret, 0, &mut after);
        if before == after {
            return None;
        }
        let names: BTreeSet<&String> = before.iter().chain(&after).map(|(name, ..)| name).collect();
        let inner = Self { context: true, ..*self };
        let fields = names
            .into_iter()
            .filter_map(|leaf| {
                let find = |list: &[(String, String, bool)]| {
                    list.iter()
                        .find(|(name, ..)| name == leaf)
                        .map(|(_, text, secret)| (Value::String(text.clone()), *secret))
                };
                let (old, new) = (find(&before), find(&after));
                let secret = old.iter().chain(&new).any(|(_, secret)| *secret);
                inner.field(
                    leaf,
                    (old.as_ref().map(|(value, _)| value), new.as_ref().map(|(value, _)| value)),
                    secret,
                )
            })
            .collect();
        Some(ObjectDiff {
            kind: DiffType::of(!before.is_empty(), !after.is_empty(), false),
            name: name.to_owned(),
            fields,
            objects: Vec::new(),
        })
    }

    /// A block that is there once at most.
    fn block(
        &self,
        name: &str,
        (old, new): (Option<&Value>, Option<&Value>),
    ) -> Option<ObjectDiff> {
        let (old, new) =
            (old.filter(|value| !value.is_null()), new.filter(|value| !value.is_null()));
        if old == new {
            return None;
        }
        let mut inner = Self {
            context: true,
            secret: self.secret || is_secret_name(name),
            depth: self.depth + 1,
        };
        let (fields, objects) = if inner.depth > MAX_DEPTH {
            (inner.field(name, (old, new), false).into_iter().collect(), Vec::new())
        } else {
            inner.object(old.and_then(Value::as_object), new.and_then(Value::as_object), &[])
        };
        Some(ObjectDiff {
            kind: DiffType::of(old.is_some(), new.is_some(), false),
            name: singular(name).to_owned(),
            fields,
            objects,
        })
    }

    /// A list whose order does not matter to people.
    fn set(&self, name: &str, (old, new): (Option<&Value>, Option<&Value>)) -> Option<ObjectDiff> {
        let items = |value: Option<&Value>| -> BTreeSet<String> {
            value.and_then(Value::as_array).into_iter().flatten().map(text).collect()
        };
        let (before, after) = (items(old), items(new));
        if old == new || (before.is_empty() && after.is_empty()) {
            return None;
        }
        let fields = before
            .union(&after)
            .filter_map(|item| {
                let value = Value::String(item.clone());
                let pair = (
                    before.contains(item).then_some(&value),
                    after.contains(item).then_some(&value),
                );
                Self { context: true, ..*self }.field(name, pair, is_secret_name(name))
            })
            .collect();
        Some(ObjectDiff {
            kind: DiffType::of(!before.is_empty(), !after.is_empty(), false),
            name: name.to_owned(),
            fields,
            objects: Vec::new(),
        })
    }

    /// Repeated blocks: matched by name or label, others by being equal, the rest by position.
    fn blocks(&self, name: &str, (old, new): (Option<&Value>, Option<&Value>)) -> Vec<ObjectDiff> {
        let list = |value: Option<&Value>| -> Vec<Value> {
            value.and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let (mut before, after) = (list(old), list(new));
        let named = |value: &Value| value.get("Name").or_else(|| value.get("Label")).cloned();
        let mut out = Vec::new();
        let mut unmatched = Vec::new();
        for value in &after {
            let partner = before.iter().position(|other| match named(value) {
                Some(name) => named(other) == Some(name),
                None => other == value,
            });
            match partner {
                Some(at) => out.extend(self.block(name, (Some(&before.remove(at)), Some(value)))),
                None => unmatched.push(value),
            }
        }
        let unnamed = |value: &Value| named(value).is_none() && name == "Networks";
        for value in unmatched {
            let partner = unnamed(value).then(|| before.iter().position(unnamed)).flatten();
            let old = partner.map(|at| before.remove(at));
            out.extend(self.block(name, (old.as_ref(), Some(value))));
        }
        for value in &before {
            out.extend(self.block(name, (Some(value), None)));
        }
        out
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Plain,
    Texts,
    Blocks,
    Map,
}

fn shape(value: Option<&Value>) -> Shape {
    match value {
        Some(Value::Object(_)) => Shape::Map,
        Some(Value::Array(items)) if items.iter().any(Value::is_object) => Shape::Blocks,
        Some(Value::Array(_)) => Shape::Texts,
        _ => Shape::Plain,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Each leaf with its path, as `args[0]` or `auth[username]`, and whether it is secret.
fn flatten(
    path: &str,
    value: Option<&Value>,
    secret: bool,
    depth: usize,
    out: &mut Vec<(String, String, bool)>,
) {
    match value {
        None => {}
        Some(Value::Object(map)) if depth < MAX_DEPTH => {
            for (key, value) in map {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}[{key}]") };
                flatten(&inner, Some(value), secret || is_secret_name(key), depth + 1, out);
            }
        }
        Some(Value::Array(items)) if depth < MAX_DEPTH => {
            let mut announced = false;
            for (at, item) in items.iter().enumerate() {
                flatten(&format!("{path}[{at}]"), Some(item), secret || announced, depth + 1, out);
                announced = item.as_str().is_some_and(announces_secret);
            }
        }
        Some(leaf) => out.push((path.to_owned(), text(leaf), secret)),
    }
}

/// The name of one block of a list.
fn singular(name: &str) -> &str {
    match name {
        "Constraints" => "Constraint",
        "Networks" => "Network",
        "Services" => "Service",
        "Checks" => "Check",
        "ReservedPorts" => "Static Port",
        "DynamicPorts" => "Dynamic Port",
        "Migrate" => "MigrateStrategy",
        other => other,
    }
}
