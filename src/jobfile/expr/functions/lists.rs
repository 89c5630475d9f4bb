//! Functions over lists. Sets are lists in which each value is once.

use super::{Args, Function, MANY, text_list};
use crate::expr::Value;
use crate::expr::convert::unique;

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
    Function("distinct", 1, 1, |a| Ok(Value::List(unique(a.list(0)?.to_vec())))),
    Function("compact", 1, 1, |a| {
        let items = a.list(0)?.iter();
        let kept = items.filter(|item| !item.is_null() && **item != Value::String(String::new()));
        Ok(Value::List(kept.cloned().collect()))
    }),
    Function("concat", 1, MANY, |a| all_lists(a).map(Value::List)),
    Function("coalescelist", 1, MANY, |a| {
        let found = a.all().iter().find(|v| matches!(v, Value::List(items) if !items.is_empty()));
        found.cloned().ok_or_else(|| "all lists are empty".to_owned())
    }),
    Function("index", 2, 2, |a| {
        let at = a.list(0)?.iter().position(|item| item == a.value(1));
        let at = at.and_then(|at| i64::try_from(at).ok());
        at.map(Value::int).ok_or_else(|| "the list has no such element".to_owned())
    }),
    Function("slice", 3, 3, |a| {
        let (list, start, end) = (a.list(0)?, a.size(1)?, a.size(2)?);
        let part = list.get(start..end).map(|part| Value::List(part.to_vec()));
        part.ok_or_else(|| {
            format!("the list has no elements {start} to {end}, it has {}", list.len())
        })
    }),
    Function("chunklist", 2, 2, |a| {
        let (list, size) = (a.list(0)?, a.size(1)?);
        if size == 0 {
            return Ok(Value::List(vec![Value::List(list.to_vec())]));
        }
        Ok(Value::List(list.chunks(size).map(|part| Value::List(part.to_vec())).collect()))
    }),
    Function("setunion", 1, MANY, |a| Ok(Value::List(unique(all_lists(a)?)))),
    Function("setintersection", 1, MANY, |a| {
        let mut kept = unique(a.list(0)?.to_vec());
        for at in 1..a.len() {
            let other = a.list(at)?;
            kept.retain(|item| other.contains(item));
        }
        Ok(Value::List(kept))
    }),
    Function("setproduct", 1, MANY, product),
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

fn flatten(items: &[Value], out: &mut Vec<Value>) {
    for item in items {
        match item {
            Value::List(inner) => flatten(inner, out),
            other => out.push(other.clone()),
        }
    }
}

fn range(a: &Args<'_>) -> Result<Value, String> {
    let (start, end) = if a.len() == 1 { (0, a.int(0)?) } else { (a.int(0)?, a.int(1)?) };
    let step = if a.len() == 3 {
        a.int(2)?
    } else if start <= end {
        1
    } else {
        -1
    };
    if step == 0 {
        return Err("the step must not be 0".to_owned());
    }
    let mut out = Vec::new();
    let mut at = start;
    while (step > 0 && at < end) || (step < 0 && at > end) {
        if out.len() == MAX_ELEMENTS {
            return Err(format!("this would make more than {MAX_ELEMENTS} elements"));
        }
        out.push(Value::int(at));
        at = at.saturating_add(step);
    }
    Ok(Value::List(out))
}

/// Nomad's turns strings round although it is described as one for lists; this one does both.
fn reverse(a: &Args<'_>) -> Result<Value, String> {
    match a.value(0) {
        Value::List(items) => Ok(Value::List(items.iter().rev().cloned().collect())),
        _ => Ok(Value::text(a.text(0)?.chars().rev().collect::<String>())),
    }
}

fn product(a: &Args<'_>) -> Result<Value, String> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for at in 0..a.len() {
        let list = a.list(at)?;
        if rows.len().saturating_mul(list.len()) > MAX_ELEMENTS {
            return Err(format!("this would make more than {MAX_ELEMENTS} elements"));
        }
        rows = rows
            .iter()
            .flat_map(|row| {
                list.iter().map(move |item| [row.as_slice(), std::slice::from_ref(item)].concat())
            })
            .collect();
    }
    Ok(Value::List(rows.into_iter().map(Value::List).collect()))
}
