//! The grammar of texts: quoted strings, heredocs, and the `${…}` and `%{…}` in them.

use super::cursor::{Reader, Step, continues_word, starts_word};
use crate::report::{Fault, Span};

/// What a text ends with.
#[derive(Clone, Copy)]
enum End<'a> {
    /// The double quote that was opened there.
    Quote(usize),
    /// A line that holds nothing but this word.
    Marker { opened: usize, word: &'a str },
    /// The end of the text itself, as in a string of YAML or JSON.
    Text,
}

/// A `%{ if … }` or `%{ for … }` whose end has not come yet.
struct Directive {
    at: Span,
    is_for: bool,
    has_else: bool,
}

impl<'a> Reader<'a> {
    /// A string in double quotes that may be a template.
    pub(super) fn quoted(&mut self) -> Step {
        let opened = self.at;
        self.take(1);
        self.template(End::Quote(opened))
    }

    /// A whole text as a template, as strings of YAML and JSON are.
    pub(super) fn whole_template(&mut self) -> Step {
        self.template(End::Text)
    }

    /// A label: a string in double quotes that is no template. Returns its text.
    pub(super) fn label(&mut self) -> Step<String> {
        let opened = self.at;
        self.take(1);
        let mut text = String::new();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.take(1);
                    return Ok(text);
                }
                None | Some(b'\n' | b'\r') => return Err(self.open_string(opened)),
                Some(b'\\') => text.push(self.escape()?),
                Some(b'$' | b'%') if self.starts("$${") || self.starts("%%{") => {
                    text.push_str(self.rest().get(1..3).unwrap_or(""));
                    self.take(3);
                }
                Some(b'$' | b'%') if self.starts("${") || self.starts("%{") => {
                    let span = Span::new(self.at, self.at + 2);
                    let message = "a label is plain text, it cannot have `${…}` or `%{…}` in it";
                    return Err(Fault::new("syntax", span, message)
                        .help("set the attribute `name` or `id` instead, or write `$${`"));
                }
                Some(_) => text.push(self.take_char()),
            }
        }
    }

    fn take_char(&mut self) -> char {
        let next = self.rest().chars().next().unwrap_or(' ');
        self.take(next.len_utf8());
        next
    }

    fn open_string(&self, opened: usize) -> Fault {
        let span = Span::new(opened, self.line_end(opened));
        Fault::new("syntax", span, "this string is not closed")
            .help("add a `\"`; text of several lines is written as <<EOF … EOF")
    }

    fn escape(&mut self) -> Step<char> {
        let start = self.at;
        let digits = match self.bytes.get(start + 1) {
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        let plain = match self.bytes.get(start + 1) {
            Some(b'n') => Some('\n'),
            Some(b'r') => Some('\r'),
            Some(b't') => Some('\t'),
            Some(b'"') => Some('"'),
            Some(b'\\') => Some('\\'),
            _ => None,
        };
        if let Some(plain) = plain {
            self.take(2);
            return Ok(plain);
        }
        if digits > 0 {
            let code = self.text.get(start + 2..start + 2 + digits);
            let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let found = code.and_then(|code| u32::from_str_radix(code, 16).ok());
            if let Some(found) = found.and_then(char::from_u32) {
                self.take(2 + digits);
                return Ok(found);
            }
            let message = format!("behind this stand {digits} digits of a character's code");
            return Err(Fault::new("syntax", Span::new(start, start + 2), message)
                .help("for example \"\\u00e4\""));
        }
        let next = self.rest().get(1..).and_then(|rest| rest.chars().next());
        let length = next.filter(|c| !c.is_control()).map_or(0, char::len_utf8);
        let span = Span::new(start, start + 1 + length);
        Err(Fault::new("syntax", span, "there is no such escape sequence").help(
            "there are \\n \\r \\t \\\" \\\\ \\uXXXX and \\UXXXXXXXX; a backslash itself is `\\\\`",
        ))
    }

    fn template(&mut self, end: End<'a>) -> Step {
        let before = self.depth;
        let mut open: Vec<Directive> = Vec::new();
        let result = self.template_parts(end, &mut open);
        self.depth = before;
        result?;
        match open.pop() {
            None => Ok(()),
            Some(directive) => {
                let (what, end) =
                    if directive.is_for { ("for", "endfor") } else { ("if", "endif") };
                let message = format!("this `%{{ {what} }}` has no `%{{ {end} }}`");
                Err(Fault::new("syntax", directive.at, message)
                    .help("write `%%{` where the text itself has `%{`"))
            }
        }
    }

    fn template_parts(&mut self, end: End<'a>, open: &mut Vec<Directive>) -> Step {
        loop {
            match (self.byte(), end) {
                (None, End::Text) => return Ok(()),
                (None | Some(b'\n' | b'\r'), End::Quote(opened)) => {
                    return Err(self.open_string(opened));
                }
                (None, End::Marker { opened, word }) => return Err(self.open_heredoc(opened, word)),
                (Some(b'"'), End::Quote(_)) => {
                    self.take(1);
                    return Ok(());
                }
                (Some(b'\\'), End::Quote(_)) => {
                    self.escape()?;
                }
                (Some(b'\n'), End::Marker { word, .. }) => {
                    self.take(1);
                    if self.at_marker(word) {
                        return Ok(());
                    }
                }
                (Some(b'$' | b'%'), _) if self.starts("$${") || self.starts("%%{") => self.take(3),
                (Some(b'$'), _) if self.starts("${") => self.interpolation()?,
                (Some(b'%'), _) if self.starts("%{") => self.directive(open)?,
                // A byte inside of a character is no different from a character here.
                (Some(_), _) => self.take(1),
            }
        }
    }

    fn interpolation(&mut self) -> Step {
        let opened = self.at;
        self.take(2);
        self.takes("~");
        self.with_lines(false, |reader| {
            reader.expression().map_err(|fault| reader.or_plain_text(fault, opened))?;
            reader.end_of_part(opened)
        })
    }

    /// `${` in the text of a script is often not meant for HCL.
    fn or_plain_text(&self, fault: Fault, opened: usize) -> Fault {
        let near = fault.span.start <= self.line_end(opened);
        if near && fault.code == "syntax" && fault.help.is_empty() {
            return fault.help("write `$${` where the text itself has `${`");
        }
        fault
    }

    fn end_of_part(&mut self, opened: usize) -> Step {
        self.skip();
        if self.takes("~}") || self.takes("}") {
            return Ok(());
        }
        let opening = self.text.get(opened..opened + 2).unwrap_or("${");
        if matches!(self.byte(), None | Some(b'"')) {
            let span = Span::new(opened, opened + 2);
            return Err(Fault::new("syntax", span, format!("this `{opening}` is not closed"))
                .help(format!(
                    "add the `}}`; or write `{}{opening}` for a plain `{opening}`",
                    &opening[..1]
                )));
        }
        let fault = self.expected(&format!("the `}}` of `{opening}`"));
        if fault.help.is_empty() {
            return Err(fault.help(format!(
                "write `{}{opening}` where the text itself has `{opening}`",
                opening.get(..1).unwrap_or("$")
            )));
        }
        Err(fault)
    }

    fn directive(&mut self, open: &mut Vec<Directive>) -> Step {
        let opened = self.at;
        self.take(2);
        self.takes("~");
        self.with_lines(false, |reader| {
            reader.skip();
            reader.part()?;
            let at = Span::new(opened, reader.at + reader.word().map_or(0, str::len));
            let stray = |message: &str| Err(Fault::new("syntax", at, message));
            match reader.word() {
                Some("if") => {
                    reader.take(2);
                    reader.expression()?;
                    reader.opens(Directive { at, is_for: false, has_else: false }, open)?;
                }
                Some("for") => {
                    reader.take(3);
                    reader.for_intro("`for`")?;
                    reader.opens(Directive { at, is_for: true, has_else: false }, open)?;
                }
                Some("else") => match open.last_mut() {
                    Some(last) if !last.is_for && !last.has_else => {
                        reader.take(4);
                        last.has_else = true;
                    }
                    Some(last) if last.has_else => return stray("this `if` has an `else` already"),
                    _ => return stray("this `else` belongs to no `%{ if }`"),
                },
                Some("endif") => {
                    if open.last().is_none_or(|last| last.is_for) {
                        return stray("this `endif` belongs to no `%{ if }`");
                    }
                    reader.take(5);
                    reader.closes(open);
                }
                Some("endfor") => {
                    if open.last().is_none_or(|last| !last.is_for) {
                        return stray("this `endfor` belongs to no `%{ for }`");
                    }
                    reader.take(6);
                    reader.closes(open);
                }
                _ => {
                    let fault = reader.expected("if, else, endif, for or endfor");
                    return Err(fault.help("write `%%{` where the text itself has `%{`"));
                }
            }
            reader.end_of_part(opened)
        })
    }

    fn opens(&mut self, directive: Directive, open: &mut Vec<Directive>) -> Step {
        // What is inside nests; the depth is put back when the text ends.
        self.deeper(|_| Ok(()))?;
        self.depth += 1;
        open.push(directive);
        Ok(())
    }

    fn closes(&mut self, open: &mut Vec<Directive>) {
        self.depth = self.depth.saturating_sub(1);
        open.pop();
    }

    /// `<<WORD` or `<<-WORD`, its lines, and the line that holds nothing but the word.
    pub(super) fn heredoc(&mut self) -> Step {
        let opened = self.at;
        self.take(2);
        self.takes("-");
        let start = self.at;
        let word = self.word().unwrap_or("");
        self.take(word.len());
        if word.is_empty() || self.newline().is_none() {
            if let Some((word, length)) = self.misspelt_heredoc(opened) {
                let message = "the word of a text block stands right behind `<<`, without quotes";
                return Err(Fault::new("syntax", Span::new(opened, opened + length), message)
                    .help(format!("write <<{word}")));
            }
            let span = Span::new(opened, self.at.max(opened + 2));
            return Err(Fault::new(
                "syntax",
                span,
                "behind `<<` stands a word, and then the line ends",
            )
            .help(
                "for example <<EOF, with the text on the lines below and EOF on one of its own",
            ));
        }
        let body = self.at;
        // The word may stand on the very next line.
        self.take(usize::from(self.byte() == Some(b'\r')));
        self.template(End::Marker { opened, word })?;
        self.rename_marker(start, word, body);
        Ok(())
    }

    /// Whether the line that starts here is the end of the heredoc. Takes it, if so.
    fn at_marker(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let Some(length) = rest.find('\n') else { return false };
        let line = rest.get(..length).unwrap_or("");
        let indent = line.len() - line.trim_start().len();
        if line.trim() != word {
            return false;
        }
        let start = self.at;
        self.edit(start, start + indent, b' ');
        self.take(line.trim_end_matches('\r').len());
        true
    }

    /// The parser of expressions takes a line that only begins with the word for the end of the text. Where there is
    /// such a line it gets to see another word.
    fn rename_marker(&mut self, start: usize, word: &str, body: usize) {
        let content = self.text.get(body..self.last).unwrap_or("");
        let lines = || content.split('\n').skip(1);
        let begins = |line: &str, with: &str| {
            let line = line.trim_start_matches([' ', '\t']);
            line.strip_prefix(with).is_some_and(|rest| !rest.starts_with(continues_word))
        };
        if lines().filter(|line| begins(line, word)).nth(1).is_none() {
            return;
        }
        let free = (b'A'..=b'Z').chain(b'a'..=b'z').find(|letter| {
            let other = char::from(*letter).to_string().repeat(word.len());
            !lines().any(|line| line.trim_start_matches([' ', '\t']).starts_with(&other))
        });
        let Some(letter) = free else { return };
        self.edit(start, start + word.len(), letter);
        let line = content.rfind('\n').map_or(body, |newline| body + newline + 1);
        let rest = self.text.get(line..self.last).unwrap_or("");
        let end = line + (rest.len() - rest.trim_start().len());
        self.edit(end, end + word.len(), letter);
    }

    fn open_heredoc(&mut self, opened: usize, word: &str) -> Fault {
        let span = Span::new(opened, self.line_end(opened));
        let fault = Fault::new("syntax", span, "this text block never ends");
        // A line that begins with the word is where it was meant to end.
        let mut at = self.line_end(opened);
        self.searches = self.searches.saturating_sub(1);
        while self.searches > 0
            && let Some(length) = self.text.get(at..).and_then(|rest| rest.find('\n'))
        {
            at += length + 1;
            let line = self.text.get(at..self.line_end(at)).unwrap_or("");
            let bare = line.trim_start();
            let behind = bare.strip_prefix(word);
            if behind.is_some_and(|rest| !rest.starts_with(|c| continues_word(c) || starts_word(c)))
            {
                self.at = at + line.len();
                let line = self.text.get(..at).unwrap_or("").matches('\n').count() + 1;
                let behind = behind.unwrap_or("").trim();
                if behind.is_empty() {
                    return fault.help(format!("the last line, {line}, must be ended too"));
                }
                return fault.help(format!(
                    "in line {line} `{word}` must stand alone, what follows it goes on the next line"
                ));
            }
        }
        self.cut_short = true;
        self.at = self.bytes.len();
        fault.help("close it with its word on a line of its own")
    }
}
