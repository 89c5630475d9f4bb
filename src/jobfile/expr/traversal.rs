//! Names and the ways into values: `var.a.b[0]`, splats, and what is left to the node.

use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::{Decorated, Span as _};

use super::cty::{Type, Value, type_of};
use super::evaluate::{Evaluation, Evaluator};
use super::operators::{attribute, index, type_of_step};
use crate::report::{Fault, Span};

/// Slips of the pen, and what is meant.
const SLIPS: [(&str, &str); 9] = [
    ("vars", "var"),
    ("vra", "var"),
    ("vr", "var"),
    ("variable", "var"),
    ("variables", "var"),
    ("locals", "local"),
    ("loacl", "local"),
    ("lcoal", "local"),
    ("loca", "local"),
];

type Step = Decorated<TraversalOperator>;

/// The name that a step says, where it is written out.
fn named(step: &TraversalOperator) -> Option<&str> {
    match step {
        TraversalOperator::GetAttr(name) => Some(name.as_str()),
        TraversalOperator::Index(Expression::String(name)) => Some(name.value()),
        _ => None,
    }
}

/// Whether a step is written out, so that the node can follow it. A number with a sign is an expression.
fn is_written_out(step: &TraversalOperator) -> bool {
    match step {
        TraversalOperator::GetAttr(_) | TraversalOperator::LegacyIndex(_) => true,
        TraversalOperator::Index(Expression::String(_)) => true,
        TraversalOperator::Index(Expression::Number(n)) => {
            n.as_f64().is_some_and(|n| !n.is_sign_negative())
        }
        _ => false,
    }
}

impl<'a> Evaluator<'a> {
    pub(super) fn variable(&self, name: &str, span: Span) -> Evaluation {
        if let Some(value) = self.scope.lookup(name) {
            return Ok(value.clone());
        }
        self.scope.globals.whole(name, span).unwrap_or_else(|| {
            self.suspect(name, span);
            Ok(Value::text(format!("${{{name}}}")))
        })
    }

    /// What nobody knows here is for the node to fill in; but a name that is nearly ours is worth a word.
    fn suspect(&self, name: &str, span: Span) {
        if self.is_quiet() {
            return;
        }
        if let Some((_, meant)) = SLIPS.iter().find(|(slip, _)| *slip == name) {
            let message = format!("nothing is called `{name}`, so that the text stays as it is");
            let fault = Fault::new("unknown-reference", span, message);
            self.scope.globals.sink.warning(fault.help(format!("did you mean `{meant}`?")));
        }
    }

    pub(super) fn traversal(&self, traversal: &Traversal, span: Span) -> Evaluation {
        let steps = traversal.operators.as_slice();
        let is_number = |step: &Step| matches!(step.value(), TraversalOperator::LegacyIndex(_));
        if steps.windows(2).any(|two| two.iter().all(is_number)) {
            let message = "two numbers in a row are read as one with a fraction";
            return Err(Fault::new("syntax", span, message).help("write [0][1]"));
        }
        let Expression::Variable(root) = &traversal.expr else {
            return self.steps(self.typed(&traversal.expr)?, steps, span);
        };
        let root = root.as_str();
        if self.scope.lookup(root).is_some() {
            return self.steps(self.variable(root, span)?, steps, span);
        }
        let globals = self.scope.globals;
        let first = steps.split_first().and_then(|(step, rest)| Some((named(step.value())?, rest)));
        match (root, first) {
            ("var", Some((name, rest))) => self.steps(globals.variable(name, span)?, rest, span),
            ("local", Some((name, rest))) => self.steps(globals.local(name, span)?, rest, span),
            ("var" | "local", None) => self.steps(self.variable(root, span)?, steps, span),
            _ => {
                self.suspect(root, span);
                let known = steps.iter().take_while(|step| is_written_out(step.value())).count();
                let (own, rest) = steps.split_at(known);
                self.steps(Value::text(self.left_as_it_is(traversal, own, rest)), rest, span)
            }
        }
    }

    /// The text of a name that only the node knows, as far as it is written out.
    fn left_as_it_is(&self, traversal: &Traversal, own: &[Step], rest: &[Step]) -> String {
        let whole = traversal.span();
        let start = whole.as_ref().map_or(0, |span| span.start);
        let end = match (rest.is_empty(), own.last()) {
            (true, _) => whole.map(|span| span.end),
            (false, Some(last)) => last.span().map(|span| span.end),
            (false, None) => traversal.expr.span().map(|span| span.end),
        };
        let raw = self.raw(end.map(|end| start..end)).trim();
        // The span of an index ends before its bracket.
        let open = raw.matches('[').count() > raw.matches(']').count();
        format!("${{{raw}{}}}", if open { "]" } else { "" })
    }

    fn steps(&self, mut value: Value, mut steps: &[Step], span: Span) -> Evaluation {
        while let Some((step, rest)) = steps.split_first() {
            steps = rest;
            value = match step.value() {
                TraversalOperator::AttrSplat(_) => {
                    // Only names and numbers with a dot are for each element; brackets are for all of them.
                    let own = rest.iter().take_while(|step| {
                        let step = step.value();
                        matches!(
                            step,
                            TraversalOperator::GetAttr(_) | TraversalOperator::LegacyIndex(_)
                        )
                    });
                    let (own, rest) = rest.split_at(own.count());
                    if rest
                        .first()
                        .is_some_and(|step| matches!(step.value(), TraversalOperator::AttrSplat(_)))
                    {
                        let message = "a `.*` cannot stand in another, write `[*]`";
                        return Err(Fault::new("syntax", span, message));
                    }
                    steps = rest;
                    self.splat(&value, own, span)?
                }
                TraversalOperator::FullSplat(_) => return self.splat(&value, rest, span),
                step => self.step(&value, step, span)?,
            };
        }
        Ok(value)
    }

    /// The same steps from each element. What holds no elements is one, and null is none.
    fn splat(&self, value: &Value, steps: &[Step], span: Span) -> Evaluation {
        let items = match value {
            Value::Failed => return Ok(Value::Failed),
            Value::Null(of) => {
                return match **of {
                    Type::List(_) | Type::Set(_) | Type::Tuple(_) => {
                        let message = "a list that is null has no elements";
                        Err(Fault::new("wrong-type", span, message))
                    }
                    _ => Ok(Value::tuple(Vec::new())),
                };
            }
            value => value.elements().unwrap_or_else(|| std::slice::from_ref(value)),
        };
        let each = items.iter().map(|item| self.steps(item.clone(), steps, span));
        let each: Vec<Value> = each.collect::<Result<_, _>>()?;
        let made = match value {
            Value::List(from) | Value::Set(from) => {
                let of = match each.first() {
                    Some(first) => type_of(first),
                    None => {
                        let types = steps.iter().try_fold((*from.of).clone(), |kind, step| {
                            type_of_step(&kind, named(step.value()))
                        });
                        types.ok_or_else(|| {
                            let message =
                                "the elements of this empty list have nothing of the kind";
                            Fault::new("no-such-element", span, message)
                        })?
                    }
                };
                if each.iter().all(|item| type_of(item) == of) {
                    Value::list(of, each)
                } else {
                    Value::tuple(each)
                }
            }
            _ => Value::tuple(each),
        };
        self.made(made, span)
    }

    fn step(&self, value: &Value, step: &TraversalOperator, span: Span) -> Evaluation {
        match step {
            TraversalOperator::GetAttr(name) => attribute(value, name.as_str(), span),
            TraversalOperator::LegacyIndex(at) => {
                index(value, &Value::int(i64::try_from(*at.value()).unwrap_or(i64::MAX)), span)
            }
            TraversalOperator::Index(key) => index(value, &self.typed(key)?, span),
            TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                self.splat(value, &[], span)
            }
        }
    }
}
