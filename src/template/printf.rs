//! `printf` as in Go, for what templates hold.

use std::fmt::Write as _;

use crate::limits::{Fuel, MAX_OUTPUT};
use crate::value::Value;

/// The widest field.
const MAX_WIDTH: usize = 10_000;

#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Formats.
pub(crate) fn printf(format: &str, arguments: &[Value], fuel: &mut Fuel) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let mut next = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| "-+# 0".contains(*c)) {
            match flag {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                _ => spec.zero = true,
            }
        }
        let mut number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            if chars.next_if_eq(&'*').is_some() {
                let width = arguments.get(next);
                next += 1;
                return match width {
                    Some(Value::Int(width)) => usize::try_from(*width)
                        .map(Some)
                        .map_err(|_| "a width is negative".to_owned()),
                    _ => Err("`*` in a format takes a whole number".to_owned()),
                };
            }
            let mut digits = None;
            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                chars.next();
                digits = Some((digits.unwrap_or(0_usize) * 10 + digit as usize).min(MAX_WIDTH + 1));
            }
            Ok(digits)
        };
        spec.width = number(&mut chars)?;
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut chars)?.unwrap_or(0));
        }
        if spec.width.max(spec.precision).is_some_and(|width| width > MAX_WIDTH) {
            return Err(format!("a field in a format is at most {MAX_WIDTH} wide"));
        }
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        if verb == '[' {
            return Err("formats with `%[n]` are not offered".to_owned());
        }
        let before = out.len();
        match arguments.get(next) {
            Some(value) => verb_of(&mut out, verb, value, &spec)?,
            None => {
                let _ = write!(out, "%!{verb}(MISSING)");
            }
        }
        next += 1;
        fuel.text(out.len() - before)?;
        if out.len() > MAX_OUTPUT {
            fuel.text(out.len())?;
        }
    }
    if next < arguments.len() {
        return Err(format!("the format has {next} fields for {} values", arguments.len()));
    }
    Ok(out)
}

/// Text that is never longer than a text may be.
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > MAX_OUTPUT {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// A value as it is printed.
pub(crate) fn printed(value: &Value) -> Result<String, String> {
    let mut out = Bounded(String::new());
    write!(out, "{value}")
        .map_err(|_| format!("a text would have more than {} MiB", MAX_OUTPUT >> 20))?;
    Ok(out.0)
}

fn verb_of(out: &mut String, verb: char, value: &Value, spec: &Spec) -> Result<(), String> {
    let text = match (verb, value) {
        ('d', Value::Int(number)) => signed(&number.unsigned_abs().to_string(), *number < 0, spec),
        ('x' | 'X' | 'o' | 'b', Value::Int(number)) => {
            let size = number.unsigned_abs();
            let digits = match verb {
                'x' => format!("{size:x}"),
                'X' => format!("{size:X}"),
                'o' => format!("{size:o}"),
                _ => format!("{size:b}"),
            };
            let prefix = match verb {
                'x' if spec.sharp => "0x",
                'X' if spec.sharp => "0X",
                'o' if spec.sharp => "0",
                'b' if spec.sharp => "0b",
                _ => "",
            };
            signed(&format!("{prefix}{digits}"), *number < 0, spec)
        }
        ('x' | 'X', Value::Text(text)) => text
            .bytes()
            .map(|byte| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") })
            .collect(),
        ('c', Value::Int(number)) => {
            u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string()
        }
        ('q', Value::Text(text)) => quoted(text),
        ('t', Value::Bool(flag)) => flag.to_string(),
        ('f' | 'F', Value::Float(number)) => {
            let digits = format!("{:.*}", spec.precision.unwrap_or(6), number.abs());
            signed(&digits, number.is_sign_negative(), spec)
        }
        ('e', Value::Float(number)) => {
            let digits = exponent(&format!("{:.*e}", spec.precision.unwrap_or(6), number.abs()));
            signed(&digits, number.is_sign_negative(), spec)
        }
        ('g', Value::Float(number)) => {
            signed(&shortest(number.abs()), number.is_sign_negative(), spec)
        }
        ('v' | 's', value)
            if verb == 'v'
                || !matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_)) =>
        {
            let text = printed(value)?;
            match (verb, spec.precision) {
                ('s', Some(most)) => text.chars().take(most).collect(),
                _ => text,
            }
        }
        // As Go marks a mistake in a format, without the value, which may be a secret.
        _ => {
            return Err(format!("`%{verb}` in a format does not take {}", value.kind()));
        }
    };
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    let numeric = matches!(value, Value::Int(_) | Value::Float(_));
    if spec.minus {
        out.push_str(&text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else if spec.zero && numeric {
        let sign = text.len() - text.trim_start_matches(['+', '-', ' ']).len();
        out.push_str(&text[..sign]);
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(&text[sign..]);
    } else {
        out.extend(std::iter::repeat_n(' ', missing));
        out.push_str(&text);
    }
    Ok(())
}

fn signed(digits: &str, negative: bool, spec: &Spec) -> String {
    let sign = match negative {
        true => "-",
        false if spec.plus => "+",
        false if spec.space => " ",
        false => "",
    };
    format!("{sign}{digits}")
}

/// Rust writes `1e5`, Go `1e+05`.
fn exponent(text: &str) -> String {
    let Some((digits, power)) = text.split_once('e') else { return text.to_owned() };
    let (sign, power) = power.strip_prefix('-').map_or(("+", power), |power| ("-", power));
    format!("{digits}e{sign}{power:0>2}")
}

/// A number with as few digits as tell it from all others, as Go prints it.
pub(crate) fn shortest(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) && number.is_finite() {
        return exponent(&format!("{number:e}"));
    }
    match (number.is_infinite(), number > 0.0) {
        (true, true) => "+Inf".to_owned(),
        (true, false) => "-Inf".to_owned(),
        _ => number.to_string(),
    }
}

/// Text in double quotes, with escapes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let code = u32::from(c);
                let _ = if code < 0x80 {
                    write!(out, "\\x{code:02x}")
                } else {
                    write!(out, "\\u{code:04x}")
                };
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
