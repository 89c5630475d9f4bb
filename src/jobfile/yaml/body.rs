//! Nodes to bodies: the grammar says which keys are blocks.

use std::cell::Cell;
use std::collections::HashSet;

use super::{Key, Kind, Node};
use crate::hcl;
use crate::report::{Fault, Sink, Span};
use crate::schema::{Rule, Schema};
use crate::tree::{Attribute, Block, Body, Expr, Label};

/// Which of the two forms a node was written in. They differ in few things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An empty value is a block without content, because that is how people write one.
    Yaml,
    /// HCL's JSON: `null` is no block, `//` is a comment, and a key may come several times.
    Json,
}

/// A map as a body of this grammar.
pub(crate) fn to_body(
    node: Node,
    schema: &'static Schema,
    form: Form,
    sink: &Sink<'_>,
) -> Body<Expr> {
    let made = Cell::new(0);
    to_inner_body(node, schema, &Way { form, sink, made: &made })
}

/// What stays the same on the way through a file.
#[derive(Clone, Copy)]
struct Way<'a> {
    form: Form,
    sink: &'a Sink<'a>,
    /// How many blocks there were.
    made: &'a Cell<usize>,
}

impl Way<'_> {
    /// Whether there may be one more block.
    fn one_more(&self, span: Span) -> bool {
        self.made.set(self.made.get() + 1);
        if self.made.get() == hcl::MAX_BLOCKS + 1 {
            self.sink.error(hcl::too_many_blocks(span));
        }
        self.made.get() <= hcl::MAX_BLOCKS
    }
}

fn to_inner_body(node: Node, schema: &'static Schema, way: &Way<'_>) -> Body<Expr> {
    let Way { form, sink, .. } = *way;
    let mut body = Body::default();
    let items = match node.kind {
        Kind::Map(items) => items,
        Kind::Null => return body,
        _ => {
            let message = format!("a map is needed here, this is {}", node.kind());
            sink.error(Fault::new("wrong-type", node.span, message));
            body.incomplete = true;
            return body;
        }
    };
    let mut names = HashSet::new();
    for (key, value) in items {
        if key.text == "//" && form == Form::Json {
            continue;
        }
        if key.text == "dynamic" && !schema.open {
            dynamic(key, value, schema, way, &mut body);
            continue;
        }
        match schema.block(&key.text) {
            // A map that an expression makes.
            Some(rule) if rule.or_attribute && is_expression(&value) => {
                body.attributes.push(attribute(key, value));
            }
            Some(rule) => {
                let blocks = Blocks { key: &key, rule, way };
                blocks.value(&[], value, false, &mut body);
            }
            None if names.insert(key.text.clone()) => body.attributes.push(attribute(key, value)),
            None => {
                let message = "this attribute is in this block twice";
                let fault = Fault::new("duplicate-attribute", key.span, message);
                sink.error(fault.help("keep one of them"));
            }
        }
    }
    body
}

fn is_expression(value: &Node) -> bool {
    matches!(&value.kind, Kind::Text(text) if text.starts_with("${"))
}

fn attribute(key: Key, value: Node) -> Attribute<Expr> {
    Attribute {
        name: key.text,
        name_span: key.span,
        value_span: value.span,
        value: Expr::Yaml(value),
    }
}

/// The blocks of one key.
struct Blocks<'a> {
    key: &'a Key,
    rule: &'static Rule,
    way: &'a Way<'a>,
}

impl Blocks<'_> {
    /// Peels off the labels, then the list of repeated bodies.
    fn value(&self, labels: &[Label], value: Node, in_list: bool, body: &mut Body<Expr>) {
        let needed = self.rule.labels();
        let is_bare = labels.len() == needed;
        match value.kind {
            Kind::List(items) if !in_list || (is_bare && self.way.form == Form::Json) => {
                if items.is_empty() && !is_bare {
                    self.unlabelled();
                }
                for item in items {
                    self.value(labels, item, true, body);
                }
            }
            Kind::Map(items) if !is_bare => {
                if items.is_empty() {
                    self.unlabelled();
                }
                if let Some((name, place)) = flat(&items) {
                    self.without_name(name, place);
                    body.incomplete = true;
                    return;
                }
                for (label, inner) in items {
                    let mut labels = labels.to_vec();
                    labels.push(Label { text: label.text, span: label.span });
                    self.value(&labels, inner, false, body);
                }
            }
            Kind::Null if is_bare && self.way.form == Form::Json && !in_list => {}
            Kind::Map(_) | Kind::Null if is_bare => {
                if !self.way.one_more(self.key.span) {
                    body.incomplete = true;
                    return;
                }
                body.blocks.push(Block {
                    kind: self.key.text.clone(),
                    kind_span: labels.last().map_or(self.key.span, |label| label.span),
                    labels: labels.to_vec(),
                    body: to_inner_body(value, self.rule.schema(), self.way),
                });
            }
            Kind::Null if !in_list => self.unlabelled(),
            Kind::Broken => body.incomplete = true,
            Kind::List(_) => self.wrong(value.span, "a list in a list", body),
            _ => self.wrong(value.span, value.kind(), body),
        }
    }

    fn unlabelled(&self) {
        let name = &self.key.text;
        let message = format!("`{name}` needs a label");
        let help =
            format!("between `{name}` and its content stands a name: {name}: {{ name: {{ … }} }}");
        self.way.sink.error(Fault::new("missing-label", self.key.span, message).help(help));
    }

    /// The content stands where its name should stand.
    fn without_name(&self, name: Option<&str>, place: Span) {
        let kind = &self.key.text;
        let message = format!("`{kind}` needs its name as a key around this");
        let name = name.unwrap_or("name");
        let help = format!("write {kind}: {{ {name}: {{ … }} }}");
        self.way.sink.error(Fault::new("missing-label", place, message).help(help));
    }

    fn wrong(&self, span: Span, found: &str, body: &mut Body<Expr>) {
        if self.rule.labels() > 0 && found != "a list in a list" {
            let key = &self.key.text;
            let message = format!("`{key}` is a map of names, this is {found}");
            let help = format!("write {key}: {{ name: {{ … }} }}");
            self.way.sink.error(Fault::new("wrong-type", span, message).help(help));
            body.incomplete = true;
            return;
        }
        wrong(self.key, span, found, self.way.sink);
        body.incomplete = true;
    }
}

/// Whether a map is a block's content rather than a map of names: some value in it is no map. Says what it is named by
/// `name`, and where it starts.
fn flat(items: &[(Key, Node)]) -> Option<(Option<&str>, Span)> {
    let is_plain =
        |node: &Node| matches!(node.kind, Kind::Text(_) | Kind::Number(_) | Kind::Bool(_));
    let start = items.iter().find(|(_, value)| is_plain(value))?.0.span;
    let name = items.iter().find_map(|(key, value)| match &value.kind {
        Kind::Text(text) if key.text == "name" => Some(text.as_str()),
        _ => None,
    });
    Some((name, start))
}

fn wrong(key: &Key, span: Span, found: &str, sink: &Sink<'_>) {
    let message = format!("`{}` is a block, which is a map, this is {found}", key.text);
    sink.error(Fault::new("wrong-type", span, message));
}

/// `dynamic: {port: {for_each: …, content: {…}}}`: the content follows the grammar of the block that it makes.
fn dynamic(key: Key, value: Node, schema: &'static Schema, way: &Way<'_>, body: &mut Body<Expr>) {
    let sink = way.sink;
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
                        body: to_inner_body(value, grammar, way),
                    });
                } else {
                    made.attributes.push(attribute(name, value));
                }
            }
            if !way.one_more(key.span) {
                body.incomplete = true;
                return;
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
