//! What templates compute with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::limits::{MAX_ELEMENTS, MAX_NESTING, MAX_OUTPUT};

/// A value in a template. A copy costs nothing.
#[derive(Clone, Default)]
pub enum Value {
    /// Nothing, as of a key that is not there.
    #[default]
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any number.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// A list.
    List(Arc<[Value]>),
    /// A map, in the order of its keys.
    Map(Arc<BTreeMap<Arc<str>, Value>>),
    /// The notes that `scratch` keeps during one rendering.
    Scratch,
}

/// A list or map that is larger than a template may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooLarge;

impl From<TooLarge> for String {
    fn from(_: TooLarge) -> Self {
        "a list or map is too large or nested too deeply".to_owned()
    }
}

impl Value {
    /// Text as a value.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Arc::from(text.as_ref()))
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(items.into())
    }

    pub(crate) fn map(map: BTreeMap<Arc<str>, Self>) -> Self {
        Self::Map(Arc::new(map))
    }

    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(flag) => *flag,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Scratch => true,
        }
    }

    /// What it is, for messages: never what it holds.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nothing",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Scratch => "the scratch",
        }
    }

    /// Counts everything in it.
    ///
    /// # Errors
    /// When it is more than a template may hold. Whatever builds lists and maps asks this, so that no value is ever so
    /// deep that printing or dropping it would be one call too many.
    pub(crate) fn weigh(&self) -> Result<usize, TooLarge> {
        let mut weight = Weight { elements: 0, bytes: 0 };
        weight.add(self, 0)?;
        Ok(weight.elements + weight.bytes / 16)
    }

    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Nil | Self::Scratch => Json::Null,
            Self::Bool(flag) => Json::Bool(*flag),
            Self::Int(number) => Json::from(*number),
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and within bounds")]
            Self::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                Json::from(*number as i64)
            }
            Self::Float(number) => Json::from(*number),
            Self::Text(text) => Json::String(text.as_ref().to_owned()),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(fields) => Json::Object(
                fields
                    .iter()
                    .map(|(key, value)| (key.as_ref().to_owned(), value.to_json()))
                    .collect(),
            ),
        }
    }
}

struct Weight {
    elements: usize,
    bytes: usize,
}

impl Weight {
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), TooLarge> {
        self.elements += 1;
        if depth > MAX_NESTING || self.elements > MAX_ELEMENTS || self.bytes > MAX_OUTPUT {
            return Err(TooLarge);
        }
        match value {
            Value::Text(text) => self.bytes += text.len(),
            Value::List(items) => {
                for item in items.iter() {
                    self.add(item, depth + 1)?;
                }
            }
            Value::Map(fields) => {
                for (key, item) in fields.iter() {
                    self.bytes += key.len();
                    self.add(item, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// As Go prints it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("<nil>"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => f.write_str(&crate::printf::shortest(*number)),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => {
                f.write_str("[")?;
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        f.write_str(" ")?;
                    }
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Map(fields) => {
                f.write_str("map[")?;
                for (n, (key, item)) in fields.iter().enumerate() {
                    let space = if n > 0 { " " } else { "" };
                    write!(f, "{space}{key}:")?;
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Scratch => f.write_str("scratch"),
        }
    }
}

/// What it is and not what it holds: that may be a secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
