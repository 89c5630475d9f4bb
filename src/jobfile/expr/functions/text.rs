//! Functions over text.

use regex::Regex;

use super::{Args, Function, MANY, text_list};
use crate::expr::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("upper", 1, 1, |a| Ok(Value::text(a.text(0)?.to_uppercase()))),
    Function("lower", 1, 1, |a| Ok(Value::text(a.text(0)?.to_lowercase()))),
    Function("title", 1, 1, |a| Ok(Value::text(title(&a.text(0)?)))),
    Function("join", 2, MANY, join),
    Function("split", 2, 2, split),
    Function("format", 1, MANY, |a| Ok(Value::text(format(&a.text(0)?, a.all().get(1..))?))),
    Function("formatlist", 1, MANY, format_list),
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
    Function("strlen", 1, 1, |a| Ok(Value::int(count(&a.text(0)?)))),
    Function("strrev", 1, 1, |a| Ok(Value::text(a.text(0)?.chars().rev().collect::<String>()))),
    Function("substr", 3, 3, substr),
];

pub(super) fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn title(text: &str) -> String {
    let mut starts = true;
    text.chars()
        .map(|c| {
            let c = if starts { c.to_uppercase().next().unwrap_or(c) } else { c };
            starts = c.is_whitespace();
            c
        })
        .collect()
}

fn join(a: &Args<'_>) -> Result<Value, String> {
    let mut all = Vec::new();
    for at in 1..a.len() {
        all.extend(a.texts(at)?);
    }
    Ok(Value::text(all.join(&a.text(0)?)))
}

fn split(a: &Args<'_>) -> Result<Value, String> {
    let (separator, text) = (a.text(0)?, a.text(1)?);
    if separator.is_empty() {
        return Ok(text_list(text.chars()));
    }
    Ok(text_list(text.split(&separator)))
}

/// A pattern between slashes is a regular expression.
fn replace(a: &Args<'_>) -> Result<Value, String> {
    let (text, from, to) = (a.text(0)?, a.text(1)?, a.text(2)?);
    let pattern = from.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    match pattern {
        Some(pattern) => regex_replace(&text, pattern, &to).map(Value::text),
        None if from.is_empty() => Ok(Value::text(text)),
        None => Ok(Value::text(text.replace(&from, &to))),
    }
}

fn regex_replace(text: &str, pattern: &str, to: &str) -> Result<String, String> {
    let pattern = regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|_| format!("`{pattern}` is not a regular expression"))?;
    Ok(Regex::replace_all(&pattern, text, to).into_owned())
}

fn indent(a: &Args<'_>) -> Result<Value, String> {
    let spaces = a.size(0)?;
    if spaces > 1000 {
        return Err("more than 1000 spaces".to_owned());
    }
    Ok(Value::text(a.text(1)?.replace('\n', &format!("\n{}", " ".repeat(spaces)))))
}

/// A negative offset counts from the end, a negative length means up to the end.
fn substr(a: &Args<'_>) -> Result<Value, String> {
    let text: Vec<char> = a.text(0)?.chars().collect();
    let (offset, length) = (a.int(1)?, a.int(2)?);
    let total = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { (total + offset).max(0) } else { offset.min(total) };
    let end = if length < 0 { total } else { start.saturating_add(length).min(total) };
    let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    Ok(Value::text(text.get(start..end).unwrap_or_default().iter().collect::<String>()))
}

fn format_list(a: &Args<'_>) -> Result<Value, String> {
    let pattern = a.text(0)?;
    let arguments = a.all().get(1..).unwrap_or_default();
    let rows = arguments.iter().find_map(|argument| match argument {
        Value::List(items) => Some(items.len()),
        _ => None,
    });
    let mut out = Vec::new();
    for row in 0..rows.unwrap_or(1) {
        let mut here = Vec::new();
        for argument in arguments {
            here.push(match argument {
                Value::List(items) => {
                    items.get(row).cloned().ok_or("the lists differ in length")?
                }
                single => single.clone(),
            });
        }
        out.push(format(&pattern, Some(&here))?);
    }
    Ok(text_list(out))
}

/// Verbs as in C and Go: `%s %d %v %q %f %t %x %%`, with flags, width and precision.
fn format(pattern: &str, arguments: Option<&[Value]>) -> Result<String, String> {
    let mut arguments = arguments.unwrap_or_default().iter();
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(rest.get(..at).unwrap_or(""));
        rest = rest.get(at + 1..).unwrap_or("");
        let flags = rest.len() - rest.trim_start_matches(['-', '0', '+', ' ', '#']).len();
        let (flags, after) = rest.split_at(flags);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (width, mut after) = after.split_at(digits);
        let mut precision = None;
        if let Some(fraction) = after.strip_prefix('.') {
            let digits =
                fraction.len() - fraction.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (n, behind) = fraction.split_at(digits);
            precision = Some(n.parse::<usize>().unwrap_or(0).min(100));
            after = behind;
        }
        let verb = after.chars().next().ok_or("the format ends in the middle of a verb")?;
        rest = after.get(verb.len_utf8()..).unwrap_or("");
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value =
            arguments.next().ok_or_else(|| format!("there is no argument for `%{verb}`"))?;
        let text = one(verb, value, flags, precision)?;
        let width = width.parse::<usize>().unwrap_or(0).min(1000);
        let fill = width.saturating_sub(text.chars().count());
        if flags.contains('-') {
            out.push_str(&text);
            out.push_str(&" ".repeat(fill));
        } else if flags.contains('0') && value.as_number().is_some() {
            let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |d| ("-", d));
            out.push_str(sign);
            out.push_str(&"0".repeat(fill));
            out.push_str(digits);
        } else {
            out.push_str(&" ".repeat(fill));
            out.push_str(&text);
        }
    }
    out.push_str(rest);
    if arguments.next().is_some() {
        return Err("there are more arguments than verbs".to_owned());
    }
    Ok(out)
}

fn one(verb: char, value: &Value, flags: &str, precision: Option<usize>) -> Result<String, String> {
    let number = || {
        value
            .as_number()
            .ok_or_else(|| format!("`%{verb}` needs a number, this is {}", value.kind()))
    };
    Ok(match verb {
        's' | 'v' | 't' => match value.as_text() {
            Some(text) => match precision {
                Some(most) if verb == 's' => text.chars().take(most).collect(),
                _ => text.into_owned(),
            },
            None => value.to_json().to_string(),
        },
        'q' => {
            serde_json::Value::String(value.as_text().unwrap_or_default().into_owned()).to_string()
        }
        'd' => {
            let n = number()?.as_f64().trunc();
            if flags.contains('+') && n >= 0.0 { format!("+{n}") } else { format!("{n}") }
        }
        'f' => format!("{:.*}", precision.unwrap_or(6), number()?.as_f64()),
        'g' => number()?.to_string(),
        'x' | 'X' | 'o' | 'b' => {
            let n = number()?.as_i64().ok_or_else(|| format!("`%{verb}` needs a whole number"))?;
            match verb {
                'x' => format!("{n:x}"),
                'X' => format!("{n:X}"),
                'o' => format!("{n:o}"),
                _ => format!("{n:b}"),
            }
        }
        other => return Err(format!("there is no verb `%{other}`")),
    })
}
