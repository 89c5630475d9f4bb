//! From values of expressions to the plain data that jobs are decoded from, and back.

use super::{Fields, Number, Value, normal};
use crate::expr::value::{Number as PlainNumber, Value as Plain};

/// The value without its type.
pub(in crate::expr) fn to_plain(value: &Value) -> Plain {
    match value {
        Value::Null(_) => Plain::Null,
        Value::Bool(flag) => Plain::Bool(*flag),
        Value::Number(number) => Plain::Number(plain_number(number)),
        Value::String(text) => Plain::String(text.as_ref().to_owned()),
        Value::List(items) | Value::Set(items) | Value::Tuple(items) => {
            Plain::List(items.items.iter().map(to_plain).collect())
        }
        Value::Map(items) | Value::Object(items) => Plain::Object(
            items
                .items
                .iter()
                .map(|(name, item)| (name.as_ref().to_owned(), to_plain(item)))
                .collect(),
        ),
        Value::Failed => Plain::Failed,
    }
}

pub(in crate::expr) fn plain_number(number: &Number) -> PlainNumber {
    if let Some(n) = number.as_i64() {
        return PlainNumber::Int(n);
    }
    let text = number.to_string();
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() && float.to_string() == text => PlainNumber::Float(float),
        _ => PlainNumber::Big(text.into()),
    }
}

/// The value that plain data would have been written as: lists are tuples, maps are objects.
pub(in crate::expr) fn from_plain(plain: &Plain) -> Value {
    match plain {
        Plain::Null => Value::null(),
        Plain::Bool(flag) => Value::Bool(*flag),
        Plain::Number(PlainNumber::Int(n)) => Value::int(*n),
        Plain::Number(number) => {
            Number::parse(&number.to_string()).map_or_else(Value::null, Value::Number)
        }
        Plain::String(text) => Value::text(text),
        Plain::List(items) => Value::tuple(items.iter().map(from_plain).collect()),
        Plain::Object(items) => Value::object(
            items
                .iter()
                .map(|(name, item)| (normal(name).as_ref().into(), from_plain(item)))
                .collect::<Fields>(),
        ),
        Plain::Failed => Value::Failed,
    }
}
