//! HCL's JSON form to the tree: attributes are keys, a block is a key whose value is an object, its labels are keys
//! between it and its body, and a list stands for several (see [`crate::yaml`], whose nodes these are). Strings are
//! templates. A key `//` in a body is a comment.

use crate::expr::Number;
use crate::report::{Fault, Sink, Span};
use crate::schema;
use crate::tree::{Body, Expr};
use crate::yaml::{Form, Key, Kind, Node, to_body};

/// How deep lists and objects may nest.
const MAX_DEPTH: usize = 40;
/// How many values a file may have.
const MAX_NODES: usize = 20_000;

/// Parses a job file in HCL's JSON form, and reports what is wrong with it.
pub(crate) fn parse(text: &str, sink: &Sink<'_>) -> Option<Body<Expr>> {
    match read(text) {
        Ok(node) => Some(to_body(node, &schema::ROOT, Form::Json, sink)),
        Err(fault) => {
            sink.error(fault);
            None
        }
    }
}

/// Reads JSON. Keys that come twice are kept, each with its place.
pub(crate) fn read(text: &str) -> Result<Node, Fault> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, depth: 0, nodes: 0 };
    let node = reader.value()?;
    reader.skip();
    match reader.byte() {
        None => Ok(node),
        Some(_) => Err(reader.expected("the end of the file")),
    }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    nodes: usize,
}

impl Reader<'_> {
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expected(&self, what: &str) -> Fault {
        let next = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        let found = match next {
            None => "the end of the file".to_owned(),
            Some(c) if c.is_control() => format!("the character {c:?}"),
            Some(c) => format!("`{c}`"),
        };
        let span = Span::new(self.at, self.at + next.map_or(0, char::len_utf8));
        let fault = Fault::new("syntax", span, format!("{what} is needed here, this is {found}"));
        match next {
            Some('/' | '#') => fault.help("JSON has no comments; write a key \"//\" with the text"),
            Some('\'') => fault.help("strings stand in double quotes"),
            Some('=') => fault.help("this file starts as JSON: keys are followed by `:`"),
            _ => fault,
        }
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("this nests more than {MAX_DEPTH} levels deep");
            return Err(Fault::new("too-deep", Span::new(self.at, self.at + 1), message));
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Node, Fault> {
        self.skip();
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the file has more than {MAX_NODES} values");
            return Err(Fault::new("too-large", Span::new(self.at, self.at), message)
                .help("large data belongs into a file or artifact of its own"));
        }
        let start = self.at;
        let kind = match self.byte() {
            Some(b'{') => {
                self.deeper()?;
                let object = self.object()?;
                self.depth -= 1;
                Kind::Map(object)
            }
            Some(b'[') => {
                self.deeper()?;
                let list = self.list()?;
                self.depth -= 1;
                Kind::List(list)
            }
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node { span: Span::new(start, self.at), kind })
    }

    fn object(&mut self) -> Result<Vec<(Key, Node)>, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip();
            match self.byte() {
                Some(b'}') if items.is_empty() => break,
                Some(b'"') => {}
                Some(b'}') => return Err(self.trailing_comma()),
                _ => {
                    let fault = self.expected("a key in double quotes");
                    return Err(fault);
                }
            }
            let start = self.at;
            let text = self.string()?;
            let key = Key { text, span: Span::new(start, self.at) };
            self.skip();
            if self.byte() != Some(b':') {
                return Err(self.expected("`:`"));
            }
            self.at += 1;
            items.push((key, self.value()?));
            self.skip();
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.expected("`,` or `}`")),
            }
        }
        self.at += 1;
        Ok(items)
    }

    fn list(&mut self) -> Result<Vec<Node>, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip();
            if self.byte() == Some(b']') {
                if !items.is_empty() {
                    return Err(self.trailing_comma());
                }
                break;
            }
            items.push(self.value()?);
            self.skip();
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.expected("`,` or `]`")),
            }
        }
        self.at += 1;
        Ok(items)
    }

    fn trailing_comma(&self) -> Fault {
        let before = self.text.get(..self.at).unwrap_or("");
        let at = before.rfind(',').unwrap_or(self.at);
        Fault::new("syntax", Span::new(at, at + 1), "JSON has no comma behind the last item")
            .help("delete it")
    }

    fn word(&mut self) -> Result<Kind, Fault> {
        for (word, kind) in
            [("true", Kind::Bool(true)), ("false", Kind::Bool(false)), ("null", Kind::Null)]
        {
            let rest = self.text.get(self.at..).unwrap_or("");
            let behind = rest.strip_prefix(word);
            if behind.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric())) {
                self.at += word.len();
                return Ok(kind);
            }
        }
        Err(self.expected("a value"))
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let start = self.at;
        let digits = |reader: &mut Self| {
            let before = reader.at;
            while reader.byte().is_some_and(|byte| byte.is_ascii_digit()) {
                reader.at += 1;
            }
            reader.at > before
        };
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.at;
        let mut fits = digits(self);
        fits &= self.bytes.get(whole) != Some(&b'0') || self.at == whole + 1;
        if self.byte() == Some(b'.') {
            self.at += 1;
            fits &= digits(self);
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            fits &= digits(self);
        }
        let text = self.text.get(start..self.at).unwrap_or("");
        let span = Span::new(start, self.at);
        match Number::parse(text) {
            Some(number) if fits => Ok(Kind::Number(number)),
            _ if fits => Err(Fault::new("syntax", span, "this number is too large")),
            _ => Err(Fault::new("syntax", span, "this is not how JSON writes a number")
                .help("digits, without zeros or `+` before them: 10, -0.5, 1e3")),
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        let opened = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20));
            let end = self.at + plain.unwrap_or(rest.len());
            text.push_str(self.text.get(self.at..end).unwrap_or(""));
            self.at = end;
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                None | Some(b'\n' | b'\r') => {
                    let span = Span::new(opened, self.at);
                    return Err(Fault::new("syntax", span, "this string is not closed")
                        .help("add a `\"`; a line's end in a string is written `\\n`"));
                }
                Some(_) => {
                    let span = Span::new(self.at, self.at + 1);
                    return Err(Fault::new(
                        "syntax",
                        span,
                        "this character is written as an escape",
                    )
                    .help("a tab is \\t"));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        self.at += 2;
        Ok(match self.bytes.get(start + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.four_digits(start)?;
                let low = self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u"));
                if (0xd800..0xdc00).contains(&first) && low {
                    let before = self.at;
                    self.at += 2;
                    let second = self.four_digits(start)?;
                    if (0xdc00..0xe000).contains(&second) {
                        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    self.at = before;
                }
                char::from_u32(first).unwrap_or('\u{fffd}')
            }
            _ => {
                let next = self.text.get(start + 1..).and_then(|rest| rest.chars().next());
                let end = start + 1 + next.filter(|c| !c.is_control()).map_or(0, char::len_utf8);
                let span = Span::new(start, end);
                return Err(Fault::new("syntax", span, "JSON has no such escape sequence")
                    .help("a backslash itself is `\\\\`"));
            }
        })
    }

    fn four_digits(&mut self, start: usize) -> Result<u32, Fault> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.ok_or_else(|| {
            let message = "behind \\u stand the 4 digits of a character's code";
            Fault::new("syntax", Span::new(start, start + 2), message)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::Value as Json;

    use super::*;
    use crate::yaml::Node;

    /// Numbers of more than 64 bits, `-0`, and what is a mistake only where it is evaluated.
    const SKIPPED: [&str; 3] = ["{\"a\": 1e400}", "{\"a\": -0}", "{\"a\": {\"k\":1,\"k\":2}}"];

    /// What HashiCorp's own parser says of small texts, in `fixtures/syntax/json.json`.
    #[test]
    fn agrees_with_the_original() {
        let snippets: Vec<Json> =
            serde_json::from_str(include_str!("../../fixtures/syntax/json.json")).expect("is JSON");
        assert!(snippets.len() > 120, "{} are too few", snippets.len());
        let mut wrong = Vec::new();
        for snippet in &snippets {
            let text = snippet["text"].as_str().expect("has a text");
            if !text.trim_start().starts_with('{') || SKIPPED.contains(&text) {
                continue;
            }
            let sink = Sink::new("a.json", text);
            let body = parse(text, &sink);
            let found: Vec<_> = sink.finish().into_iter().map(|found| found.message).collect();
            let expected = snippet["ok"].as_bool().expect("has a verdict");
            if expected != found.is_empty() {
                wrong.push(format!("{text}: expected {expected}, found {found:?}"));
            } else if expected {
                let (found, wanted) = (shape(&body.expect("reads")), wanted(&snippet["body"]));
                if found != wanted {
                    wrong.push(format!("{text}: expected {wanted}, found {found}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    }

    fn shape(body: &Body<Expr>) -> String {
        let mut out = String::new();
        for attribute in &body.attributes {
            let Expr::Yaml(node) = &attribute.value else { panic!("is a node") };
            let place = attribute.value_span;
            let value = if is_plain(node) { node.to_value().to_json() } else { Json::Null };
            let _ = write!(out, "{}@{}-{}={value} ", attribute.name, place.start, place.end);
        }
        for block in &body.blocks {
            let labels: Vec<_> = block.labels.iter().map(|label| &label.text).collect();
            let _ = write!(out, "{}{labels:?}{{{}}} ", block.kind, shape(&block.body));
        }
        out
    }

    /// Small numbers, and texts that are no templates.
    fn is_plain(node: &Node) -> bool {
        match &node.kind {
            Kind::Text(text) => !text.contains("${") && !text.contains("%{"),
            Kind::Number(_) => node.span.end - node.span.start < 4,
            Kind::List(items) => items.iter().all(is_plain),
            Kind::Map(items) => {
                items.iter().all(|(key, item)| !key.text.contains('{') && is_plain(item))
            }
            _ => true,
        }
    }

    fn wanted(body: &Json) -> String {
        let mut out = String::new();
        let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
        for attribute in list(&body["attributes"]) {
            let place = &attribute["place"];
            let text = attribute["value"].to_string();
            let long = place[1].as_u64() > place[0].as_u64().map(|start| start + 3);
            let is_number = attribute["value"].is_number();
            let fails = attribute["fails"].is_string();
            let source = attribute["source"].as_str().unwrap_or("");
            let is_template = source.contains('{') && source.contains(['$', '%']);
            let left_out = is_template || (long && is_number) || fails;
            let value = if left_out { "null".to_owned() } else { text };
            let _ = write!(
                out,
                "{}@{}-{}={value} ",
                attribute["name"].as_str().unwrap_or(""),
                place[0],
                place[1]
            );
        }
        for block in list(&body["blocks"]) {
            let labels: Vec<_> = list(&block["labels"]);
            let labels: Vec<_> = labels.iter().map(|label| label.as_str().unwrap_or("")).collect();
            let kind = block["kind"].as_str().unwrap_or("");
            let _ = write!(out, "{kind}{labels:?}{{{}}} ", wanted(&block["body"]));
        }
        out
    }

    #[test]
    fn mistakes_have_words() {
        let found = |text: &str| {
            let fault = read(text).expect_err("stops");
            format!("{}: {}", fault.span.start, fault.message)
        };
        assert_eq!(found("{\"a\": 1,}"), "7: JSON has no comma behind the last item");
        assert_eq!(found("{\"a\": 'x'}"), "6: a value is needed here, this is `'`");
        assert_eq!(found("{\"a\": \"x\n\"}"), "6: this string is not closed");
        assert_eq!(found("{\"a\" 1}"), "5: `:` is needed here, this is `1`");
        assert_eq!(found("{a: 1}"), "1: a key in double quotes is needed here, this is `a`");
        assert_eq!(
            found("{\"a\": [1"),
            "8: `,` or `]` is needed here, this is the end of the file"
        );
        assert_eq!(read(&"[".repeat(1000)).expect_err("stops").code, "too-deep");
        assert_eq!(
            read(&format!("[{}1]", "1,".repeat(50_000))).expect_err("stops").code,
            "too-large"
        );
    }
}
