//! One attribute's value. Scalars convert into each other where HCL converts them.

use serde_json::Value as Json;

use super::Reading;
use crate::expr::{Number, Value};
use crate::report::{Fault, Span};
use crate::schema::{Attribute, Kind};
use crate::suggest::did_you_mean;

/// A number without a unit, below which nobody means nanoseconds.
const PLAUSIBLE_NANOSECONDS: i64 = 1_000_000;

impl Reading<'_> {
    /// The value in JSON; nothing where it is null, says what is meant anyway, or is wrong.
    pub(super) fn value(&self, rule: &Attribute, value: &Value, span: Span) -> Option<Json> {
        if matches!(value, Value::Null | Value::Failed) {
            return None;
        }
        let name = rule.name;
        match rule.kind {
            Kind::Text => self.text(name, value, span).map(Json::from),
            Kind::Choice(words) => {
                // An empty word, where it is one, says no more than none.
                let word = self.choice(name, words, value, span);
                word.filter(|word| !word.is_empty()).map(Json::from)
            }
            Kind::Flag => self.typed(name, "true or false", value, span, Value::as_bool),
            Kind::Whole(least, most) => {
                self.whole(name, (least, most), value, span).map(Json::from)
            }
            Kind::Duration => self.duration(name, value, span).map(Json::from),
            Kind::Texts => self.texts(name, value, span),
            Kind::Ports => self.ports(name, value, span),
            Kind::TextMap => self.text_map(name, value, span),
        }
    }

    fn typed<T: Into<Json>>(
        &self,
        name: &str,
        needed: &str,
        value: &Value,
        span: Span,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<Json> {
        let read = read(value);
        if read.is_none() {
            self.wrong_type(name, needed, value, span);
        }
        read.map(Into::into)
    }

    fn wrong_type(&self, name: &str, needed: &str, value: &Value, span: Span) {
        if !value.has_failed() {
            if let Some(word) = self.unquoted(value, span) {
                let message = format!("`{name}` is {needed}, `{word}` is none");
                let help = match (needed, word.to_ascii_lowercase().as_str()) {
                    ("true or false", "true" | "yes" | "on") => format!("write {name} = true"),
                    ("true or false", "false" | "no" | "off") => format!("write {name} = false"),
                    _ => format!("a variable's value is var.{word}, a local's local.{word}"),
                };
                return self.fault("wrong-type", span, message, help);
            }
            let message = format!("`{name}` is {needed}, this is {}", what(name, value));
            self.fault("wrong-type", span, message, how(name, needed, value));
        }
    }

    /// The word that a value is made of, where it stands without quotes and is no reference that anybody knows.
    fn unquoted<'v>(&self, value: &'v Value, span: Span) -> Option<&'v str> {
        let Value::String(text) = value else { return None };
        let word = text.strip_prefix("${")?.strip_suffix('}')?;
        self.sink.text_at(span, |written| written == word).then_some(word)
    }

    fn text(&self, name: &str, value: &Value, span: Span) -> Option<String> {
        let text = value.as_text().map(|text| text.into_owned());
        if text.is_none() {
            self.wrong_type(name, "a string", value, span);
        }
        text
    }

    fn choice(
        &self,
        name: &str,
        words: &'static [&'static str],
        value: &Value,
        span: Span,
    ) -> Option<&'static str> {
        let text = self.text(name, value, span)?;
        let found = words.iter().find(|word| **word == text).copied();
        if found.is_none() {
            let known: Vec<&str> = words.iter().filter(|word| !word.is_empty()).copied().collect();
            let message = format!("`{name}` cannot be `{text}`; it is one of {}", known.join(", "));
            let help = match self.unquoted(value, span) {
                Some(word) => format!("a text stands in quotes: {name} = \"{word}\""),
                None => did_you_mean(&text, known).unwrap_or_default(),
            };
            self.fault("invalid-value", span, message, help);
        }
        found
    }

    /// A whole number within a range.
    fn whole(
        &self,
        name: &str,
        (least, most): (i64, i64),
        value: &Value,
        span: Span,
    ) -> Option<i64> {
        let Some(number) = value.as_number() else {
            self.wrong_type(name, "a number", value, span);
            return None;
        };
        let whole = number.as_i64();
        let read = whole.filter(|n| (least..=most).contains(n));
        if read.is_none() {
            let message = match whole {
                None => format!("`{name}` is a whole number, this is {number}"),
                Some(n) if most >= i64::from(i32::MAX) && n < least => {
                    format!("`{name}` must be at least {least}, this is {n}")
                }
                Some(n) => format!("`{name}` must be {least} to {most}, this is {n}"),
            };
            self.fault("out-of-range", span, message, String::new());
        }
        read
    }

    /// A span of time in nanoseconds.
    fn duration(&self, name: &str, value: &Value, span: Span) -> Option<i64> {
        let help = "write a number with a unit, such as \"30s\", \"1m30s\" or \"500ms\"";
        let read = match value {
            Value::String(text) => model::parse_duration(text)
                .map_err(|error| error.to_string())
                .and_then(|span| i64::try_from(span.as_nanos()).map_err(|_| too_long(text))),
            Value::Number(number) => self.nanoseconds(number, span),
            other => Err(format!("`{name}` is a duration, this is {}", other.kind())),
        };
        read.map_err(|message| {
            let message = message.split_once("; ").map_or(message.as_str(), |(first, _)| first);
            self.fault("invalid-duration", span, message.to_owned(), help.to_owned());
        })
        .ok()
    }

    /// Nomad reads a bare number as nanoseconds, which nobody means who writes 30.
    fn nanoseconds(&self, number: &Number, span: Span) -> Result<i64, String> {
        let n = number.as_i64().filter(|n| *n >= 0);
        let n = n.ok_or_else(|| format!("{number} is no span of time"))?;
        if n > 0 && n < PLAUSIBLE_NANOSECONDS {
            let message = format!("{n} without a unit means {n} nanoseconds");
            let help = format!("write \"{n}s\" for seconds, or \"{n}ns\" if this is meant");
            self.sink.warning(Fault::new("bare-duration", span, message).help(help));
        }
        Ok(n)
    }

    fn list<'v>(&self, name: &str, value: &'v Value, span: Span) -> Option<&'v [Value]> {
        match value {
            Value::List(items) => Some(items),
            other => {
                let message = format!("`{name}` is a list, this is {}", other.kind());
                let written = self.sink.text_at(span, |written| {
                    let fits = written.starts_with('"')
                        && written.len() <= 40
                        && !model::secret::looks_secret(name, written);
                    fits.then(|| written.to_owned())
                });
                let item = written.unwrap_or_else(|| " … ".to_owned());
                self.fault("wrong-type", span, message, format!("write {name} = [{item}]"));
                None
            }
        }
    }

    fn texts(&self, name: &str, value: &Value, span: Span) -> Option<Json> {
        let mut texts = Vec::new();
        for item in self.list(name, value, span)? {
            match item.as_text() {
                Some(text) => texts.push(Json::from(text.into_owned())),
                None if matches!(item, Value::Null | Value::Failed) => {}
                None => {
                    let message =
                        format!("`{name}` is a list of strings, this has {}", item.kind());
                    self.fault("wrong-type", span, message, String::new());
                }
            }
        }
        Some(Json::Array(texts))
    }

    fn ports(&self, name: &str, value: &Value, span: Span) -> Option<Json> {
        let items = self.list(name, value, span)?;
        let read = items.iter().filter(|item| !item.has_failed());
        let ports = read.filter_map(|item| self.whole(name, (0, 65_535), item, span));
        Some(Json::Array(ports.map(Json::from).collect()))
    }

    fn text_map(&self, name: &str, value: &Value, span: Span) -> Option<Json> {
        let Value::Object(items) = value else {
            self.wrong_type(name, "a map", value, span);
            return None;
        };
        let mut texts = super::Object::new();
        for (key, item) in items.iter() {
            match item.as_text() {
                Some(text) => {
                    texts.insert(key.to_string(), text.into_owned().into());
                }
                None if matches!(item, Value::Null | Value::Failed) => {}
                None => {
                    let message =
                        format!("`{key}` in `{name}` is a string, this is {}", item.kind());
                    self.fault("wrong-type", span, message, String::new());
                }
            }
        }
        Some(texts.into())
    }
}

fn too_long(text: &str) -> String {
    format!("`{text}` is longer than 292 years")
}

/// What stands there: a short text as it is, unless it may be secret.
fn what(name: &str, value: &Value) -> String {
    match value {
        Value::String(text)
            if text.len() <= 40
                && !text.contains('\n')
                && !model::secret::looks_secret(name, text) =>
        {
            format!("the text \"{text}\"")
        }
        other => other.kind().to_owned(),
    }
}

/// What is often written in place of the type that is needed.
fn how(name: &str, needed: &str, value: &Value) -> String {
    let Value::String(text) = value else { return String::new() };
    let lower = text.to_ascii_lowercase();
    match needed {
        "true or false" => match lower.as_str() {
            "yes" | "on" => format!("write {name} = true"),
            "no" | "off" => format!("write {name} = false"),
            _ => String::new(),
        },
        "a number" if text.starts_with(|c: char| c.is_ascii_digit()) => match name {
            "memory" | "memory_max" | "size" | "max_file_size" | "secrets" => {
                "the number is megabytes, without a unit".to_owned()
            }
            "cpu" => "the number is megahertz, without a unit".to_owned(),
            _ => "a number has no unit".to_owned(),
        },
        _ => String::new(),
    }
}
