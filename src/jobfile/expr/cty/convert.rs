//! Values made to fit a type.

use std::collections::BTreeMap;

use super::{Fields, Type, Value, set, type_of, unify};

/// Whether values of a type can be made to fit another, as far as the types tell.
pub(super) fn can_convert(from: &Type, to: &Type) -> bool {
    match (from, to) {
        (_, Type::Any) | (Type::Any, _) => true,
        (from, to) if from == to => true,
        (Type::String, to) => to.is_primitive(),
        (Type::Number | Type::Bool, to) => matches!(to, Type::String),
        (Type::List(a) | Type::Set(a), Type::List(b) | Type::Set(b)) => can_convert(a, b),
        (Type::Tuple(items), Type::List(of) | Type::Set(of)) => each_to(items.iter(), of, false),
        (Type::Tuple(a), Type::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| can_convert(a, b))
        }
        (Type::Map(a), Type::Map(b)) => can_convert(a, b),
        (Type::Object(fields), Type::Map(of)) => {
            each_to(fields.values().map(|(kind, _)| kind), of, true)
        }
        (Type::Object(a), Type::Object(b)) => {
            b.iter().all(|(name, (to, optional))| match a.get(name) {
                Some((from, _)) => can_convert(from, to),
                None => *optional,
            })
        }
        (Type::Map(of), Type::Object(fields)) => fields.values().all(|(to, _)| can_convert(of, to)),
        _ => false,
    }
}

/// Whether elements of these types can be those of one collection. In a map nulls go with everything.
fn each_to<'a>(
    mut types: impl Iterator<Item = &'a Type> + Clone,
    of: &Type,
    beside_null: bool,
) -> bool {
    if *of == Type::Any {
        let all: Vec<Type> = types.cloned().collect();
        return match unify(&all) {
            Some(Type::Any) => beside_null || all.iter().all(|kind| *kind == Type::Any),
            found => found.is_some() || all.is_empty(),
        };
    }
    types.all(|kind| can_convert(kind, of))
}

/// The value as a value of this type, or why it cannot be one.
pub(in crate::expr) fn convert(value: &Value, to: &Type) -> Result<Value, String> {
    let wrong = || Err(format!("{} is needed, this is {}", to.needed(), value.kind()));
    match (value, to) {
        (Value::Failed, _) | (_, Type::Any) => Ok(value.clone()),
        (Value::Null(from), to) if can_convert(from, to) => {
            Ok(Value::null_of(if has_any(to) { (**from).clone() } else { without_optional(to) }))
        }
        (Value::String(_), Type::String)
        | (Value::Number(_), Type::Number)
        | (Value::Bool(_), Type::Bool) => Ok(value.clone()),
        (Value::Number(_) | Value::Bool(_), Type::String) => {
            Ok(Value::text(value.as_text().unwrap_or_default()))
        }
        (Value::String(text), Type::Number) => match value.as_number() {
            Some(number) => Ok(Value::Number(number)),
            None => Err(format!("a number is needed, this is the text {text:?}")),
        },
        (Value::String(text), Type::Bool) => match value.as_bool() {
            Some(flag) => Ok(Value::Bool(flag)),
            None => Err(format!("true or false is needed, this is the text {text:?}")),
        },
        (Value::List(items), Type::List(of)) | (Value::Set(items), Type::Set(of))
            if **of == Type::Any || *items.of == **of =>
        {
            Ok(value.clone())
        }
        (Value::List(from) | Value::Set(from), Type::List(of) | Type::Set(of)) => {
            if !can_convert(&from.of, of) {
                return wrong();
            }
            let of = if **of == Type::Any { &*from.of } else { of };
            elements(&from.items, of, matches!(to, Type::Set(_)))
        }
        (Value::Tuple(from), Type::List(of) | Type::Set(of)) => {
            let is_set = matches!(to, Type::Set(_));
            if **of != Type::Any {
                return elements(&from.items, of, is_set);
            }
            let of = common(&from.items, "elements")?;
            elements(&from.items, &of, is_set)
        }
        (Value::Tuple(from), Type::Tuple(of)) => {
            let items = &from.items;
            if items.len() != of.len() {
                let (needed, has) = (of.len(), items.len());
                return Err(format!("{needed} elements are needed, this has {has}"));
            }
            let items = items.iter().zip(of).enumerate();
            let items = items.map(|(at, (item, of))| {
                convert(item, of).map_err(|why| format!("element {at}: {why}"))
            });
            Ok(Value::tuple(items.collect::<Result<_, _>>()?))
        }
        (Value::Map(from), Type::Map(of)) => {
            if **of == Type::Any || *from.of == **of {
                return Ok(value.clone());
            }
            if !can_convert(&from.of, of) {
                return wrong();
            }
            named(&from.items, of)
        }
        (Value::Object(from), Type::Map(of)) => {
            if **of != Type::Any {
                return named(&from.items, of);
            }
            let all: Vec<Value> = from.items.values().cloned().collect();
            let there = all.iter().filter(|item| !item.is_null());
            let mut types = there.map(type_of);
            // Beside nulls, values stay what they are, and are of one type.
            match (common(&all, "values"), types.next()) {
                (Ok(of), _) => named(&from.items, &of),
                (Err(_), Some(of))
                    if types.all(|kind| kind == of) && all.iter().any(Value::is_null) =>
                {
                    named(&from.items, &of)
                }
                (Err(why), _) => Err(why),
            }
        }
        (Value::Object(from) | Value::Map(from), Type::Object(fields)) => {
            object(&from.items, fields)
        }
        _ => wrong(),
    }
}

/// The type that values can have together.
fn common(items: &[Value], what: &str) -> Result<Type, String> {
    if items.is_empty() {
        return Ok(Type::Any);
    }
    let types: Vec<Type> = items.iter().map(type_of).collect();
    let found = unify(&types);
    if found == Some(Type::Any) && types.iter().any(|kind| *kind != Type::Any) {
        return Err(format!("the {what} must be of one type, and one is null"));
    }
    found.ok_or_else(|| {
        let first = types.first().map_or("", Type::needed);
        let other = types.iter().map(Type::needed).find(|kind| *kind != first);
        match other {
            Some(other) => format!("all {what} must be of one type, there are {first} and {other}"),
            None => format!("all {what} must be of one type"),
        }
    })
}

fn elements(items: &[Value], of: &Type, is_set: bool) -> Result<Value, String> {
    let items = items.iter().enumerate();
    let items =
        items.map(|(at, item)| convert(item, of).map_err(|why| format!("element {at}: {why}")));
    let (of, items) = settled(of, items.collect::<Result<_, _>>()?)?;
    Ok(if is_set { set(of, items) } else { Value::list(of, items) })
}

fn named(items: &Fields, of: &Type) -> Result<Value, String> {
    let items = items.iter().map(|(name, item)| {
        Ok((name, convert(item, of).map_err(|why| format!("`{name}`: {why}"))?))
    });
    let (names, items): (Vec<_>, Vec<_>) =
        items.collect::<Result<Vec<_>, String>>()?.into_iter().unzip();
    let (of, items) = settled(of, items)?;
    Ok(Value::map(of, names.into_iter().cloned().zip(items).collect()))
}

/// Where a type leaves something open, the values decide about it together.
fn settled(of: &Type, items: Vec<Value>) -> Result<(Type, Vec<Value>), String> {
    if !has_any(of) || items.is_empty() {
        return Ok((without_optional(of), items));
    }
    let there: Vec<Value> = items.iter().filter(|item| !item.is_null()).cloned().collect();
    let of = common(&there, "elements")?;
    let items = items.iter().map(|item| convert(item, &of)).collect::<Result<_, _>>()?;
    Ok((of, items))
}

fn object(items: &Fields, fields: &BTreeMap<String, (Type, bool)>) -> Result<Value, String> {
    let mut out = Fields::new();
    for (name, (of, optional)) in fields {
        let item = match items.get(name.as_str()) {
            Some(item) => convert(item, of).map_err(|why| format!("`{name}`: {why}"))?,
            None if *optional => Value::null_of(without_optional(of)),
            None => return Err(format!("the field `{name}` is missing")),
        };
        out.insert(name.as_str().into(), item);
    }
    Ok(Value::object(out))
}

fn has_any(kind: &Type) -> bool {
    match kind {
        Type::Any => true,
        Type::String | Type::Number | Type::Bool => false,
        Type::List(of) | Type::Set(of) | Type::Map(of) => has_any(of),
        Type::Object(fields) => fields.values().any(|(kind, _)| has_any(kind)),
        Type::Tuple(items) => items.iter().any(has_any),
    }
}

/// What a value that has been made to fit is of: nothing in it is missing any more.
fn without_optional(kind: &Type) -> Type {
    match kind {
        Type::Object(fields) => Type::Object(
            fields
                .iter()
                .map(|(name, (kind, _))| (name.clone(), (without_optional(kind), false)))
                .collect(),
        ),
        Type::List(of) => Type::List(Box::new(without_optional(of))),
        Type::Set(of) => Type::Set(Box::new(without_optional(of))),
        Type::Map(of) => Type::Map(Box::new(without_optional(of))),
        Type::Tuple(items) => Type::Tuple(items.iter().map(without_optional).collect()),
        other => other.clone(),
    }
}
