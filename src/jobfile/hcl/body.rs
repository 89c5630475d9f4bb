//! The grammar of bodies: attributes and blocks, and how to go on behind a mistake.
//!
//! Every mistake is reported once, and what is intact around it is kept. Where something was lost, its body says so
//! ([`Body::incomplete`]), so that nobody asks for what may have stood there.
//!
//! Where brackets of blocks do not match, the file is read again `by_indent`: then a block also ends where a line is
//! indented less than it, which tells which bracket is missing or too much.

use std::collections::HashSet;

use super::cursor::{Accepted, Reader, Step, starts_word};
use crate::report::{Fault, Span};
use crate::tree::{Attribute, Block, Body, Label};

/// Where an accepted expression lies in [`Reader::accepted`], or nothing for one that is broken.
pub(super) type Place = Option<usize>;

/// The bracket that opened a block, and how far its line is indented.
#[derive(Clone, Copy)]
struct Opened {
    at: usize,
    indent: usize,
    /// Whether its first line is indented more than it, so that the indentation means something.
    is_indented: bool,
}

/// A block's kind and labels.
struct Header {
    kind: String,
    kind_span: Span,
    labels: Vec<Label>,
}

impl<'a> Reader<'a> {
    /// The whole file.
    pub(super) fn file(&mut self) -> Body<Place> {
        self.body(None)
    }

    fn body(&mut self, mut opened: Option<Opened>) -> Body<Place> {
        let mut body = Body::default();
        let mut is_first = true;
        let mut names = HashSet::new();
        while !self.stopped {
            self.skip();
            if let Some(length) = self.newline() {
                self.at += length;
                continue;
            }
            if std::mem::replace(&mut is_first, false)
                && let Some(opened) = &mut opened
            {
                opened.is_indented = self.by_indent && self.indent(self.at).0 > opened.indent;
            }
            match (self.byte(), opened) {
                (None, None) => return body,
                (None, Some(opened)) => {
                    self.unclosed(opened);
                    break;
                }
                (Some(b'}'), _) => {
                    if self.closes_body(opened) {
                        return body;
                    }
                    if self.stopped || opened.is_some_and(|opened| self.is_left_of(opened)) {
                        break;
                    }
                }
                (Some(_), Some(opened)) if self.starts_outside(opened) => {
                    self.unclosed(opened);
                    break;
                }
                _ => self.item(&mut body, &mut names),
            }
        }
        body.incomplete = true;
        body
    }

    fn unclosed(&mut self, opened: Opened) {
        self.unbalanced = true;
        if !self.cut_short {
            let span = Span::new(opened.at, opened.at + 1);
            let fault = Fault::new("syntax", span, "this `{` is never closed");
            self.fault(fault.help("add the `}` where the block ends"));
        }
    }

    /// At a `}`: whether it closes the body. Otherwise it is reported, and taken unless it belongs to another body.
    fn closes_body(&mut self, opened: Option<Opened>) -> bool {
        let (indent, is_first) = self.indent(self.at);
        match opened {
            Some(opened) if opened.is_indented && is_first && indent < opened.indent => {
                self.unclosed(opened);
                return false;
            }
            Some(opened) if !(opened.is_indented && is_first && indent > opened.indent) => {
                self.take(1);
                return true;
            }
            _ => {}
        }
        self.unbalanced = true;
        let span = Span::new(self.at, self.at + 1);
        self.fault(Fault::new("syntax", span, "this `}` closes nothing").help("delete it"));
        self.take(1);
        false
    }

    /// At a `}` that was not taken, because it belongs to a block further out.
    fn is_left_of(&self, opened: Opened) -> bool {
        let (indent, is_first) = self.indent(self.at);
        opened.is_indented && self.byte() == Some(b'}') && is_first && indent < opened.indent
    }

    /// Whether the line that starts here is an attribute or block, and is not indented more than the block around it.
    fn starts_outside(&self, opened: Opened) -> bool {
        if !opened.is_indented {
            return false;
        }
        let (indent, is_first) = self.indent(self.at);
        is_first && indent <= opened.indent && self.looks_like_item(self.at)
    }

    /// Whether `name =`, `name {` or `name "label"` stands there.
    pub(super) fn looks_like_item(&self, at: usize) -> bool {
        let line = self.text.get(at..self.line_end(at)).unwrap_or("");
        let end = line.find(|c| !super::cursor::continues_word(c)).unwrap_or(line.len());
        let behind = line.get(end..).unwrap_or("").trim_start();
        line.starts_with(starts_word)
            && (behind.starts_with(['{', '"'])
                || behind.starts_with('=')
                    && !behind.starts_with("==")
                    && !behind.starts_with("=>"))
    }

    /// One attribute or block, and the end of its line.
    fn item(&mut self, body: &mut Body<Place>, names: &mut HashSet<&'a str>) {
        let start = self.at;
        let result = self.try_item(body, names).and_then(|()| {
            self.skip();
            self.end_of_line()
        });
        if let Err(fault) = result {
            self.fault(fault);
            body.incomplete = true;
            self.recover(start);
        }
    }

    /// What stands behind an attribute or block on its line is reported; the next one may start right there.
    fn end_of_line(&mut self) -> Step {
        if let Some(length) = self.newline() {
            self.at += length;
            return Ok(());
        }
        if self.last < self.at && self.indent(self.at).1 {
            // The block was ended by its indentation, lines ago.
            return Ok(());
        }
        let (span, found) = self.found();
        let fault = |help: &str| {
            let message = format!("the line should end here, this is {found}");
            Fault::new("syntax", span, message).help(help)
        };
        match self.byte() {
            None => Ok(()),
            Some(b'}') => {
                self.fault(fault("a `}` stands on the same line only for a block of one line"));
                Ok(())
            }
            Some(byte @ (b',' | b';')) => {
                let without = if byte == b',' { "commas" } else { "semicolons" };
                self.fault(fault(&format!(
                    "attributes and blocks each stand on a line of their own, without {without}",
                )));
                self.take(1);
                Ok(())
            }
            Some(_) if self.looks_like_item(self.at) => {
                self.fault(fault("attributes and blocks each stand on a line of their own"));
                Ok(())
            }
            Some(_) => Err(self.expected("the end of the line")),
        }
    }

    fn try_item(&mut self, body: &mut Body<Place>, names: &mut HashSet<&'a str>) -> Step {
        let start = self.at;
        let Some(word) = self.word() else { return Err(self.no_item()) };
        self.part()?;
        self.take(word.len());
        let name_span = Span::new(start, self.at);
        self.skip();
        match self.byte() {
            Some(b'=') if !self.starts("==") && !self.starts("=>") => {
                let equals = self.at;
                self.take(1);
                self.attribute(word, name_span, equals, body, names)
            }
            Some(b':') if !self.starts("::") => {
                let span = Span::new(self.at, self.at + 1);
                let message = format!("`=` is needed behind `{word}`, this is `:`");
                let help = "HCL writes `name = value`; with colons it would be YAML, in a file named .yaml";
                self.fault(Fault::new("syntax", span, message).help(help));
                let equals = self.at;
                self.take(1);
                self.attribute(word, name_span, equals, body, names)
            }
            Some(b'{' | b'"') => self.block(word, name_span, body),
            _ if self.rest().starts_with(starts_word) => self.block(word, name_span, body),
            Some(_) if self.at_foreign_quote() => {
                // The rest of the block is worth a look.
                let fault = self.expected("a label or `{`");
                self.broken_block(start, fault, body)
            }
            _ => {
                let fault = self.expected(&format!("`=` or `{{` behind `{word}`"));
                Err(if fault.help.is_empty() {
                    fault.help("an attribute is written name = value, a block name \"label\" { … }")
                } else {
                    fault
                })
            }
        }
    }

    /// What is wrong where an attribute or block should start.
    fn no_item(&self) -> Fault {
        let fault = self.expected("an attribute or a block");
        match self.byte() {
            Some(b'"') => fault
                .help("names stand without quotes; what has other keys is name = { \"key\" = … }"),
            Some(b'{') => fault.help("a block's `{` stands on the line of its name"),
            Some(b'-') if self.starts("--") => fault.help("a comment starts with `#`"),
            Some(b'-' | b'*') => fault.help("HCL writes lists as name = [ … ]"),
            Some(b']' | b')') => fault.help("nothing is open here that it could close"),
            _ => fault,
        }
    }

    fn attribute(
        &mut self,
        name: &'a str,
        name_span: Span,
        equals: usize,
        body: &mut Body<Place>,
        names: &mut HashSet<&'a str>,
    ) -> Step {
        let is_new = names.insert(name);
        if !is_new {
            let message = "this attribute is in this block twice";
            self.fault(
                Fault::new("duplicate-attribute", name_span, message).help("keep one of them"),
            );
        }
        self.skip();
        let (start, edits) = (self.at, self.edits.len());
        let (warnings, depth, operators) = (self.warnings.len(), self.depth, self.operators);
        self.operators = 0;
        let result = self.with_lines(true, Self::expression);
        self.operators = operators;
        let result = match result {
            Ok(()) => {
                let end = self.last;
                self.value_goes_on(name, start).map_or(Ok(end), Err)
            }
            // A mistake in the first character is most likely a text without quotes.
            Err(fault) if fault.code == "syntax" && fault.span.start == start => {
                Err(self.unquoted(name, start).unwrap_or(fault))
            }
            Err(fault) => Err(fault),
        };
        let (value, span) = match result {
            Ok(end) => {
                let span = Span::new(start, end);
                self.accepted.push(Accepted { equals, span });
                (Some(self.accepted.len() - 1), span)
            }
            Err(fault) => {
                self.edits.truncate(edits);
                self.warnings.truncate(warnings);
                self.depth = depth;
                let span = fault.span;
                self.fault(fault);
                self.recover(name_span.start);
                (None, span)
            }
        };
        if is_new {
            let name = name.to_owned();
            body.attributes.push(Attribute { name, name_span, value_span: span, value });
        }
        Ok(())
    }

    fn block(&mut self, kind: &str, kind_span: Span, body: &mut Body<Place>) -> Step {
        let mut labels = Vec::new();
        loop {
            self.skip();
            self.part()?;
            let start = self.at;
            match self.byte() {
                Some(b'{') => break,
                Some(b'"') => match self.label() {
                    Ok(text) => labels.push(Label { text, span: Span::new(start, self.at) }),
                    Err(fault) => return self.broken_block(kind_span.start, fault, body),
                },
                _ => {
                    let Some(word) = self.word() else {
                        let fault = self.no_block_body(kind);
                        if let Some(bracket) = self.bracket_below() {
                            // It is clear what is meant.
                            self.fault(fault);
                            self.at = bracket;
                            break;
                        }
                        return self.broken_block(kind_span.start, fault, body);
                    };
                    self.take(word.len());
                    let span = Span::new(start, self.at);
                    labels.push(Label { text: word.to_owned(), span });
                }
            }
        }
        self.one_more_block(kind_span)?;
        let header = Header { kind: kind.to_owned(), kind_span, labels };
        let inner = self.braces(kind_span.start)?;
        let Header { kind, kind_span, labels } = header;
        body.blocks.push(Block { kind, kind_span, labels, body: inner });
        Ok(())
    }

    /// Where the `{` is that stands alone on the next line.
    fn bracket_below(&self) -> Option<usize> {
        self.newline()?;
        let rest = self.rest();
        let below = rest.len() - rest.trim_start().len();
        rest.get(below..)?.starts_with('{').then_some(self.at + below)
    }

    /// What is wrong where a block's `{` should stand.
    fn no_block_body(&self, kind: &str) -> Fault {
        if self.newline().is_some() || self.byte().is_none() {
            return self
                .expected(&format!("the `{{` of the block `{kind}`"))
                .help("it stands on the line of the block's name");
        }
        let fault = self.expected(&format!("a label or the `{{` of the block `{kind}`"));
        match self.byte() {
            Some(b'=') => fault.help("a block is written without `=`; an attribute has one name"),
            Some(b':') => fault.help("a block is written without `:`"),
            _ => fault,
        }
    }

    /// A block whose header is wrong: it is lost, but what is wrong inside of it is reported too.
    fn broken_block(&mut self, start: usize, fault: Fault, body: &mut Body<Place>) -> Step {
        let end = self.line_end(self.at);
        let line = self.text.get(self.at..end).unwrap_or("").trim_end();
        let Some(bracket) = line.strip_suffix('{').map(str::len) else { return Err(fault) };
        self.fault(fault);
        body.incomplete = true;
        self.at += bracket;
        self.braces(start).map(drop)
    }

    /// A block's body with its brackets.
    fn braces(&mut self, start: usize) -> Step<Body<Place>> {
        let opened = Opened { at: self.at, indent: self.indent(start).0, is_indented: false };
        self.deeper(|reader| {
            reader.take(1);
            reader.skip();
            let opens_line =
                reader.newline().is_some() || matches!(reader.byte(), None | Some(b'}'));
            if opens_line {
                return Ok(reader.body(Some(opened)));
            }
            reader.one_line(opened)
        })
    }

    /// `{ name = value }`. More than that is reported, and understood all the same.
    fn one_line(&mut self, opened: Opened) -> Step<Body<Place>> {
        let mut body = Body::default();
        let mut names = HashSet::new();
        let mut reported = false;
        let mut count = 0;
        loop {
            self.skip();
            if self.byte() == Some(b'}') {
                self.take(1);
                return Ok(body);
            }
            let many = "a block on one line holds one attribute and nothing else";
            let mut report = |reader: &mut Self, help: &str| {
                let (span, _) = reader.found();
                if !std::mem::replace(&mut reported, true) {
                    reader.fault(Fault::new("syntax", span, many).help(help));
                }
            };
            if self.newline().is_some() || self.byte().is_none() {
                // The block has begun on the line of its bracket and goes on below.
                report(self, "let the line end behind the `{`");
                let rest = self.body(Some(opened));
                body.attributes.extend(rest.attributes);
                body.blocks.extend(rest.blocks);
                body.incomplete |= rest.incomplete;
                return Ok(body);
            }
            if count > 0 {
                report(self, "give each attribute a line of its own");
                if matches!(self.byte(), Some(b',' | b';')) {
                    self.take(1);
                    self.skip();
                    if matches!(self.byte(), Some(b'}')) {
                        continue;
                    }
                }
            }
            count += 1;
            let blocks = body.blocks.len();
            let start = self.at;
            self.try_item(&mut body, &mut names)?;
            if body.blocks.len() > blocks {
                let span = Span::new(start, start + 1);
                if !std::mem::replace(&mut reported, true) {
                    let help = "give each block a line of its own";
                    self.fault(Fault::new("syntax", span, many).help(help));
                }
            }
            if self.stopped {
                body.incomplete = true;
                return Ok(body);
            }
        }
    }

    /// Goes to where the next attribute or block can be, behind a mistake in the one that started there: to the end of
    /// its line, or of the brackets that it opened.
    fn recover(&mut self, start: usize) {
        let mistake = self.at;
        let (indent, _) = self.indent(start);
        let before = self.text.get(..mistake).unwrap_or("");
        let mistake_line = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.at = start;
        let mut open: Vec<u8> = Vec::new();
        while let Some(byte) = self.byte() {
            match byte {
                b'#' => self.at = self.line_end(self.at),
                b'/' if self.starts("//") => self.at = self.line_end(self.at),
                b'"' => self.leap_string(),
                b'<' if self.starts("<<") => self.leap_heredoc(),
                b'{' | b'[' | b'(' => {
                    open.push(byte);
                    self.at += 1;
                }
                b'}' | b']' | b')' => {
                    let opening = match byte {
                        b'}' => b'{',
                        b']' => b'[',
                        _ => b'(',
                    };
                    if open.last() == Some(&opening) {
                        open.pop();
                    } else if byte == b'}' && self.at >= mistake && !open.contains(&b'{') {
                        break;
                    }
                    self.at += 1;
                }
                b'\n' => {
                    let ends = open.is_empty() && self.at >= mistake;
                    if ends || (self.at + 1 >= mistake_line && self.item_below(indent)) {
                        break;
                    }
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        self.last = self.at;
    }

    /// Whether the next line is an attribute, block or end that is indented as little as this.
    fn item_below(&self, indent: usize) -> bool {
        let line = self.text.get(self.at + 1..self.line_end(self.at + 1)).unwrap_or("");
        let bare = line.trim_start_matches([' ', '\t']);
        let found = line.len() - bare.len();
        let is_item = self.looks_like_item(self.at + 1 + found);
        (found <= indent && is_item) || (found < indent && bare.starts_with('}'))
    }

    /// Past a string, or past the line that it does not end on.
    fn leap_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.byte() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\n' => return,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// Past a heredoc that ends, or past its opening. Only so many are looked for.
    fn leap_heredoc(&mut self) {
        let Some((word, length)) = self.misspelt_heredoc(self.at) else {
            self.at += 2;
            return;
        };
        let (word, mut at) = (word.to_owned(), self.at + length);
        self.at = at;
        if self.newline().is_none() || self.searches == 0 {
            return;
        }
        for line in self.rest().split_inclusive('\n') {
            at += line.len();
            if line.ends_with('\n') && line.trim() == word {
                self.at = at - 1;
                return;
            }
        }
        self.searches -= 1;
    }
}
