//! YAML to the same tree as HCL.
//!
//! The shape is that of HCL's JSON form: attributes are keys; a block is a key whose value is a map, or a list of maps
//! where it is repeated; a block's labels are keys between it and its body:
//!
//! ```yaml
//! job:
//!   web:
//!     group:
//!       app:
//!         network:
//!           port: { http: { to: 8080 } }
//!         constraint:
//!           - { attribute: "${attr.kernel.name}", value: linux }
//! ```
//!
//! Which keys are blocks follows from the grammar in [`crate::schema`]. Texts are templates, as in HCL: `${var.x}` is
//! evaluated and `$${` is a plain `${`.

mod body;
mod read;
mod scalar;

pub(crate) use body::to_body;
pub(crate) use read::read;

use std::collections::BTreeMap;

use crate::expr::{Evaluator, Number, Scope, Value, evaluate_template};
use crate::report::{Fault, Span};

/// A YAML value and its place. Aliases and merge keys are resolved.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// What could not be read, and has been reported.
    Broken,
}

/// A key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl Node {
    /// A value that could not be read, and has been reported.
    pub(crate) const fn broken(span: Span) -> Self {
        Self { span, kind: Kind::Broken }
    }

    /// The value, with templates left as they are.
    pub(crate) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Broken => Value::Failed,
            Kind::Null => Value::Null,
            Kind::Bool(flag) => Value::Bool(*flag),
            Kind::Number(number) => Value::Number(*number),
            Kind::Text(text) => Value::text(text),
            Kind::List(items) => Value::List(items.iter().map(Self::to_value).collect()),
            Kind::Map(items) => Value::Object(
                items.iter().map(|(key, item)| (key.text.clone(), item.to_value())).collect(),
            ),
        }
    }

    /// The value, with templates evaluated.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, Fault> {
        match &self.kind {
            Kind::Text(text) if text.contains("${") || text.contains("%{") => {
                let template = hcl_edit::parser::parse_template(text).map_err(|error| {
                    Fault::new("syntax", self.span, format!("in this text: {}", error.message()))
                        .help("write `$${` where the text itself has `${`")
                })?;
                let evaluator = Evaluator::in_scalar(*scope, text, self.span);
                evaluate_template(&evaluator, &template, self.span)
            }
            Kind::List(items) => {
                let items = items.iter().map(|item| item.evaluate(scope));
                items.collect::<Result<_, _>>().map(Value::List)
            }
            Kind::Map(items) => {
                let mut out = BTreeMap::new();
                for (key, item) in items {
                    out.insert(key.text.clone(), item.evaluate(scope)?);
                }
                Ok(Value::Object(out))
            }
            Kind::Broken => Err(Fault::reported()),
            _ => Ok(self.to_value()),
        }
    }

    /// The kind of node, in words for a message.
    pub(crate) const fn kind(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "empty",
            Kind::Broken => "not readable",
            Kind::Bool(_) => "a bool",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a string",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}
