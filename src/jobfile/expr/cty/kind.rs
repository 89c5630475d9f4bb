//! Types, and the type of a value.

use std::collections::BTreeMap;
use std::fmt;

use super::Value;

/// What a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// Anything; the type of a `null` that is written out.
    Any,
    String,
    Number,
    Bool,
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>),
    /// Fields; an optional one may be missing.
    Object(BTreeMap<String, (Type, bool)>),
    Tuple(Vec<Type>),
}

impl Type {
    pub(crate) const fn is_primitive(&self) -> bool {
        matches!(self, Self::String | Self::Number | Self::Bool)
    }

    /// The kind of value that is needed, in words for a message.
    pub(crate) const fn needed(&self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "a bool",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
            Self::Object(_) => "an object",
            Self::Tuple(_) => "a list",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::String => f.write_str("string"),
            Self::Number => f.write_str("number"),
            Self::Bool => f.write_str("bool"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Set(of) => write!(f, "set({of})"),
            Self::Map(of) => write!(f, "map({of})"),
            Self::Object(fields) => {
                f.write_str("object({")?;
                for (at, (name, (kind, _))) in fields.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    let is_name = name.chars().next().is_some_and(|c| c.is_alphabetic())
                        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
                    if is_name {
                        write!(f, "{comma}{name}={kind}")?;
                    } else {
                        write!(f, "{comma}{name:?}={kind}")?;
                    }
                }
                f.write_str("})")
            }
            Self::Tuple(items) => {
                f.write_str("tuple([")?;
                for (at, kind) in items.iter().enumerate() {
                    write!(f, "{}{kind}", if at > 0 { "," } else { "" })?;
                }
                f.write_str("])")
            }
        }
    }
}

/// The type of a value. Its cost is that of the value's size.
pub(in crate::expr) fn type_of(value: &Value) -> Type {
    match value {
        Value::Null(kind) => (**kind).clone(),
        Value::Bool(_) => Type::Bool,
        Value::Number(_) => Type::Number,
        Value::String(_) => Type::String,
        Value::List(items) => Type::List(Box::new((*items.of).clone())),
        Value::Set(items) => Type::Set(Box::new((*items.of).clone())),
        Value::Map(items) => Type::Map(Box::new((*items.of).clone())),
        Value::Tuple(items) => Type::Tuple(items.items.iter().map(type_of).collect()),
        Value::Object(items) => Type::Object(
            items
                .items
                .iter()
                .map(|(name, value)| (name.as_ref().to_owned(), (type_of(value), false)))
                .collect(),
        ),
        Value::Failed => Type::Any,
    }
}
