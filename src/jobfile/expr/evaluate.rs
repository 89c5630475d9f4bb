//! Expressions to values.

use std::rc::Rc;

use hcl_edit::Span as _;
use hcl_edit::expr::{Conditional, Expression, Object, ObjectKey};

use super::cty::{self, Fields, Type, Value, normal, type_of, unify};
use super::scope::{Budget, Scope};
use super::{Value as Plain, operators, template};
use crate::report::{Fault, Span};

/// The code of what ends every evaluation of a file.
const TOO_MUCH: &str = "expression-too-large";

/// Result of evaluating an expression.
pub(super) type Evaluation = Result<Value, Fault>;

/// Evaluates expressions of one text in one scope.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'a> {
    pub(super) scope: Scope<'a>,
    /// The text that the expression's spans are places in.
    text: &'a str,
    /// Where that text lies: nothing for the file itself, else the place of the YAML scalar.
    within: Option<Span>,
    mistakes: Mistakes,
}

/// What becomes of mistakes.
#[derive(Clone, Copy, PartialEq)]
enum Mistakes {
    /// They are reported.
    Reported,
    /// They are none: inside `try` and `can`.
    Passed,
    /// What is wrong is of any type, and the rest counts: in the branch that is not taken.
    OfAnyType,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn in_file(scope: Scope<'a>) -> Self {
        Self { scope, text: scope.globals.text, within: None, mistakes: Mistakes::Reported }
    }

    /// For a template that stands in a YAML scalar.
    pub(crate) fn in_scalar(scope: Scope<'a>, text: &'a str, place: Span) -> Self {
        Self { scope, text, within: Some(place), mistakes: Mistakes::Reported }
    }

    pub(super) fn with_scope<'b>(&self, scope: Scope<'b>) -> Evaluator<'b>
    where
        'a: 'b,
    {
        Evaluator { scope, text: self.text, within: self.within, mistakes: self.mistakes }
    }

    pub(super) fn quietly(&self) -> Self {
        Self { mistakes: Mistakes::Passed, ..*self }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.mistakes != Mistakes::Reported
    }

    pub(super) fn place(&self, span: Option<std::ops::Range<usize>>) -> Span {
        match (self.within, span) {
            (Some(place), _) => place,
            (None, Some(range)) => range.into(),
            (None, None) => Span::default(),
        }
    }

    pub(super) fn raw(&self, span: Option<std::ops::Range<usize>>) -> &'a str {
        span.and_then(|range| self.text.get(range)).unwrap_or("")
    }

    pub(super) fn budget(&self) -> &'a Budget {
        &self.scope.globals.budget
    }

    /// Counts a value that has just been made.
    pub(super) fn made(&self, value: Value, span: Span) -> Evaluation {
        self.budget().charge(span, value.size())?;
        Ok(value)
    }

    /// The value of an expression, as plain data.
    pub(crate) fn eval(&self, expression: &Expression) -> Result<Plain, Fault> {
        match expression {
            // What most attributes are needs no way round.
            Expression::String(text) => {
                self.on_one_line(expression)?;
                self.budget().charge(self.place(expression.span()), text.len())?;
                Ok(Plain::String(normal(text.value()).into_owned()))
            }
            Expression::Bool(flag) => Ok(Plain::Bool(*flag.value())),
            _ => self.typed(expression).map(|value| cty::to_plain(&value)),
        }
    }

    /// The value of an expression.
    pub(super) fn typed(&self, expression: &Expression) -> Evaluation {
        let span = self.place(expression.span());
        self.budget().deeper(span, || self.here(expression, span))
    }

    fn here(&self, expression: &Expression, span: Span) -> Evaluation {
        match expression {
            Expression::Null(_) => Ok(Value::null()),
            Expression::Bool(flag) => Ok(Value::Bool(*flag.value())),
            Expression::Number(number) => {
                let raw = self.raw(expression.span()).trim();
                let known = operators::literal(raw).or_else(|| {
                    let n = number.value();
                    n.as_i64().map(cty::Number::Int).or_else(|| cty::Number::from_f64(n.as_f64()?))
                });
                known.map(Value::Number).ok_or_else(|| {
                    let message = "this number is too large or too small";
                    Fault::new("wrong-arguments", span, message)
                })
            }
            Expression::String(text) => {
                self.on_one_line(expression)?;
                self.made(Value::text(text.value()), span)
            }
            Expression::Array(items) => self.made(Value::tuple(self.all(items.iter())?), span),
            Expression::Object(object) => self.made(self.object(object)?, span),
            Expression::StringTemplate(parts) => template::quoted(self, parts, span),
            Expression::HeredocTemplate(heredoc) => template::heredoc(self, heredoc, span),
            Expression::Parenthesis(inner) => self.typed(inner.inner()),
            Expression::Variable(name) => self.variable(name, span),
            Expression::Conditional(choice) => self.conditional(choice, span),
            Expression::FuncCall(call) => self.call(call, span),
            Expression::Traversal(traversal) => self.traversal(traversal, span),
            Expression::UnaryOp(op) => {
                let value = self.typed(&op.expr)?;
                operators::unary(*op.operator.value(), &value, span)
            }
            Expression::BinaryOp(op) => operators::binary(self, op),
            Expression::ForExpr(each) => self.for_each(each, span),
        }
    }

    /// A string in quotes ends on its line; what parses it does not look.
    fn on_one_line(&self, expression: &Expression) -> Result<(), Fault> {
        let raw = self.raw(expression.span());
        if !raw.starts_with('"') || !raw.contains('\n') {
            return Ok(());
        }
        let message = "a string in quotes ends on its line";
        let help = "write \\n for a new line, or <<EOF … EOF for a text of several";
        Err(Fault::new("syntax", self.place(expression.span()), message).help(help))
    }

    /// All of these, or all that is wrong with them.
    pub(super) fn all<'e>(
        &self,
        items: impl Iterator<Item = &'e Expression>,
    ) -> Result<Vec<Value>, Fault> {
        let mut values = Vec::new();
        let mut failed = false;
        for item in items {
            match self.typed(item) {
                Ok(value) => values.push(value),
                Err(fault) if self.mistakes == Mistakes::Passed => return Err(fault),
                Err(fault) if fault.code == TOO_MUCH => return Err(fault),
                Err(_) if self.mistakes == Mistakes::OfAnyType => values.push(Value::Failed),
                Err(fault) => {
                    self.scope.globals.sink.error(fault);
                    failed = true;
                }
            }
        }
        if failed { Err(Fault::reported()) } else { Ok(values) }
    }

    /// A condition must be a bool.
    pub(super) fn condition(&self, expression: &Expression) -> Result<bool, Fault> {
        let value = self.typed(expression)?;
        if matches!(value, Value::Failed) {
            return Err(Fault::reported());
        }
        value.as_bool().ok_or_else(|| {
            let span = self.place(expression.span());
            let message = format!("a condition is true or false, this is {}", value.kind());
            Fault::new("wrong-type", span, message)
        })
    }

    /// Both results are of one type, whichever is taken; the other is only looked at for its type.
    fn conditional(&self, choice: &Conditional, span: Span) -> Evaluation {
        let condition = self.condition(&choice.cond_expr)?;
        let (taken, other) = if condition {
            (&choice.true_expr, &choice.false_expr)
        } else {
            (&choice.false_expr, &choice.true_expr)
        };
        let value = self.typed(taken)?;
        // A mistake in what is not taken is no mistake, and of no type.
        let shaping = Self { mistakes: Mistakes::OfAnyType, ..*self };
        let other = match shaping.typed(other) {
            Ok(other) => other,
            Err(fault) if fault.code == TOO_MUCH => return Err(fault),
            Err(_) => return Ok(value),
        };
        let same = matches!(
            (&value, &other),
            (Value::String(_), Value::String(_))
                | (Value::Number(_), Value::Number(_))
                | (Value::Bool(_), Value::Bool(_))
                | (_, Value::Failed)
                | (Value::Failed, _)
        );
        if same {
            return Ok(value);
        }
        self.budget().work(span, value.size().saturating_add(other.size()))?;
        let (kind, other_kind) = (type_of(&value), type_of(&other));
        let wanted = match (&value, &other) {
            (_, Value::Null(of)) if **of == Type::Any => return Ok(value),
            (Value::Null(of), _) if **of == Type::Any => Some(other_kind),
            _ => unify(&[kind, other_kind]),
        };
        let fitting = wanted.and_then(|wanted| cty::convert(&value, &wanted).ok());
        let fitting = fitting.ok_or_else(|| {
            let message = format!(
                "both results of `? :` must be of one type, these are {} and {}",
                value.kind(),
                other.kind()
            );
            Fault::new("wrong-type", span, message)
        })?;
        self.made(fitting, span)
    }

    fn object(&self, object: &Object) -> Evaluation {
        let values = self.all(object.iter().map(|(_, value)| value.expr()))?;
        let mut items = Fields::new();
        for ((key, _), value) in object.iter().zip(values) {
            let name = match key {
                ObjectKey::Ident(name) => normal(name.as_str()).as_ref().into(),
                ObjectKey::Expression(Expression::Null(_)) => "null".into(),
                ObjectKey::Expression(expression @ Expression::Traversal(_)) => {
                    let message = "a name with dots is no key";
                    let help = "write it in parentheses for its value, or in quotes for its text";
                    let span = self.place(expression.span());
                    return Err(Fault::new("syntax", span, message).help(help));
                }
                ObjectKey::Expression(expression) => self.key(expression)?,
            };
            items.insert(name, value);
        }
        Ok(Value::object(items))
    }

    pub(super) fn key(&self, expression: &Expression) -> Result<Rc<str>, Fault> {
        match self.typed(expression)? {
            Value::String(text) => Ok(text),
            Value::Failed => Err(Fault::reported()),
            value => value.as_text().map(|text| text.as_ref().into()).ok_or_else(|| {
                let message = format!("a key is text, this is {}", value.kind());
                Fault::new("wrong-type", self.place(expression.span()), message)
            }),
        }
    }
}
