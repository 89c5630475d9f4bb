//! Functions over lists. Sets are lists in which each value is once.

use std::collections::HashSet;

use super::json::encode;
use super::text::reversed;
use super::{Args, Function, MANY, fits, text_list, unify};
use crate::expr::convert::{as_set, unique};
use crate::expr::{Number, Value};

/// How many elements a function may make.
const MAX_ELEMENTS: usize = 1024;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("contains", 2, 2, |a| Ok(Value::Bool(a.list(0)?.contains(a.value(1))))),
    Function("element", 2, 2, element),
    Function("flatten", 1, 1, |a| {
        let mut out = Vec::new();
        flatten(a.list(0)?, &mut out);
        Ok(Value::List(out))
    }),
    Function("range", 1, 3, range),
    Function("reverse", 1, 1, reverse),
    Function("sort", 1, 1, |a| {
        let mut texts = a.texts(0)?;
        texts.sort();
        Ok(text_list(texts))
    }),
    Function("distinct", 1, 1, |a| Ok(Value::List(unique(unify(a.list(0)?)?)))),
    Function("compact", 1, 1, |a| {
        let items: Vec<Value> = a.list(0)?.iter().filter(|item| !item.is_null()).cloned().collect();
        let texts = Args(&[Value::List(items)]).texts(0)?;
        Ok(text_list(texts.into_iter().filter(|text| !text.is_empty())))
    }),
    Function("concat", 1, MANY, |a| all_lists(a).map(Value::List)),
    Function("coalescelist", 1, MANY, |a| {
        for at in 0..a.len() {
            if !a.value(at).is_null() && !a.list(at)?.is_empty() {
                return Ok(a.value(at).clone());
            }
        }
        Err("all lists are empty".to_owned())
    }),
    Function("index", 2, 2, index),
    Function("slice", 3, 3, |a| {
        let (list, start, end) = (a.list(0)?, a.size(1)?, a.size(2)?);
        let part = list.get(start..end).map(|part| Value::List(part.to_vec()));
        part.ok_or_else(|| {
            format!("the list has no elements {start} to {end}, it has {}", list.len())
        })
    }),
    Function("chunklist", 2, 2, |a| {
        let (list, size) = (a.list(0)?, a.size(1)?);
        if size == 0 && !list.is_empty() {
            return Ok(Value::List(vec![Value::List(list.to_vec())]));
        }
        Ok(Value::List(list.chunks(size.max(1)).map(|part| Value::List(part.to_vec())).collect()))
    }),
    Function("setunion", 1, MANY, |a| Ok(Value::List(as_set(unify(&all_lists(a)?)?)))),
    Function("setintersection", 1, MANY, |a| {
        let all = unify(&all_lists(a)?)?;
        let (kept, mut rest) = all.split_at(a.list(0)?.len());
        let mut sets = Vec::new();
        for at in 1..a.len() {
            let (other, behind) = rest.split_at(a.list(at)?.len());
            sets.push(other.iter().map(encode).collect::<HashSet<_>>());
            rest = behind;
        }
        let in_all = |item: &&Value| {
            let item = encode(item);
            sets.iter().all(|set| set.contains(&item))
        };
        Ok(Value::List(as_set(kept.iter().filter(in_all).cloned().collect())))
    }),
    Function("setproduct", 2, MANY, product),
];

fn all_lists(a: &Args<'_>) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for at in 0..a.len() {
        all.extend_from_slice(a.list(at)?);
    }
    Ok(all)
}

/// Goes round at the end, as Terraform's and Nomad's does.
fn element(a: &Args<'_>) -> Result<Value, String> {
    let (list, at) = (a.list(0)?, a.size(1)?);
    let at = at.checked_rem(list.len()).ok_or_else(|| "the list is empty".to_owned())?;
    Ok(list.get(at).cloned().unwrap_or_default())
}

/// An index into a list or a map, as in Nomad: no search for a value.
fn index(a: &Args<'_>) -> Result<Value, String> {
    let found = match (a.value(0), a.value(1)) {
        (Value::List(items), Value::Number(_)) => items.get(a.size(1)?),
        (Value::List(_), _) => return a.wrong(1, "a number"),
        (Value::Object(items), Value::String(key)) => items.get(key),
        (Value::Object(_), _) => return a.wrong(1, "a string"),
        _ => return a.wrong(0, "a list or a map"),
    };
    let key = a.value(1).as_text().unwrap_or_default();
    found.cloned().ok_or_else(|| format!("there is no element `{key}`"))
}

fn flatten(items: &[Value], out: &mut Vec<Value>) {
    for item in items {
        match item {
            Value::List(inner) => flatten(inner, out),
            other => out.push(other.clone()),
        }
    }
}

fn range(a: &Args<'_>) -> Result<Value, String> {
    let zero = Number::Int(0);
    let (start, end) =
        if a.len() == 1 { (zero, a.number(0)?) } else { (a.number(0)?, a.number(1)?) };
    let step = match a.len() {
        3 => a.number(2)?,
        _ if start <= end => Number::Int(1),
        _ => Number::Int(-1),
    };
    if step == zero {
        return Err("the step must not be 0".to_owned());
    }
    let up = step > zero;
    if (up && end < start) || (!up && end > start) {
        return Err(format!("steps of {step} do not lead from {start} to {end}"));
    }
    let mut out = Vec::new();
    let mut at = start;
    while if up { at < end } else { at > end } {
        if out.len() == MAX_ELEMENTS {
            return Err(format!("this would make more than {MAX_ELEMENTS} elements"));
        }
        out.push(Value::Number(at));
        at = after(start, step, out.len())?;
    }
    Ok(Value::List(out))
}

/// So many steps behind the start. Fractions are rounded where sums of floats are off: 0.3, not 0.30000000000000004.
fn after(start: Number, step: Number, steps: usize) -> Result<Number, String> {
    let steps = i64::try_from(steps).unwrap_or(i64::MAX);
    if let (Number::Int(start), Number::Int(step)) = (start, step) {
        let next = step.checked_mul(steps).and_then(|far| start.checked_add(far));
        return next.map(Number::Int).ok_or_else(|| "the numbers become too large".to_owned());
    }
    let sum = start.as_f64() + step.as_f64() * steps as f64;
    let sum = format!("{sum:.14e}").parse().unwrap_or(sum);
    Number::from_f64(sum).ok_or_else(|| "the numbers become too large".to_owned())
}

/// Nomad's turns strings round although it is described as one for lists; this one does both.
fn reverse(a: &Args<'_>) -> Result<Value, String> {
    match a.value(0) {
        Value::List(items) => Ok(Value::List(items.iter().rev().cloned().collect())),
        _ => Ok(Value::text(reversed(&a.text(0)?))),
    }
}

fn product(a: &Args<'_>) -> Result<Value, String> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for at in 0..a.len() {
        let list = unify(a.list(at)?)?;
        if rows.len().saturating_mul(list.len()) > MAX_ELEMENTS {
            return Err(format!("this would make more than {MAX_ELEMENTS} elements"));
        }
        // Each row meets each element: the bytes of both multiply too.
        let of_rows: usize = rows.iter().flatten().map(Value::size).sum();
        let of_list: usize = list.iter().map(Value::size).sum();
        let here = of_list.saturating_mul(rows.len());
        fits(of_rows.saturating_mul(list.len()).saturating_add(here))?;
        rows = rows
            .iter()
            .flat_map(|row| {
                list.iter().map(move |item| [row.as_slice(), std::slice::from_ref(item)].concat())
            })
            .collect();
    }
    Ok(Value::List(rows.into_iter().map(Value::List).collect()))
}
