//! `format` and `formatlist`: verbs as in C and Go.

use num_bigint::BigUint;

use super::text::clusters;
use super::{Args, Function, MANY, fits};
use crate::expr::cty::{Decimal, Number, Value, to_json};

pub(super) const FUNCTIONS: &[Function] = &[
    Function("format", 1, MANY, |a| {
        Ok(Value::text(format(&a.text(0)?, a.all().get(1..).unwrap_or_default())?))
    }),
    Function("formatlist", 1, MANY, format_list),
];

/// The widest field and the most digits behind the point that may be asked for.
const MAX_WIDTH: usize = 1000;

/// How many texts `formatlist` may make.
const MAX_ROWS: usize = 20_000;

/// Lists are gone through side by side, what is no list stands in each row.
fn format_list(a: &Args<'_>) -> Result<Value, String> {
    let pattern = a.text(0)?;
    let arguments = a.all().get(1..).unwrap_or_default();
    let mut rows = None;
    for here in arguments.iter().filter_map(Value::elements).map(<[Value]>::len) {
        let first = *rows.get_or_insert(here);
        if here != first {
            return Err(format!("the lists differ in length: {first} and {here}"));
        }
    }
    let rows = rows.unwrap_or(1);
    if rows > MAX_ROWS {
        return Err(format!("this would make more than {MAX_ROWS} elements"));
    }
    let mut out = Vec::new();
    let mut bytes = 0;
    for row in 0..rows {
        let here = arguments.iter().map(|argument| match argument.elements() {
            Some(items) => items.get(row).cloned().unwrap_or(Value::Failed),
            None => argument.clone(),
        });
        let text = format(&pattern, &here.collect::<Vec<_>>())?;
        bytes += text.len() + 32;
        fits(bytes)?;
        out.push(text);
    }
    Ok(Value::texts(out))
}

/// What stands between `%` and the end of a verb.
struct Verb<'a> {
    flags: &'a str,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

impl Verb<'_> {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }
}

fn format(pattern: &str, arguments: &[Value]) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let (mut next, mut used) = (0_usize, 0_usize);
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (verb, index, after) = read(after)?;
        rest = after;
        let at = index.unwrap_or(next);
        let value = arguments
            .get(at)
            .ok_or_else(|| format!("there is no argument {} for `%{}`", at + 1, verb.letter))?;
        next = at + 1;
        used = used.max(next);
        out.push_str(&one(&verb, value)?);
        fits(out.len())?;
    }
    out.push_str(rest);
    if used < arguments.len() {
        return Err("there are more arguments than verbs".to_owned());
    }
    Ok(out)
}

/// A verb, the argument that it names, and what is behind it.
fn read(text: &str) -> Result<(Verb<'_>, Option<usize>, &str), String> {
    let cut = text.len() - text.trim_start_matches(['-', '0', '+', ' ', '#']).len();
    let (flags, after) = text.split_at(cut);
    let (width, mut after) = digits(after)?;
    let mut precision = None;
    if let Some(fraction) = after.strip_prefix('.') {
        let (number, behind) = digits(fraction)?;
        precision = Some(number.ok_or("the precision of a verb is missing after `.`")?);
        after = behind;
    }
    let mut index = None;
    if let Some(inner) = after.strip_prefix('[') {
        let (number, behind) = digits(inner)?;
        index = number.and_then(|n| n.checked_sub(1));
        let behind = behind.strip_prefix(']').filter(|_| index.is_some());
        after = behind.ok_or("the number of an argument is written as `[1]`, from 1")?;
    }
    let letter = after.chars().next().ok_or("the format ends in the middle of a verb")?;
    let rest = after.get(letter.len_utf8()..).unwrap_or("");
    Ok((Verb { flags, width: width.unwrap_or(0), precision, letter }, index, rest))
}

fn digits(text: &str) -> Result<(Option<usize>, &str), String> {
    let cut = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(cut);
    if number.is_empty() {
        return Ok((None, rest));
    }
    match number.parse::<usize>() {
        Ok(n) if n <= MAX_WIDTH => Ok((Some(n), rest)),
        _ => Err(format!("the number {number} is too large, up to {MAX_WIDTH} is possible")),
    }
}

fn one(verb: &Verb<'_>, value: &Value) -> Result<String, String> {
    let wrong =
        |needed: &str| Err(format!("`%{}` needs {needed}, this is {}", verb.letter, value.kind()));
    match verb.letter {
        'v' => Ok(pad(
            verb,
            match value {
                Value::String(text) if !verb.has('#') => text.as_ref().to_owned(),
                Value::Number(n) if !verb.has('#') => Decimal::as_general(n, None),
                other => to_json(other),
            },
        )),
        't' => match value.as_bool() {
            Some(flag) => Ok(flag.to_string()),
            None => wrong("a bool"),
        },
        's' | 'q' => {
            let Some(text) = value.as_text() else { return wrong("a string") };
            let text: String = match verb.precision {
                Some(most) if most > 0 => clusters(&text).take(most).collect(),
                _ => text.into_owned(),
            };
            Ok(pad(verb, if verb.letter == 'q' { to_json(&Value::text(text)) } else { text }))
        }
        'b' | 'd' | 'o' | 'x' | 'X' => match value.as_number() {
            Some(n) => match n.as_whole() {
                Some((negative, size)) => Ok(whole(verb, negative, &size)),
                None => wrong("a whole number"),
            },
            None => wrong("a number"),
        },
        'e' | 'E' | 'f' | 'g' | 'G' => match value.as_number() {
            Some(n) => Ok(real(verb, &n)),
            None => wrong("a number"),
        },
        other => Err(format!("there is no verb `%{other}`")),
    }
}

/// Fills the field of a text. Zeros fill it on whichever side the padding is, as in Nomad.
fn pad(verb: &Verb<'_>, text: String) -> String {
    let missing = verb.width - clusters(&text).take(verb.width).count();
    let fill = if verb.has('0') { "0" } else { " " }.repeat(missing);
    if verb.has('-') { text + &fill } else { fill + &text }
}

fn sign(verb: &Verb<'_>, negative: bool) -> &'static str {
    match (negative, verb.has('+'), verb.has(' ')) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    }
}

fn whole(verb: &Verb<'_>, negative: bool, size: &BigUint) -> String {
    let (prefix, digits) = match verb.letter {
        'b' => ("0b", format!("{size:b}")),
        'o' => ("0", format!("{size:o}")),
        'x' => ("0x", format!("{size:x}")),
        'X' => ("0X", format!("{size:X}")),
        _ => ("", size.to_string()),
    };
    let prefix = if verb.has('#') { prefix } else { "" };
    let sign = sign(verb, negative);
    let zeros = verb.precision.unwrap_or(0).saturating_sub(digits.len());
    let missing = verb.width.saturating_sub(sign.len() + prefix.len() + zeros + digits.len());
    let number = |zeros: usize| format!("{sign}{prefix}{}{digits}", "0".repeat(zeros));
    if verb.has('-') {
        number(zeros) + &" ".repeat(missing)
    } else if verb.has('0') && verb.precision.is_none() {
        number(missing)
    } else {
        " ".repeat(missing) + &number(zeros)
    }
}

fn real(verb: &Verb<'_>, n: &Number) -> String {
    let text = match verb.letter {
        'f' => Decimal::exact(n).fixed(verb.precision.unwrap_or(6)),
        'e' | 'E' => Decimal::exact(n).scientific(verb.precision.unwrap_or(6)),
        _ => Decimal::as_general(n, verb.precision),
    };
    let text = if matches!(verb.letter, 'E' | 'G') { text.to_uppercase() } else { text };
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let sign = sign(verb, text.starts_with('-'));
    let missing = verb.width.saturating_sub(sign.len() + digits.len());
    if verb.has('-') {
        format!("{sign}{digits}{}", " ".repeat(missing))
    } else if verb.has('0') {
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        format!("{}{sign}{digits}", " ".repeat(missing))
    }
}
