//! Nodes to bodies: the grammar says which keys are blocks.

use super::{Key, Kind, Node};
use crate::report::{Fault, Sink, Span};
use crate::schema::{Rule, Schema};
use crate::tree::{Attribute, Block, Body, Expr, Label};

/// A map as a body of this grammar.
pub(crate) fn to_body(node: Node, schema: &'static Schema, sink: &Sink<'_>) -> Body<Expr> {
    let mut body = Body::default();
    let items = match node.kind {
        Kind::Map(items) => items,
        Kind::Null => return body,
        _ => {
            let message = format!("a map is needed here, this is {}", node.kind());
            sink.error(Fault::new("wrong-type", node.span, message));
            return body;
        }
    };
    for (key, value) in items {
        if key.text == "dynamic" && !schema.open {
            dynamic(key, value, schema, sink, &mut body);
            continue;
        }
        match schema.block(&key.text) {
            Some(rule) => blocks(&key, rule, Vec::new(), value, sink, &mut body),
            None => body.attributes.push(attribute(key, value)),
        }
    }
    body
}

fn attribute(key: Key, value: Node) -> Attribute<Expr> {
    Attribute {
        name: key.text,
        name_span: key.span,
        value_span: value.span,
        value: Expr::Yaml(value),
    }
}

/// Peels off the labels, then the list of repeated bodies.
fn blocks(
    key: &Key,
    rule: &'static Rule,
    labels: Vec<Label>,
    value: Node,
    sink: &Sink<'_>,
    body: &mut Body<Expr>,
) {
    match value.kind {
        Kind::List(items) => {
            for item in items {
                if matches!(item.kind, Kind::List(_)) {
                    wrong(key, item.span, "a list in a list", sink);
                } else {
                    blocks(key, rule, labels.clone(), item, sink, body);
                }
            }
        }
        Kind::Map(items) if labels.len() < rule.labels() => {
            for (label, inner) in items {
                let mut labels = labels.clone();
                labels.push(Label { text: label.text, span: label.span });
                blocks(key, rule, labels, inner, sink, body);
            }
        }
        Kind::Map(_) | Kind::Null if labels.len() == rule.labels() => {
            body.blocks.push(Block {
                kind: key.text.clone(),
                kind_span: labels.last().map_or(key.span, |label| label.span),
                labels,
                body: to_body(value, rule.schema(), sink),
            });
        }
        _ => wrong(key, value.span, value.kind(), sink),
    }
}

fn wrong(key: &Key, span: Span, found: &str, sink: &Sink<'_>) {
    let message = format!("`{}` is a block, which is a map, this is {found}", key.text);
    sink.error(Fault::new("wrong-type", span, message));
}

/// `dynamic: {port: {for_each: …, content: {…}}}`: the content follows the grammar of the block that it makes.
fn dynamic(key: Key, value: Node, schema: &'static Schema, sink: &Sink<'_>, body: &mut Body<Expr>) {
    let Kind::Map(kinds) = value.kind else {
        wrong(&key, value.span, value.kind(), sink);
        return;
    };
    for (kind, inner) in kinds {
        let each = match inner.kind {
            Kind::List(items) => items,
            _ => vec![inner],
        };
        for inner in each {
            let Kind::Map(items) = inner.kind else {
                wrong(&kind, inner.span, inner.kind(), sink);
                continue;
            };
            let mut made = Body::default();
            for (name, value) in items {
                if name.text == "content" {
                    let grammar =
                        schema.block(&kind.text).map_or(&crate::schema::OPAQUE, Rule::schema);
                    made.blocks.push(Block {
                        kind: name.text,
                        kind_span: name.span,
                        labels: Vec::new(),
                        body: to_body(value, grammar, sink),
                    });
                } else {
                    made.attributes.push(attribute(name, value));
                }
            }
            body.blocks.push(Block {
                kind: key.text.clone(),
                kind_span: key.span,
                labels: vec![Label { text: kind.text.clone(), span: kind.span }],
                body: made,
            });
        }
    }
}
