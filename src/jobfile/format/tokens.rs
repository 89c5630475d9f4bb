//! HCL text as tokens with the blanks between them left out.
//!
//! What stands inside texts, heredocs and comments is part of a token, blanks and all. Written one after another with
//! blanks between, the tokens are the file again.

use super::reference;

/// What may open and close around something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bracket {
    Brace,
    Square,
    Round,
    /// `${ }` and `%{ }`, with or without `~`.
    Template,
}

/// What a token is, as far as it matters for the blanks around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Newline,
    /// To the end of its line, with that end; or `/* */`.
    Comment,
    /// A name; or a whole reference to something of run time, where it has blanks in it.
    Word,
    /// The word `in`.
    In,
    Number,
    Open(Bracket),
    Close(Bracket),
    QuoteOpen,
    QuoteClose,
    /// `<<EOF` with the end of its line.
    HeredocOpen,
    /// The line that ends a heredoc, with its indentation, without its end.
    HeredocClose,
    /// Literal text within quotes or a heredoc.
    Text,
    Dot,
    Comma,
    Ellipsis,
    Colon,
    DoubleColon,
    Question,
    Equal,
    Arrow,
    Minus,
    Bang,
    /// Any other operator, which has a value on both sides.
    Operator,
}

/// A token, and how many blanks stand before it once it has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) blanks: usize,
}

impl Token<'_> {
    /// Whether the next token stands on a line of its own.
    pub(super) fn ends_line(&self) -> bool {
        self.kind == Kind::Newline || (self.kind == Kind::Comment && self.text.ends_with('\n'))
    }
}

/// Longer ones first: `==` is not two `=`.
const SYMBOLS: [(&str, Kind); 29] = [
    ("...", Kind::Ellipsis),
    ("==", Kind::Operator),
    ("!=", Kind::Operator),
    (">=", Kind::Operator),
    ("<=", Kind::Operator),
    ("&&", Kind::Operator),
    ("||", Kind::Operator),
    ("=>", Kind::Arrow),
    ("::", Kind::DoubleColon),
    ("\r\n", Kind::Newline),
    ("\n", Kind::Newline),
    ("[", Kind::Open(Bracket::Square)),
    ("]", Kind::Close(Bracket::Square)),
    ("(", Kind::Open(Bracket::Round)),
    (")", Kind::Close(Bracket::Round)),
    (".", Kind::Dot),
    (",", Kind::Comma),
    (":", Kind::Colon),
    ("?", Kind::Question),
    ("=", Kind::Equal),
    ("-", Kind::Minus),
    ("!", Kind::Bang),
    ("+", Kind::Operator),
    ("*", Kind::Operator),
    ("/", Kind::Operator),
    ("%", Kind::Operator),
    ("<", Kind::Operator),
    (">", Kind::Operator),
    ("\"", Kind::QuoteOpen),
];

/// What is open around the place that is read.
enum Mode<'a> {
    Braces,
    Template,
    Quoted,
    Heredoc { word: &'a str, at_line_start: bool },
}

/// The tokens of HCL text, or the byte at which there is none.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, usize> {
    let mut reader = Reader { text, at: 0, open: Vec::new(), found: Vec::new() };
    while reader.at < text.len() {
        let before = (reader.at, reader.open.len());
        match reader.open.last() {
            None | Some(Mode::Braces | Mode::Template) => reader.code(),
            Some(Mode::Quoted) => reader.quoted(),
            Some(Mode::Heredoc { word, at_line_start }) => {
                let (word, at_line_start) = (*word, *at_line_start);
                reader.heredoc(word, at_line_start);
            }
        }
        if before == (reader.at, reader.open.len()) {
            return Err(reader.at);
        }
    }
    if reader.open.is_empty() { Ok(reader.found) } else { Err(text.len()) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Mode<'a>>,
    found: Vec<Token<'a>>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Adds what the next bytes are; nothing where there are none.
    fn take(&mut self, kind: Kind, length: usize) {
        let Some(text) = self.rest().get(..length).filter(|text| !text.is_empty()) else { return };
        self.found.push(Token { kind, text, blanks: 0 });
        self.at += length;
    }

    fn code(&mut self) {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return };
        match first {
            ' ' | '\t' => self.at += 1,
            '{' => {
                self.open.push(Mode::Braces);
                self.take(Kind::Open(Bracket::Brace), 1);
            }
            '}' if matches!(self.open.last(), Some(Mode::Braces)) => {
                self.open.pop();
                self.take(Kind::Close(Bracket::Brace), 1);
            }
            '}' | '~' => {
                let length = if rest.starts_with("~}") { 2 } else { 1 };
                if matches!(self.open.last(), Some(Mode::Template)) && rest.starts_with(['}', '~'])
                {
                    self.open.pop();
                    self.take(Kind::Close(Bracket::Template), length);
                }
            }
            '"' => {
                self.open.push(Mode::Quoted);
                self.take(Kind::QuoteOpen, 1);
            }
            '#' => self.take(Kind::Comment, line_length(rest)),
            '/' if rest.starts_with("//") => self.take(Kind::Comment, line_length(rest)),
            '/' if rest.starts_with("/*") => {
                if let Some(end) = rest.get(2..).and_then(|inside| inside.find("*/")) {
                    self.take(Kind::Comment, end + 4);
                }
            }
            '<' if heredoc_word(rest).is_some() => {
                let word = heredoc_word(rest).unwrap_or("");
                self.open.push(Mode::Heredoc { word, at_line_start: true });
                self.take(Kind::HeredocOpen, line_length(rest));
            }
            '0'..='9' => self.take(Kind::Number, number_length(rest)),
            _ if is_word(first) => self.word(),
            _ => {
                let symbol = SYMBOLS.iter().find(|(symbol, _)| rest.starts_with(symbol));
                if let Some((symbol, kind)) = symbol {
                    self.take(*kind, symbol.len());
                }
            }
        }
    }

    fn word(&mut self) {
        let rest = self.rest();
        let length = rest.find(|c| !is_word(c) && c != '-').unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or(rest);
        let is_root = self.found.last().is_none_or(|before| before.kind != Kind::Dot);
        let reference = reference::length_with_blanks(rest, word).filter(|_| is_root);
        let kind = if word == "in" { Kind::In } else { Kind::Word };
        self.take(kind, reference.unwrap_or(length));
    }

    fn quoted(&mut self) {
        let rest = self.rest();
        if rest.starts_with('"') {
            self.open.pop();
            return self.take(Kind::QuoteClose, 1);
        }
        if self.template() {
            return;
        }
        let mut length = 0;
        let mut escaped = false;
        for (at, found) in rest.char_indices() {
            if at < length {
                continue;
            }
            let here = rest.get(at..).unwrap_or("");
            if found == '\n' || (!escaped && (found == '"' || template_length(here) > 0)) {
                break;
            }
            length = at + escape_length(here).max(found.len_utf8());
            escaped = !escaped && found == '\\';
        }
        self.take(Kind::Text, length);
    }

    fn heredoc(&mut self, word: &str, at_line_start: bool) {
        let rest = self.rest();
        let line = rest.get(..line_length(rest)).unwrap_or(rest);
        if at_line_start && line.trim() == word {
            self.open.pop();
            let end = line.strip_suffix('\n').unwrap_or(line);
            return self.take(Kind::HeredocClose, end.strip_suffix('\r').unwrap_or(end).len());
        }
        let mut length = 0;
        for (at, found) in line.char_indices() {
            if at < length {
                continue;
            }
            let here = line.get(at..).unwrap_or("");
            if template_length(here) > 0 {
                break;
            }
            length = at + escape_length(here).max(found.len_utf8());
        }
        let next_at_start = line.ends_with('\n') && length == line.len();
        if let Some(Mode::Heredoc { at_line_start, .. }) = self.open.last_mut() {
            *at_line_start = next_at_start;
        }
        if length > 0 {
            self.take(Kind::Text, length);
        } else {
            self.template();
        }
    }

    fn template(&mut self) -> bool {
        let length = template_length(self.rest());
        if length > 0 {
            self.open.push(Mode::Template);
            self.take(Kind::Open(Bracket::Template), length);
        }
        length > 0
    }
}

fn is_word(c: char) -> bool {
    // Letters of all scripts and the marks upon them: what else is not ASCII has no place outside texts and comments,
    // and the parser has refused it.
    c == '_' || c.is_ascii_alphanumeric() || (!c.is_ascii() && !c.is_whitespace())
}

/// How many bytes a line has, with its end.
fn line_length(rest: &str) -> usize {
    rest.find('\n').map_or(rest.len(), |end| end + 1)
}

/// The word of a heredoc that starts here.
fn heredoc_word(rest: &str) -> Option<&str> {
    let line = rest.get(..line_length(rest))?.strip_prefix("<<")?;
    let word = line.strip_prefix('-').unwrap_or(line).strip_suffix('\n')?;
    let word = word.strip_suffix('\r').unwrap_or(word);
    let starts = word.starts_with(|c: char| is_word(c) && !c.is_ascii_digit());
    (starts && word.chars().all(|c| is_word(c) || c == '-')).then_some(word)
}

/// How many bytes the start of a template here has: `${`, `%{`, `${~` or `%{~`.
fn template_length(rest: &str) -> usize {
    if !(rest.starts_with("${") || rest.starts_with("%{")) {
        return 0;
    }
    if rest.get(2..3) == Some("~") { 3 } else { 2 }
}

/// How many bytes of `$${` or `%%{`, which stand for the text `${` and `%{`, are here.
fn escape_length(rest: &str) -> usize {
    if rest.starts_with("$${") || rest.starts_with("%%{") { 3 } else { 0 }
}

/// How many bytes of a number are here: digits, a fraction and an exponent.
fn number_length(rest: &str) -> usize {
    let digits = |rest: &str| rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let mut length = digits(rest);
    let after = |length: usize| rest.get(length..).unwrap_or("");
    if let Some(fraction) = after(length).strip_prefix('.').map(digits).filter(|n| *n > 0) {
        length += 1 + fraction;
    }
    if let Some(exponent) = after(length).strip_prefix(['e', 'E']) {
        let bare = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits(bare) > 0 {
            length += 1 + (exponent.len() - bare.len()) + digits(bare);
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        tokens(text).expect("has tokens").iter().map(|token| token.text).collect()
    }

    #[test]
    fn templates_nest() {
        let found = texts("x = \"a${f(\"$${b}\\\"${ {c = 1} }\")~}%{ if d }\"\n");
        let expected = [
            "x",
            "=",
            "\"",
            "a",
            "${",
            "f",
            "(",
            "\"",
            "$${b}\\\"",
            "${",
            "{",
            "c",
            "=",
            "1",
            "}",
            "}",
            "\"",
            ")",
            "~}",
            "%{",
            "if",
            "d",
            "}",
            "\"",
            "\n",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn heredocs_end_with_their_word_alone() {
        let found = texts("x = <<-E\n E x\n${a}E\n  E \ny = 1");
        let expected =
            ["x", "=", "<<-E\n", " E x\n", "${", "a", "}", "E\n", "  E ", "\n", "y", "=", "1"];
        assert_eq!(found, expected);
    }

    #[test]
    fn numbers_words_and_dots() {
        assert_eq!(
            texts("a.0.b 1.5e-3 a-b -1 x... 1...é"),
            ["a", ".", "0", ".", "b", "1.5e-3", "a-b", "-", "1", "x", "...", "1", "...", "é"]
        );
    }

    #[test]
    fn what_is_no_token_has_a_place() {
        for (text, place) in [("a = 'b'", 4), ("a = \"b", 6), ("a = \"b\n\"", 6), ("a }", 2)] {
            assert_eq!(tokens(text), Err(place), "{text:?}");
        }
    }
}
