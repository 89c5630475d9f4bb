//! Short ways to evaluate an expression in a test.

use crate::expr::{Evaluator, Globals, Scope, Value};
use crate::report::{Fault, Sink};

/// The value of an expression.
pub(crate) fn eval_text(expression: &str) -> Value {
    run(expression).unwrap_or_else(|fault| panic!("{expression}: {fault:?}"))
}

/// What is wrong with an expression.
pub(crate) fn eval_fault(expression: &str) -> Fault {
    run(expression).expect_err("is wrong")
}

fn run(expression: &str) -> Result<Value, Fault> {
    let sink = Sink::new("test.hcl", expression);
    let globals = Globals::new(expression, &sink);
    let parsed = hcl_edit::parser::parse_expr(expression).expect("parses");
    Evaluator::in_file(Scope::root(&globals)).eval(&parsed)
}
