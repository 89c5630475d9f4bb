//! Texts.

use regex::{Regex, RegexBuilder};

use super::{Arguments, Context, Function, Problem, Result};
use crate::printf::printed;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("toLower", 1, 1, |context, a| context.text(a.text(0)?.to_lowercase())),
    Function("toUpper", 1, 1, |context, a| context.text(a.text(0)?.to_uppercase())),
    Function("toTitle", 1, 1, |context, a| context.text(title(a.text(0)?))),
    Function("trim", 2, 2, |context, a| {
        let set: Vec<char> = a.text(0)?.chars().collect();
        context.text(a.text(1)?.trim_matches(set.as_slice()))
    }),
    Function("trimSpace", 1, 1, |context, a| context.text(a.text(0)?.trim())),
    Function("trimPrefix", 2, 2, |context, a| {
        let text = a.text(1)?;
        context.text(text.strip_prefix(a.text(0)?).unwrap_or(text))
    }),
    Function("trimSuffix", 2, 2, |context, a| {
        let text = a.text(1)?;
        context.text(text.strip_suffix(a.text(0)?).unwrap_or(text))
    }),
    Function("split", 2, 2, |context, a| {
        let (separator, text) = (a.text(0)?, a.text(1)?);
        let text = text.trim();
        if text.is_empty() {
            return Ok(Value::list(Vec::new()));
        }
        let most = crate::limits::MAX_ELEMENTS + 1;
        let parts: Vec<Value> = match separator {
            "" => text.chars().take(most).map(|c| Value::text(c.to_string())).collect(),
            _ => text.split(separator).take(most).map(Value::text).collect(),
        };
        context.built(Value::list(parts))
    }),
    Function("join", 2, 2, |context, a| {
        let separator = a.text(0)?;
        let mut out = String::new();
        for (n, item) in a.list(1)?.iter().enumerate() {
            out.push_str(if n > 0 { separator } else { "" });
            out.push_str(&printed(item)?);
            context.fuel.spend(1)?;
            within(&out)?;
        }
        context.text(out)
    }),
    Function("replaceAll", 3, 3, |context, a| replace(context, a.text(0)?, a.text(1)?, a.text(2)?)),
    Function("indent", 2, 2, |context, a| {
        let text = indented(context, a.int(0)?, a.text(1)?)?;
        context.text(text)
    }),
    Function("regexMatch", 2, 2, |context, a| {
        let pattern = pattern(context, a)?;
        Ok(Value::Bool(pattern.is_match(a.text(1)?)))
    }),
    Function("regexReplaceAll", 3, 3, |context, a| {
        let (pattern, with, text) = (pattern(context, a)?, a.text(1)?, a.text(2)?);
        let mut out = String::new();
        let mut last = 0;
        for found in pattern.captures_iter(text) {
            let whole = found.get_match();
            out.push_str(&text[last..whole.start()]);
            found.expand(with, &mut out);
            last = whole.end();
            context.fuel.spend(1 + with.len() / 16)?;
            within(&out)?;
        }
        out.push_str(&text[last..]);
        context.text(out)
    }),
];

/// Text that grows in a loop must end before it is too large.
pub(super) fn within(text: &str) -> Result<()> {
    match text.len() > crate::limits::MAX_OUTPUT {
        true => {
            Err(format!("a text would have more than {} MiB", crate::limits::MAX_OUTPUT >> 20)
                .into())
        }
        false => Ok(()),
    }
}

pub(super) fn title(text: &str) -> String {
    let mut before = ' ';
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if before.is_alphanumeric() || matches!(before, '_' | '\'') {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        before = c;
    }
    out
}

pub(super) fn replace(context: &mut Context<'_>, from: &str, to: &str, text: &str) -> Result {
    let found = match from {
        "" => text.chars().count() + 1,
        _ => text.matches(from).count(),
    };
    context.fuel.text(text.len() + found * to.len())?;
    Ok(Value::text(text.replace(from, to)))
}

/// Every line with so many spaces before it.
pub(super) fn indented(context: &mut Context<'_>, spaces: i64, text: &str) -> Result<String> {
    let spaces = usize::try_from(spaces).ok().filter(|spaces| *spaces <= 1000);
    let spaces = spaces.ok_or("a text is indented by 0 to 1000 spaces")?;
    context.fuel.text(text.len() + (text.matches('\n').count() + 1) * spaces)?;
    let prefix = " ".repeat(spaces);
    let lines: Vec<String> =
        text.split_inclusive('\n').map(|line| format!("{prefix}{line}")).collect();
    Ok(lines.concat())
}

/// Patterns are read anew each time, and looking for a bad one takes thousands of steps for each character.
fn pattern(context: &mut Context<'_>, a: &Arguments<'_>) -> Result<Regex> {
    let pattern = a.text(0)?;
    if pattern.len() > 1000 {
        return Err("a pattern has at most 1000 characters".into());
    }
    let text = a.text(a.values.len() - 1)?;
    context.fuel.spend(500 + text.len() * 16)?;
    RegexBuilder::new(pattern).size_limit(1 << 18).dfa_size_limit(1 << 18).build().map_err(|_| {
        Problem::Words(format!(
            "`{}` does not take this pattern: it cannot be read, or is too large",
            a.name
        ))
    })
}
