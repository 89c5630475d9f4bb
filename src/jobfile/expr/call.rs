//! Calls of functions. `try`, `can` and `convert` look at their arguments before these are values.

use hcl_edit::expr::FuncCall;

use super::cty::{Value, convert};
use super::evaluate::{Evaluation, Evaluator};
use super::functions::{self, Site};
use super::types::parse_type;
use crate::report::{Fault, Span};

impl Evaluator<'_> {
    pub(super) fn call(&self, call: &FuncCall, span: Span) -> Evaluation {
        let wrong = |message: &str| Fault::new("wrong-arguments", span, message);
        if !call.name.namespace.is_empty() {
            let message = "job files have no functions with `::` in their names";
            return Err(Fault::new("unknown-function", span, message));
        }
        let name = call.name.name.as_str();
        let mut given = call.args.iter();
        match name {
            "try" => {
                let mut last = wrong("try needs an argument");
                for argument in given {
                    match self.quietly().typed(argument) {
                        Ok(value) if !value.has_failed() => return Ok(value),
                        Ok(_) => last = Fault::reported(),
                        Err(fault) => last = fault,
                    }
                }
                return Err(last);
            }
            "can" => {
                let (Some(only), None) = (given.next(), given.next()) else {
                    return Err(wrong("can takes 1 argument"));
                };
                let value = self.quietly().typed(only);
                return Ok(Value::Bool(value.is_ok_and(|value| !value.has_failed())));
            }
            "convert" => {
                let (Some(value), Some(kind), None) = (given.next(), given.next(), given.next())
                else {
                    return Err(wrong("convert needs a value and a type"));
                };
                let kind = parse_type(kind).map_err(|m| Fault::new("wrong-type", span, m))?;
                let value = self.typed(value)?;
                self.budget().work(span, value.size())?;
                let value = convert(&value, &kind)
                    .map_err(|message| Fault::new("wrong-type", span, message))?;
                return self.made(value, span);
            }
            _ => {}
        }
        let mut arguments = self.all(given)?;
        if call.args.expand_final() {
            match arguments.pop().as_ref().map(|last| (last, last.elements())) {
                Some((_, Some(items))) => arguments.extend_from_slice(items),
                Some((Value::Failed, _)) => return Ok(Value::Failed),
                _ => {
                    let message =
                        format!("the last argument of {name} must be a list before `...`");
                    return Err(Fault::new("wrong-type", span, message));
                }
            }
        }
        let size = arguments.iter().map(Value::size).fold(0, usize::saturating_add);
        self.budget().work(span, size)?;
        let site = Site { globals: self.scope.globals, span };
        let result = functions::call(name, &arguments, site)?;
        self.made(result, span)
    }
}
