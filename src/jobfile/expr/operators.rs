//! Operators and indexes.

use hcl_edit::Span as _;
use hcl_edit::expr::{BinaryOp, BinaryOperator, Expression, UnaryOperator};

use super::cty::{Number, Type, Value, equal};
use super::evaluate::Evaluator;
use crate::report::{Fault, Span};
use crate::suggest::did_you_mean;

fn too_large(span: Span) -> Fault {
    Fault::new("wrong-arguments", span, "this number is too large or too small")
}

pub(super) fn unary(operator: UnaryOperator, value: &Value, span: Span) -> Result<Value, Fault> {
    if matches!(value, Value::Failed) {
        return Err(Fault::reported());
    }
    let wrong = |needs: &str| {
        let message = format!("`{}` needs {needs}, this is {}", operator.as_str(), value.kind());
        Fault::new("wrong-type", span, message)
    };
    match operator {
        UnaryOperator::Neg => {
            let number = value.as_number().ok_or_else(|| wrong("a number"))?;
            Ok(Value::Number(number.negated()))
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
    let mut left = evaluator.typed(leftmost)?;
    for op in chain.into_iter().rev() {
        let operator = *op.operator.value();
        let span = evaluator.place(op.span().or_else(|| op.rhs_expr.span()));
        // Both sides are looked at, also where the left decides: so does Nomad, which finds mistakes on the right.
        let right = evaluator.typed(&op.rhs_expr)?;
        if matches!(operator, BinaryOperator::Eq | BinaryOperator::NotEq) {
            evaluator.budget().work(span, left.size().min(right.size()))?;
        }
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
        let mut fault = Fault::new(
            "wrong-type",
            span,
            format!("`{name}` needs {needs}, these are {a} and {b}"),
        );
        if [left, right].iter().any(|side| is_left_to_the_node(side)) {
            fault = fault
                .help("what only the node knows is text here: nothing can be computed with it");
        }
        fault
    };
    let numbers = || left.as_number().zip(right.as_number()).ok_or_else(|| wrong("two numbers"));
    match operator {
        Op::Eq => Ok(Value::Bool(equal(left, right))),
        Op::NotEq => Ok(Value::Bool(!equal(left, right))),
        Op::And | Op::Or => {
            let (Some(a), Some(b)) = (left.as_bool(), right.as_bool()) else {
                return Err(wrong("two bools"));
            };
            Ok(Value::Bool(if operator == Op::And { a && b } else { a || b }))
        }
        Op::Less => numbers().map(|(a, b)| Value::Bool(a < b)),
        Op::LessEq => numbers().map(|(a, b)| Value::Bool(a <= b)),
        Op::Greater => numbers().map(|(a, b)| Value::Bool(a > b)),
        Op::GreaterEq => numbers().map(|(a, b)| Value::Bool(a >= b)),
        Op::Plus | Op::Minus | Op::Mul | Op::Div | Op::Mod => {
            let (a, b) = numbers()?;
            if operator == Op::Div && b.is_zero() {
                let message = "this divides by zero";
                return Err(Fault::new("wrong-arguments", span, message));
            }
            let found = match operator {
                Op::Plus => a.plus(&b),
                Op::Minus => a.minus(&b),
                Op::Mul => a.times(&b),
                Op::Mod => a.rest(&b),
                _ => a.over(&b),
            };
            found.map(Value::Number).ok_or_else(|| too_large(span))
        }
    }
}

fn is_left_to_the_node(value: &Value) -> bool {
    matches!(value, Value::String(text) if text.starts_with("${"))
}

fn missing(span: Span, message: String) -> Fault {
    Fault::new("no-such-element", span, message)
}

/// `value.name`.
pub(super) fn attribute(value: &Value, name: &str, span: Span) -> Result<Value, Fault> {
    match value {
        Value::Failed => Ok(Value::Failed),
        Value::Map(items) | Value::Object(items) => {
            items.items.get(name).cloned().ok_or_else(|| no_key(value, name, span))
        }
        Value::List(_) | Value::Tuple(_) => {
            let message = format!("a list has no `{name}`, only elements by number");
            Err(missing(span, message).help(format!("write [*].{name} for that of each element")))
        }
        other => Err(missing(span, format!("{} has no attribute `{name}`", other.kind()))),
    }
}

fn no_key(value: &Value, name: &str, span: Span) -> Fault {
    let known = value.fields().into_iter().flat_map(|items| items.keys().map(AsRef::as_ref));
    missing(span, format!("there is no key `{name}` here"))
        .help(did_you_mean(name, known).unwrap_or_default())
}

/// `value[key]`.
pub(super) fn index(value: &Value, key: &Value, span: Span) -> Result<Value, Fault> {
    match (value, key) {
        (Value::Failed, _) | (_, Value::Failed) => Ok(Value::Failed),
        (_, Value::Null(_)) => Err(missing(span, "null is no key".to_owned())),
        (Value::List(items) | Value::Tuple(items), key) => {
            let count = items.items.len();
            let Some(at) = key.as_number() else {
                let key = key.as_text().unwrap_or_default().into_owned();
                let message = format!("a list has no `{key}`, only elements by number");
                return Err(missing(span, message));
            };
            let found = at.as_i64().and_then(|at| usize::try_from(at).ok());
            found.and_then(|at| items.items.get(at)).cloned().ok_or_else(|| {
                missing(span, format!("there is no element {at}, the list has {count}"))
            })
        }
        (Value::Map(items) | Value::Object(items), key) => {
            let name = key
                .as_text()
                .ok_or_else(|| missing(span, format!("a key is text, this is {}", key.kind())))?;
            items.items.get(name.as_ref()).cloned().ok_or_else(|| no_key(value, &name, span))
        }
        (Value::Set(_), _) => {
            let message = "the elements of a set have no numbers or keys".to_owned();
            Err(missing(span, message).help("make a list of it first: convert(…, list(any))"))
        }
        (other, _) => Err(missing(span, format!("{} has no elements", other.kind()))),
    }
}

/// What the attribute or the element of a value of this type would be of: for a list without elements.
pub(super) fn type_of_step(kind: &Type, name: Option<&str>) -> Option<Type> {
    match (kind, name) {
        (Type::Any, _) => Some(Type::Any),
        (Type::Object(fields), Some(name)) => fields.get(name).map(|(kind, _)| kind.clone()),
        (Type::Map(of), _) | (Type::List(of), None) => Some((**of).clone()),
        (Type::Tuple(items), None) => items.first().cloned(),
        _ => None,
    }
}

/// A number in the text of an expression, which may be of any size.
pub(super) fn literal(raw: &str) -> Option<Number> {
    match raw.strip_prefix('-') {
        Some(digits) => Number::parse(digits.trim_start()).map(|number| number.negated()),
        None => Number::parse(raw),
    }
}
