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
//!
//! Scalars are those of YAML 1.2's core schema, and what people know otherwise from YAML 1.1 has a warning: `yes`, `on`
//! and their like are text, and so are numbers with a zero before them or `_` in them. Aliases and merge keys (`<<`) are
//! resolved; what a map says itself goes before what it merges, and of several merged maps the first. A file may hold
//! several documents.

mod body;
mod read;
mod scalar;

pub(crate) use body::{Form, to_body};
pub(crate) use read::{Documents, documents, read};

use std::collections::BTreeMap;

use crate::expr::{Evaluator, Number, Scope, Value, evaluate_template, normal};
use crate::report::{Fault, Sink, Span};
use crate::tree::{Body, Expr};
use crate::{hcl, schema};

/// Parses a job file in YAML, document by document, and reports what is wrong with it: nothing where not even the
/// syntax is right.
pub(crate) fn parse(text: &str, sink: &Sink<'_>) -> Option<Vec<Body<Expr>>> {
    let Documents { nodes, faults, warnings, is_whole } = documents(text);
    faults.into_iter().for_each(|fault| sink.error(fault));
    warnings.into_iter().for_each(|fault| sink.warning(fault));
    let bodies = nodes.into_iter().map(|node| to_body(node, &schema::ROOT, Form::Yaml, sink));
    is_whole.then(|| bodies.collect())
}

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
            Kind::Number(number) => Value::Number(number.clone()),
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
            Kind::Text(text) if is_template(text) => template(text, self.span, scope),
            Kind::Text(text) => Ok(Value::String(normal(text).into_owned())),
            Kind::List(items) => {
                let items = items.iter().map(|item| item.evaluate(scope));
                items.collect::<Result<_, _>>().map(Value::List)
            }
            Kind::Map(items) => {
                let mut out = BTreeMap::new();
                for (key, item) in items {
                    let name = if is_template(&key.text) {
                        let name = template(&key.text, key.span, scope)?;
                        name.as_text().map(|text| text.into_owned()).ok_or_else(|| {
                            let message = format!("a key is text, this is {}", name.kind());
                            Fault::new("wrong-type", key.span, message)
                        })?
                    } else {
                        normal(&key.text).into_owned()
                    };
                    let value = item.evaluate(scope)?;
                    if out.insert(name.clone(), value).is_some() {
                        let message = format!("the key `{name}` is here twice");
                        return Err(Fault::new("duplicate-key", key.span, message));
                    }
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

fn is_template(text: &str) -> bool {
    text.contains("${") || text.contains("%{")
}

/// The value of a text that is a template.
fn template(text: &str, span: Span, scope: &Scope<'_>) -> Result<Value, Fault> {
    hcl::check_template(text).map_err(|fault| within(fault, text, span, scope.globals.text))?;
    let template = hcl_edit::parser::parse_template(text).map_err(|error| {
        Fault::new("syntax", span, format!("in this text: {}", error.message()))
    })?;
    evaluate_template(&Evaluator::in_scalar(*scope, text, span), &template, span)
}

/// A mistake in a text at its place in the file, if the text stands there as it is; else at the whole text.
fn within(fault: Fault, text: &str, span: Span, file: &str) -> Fault {
    let quote =
        usize::from(file.get(span.start..).is_some_and(|rest| rest.starts_with(['"', '\''])));
    let start = span.start + quote;
    let help = if fault.help.is_empty() {
        "write `$${` where the text itself has `${`".to_owned()
    } else {
        fault.help
    };
    if file.get(start..start + text.len()) == Some(text) {
        let span = Span::new(start + fault.span.start, start + fault.span.end);
        return Fault { span, help, ..fault };
    }
    Fault { span, message: format!("in this text: {}", fault.message), help, ..fault }
}
