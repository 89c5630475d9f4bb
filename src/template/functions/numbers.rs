//! Numbers.

use super::{Arguments, Context, Function, Problem, Result};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("add", 2, 2, |_, a| arithmetic(a, i64::checked_add, |a, b| a + b)),
    // The first is taken from the second, so that it reads well after a `|`.
    Function("subtract", 2, 2, |_, a| arithmetic(a, |a, b| b.checked_sub(a), |a, b| b - a)),
    Function("multiply", 2, 2, |_, a| arithmetic(a, i64::checked_mul, |a, b| a * b)),
    Function("divide", 2, 2, |_, a| arithmetic(a, |a, b| b.checked_div(a), |a, b| b / a)),
    Function("modulo", 2, 2, |_, a| match (a.value(0), a.value(1)) {
        (Value::Int(_), Value::Int(_)) => arithmetic(a, |a, b| b.checked_rem(a), |a, _| a),
        _ => Err("`modulo` takes whole numbers".into()),
    }),
    Function("minimum", 2, 2, |_, a| arithmetic(a, |a, b| Some(a.min(b)), f64::min)),
    Function("maximum", 2, 2, |_, a| arithmetic(a, |a, b| Some(a.max(b)), f64::max)),
    Function("parseBool", 1, 1, |_, a| match a.text(0)? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
        _ => Err("the text is neither true nor false".into()),
    }),
    Function("parseInt", 1, 1, |_, a| match a.text(0)? {
        "" => Ok(Value::Int(0)),
        text => text.parse().map(Value::Int).map_err(|_| "the text is no whole number".into()),
    }),
    Function("parseUint", 1, 1, |_, a| match a.text(0)? {
        "" => Ok(Value::Int(0)),
        text => match text.parse::<u64>().ok().and_then(|number| i64::try_from(number).ok()) {
            Some(number) => Ok(Value::Int(number)),
            None => Err("the text is no whole number from 0 to 9223372036854775807".into()),
        },
    }),
    Function("parseFloat", 1, 1, |_, a| match a.text(0)? {
        "" => Ok(Value::Float(0.0)),
        text => text.parse().map(Value::Float).map_err(|_| "the text is no number".into()),
    }),
    Function("loop", 1, 2, range),
];

#[expect(clippy::cast_precision_loss, reason = "a number that is computed with a fraction")]
fn arithmetic(
    a: &Arguments<'_>,
    whole: impl Fn(i64, i64) -> Option<i64>,
    any: impl Fn(f64, f64) -> f64,
) -> Result {
    let number = |at| match a.value(at) {
        Value::Int(number) => Ok(*number as f64),
        Value::Float(number) => Ok(*number),
        _ => Err(a.wrong(at, "a number")),
    };
    if let (Value::Int(first), Value::Int(second)) = (a.value(0), a.value(1)) {
        let result = whole(*first, *second);
        return result.map(Value::Int).ok_or_else(|| {
            format!("the result of `{}` is no number that a template can hold", a.name).into()
        });
    }
    let result = any(number(0)?, number(1)?);
    match result.is_finite() {
        true => Ok(Value::Float(result)),
        false => {
            Err(format!("the result of `{}` is no number that a template can hold", a.name).into())
        }
    }
}

fn range(context: &mut Context<'_>, a: &Arguments<'_>) -> Result {
    let number = |at: usize| match a.value(at) {
        Value::Text(text) => text.parse().map_err(|_| a.wrong(at, "a whole number")),
        _ => a.int(at),
    };
    let (from, to) = if a.values.len() == 1 { (0, number(0)?) } else { (number(0)?, number(1)?) };
    let count = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
    if count > crate::limits::MAX_ELEMENTS {
        return Err(Problem::from(crate::value::TooLarge));
    }
    context.fuel.spend(count)?;
    Ok(Value::list((from..to).map(Value::Int).collect()))
}
