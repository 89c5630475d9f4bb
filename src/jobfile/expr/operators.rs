//! Operators and indexes.

use hcl_edit::Span as _;
use hcl_edit::expr::{BinaryOp, BinaryOperator, Expression, UnaryOperator};

use super::evaluate::Evaluator;
use super::{Number, Value};
use crate::report::{Fault, Span};
use crate::suggest::did_you_mean;

pub(super) fn unary(operator: UnaryOperator, value: &Value, span: Span) -> Result<Value, Fault> {
    if value.has_failed() {
        return Err(Fault::reported());
    }
    let wrong = |needs: &str| {
        let message = format!("`{}` needs {needs}, this is {}", operator.as_str(), value.kind());
        Fault::new("wrong-type", span, message)
    };
    match operator {
        UnaryOperator::Neg => {
            let number = value.as_number().ok_or_else(|| wrong("a number"))?;
            match number {
                Number::Int(n) => Ok(Value::Number(Number::Int(n.saturating_neg()))),
                Number::Float(n) => Ok(Value::Number(Number::Float(-n))),
            }
        }
        UnaryOperator::Not => {
            value.as_bool().map(|flag| Value::Bool(!flag)).ok_or_else(|| wrong("a bool"))
        }
    }
}

/// Chains of operators lean to the left and may be long: their left sides are gone through in a loop.
pub(super) fn binary(evaluator: &Evaluator<'_>, op: &BinaryOp) -> Result<Value, Fault> {
    let mut chain = vec![op];
    let mut leftmost = &op.lhs_expr;
    while let Expression::BinaryOp(inner) = leftmost {
        chain.push(inner);
        leftmost = &inner.lhs_expr;
    }
    let mut left = evaluator.eval(leftmost)?;
    for op in chain.into_iter().rev() {
        let operator = *op.operator.value();
        let span = evaluator.place(op.span().or_else(|| op.rhs_expr.span()));
        // What is on the right is not looked at when the left decides.
        if let (BinaryOperator::And, Some(false)) | (BinaryOperator::Or, Some(true)) =
            (operator, left.as_bool())
        {
            left = Value::Bool(operator == BinaryOperator::Or);
            continue;
        }
        let right = evaluator.eval(&op.rhs_expr)?;
        left = apply(operator, &left, &right, span)?;
    }
    Ok(left)
}

fn apply(
    operator: BinaryOperator,
    left: &Value,
    right: &Value,
    span: Span,
) -> Result<Value, Fault> {
    use BinaryOperator as Op;
    if left.has_failed() || right.has_failed() {
        return Err(Fault::reported());
    }
    let wrong = |needs: &str| {
        let (name, a, b) = (operator.as_str(), left.kind(), right.kind());
        Fault::new("wrong-type", span, format!("`{name}` needs {needs}, these are {a} and {b}"))
    };
    match operator {
        Op::Eq => Ok(Value::Bool(left == right)),
        Op::NotEq => Ok(Value::Bool(left != right)),
        Op::And | Op::Or => {
            let (Some(a), Some(b)) = (left.as_bool(), right.as_bool()) else {
                return Err(wrong("two bools"));
            };
            Ok(Value::Bool(if operator == Op::And { a && b } else { a || b }))
        }
        Op::Less | Op::LessEq | Op::Greater | Op::GreaterEq => {
            let (Some(a), Some(b)) = (left.as_number(), right.as_number()) else {
                return Err(wrong("two numbers"));
            };
            Ok(Value::Bool(match operator {
                Op::Less => a < b,
                Op::LessEq => a <= b,
                Op::Greater => a > b,
                _ => a >= b,
            }))
        }
        Op::Plus | Op::Minus | Op::Mul | Op::Div | Op::Mod => {
            let (Some(a), Some(b)) = (left.as_number(), right.as_number()) else {
                return Err(wrong("two numbers"));
            };
            arithmetic(operator, a, b)
                .map(Value::Number)
                .ok_or_else(|| Fault::new("wrong-arguments", span, "this is not a finite number"))
        }
    }
}

fn arithmetic(operator: BinaryOperator, a: Number, b: Number) -> Option<Number> {
    use BinaryOperator as Op;
    if let (Number::Int(a), Number::Int(b)) = (a, b) {
        let whole = match operator {
            Op::Plus => a.checked_add(b),
            Op::Minus => a.checked_sub(b),
            Op::Mul => a.checked_mul(b),
            Op::Mod => a.checked_rem(b),
            _ => a.checked_rem(b).filter(|rest| *rest == 0).and_then(|_| a.checked_div(b)),
        };
        if let Some(whole) = whole {
            return Some(Number::Int(whole));
        }
    }
    let (a, b) = (a.as_f64(), b.as_f64());
    Number::from_f64(match operator {
        Op::Plus => a + b,
        Op::Minus => a - b,
        Op::Mul => a * b,
        Op::Mod => a % b,
        _ => a / b,
    })
}

/// `value[key]` and `value.key`.
pub(super) fn index(value: Value, key: &Value, span: Span) -> Result<Value, Fault> {
    match value {
        Value::Failed => Ok(Value::Failed),
        Value::List(mut items) => {
            let at = key.as_number().and_then(Number::as_i64);
            match at.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < items.len()) {
                Some(at) => Ok(items.swap_remove(at)),
                None => {
                    let key = key.as_text().unwrap_or_default().into_owned();
                    let message = match at {
                        Some(_) => {
                            format!("there is no element {key}, the list has {}", items.len())
                        }
                        None => format!("a list has no `{key}`, only elements by number"),
                    };
                    Err(Fault::new("no-such-element", span, message))
                }
            }
        }
        Value::Object(mut items) => {
            let key = key.as_text().unwrap_or_default();
            items.remove(key.as_ref()).ok_or_else(|| {
                let known = items.keys().map(String::as_str);
                Fault::new("no-such-element", span, format!("there is no key `{key}` here"))
                    .help(did_you_mean(&key, known).unwrap_or_default())
            })
        }
        other => {
            Err(Fault::new("no-such-element", span, format!("{} has no elements", other.kind())))
        }
    }
}
