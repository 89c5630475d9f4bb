//! Why a template gives no result.

use std::fmt;

use crate::data::Dependency;

/// A mistake in a template, or something that it asks for and cannot have. Never holds what a function was given: that
/// may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The line in the template, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether it only asks for a function that is not offered yet.
    pub not_yet: bool,
}

impl TemplateError {
    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // Bytes that begin a character.
        let column = before[start..].iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
        Self { line, column, message: message.into(), not_yet: false }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for TemplateError {}

/// Why a rendering stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It cannot be rendered.
    Failed(TemplateError),
    /// It needs this first; render again with it.
    Wants(Dependency),
}
