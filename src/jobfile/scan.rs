//! A quick look at HCL text before it is parsed: how deep it nests, which brackets stay open and whether it has a `job`
//! block. It tells job files from others without the cost of reading them.

/// How deep brackets may nest. Real files reach 12; the parser itself gives up at 64.
pub(crate) const MAX_DEPTH: usize = 40;

/// What a look at the text found. Offsets are bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The bracket that is one too deep.
    pub(crate) too_deep: Option<usize>,
    /// The innermost bracket that is never closed.
    pub(crate) unclosed: Option<usize>,
    /// A closing bracket that closes nothing, or the wrong one.
    pub(crate) stray: Option<usize>,
    /// A quoted string that runs into the end of its line.
    pub(crate) open_string: Option<usize>,
    /// The heredoc that never ends.
    pub(crate) open_heredoc: Option<usize>,
    /// Where a `job` block starts at the top level.
    pub(crate) job: Option<usize>,
}

enum Mode<'a> {
    Code { opened: usize, close: u8 },
    Quoted { opened: usize },
    Heredoc { opened: usize, delimiter: &'a str },
}

/// Looks at HCL text.
pub(crate) fn scan(text: &str) -> Scan {
    Scanner { text, bytes: text.as_bytes(), at: 0, modes: Vec::new(), found: Scan::default() }.run()
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    modes: Vec<Mode<'a>>,
    found: Scan,
}

impl<'a> Scanner<'a> {
    fn run(mut self) -> Scan {
        while let Some(&byte) = self.bytes.get(self.at) {
            match self.modes.last() {
                Some(Mode::Quoted { .. }) => self.quoted(byte),
                Some(Mode::Heredoc { .. }) => self.heredoc(byte),
                Some(Mode::Code { .. }) | None => self.code(byte),
            }
            if self.found.too_deep.is_some() {
                break;
            }
        }
        match self.modes.last() {
            Some(Mode::Code { opened, .. }) => self.found.unclosed = Some(*opened),
            Some(Mode::Quoted { opened }) => {
                self.found.open_string.get_or_insert(*opened);
            }
            Some(Mode::Heredoc { opened, .. }) => self.found.open_heredoc = Some(*opened),
            None => {}
        }
        self.found
    }

    fn starts(&self, with: &str) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(with.as_bytes()))
    }

    fn open(&mut self, mode: Mode<'a>) {
        if self.modes.len() >= MAX_DEPTH {
            self.found.too_deep = Some(self.at);
        } else {
            self.modes.push(mode);
        }
    }

    fn code(&mut self, byte: u8) {
        match byte {
            b'#' => self.skip_line(),
            b'/' if self.starts("//") => self.skip_line(),
            b'/' if self.starts("/*") => {
                let rest = self.text.get(self.at + 2..).unwrap_or("");
                self.at = rest.find("*/").map_or(self.bytes.len(), |end| self.at + 2 + end + 2);
            }
            b'"' => {
                self.open(Mode::Quoted { opened: self.at });
                self.at += 1;
            }
            b'{' | b'[' | b'(' => {
                let close = match byte {
                    b'{' => b'}',
                    b'[' => b']',
                    _ => b')',
                };
                self.open(Mode::Code { opened: self.at, close });
                self.at += 1;
            }
            b'}' | b']' | b')' => {
                match self.modes.last() {
                    Some(Mode::Code { close, .. }) if *close == byte => {
                        self.modes.pop();
                    }
                    _ => {
                        self.found.stray.get_or_insert(self.at);
                    }
                }
                self.at += 1;
            }
            b'<' if self.starts("<<") => self.heredoc_start(),
            _ if byte == b'_' || byte.is_ascii_alphabetic() => self.word(),
            _ => self.at += 1,
        }
    }

    fn word(&mut self) {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')))
            .unwrap_or(rest.len());
        self.at += length.max(1);
        if self.modes.is_empty() && self.text.get(start..self.at) == Some("job") {
            let next = self.text.get(self.at..).unwrap_or("").trim_start_matches([' ', '\t']);
            if next.starts_with(|c: char| c == '"' || c == '{' || c == '_' || c.is_alphabetic()) {
                self.found.job.get_or_insert(start);
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or("");
        self.at += rest.find('\n').map_or(rest.len(), |end| end + 1);
    }

    fn heredoc_start(&mut self) {
        let opened = self.at;
        let after = self.text.get(opened + 2..).unwrap_or("");
        let word = after.strip_prefix('-').unwrap_or(after);
        let length = word
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(word.len());
        let (delimiter, rest) = word.split_at(length);
        if delimiter.is_empty() || !(rest.starts_with('\n') || rest.starts_with("\r\n")) {
            self.at += 2;
            return;
        }
        self.open(Mode::Heredoc { opened, delimiter });
        // Stay on the line's end: the delimiter may stand on the very next line.
        self.at = self.text.len() - rest.len();
    }

    fn heredoc(&mut self, byte: u8) {
        if byte == b'\n' {
            let Some(Mode::Heredoc { delimiter, .. }) = self.modes.last() else { return };
            let line = self.text.get(self.at + 1..).unwrap_or("").trim_start_matches([' ', '\t']);
            if let Some(after) = line.strip_prefix(delimiter)
                && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-')
            {
                self.at = self.text.len() - after.len();
                self.modes.pop();
                return;
            }
        }
        self.template_text();
    }

    fn quoted(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.modes.pop();
                self.at += 1;
            }
            b'\\' => self.at += 2,
            b'\n' => {
                if let Some(Mode::Quoted { opened }) = self.modes.last() {
                    self.found.open_string.get_or_insert(*opened);
                }
                self.at += 1;
            }
            _ => self.template_text(),
        }
    }

    fn template_text(&mut self) {
        if self.starts("$${") || self.starts("%%{") {
            self.at += 3;
        } else if self.starts("${") || self.starts("%{") {
            self.open(Mode::Code { opened: self.at, close: b'}' });
            self.at += 2;
        } else {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_job_block_and_nothing_that_looks_like_one() {
        assert_eq!(scan("# job \"x\" {}\njob \"web\" {}\n").job, Some(13));
        assert_eq!(scan("a = <<EOF\njob \"x\" {}\nEOF\n").job, None);
        assert_eq!(scan("x { job \"y\" {} }").job, None);
        assert_eq!(scan("job = 1\njobs \"x\" {}").job, None);
    }

    #[test]
    fn brackets_in_text_do_not_count() {
        let found = scan("a = \"{[(\"\nb = <<EOF\n}}} ${ f(\"}\") } ${x}\n EOF\nc = [1]\n");
        assert_eq!(found, Scan::default());
    }

    #[test]
    fn names_what_stays_open() {
        assert_eq!(scan("job \"a\" {\n  x {\n").unclosed, Some(14));
        assert_eq!(scan("a = \"b\nc = 1").open_string, Some(4));
        assert_eq!(scan("a = <<EOF\nb\n").open_heredoc, Some(4));
        assert_eq!(scan("a = 1 }").stray, Some(6));
    }

    #[test]
    fn holds_back_what_is_too_deep() {
        assert_eq!(scan(&"[".repeat(100)).too_deep, Some(MAX_DEPTH));
        assert_eq!(
            scan(&format!("a = <<E\n${{{}\nE\n", "[".repeat(100))).too_deep,
            Some(8 + 1 + MAX_DEPTH - 1)
        );
    }
}
