//! `optional(type, default)` in an object's type: what fields come to that a value leaves out. Nomad's types have none of
//! it; it is what Terraform does.

use std::collections::BTreeMap;

use hcl_edit::expr::{Expression, ObjectKey};

use crate::expr::Value;

/// How deep types may nest.
const MAX_DEPTH: usize = 20;

/// Where defaults stand within a type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Defaults {
    /// Nowhere.
    None,
    /// In the elements of a list, set or map.
    Each(Box<Self>),
    /// In the elements of a tuple.
    Places(Vec<Self>),
    /// In the fields of an object, each with its own default and those within.
    Fields(BTreeMap<String, (Option<Value>, Self)>),
}

impl Defaults {
    /// The defaults in a type. `evaluate` says what one of them is.
    pub(super) fn of(kind: &Expression, evaluate: &mut dyn FnMut(&Expression) -> Value) -> Self {
        Self::within(kind, evaluate, MAX_DEPTH)
    }

    fn within(
        kind: &Expression,
        evaluate: &mut dyn FnMut(&Expression) -> Value,
        depth: usize,
    ) -> Self {
        let (Some(depth), Expression::FuncCall(call)) = (depth.checked_sub(1), kind) else {
            return Self::None;
        };
        let Some(first) = call.args.iter().next() else { return Self::None };
        let found = match (call.name.name.as_str(), first) {
            ("list" | "set" | "map", _) => {
                Self::Each(Box::new(Self::within(first, evaluate, depth)))
            }
            ("tuple", Expression::Array(items)) => {
                Self::Places(items.iter().map(|item| Self::within(item, evaluate, depth)).collect())
            }
            ("object", Expression::Object(items)) => {
                let mut fields = BTreeMap::new();
                for (key, value) in items.iter() {
                    let name = match key {
                        ObjectKey::Ident(name) => name.as_str(),
                        ObjectKey::Expression(Expression::String(name)) => name.as_str(),
                        ObjectKey::Expression(_) => continue,
                    };
                    let (mut default, mut inner) = (None, value.expr());
                    if let Expression::FuncCall(optional) = value.expr()
                        && optional.name.name.as_str() == "optional"
                    {
                        let mut arguments = optional.args.iter();
                        inner = arguments.next().unwrap_or(inner);
                        default = arguments.next().map(&mut *evaluate);
                    }
                    let field = (default, Self::within(inner, evaluate, depth));
                    fields.insert(name.to_owned(), field);
                }
                Self::Fields(fields)
            }
            _ => Self::None,
        };
        if found.is_empty() { Self::None } else { found }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::Each(inner) => inner.is_empty(),
            Self::Places(inner) => inner.iter().all(Self::is_empty),
            Self::Fields(fields) => {
                fields.values().all(|(default, inner)| default.is_none() && inner.is_empty())
            }
        }
    }

    /// The value with what it leaves out, or says to be null.
    pub(super) fn fill(&self, value: Value) -> Value {
        match (self, value) {
            (Self::Each(inner), Value::List(items)) => {
                Value::List(items.into_iter().map(|item| inner.fill(item)).collect())
            }
            (Self::Each(inner), Value::Object(items)) => Value::Object(
                items.into_iter().map(|(name, item)| (name, inner.fill(item))).collect(),
            ),
            (Self::Places(inner), Value::List(items)) => {
                let none = std::iter::repeat(&Self::None);
                let filled = items.into_iter().zip(inner.iter().chain(none));
                Value::List(filled.map(|(item, inner)| inner.fill(item)).collect())
            }
            (Self::Fields(fields), Value::Object(mut items)) => {
                for (name, (default, inner)) in fields {
                    let given = items.remove(name);
                    let value = match (given, default) {
                        (None | Some(Value::Null), Some(default)) => Some(default.clone()),
                        (given, _) => given,
                    };
                    items.extend(value.map(|value| (name.clone(), inner.fill(value))));
                }
                Value::Object(items)
            }
            (_, value) => value,
        }
    }
}
