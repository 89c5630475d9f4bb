//! A template after reading.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A template that was read and whose names are all known. Render it as often as needed.
#[derive(Clone, Debug)]
pub struct Template {
    /// What it was read from, for places in messages.
    pub(crate) source: String,
    pub(crate) body: Vec<Node>,
    /// `define` and `block`.
    pub(crate) named: BTreeMap<String, Arc<Vec<Node>>>,
}

/// A place in the source, in bytes.
pub(crate) type At = usize;

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Call { at: At, name: String, with: Option<Pipe> },
    Break,
    Continue,
}

#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) at: At,
    pub(crate) pipe: Pipe,
    pub(crate) body: Vec<Node>,
    pub(crate) otherwise: Vec<Node>,
}

/// `$a := command | command`.
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    pub(crate) at: At,
    pub(crate) names: Vec<String>,
    /// `=`, and not `:=`.
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
}

/// A value, or a function and its arguments. Never empty.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) first: Operand,
    pub(crate) arguments: Vec<Operand>,
}

/// `base.field.field`.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) at: At,
    pub(crate) base: Base,
    pub(crate) fields: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Base {
    Dot,
    Variable(String),
    Function(String),
    Text(Arc<str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    Pipe(Box<Pipe>),
}
