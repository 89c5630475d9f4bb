//! The functions of templates.

mod collections;
mod encoding;
mod logic;
mod notes;
mod numbers;
mod outside;
mod sprig;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::Timestamp;

use crate::data::{Data, Dependency};
use crate::limits::Fuel;
use crate::printf::printed;
use crate::value::Value;

pub(crate) use notes::scratch;

/// Why a function has no result.
#[derive(Debug)]
pub(crate) enum Problem {
    /// In words, which never hold an argument.
    Words(String),
    /// Something must be fetched first.
    Wants(Dependency),
}

impl From<String> for Problem {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<&str> for Problem {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}

impl From<crate::value::TooLarge> for Problem {
    fn from(error: crate::value::TooLarge) -> Self {
        Self::Words(error.into())
    }
}

pub(crate) type Result<T = Value> = std::result::Result<T, Problem>;

/// What functions share during one rendering.
pub(crate) struct Context<'a> {
    pub(crate) data: &'a dyn Data,
    pub(crate) now: Timestamp,
    pub(crate) scratch: BTreeMap<String, Value>,
    pub(crate) fuel: Fuel,
    pub(crate) used: BTreeSet<Dependency>,
}

impl Context<'_> {
    /// A text that was made.
    fn text(&mut self, text: impl AsRef<str>) -> Result {
        self.fuel.text(text.as_ref().len())?;
        Ok(Value::text(text))
    }

    /// A list or map that was made.
    fn built(&mut self, value: Value) -> Result {
        self.fuel.spend(value.weigh()?)?;
        Ok(value)
    }
}

/// A function: its name, how many arguments it takes at least and at most, and what it does.
pub(crate) struct Function(
    &'static str,
    usize,
    usize,
    fn(&mut Context<'_>, &Arguments<'_>) -> Result,
);

/// As many as somebody writes.
const ANY: usize = usize::MAX;

/// What a function is called with.
pub(crate) struct Arguments<'a> {
    name: &'a str,
    values: &'a [Value],
}

impl<'a> Arguments<'a> {
    fn value(&self, at: usize) -> &'a Value {
        static NIL: Value = Value::Nil;
        self.values.get(at).unwrap_or(&NIL)
    }

    fn last(&self) -> &'a Value {
        self.value(self.values.len().saturating_sub(1))
    }

    fn wrong(&self, at: usize, wanted: &str) -> Problem {
        let (name, kind) = (self.name, self.value(at).kind());
        Problem::Words(format!("`{name}` takes {wanted} here, not {kind}"))
    }

    fn text(&self, at: usize) -> Result<&'a str> {
        match self.value(at) {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong(at, "a text")),
        }
    }

    /// A text, or what a number or bool is as one.
    fn printed(&self, at: usize) -> Result<String> {
        Ok(printed(self.value(at))?)
    }

    fn int(&self, at: usize) -> Result<i64> {
        match self.value(at) {
            Value::Int(number) => Ok(*number),
            _ => Err(self.wrong(at, "a whole number")),
        }
    }

    fn list(&self, at: usize) -> Result<&'a Arc<[Value]>> {
        match self.value(at) {
            Value::List(items) => Ok(items),
            _ => Err(self.wrong(at, "a list")),
        }
    }

    fn map(&self, at: usize) -> Result<&'a Arc<BTreeMap<Arc<str>, Value>>> {
        match self.value(at) {
            Value::Map(fields) => Ok(fields),
            _ => Err(self.wrong(at, "a map")),
        }
    }
}

/// All of them.
const ALL: &[&[Function]] = &[
    logic::FUNCTIONS,
    outside::FUNCTIONS,
    text::FUNCTIONS,
    numbers::FUNCTIONS,
    encoding::FUNCTIONS,
    collections::FUNCTIONS,
    notes::FUNCTIONS,
    sprig::FUNCTIONS,
];

pub(crate) fn find(name: &str) -> Option<&'static Function> {
    ALL.iter().flat_map(|some| some.iter()).find(|function| function.0 == name)
}

/// Calls a function. Arguments are paid for by their length, as most functions look at all of them.
pub(crate) fn call(context: &mut Context<'_>, name: &str, values: &[Value]) -> Result {
    let Some(Function(name, least, most, function)) = find(name) else {
        return Err(format!("there is no function `{name}`").into());
    };
    if values.len() < *least || values.len() > *most {
        let wanted = match (*least, *most) {
            (least, ANY) => format!("{least} or more"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        return Err(format!("`{name}` takes {wanted} arguments, not {}", values.len()).into());
    }
    let length: usize = values
        .iter()
        .map(|value| match value {
            Value::Text(text) => text.len(),
            Value::List(items) => items.len(),
            Value::Map(fields) => fields.len(),
            _ => 0,
        })
        .sum();
    context.fuel.spend(length / 16 + 1)?;
    function(context, &Arguments { name, values })
}
