//! Functions over text.

use unicode_segmentation::UnicodeSegmentation as _;

use super::{Args, Function, MANY, fits};
use crate::expr::cty::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function("upper", 1, 1, |a| Ok(Value::text(a.text(0)?.chars().map(upper).collect::<String>()))),
    Function("lower", 1, 1, |a| Ok(Value::text(a.text(0)?.chars().map(lower).collect::<String>()))),
    Function("title", 1, 1, |a| Ok(Value::text(title(&a.text(0)?)))),
    Function("join", 2, MANY, join),
    Function("split", 2, 2, split),
    Function("replace", 3, 3, replace),
    Function("trim", 2, 2, |a| {
        let cut = a.text(1)?;
        Ok(Value::text(a.text(0)?.trim_matches(|c| cut.contains(c))))
    }),
    Function("trimprefix", 2, 2, |a| {
        let (text, prefix) = (a.text(0)?, a.text(1)?);
        Ok(Value::text(text.strip_prefix(&prefix).unwrap_or(&text)))
    }),
    Function("trimsuffix", 2, 2, |a| {
        let (text, suffix) = (a.text(0)?, a.text(1)?);
        Ok(Value::text(text.strip_suffix(&suffix).unwrap_or(&text)))
    }),
    Function("trimspace", 1, 1, |a| Ok(Value::text(a.text(0)?.trim()))),
    Function("chomp", 1, 1, |a| Ok(Value::text(a.text(0)?.trim_end_matches(['\r', '\n'])))),
    Function("indent", 2, 2, indent),
    Function("strlen", 1, 1, |a| Ok(Value::count(clusters(&a.text(0)?).count()))),
    Function("strrev", 1, 1, reversed),
    // Nomad binds this name to the function for strings, although it is described as one for lists.
    Function("reverse", 1, 1, |a| match a.value(0) {
        Value::List(_) | Value::Tuple(_) | Value::Set(_) => Err(
            "it turns strings round, not lists; write [for i in range(length(…), 0) : …[i - 1]]"
                .to_owned(),
        ),
        _ => reversed(a),
    }),
    Function("substr", 3, 3, substr),
];

/// What a reader takes for one character: a letter with its accents, a flag, a family.
pub(super) fn clusters(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.graphemes(true)
}

fn reversed(a: &Args<'_>) -> Result<Value, String> {
    Ok(Value::text(clusters(&a.text(0)?).rev().collect::<String>()))
}

/// One character for one, as Go does: `ß` stays.
fn upper(c: char) -> char {
    let mut all = c.to_uppercase();
    if let (Some(one), None) = (all.next(), all.next()) {
        return one;
    }
    // Greek letters with a small iota have one large letter, though Unicode prefers two.
    let far = match u32::from(c) {
        0x1f80..=0x1f87 | 0x1f90..=0x1f97 | 0x1fa0..=0x1fa7 => 8,
        0x1fb3 | 0x1fc3 | 0x1ff3 => 9,
        _ => 0,
    };
    char::from_u32(u32::from(c) + far).unwrap_or(c)
}

/// The form of a letter at the start of a word.
fn titled(c: char) -> char {
    match c {
        'Ǆ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǳ' => 'ǲ',
        'ǅ' | 'ǈ' | 'ǋ' | 'ǲ' | '\u{10d0}'..='\u{10ff}' => c,
        other => upper(other),
    }
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Words begin behind all of ASCII that is no letter, digit or `_`, and behind spaces of any kind.
fn title(text: &str) -> String {
    let mut starts = true;
    text.chars()
        .map(|c| {
            let shown = if starts { titled(c) } else { c };
            starts = if c.is_ascii() {
                !c.is_ascii_alphanumeric() && c != '_'
            } else {
                c.is_whitespace()
            };
            shown
        })
        .collect()
}

fn join(a: &Args<'_>) -> Result<Value, String> {
    let mut all = Vec::new();
    for at in 1..a.len() {
        all.extend(a.texts(at)?);
    }
    let separator = a.text(0)?;
    let texts: usize = all.iter().map(String::len).sum();
    fits(texts.saturating_add(separator.len().saturating_mul(all.len())))?;
    Ok(Value::text(all.join(&separator)))
}

fn split(a: &Args<'_>) -> Result<Value, String> {
    let (separator, text) = (a.text(0)?, a.text(1)?);
    if separator.is_empty() {
        let mut buffer = [0; 4];
        let each = text.chars().map(|c| Value::text(c.encode_utf8(&mut buffer)));
        return Ok(Value::list(Type::String, each.collect()));
    }
    Ok(Value::texts(text.split(&separator)))
}

/// Text for text: Nomad's knows no patterns, slashes mean themselves.
fn replace(a: &Args<'_>) -> Result<Value, String> {
    let (text, from, to) = (a.text(0)?, a.text(1)?, a.text(2)?);
    fits(text.len().saturating_add(text.matches(&from).count().saturating_mul(to.len())))?;
    Ok(Value::text(text.replace(&from, &to)))
}

fn indent(a: &Args<'_>) -> Result<Value, String> {
    let (spaces, text) = (a.size(0)?, a.text(1)?);
    let lines = text.matches('\n').count();
    fits(lines.saturating_add(1).saturating_mul(spaces).saturating_add(text.len()))?;
    Ok(Value::text(text.replace('\n', &format!("\n{}", " ".repeat(spaces)))))
}

/// A negative offset counts from the end, a negative length means up to the end; so does none behind such an offset.
fn substr(a: &Args<'_>) -> Result<Value, String> {
    let text = a.text(0)?;
    let text: Vec<&str> = clusters(&text).collect();
    let (offset, length) = (a.int(1)?, a.int(2)?);
    let total = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { total.saturating_add(offset).max(0) } else { offset.min(total) };
    let to_end = length < 0 || (length == 0 && offset < 0);
    let end = if to_end { total } else { start.saturating_add(length).min(total) };
    let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    Ok(Value::text(text.get(start..end).unwrap_or_default().concat()))
}
