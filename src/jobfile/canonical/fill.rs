//! What nobody said, from the table.

use serde_json::Value;

use super::Object;
use super::read::AT;
use crate::schema::{Absent, Attribute, Rule, Schema, Shape, Unset};

/// Where a value of the canonical job came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its path in the canonical job, as `TaskGroups[0].Count`.
    pub(crate) path: String,
    /// Paths in the file where it may stand, the first that is there; none is a default.
    pub(crate) places: Vec<String>,
}

/// Fills an object by its schema and takes away what is not part of the canonical form.
pub(crate) fn fill(
    said: Object,
    schema: &'static Schema,
    origins: &mut Option<Vec<Origin>>,
) -> Object {
    Filling { origins, path: String::new() }.object(said, schema)
}

struct Filling<'a> {
    origins: &'a mut Option<Vec<Origin>>,
    path: String,
}

impl Filling<'_> {
    fn object(&mut self, mut said: Object, schema: &'static Schema) -> Object {
        let at = said.remove(AT);
        let places: Vec<&str> = at
            .as_ref()
            .and_then(Value::as_str)
            .map(|at| at.split('\n').collect())
            .unwrap_or_default();
        let mut filled = Object::new();
        for rule in schema.attributes.iter().filter(|rule| !rule.json.starts_with('@')) {
            let value = said.remove(rule.json).filter(|value| !is_nothing(value));
            self.note(rule.json, rule.name, &places, value.is_some());
            filled.insert(rule.json.to_owned(), value.unwrap_or_else(|| unset(rule)));
        }
        for rule in schema.blocks.iter().filter(|rule| !rule.json.starts_with('@')) {
            let value = said.remove(rule.json).filter(|value| !value.is_null());
            if let Some(value) = self.block(value, rule, &places) {
                filled.insert(rule.json.to_owned(), value);
            }
        }
        // Labels, and what a pass has added.
        filled.extend(said.into_iter().filter(|(name, _)| !name.starts_with('@')).map(
            |(name, value)| match value {
                Value::Object(own) if name == "Identity" => {
                    (name, self.object(own, crate::schema::identity()).into())
                }
                value => (name, value),
            },
        ));
        filled
    }

    fn block(
        &mut self,
        value: Option<Value>,
        rule: &'static Rule,
        places: &[&str],
    ) -> Option<Value> {
        let before = self.path.len();
        let filled = match (rule.shape, value) {
            (Shape::One, Some(Value::Object(said))) => {
                self.step(rule.json);
                Some(self.object(said, rule.schema()).into())
            }
            (Shape::One, _) => match rule.absent {
                Absent::Null => Some(Value::Null),
                Absent::Left => None,
                Absent::Filled => {
                    self.step(rule.json);
                    Some(self.object(Object::new(), rule.schema()).into())
                }
            },
            (Shape::Many, Some(Value::Array(items))) if !items.is_empty() => {
                let many = items.into_iter().enumerate().map(|(at, item)| match item {
                    Value::Object(said) => {
                        self.path.truncate(before);
                        self.step(&format!("{}[{at}]", rule.json));
                        self.object(said, rule.schema()).into()
                    }
                    other => other,
                });
                Some(many.collect())
            }
            (Shape::Keyed, Some(Value::Object(items))) if !items.is_empty() => {
                let keyed = items.into_iter().map(|(key, item)| match item {
                    Value::Object(said) => {
                        self.path.truncate(before);
                        self.step(&format!("{}[{key}]", rule.json));
                        (key, self.object(said, rule.schema()).into())
                    }
                    other => (key, other),
                });
                Some(Value::Object(keyed.collect()))
            }
            (Shape::Texts | Shape::Lists | Shape::Any, Some(Value::Object(items))) => {
                for key in items.keys() {
                    let within: Vec<String> =
                        places.iter().map(|place| format!("{place}/{}", rule.name)).collect();
                    let within: Vec<&str> = within.iter().map(String::as_str).collect();
                    self.note(&format!("{}[{key}]", rule.json), key, &within, true);
                }
                if items.is_empty() && rule.absent != Absent::Filled {
                    Some(Value::Null)
                } else {
                    Some(Value::Object(items))
                }
            }
            (Shape::Texts, None) if rule.absent == Absent::Filled => Some(Object::new().into()),
            _ => Some(Value::Null),
        };
        self.path.truncate(before);
        filled
    }

    fn step(&mut self, name: &str) {
        if self.origins.is_some() {
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(name);
        }
    }

    fn note(&mut self, json: &str, name: &str, places: &[&str], is_set: bool) {
        let Some(origins) = self.origins.as_mut() else { return };
        let path =
            if self.path.is_empty() { json.to_owned() } else { format!("{}.{json}", self.path) };
        let places = if is_set {
            places.iter().map(|place| format!("{place}/{name}")).collect()
        } else {
            Vec::new()
        };
        origins.push(Origin { path, places });
    }
}

/// An empty list says as much as none.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    }
}

fn unset(rule: &Attribute) -> Value {
    match rule.unset {
        Unset::Null => Value::Null,
        Unset::Text(text) => text.into(),
        Unset::Flag(flag) => flag.into(),
        Unset::Whole(n) => n.into(),
        Unset::EmptyList => Value::Array(Vec::new()),
    }
}
