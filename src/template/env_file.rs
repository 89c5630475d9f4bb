//! `KEY=VALUE` lines, as templates with `env = true` write them.

use std::collections::BTreeMap;
use std::fmt;

/// The most variables.
const MAX_VARIABLES: usize = 10_000;

/// A line that sets no variable. Never holds what the line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFileError {
    /// From 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: &'static str,
}

impl fmt::Display for EnvFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the result: {}", self.line, self.message)
    }
}

impl std::error::Error for EnvFileError {}

/// Reads the lines: `KEY=value`, with `export ` before it or not, in quotes or not. Empty lines and those that begin with
/// `#` say nothing; behind a space, `#` begins a comment too. Double quotes know Go's escapes and single quotes none. The
/// last of a name counts.
///
/// # Errors
/// At the first line that is none of these.
pub fn parse_env_file(text: &str) -> Result<BTreeMap<String, String>, EnvFileError> {
    let mut variables = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let error = |message| EnvFileError { line: number + 1, message };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let Some((name, value)) = line.split_once('=') else {
            return Err(error("no `=`; write KEY=value"));
        };
        let name = name.trim_end();
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !name.chars().all(good)
        {
            return Err(error(
                "the name of a variable has letters, digits, `_`, `-` and `.`, and begins with no digit",
            ));
        }
        let value = value_of(value.trim()).map_err(error)?;
        if value.contains('\0') {
            return Err(error("a variable cannot hold a zero byte"));
        }
        variables.insert(name.to_owned(), value);
        if variables.len() > MAX_VARIABLES {
            return Err(error("too many variables; 10000 are allowed"));
        }
    }
    Ok(variables)
}

fn value_of(written: &str) -> Result<String, &'static str> {
    let after = |rest: &str| {
        let rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with('#') {
            Ok(())
        } else {
            Err("something follows the closing quote")
        }
    };
    if let Some(inner) = written.strip_prefix('\'') {
        let (value, rest) = inner.split_once('\'').ok_or("the single quote is not closed")?;
        after(rest)?;
        return Ok(value.to_owned());
    }
    let Some(inner) = written.strip_prefix('"') else {
        let end = written.find(" #").or_else(|| written.find("\t#")).unwrap_or(written.len());
        let value = if written.starts_with('#') { "" } else { &written[..end] };
        return Ok(value.trim_end().to_owned());
    };
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                after(&inner[at + 1..])?;
                return Ok(value);
            }
            '\\' => {
                let Some((_, escape)) = chars.next() else { break };
                let digits = |chars: &mut std::str::CharIndices<'_>, length: usize| {
                    let digits: String = chars.by_ref().take(length).map(|(_, c)| c).collect();
                    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
                };
                value.push(match escape {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'u' => digits(&mut chars, 4)
                        .ok_or("`\\u` is followed by four hexadecimal digits")?,
                    'x' => digits(&mut chars, 2)
                        .ok_or("`\\x` is followed by two hexadecimal digits")?,
                    '"' | '\\' | '$' | '\'' | '/' | '`' => escape,
                    _ => {
                        return Err(
                            "an escape in double quotes is not known; write `\\\\` for a backslash",
                        );
                    }
                });
            }
            c => value.push(c),
        }
    }
    Err("the double quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_a_shell_writes_them() {
        let text = "\n# a comment\nA=1\n  B = two words  # why\nexport C=\"x\\ty \\u00e9\" # c\nD='a # $b'\nE=\nF=#\nA=2\nG.h-i=a#b\n";
        let found = parse_env_file(text).expect("reads");
        let wanted = [
            ("A", "2"),
            ("B", "two words"),
            ("C", "x\ty é"),
            ("D", "a # $b"),
            ("E", ""),
            ("F", ""),
            ("G.h-i", "a#b"),
        ];
        let wanted = wanted.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_is_no_line_is_said_without_its_content() {
        for (text, line) in [
            ("A=1\nhunter2", 2),
            ("=hunter2", 1),
            ("1A=hunter2", 1),
            ("A=\"hunter2", 1),
            ("A='hunter2", 1),
            ("A='x' hunter2", 1),
            ("A=\"\\qhunter2\"", 1),
            ("A B=hunter2", 1),
        ] {
            let error = parse_env_file(text).expect_err(text);
            assert_eq!(error.line, line, "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
