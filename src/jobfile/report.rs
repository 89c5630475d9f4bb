//! Where findings are gathered: spans in, [`Diagnostic`]s with lines and columns out.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;

use model::{Diagnostic, Related, Severity};

/// More findings than this in one file help nobody; the rest is counted.
const MAX_DIAGNOSTICS: usize = 100;

/// How many bytes of the file are searched for what is written where.
const MAX_SEARCHED: usize = 32 << 20;

/// How often words are searched that may help.
const MAX_SOUGHT: usize = 500;

/// Of what is said once for many places, so many are named.
const MAX_NAMED_PLACES: usize = 4;

/// A secret of fewer characters is a word like any other.
const SHORTEST_SECRET: usize = 4;

/// First byte and end of a place in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A finding that is still on its way to the [`Sink`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: String,
    pub(crate) related: Vec<(Span, String)>,
}

impl Fault {
    pub(crate) fn new(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { code, span, message: message.into(), help: String::new(), related: Vec::new() }
    }

    /// What follows from something that has been reported already, and is passed on without another word.
    pub(crate) const fn reported() -> Self {
        Self {
            code: "",
            span: Span { start: 0, end: 0 },
            message: String::new(),
            help: String::new(),
            related: Vec::new(),
        }
    }

    /// Names another place that has to do with it.
    pub(crate) fn also(mut self, span: Span, message: impl Into<String>) -> Self {
        self.related.push((span, message.into()));
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// Gathers the findings of one file. Shared by reference, because every part of the way from text to job adds to it.
///
/// Files that the file includes lie behind its own text, so that one span says which file it is in.
pub(crate) struct Sink<'a> {
    path: &'a str,
    text: &'a str,
    line_starts: OnceCell<Vec<usize>>,
    included: RefCell<Vec<Included>>,
    found: RefCell<Vec<(Severity, Fault)>>,
    elsewhere: RefCell<Vec<Diagnostic>>,
    repeated: RefCell<Vec<Repeated>>,
    errors: Cell<usize>,
    beyond_limit: Cell<usize>,
    searched: Cell<usize>,
    sought: Cell<usize>,
    /// Texts that no finding repeats.
    hidden: RefCell<Vec<String>>,
    names_extensions: bool,
}

/// A warning that is said once, however many places there are.
struct Repeated {
    key: String,
    fault: Fault,
    /// Blocks that `dynamic` makes are all in one place.
    more: BTreeSet<Span>,
}

impl Repeated {
    fn is(&self, code: &str, key: &str) -> bool {
        self.fault.code == code && self.key == key
    }
}

/// A file whose text starts at `base`.
struct Included {
    base: usize,
    path: String,
    text: String,
    line_starts: Vec<usize>,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(path: &'a str, text: &'a str) -> Self {
        Self {
            path,
            text,
            line_starts: OnceCell::new(),
            included: RefCell::default(),
            found: RefCell::default(),
            elsewhere: RefCell::default(),
            repeated: RefCell::default(),
            errors: Cell::default(),
            beyond_limit: Cell::default(),
            searched: Cell::default(),
            sought: Cell::default(),
            hidden: RefCell::default(),
            names_extensions: false,
        }
    }

    /// Whether what Nomad does not have is named.
    pub(crate) fn naming_extensions(self, names_extensions: bool) -> Self {
        Self { names_extensions, ..self }
    }

    /// Says that spans from `base` on are places in another file.
    pub(crate) fn include(&self, base: usize, path: &str, text: &str) {
        self.included.borrow_mut().push(Included {
            base,
            path: path.to_owned(),
            text: text.to_owned(),
            line_starts: line_starts(text),
        });
    }

    /// Keeps a secret out of the findings to come. What is very short would only garble them.
    pub(crate) fn hide(&self, secret: &str) {
        if secret.chars().count() >= SHORTEST_SECRET {
            self.hidden.borrow_mut().push(secret.to_owned());
        }
    }

    fn without_secrets(&self, diagnostic: &mut Diagnostic) {
        for secret in self.hidden.borrow().iter() {
            for text in [&mut diagnostic.message, &mut diagnostic.help] {
                if text.contains(secret) {
                    *text = text.replace(secret, "(sensitive)");
                }
            }
        }
    }

    /// A finding in a file that is not part of this one.
    pub(crate) fn elsewhere(&self, mut diagnostic: Diagnostic) {
        self.without_secrets(&mut diagnostic);
        let mut elsewhere = self.elsewhere.borrow_mut();
        if elsewhere.len() < MAX_DIAGNOSTICS && !elsewhere.contains(&diagnostic) {
            elsewhere.push(diagnostic);
        }
    }

    /// Names what Nomad would not read, for those who asked.
    pub(crate) fn extension(&self, span: Span, message: impl Into<String>) {
        self.strict_warning(Fault::new("extension", span, message));
    }

    /// A warning for those who asked for all there is to say.
    pub(crate) fn strict_warning(&self, fault: Fault) {
        if self.names_extensions {
            self.warning(fault);
        }
    }

    /// A warning that the file's first place gets and that counts the others, so that what is said of every task is not
    /// said once for each. What has the same key is the same.
    pub(crate) fn warning_once(&self, key: impl AsRef<str> + Into<String>, fault: Fault) {
        let mut repeated = self.repeated.borrow_mut();
        let is_full = repeated.len() >= MAX_DIAGNOSTICS;
        match repeated.iter_mut().find(|known| known.is(fault.code, key.as_ref())) {
            Some(known) if known.fault.span == fault.span => {}
            Some(known) if fault.span < known.fault.span => {
                known.more.insert(std::mem::replace(&mut known.fault, fault).span);
            }
            Some(known) => {
                known.more.insert(fault.span);
            }
            None if is_full => {}
            None => repeated.push(Repeated { key: key.into(), fault, more: BTreeSet::new() }),
        }
    }

    /// Whether a warning of this key is known of this place already.
    pub(crate) fn has_warned(&self, code: &str, key: &str, span: Span) -> bool {
        let repeated = self.repeated.borrow();
        let known = repeated.iter().find(|known| known.is(code, key));
        known.is_some_and(|known| known.fault.span == span || known.more.contains(&span))
    }

    /// What comes of a search for words of help. Where no more is shown nothing is searched, nor again and again.
    pub(crate) fn seek<T: Default>(&self, search: impl FnOnce() -> T) -> T {
        self.sought.set(self.sought.get().saturating_add(1));
        if self.is_full() || self.sought.get() > MAX_SOUGHT { T::default() } else { search() }
    }

    fn is_full(&self) -> bool {
        self.errors.get() >= MAX_DIAGNOSTICS
    }

    /// `; also in lines 3, 8 and 12`.
    fn more_places(&self, more: &BTreeSet<Span>) -> String {
        if more.is_empty() {
            return String::new();
        }
        let mut lines: Vec<String> = Vec::new();
        for span in more {
            let (path, line, ..) = self.position(*span);
            let line = if path == self.path { line.to_string() } else { format!("{path}:{line}") };
            if lines.last() != Some(&line) {
                lines.push(line);
            }
        }
        let unnamed = lines.len().saturating_sub(MAX_NAMED_PLACES);
        lines.truncate(MAX_NAMED_PLACES);
        match (lines.as_slice(), unnamed) {
            ([line], _) => format!("; also in line {line}"),
            ([lines @ .., last], 0) => format!("; also in lines {} and {last}", lines.join(", ")),
            (lines, _) => format!("; also in lines {} and {unnamed} more", lines.join(", ")),
        }
    }

    /// A place as `path:line`.
    pub(crate) fn place(&self, span: Span) -> String {
        let (path, line, ..) = self.position(span);
        format!("{path}:{line}")
    }

    /// A place as `path:line:column`.
    pub(crate) fn exact_place(&self, span: Span) -> String {
        let (path, line, column, _) = self.position(span);
        format!("{path}:{line}:{column}")
    }

    /// What somebody makes of the text that is written at a place.
    pub(crate) fn text_at<T>(&self, span: Span, read: impl FnOnce(&str) -> T) -> T {
        let included = self.included.borrow();
        let file = included.iter().rev().find(|file| file.base <= span.start);
        let (text, base) = file.map_or((self.text, 0), |file| (file.text.as_str(), file.base));
        let end = span.end.saturating_sub(base);
        read(text.get(span.start.saturating_sub(base)..end).unwrap_or_default())
    }

    /// Whether this is written at a place, or may be, after much searching.
    pub(crate) fn is_written(&self, span: Span, text: &str) -> bool {
        self.text_at(span, |written| {
            self.searched.set(self.searched.get().saturating_add(written.len()));
            self.searched.get() > MAX_SEARCHED || written.contains(text)
        })
    }

    /// Line and column of a place.
    pub(crate) fn line_and_column(&self, span: Span) -> (u32, u32) {
        let (_, line, column, _) = self.position(span);
        (line, column)
    }

    pub(crate) fn error(&self, fault: Fault) {
        self.add(Severity::Error, fault);
    }

    pub(crate) fn warning(&self, fault: Fault) {
        self.add(Severity::Warning, fault);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors.get() > 0 || self.elsewhere.borrow().iter().any(Diagnostic::is_error)
    }

    /// Everything found, in the order of the file; then what was found in others.
    pub(crate) fn finish(self) -> Vec<Diagnostic> {
        for Repeated { mut fault, more, .. } in self.repeated.take() {
            fault.message.push_str(&self.more_places(&more));
            self.warning(fault);
        }
        let found = self.found.take().into_iter();
        let mut found: Vec<_> =
            found.map(|(severity, fault)| self.diagnostic(severity, fault)).collect();
        let own = |diagnostic: &Diagnostic| diagnostic.path == self.path;
        found.sort_by(|a, b| (!own(a), &a.path, a.span).cmp(&(!own(b), &b.path, b.span)));
        found.extend(self.elsewhere.into_inner());
        if self.beyond_limit.get() > 0 {
            found.push(Diagnostic::file_error(
                "too-many-findings",
                self.path,
                format!("{} more findings are not shown", self.beyond_limit.get()),
                "mend the ones above first",
            ));
        }
        found
    }

    /// Keeps a finding, unless it is known already or there are too many.
    fn add(&self, severity: Severity, fault: Fault) {
        let is_error = severity == Severity::Error;
        let mut found = self.found.borrow_mut();
        if fault.code.is_empty() || (found.len() >= MAX_DIAGNOSTICS && !is_error) {
            return;
        }
        if self.is_full() {
            self.beyond_limit.set(self.beyond_limit.get() + 1);
            return;
        }
        if found.iter().any(|(known, other)| *known == severity && *other == fault) {
            return;
        }
        if found.len() >= MAX_DIAGNOSTICS
            && let Some(warning) = found.iter().rposition(|(known, _)| *known != severity)
        {
            // What keeps the file from being used goes before what does not.
            found.remove(warning);
        }
        self.errors.set(self.errors.get() + usize::from(is_error));
        found.push((severity, fault));
    }

    fn diagnostic(&self, severity: Severity, fault: Fault) -> Diagnostic {
        let (path, line, column, span) = self.position(fault.span);
        let related = fault.related.into_iter().map(|(span, message)| {
            let (path, line, column, span) = self.position(span);
            Related { path, line, column, span: Some((span.start, span.end)), message }
        });
        let mut diagnostic = Diagnostic {
            severity,
            code: fault.code.to_owned(),
            path,
            line,
            column,
            span: Some((span.start, span.end)),
            message: fault.message,
            help: fault.help,
            related: related.collect(),
        };
        self.without_secrets(&mut diagnostic);
        diagnostic
    }

    /// Path, line, column, and the span within that file.
    /// The file of a place, which may be an included one, line and column, and the place in it.
    pub(crate) fn position(&self, span: Span) -> (String, u32, u32, Span) {
        let included = self.included.borrow();
        let inside = included.iter().rev().find(|file| file.base <= span.start);
        let Some(file) = inside else {
            let starts = self.line_starts.get_or_init(|| line_starts(self.text));
            let (line, column) = position(self.text, starts, span.start);
            return (self.path.to_owned(), line, column, span);
        };
        let local = Span::new(span.start - file.base, span.end.saturating_sub(file.base));
        let (line, column) = position(&file.text, &file.line_starts, local.start);
        (file.path.clone(), line, column, local)
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect()
}

fn position(text: &str, line_starts: &[usize], offset: usize) -> (u32, u32) {
    let line = line_starts.partition_point(|start| *start <= offset).max(1);
    let start = line_starts.get(line - 1).copied().unwrap_or(0);
    let before = text.get(start..offset).unwrap_or("");
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (count(line), count(before.chars().count() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let sink = Sink::new("a.hcl", "ä = 1\nöö = 2\n");
        sink.error(Fault::new("x", Span::new(14, 15), "late"));
        sink.error(Fault::new("x", Span::new(0, 2), "early"));
        let found = sink.finish();
        assert_eq!((found[0].line, found[0].column), (1, 1));
        assert_eq!((found[1].line, found[1].column), (2, 6));
    }

    #[test]
    fn says_once_what_is_in_many_places() {
        let sink = Sink::new("a.hcl", "a\nb\nc\nd\ne\nf\ng\n");
        for at in [6, 2, 4, 8, 8, 0, 10, 12] {
            sink.warning_once("k", Fault::new("x", Span::new(at, at + 1), "not yet"));
        }
        sink.warning_once("l", Fault::new("x", Span::new(4, 5), "other"));
        let found = sink.finish();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].line, 1);
        assert_eq!(found[0].message, "not yet; also in lines 2, 3, 4, 5 and 2 more");
        assert_eq!(found[1].message, "other");
    }

    #[test]
    fn errors_go_before_warnings() {
        let sink = Sink::new("a.hcl", "");
        for n in 0..MAX_DIAGNOSTICS {
            sink.warning(Fault::new("x", Span::default(), n.to_string()));
        }
        sink.error(Fault::new("y", Span::default(), "bad"));
        assert!(sink.has_errors());
        let found = sink.finish();
        assert_eq!(found.iter().filter(|found| found.is_error()).count(), 1);
    }

    #[test]
    fn stops_at_the_limit_and_says_so() {
        let sink = Sink::new("a.hcl", "");
        for n in 0..MAX_DIAGNOSTICS + 5 {
            sink.error(Fault::new("x", Span::default(), n.to_string()));
        }
        let found = sink.finish();
        assert_eq!(found.len(), MAX_DIAGNOSTICS + 1);
        assert_eq!(found.last().expect("has one").message, "5 more findings are not shown");
    }
}
