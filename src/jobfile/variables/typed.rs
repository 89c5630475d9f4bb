//! The types of variables: written, or taken from a default.

use hcl_edit::Span as _;
use hcl_edit::expr::Expression;

use crate::expr::{Evaluator, Scope, Type, Value, parse_type};
use crate::report::{Fault, Span};
use crate::tree::{Attribute, Expr};

use super::optional::Defaults;
use super::references;

/// A type as it is written, and what stands in for fields that values leave out. Reports what is wrong with it.
pub(super) fn typed(attribute: &Attribute<Expr>, scope: Scope<'_>) -> Option<(Type, Defaults)> {
    let (sink, span) = (scope.globals.sink, attribute.value_span);
    let text;
    let parsed;
    let (expression, scalar) = match &attribute.value {
        Expr::Hcl(expression) => (expression, None),
        Expr::Yaml(node) => {
            text = node.to_value().as_text().unwrap_or_default().into_owned();
            parsed = parsed_type(&text)
                .map_err(|message| sink.error(Fault::new("wrong-type", span, message)))
                .ok()?;
            (&parsed, Some(text.as_str()))
        }
    };
    let kind = parse_type(expression)
        .map_err(|message| sink.error(Fault::new("wrong-type", span, message)))
        .ok()?;
    if is_extended(&kind) {
        let message = "Nomad's types are exact: it knows neither `any` nor `optional`";
        sink.extension(span, message);
    }
    let fields = Defaults::of(expression, &mut |default| constant(default, scalar, span, scope));
    Some((kind, fields))
}

fn parsed_type(text: &str) -> Result<Expression, String> {
    if crate::scan::scan(text).too_deep.is_some() {
        return Err("this type nests too deeply".to_owned());
    }
    let parsed = hcl_edit::parser::parse_expr(text);
    parsed.map_err(|error| format!("this is not a type: {}", error.message()))
}

/// The value of an expression within a type, in which there is nothing to refer to.
fn constant(
    expression: &Expression,
    scalar: Option<&str>,
    within: Span,
    scope: Scope<'_>,
) -> Value {
    let evaluator = match scalar {
        Some(text) => Evaluator::in_scalar(scope, text, within),
        None => Evaluator::in_file(scope),
    };
    let place = expression.span().filter(|_| scalar.is_none()).map_or(within, Span::from);
    let result = match references::references(expression).first() {
        None => evaluator.eval(expression),
        Some(reference) => {
            let message =
                format!("`{}` cannot stand here: a default is a plain value", reference.root);
            Err(Fault::new("unknown-reference", place, message))
        }
    };
    result.unwrap_or_else(|fault| {
        scope.globals.sink.error(fault);
        Value::Failed
    })
}

/// Whether Nomad would refuse the type.
fn is_extended(kind: &Type) -> bool {
    match kind {
        Type::Any => true,
        Type::String | Type::Number | Type::Bool => false,
        Type::List(of) | Type::Set(of) | Type::Map(of) => is_extended(of),
        Type::Object(fields) => {
            fields.values().any(|(kind, optional)| *optional || is_extended(kind))
        }
        Type::Tuple(of) => of.iter().any(is_extended),
    }
}

/// The type of a value; none where anything goes, as for null.
pub(super) fn type_of(value: &Value) -> Option<Type> {
    Some(match value {
        Value::Bool(_) => Type::Bool,
        Value::Number(_) => Type::Number,
        Value::String(_) => Type::String,
        Value::List(items) => {
            Type::Tuple(items.iter().map(|item| type_of(item).unwrap_or(Type::Any)).collect())
        }
        Value::Object(items) => {
            let field = |(name, item): (&String, &Value)| {
                (name.clone(), (type_of(item).unwrap_or(Type::Any), false))
            };
            Type::Object(items.iter().map(field).collect())
        }
        Value::Null | Value::Failed => return None,
    })
}
