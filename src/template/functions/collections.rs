//! Lists and maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::logic::equal;
use super::{Arguments, Context, Function, Problem, Result};
use crate::limits::MAX_NESTING;
use crate::value::Value;

type Map = BTreeMap<Arc<str>, Value>;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("in", 2, 2, |context, a| Ok(Value::Bool(holds(context, a, 0, a.value(1))?))),
    Function("contains", 2, 2, |context, a| Ok(Value::Bool(holds(context, a, 1, a.value(0))?))),
    Function("containsAll", 2, 2, |context, a| {
        Ok(Value::Bool(counted(context, a)? == a.list(0)?.len()))
    }),
    Function("containsAny", 2, 2, |context, a| Ok(Value::Bool(counted(context, a)? > 0))),
    Function("containsNone", 2, 2, |context, a| Ok(Value::Bool(counted(context, a)? == 0))),
    Function("containsNotAll", 2, 2, |context, a| {
        Ok(Value::Bool(counted(context, a)? < a.list(0)?.len()))
    }),
    Function("explodeMap", 1, 1, |context, a| {
        let mut out = Map::new();
        for (path, value) in a.map(0)?.iter() {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            context.fuel.spend(parts.len())?;
            if parts.len() > MAX_NESTING {
                return Err(Problem::from(crate::value::TooLarge));
            }
            place(&mut out, &parts, value)?;
        }
        context.built(Value::map(out))
    }),
    // What the first has, stays.
    Function("mergeMap", 2, 2, |context, a| {
        let merged = merged(context, a.map(0)?, a.map(1)?, 0)?;
        context.built(Value::map(merged))
    }),
    Function("mergeMapWithOverride", 2, 2, |context, a| {
        let merged = merged(context, a.map(1)?, a.map(0)?, 0)?;
        context.built(Value::map(merged))
    }),
];

/// Whether the list or text at `within` holds a value.
fn holds(
    context: &mut Context<'_>,
    a: &Arguments<'_>,
    within: usize,
    wanted: &Value,
) -> Result<bool> {
    match (a.value(within), wanted) {
        (Value::List(items), _) => {
            context.fuel.spend(items.len())?;
            Ok(items.iter().any(|item| equal(item, wanted).unwrap_or(false)))
        }
        (Value::Map(fields), Value::Text(key)) => Ok(fields.contains_key(key)),
        (Value::Text(text), Value::Text(wanted)) => Ok(text.contains(wanted.as_ref())),
        (Value::Nil, _) => Ok(false),
        _ => Err(a.wrong(within, "a list")),
    }
}

/// How many of the first list the second holds.
fn counted(context: &mut Context<'_>, a: &Arguments<'_>) -> Result<usize> {
    let mut found = 0;
    for wanted in a.list(0)?.iter() {
        found += usize::from(holds(context, a, 1, wanted)?);
    }
    Ok(found)
}

fn place(map: &mut Map, path: &[&str], value: &Value) -> Result<()> {
    let [name, rest @ ..] = path else { return Ok(()) };
    if rest.is_empty() {
        map.insert(Arc::from(*name), value.clone());
        return Ok(());
    }
    let inner = map.entry(Arc::from(*name)).or_insert_with(|| Value::map(Map::new()));
    match inner {
        Value::Map(inner) => place(Arc::make_mut(inner), rest, value),
        _ => Err("a key of the map is both a value and the beginning of another key".into()),
    }
}

fn merged(context: &mut Context<'_>, first: &Map, second: &Map, depth: usize) -> Result<Map> {
    context.fuel.spend(first.len() + second.len())?;
    if depth > MAX_NESTING {
        return Err(Problem::from(crate::value::TooLarge));
    }
    let mut out = first.clone();
    for (key, value) in second {
        let both = match (out.get(key), value) {
            (Some(Value::Map(a)), Value::Map(b)) => Value::map(merged(context, a, b, depth + 1)?),
            (Some(kept), _) if kept.is_true() => continue,
            _ => value.clone(),
        };
        out.insert(Arc::clone(key), both);
    }
    Ok(out)
}
