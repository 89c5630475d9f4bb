//! Values that are what they look like: words in quotes, whole numbers, `true` and `false`. Most are.

use hcl_edit::Number;
use hcl_edit::expr::Expression;

/// More digits are left to those who know numbers of any size.
const MAX_DIGITS: usize = 15;

/// The expression of a literal that an attribute has for its value. It has no place of its own; the value has it.
pub(super) fn literal(text: &str) -> Option<Expression> {
    match text {
        "true" => return Some(Expression::from(true)),
        "false" => return Some(Expression::from(false)),
        _ => {}
    }
    if let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        let is_plain = |byte| !matches!(byte, b'"' | b'\\' | b'$' | b'%' | b'\n' | b'\r');
        return inner.bytes().all(is_plain).then(|| Expression::from(inner));
    }
    let is_whole = text.len() <= MAX_DIGITS
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    let number = if is_whole { text.parse::<u64>().ok()? } else { return None };
    Some(Expression::from(Number::from(number)))
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
            "[1]",
        ];
        for text in others {
            assert!(literal(text).is_none(), "{text}");
        }
    }
}
