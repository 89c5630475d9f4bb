//! Functions over numbers.

use super::{Args, Function, MANY};
use crate::expr::{Number, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function("min", 1, MANY, |a| extreme(a, |new, old| new < old)),
    Function("max", 1, MANY, |a| extreme(a, |new, old| new > old)),
    Function("abs", 1, 1, |a| float(a.number(0)?.as_f64().abs())),
    Function("ceil", 1, 1, |a| float(a.number(0)?.as_f64().ceil())),
    Function("floor", 1, 1, |a| float(a.number(0)?.as_f64().floor())),
    Function("log", 2, 2, |a| float(a.number(0)?.as_f64().log(a.number(1)?.as_f64()))),
    Function("pow", 2, 2, |a| float(a.number(0)?.as_f64().powf(a.number(1)?.as_f64()))),
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
    Function("parseint", 2, 2, |a| {
        let (text, base) = (a.text(0)?, a.int(1)?);
        let base = u32::try_from(base).ok().filter(|base| (2..=36).contains(base));
        let base = base.ok_or_else(|| "the base must be 2 to 36".to_owned())?;
        i64::from_str_radix(&text, base)
            .map(Value::int)
            .map_err(|_| format!("`{text}` is not a whole number in base {base}"))
    }),
];

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
