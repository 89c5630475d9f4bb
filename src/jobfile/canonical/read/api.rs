//! A job as Nomad's API writes it. The names are those of the same table; as in Go they may be written in any case, and
//! null says nothing.

use serde_json::Value as Json;

use super::{AT, Reading};
use crate::canonical::Object;
use crate::check::status;
use crate::expr::Value;
use crate::report::Span;
use crate::schema::{self, Attribute, Rule, Schema, Shape, Unset};
use crate::suggest::did_you_mean;
use crate::yaml::{Key, Kind, Node};

/// What a server writes into a job, and older versions of it wrote. It says nothing about the job that is wanted.
const OF_SERVER: &[&str] = &[
    "Stop",
    "ParentID",
    "Dispatched",
    "DispatchIdempotencyToken",
    "Payload",
    "ConsulNamespace",
    "VaultNamespace",
    "NomadTokenID",
    "Status",
    "StatusDescription",
    "Stable",
    "Version",
    "SubmitTime",
    "CreateIndex",
    "ModifyIndex",
    "JobModifyIndex",
    "VersionTag",
    "ConsulToken",
    "VaultToken",
    // Herder's own.
    "RevertsTo",
    "Origin",
    "SpecHash",
];

/// Fields of Nomad's that hold the same as another.
const ALIASES: [(&str, &str); 2] = [("ExposeConfig", "Expose"), ("Path", "Paths")];

/// An object that is being read.
#[derive(Clone, Copy)]
struct Here<'a> {
    /// Its name in job files.
    kind: &'a str,
    /// Its name in JSON, for messages.
    json: &'a str,
    path: &'a str,
    span: Span,
    schema: &'static Schema,
    label: Option<&'static str>,
}

/// What a name means in an object.
enum Meaning {
    Attribute(&'static Attribute),
    Block(&'static Rule),
    Label(&'static str),
    /// A task's own identity, which the table has in the list of them.
    Identity,
    Nothing,
    Unknown,
}

impl Here<'_> {
    fn meaning(&self, name: &str) -> Meaning {
        let name = match ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)) {
            Some((_, other)) if self.knows(other) && !self.knows(name) => other,
            _ => name,
        };
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        if let Some(rule) = self.schema.attributes.iter().find(|rule| is(rule.json)) {
            return Meaning::Attribute(rule);
        }
        if let Some(rule) = self.schema.blocks.iter().find(|rule| is(rule.json)) {
            return Meaning::Block(rule);
        }
        if let Some(label) = self.label.filter(|label| is(label)) {
            return Meaning::Label(label);
        }
        if self.of_server().iter().any(|known| is(known)) {
            return Meaning::Nothing;
        }
        if self.kind == "task" && is("Identity") { Meaning::Identity } else { Meaning::Unknown }
    }

    fn knows(&self, name: &str) -> bool {
        self.names().any(|known| known.eq_ignore_ascii_case(name))
    }

    fn of_server(&self) -> &'static [&'static str] {
        match self.kind {
            "job" => OF_SERVER,
            "periodic" => &["SpecType"],
            "scaling" => &["ID", "Namespace", "Target", "CreateIndex", "ModifyIndex"],
            "service" => &["ID", "Namespace"],
            _ => &[],
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let attributes = self.schema.attributes.iter().map(|rule| rule.json);
        let blocks = self.schema.blocks.iter().map(|rule| rule.json);
        attributes.chain(blocks).filter(|name| !name.starts_with('@')).chain(self.label)
    }
}

impl Reading<'_> {
    /// The object of a job.
    pub(in crate::canonical) fn api_job(&mut self, node: &Node) -> Object {
        let schema = schema::job();
        let span = place_of(node, Some("ID"));
        let here = Here { kind: "job", json: "Job", path: "job", span, schema, label: None };
        self.places.record("job".to_owned(), span);
        let mut said = self.api_object(node, here);
        match said.get("ID").and_then(Json::as_str).filter(|id| !id.is_empty()) {
            Some(id) => {
                let label = Json::from(id);
                said.insert("@label".to_owned(), label);
            }
            None if matches!(node.kind, Kind::Map(_)) => {
                let message = "the job needs an `ID`".to_owned();
                self.fault("missing-attribute", span, message, "write \"ID\": \"name\"".to_owned());
            }
            None => {}
        }
        said
    }

    fn api_object(&mut self, node: &Node, here: Here<'_>) -> Object {
        let mut said = Object::new();
        said.insert(AT.to_owned(), here.path.into());
        let Kind::Map(items) = &node.kind else {
            self.not(here.json, "an object", node);
            self.places.record_broken(here.path);
            return said;
        };
        let mut seen: Vec<&str> = Vec::new();
        for (key, value) in items {
            if seen.iter().any(|other| other.eq_ignore_ascii_case(&key.text)) {
                let message = format!("`{}` is in this object twice", key.text);
                self.fault("duplicate-key", key.span, message, "keep one of them".to_owned());
                continue;
            }
            let meaning = here.meaning(&key.text);
            if matches!(value.kind, Kind::Null) && !matches!(meaning, Meaning::Unknown) {
                continue;
            }
            seen.push(&key.text);
            match meaning {
                // What is written for a task that has cores of its own, and no `cpu`.
                Meaning::Attribute(rule) if rule.json == "CPU" && has_cores(node, value) => {}
                Meaning::Attribute(rule) => self.api_attribute(rule, value, here, &mut said),
                Meaning::Block(rule) => self.api_block(rule, (key, value), here, &mut said),
                Meaning::Label(label) => match &value.kind {
                    Kind::Text(text) => {
                        said.insert(label.to_owned(), text.as_str().into());
                    }
                    _ => self.not(label, "a string", value),
                },
                Meaning::Identity => {
                    let path = format!("{}/identity", here.path);
                    let inner = Here {
                        kind: "identity",
                        json: "Identity",
                        path: &path,
                        span: key.span,
                        schema: schema::identity(),
                        label: None,
                    };
                    self.places.record(path.clone(), key.span);
                    let read = self.api_object(value, inner);
                    said.insert("Identity".to_owned(), read.into());
                }
                Meaning::Nothing => {}
                Meaning::Unknown => {
                    let message = format!("`{}` has no field `{}`", here.json, key.text);
                    let help = did_you_mean(&key.text, here.names()).unwrap_or_default();
                    self.fault("unknown-attribute", key.span, message, help);
                }
            }
        }
        self.api_missing(here, &seen, &mut said);
        said
    }

    fn api_missing(&self, here: Here<'_>, seen: &[&str], said: &mut Object) {
        let is_seen = |name: &str| seen.iter().any(|other| other.eq_ignore_ascii_case(name));
        let required = || here.schema.attributes.iter().filter(|rule| rule.required.is_some());
        let label = here.label.filter(|label| !label.starts_with('@'));
        for name in required().map(|rule| rule.json).chain(label) {
            if !is_seen(name) {
                let message = format!("an object in `{}` needs `{name}`", here.json);
                self.fault("missing-attribute", here.span, message, String::new());
            }
        }
        for rule in required() {
            if let (schema::Kind::Choice(words), false) = (rule.kind, said.contains_key(rule.json))
            {
                // It has been reported; with some word in its place the rest of the job can be looked at.
                let some = words.iter().find(|word| !word.is_empty()).copied().unwrap_or_default();
                said.insert(rule.json.to_owned(), some.into());
            }
        }
    }

    fn api_attribute(
        &mut self,
        rule: &'static Attribute,
        node: &Node,
        here: Here<'_>,
        said: &mut Object,
    ) {
        use schema::Kind as Type;
        let (fits, needed) = match (rule.kind, &node.kind) {
            (Type::Text | Type::Choice(_), kind) => (matches!(kind, Kind::Text(_)), "a string"),
            (Type::Flag, kind) => (matches!(kind, Kind::Bool(_)), "true or false"),
            (Type::Whole(..), kind) => (matches!(kind, Kind::Number(_)), "a number"),
            (Type::Duration, kind) => {
                (matches!(kind, Kind::Number(_) | Kind::Text(_)), "a number of nanoseconds")
            }
            (Type::Texts, Kind::List(items)) => {
                (items.iter().all(|item| matches!(item.kind, Kind::Text(_))), "a list of strings")
            }
            (Type::Ports, Kind::List(items)) => {
                (items.iter().all(|item| matches!(item.kind, Kind::Number(_))), "a list of numbers")
            }
            (Type::Texts | Type::Ports, _) => (false, "a list"),
            (Type::TextMap, kind) => (matches!(kind, Kind::Map(_)), "an object"),
        };
        if !fits {
            return self.not(rule.json, needed, node);
        }
        let named = Attribute { name: rule.json, ..*rule };
        let Some(read) = self.value(&named, &node.to_value(), node.span) else { return };
        let is_unset = match (rule.unset, &read) {
            (Unset::Text(text), Json::String(read)) => text == read,
            (Unset::Flag(flag), Json::Bool(read)) => flag == *read,
            (Unset::Whole(number), read) => read.as_i64() == Some(number),
            (_, Json::Array(items)) => items.is_empty(),
            (_, read) => matches!(read.as_str(), Some("")) || read == &Json::Bool(false),
        };
        if !is_unset {
            // What only spells out a default is as if it were not there: rules ask what somebody wanted.
            self.places.record(format!("{}/{}", here.path, rule.name), node.span);
            status::note(self.sink, here.kind, rule.name, rule.status, node.span);
        }
        said.insert(rule.json.to_owned(), read);
    }

    fn api_block(
        &mut self,
        rule: &'static Rule,
        (key, node): (&Key, &Node),
        here: Here<'_>,
        said: &mut Object,
    ) {
        let is_empty = match &node.kind {
            Kind::List(items) => items.is_empty() && rule.shape == Shape::Many,
            Kind::Map(items) => items.is_empty() && !matches!(rule.shape, Shape::One | Shape::Many),
            _ => false,
        };
        if is_empty {
            return;
        }
        status::note(self.sink, here.kind, rule.name, rule.status, key.span);
        let read = match (rule.shape, &node.kind) {
            (Shape::One, _) => {
                let path = format!("{}/{}", here.path, rule.name);
                self.api_part(rule, node, &path, key.span).into()
            }
            (Shape::Many, Kind::List(items)) => {
                let items = items.iter().filter(|item| !matches!(item.kind, Kind::Null));
                let parts = items.enumerate().map(|(at, item)| {
                    let span = place_of(item, rule.label);
                    let path = match text_of(item, rule.label) {
                        // Rules speak of a port by its label, because passes part fixed ports from others.
                        Some(label) if rule.json.ends_with("Ports") => {
                            format!("{}/port/{label}", here.path)
                        }
                        _ => format!("{}/{}.{at}", here.path, rule.name),
                    };
                    Json::from(self.api_part(rule, item, &path, span))
                });
                parts.collect()
            }
            (Shape::Keyed, Kind::Map(items)) => {
                let mut parts = Object::new();
                for (key, item) in items {
                    let path = format!("{}/{}/{}", here.path, rule.name, key.text);
                    self.places.record(path.clone(), key.span);
                    let inner = Here {
                        kind: rule.name,
                        json: rule.json,
                        path: &path,
                        span: key.span,
                        schema: rule.schema(),
                        label: rule.label,
                    };
                    let mut part = self.api_keyed(item, inner);
                    if let Some(label) = rule.label {
                        part.insert(label.to_owned(), key.text.as_str().into());
                    }
                    parts.insert(key.text.clone(), part.into());
                }
                parts.into()
            }
            (Shape::Texts | Shape::Lists | Shape::Any, Kind::Map(items)) => {
                let path = format!("{}/{}", here.path, rule.name);
                self.places.record(path.clone(), key.span);
                let mut read = Object::new();
                for (key, item) in items {
                    self.places.record(format!("{path}/{}", key.text), item.span);
                    if let Some(value) = self.api_entry(rule, key, item) {
                        read.insert(key.text.clone(), value);
                    }
                }
                read.into()
            }
            (Shape::Many, _) => return self.not(rule.json, "a list of objects", node),
            _ => return self.not(rule.json, "an object", node),
        };
        said.insert(rule.json.to_owned(), read);
    }

    fn api_part(&mut self, rule: &'static Rule, node: &Node, path: &str, span: Span) -> Object {
        let label = rule.label;
        self.places.record(path.to_owned(), span);
        let schema = rule.schema();
        self.api_object(node, Here { kind: rule.name, json: rule.json, path, span, schema, label })
    }

    /// An object whose key is its name, so that it need not repeat it.
    fn api_keyed(&mut self, node: &Node, here: Here<'_>) -> Object {
        let Kind::Map(items) = &node.kind else { return self.api_object(node, here) };
        let is_label =
            |key: &Key| here.label.is_some_and(|label| label.eq_ignore_ascii_case(&key.text));
        let rest = items.iter().filter(|(key, _)| !is_label(key)).cloned().collect();
        let node = Node { span: node.span, kind: Kind::Map(rest) };
        self.api_object(&node, Here { label: None, ..here })
    }

    /// A value of a map with any keys.
    fn api_entry(&self, rule: &Rule, key: &Key, node: &Node) -> Option<Json> {
        let value = node.to_value();
        match (rule.shape, &node.kind) {
            (_, Kind::Null) => None,
            (Shape::Texts, Kind::Text(text)) => Some(text.as_str().into()),
            (Shape::Lists, Kind::List(items))
                if items.iter().all(|item| matches!(item.kind, Kind::Text(_))) =>
            {
                Some(value.to_json())
            }
            // As a map in a job file: one way to write it means the same as the other.
            (Shape::Any, Kind::Map(_)) => Some(Json::Array(vec![value.to_json()])),
            (Shape::Any, _) => Some(value.to_json()),
            (Shape::Lists, _) => {
                self.not(&key.text, "a list of strings", node);
                None
            }
            _ => {
                self.not(&key.text, "a string", node);
                None
            }
        }
    }

    fn not(&self, name: &str, needed: &str, node: &Node) {
        let found = match node.to_value() {
            Value::Object(_) => "an object",
            other => other.kind(),
        };
        let message = format!("`{name}` is {needed}, this is {found}");
        self.fault("wrong-type", start_of(node), message, String::new());
    }
}

/// The value of a field with this name, if it is text.
fn text_of<'a>(node: &'a Node, name: Option<&str>) -> Option<&'a str> {
    let Kind::Map(items) = &node.kind else { return None };
    let name = name?;
    items.iter().find_map(|(key, value)| match &value.kind {
        Kind::Text(text) if key.text.eq_ignore_ascii_case(name) => Some(text.as_str()),
        _ => None,
    })
}

/// Whether this zero stands beside a number of cores.
fn has_cores(resources: &Node, cpu: &Node) -> bool {
    let number = |node: &Node| match &node.kind {
        Kind::Number(number) => number.as_i64(),
        _ => None,
    };
    let Kind::Map(items) = &resources.kind else { return false };
    let cores = items.iter().find(|(key, _)| key.text.eq_ignore_ascii_case("Cores"));
    number(cpu) == Some(0) && cores.and_then(|(_, cores)| number(cores)).is_some_and(|n| n > 0)
}

/// Where an object says what it is called; or its beginning.
fn place_of(node: &Node, label: Option<&str>) -> Span {
    if let (Kind::Map(items), Some(label)) = (&node.kind, label)
        && let Some((_, value)) = items.iter().find(|(key, _)| key.text.eq_ignore_ascii_case(label))
    {
        return value.span;
    }
    start_of(node)
}

/// What a finding about a value points at: all of it, or the bracket that it begins with.
fn start_of(node: &Node) -> Span {
    match node.kind {
        Kind::Map(_) | Kind::List(_) => Span::new(node.span.start, node.span.start + 1),
        _ => node.span,
    }
}
