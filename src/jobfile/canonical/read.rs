//! What the file says, by the table: names, types and ranges are checked here, once. What is wrong is reported and left
//! out.

mod api;
mod open;
mod value;

use std::cell::Cell;

use serde_json::Value as Json;

use super::{Object, Places};
use crate::check::{hint, status};
use crate::expr::Value;
use crate::report::{Fault, Sink, Span};
use crate::schema::{self, Schema, Shape};
use crate::tree::{Block, Evaluated};

/// The key under which an object says where it stands in the file.
pub(crate) const AT: &str = "@at";

/// Reads one file's job.
pub(super) struct Reading<'a> {
    sink: &'a Sink<'a>,
    places: Places,
    /// How many mistakes have been found.
    faults: Cell<usize>,
}

/// A block that is being read.
#[derive(Clone, Copy)]
struct Here<'a> {
    /// The block's name, for messages.
    kind: &'a str,
    header: Span,
    path: &'a str,
    schema: &'static Schema,
}

impl<'a> Reading<'a> {
    pub(super) fn new(sink: &'a Sink<'a>) -> Self {
        Self { sink, places: Places::default(), faults: Cell::new(0) }
    }

    pub(super) fn into_places(self) -> Places {
        self.places
    }

    /// The `job` block, with its label.
    pub(super) fn job(&mut self, block: &Block<Value>) -> Object {
        let header = block.header_span();
        let here = Here { kind: "job", header, path: "job", schema: schema::job() };
        self.places.record("job".to_owned(), header);
        if block.labels.is_empty() {
            self.places.record_unlabelled("job");
        }
        let mut said = self.body(&block.body, here);
        said.insert("@label".to_owned(), block.label().into());
        said
    }

    fn body(&mut self, body: &Evaluated, here: Here<'_>) -> Object {
        let mut said = Object::new();
        said.insert(AT.to_owned(), here.path.into());
        if body.incomplete {
            self.places.record_broken(here.path);
        }
        for attribute in &body.attributes {
            let (name, span) = (attribute.name.as_str(), attribute.name_span);
            match (here.schema.attribute(name), here.schema.block(name)) {
                (Some(rule), _) => {
                    if !is_nothing(&attribute.value) {
                        status::note(self.sink, here.kind, name, rule.status, span);
                    }
                    self.places.record_attribute(here.path, name, attribute.value_span);
                    let faults = self.faults.get();
                    if let Some(read) = self.value(rule, &attribute.value, attribute.value_span) {
                        said.insert(rule.json.to_owned(), read);
                    }
                    if attribute.value.has_failed() || self.faults.get() > faults {
                        // It is not missing, only wrong.
                        self.places.record_broken(here.path);
                    }
                }
                (None, Some(rule)) if rule.or_attribute => {
                    status::note(self.sink, here.kind, name, rule.status, span);
                    self.map_attribute(rule, attribute, body, here, &mut said);
                }
                (None, Some(rule)) => {
                    let message = format!("`{name}` is a block, not an attribute");
                    let label = if rule.labels() > 0 { " \"name\"" } else { "" };
                    let help = format!("write `{name}{label} {{ … }}`, without `=`");
                    self.places.record_broken(here.path);
                    self.fault("wrong-form", span, message, help);
                }
                (None, None) => self.unknown("attribute", name, span, here),
            }
        }
        let mut numbers: Vec<(&str, usize)> = Vec::new();
        for block in &body.blocks {
            let name = block.kind.as_str();
            let Some(rule) = here.schema.block(name) else {
                if name == "network" {
                    // The ports are somewhere, so that nobody is to ask for them.
                    let group = here.path.split("/task").next().unwrap_or_default();
                    self.places.record_broken(&format!("{group}/network"));
                }
                self.no_such_block(block, here);
                continue;
            };
            status::note(self.sink, here.kind, name, rule.status, block.header_span());
            let number = match numbers.iter_mut().find(|(kind, _)| *kind == name) {
                Some((_, number)) => {
                    *number += 1;
                    *number
                }
                None => {
                    numbers.push((name, 0));
                    0
                }
            };
            if number > 0 && !rule.repeated() {
                let message = format!("`{name}` is in this {} twice", here.kind);
                let fault = Fault::new("duplicate-block", block.header_span(), message);
                let first = body.blocks(name).next().map(Block::header_span).unwrap_or_default();
                self.sink
                    .error(fault.help("make one block of them").also(first, "the first is here"));
                continue;
            }
            self.labels(block, rule.labels());
            self.block(block, rule, number, here, &mut said);
        }
        self.missing(body, here, &mut said);
        said
    }

    fn block(
        &mut self,
        block: &Block<Value>,
        rule: &'static schema::Rule,
        number: usize,
        here: Here<'_>,
        said: &mut Object,
    ) {
        let (kind, header) = (block.kind.as_str(), block.header_span());
        let path = match rule.shape {
            // Rules speak of a port by its label, because passes part fixed ports from others.
            _ if kind == "port" => format!("{}/port/{}", here.path, block.label()),
            Shape::Keyed => format!("{}/{kind}/{}", here.path, block.label()),
            Shape::Many => format!("{}/{kind}.{number}", here.path),
            _ => format!("{}/{kind}", here.path),
        };
        self.places.record_each(&path, header);
        if block.labels.len() < rule.labels() {
            self.places.record_unlabelled(&path);
        }
        let inner = Here { kind, header, path: &path, schema: rule.schema() };
        match rule.shape {
            Shape::One => {
                let read = self.body(&block.body, inner);
                said.insert(rule.json.to_owned(), read.into());
            }
            Shape::Many => {
                let mut read = self.body(&block.body, inner);
                if let Some(label) = rule.label {
                    read.insert(label.to_owned(), block.label().into());
                }
                match said.get_mut(rule.json).and_then(Json::as_array_mut) {
                    Some(list) => list.push(read.into()),
                    None => {
                        said.insert(rule.json.to_owned(), Json::Array(vec![read.into()]));
                    }
                }
            }
            Shape::Keyed => {
                let mut read = self.body(&block.body, inner);
                if let Some(label) = rule.label {
                    read.insert(label.to_owned(), block.label().into());
                }
                let all = said.entry(rule.json).or_insert_with(|| Object::new().into());
                if let Some(all) = all.as_object_mut()
                    && all.insert(block.label().to_owned(), read.into()).is_some()
                {
                    let message =
                        format!("the {kind} `{}` is in this {} twice", block.label(), here.kind);
                    let help = "give it another name".to_owned();
                    self.fault("duplicate-name", header, message, help);
                }
            }
            Shape::Texts | Shape::Lists | Shape::Any => {
                let read = self.open_body(rule, &block.body, inner);
                said.insert(rule.json.to_owned(), read.into());
            }
        }
    }

    fn missing(&mut self, body: &Evaluated, here: Here<'_>, said: &mut Object) {
        for rule in here.schema.attributes {
            let Some(help) = rule.required else { continue };
            let written = body.attribute(rule.name);
            if written.is_none_or(|attribute| attribute.value.is_null()) && !body.incomplete {
                let message = format!("`{}` needs `{}`", here.kind, rule.name);
                self.fault("missing-attribute", here.header, message, help.to_owned());
                self.places.record_broken(here.path);
            }
            if let (schema::Kind::Choice(words), false) = (rule.kind, said.contains_key(rule.json))
            {
                // It has been reported; with some word in its place the rest of the job can be looked at.
                let some = words.iter().find(|word| !word.is_empty()).copied().unwrap_or_default();
                said.insert(rule.json.to_owned(), some.into());
            }
        }
    }

    fn no_such_block(&self, block: &Block<Value>, here: Here<'_>) {
        let (name, span) = (block.kind.as_str(), block.header_span());
        if here.schema.attribute(name).is_some() {
            let message = format!("`{name}` is an attribute, not a block");
            self.fault("wrong-form", span, message, format!("write `{name} = …`"));
        } else {
            self.unknown("block", name, span, here);
        }
    }

    fn labels(&self, block: &Block<Value>, wanted: usize) {
        let (name, given) = (&block.kind, block.labels.len());
        if given < wanted {
            let message = format!("`{name}` needs a label");
            let help = format!("write {name} \"name\" {{ … }}");
            self.fault("missing-label", block.header_span(), message, help);
        } else if given > wanted {
            let span =
                block.labels.get(wanted).map_or_else(|| block.header_span(), |label| label.span);
            let message = match wanted {
                0 => format!("`{name}` takes no label"),
                _ => format!("`{name}` takes one label only"),
            };
            self.fault("too-many-labels", span, message, String::new());
        }
    }

    fn unknown(&self, what: &str, name: &str, span: Span, here: Here<'_>) {
        let code = if what == "block" { "unknown-block" } else { "unknown-attribute" };
        let message = format!("`{}` has no {what} `{name}`", here.kind);
        let help = hint::help(here.path, here.kind, name, here.schema);
        self.fault(code, span, message, help);
    }

    fn fault(&self, code: &'static str, span: Span, message: String, help: String) {
        self.faults.set(self.faults.get() + 1);
        self.sink.error(Fault::new(code, span, message).help(help));
    }
}

/// Whether a value says no more than that what its name stands for is not wanted.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => matches!(text.as_str(), "" | "false" | "0" | "default"),
        other => other.as_number().is_some_and(|number| number.as_i64() == Some(0)),
    }
}
