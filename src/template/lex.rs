//! Cuts a template into text and actions, and an action into words.

use std::sync::Arc;

use crate::error::TemplateError;
use crate::tree::At;

/// Text between actions, or the words of one.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Action { at: At, words: Vec<(At, Word)> },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Word {
    Name(String),
    /// `$` and what follows it.
    Variable(String),
    /// A dot alone.
    Dot,
    /// `.name`; whether something that it belongs to stands right before it.
    Field(String, bool),
    Text(Arc<str>),
    Int(i64),
    Float(f64),
    Declare,
    Assign,
    Pipe,
    Comma,
    Open,
    Close,
}

/// White space that Go trims.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Cuts a template into pieces.
pub(crate) fn pieces<'a>(
    source: &'a str,
    (left, right): (&str, &str),
) -> Result<Vec<Piece<'a>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trims = false;
    while let Some(found) = source[at..].find(left) {
        let open = at + found;
        let mut inner = open + left.len();
        let mut text = &source[at..open];
        if trims {
            text = text.trim_start_matches(is_space);
        }
        let marked =
            source[inner..].strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space));
        if marked {
            inner += 1;
            text = text.trim_end_matches(is_space);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        let mut lexer = Lexer { source, at: inner, right, words: Vec::new() };
        trims = match lexer.comment(open)? {
            Some(trims) => trims,
            None => {
                let trims = lexer.action(open)?;
                pieces.push(Piece::Action { at: open, words: lexer.words });
                trims
            }
        };
        at = lexer.at;
    }
    let mut rest = &source[at..];
    if trims {
        rest = rest.trim_start_matches(is_space);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

struct Lexer<'a> {
    source: &'a str,
    at: At,
    right: &'a str,
    words: Vec<(At, Word)>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn error(&self, at: At, message: impl Into<String>) -> TemplateError {
        TemplateError::at(self.source, at, message)
    }

    /// Takes the right delimiter, with or without its mark; says whether it has one.
    fn close(&mut self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with(self.right) {
            self.at += self.right.len();
            return Some(false);
        }
        let inner = rest.trim_start_matches(is_space);
        let spaces = rest.len() - inner.len();
        if spaces > 0 && inner.strip_prefix('-').is_some_and(|rest| rest.starts_with(self.right)) {
            self.at += spaces + 1 + self.right.len();
            return Some(true);
        }
        None
    }

    /// Takes a comment, if this is one.
    fn comment(&mut self, open: At) -> Result<Option<bool>, TemplateError> {
        let rest = self.rest();
        let inner = rest.trim_start_matches(is_space);
        if !inner.starts_with("/*") {
            return Ok(None);
        }
        let begin = self.at + (rest.len() - inner.len());
        let Some(length) = self.source[begin + 2..].find("*/") else {
            return Err(self.error(open, "the comment does not end; close it with `*/`"));
        };
        self.at = begin + 2 + length + 2;
        let message = "a comment is an action of its own: only the closing delimiter may follow it";
        self.close().map(Some).ok_or_else(|| self.error(self.at, message))
    }

    fn action(&mut self, open: At) -> Result<bool, TemplateError> {
        loop {
            if let Some(trims) = self.close() {
                return Ok(trims);
            }
            let Some(c) = self.rest().chars().next() else {
                let message = format!("the action does not end; close it with `{}`", self.right);
                return Err(self.error(open, message));
            };
            let at = self.at;
            if is_space(c) {
                self.at += 1;
                continue;
            }
            let word = self.word(c)?;
            self.words.push((at, word));
        }
    }

    fn word(&mut self, c: char) -> Result<Word, TemplateError> {
        let at = self.at;
        let next = self.rest()[c.len_utf8()..].chars().next();
        let one = |lexer: &mut Self, word| {
            lexer.at += 1;
            Ok(word)
        };
        match c {
            '"' => self.quoted(),
            '`' => self.raw(),
            '\'' => self.character(),
            '(' => one(self, Word::Open),
            ')' => one(self, Word::Close),
            ',' => one(self, Word::Comma),
            '|' => one(self, Word::Pipe),
            '=' => one(self, Word::Assign),
            ':' if next == Some('=') => {
                self.at += 2;
                Ok(Word::Declare)
            }
            '$' => {
                self.at += 1;
                let name = self.name();
                Ok(Word::Variable(format!("${name}")))
            }
            '.' if next.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            '.' => {
                // Only what stands right behind something is a part of it.
                let before = self.source[..at].chars().next_back();
                let joined = before.is_some_and(|c| is_name(c) || matches!(c, ')' | '$'))
                    && self.words.last().is_some_and(|(_, word)| {
                        !matches!(word, Word::Int(_) | Word::Float(_) | Word::Text(_))
                    });
                self.at += 1;
                let name = self.name();
                Ok(if name.is_empty() { Word::Dot } else { Word::Field(name, joined) })
            }
            '0'..='9' => self.number(),
            '+' | '-' if next.is_some_and(|c| c.is_ascii_digit() || c == '.') => self.number(),
            c if is_name(c) => Ok(Word::Name(self.name())),
            c => Err(self.error(at, format!("`{}` means nothing here", c.escape_default()))),
        }
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let name = rest[..length].to_owned();
        self.at += length;
        name
    }

    fn raw(&mut self) -> Result<Word, TemplateError> {
        let at = self.at;
        let Some(length) = self.source[at + 1..].find('`') else {
            return Err(self.error(at, "the text does not end; close it with a backquote"));
        };
        let text = &self.source[at + 1..at + 1 + length];
        self.at += length + 2;
        Ok(Word::Text(Arc::from(text)))
    }

    fn quoted(&mut self) -> Result<Word, TemplateError> {
        let at = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.rest().chars().next() {
                None | Some('\n') => {
                    return Err(
                        self.error(at, "the text does not end in its line; close it with `\"`")
                    );
                }
                Some('"') => {
                    self.at += 1;
                    return Ok(Word::Text(Arc::from(text)));
                }
                Some('\\') => text.push(self.escape('"')?),
                Some(c) => {
                    self.at += c.len_utf8();
                    text.push(c);
                }
            }
        }
    }

    fn character(&mut self) -> Result<Word, TemplateError> {
        let at = self.at;
        self.at += 1;
        let c = match self.rest().chars().next() {
            Some('\\') => Some(self.escape('\'')?),
            Some(c) if c != '\'' && c != '\n' => {
                self.at += c.len_utf8();
                Some(c)
            }
            _ => None,
        };
        match c {
            Some(c) if self.rest().starts_with('\'') => {
                self.at += 1;
                Ok(Word::Int(i64::from(u32::from(c))))
            }
            _ => Err(self.error(
                at,
                "one character stands between single quotes; texts stand in double ones",
            )),
        }
    }

    fn escape(&mut self, quote: char) -> Result<char, TemplateError> {
        let at = self.at;
        let rest = &self.rest()[1..];
        let plain = |c| Some((c, 1));
        let digits = |from: usize, length: usize, radix: u32| {
            let digits = rest.get(from..from + length)?;
            let code = u32::from_str_radix(digits, radix).ok()?;
            Some((char::from_u32(code)?, from + length))
        };
        let found = match rest.chars().next() {
            Some('a') => plain('\u{7}'),
            Some('b') => plain('\u{8}'),
            Some('f') => plain('\u{c}'),
            Some('n') => plain('\n'),
            Some('r') => plain('\r'),
            Some('t') => plain('\t'),
            Some('v') => plain('\u{b}'),
            Some('\\') => plain('\\'),
            Some(c) if c == quote => plain(c),
            // Bytes beyond ASCII are no text of their own.
            Some('x') => digits(1, 2, 16).filter(|(c, _)| c.is_ascii()),
            Some('u') => digits(1, 4, 16),
            Some('U') => digits(1, 8, 16),
            Some('0'..='7') => digits(0, 3, 8).filter(|(c, _)| c.is_ascii()),
            _ => None,
        };
        let (c, length) = found
            .ok_or_else(|| self.error(at, "this is no escape; write `\\\\` for a backslash"))?;
        self.at += 1 + length;
        Ok(c)
    }

    fn number(&mut self) -> Result<Word, TemplateError> {
        let at = self.at;
        let rest = self.rest();
        let signed = usize::from(rest.starts_with(['+', '-']));
        let mut length = signed;
        let hexadecimal = rest[signed..].starts_with("0x") || rest[signed..].starts_with("0X");
        let mut before = ' ';
        for c in rest[signed..].chars() {
            let exponent = !hexadecimal && matches!(before, 'e' | 'E') && matches!(c, '+' | '-');
            if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || exponent) {
                break;
            }
            before = c;
            length += 1;
        }
        let written = &rest[..length];
        let digits = written.replace('_', "").to_ascii_lowercase();
        let sign = if digits.starts_with('-') { "-" } else { "" };
        let plain = digits.trim_start_matches(['+', '-']);
        let radix = |prefix, radix| {
            let digits = plain.strip_prefix(prefix)?;
            Some(i64::from_str_radix(&format!("{sign}{digits}"), radix).ok())
        };
        let octal = || {
            (plain.len() > 1 && plain.bytes().all(|b| b.is_ascii_digit()))
                .then(|| radix("0", 8))
                .flatten()
        };
        let whole =
            radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)).or_else(octal);
        let word =
            match whole {
                Some(whole) => whole.map(Word::Int),
                None => digits.parse().map(Word::Int).ok().or_else(|| {
                    digits.parse().ok().filter(|f: &f64| f.is_finite()).map(Word::Float)
                }),
            };
        let length = written.len();
        let word =
            word.ok_or_else(|| self.error(at, "this is no number that a template can hold"))?;
        self.at += length;
        Ok(word)
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
