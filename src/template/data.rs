//! What a template is rendered with.

use std::collections::BTreeMap;

use model::Timestamp;

use crate::value::Value;

/// Something outside that a template asks for. More kinds come with what Herder offers: a service, a key, a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dependency {
    /// A variable of the task's environment, or an attribute of the node such as `attr.cpu.arch`.
    Env(String),
    /// A file in the task's folder.
    File(String),
}

/// The answer to a [`Dependency`].
#[derive(Clone, Debug)]
pub enum Found {
    /// Here it is.
    Value(Value),
    /// There is no such thing.
    Absent,
    /// Nobody has looked yet.
    NotYet,
    /// It cannot be had, and why, in words.
    Refused(String),
}

/// What was fetched before a rendering.
pub trait Data {
    /// Looks something up. Must not block.
    fn get(&self, dependency: &Dependency) -> Found;
}

/// No data at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Data for Nothing {
    fn get(&self, _: &Dependency) -> Found {
        Found::Absent
    }
}

impl Data for BTreeMap<String, String> {
    fn get(&self, dependency: &Dependency) -> Found {
        match dependency {
            Dependency::Env(name) => BTreeMap::get(self, name)
                .map_or(Found::Absent, |text| Found::Value(Value::text(text))),
            Dependency::File(_) => Found::Absent,
        }
    }
}

/// How to render.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Whether a key that a map does not have is an error.
    pub error_on_missing_key: bool,
    /// The time that `timestamp` tells.
    pub now: Timestamp,
}
