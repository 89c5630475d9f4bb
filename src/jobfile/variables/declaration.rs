//! The variables that a file declares.

use std::collections::BTreeMap;

use crate::expr::{Scope, Type, Value};
use crate::report::{Fault, Sink, Span};
use crate::suggest::did_you_mean;
use crate::tree::{Attribute, Block, Body, Expr};

use super::optional::Defaults;
use super::references;
use super::typed::{type_of, typed};

/// One `variable` block, or one line of `variables`.
pub(super) struct Declaration<'a> {
    pub(super) name: &'a str,
    pub(super) span: Span,
    pub(super) kind: Option<Type>,
    /// What stands in for fields that values leave out.
    pub(super) fields: Defaults,
    pub(super) default: Option<Default>,
    pub(super) sensitive: bool,
    pub(super) nullable: bool,
}

/// A default, as evaluated, and its place.
pub(super) struct Default {
    pub(super) value: Value,
    pub(super) span: Span,
}

impl Declaration<'_> {
    /// The type that values from outside must have: without one, that of the default.
    pub(super) fn wanted(&self) -> Option<Type> {
        let default = || self.default.as_ref().and_then(|default| type_of(&default.value));
        self.kind.clone().or_else(default)
    }
}

/// All variables of a file, by name.
pub(super) fn declarations<'a>(
    root: &'a Body<Expr>,
    scope: Scope<'_>,
) -> BTreeMap<&'a str, Declaration<'a>> {
    let sink = scope.globals.sink;
    let legacy = root.blocks("variables").flat_map(|block| &block.body.attributes);
    let legacy = legacy.map(|attribute| Declaration {
        name: &attribute.name,
        span: attribute.name_span,
        kind: None,
        fields: Defaults::None,
        default: Some(default(attribute, scope)),
        sensitive: false,
        nullable: true,
    });
    let blocks = root.blocks("variable").map(|block| declaration(block, scope));
    let mut found: BTreeMap<&str, Declaration<'_>> = BTreeMap::new();
    for declared in legacy.chain(blocks) {
        check_name(&declared, sink);
        if let Some(before) = found.get(declared.name) {
            let (name, place) = (declared.name, sink.place(before.span));
            let message = format!("the variable `{name}` is declared twice, first in {place}");
            sink.error(Fault::new("duplicate-name", declared.span, message));
        } else {
            found.insert(declared.name, declared);
        }
    }
    found
}

fn declaration<'a>(block: &'a Block<Expr>, scope: Scope<'_>) -> Declaration<'a> {
    let sink = scope.globals.sink;
    check_names(block, &["type", "default", "description", "sensitive", "nullable"], sink);
    let kind = block.body.attribute("type").and_then(|attribute| typed(attribute, scope));
    let (kind, fields) = kind.map_or((None, Defaults::None), |(kind, fields)| (Some(kind), fields));
    Declaration {
        name: block.label(),
        span: block.header_span(),
        kind,
        fields,
        default: block.body.attribute("default").map(|attribute| default(attribute, scope)),
        sensitive: flag(block, "sensitive", false, scope),
        nullable: flag(block, "nullable", true, scope),
    }
}

fn default(attribute: &Attribute<Expr>, scope: Scope<'_>) -> Default {
    let (sink, span) = (scope.globals.sink, attribute.value_span);
    if let Expr::Hcl(expression) = &attribute.value {
        if let Some(reference) = references::references(expression).into_iter().next() {
            let root = &reference.root;
            let message = format!("`{root}` cannot stand here: a default is a plain value");
            let help = match root.as_str() {
                "var" | "local" => "compute it in `locals`, and use the local instead".to_owned(),
                _ => format!(
                    "text is quoted, and one for the node to fill in is written $${{{root}…}}"
                ),
            };
            let at = reference.span.unwrap_or(span);
            sink.error(Fault::new("unknown-reference", at, message).help(help));
            return Default { value: Value::Failed, span };
        }
        if references::calls(expression) {
            sink.extension(span, "Nomad calls no functions in a default");
        }
    }
    Default { value: scope.value(&attribute.value, span), span }
}

fn flag(block: &Block<Expr>, name: &str, default: bool, scope: Scope<'_>) -> bool {
    let Some(attribute) = block.body.attribute(name) else { return default };
    let sink = scope.globals.sink;
    sink.extension(attribute.name_span, format!("Nomad's variables have no `{name}`"));
    let value = scope.value(&attribute.value, attribute.value_span);
    value.as_bool().unwrap_or_else(|| {
        if value != Value::Failed {
            let message = format!("`{name}` is true or false, this is {}", value.kind());
            sink.error(Fault::new("wrong-type", attribute.value_span, message));
        }
        default
    })
}

fn check_name(declared: &Declaration<'_>, sink: &Sink<'_>) {
    let name = declared.name;
    let starts = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if name.is_empty() || (starts && name.chars().all(|c| c.is_alphanumeric() || "_-".contains(c)))
    {
        // A name that is missing is the grammar's to report.
        return;
    }
    let message = format!("`{name}` cannot be the name of a variable");
    let help = "a name starts with a letter or `_`, and holds letters, digits, `_` and `-`";
    sink.error(Fault::new("invalid-value", declared.span, message).help(help));
}

pub(super) fn check_names(block: &Block<Expr>, known: &[&str], sink: &Sink<'_>) {
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
