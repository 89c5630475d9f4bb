//! YAML as Nomad's `yamldecode` reads it. Its plain scalars mean more than those of a job file in YAML: `yes` and `on`
//! are bools, a date is a point in time.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use crate::expr::cty::{Fields, Number, Value};

/// How deep lists and maps may nest.
const MAX_DEPTH: usize = 40;
/// How many bytes the value may have, those that aliases repeat included.
const MAX_BYTES: usize = 4 << 20;

pub(super) fn document(text: &str) -> Result<Value, String> {
    let options = granit_parser::options! { emit_comments: false };
    let mut reader = Reader::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, _) = next.map_err(|error| error.info())?;
        reader.event(event)?;
    }
    reader.found.ok_or_else(|| "there is no value".to_owned())
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    bytes: usize,
    found: Option<Value>,
}

/// A list or map whose end has not come yet.
struct Open {
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Map { items: Fields, key: Option<Key> },
}

/// What the next value of a map is for.
enum Key {
    Named(Rc<str>),
    Merge,
}

impl Reader {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(..) if self.found.is_some() => {
                return Err("it has more than one document".to_owned());
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                if is_plain
                    && tag.is_none()
                    && text == "<<"
                    && let Some(Open { content: Content::Map { key: key @ None, .. }, .. }) =
                        self.open.last_mut()
                {
                    *key = Some(Key::Merge);
                    return Ok(());
                }
                let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
                let value = scalar(&text, quoted, tag.as_deref())?;
                self.done(value, anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(Content::List(Vec::new()), anchor, tag.as_deref(), "seq")?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Map { items: Fields::new(), key: None };
                self.open(content, anchor, tag.as_deref(), "map")?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { anchor, content }) = self.open.pop() {
                    let value = match content {
                        Content::List(items) => Value::tuple(items),
                        Content::Map { items, .. } => Value::object(items),
                    };
                    self.done(value, anchor)?;
                }
            }
            Event::Alias(id) => {
                let value = self.anchors.get(&id).cloned();
                let value = value.ok_or("an alias stands inside its own anchor")?;
                self.done(value, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(
        &mut self,
        content: Content,
        anchor: usize,
        tag: Option<&Tag>,
        own: &str,
    ) -> Result<(), String> {
        if let Some(tag) = tag.filter(|tag| tag.core_suffix() != Some(own)) {
            return Err(format!("the tag `{}` is not supported here", tag.original()));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err("it nests too deeply".to_owned());
        }
        self.open.push(Open { anchor, content });
        Ok(())
    }

    fn done(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(value.size());
        if self.bytes > MAX_BYTES {
            return Err(format!("with its aliases it has more than {} MiB", MAX_BYTES >> 20));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.found = Some(value),
            Some(Content::List(items)) => items.push(value),
            Some(Content::Map { items, key }) => match key.take() {
                Some(Key::Named(name)) => {
                    items.insert(name, value);
                }
                Some(Key::Merge) => merge(&value, items)?,
                None => match (&value, value.as_text()) {
                    (Value::String(name), _) => *key = Some(Key::Named(Rc::clone(name))),
                    (_, Some(name)) => *key = Some(Key::Named(name.as_ref().into())),
                    (Value::Null(_), None) => return Err("a key must not be null".to_owned()),
                    _ => return Err("a key must be text".to_owned()),
                },
            },
        }
        Ok(())
    }
}

/// What is merged counts before all that stands above it, and what stands below counts before it.
fn merge(value: &Value, items: &mut Fields) -> Result<(), String> {
    if let Some(fields) = value.fields() {
        items.extend(fields.iter().map(|(name, item)| (Rc::clone(name), item.clone())));
        return Ok(());
    }
    let wrong = || "only maps can be merged with `<<`".to_owned();
    for item in value.elements().ok_or_else(wrong)? {
        let fields = item.fields().ok_or_else(wrong)?;
        items.extend(fields.iter().map(|(name, item)| (Rc::clone(name), item.clone())));
    }
    Ok(())
}

fn scalar(text: &str, quoted: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let written = tag.map(Tag::original);
    let name = tag.map(|tag| match tag.core_suffix() {
        Some(suffix) => suffix.to_owned(),
        None => tag.original().trim_start_matches("!!").to_owned(),
    });
    let name = name.as_deref();
    let wrong = |what: &str| Err(format!("`{text}` is no {what}"));
    match name {
        None if quoted => Ok(Value::text(text)),
        None => plain(text),
        Some("str" | "binary") => Ok(Value::text(text)),
        // A quoted text that looks like a number or a bool stays text, whatever its tag.
        Some("bool" | "int" | "float" | "null" | "timestamp") if quoted && special(text) => {
            Ok(Value::text(text))
        }
        Some("null") => Ok(Value::null()),
        Some("bool") => word(text).map_or_else(|| wrong("bool"), |flag| Ok(Value::Bool(flag))),
        Some("int" | "float") => match number(&text.replace('_', "")) {
            Some(number) => Ok(Value::Number(number)),
            None => wrong("number"),
        },
        Some("timestamp") => {
            time(text).map_or_else(|| wrong("point in time"), |t| Ok(Value::text(t)))
        }
        Some(_) => Err(format!("the tag `{}` is not supported", written.unwrap_or_default())),
    }
}

/// Whether the first letter lets one expect something else than text.
fn special(text: &str) -> bool {
    text.is_empty()
        || text.starts_with(|c: char| c.is_ascii_digit() || "yYnNtTfFoO~+-.".contains(c))
}

fn plain(text: &str) -> Result<Value, String> {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Ok(Value::null());
    }
    if let Some(flag) = word(text) {
        return Ok(Value::Bool(flag));
    }
    if matches!(
        text.trim_start_matches(['+', '-']),
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    ) {
        return Err(format!("`{text}` is not a finite number"));
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(Value::text(text));
    }
    if let Some(time) = time(text) {
        return Ok(Value::text(time));
    }
    Ok(number(text).map_or_else(|| Value::text(text), Value::Number))
}

fn word(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

fn number(text: &str) -> Option<Number> {
    let radix = |digits: &str, radix| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric());
        i64::from_str_radix(digits, radix).ok().filter(|_| plain).map(Number::Int)
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let known = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    Number::parse(text).filter(|_| known)
}

/// A date, with a time of the day if there is one, in the form that functions over time take.
fn time(text: &str) -> Option<String> {
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at)?, text.get(at..)?),
        None => (text, ""),
    };
    let digits = |text: &str, most: usize| {
        let plain = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i8>().ok().filter(|_| plain)
    };
    let (year, date) = date.split_at_checked(4)?;
    let plain = year.bytes().all(|b| b.is_ascii_digit());
    let year = year.parse().ok().filter(|_| plain)?;
    let (month, day) = date.strip_prefix('-')?.split_once('-')?;
    let date = jiff::civil::Date::new(year, digits(month, 2)?, digits(day, 2)?).ok()?;
    let Some(separator) = rest.chars().next() else {
        return Some(format!("{date}T00:00:00Z"));
    };
    let rest = rest.get(1..)?;
    let (clock, zone) = match rest.find(['Z', '+', '-']) {
        Some(at) if separator != ' ' => rest.split_at(at),
        None if separator == ' ' => (rest, "Z"),
        _ => return None,
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut parts = clock.split(':').map(|part| digits(part, 2));
    let mut part = || parts.next().flatten();
    let (hour, minute, second) = (part()?, part()?, part()?);
    if parts.next().is_some() {
        return None;
    }
    let clock = jiff::civil::Time::new(hour, minute, second, 0).ok()?;
    if zone != "Z" {
        let (hours, minutes) = zone.get(1..)?.split_once(':')?;
        if hours.len() != 2
            || minutes.len() != 2
            || digits(hours, 2)? > 23
            || digits(minutes, 2)? > 59
        {
            return None;
        }
    }
    let zone = if zone.get(1..) == Some("00:00") { "Z" } else { zone };
    Some(format!("{date}T{clock}{zone}"))
}
