//! Functions over numbers.

use num_bigint::BigUint;

use super::{Args, Function, MANY};
use crate::expr::cty::{Number, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function("min", 1, MANY, |a| extreme(a, |new, old| new < old)),
    Function("max", 1, MANY, |a| extreme(a, |new, old| new > old)),
    Function("abs", 1, 1, |a| {
        let n = a.number(0)?;
        Ok(Value::Number(n.magnitude()))
    }),
    Function("ceil", 1, 1, |a| whole(a, true)),
    Function("floor", 1, 1, |a| whole(a, false)),
    Function("log", 2, 2, |a| {
        let (n, base) = (a.number(0)?.as_f64(), a.number(1)?.as_f64());
        float(n.ln() / base.ln())
    }),
    Function("pow", 2, 2, |a| {
        let (n, times) = (a.number(0)?.as_f64(), a.number(1)?);
        match times.as_i64() {
            Some(times) if n != 0.0 && times != 0 => float(whole_power(n, times)),
            _ if times.as_f64() == 0.5 => float(n.sqrt()),
            _ => float(n.powf(times.as_f64())),
        }
    }),
    Function("signum", 1, 1, |a| Ok(Value::int(a.int(0)?.signum()))),
    Function("parseint", 2, 2, parse_int),
];

fn whole(a: &Args<'_>, up: bool) -> Result<Value, String> {
    let n = a.number(0)?.to_whole(up).ok_or("this number is too large")?;
    Ok(Value::Number(n))
}

fn float(n: f64) -> Result<Value, String> {
    Number::from_f64(n).map(Value::Number).ok_or_else(|| "this is not a finite number".to_owned())
}

/// A number as one from 0.5 to 1, and the power of two that it is to be multiplied by.
fn split(n: f64) -> (f64, i64) {
    let (n, less) = if n.abs() < f64::MIN_POSITIVE { (n * TWO_64, 64) } else { (n, 0) };
    let exponent = i64::try_from(n.to_bits() >> 52 & 0x7ff).unwrap_or(0);
    let mantissa = f64::from_bits(n.to_bits() & !(0x7ff << 52) | 1022 << 52);
    (mantissa, exponent - 1022 - less)
}

const TWO_64: f64 = 18_446_744_073_709_551_616.0;

/// By squares, each rounded, as Go's library does it, so that the last digits are the same.
fn whole_power(n: f64, times: i64) -> f64 {
    let (mut square, mut square_power) = split(n);
    let (mut product, mut power) = (1.0, 0_i64);
    let mut left = times.unsigned_abs();
    while left > 0 {
        if !(-(1 << 12)..=1 << 12).contains(&square_power) {
            // Far out of the range of a float in any case.
            power += square_power;
            break;
        }
        if left & 1 == 1 {
            product *= square;
            power += square_power;
        }
        square *= square;
        square_power <<= 1;
        if square < 0.5 {
            square += square;
            square_power -= 1;
        }
        left >>= 1;
    }
    if times < 0 {
        (product, power) = (1.0 / product, -power);
    }
    // In steps, so that what is small in the end does not vanish on the way.
    let (mut product, own) = split(product);
    let mut power = (power + own).clamp(-3_000, 3_000);
    while power > 1_000 {
        (product, power) = (product * 2_f64.powi(1_000), power - 1_000);
    }
    while power < -1_000 {
        (product, power) = (product * 2_f64.powi(-1_000), power + 1_000);
    }
    product * 2_f64.powi(i32::try_from(power).unwrap_or(0))
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

/// The most digits that are read.
const MAX_DIGITS: usize = 1_000;

/// Up to base 36 the case of a letter means nothing; above, capitals are the digits from 36 on.
fn parse_int(a: &Args<'_>) -> Result<Value, String> {
    let Value::String(text) = a.value(0) else { return a.wrong(0, "a string") };
    let base = a.int(1)?;
    let wrong = || format!("`{text}` is not a whole number in base {base}");
    let base = u8::try_from(base).ok().filter(|base| (2..=62).contains(base));
    let base = base.ok_or("the base must be 2 to 62")?;
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return Err(wrong());
    }
    let mut n = BigUint::ZERO;
    for c in digits.bytes() {
        let digit = match c {
            b'0'..=b'9' => c - b'0',
            b'a'..=b'z' => c - b'a' + 10,
            b'A'..=b'Z' if base <= 36 => c - b'A' + 10,
            b'A'..=b'Z' => c - b'A' + 36,
            _ => return Err(wrong()),
        };
        if digit >= base {
            return Err(wrong());
        }
        n = n * base + digit;
    }
    Number::whole(negative, n).map(Value::Number).ok_or_else(wrong)
}
