//! Short ways to evaluate an expression in a test.

use model::Diagnostic;

use crate::expr::{Evaluator, Globals, Scope, Value};
use crate::report::Sink;

/// The value of an expression.
pub(crate) fn eval_text(expression: &str) -> Value {
    run(expression).unwrap_or_else(|found| panic!("{expression}: {found:?}"))
}

/// The first thing that is wrong with an expression.
pub(crate) fn eval_fault(expression: &str) -> Diagnostic {
    run(expression).expect_err("is wrong").remove(0)
}

fn run(expression: &str) -> Result<Value, Vec<Diagnostic>> {
    let sink = Sink::new("test.hcl", expression);
    let globals = Globals::new(expression, &sink);
    let parsed = hcl_edit::parser::parse_expr(expression).expect("parses");
    let result = Evaluator::in_file(Scope::root(&globals)).eval(&parsed);
    let value = result.map_err(|fault| sink.error(fault)).ok();
    drop(globals);
    let found = sink.finish();
    value.filter(|_| found.is_empty()).ok_or(found)
}
