//! Types of variables, and values made to fit them.

use std::collections::BTreeMap;

use hcl_edit::expr::{Expression, ObjectKey};

use super::functions::json::encode;
use super::{Number, Value};

/// How deep types may nest.
const MAX_DEPTH: usize = 20;

/// What a variable may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Any,
    String,
    Number,
    Bool,
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>),
    /// Fields; an optional one may be missing.
    Object(BTreeMap<String, (Type, bool)>),
    Tuple(Vec<Type>),
}

/// Reads a type such as `list(string)`.
pub(crate) fn parse_type(expression: &Expression) -> Result<Type, String> {
    parse(expression, MAX_DEPTH)
}

fn parse(expression: &Expression, depth: usize) -> Result<Type, String> {
    let wrong = || {
        "this is not a type; types are string, number, bool, any, list(…), set(…), map(…), \
         object({…}) and tuple([…])"
            .to_owned()
    };
    let depth = depth.checked_sub(1).ok_or_else(|| "this type nests too deeply".to_owned())?;
    match expression {
        Expression::Variable(name) => named(name.as_str()).ok_or_else(wrong),
        Expression::String(text) => {
            if let Some(simple) = named(text.as_str()) {
                return Ok(simple);
            }
            let inner = hcl_edit::parser::parse_expr(text.as_str()).map_err(|_| wrong())?;
            parse(&inner, depth)
        }
        Expression::Parenthesis(inner) => parse(inner.inner(), depth),
        Expression::FuncCall(call) => {
            let first = call.args.iter().next().ok_or_else(wrong)?;
            match call.name.name.as_str() {
                "list" => Ok(Type::List(Box::new(parse(first, depth)?))),
                "set" => Ok(Type::Set(Box::new(parse(first, depth)?))),
                "map" => Ok(Type::Map(Box::new(parse(first, depth)?))),
                "optional" => parse(first, depth),
                "tuple" => {
                    let Expression::Array(items) = first else { return Err(wrong()) };
                    Ok(Type::Tuple(
                        items.iter().map(|item| parse(item, depth)).collect::<Result<_, _>>()?,
                    ))
                }
                "object" => {
                    let Expression::Object(items) = first else { return Err(wrong()) };
                    let mut fields = BTreeMap::new();
                    for (key, value) in items.iter() {
                        let name = match key {
                            ObjectKey::Ident(name) => name.as_str().to_owned(),
                            ObjectKey::Expression(Expression::String(name)) => name.value().clone(),
                            ObjectKey::Expression(_) => return Err(wrong()),
                        };
                        let optional = matches!(value.expr(), Expression::FuncCall(call)
                            if call.name.name.as_str() == "optional");
                        fields.insert(name, (parse(value.expr(), depth)?, optional));
                    }
                    Ok(Type::Object(fields))
                }
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

fn named(name: &str) -> Option<Type> {
    Some(match name {
        "any" => Type::Any,
        "string" => Type::String,
        "number" => Type::Number,
        "bool" => Type::Bool,
        "list" => Type::List(Box::new(Type::Any)),
        "set" => Type::Set(Box::new(Type::Any)),
        "map" => Type::Map(Box::new(Type::Any)),
        _ => return None,
    })
}

/// The value as a value of this type, or why it cannot be one.
pub(crate) fn convert(value: Value, to: &Type) -> Result<Value, String> {
    if matches!(value, Value::Null | Value::Failed) {
        return Ok(value);
    }
    let wrong =
        |needed: &str, value: &Value| Err(format!("{needed} is needed, this is {}", value.kind()));
    match to {
        Type::Any => Ok(value),
        Type::String => match value.as_text() {
            Some(text) => Ok(Value::String(text.into_owned())),
            None => wrong("a string", &value),
        },
        Type::Number => {
            value.as_number().map_or_else(|| wrong("a number", &value), |n| Ok(Value::Number(n)))
        }
        Type::Bool => {
            value.as_bool().map_or_else(|| wrong("a bool", &value), |flag| Ok(Value::Bool(flag)))
        }
        Type::List(of) | Type::Set(of) => match value {
            Value::List(items) => {
                let mut items: Vec<Value> =
                    items.into_iter().map(|item| convert(item, of)).collect::<Result<_, _>>()?;
                if matches!(to, Type::Set(_)) {
                    items = as_set(items);
                }
                Ok(Value::List(items))
            }
            other => wrong("a list", &other),
        },
        Type::Map(of) => match value {
            Value::Object(items) => Ok(Value::Object(
                items
                    .into_iter()
                    .map(|(key, item)| Ok((key, convert(item, of)?)))
                    .collect::<Result<_, String>>()?,
            )),
            other => wrong("a map", &other),
        },
        Type::Tuple(of) => match value {
            Value::List(items) if items.len() == of.len() => Ok(Value::List(
                items
                    .into_iter()
                    .zip(of)
                    .map(|(item, of)| convert(item, of))
                    .collect::<Result<_, _>>()?,
            )),
            Value::List(items) => {
                Err(format!("{} elements are needed, this has {}", of.len(), items.len()))
            }
            other => wrong("a list", &other),
        },
        Type::Object(fields) => match value {
            Value::Object(mut items) => {
                let mut out = BTreeMap::new();
                for (name, (of, optional)) in fields {
                    match items.remove(name) {
                        Some(item) => out.insert(name.clone(), convert(item, of)?),
                        None if *optional => out.insert(name.clone(), Value::Null),
                        None => return Err(format!("the field `{name}` is missing")),
                    };
                }
                Ok(Value::Object(out))
            }
            other => wrong("an object", &other),
        },
    }
}

/// The elements of a set: equal values once, and texts, numbers and bools in their order.
pub(super) fn as_set(items: Vec<Value>) -> Vec<Value> {
    let mut items = unique(items);
    // Values of different kinds have no order, and a sort needs one among all.
    if items.iter().all(|item| matches!(item, Value::String(_))) {
        items.sort_by(|a, b| a.as_text().cmp(&b.as_text()));
    } else if items.iter().all(|item| matches!(item, Value::Number(_))) {
        let number = |item: &Value| item.as_number().map_or(0.0, Number::as_f64);
        items.sort_by(|a, b| number(a).total_cmp(&number(b)));
    } else if items.iter().all(|item| matches!(item, Value::Bool(_))) {
        items.sort_by_key(Value::as_bool);
    }
    items
}

/// Equal values once, in the order of their first appearance. Two are equal when their JSON is.
pub(super) fn unique(items: Vec<Value>) -> Vec<Value> {
    let mut seen = std::collections::HashSet::new();
    items.into_iter().filter(|item| seen.insert(encode(item))).collect()
}
