//! The canonical style of HCL: blanks, indentation and alignment, and nothing else.
//!
//! The bytes that come out are those of `nomad fmt`, which are those of HCL's own writer. Lines are neither joined nor
//! split, none is added and none removed, and their ends stay what they are, with or without a carriage return; so does
//! the absence of the last one. Two things differ: blanks at the end of a file whose last line has no end go, and blanks
//! within a reference to something of run time stay (`reference`).
//!
//! Only what stands between tokens changes. Texts, heredocs and comments are tokens.

mod layout;
mod reference;
mod tokens;

#[cfg(test)]
mod tests;

use std::fmt;

use model::Diagnostic;

use crate::Source;
use crate::format::tokens::Token;
use crate::hcl;
use crate::report::{Fault, Sink, Span};
use crate::source::{self, MAX_BYTES, Syntax};

/// Why a file has no canonical style. It stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The file is written in another language; its name.
    NotHcl(&'static str),
    /// What is wrong with the file, in its order; at least one error.
    Invalid(Vec<Diagnostic>),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHcl(language) => {
                write!(f, "{language} is left as it is, only HCL is formatted")
            }
            Self::Invalid(found) => match found.first() {
                Some(first) => {
                    write!(f, "{}:{}:{}: {}", first.path, first.line, first.column, first.message)
                }
                None => f.write_str("the file is not valid"),
            },
        }
    }
}

impl std::error::Error for FormatError {}

/// Brings an HCL file into its canonical style. Formatting the result again changes nothing, and it means the same.
///
/// The file may be any HCL, with a job in it or not. It may have as many bytes as a job file, and so may the result.
///
/// # Errors
///
/// When the file is not HCL by its name or content, or does not parse.
pub fn format(source: Source<'_>) -> Result<String, FormatError> {
    if Syntax::of(source.path) == Syntax::Yaml {
        return Err(FormatError::NotHcl("YAML"));
    }
    let text = match source::text_of(source.bytes) {
        Ok(text) => text,
        // Nothing is wrong with its style.
        Err(fault) if fault.code == "empty-file" => {
            let text = std::str::from_utf8(source.bytes).unwrap_or("");
            text.strip_prefix('\u{feff}').unwrap_or(text)
        }
        Err(fault) => {
            let found = Diagnostic::file_error(fault.code, source.path, fault.message, fault.help);
            return Err(FormatError::Invalid(vec![found]));
        }
    };
    if text.trim_start().starts_with('{') {
        return Err(FormatError::NotHcl("JSON"));
    }
    let sink = Sink::new(source.path, text);
    match formatted(text, &sink) {
        Some(formatted) if !sink.has_errors() => Ok(formatted),
        _ => Err(FormatError::Invalid(errors(sink.finish(), source.path))),
    }
}

/// The errors alone: what is merely unwise in a file is not the formatter's business.
fn errors(mut found: Vec<Diagnostic>, path: &str) -> Vec<Diagnostic> {
    found.retain(Diagnostic::is_error);
    if found.is_empty() {
        found.push(Diagnostic::file_error("syntax", path, "this is not understood", ""));
    }
    found
}

fn formatted(text: &str, sink: &Sink<'_>) -> Option<String> {
    let conflicts = source::conflict_markers(text);
    if !conflicts.is_empty() {
        conflicts.into_iter().for_each(|fault| sink.error(fault));
        return None;
    }
    if !text.trim().is_empty() {
        hcl::parse(text, sink)?;
        if sink.has_errors() {
            return None;
        }
    }
    let mut tokens = match tokens::tokens(text) {
        Ok(tokens) => tokens,
        Err(at) => {
            let next = text.get(at..).and_then(|rest| rest.chars().next());
            let span = Span::new(at, at + next.map_or(0, char::len_utf8));
            sink.error(Fault::new("syntax", span, "this is not understood here"));
            return None;
        }
    };
    layout::lay_out(&mut tokens);
    let length = tokens.iter().map(|token| token.blanks + token.text.len()).sum();
    if length > MAX_BYTES {
        // One long line among many short ones: the blanks of alignment multiply.
        let message = format!(
            "formatted, the file would have {length} bytes, it may have {MAX_BYTES} (1 MiB)"
        );
        let help = "put the longest lines apart from those around them, by a blank line";
        sink.error(Fault::new("file-too-large", Span::default(), message).help(help));
        return None;
    }
    let written = write(&tokens, length);
    let is_same = tokens::tokens(&written).is_ok_and(|again| {
        let parts = |token: &Token<'_>| (token.kind, token.text.len());
        again.iter().map(parts).eq(tokens.iter().map(parts))
    });
    // Blanks may be all that keeps tokens apart, as in `a.0 .1`. Such a file keeps them.
    Some(if is_same { written } else { text.to_owned() })
}

fn write(tokens: &[Token<'_>], length: usize) -> String {
    let mut written = String::with_capacity(length);
    for token in tokens {
        written.extend(std::iter::repeat_n(' ', token.blanks));
        written.push_str(token.text);
    }
    written
}
