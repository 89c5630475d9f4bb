//! Functions over maps and objects, and those that take the first value there is.

use std::rc::Rc;

use super::{Args, Function, MANY, common, types_of};
use crate::expr::cty::{Fields, Type, Value, convert};

pub(super) const FUNCTIONS: &[Function] = &[
    Function("keys", 1, 1, |a| {
        let names = a.fields(0)?.keys().map(|name| Value::String(Rc::clone(name))).collect();
        Ok(match a.value(0) {
            Value::Map(_) => Value::list(Type::String, names),
            _ => Value::tuple(names),
        })
    }),
    Function("values", 1, 1, |a| {
        let values = a.fields(0)?.values().cloned().collect();
        Ok(match a.value(0) {
            Value::Map(items) => Value::list((*items.of).clone(), values),
            _ => Value::tuple(values),
        })
    }),
    Function("lookup", 3, 3, lookup),
    Function("merge", 0, MANY, merge),
    Function("zipmap", 2, 2, zipmap),
    Function("coalesce", 0, MANY, coalesce),
];

/// In a map the default is of the type of its elements; in an object it may be anything.
fn lookup(a: &Args<'_>) -> Result<Value, String> {
    let (fields, key) = (a.fields(0)?, a.text(1)?);
    let default = match a.value(0) {
        _ if a.value(2).is_null() => return a.wrong(2, "a value"),
        Value::Map(items) => convert(a.value(2), &items.of)
            .map_err(|why| format!("the default must be like the map's elements: {why}"))?,
        _ => a.value(2).clone(),
    };
    Ok(fields.get(key.as_str()).cloned().unwrap_or(default))
}

/// The last map that has a key decides about it. Maps of one type make such a map, anything else makes an object.
fn merge(a: &Args<'_>) -> Result<Value, String> {
    let mut all = Fields::new();
    let mut of: Option<&Type> = None;
    let mut is_map = a.len() > 0;
    for at in 0..a.len() {
        match a.value(at) {
            Value::Null(kind) if matches!(**kind, Type::Any | Type::Map(_) | Type::Object(_)) => {
                is_map = false;
                continue;
            }
            Value::Map(items) if of.is_none_or(|of| *of == *items.of) => of = Some(&items.of),
            _ => is_map = false,
        }
        all.extend(a.fields(at)?.iter().map(|(name, value)| (Rc::clone(name), value.clone())));
    }
    Ok(match of {
        Some(of) if is_map => Value::map(of.clone(), all),
        _ => Value::object(all),
    })
}

fn zipmap(a: &Args<'_>) -> Result<Value, String> {
    let keys = a.texts(0)?;
    let values = match a.value(1) {
        Value::List(items) | Value::Tuple(items) => &items.items,
        _ => return a.wrong(1, "a list"),
    };
    if keys.len() != values.len() {
        let (keys, values) = (keys.len(), values.len());
        return Err(format!("{keys} keys do not fit {values} values"));
    }
    let made = keys.iter().map(|key| key.as_str().into()).zip(values.iter().cloned()).collect();
    Ok(match a.value(1) {
        Value::List(items) => Value::map((*items.of).clone(), made),
        _ => Value::object(made),
    })
}

/// The first that is not null. An empty text is one, whatever Nomad's documentation says.
fn coalesce(a: &Args<'_>) -> Result<Value, String> {
    if a.len() == 0 {
        return Err("there is no value to take".to_owned());
    }
    let of = common(&types_of(a.all()))?;
    for value in a.all() {
        let value = convert(value, &of)?;
        if !value.is_null() {
            return Ok(value);
        }
    }
    Err("all arguments are null".to_owned())
}
