//! `variable`, `variables` and `locals`: what names mean in a file.

use std::collections::BTreeMap;

use crate::Inputs;
use crate::expr::{Globals, Scope, Type, Value, convert, parse_type};
use crate::report::{Fault, Sink, Span};
use crate::suggest::did_you_mean;
use crate::tree::{Attribute, Block, Body, Expr};

/// The names of a file. Values that the caller gives replace defaults; what has neither is an error.
pub(crate) fn globals<'a>(
    root: &'a Body<Expr>,
    inputs: &Inputs,
    text: &'a str,
    sink: &'a Sink<'a>,
) -> Globals<'a> {
    let mut variables = BTreeMap::new();
    let mut places: BTreeMap<&str, Span> = BTreeMap::new();
    let empty = Globals::new(text, sink);
    let scope = Scope::root(&empty);
    for block in root.blocks("variables") {
        for attribute in &block.body.attributes {
            let value = match inputs.variables.get(&attribute.name) {
                Some(given) => Value::text(given),
                None => scope.value(&attribute.value, attribute.value_span),
            };
            declare(&attribute.name, attribute.name_span, value, &mut variables, &mut places, sink);
        }
    }
    for block in root.blocks("variable") {
        check_names(block, &["type", "default", "description", "sensitive", "nullable"], sink);
        let name = block.label();
        let value = variable(block, inputs.variables.get(name), scope);
        declare(name, block.header_span(), value, &mut variables, &mut places, sink);
    }
    let mut globals = Globals::new(text, sink);
    globals.variables = variables;
    for block in root.blocks("locals") {
        for local in &block.body.attributes {
            let place = (&local.value, local.value_span);
            if globals.locals.insert(local.name.clone(), place).is_some() {
                let message = format!("the local `{}` is declared twice", local.name);
                sink.error(Fault::new("duplicate-name", local.name_span, message));
            }
        }
    }
    for block in root.blocks("variable") {
        for validation in block.body.blocks("validation") {
            validate(block.label(), validation, &globals);
        }
    }
    globals.settle_locals();
    globals
}

fn declare<'a>(
    name: &'a str,
    span: Span,
    value: Value,
    variables: &mut BTreeMap<String, Value>,
    places: &mut BTreeMap<&'a str, Span>,
    sink: &Sink<'_>,
) {
    if places.insert(name, span).is_some() {
        let message = format!("the variable `{name}` is declared twice");
        sink.error(Fault::new("duplicate-name", span, message));
    }
    variables.insert(name.to_owned(), value);
}

fn variable(block: &Block<Expr>, given: Option<&String>, scope: Scope<'_>) -> Value {
    let sink = scope.globals.sink;
    let kind = block.body.attribute("type").map(|attribute| {
        type_of(attribute).unwrap_or_else(|message| {
            sink.error(Fault::new("wrong-type", attribute.value_span, message));
            Type::Any
        })
    });
    let fits = |value, span| {
        convert(value, kind.as_ref().unwrap_or(&Type::Any)).unwrap_or_else(|message| {
            let message = format!("this does not fit the variable `{}`: {message}", block.label());
            sink.error(Fault::new("wrong-type", span, message));
            Value::Failed
        })
    };
    match (given, block.body.attribute("default")) {
        (Some(given), _) => fits(input(given, kind.as_ref(), scope, block), block.header_span()),
        (None, Some(default)) => {
            fits(scope.value(&default.value, default.value_span), default.value_span)
        }
        (None, None) => {
            let message = format!("the variable `{}` has no value", block.label());
            sink.error(
                Fault::new("missing-variable", block.header_span(), message).help(
                    "give it a `default`, or a value where Herder is told of this repository",
                ),
            );
            Value::Failed
        }
    }
}

/// A value from outside: text where text or a number is wanted, else an expression.
fn input(given: &str, kind: Option<&Type>, scope: Scope<'_>, block: &Block<Expr>) -> Value {
    match kind {
        None | Some(Type::Any | Type::String | Type::Number | Type::Bool) => Value::text(given),
        Some(_) => {
            let wrong = |message: &str| {
                let message = format!(
                    "the value given for the variable `{}` is not an expression: {message}",
                    block.label()
                );
                scope.globals.sink.error(Fault::new("syntax", block.header_span(), message));
                Value::Failed
            };
            if given.len() > crate::source::MAX_BYTES || crate::scan::scan(given).too_deep.is_some()
            {
                return wrong("it is too large");
            }
            match hcl_edit::parser::parse_expr(given) {
                Ok(expression) => {
                    let evaluator =
                        crate::expr::Evaluator::in_scalar(scope, given, block.header_span());
                    evaluator.eval(&expression).unwrap_or_else(|fault| wrong(&fault.message))
                }
                Err(error) => wrong(error.message()),
            }
        }
    }
}

fn type_of(attribute: &Attribute<Expr>) -> Result<Type, String> {
    match &attribute.value {
        Expr::Hcl(expression) => parse_type(expression),
        Expr::Yaml(node) => {
            let text = node.to_value().as_text().unwrap_or_default().into_owned();
            if crate::scan::scan(&text).too_deep.is_some() {
                return Err("this type nests too deeply".to_owned());
            }
            let expression = hcl_edit::parser::parse_expr(&text)
                .map_err(|error| format!("this is not a type: {}", error.message()))?;
            parse_type(&expression)
        }
    }
}

fn validate(variable: &str, block: &Block<Expr>, globals: &Globals<'_>) {
    check_names(block, &["condition", "error_message"], globals.sink);
    let Some(condition) = block.body.attribute("condition") else {
        let message = "a validation needs a `condition`";
        globals.sink.error(Fault::new("missing-attribute", block.header_span(), message));
        return;
    };
    if globals.variables.get(variable).is_none_or(Value::has_failed) {
        return;
    }
    let scope = Scope::root(globals);
    let value = match &condition.value {
        // In YAML an expression is written as text, with or without `${ }`.
        Expr::Yaml(node) => match node.to_value() {
            Value::String(text) if !text.contains("${") => {
                condition_text(&text, condition.value_span, scope)
            }
            _ => scope.value(&condition.value, condition.value_span),
        },
        Expr::Hcl(_) => scope.value(&condition.value, condition.value_span),
    };
    match value.as_bool() {
        Some(true) => {}
        Some(false) => {
            let said = block
                .body
                .attribute("error_message")
                .map(|message| scope.value(&message.value, message.value_span))
                .and_then(|message| message.as_text().map(|text| text.into_owned()))
                .unwrap_or_else(|| "the condition is not met".to_owned());
            let message = format!("the variable `{variable}` is not valid: {said}");
            globals.sink.error(Fault::new("invalid-variable", condition.value_span, message));
        }
        None if value == Value::Failed => {}
        None => {
            let message = format!("a condition is true or false, this is {}", value.kind());
            globals.sink.error(Fault::new("wrong-type", condition.value_span, message));
        }
    }
}

fn condition_text(text: &str, span: Span, scope: Scope<'_>) -> Value {
    let result = hcl_edit::parser::parse_expr(text)
        .map_err(|error| Fault::new("syntax", span, error.message()))
        .and_then(|expression| {
            crate::expr::Evaluator::in_scalar(scope, text, span).eval(&expression)
        });
    result.unwrap_or_else(|fault| {
        scope.globals.sink.error(fault);
        Value::Failed
    })
}

fn check_names(block: &Block<Expr>, known: &[&str], sink: &Sink<'_>) {
    for attribute in &block.body.attributes {
        if !known.contains(&attribute.name.as_str()) {
            let message = format!("`{}` has no attribute `{}`", block.kind, attribute.name);
            let help = did_you_mean(&attribute.name, known.iter().copied()).unwrap_or_default();
            sink.error(Fault::new("unknown-attribute", attribute.name_span, message).help(help));
        }
    }
    for inner in &block.body.blocks {
        if block.kind != "variable" || inner.kind != "validation" {
            let message = format!("`{}` has no block `{}`", block.kind, inner.kind);
            let help = did_you_mean(&inner.kind, ["validation"]).unwrap_or_default();
            sink.error(Fault::new("unknown-block", inner.header_span(), message).help(help));
        }
    }
}
