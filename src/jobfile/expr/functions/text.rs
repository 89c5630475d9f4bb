//! Functions over text.

use unicode_segmentation::UnicodeSegmentation as _;

use super::{Args, Function, MANY, fits, size, text_list};
use crate::expr::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("upper", 1, 1, |a| Ok(Value::text(a.text(0)?.chars().map(upper).collect::<String>()))),
    Function("lower", 1, 1, |a| Ok(Value::text(a.text(0)?.chars().map(lower).collect::<String>()))),
    Function("title", 1, 1, |a| Ok(Value::text(title(&a.text(0)?)))),
    Function("join", 2, MANY, join),
    Function("split", 2, 2, split),
    Function("replace", 3, 3, replace),
    Function("regex_replace", 3, 3, |a| {
        regex_replace(&a.text(0)?, &a.text(1)?, &a.text(2)?).map(Value::text)
    }),
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
    Function("strlen", 1, 1, |a| Ok(size(count(&a.text(0)?)))),
    Function("strrev", 1, 1, |a| Ok(Value::text(reversed(&a.text(0)?)))),
    Function("substr", 3, 3, substr),
];

/// What a reader takes for one character: a letter with its accents, a flag, a family.
pub(super) fn clusters(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.graphemes(true)
}

pub(super) fn count(text: &str) -> usize {
    clusters(text).count()
}

pub(super) fn reversed(text: &str) -> String {
    clusters(text).rev().collect()
}

/// One character for one, as Go does: `ß` stays.
fn upper(c: char) -> char {
    let mut all = c.to_uppercase();
    all.next().filter(|_| all.next().is_none()).unwrap_or(c)
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Words begin behind all of ASCII that is no letter, digit or `_`, and behind spaces of any kind.
fn title(text: &str) -> String {
    let mut starts = true;
    text.chars()
        .map(|c| {
            let shown = if starts { upper(c) } else { c };
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
        return Ok(text_list(text.chars()));
    }
    Ok(text_list(text.split(&separator)))
}

/// Text for text: Nomad's knows no patterns, slashes mean themselves.
fn replace(a: &Args<'_>) -> Result<Value, String> {
    let (text, from, to) = (a.text(0)?, a.text(1)?, a.text(2)?);
    fits(text.len().saturating_add(text.matches(&from).count().saturating_mul(to.len())))?;
    Ok(Value::text(text.replace(&from, &to)))
}

fn regex_replace(text: &str, pattern: &str, to: &str) -> Result<String, String> {
    let pattern = regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|_| format!("`{pattern}` is not a regular expression"))?;
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

fn indent(a: &Args<'_>) -> Result<Value, String> {
    let (spaces, text) = (a.size(0)?, a.text(1)?);
    let lines = text.matches('\n').count();
    fits(lines.saturating_add(1).saturating_mul(spaces).saturating_add(text.len()))?;
    Ok(Value::text(text.replace('\n', &format!("\n{}", " ".repeat(spaces)))))
}

/// A negative offset counts from the end, a negative length means up to the end.
fn substr(a: &Args<'_>) -> Result<Value, String> {
    let text = a.text(0)?;
    let text: Vec<&str> = clusters(&text).collect();
    let (offset, length) = (a.int(1)?, a.int(2)?);
    let total = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { total.saturating_add(offset).max(0) } else { offset.min(total) };
    let end = if length < 0 { total } else { start.saturating_add(length).min(total) };
    let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    Ok(Value::text(text.get(start..end).unwrap_or_default().concat()))
}
