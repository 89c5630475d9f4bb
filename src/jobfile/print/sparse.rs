//! What must be said for a job to come out as it is. Everything else follows from inheritance and defaults.
//!
//! No rule of theirs is repeated here. A job that says nothing is brought into its canonical form, what differs from the
//! job that is wanted is said, and so on, level by level from the top: what a job says its groups may inherit.

use model::Job;
use serde_json::Value;

use crate::canonical::{self, Object};
use crate::schema::{self, Schema, Shape};

/// Objects nest no deeper than this in the schema.
const MAX_DEPTH: usize = 12;

/// How often all of them are gone through.
const MAX_ROUNDS: usize = 3;

/// Attributes that the defaults of others beside them depend on. They are said before those are looked at.
const FIRST: [&str; 8] =
    ["Type", "Cores", "ChangeMode", "GetterMode", "GetterSource", "Name", "Enabled", "Attempts"];

/// The least that says this job, with the names of Nomad's API.
pub(super) fn sparse(job: &Job) -> Object {
    let wanted = match serde_json::to_value(job) {
        Ok(Value::Object(job)) => gathered(job),
        _ => Object::new(),
    };
    let mut said = skeleton(&wanted, schema::job());
    said.insert("@label".to_owned(), job.id.as_str().into());
    // What is said further down may change a default further up: a group's count is its scaling's least.
    for step in 0..MAX_ROUNDS * MAX_DEPTH {
        let mut is_same = true;
        for first in [true, false] {
            let found = gathered(canonical::complete(said.clone()));
            let mut adding = Adding { depth: step % MAX_DEPTH, first, is_same: true };
            adding.object(&wanted, &found, &mut said, schema::job(), 0);
            is_same = adding.is_same;
        }
        if is_same {
            break;
        }
    }
    said
}

/// Brings the identity that a pass moves out of the list back to the front of it.
fn gathered(mut job: Object) -> Object {
    for group in objects(&mut job, "TaskGroups") {
        for task in objects(group, "Tasks") {
            let Some(own @ Value::Object(_)) = task.remove("Identity") else { continue };
            match task.get_mut("Identities").and_then(Value::as_array_mut) {
                Some(all) => all.insert(0, own),
                None => {
                    task.insert("Identities".to_owned(), Value::Array(vec![own]));
                }
            }
        }
    }
    job
}

fn objects<'a>(parent: &'a mut Object, name: &str) -> impl Iterator<Item = &'a mut Object> + 'a {
    let list = parent.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// What has no default, or must be said whatever it is: which parts there are, what they are called, and maps with any keys.
fn skeleton(wanted: &Object, schema: &'static Schema) -> Object {
    let mut said = Object::new();
    for rule in schema.attributes.iter().filter(|rule| rule.required.is_some()) {
        if let Some(value) = wanted.get(rule.json).filter(|value| !value.is_null()) {
            said.insert(rule.json.to_owned(), value.clone());
        }
    }
    for rule in schema.blocks.iter().filter(|rule| !rule.json.starts_with('@')) {
        let part = |value: &Value| match value {
            Value::Object(wanted) => {
                let mut said = skeleton(wanted, rule.schema());
                // An identity's name decides where it goes.
                let label = match rule.json {
                    "Identities" => Some("Name"),
                    _ => rule.label,
                };
                if let Some(label) = label.filter(|label| !label.starts_with('@'))
                    && let Some(value) = wanted.get(label)
                    && (rule.label.is_some() || value != "")
                {
                    said.insert(label.to_owned(), value.clone());
                }
                Value::Object(said)
            }
            other => other.clone(),
        };
        let value = match (rule.shape, wanted.get(rule.json)) {
            (Shape::Many, Some(Value::Array(items))) => items.iter().map(part).collect(),
            (Shape::Keyed, Some(Value::Object(items))) => {
                let items = items.iter().map(|(key, item)| (key.clone(), part(item)));
                Value::Object(items.collect())
            }
            (Shape::Texts | Shape::Lists | Shape::Any, Some(Value::Object(items)))
                if !items.is_empty() =>
            {
                Value::Object(items.clone())
            }
            _ => continue,
        };
        said.insert(rule.json.to_owned(), value);
    }
    said
}

/// Says what differs at one depth.
struct Adding {
    depth: usize,
    /// Only what others depend on.
    first: bool,
    is_same: bool,
}

impl Adding {
    fn object(
        &mut self,
        wanted: &Object,
        found: &Object,
        said: &mut Object,
        schema: &'static Schema,
        depth: usize,
    ) {
        let nothing = Object::new();
        self.attributes(wanted, found, said, schema, depth);
        for rule in schema.blocks.iter().filter(|rule| !rule.json.starts_with('@')) {
            let (Some(wanted), found) = (wanted.get(rule.json), found.get(rule.json)) else {
                continue;
            };
            let within = said.get_mut(rule.json);
            match (rule.shape, wanted) {
                (Shape::One, Value::Object(wanted)) => {
                    let found = found.and_then(Value::as_object);
                    let mut own = match within {
                        Some(Value::Object(said)) => std::mem::take(said),
                        _ => skeleton(wanted, rule.schema()),
                    };
                    self.object(
                        wanted,
                        found.unwrap_or(&nothing),
                        &mut own,
                        rule.schema(),
                        depth + 1,
                    );
                    let is_missing = found.is_none();
                    self.is_same &= !is_missing;
                    if !own.is_empty()
                        || said.contains_key(rule.json)
                        || (is_missing && depth == self.depth)
                    {
                        said.insert(rule.json.to_owned(), own.into());
                    }
                }
                (Shape::Many, Value::Array(wanted)) => {
                    let found = found.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                    let said = within.and_then(Value::as_array_mut);
                    for (at, (wanted, said)) in
                        wanted.iter().zip(said.into_iter().flatten()).enumerate()
                    {
                        self.part(wanted, found.get(at), said, rule.schema(), depth);
                    }
                }
                (Shape::Keyed, Value::Object(wanted)) => {
                    for (key, said) in within.and_then(Value::as_object_mut).into_iter().flatten() {
                        let found = found.and_then(|found| found.get(key));
                        if let Some(wanted) = wanted.get(key) {
                            self.part(wanted, found, said, rule.schema(), depth);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn part(
        &mut self,
        wanted: &Value,
        found: Option<&Value>,
        said: &mut Value,
        schema: &'static Schema,
        depth: usize,
    ) {
        if let (Value::Object(wanted), Value::Object(said)) = (wanted, said) {
            let nothing = Object::new();
            let found = found.and_then(Value::as_object).unwrap_or(&nothing);
            self.object(wanted, found, said, schema, depth + 1);
        }
    }

    fn attributes(
        &mut self,
        wanted: &Object,
        found: &Object,
        said: &mut Object,
        schema: &'static Schema,
        depth: usize,
    ) {
        for rule in schema.attributes.iter().filter(|rule| !rule.json.starts_with('@')) {
            let Some(value) = wanted.get(rule.json).filter(|value| !value.is_null()) else {
                continue;
            };
            if found.get(rule.json) == Some(value) {
                continue;
            }
            self.is_same = false;
            if depth == self.depth && (!self.first || FIRST.contains(&rule.json)) {
                said.insert(rule.json.to_owned(), value.clone());
            }
        }
    }
}
