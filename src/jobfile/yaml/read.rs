//! Events to nodes: anchors, aliases and merge keys are resolved, within budgets.

use std::collections::{HashMap, HashSet, VecDeque};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Tag};

use super::{Key, Kind, Node, scalar};
use crate::report::{Fault, Span};

/// How deep lists and maps may nest.
const MAX_DEPTH: usize = 40;
/// How many nodes a file may have, those that aliases repeat included.
const MAX_NODES: usize = 100_000;
/// How many bytes of text its nodes may have, those that aliases repeat included.
const MAX_BYTES: usize = 4 << 20;

/// The first document of a text, or nothing for a text without one.
pub(crate) fn read(text: &str) -> Result<Option<Node>, Fault> {
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| {
            let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
            if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
                return too_deep(Span::new(at, at));
            }
            Fault::new("syntax", Span::new(at, at), error.info())
        })?;
        let span = span.byte_range().map_or_else(Span::default, Span::from);
        builder.event(event, span)?;
    }
    Ok(builder.root)
}

fn too_deep(span: Span) -> Fault {
    let message = format!("lists and maps nest more than {MAX_DEPTH} levels deep here");
    Fault::new("too-deep", span, message)
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, Size)>,
    size: Size,
    documents: usize,
    root: Option<Node>,
}

#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

/// A list or map whose end has not come yet.
struct Open {
    span: Span,
    anchor: usize,
    before: Size,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map(Box<OpenMap>),
}

#[derive(Default)]
struct OpenMap {
    items: Vec<(Key, Node)>,
    seen: HashSet<String>,
    merges: Vec<Node>,
    key: Option<Key>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "a file holds one document, this starts another";
                    return Err(Fault::new("syntax", span, message)
                        .help("put each job into a file of its own"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let before = self.size;
                self.grow(1, text.len(), span)?;
                let kind = scalar_kind(&text, style, tag.as_deref(), span)?;
                self.done(Node { span, kind }, anchor, before)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(Content::List(Vec::new()), anchor, span)?;
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(Content::Map(Box::default()), anchor, span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return Err(Fault::new(
                        "syntax",
                        span,
                        "this alias stands inside its own anchor",
                    ));
                };
                self.grow(size.nodes, size.bytes, span)?;
                // Findings inside the copy point at the original, which is where they can be mended.
                self.done(node, 0, self.size)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn grow(&mut self, nodes: usize, bytes: usize, span: Span) -> Result<(), Fault> {
        self.size.nodes = self.size.nodes.saturating_add(nodes);
        self.size.bytes = self.size.bytes.saturating_add(bytes);
        if self.size.nodes > MAX_NODES || self.size.bytes > MAX_BYTES {
            let message = format!(
                "with its aliases this file has more than {MAX_NODES} values or {} MiB of text",
                MAX_BYTES >> 20
            );
            return Err(Fault::new("too-large", span, message));
        }
        Ok(())
    }

    fn open(&mut self, content: Content, anchor: usize, span: Span) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(span));
        }
        let before = self.size;
        self.grow(1, 0, span)?;
        self.open.push(Open { span, anchor, before, content });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let kind = match open.content {
            Content::List(items) => Kind::List(items),
            Content::Map(map) => Kind::Map(merged(*map)?),
        };
        let span = Span::new(open.span.start, end.end.max(open.span.end));
        self.done(Node { span, kind }, open.anchor, open.before)
    }

    fn done(&mut self, node: Node, anchor: usize, before: Size) -> Result<(), Fault> {
        if anchor > 0 {
            let size = Size {
                nodes: self.size.nodes - before.nodes,
                bytes: self.size.bytes - before.bytes,
            };
            // The copy that is kept for aliases is memory too.
            self.grow(size.nodes, size.bytes, node.span)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { content: Content::List(items), .. }) => items.push(node),
            Some(Open { content: Content::Map(map), .. }) => match map.key.take() {
                None => {
                    let text = match &node.kind {
                        Kind::Text(text) => text.clone(),
                        Kind::Bool(flag) => flag.to_string(),
                        Kind::Number(number) => number.to_string(),
                        Kind::Null | Kind::Broken => String::new(),
                        Kind::List(_) | Kind::Map(_) => {
                            let message = format!("a key is text, this is {}", node.kind());
                            return Err(Fault::new("wrong-type", node.span, message));
                        }
                    };
                    map.key = Some(Key { text, span: node.span });
                }
                Some(name) if name.text == "<<" => map.merges.push(node),
                Some(name) => {
                    if map.items.len() >= crate::scan::MAX_ITEMS {
                        return Err(Fault::new(
                            "too-large",
                            name.span,
                            "this map has too many keys",
                        ));
                    }
                    if !map.seen.insert(name.text.clone()) {
                        let message = format!("the key `{}` is here twice", name.text);
                        return Err(Fault::new("duplicate-key", name.span, message)
                            .help("repeated blocks are written as a list"));
                    }
                    map.items.push((name, node));
                }
            },
        }
        Ok(())
    }
}

/// `<<: *other` brings in what the map does not say itself; of several, the first wins.
fn merged(map: OpenMap) -> Result<Vec<(Key, Node)>, Fault> {
    let OpenMap { mut items, mut seen, merges, .. } = map;
    let mut queue: VecDeque<Node> = merges.into();
    while let Some(merge) = queue.pop_front() {
        match merge.kind {
            Kind::Map(more) => {
                for (key, node) in more {
                    if seen.insert(key.text.clone()) {
                        items.push((key, node));
                    }
                }
            }
            Kind::List(list) => {
                for node in list.into_iter().rev() {
                    queue.push_front(node);
                }
            }
            _ => {
                let message = format!("`<<` merges maps, this is {}", merge.kind());
                return Err(Fault::new("wrong-type", merge.span, message));
            }
        }
    }
    Ok(items)
}

fn scalar_kind(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: Span,
) -> Result<Kind, Fault> {
    match tag {
        None if style == ScalarStyle::Plain => Ok(scalar::plain(text)),
        None => Ok(Kind::Text(text.to_owned())),
        Some(tag) => {
            let known = tag.core_suffix().and_then(|suffix| scalar::tagged(suffix, text));
            known.ok_or_else(|| {
                let message = format!("the tag `{}` does not fit here", tag.original());
                Fault::new("syntax", span, message).help("leave it away")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let node = read(text).expect("reads").expect("has a document");
        node.to_value().to_json().to_string()
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved() {
        let text = "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: [*b]\n";
        let expected = r#"{"base":{"x":1,"y":2},"list":[{"x":1,"y":2}],"more":{"x":1,"y":3}}"#;
        assert_eq!(json(text), expected);
        let two = "a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b]}\n";
        assert!(json(two).contains(r#""c":{"x":1,"z":3}"#));
    }

    #[test]
    fn bombs_do_not_go_off() {
        let lines = (1..30).map(|n| {
            let list = vec![format!("*a{}", n - 1); 10].join(", ");
            format!("a{n}: &a{n} [{list}]\n")
        });
        let bomb: String = std::iter::once("a0: &a0 [x, x]\n".to_owned()).chain(lines).collect();
        assert_eq!(read(&bomb).expect_err("stops").code, "too-large");
        let deep = "[".repeat(10_000);
        assert_eq!(read(&deep).expect_err("stops").code, "too-deep");
        assert!(read("a: &a [*a]").is_err());
    }

    #[test]
    fn mistakes_have_places() {
        let fault = read("a: 1\na: 2\n").expect_err("stops");
        assert_eq!((fault.code, fault.span.start), ("duplicate-key", 5));
        assert_eq!(read("a: b: c\n").expect_err("stops").code, "syntax");
        assert!(read("").expect("reads").is_none());
    }
}
