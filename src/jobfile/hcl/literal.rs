//! Values that are what they look like: words in quotes, lists of them, whole numbers, `true` and `false`. Most are.

use hcl_edit::Number;
use hcl_edit::expr::{Array, Expression};

/// More digits are left to those who know numbers of any size.
const MAX_DIGITS: usize = 15;

/// The expression of a literal that an attribute has for its value. It has no place of its own; the value has it.
pub(super) fn literal(text: &str) -> Option<Expression> {
    one(text).or_else(|| list(text))
}

/// A list of texts, without comments. Who says something of a text with a dot in it, as `var.x`, wants its place, which a
/// literal does not have.
fn list(text: &str) -> Option<Expression> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))?.trim();
    if inner.contains('.') {
        return None;
    }
    let inner = inner.strip_suffix(',').unwrap_or(inner);
    // A text with a comma in it is torn in two, neither of which is a literal.
    let items = inner.split(',').filter(|_| !inner.is_empty()).map(|item| quoted(item.trim()));
    items.collect::<Option<Array>>().map(Expression::from)
}

fn one(text: &str) -> Option<Expression> {
    match text {
        "true" => return Some(Expression::from(true)),
        "false" => return Some(Expression::from(false)),
        _ => {}
    }
    let is_whole = text.len() <= MAX_DIGITS
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    let number = if is_whole { text.parse::<u64>().ok()? } else { return quoted(text) };
    Some(Expression::from(Number::from(number)))
}

fn quoted(text: &str) -> Option<Expression> {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))?;
    let is_plain = |byte| !matches!(byte, b'"' | b'\\' | b'$' | b'%' | b'\n' | b'\r');
    inner.bytes().all(is_plain).then(|| Expression::from(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_what_the_parser_makes_of_it() {
        for text in ["true", "false", "0", "7", "123456789012345", "\"\"", "\"a b\"", "\"ä {}\""] {
            let parsed = hcl_edit::parser::parse_expr(text).expect("parses");
            assert_eq!(literal(text).expect("is one"), parsed, "{text}");
        }
        let items = |list: Expression| match list {
            Expression::Array(list) => list.into_iter().collect::<Vec<_>>(),
            other => vec![other],
        };
        for text in ["[]", "[ ]", "[\"a\", \"b c\"]", "[\n  \"a\",\r\n  \"}\",\n]"] {
            let parsed = hcl_edit::parser::parse_expr(text).expect("parses");
            assert_eq!(items(literal(text).expect("is one")), items(parsed), "{text}");
        }
    }

    #[test]
    fn what_is_more_is_left_to_the_parser() {
        let others = [
            "null",
            "-1",
            "1.5",
            "007",
            "1234567890123456",
            "\"${a}\"",
            "\"a$\"",
            "\"\\n\"",
            "a",
            "",
            "\"a\" == \"b\"",
            "\"",
            "[\"a,b\"]",
            "[\",\"]",
            "[\"1.5\"]",
            "[a]",
            "[1]",
            "[1, # one\n2]",
            "[[1]]",
            "[\"a\", \"b]\"",
        ];
        for text in others {
            assert!(literal(text).is_none(), "{text}");
        }
    }
}
