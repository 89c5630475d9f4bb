//! Equality, and the order of sets.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::{Decimal, Type, Value};

/// Whether two values are equal: of the same type and the same content. Nulls of all types are equal to one another.
pub(in crate::expr) fn equal(a: &Value, b: &Value) -> bool {
    let all =
        |a: &[Value], b: &[Value]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b));
    match (a, b) {
        (Value::Null(_), Value::Null(_)) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::List(a), Value::List(b)) | (Value::Set(a), Value::Set(b)) => {
            a.of == b.of && all(&a.items, &b.items)
        }
        (Value::Tuple(a), Value::Tuple(b)) => all(&a.items, &b.items),
        (Value::Map(a), Value::Map(b)) if a.of != b.of => false,
        (Value::Map(a), Value::Map(b)) | (Value::Object(a), Value::Object(b)) => {
            a.items.len() == b.items.len()
                && a.items.iter().zip(b.items.iter()).all(|(a, b)| a.0 == b.0 && equal(a.1, b.1))
        }
        _ => false,
    }
}

/// A set of values of one type: each once, strings, numbers and bools in their order, nulls last.
pub(in crate::expr) fn set(of: Type, items: Vec<Value>) -> Value {
    let mut items: Vec<(String, Value)> = items
        .into_iter()
        .map(|item| {
            let mut key = String::new();
            if !of.is_primitive() {
                hash(&item, &mut key);
            }
            (key, item)
        })
        .collect();
    items.sort_by(|a, b| order(&a.1, &b.1).then_with(|| a.0.cmp(&b.0)));
    items.dedup_by(|a, b| a.0 == b.0 && order(&a.1, &b.1).is_eq() && equal(&a.1, &b.1));
    Value::set_of(of, items.into_iter().map(|(_, item)| item).collect())
}

fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => a.is_null().cmp(&b.is_null()),
    }
}

/// Text that differs where values do, and by which sets of other values are sorted.
fn hash(value: &Value, out: &mut String) {
    match value {
        Value::Null(_) | Value::Failed => out.push('~'),
        Value::Number(number) => out.push_str(&Decimal::as_general(number, Some(10))),
        Value::Bool(flag) => out.push(if *flag { 'T' } else { 'F' }),
        Value::String(text) => write!(out, "{text:?}").expect("text takes all that is written"),
        Value::Map(items) => {
            out.push('{');
            for (name, item) in items.items.iter() {
                write!(out, "{name:?}:").expect("text takes all that is written");
                hash(item, out);
                out.push(';');
            }
            out.push('}');
        }
        Value::List(items) | Value::Set(items) => {
            out.push('[');
            for item in items.items.iter() {
                hash(item, out);
                out.push(';');
            }
            out.push(']');
        }
        Value::Object(_) | Value::Tuple(_) => {
            out.push('<');
            let items = value.elements().into_iter().flatten();
            let named = value.fields().into_iter().flat_map(|fields| fields.values());
            for item in items.chain(named) {
                hash(item, out);
                out.push(';');
            }
            out.push('>');
        }
    }
}
