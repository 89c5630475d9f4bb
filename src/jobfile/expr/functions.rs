//! The functions of job files, with Nomad's names and meanings.
//!
//! A job file must mean the same on every node and at every time. Functions that read files read those of the
//! repository, at the job's commit; functions that are random take their chance from the file, so that what they make
//! changes only when the file does.

mod chance;
mod csv;
mod encoding;
mod files;
mod format;
mod glob;
mod lists;
mod maps;
mod network;
mod numbers;
mod pattern;
mod sets;
mod text;
mod time;
mod yaml;

use super::cty::{Fields, Number, Type, Value, convert, type_of, unify};
use super::scope::Globals;
use crate::report::{Fault, Span};
use crate::suggest::did_you_mean;

/// What a function does with its arguments. The message of an error is about the arguments.
type Body = fn(&Args<'_>) -> Result<Value, String>;

/// A function: name, fewest and most arguments, body.
struct Function(&'static str, usize, usize, Body);

/// As many arguments as one likes.
const MANY: usize = usize::MAX;

const TABLES: [&[Function]; 13] = [
    text::FUNCTIONS,
    pattern::FUNCTIONS,
    format::FUNCTIONS,
    lists::FUNCTIONS,
    sets::FUNCTIONS,
    maps::FUNCTIONS,
    numbers::FUNCTIONS,
    encoding::FUNCTIONS,
    csv::FUNCTIONS,
    yaml::FUNCTIONS,
    network::FUNCTIONS,
    time::FUNCTIONS,
    files::FUNCTIONS,
];

/// Functions that look at their arguments before these are values.
const OWN: [&str; 3] = ["can", "convert", "try"];

/// How many bytes a function may make. What a file makes in all is counted afterwards; this keeps one call from growing
/// without bound before that.
const MAX_BYTES: usize = 16 << 20;

fn fits(bytes: usize) -> Result<(), String> {
    if bytes > MAX_BYTES {
        return Err(format!("this would make more than {} MiB", MAX_BYTES >> 20));
    }
    Ok(())
}

/// Where a call stands.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) globals: &'a Globals<'a>,
    pub(super) span: Span,
}

/// Calls a function by its name.
pub(super) fn call(name: &str, arguments: &[Value], site: Site<'_>) -> Result<Value, Fault> {
    let fault = |code, message: String| Fault::new(code, site.span, message);
    let Some(Function(_, least, most, body)) = find(name) else {
        let known = TABLES.iter().flat_map(|table| table.iter().map(|function| function.0));
        let help = match name {
            "timestamp" | "now" => {
                "Nomad has none either: a job file means the same whenever it is read".to_owned()
            }
            "env" | "getenv" => {
                "Nomad has none either: declare a variable, and set it in a vars file, by -var or NOMAD_VAR_…"
                    .to_owned()
            }
            "templatefile" => {
                "Nomad has none either: file(…) reads a file as it is, a `template` fills it in for the task"
                    .to_owned()
            }
            _ => site.globals.sink.seek(|| did_you_mean(name, known.chain(OWN))).unwrap_or_default(),
        };
        return Err(fault("unknown-function", format!("there is no function `{name}`")).help(help));
    };
    if arguments.len() < *least || arguments.len() > *most {
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let wanted = match (*least, *most) {
            (least, MANY) => format!("at least {least} argument{}", plural(least)),
            (least, most) if least == most => format!("{least} argument{}", plural(least)),
            (least, most) => format!("{least} to {most} arguments"),
        };
        let given = arguments.len();
        let message = format!("{name} takes {wanted}, here are {given}");
        return Err(fault("wrong-arguments", message));
    }
    if arguments.iter().any(Value::has_failed) {
        return Ok(Value::Failed);
    }
    body(&Args { values: arguments, site }).map_err(|message| {
        let is_about_files =
            files::READERS.contains(&name) && !message.starts_with(ABOUT_AN_ARGUMENT);
        let code = if is_about_files { "unreadable-file" } else { "wrong-arguments" };
        fault(code, format!("{name}: {message}"))
    })
}

/// How messages begin that say what an argument must be.
const ABOUT_AN_ARGUMENT: &str = "argument ";

fn find(name: &str) -> Option<&'static Function> {
    TABLES.iter().find_map(|table| table.iter().find(|function| function.0 == name))
}

/// The arguments of a call, read as what the function needs.
struct Args<'a> {
    values: &'a [Value],
    site: Site<'a>,
}

impl<'a> Args<'a> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn all(&self) -> &'a [Value] {
        self.values
    }

    fn value(&self, at: usize) -> &'a Value {
        self.values.get(at).unwrap_or(&Value::Failed)
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
        let number = self.number(at)?;
        let wrong = || format!("argument {} must be a whole number, it is {number}", at + 1);
        number.as_i64().ok_or_else(wrong)
    }

    /// A whole number from 0.
    fn size(&self, at: usize) -> Result<usize, String> {
        let n = self.int(at)?;
        usize::try_from(n).map_err(|_| format!("argument {} must not be negative", at + 1))
    }

    /// An argument made to fit a type; null fits none.
    fn fitting(&self, at: usize, kind: &Type) -> Result<Value, String> {
        let value = self.value(at);
        if value.is_null() {
            return self.wrong(at, kind.needed());
        }
        convert(value, kind).map_err(|why| format!("argument {}: {why}", at + 1))
    }

    /// The elements of a list, a set or a tuple, as those of a list.
    fn list(&self, at: usize) -> Result<(Type, Vec<Value>), String> {
        match self.fitting(at, &Type::List(Box::new(Type::Any)))? {
            Value::List(items) => Ok(((*items.of).clone(), items.items.to_vec())),
            _ => self.wrong(at, "a list"),
        }
    }

    /// The elements of a list, a set or a tuple, as they are.
    fn elements(&self, at: usize) -> Result<&'a [Value], String> {
        self.value(at).elements().map_or_else(|| self.wrong(at, "a list"), Ok)
    }

    /// Texts; nothing for a null among them.
    fn texts_or_null(&self, at: usize) -> Result<Vec<Option<String>>, String> {
        // What is text, or becomes it by itself, needs no list in between.
        if let Some(items) = self.value(at).elements() {
            let texts = items.iter().map(|item| match item {
                Value::Null(_) => Some(None),
                item => item.as_text().map(|text| Some(text.into_owned())),
            });
            if let Some(texts) = texts.collect() {
                return Ok(texts);
            }
        }
        let list = self.fitting(at, &Type::List(Box::new(Type::String)))?;
        let items = list.elements().unwrap_or_default();
        Ok(items.iter().map(|item| item.as_text().map(|text| text.into_owned())).collect())
    }

    fn texts(&self, at: usize) -> Result<Vec<String>, String> {
        let texts = self.texts_or_null(at)?.into_iter().enumerate();
        let texts = texts.map(|(n, text)| {
            text.ok_or_else(|| format!("argument {}: element {n} is null", at + 1))
        });
        texts.collect()
    }

    fn fields(&self, at: usize) -> Result<&'a Fields, String> {
        self.value(at).fields().map_or_else(|| self.wrong(at, "a map"), Ok)
    }
}

/// The type that values can have together.
fn common(types: &[Type]) -> Result<Type, String> {
    unify(types).ok_or_else(|| {
        let kinds = types.iter().map(Type::needed).collect::<std::collections::BTreeSet<_>>();
        let kinds: Vec<_> = kinds.into_iter().collect();
        format!("all values must be of one type, there are {}", kinds.join(" and "))
    })
}

fn types_of(values: &[Value]) -> Vec<Type> {
    values.iter().map(type_of).collect()
}

#[cfg(test)]
mod tests;
