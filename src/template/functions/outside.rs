//! What comes from outside: environment, files, time.

use super::{Context, Function, Problem, Result};
use crate::data::{Dependency, Found};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("env", 1, 1, |context, a| {
        Ok(ask(context, Dependency::Env(a.text(0)?.to_owned()))?.unwrap_or_else(|| Value::text("")))
    }),
    Function("mustEnv", 1, 1, |context, a| {
        let name = a.text(0)?;
        ask(context, Dependency::Env(name.to_owned()))?
            .ok_or_else(|| format!("the variable `{name}` is not set").into())
    }),
    Function("envOrDefault", 2, 2, |context, a| {
        let found = ask(context, Dependency::Env(a.text(0)?.to_owned()))?;
        Ok(found.filter(Value::is_true).unwrap_or_else(|| a.value(1).clone()))
    }),
    Function("file", 1, 1, |context, a| {
        let path = a.text(0)?;
        let found = ask(context, Dependency::File(path.to_owned()))?;
        found.ok_or_else(|| format!("there is no file `{path}` in the task's folder").into())
    }),
    Function("timestamp", 0, 1, |context, a| {
        let now = context.now;
        if a.values.is_empty() {
            let text = layout(now.0, "2006-01-02T15:04:05Z07:00")?;
            return context.text(text);
        }
        match a.text(0)? {
            "unix" => context.text(now.0.div_euclid(1_000_000_000).to_string()),
            format => {
                let text = layout(now.0, format)?;
                context.text(text)
            }
        }
    }),
];

fn ask(context: &mut Context<'_>, dependency: Dependency) -> Result<Option<Value>> {
    let found = context.data.get(&dependency);
    if matches!(found, Found::NotYet) {
        return Err(Problem::Wants(dependency));
    }
    context.used.insert(dependency);
    match found {
        Found::Value(value) => Ok(Some(value)),
        Found::Refused(words) => Err(Problem::Words(words)),
        Found::Absent | Found::NotYet => Ok(None),
    }
}

/// Pieces of Go's layouts, longer ones before those that they begin with, and the same for `strftime`.
const LAYOUT: &[(&str, &str)] = &[
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "UTC"),
    ("2006", "%Y"),
    ("Z07:00", "Z"),
    ("-07:00", "+00:00"),
    ("-0700", "+0000"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("002", "%j"),
    ("15", "%H"),
    ("PM", "%p"),
    ("_2", "%e"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
];

/// A time in a layout of Go's, in UTC.
fn layout(nanos: i64, layout: &str) -> Result<String> {
    if layout.len() > 256 {
        return Err("a layout of a time has at most 256 characters".into());
    }
    let mut format = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        if let Some((piece, directive)) = LAYOUT.iter().find(|(piece, _)| rest.starts_with(piece)) {
            format.push_str(directive);
            rest = &rest[piece.len()..];
        } else {
            format.push_str(if c == '%' { "%%" } else { &rest[..c.len_utf8()] });
            rest = &rest[c.len_utf8()..];
        }
    }
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanos))
        .map_err(|_| Problem::from("the time cannot be written"))?;
    jiff::fmt::strtime::format(&format, &time.to_zoned(jiff::tz::TimeZone::UTC))
        .map_err(|_| "the layout of the time cannot be read".into())
}
