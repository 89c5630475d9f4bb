//! `validation` blocks: what a variable's author demands of its values.

use crate::expr::{Globals, Scope, Value};
use crate::report::{Fault, Span};
use crate::tree::{Attribute, Block, Body, Expr};

use super::declaration::check_names;
use super::references;

/// Checks the variables that have a value.
pub(super) fn validate(root: &Body<Expr>, globals: &Globals<'_>) {
    for block in root.blocks("variable") {
        for validation in block.body.blocks("validation") {
            validation_of(block.label(), validation, globals);
        }
    }
}

fn validation_of(variable: &str, block: &Block<Expr>, globals: &Globals<'_>) {
    let sink = globals.sink;
    check_names(block, &["condition", "error_message"], sink);
    let Some(condition) = block.body.attribute("condition") else {
        let message = "a validation needs a `condition`";
        sink.error(Fault::new("missing-attribute", block.header_span(), message));
        return;
    };
    if !refers_to_itself(variable, condition, globals)
        || globals.variables.get(variable).is_none_or(Value::has_failed)
    {
        return;
    }
    let value = evaluated(condition, globals);
    match value.as_bool() {
        Some(true) => {}
        Some(false) => {
            let said = said(block, globals);
            let message = format!("the variable `{variable}` is not valid: {said}");
            sink.error(Fault::new("invalid-variable", condition.value_span, message));
        }
        None if value == Value::Failed => {}
        None => {
            let message = format!("a condition is true or false, this is {}", value.kind());
            sink.error(Fault::new("wrong-type", condition.value_span, message));
        }
    }
}

/// A condition looks at its own variable, so that what it says is about that one.
fn refers_to_itself(variable: &str, condition: &Attribute<Expr>, globals: &Globals<'_>) -> bool {
    let parsed;
    let expression = match &condition.value {
        Expr::Hcl(expression) => expression,
        Expr::Yaml(node) => {
            let text = node.to_value().as_text().unwrap_or_default().into_owned();
            let is_template = text.contains("${");
            match hcl_edit::parser::parse_expr(&text) {
                Ok(expression) if !is_template => {
                    parsed = expression;
                    &parsed
                }
                // Evaluating it says what is wrong.
                _ => return true,
            }
        }
    };
    let found = references::references(expression);
    let is_own = |found: &references::Reference| {
        found.root == "var" && found.name.as_deref() == Some(variable)
    };
    let report = |span: Option<Span>, message: String| {
        let own = matches!(condition.value, Expr::Hcl(_));
        let at = span.filter(|_| own).unwrap_or(condition.value_span);
        globals.sink.error(Fault::new("unknown-reference", at, message));
    };
    if let Some(other) = found.iter().find(|found| !is_own(found)) {
        let message =
            format!("the condition of the variable `{variable}` can refer to var.{variable} only");
        report(other.span, message);
        return false;
    }
    if found.is_empty() {
        let message = format!("this condition does not look at var.{variable}");
        report(None, message);
        return false;
    }
    true
}

fn evaluated(condition: &Attribute<Expr>, globals: &Globals<'_>) -> Value {
    let scope = Scope::root(globals);
    if let Expr::Yaml(node) = &condition.value
        && let Value::String(text) = node.to_value()
        && !text.contains("${")
    {
        // In YAML an expression is written as text, with or without `${ }`.
        return condition_text(&text, condition.value_span, scope);
    }
    scope.value(&condition.value, condition.value_span)
}

/// The author's words. They refer to nothing, so that no value gets into a message.
fn said(block: &Block<Expr>, globals: &Globals<'_>) -> String {
    let otherwise = || "the condition is not met".to_owned();
    let Some(message) = block.body.attribute("error_message") else { return otherwise() };
    if let Expr::Hcl(expression) = &message.value
        && let Some(reference) = references::references(expression).into_iter().next()
    {
        let words = "an error message is plain text, and refers to nothing";
        let at = reference.span.unwrap_or(message.value_span);
        globals.sink.error(Fault::new("unknown-reference", at, words));
        return otherwise();
    }
    let empty = Globals::new(globals.text, globals.sink);
    let value = Scope::root(&empty).value(&message.value, message.value_span);
    value.as_text().map_or_else(otherwise, |text| text.trim_end_matches('.').to_owned())
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
