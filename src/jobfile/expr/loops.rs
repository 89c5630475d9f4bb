//! `for`: lists and objects made of other collections.

use std::collections::BTreeMap;
use std::rc::Rc;

use hcl_edit::Span as _;
use hcl_edit::expr::ForExpr;

use super::cty::{Fields, Value};
use super::evaluate::{Evaluation, Evaluator};
use crate::report::{Fault, Span};

/// What a `for` or a `dynamic` goes through: keys and values. The elements of a set are their own keys.
pub(super) fn each(collection: &Value, span: Span) -> Result<Vec<(Value, Value)>, Fault> {
    match collection {
        Value::Set(items) => Ok(items.items.iter().map(|v| (v.clone(), v.clone())).collect()),
        Value::List(items) | Value::Tuple(items) => {
            Ok(items.items.iter().enumerate().map(|(k, v)| (Value::count(k), v.clone())).collect())
        }
        Value::Map(items) | Value::Object(items) => {
            let items = items.items.iter();
            Ok(items.map(|(k, v)| (Value::String(Rc::clone(k)), v.clone())).collect())
        }
        Value::Failed => Err(Fault::reported()),
        other => {
            let kind = other.kind();
            let message = format!("only lists and maps can be gone through, this is {kind}");
            Err(Fault::new("wrong-type", span, message))
        }
    }
}

impl Evaluator<'_> {
    pub(super) fn for_each(&self, run: &ForExpr, span: Span) -> Evaluation {
        let collection = self.typed(&run.intro.collection_expr)?;
        let place = self.place(run.intro.collection_expr.span());
        let value_name = run.intro.value_var.as_str();
        let key_name = run.intro.key_var.as_ref().map_or("", |name| name.as_str());
        let mut list = Vec::new();
        let mut object = Fields::new();
        let mut groups: BTreeMap<Rc<str>, Vec<Value>> = BTreeMap::new();
        for (key, value) in each(&collection, place)? {
            let keys = self.scope.frame_of(key_name, key);
            let on_keys = self.scope.on(&keys);
            let values = on_keys.frame_of(value_name, value);
            let inner = self.with_scope(on_keys.on(&values));
            if let Some(condition) = &run.cond
                && !inner.condition(&condition.expr)?
            {
                continue;
            }
            let Some(key) = &run.key_expr else {
                list.push(inner.typed(&run.value_expr)?);
                continue;
            };
            let name = inner.key(key)?;
            let result = inner.typed(&run.value_expr)?;
            if run.grouping {
                groups.entry(name).or_default().push(result);
            } else if object.insert(Rc::clone(&name), result).is_some() {
                let message = format!("this makes the key `{name}` twice");
                let help = "add `...` after the value to gather them in lists";
                return Err(Fault::new("duplicate-key", span, message).help(help));
            }
        }
        object.extend(groups.into_iter().map(|(name, items)| (name, Value::tuple(items))));
        let made = if run.key_expr.is_some() { Value::object(object) } else { Value::tuple(list) };
        self.made(made, span)
    }
}
