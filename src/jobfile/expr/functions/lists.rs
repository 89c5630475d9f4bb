//! Functions over lists.

use std::collections::HashSet;

use super::{Args, Function, MANY, common};
use crate::expr::cty::{Number, Type, Value, convert, equal, to_json};

/// How many elements `range` may make.
const MAX_ELEMENTS: usize = 1024;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("length", 1, 1, |a| match a.value(0) {
        Value::List(items) | Value::Set(items) | Value::Tuple(items) => {
            Ok(Value::count(items.items.len()))
        }
        Value::Map(items) => Ok(Value::count(items.items.len())),
        Value::Object(_) => Err("an object has none; write length(keys(…))".to_owned()),
        Value::String(_) => Err("a string has none; write strlen(…)".to_owned()),
        _ => a.wrong(0, "a list or a map"),
    }),
    Function("contains", 2, 2, |a| {
        // Nomad cannot tell whether anything is equal to a null of no type.
        if matches!(a.value(1), Value::Null(of) if **of == Type::Any) {
            return a.wrong(1, "a value");
        }
        Ok(Value::Bool(a.elements(0)?.iter().any(|item| equal(item, a.value(1)))))
    }),
    Function("element", 2, 2, element),
    Function("flatten", 1, 1, |a| {
        let mut out = Vec::new();
        flatten(a.elements(0)?, &mut out);
        Ok(Value::tuple(out))
    }),
    Function("range", 1, 3, range),
    Function("sort", 1, 1, |a| {
        let mut texts = a.texts(0)?;
        texts.sort();
        Ok(Value::texts(texts))
    }),
    Function("distinct", 1, 1, |a| {
        let (of, items) = a.list(0)?;
        // Values of one type are equal when their JSON is.
        let mut seen = HashSet::new();
        let items = items.into_iter().filter(|item| seen.insert(to_json(item))).collect();
        Ok(Value::list(of, items))
    }),
    Function("compact", 1, 1, |a| {
        let texts = a.texts_or_null(0)?.into_iter().flatten();
        Ok(Value::texts(texts.filter(|text| !text.is_empty())))
    }),
    Function("concat", 1, MANY, concat),
    Function("coalescelist", 1, MANY, |a| {
        for at in 0..a.len() {
            match a.value(at) {
                Value::List(items) | Value::Tuple(items) if items.items.is_empty() => {}
                Value::List(_) | Value::Tuple(_) => return Ok(a.value(at).clone()),
                _ => return a.wrong(at, "a list"),
            }
        }
        Err("all lists are empty".to_owned())
    }),
    Function("index", 2, 2, index),
    Function("slice", 3, 3, slice),
    Function("chunklist", 2, 2, |a| {
        let ((of, list), size) = (a.list(0)?, a.size(1)?);
        let size = if size == 0 { list.len().max(1) } else { size };
        let part = |part: &[Value]| Value::list(of.clone(), part.to_vec());
        Ok(Value::list(Type::List(Box::new(of.clone())), list.chunks(size).map(part).collect()))
    }),
];

/// Lists of one type, or of types that fit together, make a list; with a tuple among them they make a tuple.
fn concat(a: &Args<'_>) -> Result<Value, String> {
    let mut types = Vec::new();
    let mut all = Vec::new();
    for at in 0..a.len() {
        match a.value(at) {
            Value::List(items) => types.push(Type::List(Box::new((*items.of).clone()))),
            Value::Tuple(_) => {}
            _ => return a.wrong(at, "a list"),
        }
        all.extend_from_slice(a.elements(at)?);
    }
    if types.len() == a.len()
        && let Ok(Type::List(of)) = common(&types)
    {
        let items = all.iter().map(|item| convert(item, &of)).collect::<Result<_, _>>()?;
        return Ok(Value::list(*of, items));
    }
    Ok(Value::tuple(all))
}

/// Goes round at both ends.
fn element(a: &Args<'_>) -> Result<Value, String> {
    let items = match a.value(0) {
        Value::List(items) | Value::Tuple(items) => &items.items,
        _ => return a.wrong(0, "a list"),
    };
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let at = a.int(1)?.checked_rem_euclid(count).ok_or("the list is empty")?;
    let found = usize::try_from(at).ok().and_then(|at| items.get(at));
    found.cloned().ok_or_else(|| "the list is empty".to_owned())
}

/// An index into a list or a map, as in Nomad: no search for a value.
fn index(a: &Args<'_>) -> Result<Value, String> {
    let found = match (a.value(0), a.value(1)) {
        (Value::List(items) | Value::Tuple(items), Value::Number(_)) => items.items.get(a.size(1)?),
        (Value::List(_) | Value::Tuple(_), _) => return a.wrong(1, "a number"),
        (Value::Map(items), Value::String(key)) => items.items.get(key),
        (Value::Map(_), _) => return a.wrong(1, "a string"),
        _ => return a.wrong(0, "a list or a map"),
    };
    let key = a.value(1).as_text().unwrap_or_default();
    found.cloned().ok_or_else(|| format!("there is no element `{key}`"))
}

fn slice(a: &Args<'_>) -> Result<Value, String> {
    let (Value::List(items) | Value::Tuple(items)) = a.value(0) else {
        return a.wrong(0, "a list");
    };
    let (start, end, count) = (a.size(1)?, a.size(2)?, items.items.len());
    let part = items.items.get(start..end).map(<[Value]>::to_vec);
    let part =
        part.ok_or_else(|| format!("the list has no elements {start} to {end}, it has {count}"))?;
    Ok(match a.value(0) {
        Value::List(_) => Value::list((*items.of).clone(), part),
        _ => Value::tuple(part),
    })
}

fn flatten(items: &[Value], out: &mut Vec<Value>) {
    for item in items {
        match item.elements() {
            Some(inner) => flatten(inner, out),
            None => out.push(item.clone()),
        }
    }
}

fn range(a: &Args<'_>) -> Result<Value, String> {
    let zero = Number::Int(0);
    let (start, end) =
        if a.len() == 1 { (zero.clone(), a.number(0)?) } else { (a.number(0)?, a.number(1)?) };
    let step = match a.len() {
        3 => a.number(2)?,
        _ if start <= end => Number::Int(1),
        _ => Number::Int(-1),
    };
    let down = step < zero;
    if (!down && end < start) || (down && end > start) {
        return Err(format!("steps of {step} do not lead from {start} to {end}"));
    }
    let mut out = Vec::new();
    let mut at = start;
    while if down { at > end } else { at < end } {
        if out.len() == MAX_ELEMENTS {
            return Err(format!("this would make more than {MAX_ELEMENTS} elements"));
        }
        out.push(Value::Number(at.clone()));
        at = at.plus(&step).ok_or("the numbers become too large")?;
    }
    Ok(Value::list(Type::Number, out))
}
