//! Go's own functions: comparing, looking into values, printing.

use std::cmp::Ordering;

use super::{ANY, Arguments, Context, Function, Problem, Result};
use crate::printf::{printed, printf};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    // Looked at without calling; here for their names.
    Function("and", 1, ANY, |_, a| Ok(a.last().clone())),
    Function("or", 1, ANY, |_, a| Ok(a.last().clone())),
    Function("not", 1, 1, |_, a| Ok(Value::Bool(!a.value(0).is_true()))),
    Function("eq", 2, ANY, |_, a| {
        for other in &a.values[1..] {
            if equal(a.value(0), other)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
    Function("ne", 2, 2, |_, a| Ok(Value::Bool(!equal(a.value(0), a.value(1))?))),
    Function("lt", 2, 2, |_, a| ordered(a, Ordering::is_lt)),
    Function("le", 2, 2, |_, a| ordered(a, Ordering::is_le)),
    Function("gt", 2, 2, |_, a| ordered(a, Ordering::is_gt)),
    Function("ge", 2, 2, |_, a| ordered(a, Ordering::is_ge)),
    Function("len", 1, 1, |_, a| {
        let length = match a.value(0) {
            Value::Text(text) => text.len(),
            Value::List(items) => items.len(),
            Value::Map(fields) => fields.len(),
            _ => return Err(a.wrong(0, "a text, list or map")),
        };
        Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
    }),
    Function("index", 1, ANY, |_, a| {
        let mut value = a.value(0).clone();
        for at in 1..a.values.len() {
            value = index(a, &value, at)?;
        }
        Ok(value)
    }),
    Function("slice", 1, 3, slice),
    Function("print", 0, ANY, |context, a| {
        let mut out = String::new();
        for (n, value) in a.values.iter().enumerate() {
            let text = |value: &Value| matches!(value, Value::Text(_));
            if n > 0 && !text(value) && !text(a.value(n - 1)) {
                out.push(' ');
            }
            out.push_str(&printed(value)?);
            context.fuel.text(out.len())?;
        }
        context.text(out)
    }),
    Function("println", 0, ANY, |context, a| {
        let mut out = String::new();
        for (n, value) in a.values.iter().enumerate() {
            out.push_str(if n > 0 { " " } else { "" });
            out.push_str(&printed(value)?);
            context.fuel.text(out.len())?;
        }
        out.push('\n');
        context.text(out)
    }),
    Function("printf", 1, ANY, |context, a| {
        Ok(Value::text(printf(a.text(0)?, &a.values[1..], &mut context.fuel)?))
    }),
    Function("html", 1, 1, |context, a| {
        let text = escaped(&a.printed(0)?, |c| match c {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            '"' => Some("&#34;"),
            '\'' => Some("&#39;"),
            '\0' => Some("\u{fffd}"),
            _ => None,
        });
        context.text(text)
    }),
    Function("js", 1, 1, |context, a| {
        let text = escaped(&a.printed(0)?, |c| match c {
            '\\' => Some("\\\\"),
            '\'' => Some("\\'"),
            '"' => Some("\\\""),
            '<' => Some("\\u003C"),
            '>' => Some("\\u003E"),
            '&' => Some("\\u0026"),
            '=' => Some("\\u003D"),
            '\n' => Some("\\u000A"),
            '\r' => Some("\\u000D"),
            '\t' => Some("\\u0009"),
            _ => None,
        });
        context.text(text)
    }),
    Function("urlquery", 1, 1, |context, a| {
        let mut out = String::new();
        for byte in a.printed(0)?.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    out.push(char::from(byte));
                }
                b' ' => out.push('+'),
                byte => {
                    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
                    out.extend([
                        '%',
                        digit(byte >> 4).to_ascii_uppercase(),
                        digit(byte & 15).to_ascii_uppercase(),
                    ]);
                }
            }
        }
        context.text(out)
    }),
];

fn escaped(text: &str, with: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match with(c) {
            Some(escape) => out.push_str(escape),
            None => out.push(c),
        }
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "a number that is compared with a fraction")]
pub(super) fn equal(left: &Value, right: &Value) -> Result<bool> {
    match (left, right) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => Ok(*a as f64 == *b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (a, b) => Err(incomparable(a, b)),
    }
}

fn incomparable(left: &Value, right: &Value) -> Problem {
    format!("{} and {} cannot be compared", left.kind(), right.kind()).into()
}

#[expect(clippy::cast_precision_loss, reason = "a number that is compared with a fraction")]
fn ordered(a: &Arguments<'_>, holds: fn(Ordering) -> bool) -> Result {
    let (left, right) = (a.value(0), a.value(1));
    let order = match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => None,
    };
    order.map(|order| Value::Bool(holds(order))).ok_or_else(|| incomparable(left, right))
}

fn index(a: &Arguments<'_>, value: &Value, at: usize) -> Result {
    match (value, a.value(at)) {
        (Value::List(items), Value::Int(n)) => {
            usize::try_from(*n).ok().and_then(|n| items.get(n).cloned()).ok_or_else(|| {
                format!("the list has {} elements; there is none at {n}", items.len()).into()
            })
        }
        (Value::Map(fields), Value::Text(key)) => Ok(fields.get(key).cloned().unwrap_or_default()),
        (Value::Text(text), Value::Int(n)) => usize::try_from(*n)
            .ok()
            .and_then(|n| text.as_bytes().get(n))
            .map(|byte| Value::Int(i64::from(*byte)))
            .ok_or_else(|| {
                format!("the text has {} bytes; there is none at {n}", text.len()).into()
            }),
        (Value::List(_) | Value::Text(_), _) => Err(a.wrong(at, "a whole number")),
        (Value::Map(_), _) => Err(a.wrong(at, "a text")),
        (other, _) => {
            Err(format!("`index` looks into a list or map, not into {}", other.kind()).into())
        }
    }
}

fn slice(context: &mut Context<'_>, a: &Arguments<'_>) -> Result {
    let bound = |at: usize, otherwise: usize| match a.values.len() > at {
        true => Ok(usize::try_from(a.int(at)?).unwrap_or(usize::MAX)),
        false => Ok::<_, Problem>(otherwise),
    };
    let outside = || Problem::from("`slice` goes beyond the end, or through a character");
    match a.value(0) {
        Value::Text(text) => {
            let range = bound(1, 0)?..bound(2, text.len())?;
            context.text(text.get(range).ok_or_else(outside)?)
        }
        Value::List(items) => {
            let range = bound(1, 0)?..bound(2, items.len())?;
            Ok(Value::List(items.get(range).ok_or_else(outside)?.into()))
        }
        _ => Err(a.wrong(0, "a text or list")),
    }
}
