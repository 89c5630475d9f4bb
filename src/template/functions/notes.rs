//! `scratch`: what a template notes for later.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Arguments, Context, Function, Problem, Result};
use crate::value::Value;

/// The most keys.
const MAX_KEYS: usize = 1_000;

pub(super) const FUNCTIONS: &[Function] = &[Function("scratch", 0, 0, |_, _| Ok(Value::Scratch))];

/// Calls a method of `scratch`. Whatever is noted is weighed, so that no note can hold itself again and again.
pub(crate) fn scratch(context: &mut Context<'_>, method: &str, values: &[Value]) -> Result {
    let wanted = match method {
        "Key" | "Get" | "MapValues" => 1,
        "Set" | "SetX" => 2,
        "MapSet" | "MapSetX" => 3,
        _ => {
            let message =
                "`scratch` has Key, Get, Set, SetX, MapSet, MapSetX and MapValues, and no";
            return Err(format!("{message} `{method}`").into());
        }
    };
    if values.len() != wanted {
        return Err(
            format!("`scratch.{method}` takes {wanted} arguments, not {}", values.len()).into()
        );
    }
    let a = Arguments { name: method, values };
    let name = a.text(0)?;
    let known = context.scratch.get(name);
    match method {
        "Key" => return Ok(Value::Bool(known.is_some())),
        "Get" => return Ok(known.cloned().unwrap_or_default()),
        "MapValues" => {
            let Some(known) = known else { return Ok(Value::Nil) };
            let Value::Map(fields) = known else {
                return Err("`scratch.MapValues` takes the name of a map".into());
            };
            let values = Value::list(fields.values().cloned().collect());
            return context.built(values);
        }
        "Set" => {}
        "SetX" if known.is_some() => return Ok(Value::text("")),
        "SetX" => {}
        _ => {
            let mut fields = match known {
                None => BTreeMap::new(),
                Some(Value::Map(fields)) => BTreeMap::clone(fields),
                Some(_) => {
                    return Err(Problem::Words(format!(
                        "`scratch.{method}` takes the name of a map"
                    )));
                }
            };
            let key: Arc<str> = Arc::from(a.text(1)?);
            if method == "MapSet" || !fields.contains_key(&key) {
                fields.insert(key, a.value(2).clone());
            }
            let map = context.built(Value::map(fields))?;
            return note(context, name, map);
        }
    }
    let value = context.built(a.value(1).clone())?;
    note(context, name, value)
}

fn note(context: &mut Context<'_>, name: &str, value: Value) -> Result {
    if context.scratch.len() >= MAX_KEYS && !context.scratch.contains_key(name) {
        return Err(format!("`scratch` holds at most {MAX_KEYS} values").into());
    }
    context.scratch.insert(name.to_owned(), value);
    Ok(Value::text(""))
}
