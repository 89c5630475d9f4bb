//! Functions over maps, and those that take maps and lists alike.

use std::collections::BTreeMap;

use super::text::count;
use super::{Args, Function, MANY, size, text_list, unify};
use crate::expr::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("length", 1, 1, length),
    Function("keys", 1, 1, |a| Ok(text_list(a.object(0)?.keys()))),
    Function("values", 1, 1, |a| Ok(Value::List(a.object(0)?.values().cloned().collect()))),
    Function("lookup", 2, 3, lookup),
    Function("merge", 0, MANY, merge),
    Function("zipmap", 2, 2, zipmap),
    Function("coalesce", 1, MANY, coalesce),
];

fn length(a: &Args<'_>) -> Result<Value, String> {
    match a.value(0) {
        Value::List(items) => Ok(size(items.len())),
        Value::Object(items) => Ok(size(items.len())),
        Value::String(text) => Ok(size(count(text))),
        _ => a.wrong(0, "a list, a map or a string"),
    }
}

fn lookup(a: &Args<'_>) -> Result<Value, String> {
    let key = a.text(1)?;
    match a.object(0)?.get(&key) {
        Some(value) => Ok(value.clone()),
        None if a.len() == 3 => Ok(a.value(2).clone()),
        None => Err(format!("there is no key `{key}`, and no default is given")),
    }
}

/// The last map that has a key decides about it. Of nothing but nulls comes null.
fn merge(a: &Args<'_>) -> Result<Value, String> {
    if a.all().iter().all(Value::is_null) {
        return Ok(Value::Null);
    }
    let mut all = BTreeMap::new();
    for at in 0..a.len() {
        if !a.value(at).is_null() {
            all.extend(a.object(at)?.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    Ok(Value::Object(all))
}

fn zipmap(a: &Args<'_>) -> Result<Value, String> {
    let (keys, values) = (a.texts(0)?, a.list(1)?);
    if keys.len() != values.len() {
        return Err(format!("{} keys do not fit {} values", keys.len(), values.len()));
    }
    Ok(Value::Object(keys.into_iter().zip(values.iter().cloned()).collect()))
}

/// The first that is not null. An empty text is a value.
fn coalesce(a: &Args<'_>) -> Result<Value, String> {
    let found = unify(a.all())?.into_iter().find(|value| !value.is_null());
    found.ok_or_else(|| "all arguments are null".to_owned())
}
