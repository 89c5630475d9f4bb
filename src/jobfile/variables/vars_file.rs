//! A file of values: `name = value`, and nothing else.

use model::Diagnostic;

use crate::expr::{Globals, Scope, Value};
use crate::report::{Fault, Sink, Span};
use crate::tree::{Attribute, Expr};
use crate::{hcl, source, yaml};

use super::references;

/// What a vars file says. Its places are in its own text.
#[derive(Clone, Debug, Default)]
pub(super) struct VarsFile {
    path: String,
    text: String,
    pub(super) values: Vec<Entry>,
    /// What is wrong with the file itself.
    pub(super) problems: Vec<Diagnostic>,
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) name_span: Span,
    pub(super) value: Value,
    pub(super) span: Span,
}

impl VarsFile {
    /// Reads a file: JSON where its name says so, else HCL.
    pub(super) fn read(path: &str, bytes: &[u8]) -> Self {
        let path = path.to_owned();
        let text = match source::text_of(bytes) {
            Ok(text) => text.to_owned(),
            // A file without a line says nothing, and is no mistake.
            Err(fault) if fault.code == "empty-file" => return Self { path, ..Self::default() },
            Err(fault) => {
                let problem = Diagnostic::file_error(fault.code, &path, fault.message, fault.help);
                return Self { path, problems: vec![problem], ..Self::default() };
            }
        };
        let sink = Sink::new(&path, &text);
        let conflicts = source::conflict_markers(&text);
        let values = if conflicts.is_empty() {
            entries(&path, &text, &sink)
        } else {
            conflicts.into_iter().for_each(|fault| sink.error(fault));
            Vec::new()
        };
        let problems = sink.finish();
        Self { path, text, values, problems }
    }

    pub(super) fn refused(path: &str, why: Diagnostic) -> Self {
        Self { path: path.to_owned(), problems: vec![why], ..Self::default() }
    }

    /// Reports something about a place in this file.
    pub(super) fn report(&self, fault: Fault, to: &Sink<'_>) {
        let sink = Sink::new(&self.path, &self.text);
        sink.error(fault);
        sink.finish().into_iter().for_each(|found| to.elsewhere(found));
    }

    /// The names that it sets, each with a finding about it that says nothing yet.
    pub(super) fn names(&self) -> Vec<(&str, Diagnostic)> {
        let sink = Sink::new(&self.path, &self.text);
        let blank = |entry: &Entry| {
            let (line, column) = sink.line_and_column(entry.name_span);
            let span = Some((entry.name_span.start, entry.name_span.end));
            Diagnostic { path: self.path.clone(), line, column, span, ..Diagnostic::default() }
        };
        self.values.iter().map(|entry| (entry.name.as_str(), blank(entry))).collect()
    }

    /// A place as `path:line:column`.
    pub(super) fn place(&self, span: Span) -> String {
        Sink::new(&self.path, &self.text).exact_place(span)
    }
}

fn entries(path: &str, text: &str, sink: &Sink<'_>) -> Vec<Entry> {
    let attributes = if path.ends_with(".json") {
        json(text, sink)
    } else {
        let body = hcl::parse(text, sink).unwrap_or_default();
        for block in &body.blocks {
            let message = "a vars file holds values, and no blocks".to_owned();
            let help = format!("write {} = {{ … }}", block.kind);
            let fault = Fault::new("unknown-block", block.header_span(), message);
            sink.error(fault.help(help));
        }
        body.attributes
    };
    let globals = Globals::new(text, sink);
    let scope = Scope::root(&globals);
    attributes
        .into_iter()
        .map(|attribute| Entry {
            value: value(&attribute, scope),
            name: attribute.name,
            name_span: attribute.name_span,
            span: attribute.value_span,
        })
        .collect()
}

fn json(text: &str, sink: &Sink<'_>) -> Vec<Attribute<Expr>> {
    let items = match yaml::read(text).map(|node| node.map(|node| node.kind)) {
        Ok(Some(yaml::Kind::Map(items))) => items,
        Ok(_) => {
            let message = "a vars file in JSON is an object: {\"name\": value}";
            sink.error(Fault::new("wrong-type", Span::default(), message));
            Vec::new()
        }
        Err(fault) => {
            sink.error(fault);
            Vec::new()
        }
    };
    items
        .into_iter()
        .map(|(key, node)| Attribute {
            name: key.text,
            name_span: key.span,
            value_span: node.span,
            value: Expr::Yaml(node),
        })
        .collect()
}

fn value(attribute: &Attribute<Expr>, scope: Scope<'_>) -> Value {
    if let Expr::Hcl(expression) = &attribute.value
        && let Some(reference) = references::references(expression).into_iter().next()
    {
        let root = &reference.root;
        let message =
            format!("`{root}` is no value, and nothing can be referred to in a vars file");
        let help = match root.as_str() {
            "var" | "local" => "write the value itself".to_owned(),
            _ => format!("text stands in double quotes, as in \"{root}\""),
        };
        let at = reference.span.unwrap_or(attribute.value_span);
        scope.globals.sink.error(Fault::new("unknown-reference", at, message).help(help));
        return Value::Failed;
    }
    scope.value(&attribute.value, attribute.value_span)
}
