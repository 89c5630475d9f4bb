//! What is wrong with a file, for the person who wrote it.

use serde::{Deserialize, Serialize};

use crate::JobId;

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is used all the same.
    Warning,
    /// The file is not used; what ran before goes on.
    #[default]
    Error,
}

/// One finding in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name, such as `unknown-attribute`; each has a page in `docs/`.
    pub code: String,
    /// The file, as the caller named it.
    pub path: String,
    /// Line, from 1; 0 when it concerns the whole file.
    pub line: u32,
    /// Column in characters, from 1; 0 when it concerns the whole line or file.
    pub column: u32,
    /// First byte and end of the place, for renderers that have the text.
    pub span: Option<(usize, usize)>,
    /// What is wrong: one sentence, lower case, no full stop.
    pub message: String,
    /// What to do about it; empty if the message says it.
    pub help: String,
    /// Other places that have to do with it, such as the first of two that exclude each other.
    pub related: Vec<Related>,
}

/// Another place that has to do with a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Related {
    /// The file.
    pub path: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// First byte and end of the place, for renderers that have the text.
    pub span: Option<(usize, usize)>,
    /// What is there.
    pub message: String,
}

/// A job of a file that starts after another one, and where that is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Dependency {
    /// The job that waits.
    pub job: JobId,
    /// The job that it names.
    pub on: JobId,
    /// The file in which that stands.
    pub path: String,
    /// Line, from 1; 0 where nobody knows.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// First byte and end of the place.
    pub span: Option<(usize, usize)>,
}

impl Diagnostic {
    /// An error about a whole file.
    pub fn file_error(
        code: &str,
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            code: code.to_owned(),
            path: path.to_owned(),
            message: message.into(),
            help: help.into(),
            ..Self::default()
        }
    }

    /// Whether the file cannot be used because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        write!(f, ": {}", self.message)
    }
}
