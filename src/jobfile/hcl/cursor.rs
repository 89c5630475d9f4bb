//! A place in the text, and the small steps from there: white space, comments, words, limits.

use crate::report::{Fault, Span};

/// How deep blocks, brackets and templates may nest. Real files reach 12; the parser of expressions gives up at 64.
pub(crate) const MAX_DEPTH: usize = 40;
/// How many operators may stand in one chain, those of its operands included.
const MAX_OPERATORS: usize = 120;
/// How many attributes, blocks and parts of expressions a file may have. Real files reach 2,000.
const MAX_PARTS: usize = 20_000;
/// How many blocks a file may have, because each may become kilobytes of defaults. Real files reach 300.
pub(crate) const MAX_BLOCKS: usize = 3_000;
/// How many comparisons of keys the objects of a file may cost, because each new key is compared with all others.
const MAX_KEY_WORK: usize = 4_000_000;
/// How many syntax errors of one file are worth reading.
const MAX_FAULTS: usize = 30;

/// What a step comes to.
pub(super) type Step<T = ()> = Result<T, Fault>;

/// An expression that the grammar accepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    /// Where its `=` stands.
    pub(super) equals: usize,
    /// From its first to its last character.
    pub(super) span: Span,
}

/// Bytes of an accepted expression that the parser of expressions is to see otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edit {
    pub(super) span: Span,
    pub(super) with: u8,
}

/// Goes through a text by HCL's grammar. It builds no values; it says what is where, and what is wrong.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// The end of the last token, that is, of what is not white space or a comment.
    pub(super) last: usize,
    /// Whether a line's end ends things here. It does not inside of brackets.
    pub(super) lines_count: bool,
    /// Whether blocks are also told apart by their indentation, see [`super::body`].
    pub(super) by_indent: bool,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
    pub(super) accepted: Vec<Accepted>,
    pub(super) edits: Vec<Edit>,
    /// Whether a bracket of a block is missing or too much.
    pub(super) unbalanced: bool,
    /// Whether a text or comment that never ends has swallowed the rest.
    pub(super) cut_short: bool,
    /// Whether a limit was met, so that nothing more is looked at.
    pub(super) stopped: bool,
    pub(super) depth: usize,
    pub(super) operators: usize,
    /// How many more heredocs that never end are looked into, and their ends looked for.
    pub(super) searches: usize,
    parts: usize,
    blocks: usize,
    key_work: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, by_indent: bool) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            last: 0,
            lines_count: true,
            by_indent,
            faults: Vec::new(),
            warnings: Vec::new(),
            accepted: Vec::new(),
            edits: Vec::new(),
            unbalanced: false,
            cut_short: false,
            stopped: false,
            depth: 0,
            operators: 0,
            searches: 8,
            parts: 0,
            blocks: 0,
            key_work: 0,
        }
    }

    pub(super) fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    pub(super) fn starts(&self, with: &str) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(with.as_bytes()))
    }

    /// Takes a token of so many bytes.
    pub(super) fn take(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.bytes.len());
        self.last = self.at;
    }

    /// Takes this text if it is next.
    pub(super) fn takes(&mut self, token: &str) -> bool {
        let next = self.starts(token);
        if next {
            self.take(token.len());
        }
        next
    }

    /// The bytes of the line's end that is next.
    pub(super) fn newline(&self) -> Option<usize> {
        match self.byte() {
            Some(b'\n') => Some(1),
            Some(b'\r') if self.starts("\r\n") => Some(2),
            _ => None,
        }
    }

    /// Goes past white space and comments, and line ends where they do not count.
    pub(super) fn skip(&mut self) {
        while let Some(byte) = self.byte() {
            match byte {
                b' ' | b'\t' => self.at += 1,
                b'\n' | b'\r' if !self.lines_count => match self.newline() {
                    Some(length) => self.blank(self.at, self.at + length),
                    None => return,
                },
                b'#' => self.skip_line_comment(),
                b'/' if self.starts("//") => self.skip_line_comment(),
                b'/' if self.starts("/*") => {
                    let start = self.at;
                    let length = self.rest().get(2..).and_then(|rest| rest.find("*/"));
                    if length.is_none() {
                        let span = Span::new(start, self.line_end(start));
                        self.cut_short = true;
                        self.fault(
                            Fault::new("syntax", span, "this comment never ends")
                                .help("close it with `*/`"),
                        );
                    }
                    let end = length.map_or(self.bytes.len(), |length| start + 2 + length + 2);
                    self.blank(start, end);
                }
                _ => return,
            }
        }
    }

    fn skip_line_comment(&mut self) {
        let start = self.at;
        let end = self.rest().find('\n').map_or(self.bytes.len(), |length| start + length);
        // The carriage return belongs to the line's end.
        let before = end.checked_sub(1).filter(|at| self.bytes.get(*at) == Some(&b'\r'));
        let end = if end < self.bytes.len() { before.unwrap_or(end) } else { end };
        self.blank(start, end);
    }

    /// Goes past bytes that the parser of expressions is not to see.
    fn blank(&mut self, start: usize, end: usize) {
        self.edit(start, end, b' ');
        self.at = end;
    }

    pub(super) fn edit(&mut self, start: usize, end: usize, with: u8) {
        // Neighbours are one edit, so that a file of comments costs nothing.
        match self.edits.last_mut() {
            Some(last) if last.span.end == start && last.with == with => last.span.end = end,
            _ => self.edits.push(Edit { span: Span::new(start, end), with }),
        }
    }

    /// The word that is next: a letter or `_`, then letters, digits, `_` and `-`.
    pub(super) fn word(&self) -> Option<&'a str> {
        let rest = self.rest();
        if !rest.starts_with(starts_word) {
            return None;
        }
        let length = rest.find(|c: char| !continues_word(c)).unwrap_or(rest.len());
        rest.get(..length)
    }

    /// The end of the line around a place, without its line end.
    pub(super) fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or("");
        let length = rest.find('\n').unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or("");
        at + line.trim_end_matches('\r').len()
    }

    /// How many bytes of white space the line around a place starts with, and whether the place is the first thing
    /// behind them.
    pub(super) fn indent(&self, at: usize) -> (usize, bool) {
        let before = self.bytes.get(..at).unwrap_or_default();
        // Lines that go on for ever are not indented by hand.
        let from = at.saturating_sub(1_000);
        let near = before.get(from..).unwrap_or_default();
        let start = from + near.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
        let line = before.get(start..).unwrap_or_default();
        let indent = line.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        (indent, indent == line.len())
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        if self.stopped {
            return;
        }
        self.stopped = matches!(fault.code, "too-deep" | "too-large");
        if self.faults.len() >= MAX_FAULTS {
            self.stopped = true;
        } else {
            self.faults.push(fault);
        }
    }

    /// Counts one more part of the file.
    pub(super) fn part(&mut self) -> Step {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            let message =
                format!("the file has more than {MAX_PARTS} attributes, blocks and values");
            return Err(Fault::new("too-large", Span::new(self.at, self.at), message)
                .help("large data belongs into a file or artifact of its own"));
        }
        Ok(())
    }

    /// Counts one more block.
    pub(super) fn one_more_block(&mut self, header: Span) -> Step {
        self.blocks += 1;
        if self.blocks > MAX_BLOCKS { Err(too_many_blocks(header)) } else { Ok(()) }
    }

    /// Counts a key of an object that has so many already.
    pub(super) fn key(&mut self, already: usize) -> Step {
        self.key_work += already;
        if self.key_work > MAX_KEY_WORK {
            let message = "this object has too many keys";
            return Err(Fault::new("too-large", Span::new(self.at, self.at + 1), message)
                .help("large data belongs into a file or artifact of its own"));
        }
        Ok(())
    }

    /// Runs one level deeper.
    pub(super) fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Step<T>) -> Step<T> {
        if self.depth >= MAX_DEPTH {
            let message = format!("this nests more than {MAX_DEPTH} levels deep");
            return Err(Fault::new("too-deep", Span::new(self.at, self.at + 1), message));
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    /// Counts the operators of a chain, on top of those of its operands.
    pub(super) fn operator(&self, in_chain: usize) -> Step {
        if self.operators + in_chain > MAX_OPERATORS {
            let message = format!("more than {MAX_OPERATORS} operators stand in one expression");
            return Err(Fault::new("too-deep", Span::new(self.at, self.at + 1), message));
        }
        Ok(())
    }

    /// Runs with line ends that do or do not count.
    pub(super) fn with_lines<T>(
        &mut self,
        count: bool,
        run: impl FnOnce(&mut Self) -> Step<T>,
    ) -> Step<T> {
        let before = std::mem::replace(&mut self.lines_count, count);
        let result = run(self);
        self.lines_count = before;
        result
    }

    /// What is wrong with what is next: what was needed, and what is there.
    pub(super) fn expected(&self, what: &str) -> Fault {
        let (span, found) = self.found();
        let fault = Fault::new("syntax", span, format!("{what} is needed here, this is {found}"));
        if !self.starts("'") && self.at_foreign_quote() {
            return fault
                .help("quotes are straight: `\"`; these come from a word processor or a web page");
        }
        match self.byte() {
            Some(b'\'') => fault.help("strings stand in double quotes"),
            Some(b'`') => fault.help("strings stand in double quotes; longer texts as <<EOF … EOF"),
            Some(b';') => fault.help("nothing is ended with `;`: give each attribute a line"),
            _ => fault,
        }
    }

    /// Whether a quote is next that is none of HCL's.
    pub(super) fn at_foreign_quote(&self) -> bool {
        self.rest().starts_with(['\'', '“', '”', '„', '‟', '‘', '’', '‚', '″', '«', '»'])
    }

    /// The next token, in words.
    pub(super) fn found(&self) -> (Span, String) {
        let at = self.at.min(self.bytes.len());
        if self.newline().is_some() {
            return (Span::new(at, at), "the end of the line".to_owned());
        }
        let Some(next) = self.rest().chars().next() else {
            return (Span::new(at, at), "the end of the file".to_owned());
        };
        let word = self.word().filter(|word| word.len() < 40);
        let length = word.map_or_else(|| next.len_utf8(), str::len);
        let token = self.text.get(at..at + length).unwrap_or("");
        let words = match next {
            '"' => "a string".to_owned(),
            _ if next.is_control() => format!("the character {:?}", next),
            _ => format!("`{token}`"),
        };
        (Span::new(at, at + length), words)
    }
}

/// What is wrong with a file of too many blocks, whatever its syntax.
pub(crate) fn too_many_blocks(span: Span) -> Fault {
    Fault::new("too-large", span, format!("the file has more than {MAX_BLOCKS} blocks"))
        .help("split the job, or use `count` instead of groups that are alike")
}

pub(super) fn starts_word(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

pub(super) fn continues_word(c: char) -> bool {
    c == '-' || c == '_' || c.is_alphanumeric() || (!c.is_ascii() && is_mark(c))
}

/// Marks that stand on the letter before them, and may so continue a word.
fn is_mark(c: char) -> bool {
    matches!(u32::from(c), 0x0300..=0x036f | 0x0483..=0x0487 | 0x0591..=0x05bd | 0x064b..=0x0669
        | 0x093a..=0x094f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x203f..=0x2040 | 0x20d0..=0x20dc
        | 0x302a..=0x302f | 0x3099..=0x309a | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f)
}
