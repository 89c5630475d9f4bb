//! Plain scalars to values, by YAML 1.2's core schema: `yes` and `no` are text, as is a number that starts with 0.

use super::Kind;
use crate::expr::Number;

/// What a plain (unquoted) scalar means.
pub(super) fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        _ => number(text).map_or_else(|| Kind::Text(text.to_owned()), Kind::Number),
    }
}

/// What is surprising about a plain scalar that is text, for those who know YAML 1.1.
pub(super) fn surprise(text: &str) -> Option<&'static str> {
    const WORDS: [&str; 4] = ["yes", "no", "on", "off"];
    if WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Some("neither true nor false");
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'_' | b'.'))
        && digits.matches('.').count() < 2;
    (is_number && matches!(plain(text), Kind::Text(_))).then_some("not a number")
}

/// What a scalar with a tag of the core schema means, if it fits.
pub(super) fn tagged(tag: &str, text: &str) -> Option<Kind> {
    match (tag, plain(text)) {
        ("str", _) => Some(Kind::Text(text.to_owned())),
        ("null", Kind::Null) => Some(Kind::Null),
        ("bool", kind @ Kind::Bool(_)) | ("int" | "float", kind @ Kind::Number(_)) => Some(kind),
        _ => None,
    }
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = digits.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(Number::Int);
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return i64::from_str_radix(octal, 8).ok().map(Number::Int);
    }
    let leading_zero = digits.len() > 1
        && digits.starts_with('0')
        && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    let starts_like_one = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if leading_zero || !starts_like_one { None } else { Number::parse(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_core_schema_counts() {
        for text in ["yes", "no", "on", "0644", "1_000", "1.2.3", "-", "12s", "1:30", "e5", "."] {
            assert!(matches!(plain(text), Kind::Text(_)), "{text}");
        }
        for (text, n) in
            [("0", 0.0), ("-5", -5.0), ("0x1f", 31.0), ("0o17", 15.0), ("1.5e2", 150.0)]
        {
            assert!(matches!(plain(text), Kind::Number(found) if found.as_f64() == n), "{text}");
        }
        assert!(matches!(tagged("str", "12"), Some(Kind::Text(_))));
        assert!(tagged("int", "x").is_none());
    }
}
