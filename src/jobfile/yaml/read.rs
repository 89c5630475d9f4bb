//! Events to nodes: anchors, aliases and merge keys are resolved, within budgets.

use std::collections::{HashMap, VecDeque};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Tag};

use super::{Key, Kind, Node, scalar};
use crate::report::{Fault, Span};

/// How deep lists and maps may nest.
const MAX_DEPTH: usize = 40;
/// How many nodes a file may have, keys and those that aliases repeat included.
const MAX_NODES: usize = 40_000;
/// How many keys a map may have.
const MAX_KEYS: usize = 5_000;
/// How many bytes of text its nodes may have, those that aliases repeat included.
const MAX_BYTES: usize = 4 << 20;

/// What a text comes to.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// The roots of its documents. Empty ones are left out.
    pub(crate) nodes: Vec<Node>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) warnings: Vec<Fault>,
    /// Whether it was read to its end.
    pub(crate) is_whole: bool,
}

/// The only document of a text that has no mistakes, or nothing for a text without one.
pub(crate) fn read(text: &str) -> Result<Option<Node>, Fault> {
    let Documents { nodes, faults, .. } = documents(text);
    if let Some(fault) = faults.into_iter().next() {
        return Err(fault);
    }
    let mut nodes = nodes.into_iter();
    let first = nodes.next();
    match nodes.next() {
        Some(second) => Err(Fault::new("syntax", second.span, "this starts another document")
            .help("only one is wanted here")),
        None => Ok(first),
    }
}

/// All documents of a text, and all that is wrong with them.
pub(crate) fn documents(text: &str) -> Documents {
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder { text, ..Builder::default() };
    let mut is_whole = true;
    for next in Parser::new_from_str_with_options(text, options) {
        let result = next.map_err(|error| {
            let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
            if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
                return too_deep(Span::new(at, at));
            }
            syntax_fault(text, at, &error.info())
        });
        let result = result.and_then(|(event, span)| {
            let span = span.byte_range().map_or_else(Span::default, Span::from);
            builder.event(event, span)
        });
        if let Err(fault) = result {
            builder.faults.push(fault);
            is_whole = false;
            break;
        }
    }
    let Builder { nodes, faults, warnings, .. } = builder;
    Documents { nodes, faults, warnings, is_whole }
}

/// What the parser says, with what is likely meant.
fn syntax_fault(text: &str, at: usize, info: &str) -> Fault {
    let fault = Fault::new("syntax", Span::new(at, at), in_plain_words(info));
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |n| n + 1);
    let lines = text.get(start..).unwrap_or("").lines();
    let above = text.get(..start).unwrap_or("").lines().next_back();
    let near = || above.into_iter().chain(lines.clone().take(1));
    if near().any(|line| line.trim_start_matches(' ').starts_with('\t')) {
        return fault.help("YAML is indented with spaces, not with tabs");
    }
    let line = lines.clone().next().unwrap_or("");
    if line.contains(" = ") || line.trim_end().ends_with('{') {
        return fault.help("this looks like HCL, which stands in a file named .nomad.hcl");
    }
    let no_blank = |line: &str| {
        let word = line.trim().split(':').next().unwrap_or("");
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !word.is_empty() && word.chars().all(is_word) && !line.contains([' ', '"']) && {
            line.contains(':') && !line.ends_with(':')
        }
    };
    if let Some(above) = above
        && no_blank(above.trim())
    {
        return fault.help("behind a `:` stands a blank; the line above has none");
    }
    if line.matches(": ").count() > 1 && !line.contains(['{', '"', '\'']) {
        return fault.help("text with `: ` in it stands in quotes");
    }
    if info.contains("did not find expected key") || info.contains("mapping values") {
        return fault
            .help("the keys of a map start in the same column, and what is in them further right");
    }
    fault
}

/// What the parser says, in words for somebody who has not read the specification of YAML.
fn in_plain_words(info: &str) -> String {
    let words = match info {
        _ if info.starts_with("while parsing a block mapping, did not find expected key") => {
            "this line does not continue the map above it"
        }
        _ if info.starts_with("mapping values are not allowed") => "a `:` cannot stand here",
        _ if info.starts_with("tabs disallowed") => "the indentation has a tab",
        _ => info,
    };
    words.to_owned()
}

fn too_deep(span: Span) -> Fault {
    let message = format!("lists and maps nest more than {MAX_DEPTH} levels deep here");
    Fault::new("too-deep", span, message)
}

#[derive(Default)]
struct Builder<'a> {
    text: &'a str,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, Size)>,
    size: Size,
    nodes: Vec<Node>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
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
    seen: HashMap<String, Span>,
    merges: Vec<Node>,
    next: Option<Next>,
}

/// What the next value of a map is for.
enum Next {
    Key(Key),
    Merge,
}

/// How many mistakes of one file are worth reading.
const MAX_FAULTS: usize = 50;

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let before = self.size;
                self.grow(1, text.len(), span)?;
                let kind = self.scalar(&text, style, tag.as_deref(), span)?;
                let is_merge = style == ScalarStyle::Plain && text == "<<" && self.wants_key();
                if is_merge {
                    if let Some(Open { content: Content::Map(map), .. }) = self.open.last_mut() {
                        map.next = Some(Next::Merge);
                    }
                    return Ok(());
                }
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

    /// Whether the next value is the key of a map.
    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Map(map), .. }) if map.next.is_none())
    }

    /// What is wrong, without being in the way of the rest.
    fn fault(&mut self, fault: Fault) -> Result<(), Fault> {
        if self.faults.len() + 1 >= MAX_FAULTS {
            return Err(fault);
        }
        self.faults.push(fault);
        Ok(())
    }

    /// The line of a place, for a message that already has another place.
    fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or("").matches('\n').count() + 1
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
            Content::Map(map) => Kind::Map(self.merged(*map)?),
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
        let map = match self.open.last_mut() {
            None => {
                self.nodes.push(node);
                return Ok(());
            }
            Some(Open { content: Content::List(items), .. }) => {
                items.push(node);
                return Ok(());
            }
            Some(Open { content: Content::Map(map), .. }) => map,
        };
        match map.next.take() {
            None => {
                let text = match &node.kind {
                    Kind::Text(text) => text.clone(),
                    Kind::Bool(flag) => flag.to_string(),
                    Kind::Number(_) => {
                        self.text.get(node.span.start..node.span.end).unwrap_or("").to_owned()
                    }
                    Kind::Null | Kind::Broken => String::new(),
                    Kind::List(_) | Kind::Map(_) => {
                        let message = format!("a key is text, this is {}", node.kind());
                        return Err(Fault::new("wrong-type", node.span, message)
                            .help("text with `{` or `[` before it stands in quotes"));
                    }
                };
                map.next = Some(Next::Key(Key { text, span: node.span }));
            }
            Some(Next::Merge) => map.merges.push(node),
            Some(Next::Key(name)) => {
                if map.items.len() >= MAX_KEYS {
                    return Err(Fault::new("too-large", name.span, "this map has too many keys"));
                }
                match map.seen.get(&name.text).copied() {
                    None => {
                        map.seen.insert(name.text.clone(), name.span);
                        map.items.push((name, node));
                    }
                    Some(first) => {
                        let line = self.line(first.start);
                        let message =
                            format!("the key `{}` is here twice, first in line {line}", name.text);
                        self.fault(
                            Fault::new("duplicate-key", name.span, message)
                                .help("repeated blocks are written as a list"),
                        )?;
                    }
                }
            }
        }
        Ok(())
    }

    /// `<<: *other` brings in what the map does not say itself; of several, the first wins.
    fn merged(&mut self, map: OpenMap) -> Result<Vec<(Key, Node)>, Fault> {
        let OpenMap { mut items, mut seen, merges, .. } = map;
        let mut queue: VecDeque<Node> = merges.into();
        while let Some(merge) = queue.pop_front() {
            match merge.kind {
                Kind::Map(more) => {
                    for (key, node) in more {
                        if !seen.contains_key(&key.text) {
                            seen.insert(key.text.clone(), key.span);
                            items.push((key, node));
                        }
                    }
                }
                Kind::List(list) => {
                    for node in list.into_iter().rev() {
                        queue.push_front(node);
                    }
                }
                Kind::Broken => {}
                _ => {
                    let message = format!("`<<` merges maps, this is {}", merge.kind());
                    self.fault(Fault::new("wrong-type", merge.span, message))?;
                }
            }
        }
        if items.len() > MAX_KEYS {
            let span = items.first().map_or_else(Span::default, |(key, _)| key.span);
            return Err(Fault::new("too-large", span, "this map has too many keys"));
        }
        Ok(items)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<Kind, Fault> {
        let Some(tag) = tag else {
            if style != ScalarStyle::Plain {
                return Ok(Kind::Text(text.to_owned()));
            }
            if let Some(surprise) = scalar::surprise(text)
                && !self.wants_key()
                && self.warnings.len() < MAX_FAULTS
            {
                let message = format!("`{text}` is the text \"{text}\" here, {surprise}");
                let help = format!("write '{text}' if the text is meant, and nothing is said");
                self.warnings.push(Fault::new("surprising-scalar", span, message).help(help));
            }
            return Ok(scalar::plain(text));
        };
        if let Some(kind) = tag.core_suffix().and_then(|suffix| scalar::tagged(suffix, text)) {
            return Ok(kind);
        }
        let message = format!("the tag `{}` does not fit here", tag.original());
        self.fault(Fault::new("syntax", span, message).help("leave it away"))?;
        Ok(Kind::Broken)
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
        assert_eq!(fault.message, "the key `a` is here twice, first in line 1");
        let found = documents("a: 1\na: 2\nb: !x 1\nc: {d: 1, d: 2}\n<<: 3\n");
        assert!(found.is_whole);
        assert_eq!(found.faults.len(), 4, "{:?}", found.faults);
        let help = |text: &str| read(text).expect_err("stops").help;
        assert_eq!(help("a:\n\tb: 1\n"), "YAML is indented with spaces, not with tabs");
        assert_eq!(help("a: b: c\n"), "text with `: ` in it stands in quotes");
        assert_eq!(read("a: b: c\n").expect_err("stops").code, "syntax");
        assert!(read("").expect("reads").is_none());
    }

    #[test]
    fn a_file_may_hold_several_documents() {
        let found = documents("a: &x 1\n---\nb: 2\n---\n# nothing\n---\nc: 3\n");
        assert_eq!(found.nodes.iter().filter(|node| matches!(node.kind, Kind::Map(_))).count(), 3);
        assert!(read("a: 1\n---\nb: 2\n").is_err());
        assert!(!documents("a: &x 1\n---\nb: *x\n").is_whole);
    }

    #[test]
    fn what_yaml_1_1_took_otherwise_has_a_warning() {
        let found =
            documents("a: yes\nb: 0644\nc: 1_000\nd: 'yes'\nyes: 1\ne: 0x10\nf: 0o17\ng: off\n");
        let words: Vec<_> = found.warnings.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(
            words,
            [
                "`yes` is the text \"yes\" here, neither true nor false",
                "`0644` is the text \"0644\" here, not a number",
                "`1_000` is the text \"1_000\" here, not a number",
                "`off` is the text \"off\" here, neither true nor false",
            ]
        );
    }

    #[test]
    fn only_a_plain_key_merges() {
        assert_eq!(json("a: &a {x: 1}\nb: {\"<<\": *a}\n"), r#"{"a":{"x":1},"b":{"<<":{"x":1}}}"#);
        assert_eq!(json("a: &a {x: 1}\nb:\n  x: 2\n  <<: *a\n"), r#"{"a":{"x":1},"b":{"x":2}}"#);
    }
}
