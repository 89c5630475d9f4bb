//! Where the values of a job came from, for those who ask: the same way through the schema as filling takes.

use serde_json::Value;

use super::Object;
use super::fill::is_nothing;
use super::read::AT;
use crate::schema::{self, Absent, Rule, Schema, Shape};

/// Where a value of the canonical job came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its path in the canonical job, as `TaskGroups[0].Count`.
    pub(crate) path: String,
    /// Paths in the file where it may stand, the first that is there; none is a default.
    pub(crate) places: Vec<String>,
}

/// The origins of all values of a settled job.
pub(super) fn origins(job: &Object) -> Vec<Origin> {
    let mut origins = Origins { found: Vec::new(), path: String::new() };
    origins.object(job, schema::job());
    origins.found
}

struct Origins {
    found: Vec<Origin>,
    path: String,
}

impl Origins {
    fn object(&mut self, said: &Object, schema: &'static Schema) {
        let at = said.get(AT).and_then(Value::as_str);
        let places: Vec<&str> = at.map(|at| at.split('\n').collect()).unwrap_or_default();
        for rule in schema.attributes.iter().filter(|rule| !rule.json.starts_with('@')) {
            let is_set = said.get(rule.json).is_some_and(|value| !is_nothing(value));
            self.note(rule.json, rule.name, if is_set { &places } else { &[] });
        }
        for rule in schema.blocks.iter().filter(|rule| !rule.json.starts_with('@')) {
            let value = said.get(rule.json).filter(|value| !value.is_null());
            self.block(value, rule, &places);
        }
        if let Some(Value::Object(own)) = said.get("Identity") {
            self.object(own, schema::identity());
        }
    }

    fn block(&mut self, value: Option<&Value>, rule: &'static Rule, places: &[&str]) {
        match (rule.shape, value) {
            (Shape::One, Some(Value::Object(said))) => self.inner(rule.json, said, rule),
            (Shape::One, _) if rule.absent == Absent::Filled => {
                self.inner(rule.json, &Object::new(), rule);
            }
            (Shape::Many, Some(Value::Array(items))) => {
                for (at, item) in items.iter().enumerate() {
                    if let Value::Object(said) = item {
                        self.inner(&format!("{}[{at}]", rule.json), said, rule);
                    }
                }
            }
            (Shape::Keyed, Some(Value::Object(items))) => {
                for (key, item) in items {
                    if let Value::Object(said) = item {
                        self.inner(&format!("{}[{key}]", rule.json), said, rule);
                    }
                }
            }
            (Shape::Texts | Shape::Lists | Shape::Any, Some(Value::Object(items))) => {
                let within: Vec<String> =
                    places.iter().map(|place| format!("{place}/{}", rule.name)).collect();
                let within: Vec<&str> = within.iter().map(String::as_str).collect();
                for key in items.keys() {
                    self.note(&format!("{}[{key}]", rule.json), key, &within);
                }
            }
            _ => {}
        }
    }

    fn inner(&mut self, step: &str, said: &Object, rule: &'static Rule) {
        let before = self.path.len();
        self.path = self.below(step);
        self.object(said, rule.schema());
        self.path.truncate(before);
    }

    fn note(&mut self, json: &str, name: &str, places: &[&str]) {
        let path = self.below(json);
        let places = places.iter().map(|place| format!("{place}/{name}")).collect();
        self.found.push(Origin { path, places });
    }

    fn below(&self, step: &str) -> String {
        if self.path.is_empty() { step.to_owned() } else { format!("{}.{step}", self.path) }
    }
}
