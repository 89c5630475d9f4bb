//! One block, read attribute by attribute. What is unknown, of the wrong type or out of range is reported here, once,
//! and the caller goes on with a default.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::decode::Places;
use crate::expr::{Number, Value};
use crate::report::{Fault, Sink, Span};
use crate::schema::{Schema, Status};
use crate::suggest::did_you_mean;
use crate::tree::{Block, Evaluated};

/// What all readers of a file share.
pub(crate) struct Context<'a> {
    pub(crate) sink: &'a Sink<'a>,
    pub(crate) places: RefCell<Places>,
}

/// A block and the grammar that it follows.
pub(crate) struct Reader<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) path: String,
    pub(crate) header: Span,
    kind: &'a str,
    body: &'a Evaluated,
    schema: &'static Schema,
}

impl<'a> Reader<'a> {
    /// Reads `block` by `schema`; reports the names that are not in it.
    pub(crate) fn new(
        context: &'a Context<'a>,
        block: &'a Block<Value>,
        schema: &'static Schema,
        path: String,
    ) -> Self {
        let header = block.header_span();
        context.places.borrow_mut().record(path.clone(), header);
        let reader = Self { context, path, header, kind: &block.kind, body: &block.body, schema };
        if !schema.open {
            reader.check_names();
        }
        reader
    }

    pub(crate) fn fault(&self, code: &'static str, span: Span, message: String, help: String) {
        self.context.sink.error(Fault::new(code, span, message).help(help));
    }

    fn check_names(&self) {
        for attribute in &self.body.attributes {
            let (name, span) = (attribute.name.as_str(), attribute.name_span);
            match (self.schema.attribute(name), self.schema.block(name)) {
                (Some(known), _) => self.note_status(name, span, known.status, "the attribute"),
                (None, Some(rule)) if rule.or_attribute => {}
                (None, Some(rule)) if rule.status != Status::Acted => {
                    self.note_status(name, span, rule.status, "");
                }
                (None, Some(_)) => {
                    let message = format!("`{name}` is a block, not an attribute");
                    let help = format!("write `{name} {{ … }}`, without `=`");
                    self.fault("wrong-form", span, message, help);
                }
                (None, None) => self.unknown("attribute", name, span),
            }
        }
        let mut seen: Vec<&str> = Vec::new();
        for block in &self.body.blocks {
            let (name, span) = (block.kind.as_str(), block.header_span());
            match (self.schema.block(name), self.schema.attribute(name)) {
                (Some(rule), _) => {
                    self.note_status(name, span, rule.status, "the block");
                    if seen.contains(&name) && !rule.repeated && rule.status == Status::Acted {
                        let message = format!("`{name}` is in this {} twice", self.kind);
                        self.fault("duplicate-block", span, message, "keep one of them".to_owned());
                    }
                    self.check_labels(block, rule.labels, rule.status);
                }
                (None, Some(_)) => {
                    let message = format!("`{name}` is an attribute, not a block");
                    let help = format!("write `{name} = …`");
                    self.fault("wrong-form", span, message, help);
                }
                (None, None) => self.unknown("block", name, span),
            }
            seen.push(name);
        }
    }

    fn check_labels(&self, block: &Block<Value>, wanted: usize, status: Status) {
        if status != Status::Acted {
            return;
        }
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

    fn note_status(&self, name: &str, span: Span, status: Status, what: &str) {
        let what = if what.is_empty() { String::new() } else { format!("{what} ") };
        let fault = match status {
            Status::Acted => return,
            Status::Later => {
                Fault::new("not-acted-on", span, format!("{what}`{name}` is not acted on yet"))
                    .help("the job is used as if it were not there")
            }
            Status::Refused => {
                let message = format!("jobs with `{name}` are not run yet");
                let help = "without it the job would run at once and at each change, which it is not meant to; \
                            keep the file out of `paths` until then";
                self.fault("not-run-yet", span, message, help.to_owned());
                return;
            }
            Status::Gone => {
                Fault::new("deprecated", span, format!("{what}`{name}` has no effect any more"))
                    .help("it can be deleted")
            }
        };
        self.context.sink.warning(fault);
    }

    fn unknown(&self, what: &str, name: &str, span: Span) {
        let code = if what == "block" { "unknown-block" } else { "unknown-attribute" };
        let message = format!("`{}` has no {what} `{name}`", self.kind);
        let help = did_you_mean(name, self.schema.names()).unwrap_or_default();
        self.fault(code, span, message, help);
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.body.attribute(name).is_some_and(|attribute| !attribute.value.is_null())
    }

    /// The value of an attribute that is written, not null and evaluated.
    pub(crate) fn value(&self, name: &str) -> Option<(&'a Value, Span)> {
        let attribute = self.body.attribute(name)?;
        let path = format!("{}/{name}", self.path);
        self.context.places.borrow_mut().record(path, attribute.value_span);
        match &attribute.value {
            Value::Null | Value::Failed => None,
            value => Some((value, attribute.value_span)),
        }
    }

    fn typed<T>(
        &self,
        name: &str,
        needed: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let (value, span) = self.value(name)?;
        let read = read(value);
        if read.is_none() && !value.has_failed() {
            let message = format!("`{name}` is {needed}, this is {}", value.kind());
            self.fault("wrong-type", span, message, String::new());
        }
        read
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.typed(name, "a string", |value| value.as_text().map(|text| text.into_owned()))
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A whole number within a range.
    pub(crate) fn whole<T: TryFrom<i64>>(
        &self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        let number = self.typed(name, "a number", Value::as_number)?;
        let whole = number.as_i64().filter(|n| range.contains(n));
        let read = whole.and_then(|n| T::try_from(n).ok());
        if read.is_none() {
            let message = match number {
                Number::Float(n) => format!("`{name}` is a whole number, this is {n}"),
                Number::Int(n) if *range.end() >= i64::from(u32::MAX) => {
                    format!("`{name}` must be at least {}, this is {n}", range.start())
                }
                Number::Int(n) => {
                    format!("`{name}` must be {} to {}, this is {n}", range.start(), range.end())
                }
            };
            let span = self.place(name);
            self.fault("out-of-range", span, message, String::new());
        }
        read
    }

    /// A number of things, from 0.
    pub(crate) fn count(&self, name: &str) -> Option<u32> {
        self.whole(name, 0..=i64::from(u32::MAX))
    }

    /// A span of time: text with units, or nanoseconds.
    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        let (value, span) = self.value(name)?;
        let read = match value {
            Value::String(text) => model::parse_duration(text).map_err(|error| error.to_string()),
            Value::Number(Number::Int(0)) => Ok(Duration::ZERO),
            // Nomad reads a bare number as nanoseconds, which nobody means who writes 30.
            Value::Number(Number::Int(n)) if *n >= 1_000_000 => {
                Ok(Duration::from_nanos(n.unsigned_abs()))
            }
            Value::Number(n) => Err(format!("{n} without a unit means nanoseconds")),
            other => Err(format!("`{name}` is a duration, this is {}", other.kind())),
        };
        read.map_err(|message| {
            let message = message.split_once("; ").map_or(message.as_str(), |(first, _)| first);
            let help = "write a number with a unit, such as \"30s\", \"1m30s\" or \"500ms\"";
            self.fault("invalid-duration", span, message.to_owned(), help.to_owned());
        })
        .ok()
    }

    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let (value, span) = self.value(name)?;
        let Value::List(items) = value else {
            let message = format!("`{name}` is a list, this is {}", value.kind());
            self.fault("wrong-type", span, message, format!("write {name} = [ … ]"));
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            match item.as_text() {
                Some(text) => texts.push(text.into_owned()),
                None if matches!(item, Value::Null | Value::Failed) => {}
                None => {
                    let message =
                        format!("`{name}` is a list of strings, this has {}", item.kind());
                    self.fault("wrong-type", span, message, String::new());
                }
            }
        }
        Some(texts)
    }

    /// One of several words.
    pub(crate) fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("`{name}` cannot be `{text}`; it is one of {}", known.join(", "));
            let help = did_you_mean(&text, known).unwrap_or_default();
            self.fault("invalid-value", self.place(name), message, help);
        }
        found
    }

    /// The place of an attribute's value, or of the block.
    pub(crate) fn place(&self, name: &str) -> Span {
        self.body.attribute(name).map_or(self.header, |attribute| attribute.value_span)
    }

    pub(crate) fn missing(&self, name: &str, help: &str) {
        if self.body.attribute(name).is_none_or(|attribute| attribute.value.is_null()) {
            let message = format!("`{}` needs `{name}`", self.kind);
            self.fault("missing-attribute", self.header, message, help.to_owned());
        }
    }

    /// The blocks of a kind, each with its reader.
    pub(crate) fn blocks(&self, kind: &'a str) -> Vec<(Reader<'a>, &'a Block<Value>)> {
        let Some(rule) = self.schema.block(kind) else { return Vec::new() };
        self.body
            .blocks(kind)
            .enumerate()
            .map(|(at, block)| {
                let path = format!("{}/{kind}.{at}", self.path);
                (Reader::new(self.context, block, rule.schema(), path), block)
            })
            .collect()
    }

    /// The only block of a kind.
    pub(crate) fn block(&self, kind: &'a str) -> Option<Reader<'a>> {
        let rule = self.schema.block(kind)?;
        let block = self.body.blocks(kind).next()?;
        let path = format!("{}/{kind}", self.path);
        Some(Reader::new(self.context, block, rule.schema(), path))
    }

    /// `name = { … }` and `name { … }` alike. Both at once is an error.
    pub(crate) fn open_map(&self, name: &'a str) -> BTreeMap<String, Value> {
        let block = self.body.blocks(name).next();
        if let (Some(block), true) = (block, self.is_set(name)) {
            let message = format!("`{name}` is here as a block and as an attribute");
            self.fault("duplicate-block", block.header_span(), message, "keep one".to_owned());
        }
        if let Some(block) = block {
            let path = format!("{}/{name}", self.path);
            self.context.places.borrow_mut().record(path, block.header_span());
            return super::config::as_map(&block.body);
        }
        let read = self.typed(name, "a map", |value| match value {
            Value::Object(items) => Some(items.clone()),
            // HCL's JSON form wraps maps into lists.
            Value::List(items) if items.len() == 1 => match items.first() {
                Some(Value::Object(items)) => Some(items.clone()),
                _ => None,
            },
            _ => None,
        });
        read.unwrap_or_default()
    }

    /// A map whose values are text.
    pub(crate) fn text_map(&self, name: &'a str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (key, value) in self.open_map(name) {
            match value.as_text() {
                Some(text) => {
                    texts.insert(key, text.into_owned());
                }
                None if value.is_null() || value.has_failed() => {}
                None => {
                    let span = self.place_in(name, &key);
                    let message =
                        format!("`{key}` in `{name}` is a string, this is {}", value.kind());
                    self.fault("wrong-type", span, message, String::new());
                }
            }
        }
        texts
    }

    fn place_in(&self, name: &'a str, key: &str) -> Span {
        let block = self.body.blocks(name).next();
        let inner = block.and_then(|block| block.body.attribute(key)).map(|a| a.value_span);
        inner.or_else(|| block.map(Block::header_span)).unwrap_or_else(|| self.place(name))
    }
}
