//! The grammar of expressions.

use std::collections::HashMap;

use super::cursor::{Reader, Step, starts_word};
use crate::report::{Fault, Span};

/// Operators with two sides, those first that others are the beginning of.
const OPERATORS: [&str; 13] =
    ["||", "&&", "==", "!=", ">=", "<=", ">", "<", "+", "-", "*", "/", "%"];

impl Reader<'_> {
    /// A text that is one expression and nothing else.
    pub(super) fn single_expression(&mut self) -> Step {
        self.with_lines(false, |reader| {
            reader.expression()?;
            reader.skip();
            match reader.byte() {
                None => Ok(()),
                Some(_) => Err(reader.expected("the end of the value")),
            }
        })
    }

    /// An expression that starts here, white space before it included.
    pub(super) fn expression(&mut self) -> Step {
        self.deeper(|reader| {
            let outer = std::mem::take(&mut reader.operators);
            let result = reader.conditional();
            reader.operators = reader.operators.max(outer);
            result
        })
    }

    fn conditional(&mut self) -> Step {
        self.chain()?;
        self.skip();
        if self.byte() != Some(b'?') {
            return Ok(());
        }
        let question = self.at;
        self.take(1);
        self.expression()?;
        self.skip();
        if !self.takes(":") {
            let message = "this condition has no `:` with a value for when it is false";
            return Err(Fault::new("syntax", Span::new(question, question + 1), message)
                .help("write condition ? yes : no, on one line or in parentheses"));
        }
        self.expression()
    }

    fn chain(&mut self) -> Step {
        self.operand()?;
        let mut length = 0;
        loop {
            self.skip();
            let Some(operator) = OPERATORS.iter().find(|operator| self.starts(operator)) else {
                self.operators += length;
                return Ok(());
            };
            length += 1;
            self.operator(length)?;
            self.take(operator.len());
            self.operand()?;
        }
    }

    fn operand(&mut self) -> Step {
        self.skip();
        self.part()?;
        match self.byte() {
            Some(b'-' | b'!') => {
                self.take(1);
                return self.deeper(Self::operand);
            }
            Some(b'"') => self.quoted()?,
            Some(b'[') => self.tuple()?,
            Some(b'{') => self.object()?,
            Some(b'(') => self.parenthesis()?,
            Some(b'<') if self.starts("<<") => self.heredoc()?,
            Some(byte) if byte.is_ascii_digit() => self.number()?,
            _ if self.rest().starts_with(starts_word) => self.name()?,
            _ => return Err(self.no_value()),
        }
        self.traversal()
    }

    /// What is wrong where a value should start.
    fn no_value(&self) -> Fault {
        let fault = self.expected("a value");
        match self.byte() {
            Some(b'$') => fault.help(
                "outside of strings a name is written bare: `var.x`; inside, as \"${var.x}\"",
            ),
            Some(b'+') => fault.help("a number is written without `+`"),
            Some(b'.') => fault.help("a number starts with a digit: 0.5"),
            Some(b'\n') if self.lines_count => fault.help("a value starts on the line of its `=`"),
            _ => fault,
        }
    }

    fn parenthesis(&mut self) -> Step {
        let opened = self.at;
        self.take(1);
        self.with_lines(false, |reader| {
            reader.expression()?;
            reader.close(")", opened)
        })
    }

    /// The closing bracket of what was opened there.
    fn close(&mut self, bracket: &str, opened: usize) -> Step {
        self.skip();
        if self.takes(bracket) { Ok(()) } else { Err(self.not_closed(bracket, opened, bracket)) }
    }

    /// What is wrong where a bracket should close.
    fn not_closed(&self, bracket: &str, opened: usize, choices: &str) -> Fault {
        let open = self.text.get(opened..=opened).unwrap_or("(");
        if self.byte().is_none() {
            let span = Span::new(opened, opened + 1);
            return Fault::new("syntax", span, format!("this `{open}` is never closed"))
                .help(format!("add the `{bracket}`"));
        }
        let fault = self.expected(choices);
        let behind_quote = self.at.checked_sub(1).and_then(|at| self.bytes.get(at)) == Some(&b'"');
        if behind_quote && self.word().is_some() {
            return fault.help("a quote within a text is written `\\\"`");
        }
        if fault.help.is_empty() {
            fault.help(format!("the `{open}` before it is still open"))
        } else {
            fault
        }
    }

    fn tuple(&mut self) -> Step {
        let opened = self.at;
        self.take(1);
        self.with_lines(false, |reader| {
            reader.skip();
            if reader.word() == Some("for") {
                return reader.for_each(opened, "]");
            }
            loop {
                reader.skip();
                if reader.takes("]") {
                    return Ok(());
                }
                if reader.byte().is_none() {
                    return Err(reader.not_closed("]", opened, "]"));
                }
                reader.expression()?;
                reader.skip();
                if !reader.takes(",") && reader.byte() != Some(b']') {
                    return Err(reader.not_closed("]", opened, "`,` or `]`"));
                }
            }
        })
    }

    fn object(&mut self) -> Step {
        let opened = self.at;
        self.take(1);
        let is_for = self.with_lines(false, |reader| {
            reader.skip();
            Ok(reader.word() == Some("for"))
        })?;
        if is_for {
            return self.with_lines(false, |reader| reader.for_each(opened, "}"));
        }
        self.with_lines(true, |reader| reader.items(opened))
    }

    fn items(&mut self, opened: usize) -> Step {
        // Of a key that is here twice the later one counts, and the parser of expressions must not see the other.
        let mut seen: HashMap<String, Span> = HashMap::new();
        let mut count = 0;
        loop {
            self.with_lines(false, |reader| {
                reader.skip();
                Ok(())
            })?;
            if self.takes("}") {
                return Ok(());
            }
            if self.byte().is_none() {
                return Err(self.not_closed("}", opened, "}"));
            }
            let start = self.at;
            self.expression()?;
            let key = Span::new(start, self.last);
            self.skip();
            if self.starts("=>") || !(self.takes("=") || self.takes(":")) {
                let fault = self.expected("`=` and a value");
                return Err(fault.help("an object is written { key = value }"));
            }
            self.expression()?;
            self.skip();
            let comma = self.takes(",");
            self.key(count)?;
            count += 1;
            if let Some(name) = self.plain_key(key)
                && let Some(earlier) = seen.insert(name, Span::new(start, self.last))
            {
                let message = "this key comes again below, and the value there is taken";
                self.warnings
                    .push(Fault::new("duplicate-key", earlier, message).help("delete one of them"));
                self.edit(earlier.start, earlier.end, b' ');
            }
            if comma || self.byte() == Some(b'}') {
                continue;
            }
            match self.newline() {
                Some(length) => self.at += length,
                None => {
                    let fault = self.not_closed("}", opened, "`,`, `}` or a new line");
                    return Err(fault);
                }
            }
        }
    }

    /// The text of a key that is a word or a plain string.
    fn plain_key(&self, key: Span) -> Option<String> {
        let text = self.text.get(key.start..key.end)?;
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let inner = inner.unwrap_or(text);
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ' ' | ':');
        let is_plain = inner.chars().all(|c| is_plain(c) || (c == '.' && inner.len() < text.len()));
        (is_plain && !inner.is_empty()).then(|| inner.to_owned())
    }

    /// `for name[, name] in collection : value`, behind its bracket.
    fn for_each(&mut self, opened: usize, bracket: &str) -> Step {
        self.take("for".len());
        self.for_intro("`for`")?;
        self.skip();
        if !self.takes(":") {
            return Err(self.expected("`:`").help("write for x in list : value"));
        }
        self.expression()?;
        self.skip();
        let has_arrow = self.starts("=>");
        match (bracket, has_arrow) {
            ("}", false) => {
                return Err(self.expected("`=>`").help("an object is made by key => value"));
            }
            ("]", true) => {
                let fault = self.expected("`]`");
                return Err(fault.help("key => value makes an object, in { … }"));
            }
            (_, true) => {
                self.take(2);
                self.expression()?;
                self.skip();
                self.takes("...");
                self.skip();
            }
            _ => {}
        }
        if self.word() == Some("if") {
            self.take(2);
            self.expression()?;
        }
        self.close(bracket, opened)
    }

    /// What `for` and `%{ for` have in common: names, `in` and a collection.
    pub(super) fn for_intro(&mut self, whose: &str) -> Step {
        self.skip();
        let name = |reader: &Self| {
            reader.word().map(str::len).ok_or_else(|| {
                let fault = reader.expected(&format!("a name for the items of this {whose}"));
                fault.help("write for x in list : value, or for key, value in map : …")
            })
        };
        let length = name(self)?;
        self.take(length);
        self.skip();
        if self.takes(",") {
            self.skip();
            let length = name(self)?;
            self.take(length);
            self.skip();
        }
        if self.word() != Some("in") {
            return Err(self.expected("`in` and a collection"));
        }
        self.take(2);
        self.expression()
    }

    fn number(&mut self) -> Step {
        let start = self.at;
        self.digits();
        if self.byte() == Some(b'.') && self.next_is_digit(1) {
            self.take(1);
            self.digits();
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.bytes.get(self.at + 1), Some(b'+' | b'-')));
            if self.next_is_digit(1 + sign) {
                self.take(1 + sign);
                self.digits();
            }
        }
        let span = Span::new(start, self.at);
        if self.byte() == Some(b'.') && self.next_is_digit(1) {
            return Err(Fault::new("syntax", span, "a number has one point")
                .help("a version or address is text, in double quotes"));
        }
        let number = self.text.get(start..self.at).unwrap_or("0");
        if !number.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(Fault::new("syntax", span, "this number is too large"));
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.take(1);
        }
    }

    fn next_is_digit(&self, after: usize) -> bool {
        self.bytes.get(self.at + after).is_some_and(u8::is_ascii_digit)
    }

    /// A name: of a value, or of a function with its arguments.
    fn name(&mut self) -> Step {
        let start = self.at;
        self.take(self.word().map_or(1, str::len));
        let (at, last) = (self.at, self.last);
        self.skip();
        let mut is_function = false;
        while self.takes("::") {
            is_function = true;
            self.skip();
            let Some(length) = self.word().map(str::len) else {
                return Err(self.expected("the name of a function"));
            };
            self.take(length);
            self.skip();
        }
        if self.byte() == Some(b'(') {
            return self.arguments(start);
        }
        if is_function {
            return Err(self.expected("`(`"));
        }
        (self.at, self.last) = (at, last);
        Ok(())
    }

    fn arguments(&mut self, start: usize) -> Step {
        let opened = self.at;
        self.take(1);
        self.with_lines(false, |reader| {
            loop {
                reader.skip();
                if reader.takes(")") {
                    return Ok(());
                }
                if reader.byte().is_none() {
                    let message = "the arguments of this function are never closed";
                    return Err(Fault::new("syntax", Span::new(start, opened + 1), message)
                        .help("add the `)`"));
                }
                reader.expression()?;
                reader.skip();
                if reader.takes("...") {
                    return reader.close(")", opened);
                }
                if !reader.takes(",") && reader.byte() != Some(b')') {
                    return Err(reader.not_closed(")", opened, "`,` or `)`"));
                }
            }
        })
    }

    /// `.name`, `[index]`, `.*` and `[*]` behind a value.
    fn traversal(&mut self) -> Step {
        loop {
            let (at, last) = (self.at, self.last);
            self.skip();
            if self.byte() == Some(b'.') && !self.starts("...") {
                self.take(1);
                self.skip();
                if self.takes("*") {
                    self.splat()?;
                } else {
                    self.attribute_name()?;
                }
            } else if self.byte() == Some(b'[') {
                self.index()?;
            } else {
                (self.at, self.last) = (at, last);
                return Ok(());
            }
            self.part()?;
        }
    }

    /// The names behind `.*`.
    fn splat(&mut self) -> Step {
        loop {
            let (at, last) = (self.at, self.last);
            self.skip();
            if self.byte() != Some(b'.') || self.starts("...") {
                (self.at, self.last) = (at, last);
                return Ok(());
            }
            self.take(1);
            self.skip();
            if self.byte() == Some(b'*') {
                let fault = self.expected("a name");
                return Err(fault.help("`.*` cannot stand in `.*`; write `[*]`"));
            }
            self.attribute_name()?;
            self.part()?;
        }
    }

    fn attribute_name(&mut self) -> Step {
        if let Some(word) = self.word() {
            self.take(word.len());
            return Ok(());
        }
        if self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            let start = self.at;
            self.digits();
            let text = self.text.get(start..self.at).unwrap_or("");
            let has_point = self.byte() == Some(b'.') && self.next_is_digit(1);
            if has_point || text.len() > 18 || (text.len() > 1 && text.starts_with('0')) {
                let span = Span::new(start, self.at);
                return Err(Fault::new("syntax", span, "an index is written in brackets: x[0]"));
            }
            return Ok(());
        }
        let fault = self.expected("a name");
        Err(fault.help("behind a `.` stands a name; an index stands in brackets: x[0]"))
    }

    fn index(&mut self) -> Step {
        let opened = self.at;
        self.take(1);
        self.with_lines(false, |reader| {
            reader.skip();
            if !reader.takes("*") {
                reader.expression()?;
            }
            reader.close("]", opened)
        })
    }
}
