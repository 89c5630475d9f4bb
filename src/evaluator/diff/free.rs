//! Settings of any shape, as a driver's `config`: leaf by leaf, named `args[0]`, `mount[0][source]`.

use std::collections::BTreeSet;

use model::secret::{HIDDEN, announces_secret, is_reference, is_secret_name, redact_argument};
use model::wire::FieldDiff;
use serde_json::{Map, Value};

use super::align::in_order;
use super::path::Step;
use super::walk::{Both, MAX_DEPTH, Walk, text};

/// What tells entries of a list of settings apart, the first that all have.
const TELLING: &[&str] = &["target", "name", "key", "label", "destination", "source", "path", "id"];

/// The value without nulls and without lists and maps that hold nothing. Entries of lists keep their places.
pub(super) fn pruned(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(map) => {
            let map: Map<String, Value> =
                map.iter().filter_map(|(key, value)| Some((key.clone(), pruned(value)?))).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        Value::Array(list) => {
            // A text, so that it is a leaf.
            let entry =
                |value: &Value| pruned(value).unwrap_or_else(|| Value::String(value.to_string()));
            (!list.is_empty()).then(|| list.iter().map(entry).collect())
        }
        other => Some(other.clone()),
    }
}

/// The fields of free settings, unchanged ones too.
pub(super) fn fields(walk: &mut Walk, both: Both<'_>, out: &mut Vec<FieldDiff>) {
    let at = At {
        old: String::new(),
        new: String::new(),
        secret: walk.secret,
        before: (None, None),
        depth: 0,
    };
    at.values(walk, both, out);
}

/// A place in the settings. What is gone is named by its place in the old ones, everything else by that in the new ones.
#[derive(Clone, Default)]
struct At {
    old: String,
    new: String,
    secret: bool,
    /// The arguments before, for `--password`, `…`.
    before: (Option<String>, Option<String>),
    depth: usize,
}

impl At {
    fn values(&self, walk: &mut Walk, (old, new): Both<'_>, out: &mut Vec<FieldDiff>) {
        let deep = self.depth >= MAX_DEPTH;
        match (old, new) {
            (None, None) => {}
            (Some(Value::Object(_)) | None, Some(Value::Object(_)) | None) if !deep => {
                self.map((old, new), walk, out);
            }
            (Some(Value::Array(_)) | None, Some(Value::Array(_)) | None) if !deep => {
                self.list((old, new), walk, out);
            }
            (Some(before), Some(after)) if !deep && (nests(before) || nests(after)) => {
                self.values(walk, (Some(before), None), out);
                self.values(walk, (None, Some(after)), out);
            }
            _ => out.extend(self.leaf(walk, (old, new))),
        }
    }

    fn map(&self, (old, new): Both<'_>, walk: &mut Walk, out: &mut Vec<FieldDiff>) {
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        let keys: BTreeSet<&String> =
            old.into_iter().chain(new).flat_map(|map| map.keys()).collect();
        for key in keys {
            let named = |path: &str| {
                let key = written(key);
                if path.is_empty() { key } else { format!("{path}[{key}]") }
            };
            let at = Self {
                old: named(&self.old),
                new: named(&self.new),
                secret: self.secret || is_secret_name(key),
                before: (None, None),
                depth: self.depth + 1,
            };
            let pair = (old.and_then(|map| map.get(key)), new.and_then(|map| map.get(key)));
            at.values(walk, pair, out);
        }
    }

    fn list(&self, (old, new): Both<'_>, walk: &mut Walk, out: &mut Vec<FieldDiff>) {
        let (old, new) = (items(old), items(new));
        let keys = keys_of(old, new);
        let pairs = in_order(&keys.0, &keys.1, true);
        let before = |list: &[Value], at: Option<usize>| {
            let previous = at.and_then(|at| at.checked_sub(1)).and_then(|at| list.get(at));
            previous.and_then(Value::as_str).map(str::to_owned)
        };
        for (i, j) in pairs {
            let place = |path: &str, at: Option<usize>, other: Option<usize>| {
                format!("{path}[{}]", at.or(other).unwrap_or_default())
            };
            let at = Self {
                old: place(&self.old, i, j),
                new: place(&self.new, j, i),
                secret: self.secret,
                before: (before(old, i), before(new, j)),
                depth: self.depth + 1,
            };
            let pair = (i.and_then(|i| old.get(i)), j.and_then(|j| new.get(j)));
            at.values(walk, pair, out);
        }
    }

    fn leaf(&self, walk: &mut Walk, (old, new): Both<'_>) -> Option<FieldDiff> {
        let json =
            old.is_some_and(|old| new.is_some_and(|new| old != new && text(old) == text(new)));
        let shown = |value: Option<&Value>, before: Option<&str>| {
            value.map(|value| {
                let text = if json { value.to_string() } else { text(value) };
                let secret = self.secret || before.is_some_and(announces_secret);
                if secret && !text.is_empty() && !is_reference(&text) {
                    return HIDDEN.to_owned();
                }
                redact_argument(before, &text).into_owned()
            })
        };
        let texts = (shown(old, self.before.0.as_deref()), shown(new, self.before.1.as_deref()));
        let name = if new.is_some() { &self.new } else { &self.old };
        walk.leaf(name.clone(), Step::Leaf(name.clone()), texts, old == new, (old, new))
    }
}

fn nests(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// What entries are matched by: plain ones by what they are, blocks by what tells them apart.
fn keys_of(old: &[Value], new: &[Value]) -> (Vec<String>, Vec<String>) {
    let telling = TELLING.iter().find(|name| {
        old.iter().chain(new).all(|value| value.get(**name).is_some_and(Value::is_string))
    });
    let key = |value: &Value| match telling {
        Some(name) if value.is_object() => value.get(*name).map(text).unwrap_or_default(),
        _ => value.to_string(),
    };
    (old.iter().map(key).collect(), new.iter().map(key).collect())
}

/// A key as it stands in a name. One that could be taken for something else is quoted.
fn written(key: &str) -> String {
    let ambiguous =
        key.is_empty() || key.contains(['[', ']', '"']) || key.chars().all(|c| c.is_ascii_digit());
    if ambiguous { format!("{key:?}") } else { key.to_owned() }
}
