//! Functions over sets.

use super::{Args, Function, MANY, common, fits, types_of};
use crate::expr::cty::{Type, Value, convert, equal, set};

/// How many rows `setproduct` may make, and how many elements sets may be compared by.
const MAX_ROWS: usize = 20_000;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("setunion", 1, MANY, |a| {
        let (of, sets) = sets(a)?;
        Ok(set(of, sets.into_iter().flatten().collect()))
    }),
    Function("setintersection", 1, MANY, |a| {
        let (of, sets) = sets(a)?;
        let (first, rest) = sets.split_first().ok_or("there is no set")?;
        let pairs: usize = rest.iter().map(|set| set.len().saturating_mul(first.len())).sum();
        if pairs > MAX_ROWS * 100 {
            return Err("these sets are too large".to_owned());
        }
        let in_all =
            |item: &&Value| rest.iter().all(|set| set.iter().any(|other| equal(item, other)));
        Ok(set(of, first.iter().filter(in_all).cloned().collect()))
    }),
    Function("setproduct", 0, MANY, product),
];

/// The elements of each, all of one type.
fn sets(a: &Args<'_>) -> Result<(Type, Vec<Vec<Value>>), String> {
    let mut types = Vec::new();
    let mut all = Vec::new();
    for at in 0..a.len() {
        match a.fitting(at, &Type::Set(Box::new(Type::Any)))? {
            Value::Set(items) => {
                // An empty set of anything says nothing.
                if !(items.items.is_empty() && *items.of == Type::Any) {
                    types.push((*items.of).clone());
                }
                all.push(items.items.to_vec());
            }
            _ => return a.wrong(at, "a set"),
        }
    }
    let of = if types.is_empty() { Type::Any } else { common(&types)? };
    let fitted = all.iter().map(|items| items.iter().map(|item| convert(item, &of)).collect());
    Ok((of.clone(), fitted.collect::<Result<_, _>>()?))
}

/// Each with each; the first varies the slowest. A list where all are lists, else a set.
fn product(a: &Args<'_>) -> Result<Value, String> {
    if a.len() < 2 {
        return Err("at least two sets are needed".to_owned());
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    let mut types = Vec::new();
    let mut are_lists = true;
    let mut mixed = false;
    for at in 0..a.len() {
        are_lists &= !matches!(a.value(at), Value::Set(_));
        let (of, list) = match a.value(at) {
            // Elements of several types are a mistake only where there are rows to make of them.
            Value::Tuple(items) if !items.items.is_empty() => {
                let of = common(&types_of(&items.items))?;
                mixed |= of == Type::Any && items.items.iter().any(|item| !item.is_null());
                let list = items.items.iter().map(|item| convert(item, &of));
                (of.clone(), list.collect::<Result<Vec<_>, _>>()?)
            }
            _ => a.list(at)?,
        };
        types.push(of);
        if rows.len().saturating_mul(list.len()) > MAX_ROWS {
            return Err(format!("this would make more than {MAX_ROWS} elements"));
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
    if mixed && !rows.is_empty() {
        return Err("the elements of each list must be of one type".to_owned());
    }
    let of = Type::Tuple(types);
    let rows: Vec<Value> = rows.into_iter().map(Value::tuple).collect();
    Ok(if are_lists { Value::list(of, rows) } else { set(of, rows) })
}
