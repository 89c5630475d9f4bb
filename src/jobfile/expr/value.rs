//! What an expression comes to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// A value of a job file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Value {
    /// `null`: as if it were not written.
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Value>),
    /// Maps and objects. Iteration is in the order of the keys.
    Object(BTreeMap<String, Value>),
    /// What could not be evaluated. It has been reported; whoever meets it says no more.
    Failed,
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    pub(crate) const fn int(n: i64) -> Self {
        Self::Number(Number::Int(n))
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The kind of value, in words for a message.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "a map",
            Self::Failed => "nothing",
        }
    }

    /// A scalar as text; numbers and bools convert, as in HCL.
    pub(crate) fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::String(text) => Some(Cow::Borrowed(text)),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            Self::Null | Self::List(_) | Self::Object(_) | Self::Failed => None,
        }
    }

    /// A number, also one written as text.
    pub(crate) fn as_number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(number.clone()),
            Self::String(text) => Number::parse(text),
            _ => None,
        }
    }

    /// A bool, also one written as text.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            Self::String(text) => match text.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether a failed evaluation is anywhere inside.
    pub(crate) fn has_failed(&self) -> bool {
        match self {
            Self::Failed => true,
            Self::List(items) => items.iter().any(Self::has_failed),
            Self::Object(items) => items.values().any(Self::has_failed),
            _ => false,
        }
    }

    /// The value as JSON, for what a driver reads itself.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null | Self::Failed => serde_json::Value::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Number(Number::Int(n)) => (*n).into(),
            Self::Number(number) => number.as_f64().into(),
            Self::String(text) => text.clone().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Object(items) => {
                items.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
            }
        }
    }

    /// The value that JSON text stands for.
    pub(crate) fn from_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(flag) => Self::Bool(flag),
            serde_json::Value::Number(n) => n.as_i64().map_or_else(
                || Number::parse(&n.to_string()).map_or(Self::Null, Self::Number),
                Self::int,
            ),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => {
                Self::List(items.into_iter().map(Self::from_json).collect())
            }
            serde_json::Value::Object(items) => Self::Object(
                items.into_iter().map(|(key, value)| (key, Self::from_json(value))).collect(),
            ),
        }
    }
}

/// A number: whole where it can be.
#[derive(Clone, Debug)]
pub(crate) enum Number {
    Int(i64),
    /// Never whole within the exact range, never infinite, never NaN; its digits are those of the number.
    Float(f64),
    /// The digits of what neither of these holds, without an exponent.
    Big(Box<str>),
}

impl Number {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(n) = text.parse::<i64>() {
            return Some(Self::Int(n));
        }
        super::cty::Number::parse(text).as_ref().map(super::cty::plain_number)
    }

    pub(crate) fn as_f64(&self) -> f64 {
        match self {
            Self::Int(n) => *n as f64,
            Self::Float(n) => *n,
            Self::Big(digits) => digits.parse().unwrap_or(f64::NAN),
        }
    }

    pub(crate) const fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Float(_) | Self::Big(_) => None,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Big(a), Self::Big(b)) => a == b,
            _ => self.as_f64() == other.as_f64(),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            _ => self.as_f64().partial_cmp(&other.as_f64()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(n) => write!(f, "{n}"),
            Self::Big(digits) => f.write_str(digits),
        }
    }
}
