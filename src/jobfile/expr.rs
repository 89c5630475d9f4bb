//! Values and the pure evaluation of expressions: no clock, no chance, no files, and a budget for everything.

mod convert;
mod evaluate;
mod functions;
mod operators;
mod scope;
mod template;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use convert::{Type, convert, parse_type};
pub(crate) use evaluate::{Evaluator, pairs};
pub(crate) use scope::{Globals, Scope};
pub(crate) use template::evaluate_template;
pub(crate) use value::{Number, Value};
