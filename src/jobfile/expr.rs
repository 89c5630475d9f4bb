//! Values and the pure evaluation of expressions: no clock, no chance, no files but those of the repository, and a
//! budget for everything.
//!
//! Inside, values have types ([`cty`]); what leaves this room is plain data ([`Value`]).

mod call;
mod cty;
mod evaluate;
mod functions;
mod loops;
mod operators;
mod scope;
mod template;
#[cfg(test)]
mod tests;
mod traversal;
mod types;
mod value;

pub(crate) use cty::{Type, normal};
pub(crate) use evaluate::Evaluator;
pub(crate) use scope::{Globals, Scope};
pub(crate) use template::evaluate_template;
pub(crate) use types::{convert, parse_type};
pub(crate) use value::{Number, Value};
