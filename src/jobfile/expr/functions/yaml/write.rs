//! YAML as Nomad's `yamlencode` writes it: strings in double quotes, or as blocks where they have several lines.

use std::fmt::Write as _;

use crate::expr::cty::{Fields, Value};

const WRITES: &str = "text takes all that is written";

/// From this column on, a quoted string goes on in the next line at its next space.
const WIDTH: usize = 80;

pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    scalar_or(value, 0, &mut out, |value, out| block(value, 0, out));
    if !out.ends_with('\n') {
        out.push('\n');
    }
    // A plain scalar could go on.
    let is_plain = matches!(value, Value::Null(_) | Value::Bool(_) | Value::Number(_));
    let goes_on = matches!(value, Value::String(text) if text.ends_with("\n\n") || &**text == "\n");
    if is_plain || goes_on {
        out.push_str("...\n");
    }
    out
}

/// What fits on the line, or otherwise what `block` writes. `indent` is that of the collection around.
fn scalar_or(
    value: &Value,
    indent: usize,
    out: &mut String,
    block: impl FnOnce(&Value, &mut String),
) {
    match value {
        Value::Null(_) | Value::Failed => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::String(text) if text.contains('\n') && is_block(text) => literal(text, indent, out),
        Value::String(text) => quoted(text, indent, out),
        _ if value.elements().is_some_and(<[Value]>::is_empty) => out.push_str("[]"),
        _ if value.fields().is_some_and(Fields::is_empty) => out.push_str("{}"),
        _ => block(value, out),
    }
}

/// The elements of a collection, each on a line of its own. The first begins where the text ends.
fn block(value: &Value, indent: usize, out: &mut String) {
    let spaces = " ".repeat(indent);
    for (at, item) in value.elements().into_iter().flatten().enumerate() {
        if at > 0 {
            out.push_str(&spaces);
        }
        out.push_str("- ");
        scalar_or(item, indent, out, |item, out| block(item, indent + 2, out));
        end_line(out);
    }
    for (at, (name, item)) in value.fields().into_iter().flatten().enumerate() {
        if at > 0 {
            out.push_str(&spaces);
        }
        // A key is never folded.
        escaped(name, None, out);
        out.push(':');
        let before = out.len();
        out.push(' ');
        scalar_or(item, indent, out, |item, out| {
            out.truncate(before);
            out.push('\n');
            let deeper = if item.elements().is_some() { indent } else { indent + 2 };
            out.push_str(&" ".repeat(deeper));
            block(item, deeper, out);
        });
        end_line(out);
    }
}

fn end_line(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// Whether a text can be written as a block.
fn is_block(text: &str) -> bool {
    let mut before = ' ';
    let space_before_break = text.chars().any(|c| {
        let found = before == ' ' && is_break(c);
        before = c;
        found
    });
    let starts_with_break = text.starts_with(is_break);
    let inner_space_break = text.contains(" \n") || (space_before_break && !starts_with_break);
    text.chars().all(is_printable) && !inner_space_break && !text.ends_with(' ')
}

fn literal(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    let body = text.trim_end_matches('\n');
    match text.len() - body.len() {
        0 => out.push('-'),
        1 if !body.is_empty() => {}
        _ => out.push('+'),
    }
    out.push('\n');
    let spaces = " ".repeat(indent + 2);
    for line in text.split_inclusive('\n') {
        if line != "\n" {
            out.push_str(&spaces);
        }
        out.push_str(line);
    }
    end_line(out);
}

fn quoted(text: &str, indent: usize, out: &mut String) {
    escaped(text, Some(indent + 2), out);
}

/// A text in double quotes. Where it may be folded, lines go on with an indentation.
fn escaped(text: &str, fold: Option<usize>, out: &mut String) {
    let line = out.rsplit('\n').next().unwrap_or("");
    let mut column = line.chars().count() + 1;
    out.push('"');
    let mut after_space = false;
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        let is_last = rest.peek().is_none();
        if c == ' ' {
            match fold {
                Some(indent) if !after_space && column > WIDTH && at > 0 && !is_last => {
                    out.push('\n');
                    out.push_str(&" ".repeat(indent));
                    column = indent;
                    if rest.peek().is_some_and(|(_, next)| *next == ' ') {
                        out.push('\\');
                        column += 1;
                    }
                }
                _ => {
                    out.push(' ');
                    column += 1;
                }
            }
            after_space = true;
            continue;
        }
        after_space = false;
        let before = out.len();
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            c if is_printable(c) => out.push(c),
            c => match u32::from(c) {
                n if n <= 0xff => write!(out, "\\x{n:02X}").expect(WRITES),
                n if n <= 0xffff => write!(out, "\\u{n:04X}").expect(WRITES),
                n => write!(out, "\\U{n:08X}").expect(WRITES),
            },
        }
        column += out.get(before..).map_or(0, |made| made.chars().count());
    }
    out.push('"');
}
