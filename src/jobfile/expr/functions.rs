//! The functions of job files: pure, with Nomad's names and meanings.
//!
//! Functions that read files, the clock or chance are named here only to be refused: a job file must mean the same on
//! every node and at every time.

mod collections;
mod csv;
mod encoding;
mod format;
pub(super) mod json;
mod lists;
mod network;
mod numbers;
mod text;
mod time;

use super::{Number, Value};
use crate::suggest::did_you_mean;

/// What a function does with its arguments. The message of an error is about the arguments.
type Body = fn(&Args<'_>) -> Result<Value, String>;

/// A function: name, fewest and most arguments, body.
struct Function(&'static str, usize, usize, Body);

/// As many arguments as one likes.
const MANY: usize = usize::MAX;

const TABLES: [&[Function]; 9] = [
    text::FUNCTIONS,
    format::FUNCTIONS,
    collections::FUNCTIONS,
    lists::FUNCTIONS,
    numbers::FUNCTIONS,
    encoding::FUNCTIONS,
    csv::FUNCTIONS,
    network::FUNCTIONS,
    time::FUNCTIONS,
];

const IMPURE: [&str; 11] = [
    "abspath",
    "basename",
    "bcrypt",
    "dirname",
    "file",
    "filebase64",
    "fileexists",
    "fileset",
    "pathexpand",
    "timestamp",
    "uuidv4",
];

/// Nomad has these, Herder not.
const LATER: [&str; 4] = ["md5", "rsadecrypt", "sha1", "uuidv5"];

/// How many bytes a function may make. What a file makes in all is counted afterwards; this keeps one call from growing
/// without bound before that.
const MAX_BYTES: usize = 16 << 20;

fn fits(bytes: usize) -> Result<(), String> {
    if bytes > MAX_BYTES {
        return Err(format!("this would make more than {} MiB", MAX_BYTES >> 20));
    }
    Ok(())
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct CallFault {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) help: String,
}

/// Calls a function by its name.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, CallFault> {
    let fault = |code, message: String, help: String| CallFault { code, message, help };
    let Some(Function(_, least, most, body)) = find(name) else {
        if IMPURE.contains(&name) {
            return Err(fault(
                "function-not-available",
                format!("the function `{name}` is not available in job files"),
                "a job file must mean the same everywhere and always: write the value itself, or \
                 make it a variable"
                    .to_owned(),
            ));
        }
        if LATER.contains(&name) {
            return Err(fault(
                "function-not-available",
                format!("the function `{name}` is not supported yet"),
                "write the value itself, or make it a variable".to_owned(),
            ));
        }
        let known = TABLES.iter().flat_map(|table| table.iter().map(|function| function.0));
        return Err(fault(
            "unknown-function",
            format!("there is no function `{name}`"),
            did_you_mean(name, known).unwrap_or_default(),
        ));
    };
    if arguments.len() < *least || arguments.len() > *most {
        let wanted = match (*least, *most) {
            (least, MANY) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        let message = format!("{name} takes {wanted} arguments, these are {}", arguments.len());
        return Err(fault("wrong-arguments", message, String::new()));
    }
    if arguments.iter().any(Value::has_failed) {
        return Ok(Value::Failed);
    }
    body(&Args(arguments))
        .map_err(|message| fault("wrong-arguments", format!("{name}: {message}"), String::new()))
}

fn find(name: &str) -> Option<&'static Function> {
    TABLES.iter().find_map(|table| table.iter().find(|function| function.0 == name))
}

/// The arguments of a call, read as what the function needs.
struct Args<'a>(&'a [Value]);

impl<'a> Args<'a> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn all(&self) -> &'a [Value] {
        self.0
    }

    fn value(&self, at: usize) -> &'a Value {
        self.0.get(at).unwrap_or(&Value::Null)
    }

    fn wrong<T>(&self, at: usize, needed: &str) -> Result<T, String> {
        Err(format!("argument {} must be {needed}, it is {}", at + 1, self.value(at).kind()))
    }

    fn text(&self, at: usize) -> Result<String, String> {
        match self.value(at).as_text() {
            Some(text) => Ok(text.into_owned()),
            None => self.wrong(at, "a string"),
        }
    }

    fn number(&self, at: usize) -> Result<Number, String> {
        self.value(at).as_number().map_or_else(|| self.wrong(at, "a number"), Ok)
    }

    fn int(&self, at: usize) -> Result<i64, String> {
        self.number(at)?.as_i64().map_or_else(|| self.wrong(at, "a whole number"), Ok)
    }

    /// A whole number from 0.
    fn size(&self, at: usize) -> Result<usize, String> {
        let n = self.int(at)?;
        usize::try_from(n).map_err(|_| format!("argument {} must not be negative", at + 1))
    }

    fn list(&self, at: usize) -> Result<&'a [Value], String> {
        match self.value(at) {
            Value::List(items) => Ok(items),
            _ => self.wrong(at, "a list"),
        }
    }

    fn texts(&self, at: usize) -> Result<Vec<String>, String> {
        self.list(at)?
            .iter()
            .map(|item| {
                item.as_text().map(|text| text.into_owned()).ok_or_else(|| {
                    format!("argument {} must be a list of strings, it has {}", at + 1, item.kind())
                })
            })
            .collect()
    }

    fn object(&self, at: usize) -> Result<&'a std::collections::BTreeMap<String, Value>, String> {
        match self.value(at) {
            Value::Object(items) => Ok(items),
            _ => self.wrong(at, "a map"),
        }
    }
}

/// A length or a place as a value.
fn size(n: usize) -> Value {
    Value::int(i64::try_from(n).unwrap_or(i64::MAX))
}

/// Values as elements of one list that holds values of one type: beside text, numbers and bools become text. Null fits
/// any type.
fn unify(values: &[Value]) -> Result<Vec<Value>, String> {
    let mut kinds: Vec<&Value> = Vec::new();
    for value in values.iter().filter(|value| !value.is_null()) {
        if !kinds.iter().any(|known| known.kind() == value.kind()) {
            kinds.push(value);
        }
    }
    let (Some(first), Some(second)) = (kinds.first(), kinds.get(1)) else {
        return Ok(values.to_vec());
    };
    let has_text = kinds.iter().any(|kind| matches!(kind, Value::String(_)));
    if !has_text || kinds.iter().any(|kind| kind.as_text().is_none()) {
        let (a, b) = (first.kind(), second.kind());
        return Err(format!("all values must be of one type, there are {a} and {b}"));
    }
    let text = |value: &Value| value.as_text().map_or(Value::Null, Value::text);
    Ok(values.iter().map(text).collect())
}

fn text_list(texts: impl IntoIterator<Item = impl Into<String>>) -> Value {
    Value::List(texts.into_iter().map(Value::text).collect())
}

#[cfg(test)]
mod tests;
