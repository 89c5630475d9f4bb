//! Functions over numbers.

use super::{Args, Function, MANY};
use crate::expr::{Number, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function("min", 1, MANY, |a| extreme(a, |new, old| new < old)),
    Function("max", 1, MANY, |a| extreme(a, |new, old| new > old)),
    Function("abs", 1, 1, |a| whole_or(a, |n| n.checked_abs(), f64::abs)),
    Function("ceil", 1, 1, |a| whole_or(a, Some, f64::ceil)),
    Function("floor", 1, 1, |a| whole_or(a, Some, f64::floor)),
    Function("log", 2, 2, |a| float(a.number(0)?.as_f64().log(a.number(1)?.as_f64()))),
    Function("pow", 2, 2, power),
    Function("signum", 1, 1, |a| {
        let n = a.number(0)?.as_f64();
        Ok(Value::int(if n > 0.0 {
            1
        } else if n < 0.0 {
            -1
        } else {
            0
        }))
    }),
    Function("parseint", 2, 2, parse_int),
];

/// Whole numbers stay exact.
fn whole_or(
    a: &Args<'_>,
    whole: fn(i64) -> Option<i64>,
    real: fn(f64) -> f64,
) -> Result<Value, String> {
    let n = a.number(0)?;
    match n.as_i64().and_then(whole) {
        Some(n) => Ok(Value::int(n)),
        None => float(real(n.as_f64())),
    }
}

/// Exact where whole numbers can be.
fn power(a: &Args<'_>) -> Result<Value, String> {
    let (n, times) = (a.number(0)?, a.number(1)?);
    if let (Some(n), Some(times)) = (n.as_i64(), times.as_i64())
        && let Some(whole) = u32::try_from(times).ok().and_then(|times| n.checked_pow(times))
    {
        return Ok(Value::int(whole));
    }
    float(n.as_f64().powf(times.as_f64()))
}

/// Up to base 36 the case of a letter means nothing; above, capitals are the digits from 36 on.
fn parse_int(a: &Args<'_>) -> Result<Value, String> {
    let (text, base) = (a.text(0)?, a.int(1)?);
    if !(2..=62).contains(&base) {
        return Err("the base must be 2 to 62".to_owned());
    }
    let wrong = || format!("`{text}` is not a whole number in base {base}");
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    if digits.is_empty() {
        return Err(wrong());
    }
    let mut n: i64 = 0;
    for c in digits.bytes() {
        let digit = match c {
            b'0'..=b'9' => c - b'0',
            b'a'..=b'z' => c - b'a' + 10,
            b'A'..=b'Z' if base <= 36 => c - b'A' + 10,
            b'A'..=b'Z' => c - b'A' + 36,
            _ => return Err(wrong()),
        };
        let digit = i64::from(digit);
        if digit >= base {
            return Err(wrong());
        }
        let digit = if negative { -digit } else { digit };
        let next = n.checked_mul(base).and_then(|n| n.checked_add(digit));
        n = next.ok_or_else(|| format!("`{text}` in base {base} is too large"))?;
    }
    Ok(Value::int(n))
}

fn float(n: f64) -> Result<Value, String> {
    Number::from_f64(n).map(Value::Number).ok_or_else(|| "this is not a finite number".to_owned())
}

fn extreme(a: &Args<'_>, better: fn(&Number, &Number) -> bool) -> Result<Value, String> {
    let mut best = a.number(0)?;
    for at in 1..a.len() {
        let next = a.number(at)?;
        if better(&next, &best) {
            best = next;
        }
    }
    Ok(Value::Number(best))
}
