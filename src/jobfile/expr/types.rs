//! Types as they are written, and values from outside made to fit them.

use std::collections::BTreeMap;

use hcl_edit::expr::{Expression, ObjectKey};

use super::Value;
use super::cty::{self, Type};

/// How deep types may nest.
const MAX_DEPTH: usize = 20;

/// Reads a type such as `list(string)`.
pub(crate) fn parse_type(expression: &Expression) -> Result<Type, String> {
    parse(expression, MAX_DEPTH)
}

/// What other languages call a type.
fn foreign(name: &str) -> Option<&'static str> {
    match name.to_ascii_lowercase().as_str() {
        "int" | "integer" | "float" | "double" | "numeric" => Some("number"),
        "str" | "text" => Some("string"),
        "boolean" => Some("bool"),
        "array" => Some("list(…)"),
        "dict" | "hash" => Some("map(…)"),
        _ => None,
    }
}

fn parse(expression: &Expression, depth: usize) -> Result<Type, String> {
    let wrong = || {
        let name = match expression {
            Expression::Variable(name) => name.as_str(),
            Expression::String(text) => text.as_str(),
            _ => "",
        };
        match foreign(name) {
            Some(meant) => format!("`{name}` is not a type here, it is called {meant}"),
            None => "this is not a type; types are string, number, bool, any, list(…), set(…), \
                     map(…), object({…}) and tuple([…])"
                .to_owned(),
        }
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
    match value {
        // What needs no look at the type.
        Value::Null | Value::Failed => Ok(value),
        value if *to == Type::Any => Ok(value),
        value => cty::convert(&cty::from_plain(&value), to).map(|value| cty::to_plain(&value)),
    }
}
