//! `variable`, `variables` and `locals`: what names mean in a file.

mod declaration;
mod given;
mod nearby;
mod only_text;
mod optional;
mod references;
mod typed;
mod validation;
mod vars_file;

use std::collections::BTreeMap;

use model::Diagnostic;

use crate::expr::{Globals, Scope, Type, Value, convert};
use crate::inputs::{Inputs, VariableSource};
use crate::report::{Fault, Sink};
use crate::suggest::did_you_mean;
use crate::tree::{Body, Expr};
use crate::{Surroundings, source};

use declaration::{Declaration, declarations};
use given::{Given, Written};
use vars_file::VarsFile;

pub use nearby::{VarsFiles, applying_vars_files, environment_of_vars_file, is_vars_file_name};

/// The variables and locals that a value refers to, as `var.x` and `local.x`.
pub(crate) fn named_by(value: &Expr) -> Vec<String> {
    references::named_by(value)
}

/// What a file's variables are set from.
#[derive(Clone, Copy)]
pub(crate) struct Settings<'a> {
    /// The file, from the repository's root.
    pub(crate) path: &'a str,
    pub(crate) inputs: &'a Inputs,
    pub(crate) around: Surroundings<'a>,
}

/// The names of a file. Values that the caller gives replace defaults; what has neither is an error.
pub(crate) fn globals<'a>(
    root: &'a Body<Expr>,
    settings: Settings<'a>,
    text: &'a str,
    sink: &'a Sink<'a>,
    found: &mut Vec<VariableSource>,
) -> Globals<'a> {
    let empty = Globals::new(text, sink);
    let scope = Scope::root(&empty);
    let declared = declarations(root, scope);
    let named = settings.inputs.files.iter().map(|(path, bytes)| VarsFile::read(path, bytes));
    let named: Vec<VarsFile> = named.collect();
    let nearby = settings.around.vars.applying(settings.path, environment(settings.inputs));
    let files = given::Files { nearby: &nearby, named: &named };
    for problem in nearby.iter().copied().chain(&named).flat_map(|file| &file.problems) {
        sink.elsewhere(problem.clone());
    }
    let given = given::gather(settings.inputs, &files);
    if !settings.inputs.lenient {
        undeclared(settings.inputs, &named, &declared, sink);
    }
    let folder = settings.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut globals = Globals::new(text, sink).with_files(settings.around.files, folder);
    for variable in declared.values() {
        let (value, from) = match given.get(variable.name) {
            Some(given) => from_outside(variable, given, scope),
            None => from_default(variable, scope),
        };
        found.push(VariableSource {
            name: variable.name.to_owned(),
            value: shown(&value, variable.sensitive),
            from,
            declared: sink.place(variable.span),
            sensitive: variable.sensitive,
        });
        globals.variables.insert(variable.name.to_owned(), value);
        if let Some(kind) = &variable.kind {
            globals.types.insert(variable.name.to_owned(), kind.clone());
        }
    }
    for block in root.blocks("locals") {
        for local in &block.body.attributes {
            let place = (&local.value, local.value_span);
            if let Some((_, before)) = globals.locals.insert(local.name.clone(), place) {
                let (name, before) = (&local.name, sink.place(before));
                let message = format!("the local `{name}` is declared twice, first in {before}");
                sink.error(Fault::new("duplicate-name", local.name_span, message));
            }
        }
    }
    let names = declared.keys().copied().collect();
    only_text::warn(root, &names, &globals.locals, sink);
    validation::validate(root, &globals);
    globals.settle_locals();
    globals
}

fn environment(inputs: &Inputs) -> Option<&str> {
    inputs.environment.as_deref()
}

fn shown(value: &Value, sensitive: bool) -> String {
    match value {
        Value::Failed => String::new(),
        _ if sensitive => "(sensitive)".to_owned(),
        value => value.to_json().to_string(),
    }
}

/// Somebody who names a variable means one that is there.
fn undeclared(
    inputs: &Inputs,
    named: &[VarsFile],
    declared: &BTreeMap<&str, Declaration<'_>>,
    sink: &Sink<'_>,
) {
    let help = |name: &str| {
        did_you_mean(name, declared.keys().copied())
            .unwrap_or_else(|| format!("declare it: variable \"{name}\" {{}}"))
    };
    for file in named {
        for entry in file.values.iter().filter(|entry| !declared.contains_key(&*entry.name)) {
            let message = format!("this file declares no variable `{}`", entry.name);
            let fault = Fault::new("unknown-variable", entry.name_span, message);
            file.report(fault.help(help(&entry.name)), sink);
        }
    }
    for (name, _) in inputs.flags.iter().filter(|(name, _)| !declared.contains_key(&**name)) {
        let message = format!("the file declares no variable `{name}`");
        let (code, given) = ("unknown-variable", format!("-var {name}"));
        sink.elsewhere(Diagnostic::file_error(code, &given, message, help(name)));
    }
}

fn from_default(variable: &Declaration<'_>, scope: Scope<'_>) -> (Value, String) {
    let sink = scope.globals.sink;
    let Some(default) = &variable.default else {
        let message = format!("the variable `{}` has no value", variable.name);
        let help = "give it a `default`, a line in a *.vars.hcl file beside the job file or above it, or -var";
        sink.error(Fault::new("missing-variable", variable.span, message).help(help));
        return (Value::Failed, String::new());
    };
    let from = format!("default in {}", sink.place(default.span));
    if variable.sensitive {
        hide(&default.value, sink);
    }
    let value = match &variable.kind {
        None => default.value.clone(),
        Some(kind) => {
            convert(variable.fields.fill(default.value.clone()), kind).unwrap_or_else(|message| {
                let name = variable.name;
                let message = format!("this default does not fit the variable `{name}`: {message}");
                sink.error(Fault::new("wrong-type", default.span, message));
                Value::Failed
            })
        }
    };
    if value.is_null() && !variable.nullable {
        let message = format!("the variable `{}` may not be null", variable.name);
        sink.error(Fault::new("wrong-type", default.span, message));
        return (Value::Failed, from);
    }
    (value, from)
}

fn from_outside(
    variable: &Declaration<'_>,
    given: &Given<'_>,
    scope: Scope<'_>,
) -> (Value, String) {
    let sink = scope.globals.sink;
    // Where a mistake is shown: where the value was set if that is in a file, else where the variable is declared.
    let report = |code, message: String| {
        let declared = sink.place(variable.span);
        let fault = |span, message| Fault::new(code, span, message);
        match given.place {
            Some((file, span)) => {
                let help = format!("`{}` is declared in {declared}", variable.name);
                file.report(fault(span, message).help(help), sink);
            }
            None => {
                let help = format!("the value comes from {}", given.from);
                sink.error(fault(variable.span, message).help(help));
            }
        }
        Value::Failed
    };
    let kind = variable.wanted();
    if variable.sensitive {
        match &given.value {
            Written::Text(text) => sink.hide(text),
            Written::Value(value) => hide(value, sink),
        }
    }
    let value = match &given.value {
        Written::Value(value) => Ok(value.clone()),
        Written::Text(text) if is_literal(variable, kind.as_ref()) => Ok(Value::text(*text)),
        Written::Text(text) => expression(text, variable, scope),
    };
    let value = match value {
        Ok(value) => value,
        Err(message) => {
            let message = format!(
                "the value given for the variable `{}` is not an expression: {message}",
                variable.name
            );
            return (report("syntax", message), given.from.clone());
        }
    };
    let fitting = match &kind {
        Some(kind) => convert(variable.fields.fill(value), kind),
        None => Ok(value),
    };
    let value = match fitting {
        Ok(value) if value.is_null() && !variable.nullable => {
            // As good as not set.
            return from_default(variable, scope);
        }
        Ok(value) => value,
        Err(message) => report(
            "wrong-type",
            format!("this does not fit the variable `{}`: {message}", variable.name),
        ),
    };
    (value, given.from.clone())
}

/// Keeps the texts in a value out of what is said.
fn hide(value: &Value, sink: &Sink<'_>) {
    match value {
        Value::List(items) => items.iter().for_each(|item| hide(item, sink)),
        Value::Object(items) => items.values().for_each(|item| hide(item, sink)),
        Value::Bool(_) | Value::Null | Value::Failed => {}
        simple => {
            if let Some(text) = simple.as_text() {
                sink.hide(&text);
            }
        }
    }
}

/// Whether text from outside is meant as it stands.
fn is_literal(variable: &Declaration<'_>, kind: Option<&Type>) -> bool {
    match kind {
        Some(kind) => matches!(kind, Type::String | Type::Number),
        None => variable.default.is_none(),
    }
}

/// Text from outside as an expression, in which there is nothing to refer to.
fn expression(text: &str, variable: &Declaration<'_>, scope: Scope<'_>) -> Result<Value, String> {
    if text.len() > source::MAX_BYTES || crate::scan::scan(text).too_deep.is_some() {
        return Err("it is too large".to_owned());
    }
    let parsed = crate::hcl::parse_expression(text).map_err(|fault| fault.message)?;
    if let Some(reference) = references::references(&parsed).into_iter().next() {
        return Err(format!(
            "`{}` is no value; text stands in double quotes: \"{}\"",
            reference.root, reference.root
        ));
    }
    let evaluator = crate::expr::Evaluator::in_scalar(scope, text, variable.span);
    evaluator.eval(&parsed).map_err(|fault| fault.message)
}
