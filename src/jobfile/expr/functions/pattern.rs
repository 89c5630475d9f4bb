//! `regex_replace`: patterns in Go's syntax.

use std::iter::Peekable;
use std::str::Chars;

use super::{Function, fits};
use crate::expr::cty::Value;

pub(super) const FUNCTIONS: &[Function] = &[Function("regex_replace", 3, 3, |a| {
    let (text, pattern, to) = (a.text(0)?, a.text(1)?, a.text(2)?);
    // A pattern costs more than its text to read, and its size again for each letter of what it is held against.
    let cost = pattern.len().saturating_mul(256).saturating_add(text.len().saturating_mul(16));
    let budget = &a.site.globals.budget;
    budget.work(a.site.span, cost.saturating_add(1 << 16)).map_err(|fault| fault.message)?;
    replace(&text, &pattern, &to).map(Value::text)
})];

fn replace(text: &str, pattern: &str, to: &str) -> Result<String, String> {
    let wrong = |why: String| format!("`{pattern}` is not a regular expression: {why}");
    let translated = translated(pattern).map_err(&wrong)?;
    let pattern = regex::RegexBuilder::new(&translated)
        .size_limit(1 << 20)
        .dfa_size_limit(1 << 20)
        .nest_limit(100)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            wrong(last.trim_start_matches("error: ").to_owned())
        })?;
    let mut out = String::new();
    let mut done = 0;
    // What is read and made on the way counts, not only what is left in the end: each `$` can bring a whole match in,
    // and one that brings nothing takes time all the same.
    let mut spent = text.len();
    let groups = to.matches('$').count();
    for found in pattern.captures_iter(text) {
        let Some(all) = found.get(0) else { continue };
        let here = to.len().saturating_add(groups.saturating_mul(all.len()));
        spent = spent.saturating_add(here);
        fits(spent)?;
        out.push_str(text.get(done..all.start()).unwrap_or(""));
        found.expand(to, &mut out);
        done = all.end();
    }
    out.push_str(text.get(done..).unwrap_or(""));
    Ok(out)
}

const DIGIT: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = "\\t\\n\\x0c\\r ";

const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// The pattern in the syntax of the library that is used here. In Go's, letters such as `\w` and `\b` are about ASCII
/// alone, a bracket knows no brackets and no operators within, and a repetition cannot be repeated.
fn translated(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    let mut repeats = 0;
    while let Some(c) = rest.next() {
        let was_repeat = repeats;
        repeats = 0;
        match c {
            '\\' => escape(&mut rest, &mut out)?,
            '[' => class(&mut rest, &mut out)?,
            '*' | '+' | '?' => {
                // One `?` more makes it lazy.
                if was_repeat > 1 || (was_repeat == 1 && c != '?') {
                    return Err("a repetition cannot be repeated".to_owned());
                }
                repeats = was_repeat + 1;
                out.push(c);
            }
            '{' => {
                let length = repetition(&rest);
                match length {
                    None => out.push_str("\\{"),
                    Some((_, most)) if most > 1000 => {
                        return Err("a repetition goes up to 1000".to_owned());
                    }
                    Some(_) if was_repeat > 0 => {
                        return Err("a repetition cannot be repeated".to_owned());
                    }
                    Some((length, _)) => {
                        out.push('{');
                        out.extend(rest.by_ref().take(length));
                        repeats = 1;
                    }
                }
            }
            '(' => {
                out.push('(');
                if rest.peek() == Some(&'?') {
                    flags(&mut rest, &mut out)?;
                }
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

/// The length of `2}`, `2,}` or `2,3}` and the larger of its numbers.
fn repetition(rest: &Peekable<Chars<'_>>) -> Option<(usize, u32)> {
    let text: String = rest.clone().take_while(|c| *c != '}').take(24).collect();
    let closed = rest.clone().nth(text.chars().count()) == Some('}');
    let (least, most) = text.split_once(',').unwrap_or((&text, ""));
    let number = |text: &str| {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().unwrap_or(u32::MAX))
    };
    let least = number(least).filter(|_| closed)?;
    let most = if most.is_empty() { least } else { number(most)? };
    Some((text.chars().count() + 1, least.max(most)))
}

/// What follows `(` and starts with `?`: a group's name or flags, of which Go knows four.
fn flags(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let text: String = rest.clone().skip(1).take_while(|c| !matches!(c, ')' | ':' | '>')).collect();
    let is_name = text.starts_with("P<")
        || (text.starts_with('<') && !text.starts_with("<=") && !text.starts_with("<!"));
    if !is_name && !text.chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
        return Err(format!("`(?{}` is not supported", text.chars().next().unwrap_or(' ')));
    }
    let length = text.chars().count() + 1;
    out.extend(rest.by_ref().take(length));
    Ok(())
}

fn bracket(not: &str, within: &str, out: &mut String) {
    out.extend(["[", not, within, "]"]);
}

fn escape(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let Some(c) = rest.next() else { return Err("it ends in a backslash".to_owned()) };
    match c {
        'd' => bracket("", DIGIT, out),
        'D' => bracket("^", DIGIT, out),
        'w' => bracket("", WORD, out),
        'W' => bracket("^", WORD, out),
        's' => bracket("", SPACE, out),
        'S' => bracket("^", SPACE, out),
        'b' | 'B' => out.extend(["(?-u:\\", if c == 'b' { "b" } else { "B" }, ")"]),
        'Q' => {
            let mut quoted = String::new();
            while let Some(c) = rest.next() {
                if c == '\\' && rest.peek() == Some(&'E') {
                    rest.next();
                    break;
                }
                quoted.push(c);
            }
            out.push_str(&regex::escape(&quoted));
        }
        _ => return plain_escape(c, out),
    }
    Ok(())
}

/// An escape that means the same within brackets and outside.
fn plain_escape(c: char, out: &mut String) -> Result<(), String> {
    let known = matches!(c, 'A' | 'z' | 'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'x' | 'p' | 'P' | '0');
    if c.is_ascii_alphanumeric() && !known {
        return Err(format!("`\\{c}` is not supported"));
    }
    match c {
        '0' => out.push_str("\\x00"),
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => {
            out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
        }
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    Ok(())
}

fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    while let Some(c) = rest.next() {
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(());
            }
            '[' if rest.peek() == Some(&':') => {
                let name: String = rest.clone().take_while(|c| *c != ']').collect();
                if name.len() > 1 && name.ends_with(':') {
                    if !CLASSES.contains(&name.trim_matches([':', '^'])) {
                        return Err(format!("there is no class `[{name}]`"));
                    }
                    let length = name.chars().count() + 1;
                    out.push('[');
                    out.extend(rest.by_ref().take(length));
                } else {
                    out.push_str("\\[");
                }
            }
            '\\' => match rest.next() {
                Some('d') => out.push_str(DIGIT),
                Some('w') => out.push_str(WORD),
                Some('s') => out.push_str(SPACE),
                Some('D') => bracket("^", DIGIT, out),
                Some('W') => bracket("^", WORD, out),
                Some('S') => bracket("^", SPACE, out),
                Some(c) => plain_escape(c, out)?,
                None => break,
            },
            '-' if first || rest.peek() == Some(&']') => out.push_str("\\-"),
            '[' | ']' | '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
        first = false;
    }
    Err("a `[` is not closed".to_owned())
}
