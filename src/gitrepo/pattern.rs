//! Which files of a repository matter.

use std::fmt;

use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// Longest pattern.
const MAX_PATTERN: usize = 1024;
/// Deepest `{{a,b},c}`.
const MAX_BRACES: usize = 4;

/// A folder (everything beneath it), a file, or a glob: `*` and `?` stay within one name, `**` spans folders, `{a,b}`
/// is a choice, `\` takes the next character as it is.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: String,
    /// The folder, without wildcards, that holds everything that can match. Empty means the root.
    base: String,
    glob: Option<Regex>,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{pattern}` is not a path pattern: {reason}")]
pub struct PatternError {
    /// The text.
    pub pattern: String,
    /// What is wrong.
    pub reason: &'static str,
}

impl PathPattern {
    /// Reads a pattern. A leading `./` or `/` and a trailing `/` mean nothing; `.` and the empty text mean all files.
    ///
    /// # Errors
    /// On `..`, empty names, open braces, a `**` that does not stand alone, and control characters.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let fail = |reason| PatternError { pattern: text.to_owned(), reason };
        if text.len() > MAX_PATTERN || text.chars().any(char::is_control) {
            return Err(fail("it is too long or holds control characters"));
        }
        let mut path = text.strip_prefix('/').unwrap_or(text);
        while let Some(rest) = path.strip_prefix("./") {
            path = rest;
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() || path == "." {
            return Ok(Self { text: String::new(), base: String::new(), glob: None });
        }
        if path.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(fail("`.`, `..` and empty names cannot be part of it"));
        }
        if !path.contains(['*', '?', '{', '}', '\\']) {
            return Ok(Self { text: path.to_owned(), base: path.to_owned(), glob: None });
        }
        let expression = expression(path).map_err(fail)?;
        let glob = RegexBuilder::new(&expression)
            .size_limit(1 << 20)
            .build()
            .map_err(|_| fail("it is too complex"))?;
        let wild = path.find(['*', '?', '{', '\\']).unwrap_or(path.len());
        let base = path[..wild].rsplit_once('/').map_or("", |(folder, _)| folder);
        Ok(Self { text: path.to_owned(), base: base.to_owned(), glob: Some(glob) })
    }

    /// Everything beneath one folder, whatever characters its name holds.
    pub fn folder(path: &str) -> Self {
        let path = path.trim_matches('/').to_owned();
        Self { text: path.clone(), base: path, glob: None }
    }

    /// The same pattern, read from `folder` instead of from the root.
    ///
    /// # Errors
    /// When both together are too long.
    pub fn beneath(&self, folder: &str) -> Result<Self, PatternError> {
        let folder = folder.trim_matches('/');
        if folder.is_empty() {
            return Ok(self.clone());
        }
        if self.glob.is_none() {
            return Ok(Self::folder(&format!("{folder}/{}", self.text)));
        }
        let mut escaped = String::new();
        for c in folder.chars() {
            if "*?{}\\".contains(c) {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        Self::parse(&format!("{escaped}/{}", self.text))
    }

    /// Whether the pattern means this file. `path` is relative to the root, with `/` between names.
    pub fn matches(&self, path: &str) -> bool {
        match &self.glob {
            Some(glob) => glob.is_match(path),
            None => self.base.is_empty() || path == self.base || is_beneath(path, &self.base),
        }
    }

    /// Whether files beneath this folder could match; `false` lets a walk leave the folder out.
    pub fn reaches_into(&self, folder: &str) -> bool {
        self.base.is_empty()
            || folder.is_empty()
            || folder == self.base
            || is_beneath(&self.base, folder)
            || is_beneath(folder, &self.base)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "." } else { &self.text })
    }
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.glob.is_some() == other.glob.is_some()
    }
}

impl Eq for PathPattern {}

/// Whether any of the patterns means this file; none at all means every file.
pub(crate) fn any_matches(patterns: &[PathPattern], path: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(path))
}

/// Whether any of the patterns could match beneath this folder.
pub(crate) fn any_reaches_into(patterns: &[PathPattern], folder: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.reaches_into(folder))
}

fn is_beneath(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn expression(path: &str) -> Result<String, &'static str> {
    let mut out = String::from("(?s)^");
    let chars: Vec<char> = path.chars().collect();
    let mut open = 0;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        match c {
            '*' if next == Some('*') => {
                let before = at.checked_sub(1).and_then(|index| chars.get(index).copied());
                let after = chars.get(at + 2).copied();
                let alone = matches!(before, None | Some('/' | '{' | ','))
                    && matches!(after, None | Some('/' | '}' | ','));
                if !alone {
                    return Err("`**` must stand alone between slashes");
                }
                if after == Some('/') {
                    out.push_str("(?:[^/]+/)*");
                    at += 1;
                } else {
                    out.push_str(".+");
                }
                at += 1;
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '{' => {
                open += 1;
                if open > MAX_BRACES {
                    return Err("braces are nested too deeply");
                }
                out.push_str("(?:");
            }
            '}' => {
                open = open.checked_sub(1).ok_or("`}` without `{`")?;
                out.push(')');
            }
            ',' if open > 0 => out.push('|'),
            '\\' => {
                let taken = next.ok_or("nothing follows `\\`")?;
                out.push_str(&regex::escape(&taken.to_string()));
                at += 1;
            }
            other => out.push_str(&regex::escape(&other.to_string())),
        }
        at += 1;
    }
    if open > 0 {
        return Err("`{` without `}`");
    }
    out.push('$');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        PathPattern::parse(pattern).expect("a pattern").matches(path)
    }

    #[test]
    fn a_folder_means_everything_beneath_it() {
        for pattern in ["jobs", "jobs/", "/jobs", "./jobs/"] {
            assert!(matches(pattern, "jobs/web.hcl"));
            assert!(matches(pattern, "jobs/eu/web.hcl"));
            assert!(!matches(pattern, "jobs2/web.hcl"));
            assert!(!matches(pattern, "old/jobs/web.hcl"));
        }
        assert!(matches("jobs/web.hcl", "jobs/web.hcl"));
        assert!(matches(".", "anything/at/all"));
        assert!(matches("", "anything"));
    }

    #[test]
    fn globs_match_as_shells_do() {
        let table = [
            ("*.hcl", "web.hcl", true),
            ("*.hcl", "jobs/web.hcl", false),
            ("jobs/*.hcl", "jobs/web.hcl", true),
            ("jobs/*.hcl", "jobs/eu/web.hcl", false),
            ("jobs/**/*.hcl", "jobs/web.hcl", true),
            ("jobs/**/*.hcl", "jobs/eu/a/web.hcl", true),
            ("jobs/**", "jobs/eu/a/web.hcl", true),
            ("jobs/**", "jobs", false),
            ("**/web.hcl", "web.hcl", true),
            ("**/web.hcl", "a/b/web.hcl", true),
            ("**/web.hcl", "a/b/xweb.hcl", false),
            ("jobs/web?.hcl", "jobs/web1.hcl", true),
            ("jobs/web?.hcl", "jobs/web/.hcl", false),
            ("{jobs,infra/jobs}/*.{hcl,yaml}", "infra/jobs/a.yaml", true),
            ("{jobs,infra/jobs}/*.{hcl,yaml}", "infra/a.yaml", false),
            ("{a,{b,c}}/x", "c/x", true),
            ("a,b/*", "a,b/x", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a.b*", "axb", false),
            ("jobs/*[1].hcl", "jobs/x[1].hcl", true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn odd_patterns_are_refused() {
        for pattern in
            ["../x", "a/../b", "a//b", "a**", "**a/b", "{a", "a}", "a\\", "{{{{{a}}}}}", "a\nb"]
        {
            assert!(PathPattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_moves_into_a_folder() {
        let glob =
            PathPattern::parse("*.hcl").expect("a pattern").beneath("odd {x}*").expect("moved");
        assert!(glob.matches("odd {x}*/a.hcl"));
        assert!(!glob.matches("odd {x}yz/a.hcl"));
        let all = PathPattern::parse(".").expect("a pattern").beneath("jobs").expect("moved");
        assert!(all.matches("jobs/a.hcl") && !all.matches("a.hcl"));
    }

    proptest! {
        #[test]
        fn leaving_folders_out_loses_no_match(
            pattern in "(jobs|\\*|\\*\\*|a|\\{a,b\\})(/(\\*|\\*\\*|a|b\\?|\\{a,b/a\\})){0,3}",
            path in "(jobs|a|b)(/(a|b|ba)){0,4}",
        ) {
            let parsed = PathPattern::parse(&pattern).expect("a pattern");
            if parsed.matches(&path) {
                for (at, _) in path.match_indices('/') {
                    prop_assert!(parsed.reaches_into(&path[..at]), "{pattern} {path} {at}");
                }
            }
        }

        #[test]
        fn no_text_makes_parsing_panic(text in "\\PC{0,40}") {
            if let Ok(pattern) = PathPattern::parse(&text) {
                let moved = pattern.beneath("x/y").expect("moved");
                prop_assert!(moved.reaches_into("x") && moved.reaches_into("x/y"));
            }
        }
    }
}
