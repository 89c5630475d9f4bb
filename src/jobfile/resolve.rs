//! From expressions to values: every attribute is evaluated and every `dynamic` block unrolled, so that what comes
//! after sees only plain data.

use std::cell::Cell;

use crate::expr::{Scope, Value};
use crate::report::{Fault, Span};
use crate::schema::{OPAQUE, Schema};
use crate::tree::{Attribute, Block, Body, Evaluated, Expr, Label};

/// How many blocks `dynamic` may make in one file.
const MAX_MADE: usize = 3_000;

/// Evaluates a body.
pub(crate) fn resolve(body: &Body<Expr>, schema: &'static Schema, scope: Scope<'_>) -> Evaluated {
    Resolver { made: Cell::new(0) }.body(body, schema, scope)
}

struct Resolver {
    made: Cell<usize>,
}

impl Resolver {
    fn body(&self, body: &Body<Expr>, schema: &'static Schema, scope: Scope<'_>) -> Evaluated {
        let mut out = Evaluated { incomplete: body.incomplete, ..Evaluated::default() };
        for attribute in &body.attributes {
            let value = scope.value(&attribute.value, attribute.value_span);
            out.attributes.push(Attribute {
                name: attribute.name.clone(),
                name_span: attribute.name_span,
                value,
                value_span: attribute.value_span,
            });
        }
        for block in &body.blocks {
            if block.kind == "dynamic" {
                self.dynamic(block, schema, scope, &mut out);
            } else {
                let inner = self.inner(&block.kind, &block.body, schema, scope);
                out.blocks.push(Block {
                    kind: block.kind.clone(),
                    kind_span: block.kind_span,
                    labels: block.labels.clone(),
                    body: inner,
                });
            }
        }
        out
    }

    fn inner(
        &self,
        kind: &str,
        body: &Body<Expr>,
        schema: &'static Schema,
        scope: Scope<'_>,
    ) -> Evaluated {
        match schema.block(kind) {
            Some(rule) => self.body(body, rule.schema(), scope),
            None if schema.open => self.body(body, &OPAQUE, scope),
            // Unknown: the reading of the job says so.
            None => Evaluated::default(),
        }
    }

    fn dynamic(
        &self,
        block: &Block<Expr>,
        schema: &'static Schema,
        scope: Scope<'_>,
        out: &mut Evaluated,
    ) {
        let sink = scope.globals.sink;
        let kind = block.label();
        let header = block.header_span();
        let missing = |what: &str| {
            let message = format!("a dynamic block needs {what}");
            sink.error(Fault::new("missing-attribute", header, message));
        };
        for attribute in &block.body.attributes {
            if !["for_each", "iterator", "labels"].contains(&attribute.name.as_str()) {
                let message = format!("`dynamic` has no attribute `{}`", attribute.name);
                let help = "what the block itself says goes into `content {}`";
                sink.error(
                    Fault::new("unknown-attribute", attribute.name_span, message).help(help),
                );
            }
        }
        let Some(content) = block.body.blocks("content").next() else {
            return missing("a `content` block");
        };
        let Some(each) = block.body.attribute("for_each") else {
            return missing("`for_each`");
        };
        let iterator = block
            .body
            .attribute("iterator")
            .map_or_else(|| kind.to_owned(), |attribute| self.iterator(attribute, scope));
        for (key, value) in scope.each(&each.value, each.value_span) {
            self.made.set(self.made.get() + 1);
            if self.made.get() > MAX_MADE {
                let message = format!("dynamic blocks make more than {MAX_MADE} blocks");
                sink.error(Fault::new("too-large", header, message));
                return;
            }
            let each = Value::Object([("key".to_owned(), key), ("value".to_owned(), value)].into());
            let frame = scope.frame(&iterator, each);
            let scope = scope.on(&frame);
            let labels = block
                .body
                .attribute("labels")
                .map_or_else(Vec::new, |attribute| self.labels(attribute, scope));
            let inner = self.inner(kind, &content.body, schema, scope);
            out.blocks.push(made(kind, header, labels, inner));
        }
    }

    /// The iterator's name is written bare in HCL.
    fn iterator(&self, attribute: &Attribute<Expr>, scope: Scope<'_>) -> String {
        match &attribute.value {
            Expr::Hcl(hcl_edit::expr::Expression::Variable(name)) => name.as_str().to_owned(),
            other => {
                let value = scope.value(other, attribute.value_span);
                value.as_text().unwrap_or_default().into_owned()
            }
        }
    }

    fn labels(&self, attribute: &Attribute<Expr>, scope: Scope<'_>) -> Vec<Label> {
        let span = attribute.value_span;
        match scope.value(&attribute.value, span) {
            Value::List(items) => items
                .iter()
                .filter_map(Value::as_text)
                .map(|text| Label { text: text.into_owned(), span })
                .collect(),
            Value::Failed => Vec::new(),
            other => {
                let message = format!("`labels` is a list, this is {}", other.kind());
                scope.globals.sink.error(Fault::new("wrong-type", span, message));
                Vec::new()
            }
        }
    }
}

fn made(kind: &str, header: Span, labels: Vec<Label>, body: Evaluated) -> Block<Value> {
    let labels = labels.into_iter().map(|label| Label { span: header, ..label }).collect();
    Block { kind: kind.to_owned(), kind_span: header, labels, body }
}
