//! Values from outside, by the variable's name: what was said last counts.

use std::collections::BTreeMap;

use crate::expr::Value;
use crate::inputs::Inputs;
use crate::report::Span;

use super::vars_file::VarsFile;

/// A value from outside.
pub(super) struct Given<'a> {
    pub(super) value: Written<'a>,
    /// Where it is from, in words.
    pub(super) from: String,
    /// Where it is from, if that is a file.
    pub(super) place: Option<(&'a VarsFile, Span)>,
}

/// A value, or text whose meaning depends on the variable's type.
pub(super) enum Written<'a> {
    Text(&'a str),
    Value(Value),
}

/// Vars files, those that count more after those that count less.
pub(super) struct Files<'a> {
    pub(super) nearby: &'a [&'a VarsFile],
    pub(super) named: &'a [VarsFile],
}

/// The prefixes of environment variables; what counts more comes last.
const PREFIXES: [&str; 2] = ["NOMAD_VAR_", "HERDER_VAR_"];

/// Puts all sources together, in their order.
pub(super) fn gather<'a>(inputs: &'a Inputs, files: &Files<'a>) -> BTreeMap<&'a str, Given<'a>> {
    let mut given = BTreeMap::new();
    for prefix in PREFIXES {
        for (variable, text) in &inputs.shell {
            if let Some(name) = variable.strip_prefix(prefix) {
                let from = format!("{variable} in the environment");
                given.insert(name, Given { value: Written::Text(text), from, place: None });
            }
        }
    }
    for file in files.nearby {
        take(file, "", &mut given);
    }
    for (name, value) in &inputs.variables {
        let value = match value {
            serde_json::Value::String(text) => Written::Text(text),
            other => Written::Value(Value::from_json(other.clone())),
        };
        let from = "the agent's configuration".to_owned();
        given.insert(name, Given { value, from, place: None });
    }
    for file in files.named {
        take(file, "-var-file ", &mut given);
    }
    for (name, text) in &inputs.flags {
        let from = "-var".to_owned();
        given.insert(name, Given { value: Written::Text(text), from, place: None });
    }
    given
}

fn take<'a>(file: &'a VarsFile, how: &str, given: &mut BTreeMap<&'a str, Given<'a>>) {
    for entry in &file.values {
        let from = format!("{how}{}", file.place(entry.span));
        let place = Some((file, entry.span));
        let value = Written::Value(entry.value.clone());
        given.insert(&entry.name, Given { value, from, place });
    }
}
