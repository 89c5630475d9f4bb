//! Texts as job files write them. What a node fills in stays `${…}`; what reading would evaluate is escaped.

/// Words that are no names in an expression.
const WORDS: [&str; 10] =
    ["true", "false", "null", "for", "in", "if", "else", "endif", "endfor", "dynamic"];

/// Names that reading knows, or takes for slips of the pen.
const KNOWN: [&str; 11] = [
    "var",
    "local",
    "vars",
    "vra",
    "vr",
    "variable",
    "variables",
    "locals",
    "loacl",
    "lcoal",
    "loca",
];

/// A part of a text.
enum Piece<'a> {
    /// What is nothing but text.
    Plain(&'a str),
    /// `${…}` that reading keeps as it is.
    Kept(&'a str),
}

/// Whether a text is a name that may stand without quotes.
pub(super) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        && !WORDS.contains(&text)
}

/// The text as a template that comes to it.
pub(super) fn template(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Kept(part) => out.push_str(part),
            Piece::Plain(part) => out.push_str(&escaped(part)),
        }
    }
    out
}

/// The text in double quotes, for HCL.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for piece in pieces(text) {
        match piece {
            Piece::Kept(part) => out.push_str(part),
            Piece::Plain(part) => backslashed(&escaped(part), &mut out),
        }
    }
    out.push('"');
    out
}

/// A key or label in double quotes. Nothing in it is evaluated.
pub(super) fn label(text: &str) -> String {
    let mut out = "\"".to_owned();
    backslashed(&escaped(text), &mut out);
    out.push('"');
    out
}

fn backslashed(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_invisible(c) => out.push_str(&escape(c)),
            c => out.push(c),
        }
    }
}

/// A character by its number.
pub(super) fn escape(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}

/// Characters that nobody sees in a file, or that a file may not have.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// The lines of a heredoc for this text and the word around them; nothing where quotes are better.
pub(super) fn heredoc(text: &str) -> Option<(String, String)> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    if !body.contains('\n') || text.chars().any(|c| is_invisible(c) && !matches!(c, '\n' | '\t')) {
        return None;
    }
    let mut word = "EOT".to_owned();
    while text.lines().any(|line| line.trim() == word) {
        word.push('_');
    }
    Some((template(body) + "\n", word))
}

fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("${")) {
        let begin = at + found;
        let rest = text.get(begin..).unwrap_or_default();
        // A `$` before it would make it an escape.
        let is_free = !text.get(..begin).unwrap_or_default().ends_with('$');
        match kept_length(rest).filter(|_| is_free) {
            Some(length) => {
                pieces.push(Piece::Plain(text.get(start..begin).unwrap_or_default()));
                pieces.push(Piece::Kept(rest.get(..length).unwrap_or_default()));
                start = begin + length;
                at = start;
            }
            None => at = begin + 2,
        }
    }
    pieces.push(Piece::Plain(text.get(start..).unwrap_or_default()));
    pieces
}

/// How long the `${…}` is that a text starts with, if it is a name that reading does not know: `${NOMAD_PORT_http}`,
/// `${attr.kernel.name}`, `${env["HOME"]}`.
fn kept_length(text: &str) -> Option<usize> {
    let mut rest = text.strip_prefix("${")?;
    let root = name(&mut rest)?;
    if WORDS.contains(&root) || KNOWN.contains(&root) {
        return None;
    }
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some(text.len() - after.len());
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            name(&mut rest).filter(|name| !WORDS.contains(name))?;
        } else {
            let inside = rest.strip_prefix("[\"")?;
            let (key, after) = inside.split_once("\"]")?;
            if key.contains(['"', '\\', '$', '%']) || key.contains(is_invisible) {
                return None;
            }
            rest = after;
        }
    }
}

fn name<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'));
    let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    *rest = after;
    starts_well.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_fills_in_stays() {
        for text in
            ["${NOMAD_PORT_http}", "a${attr.kernel.name}b", "${env[\"HO-ME\"]}", "$", "a\\b"]
        {
            assert_eq!(template(text), text);
        }
        for (text, written) in [
            ("${var.x}", "$${var.x}"),
            ("${1 + 1}", "$${1 + 1}"),
            ("${true}", "$${true}"),
            ("%{ if x }", "%%{ if x }"),
            ("$${NOMAD_X}", "$$${NOMAD_X}"),
            ("${a} ${upper(b)}", "${a} $${upper(b)}"),
        ] {
            assert_eq!(template(text), written);
        }
        assert_eq!(quoted("a\"b${env[\"X\"]}\n"), "\"a\\\"b${env[\"X\"]}\\n\"");
    }
}
