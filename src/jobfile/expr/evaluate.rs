//! Expressions to values.

use std::collections::BTreeMap;

use hcl_edit::Span as _;
use hcl_edit::expr::{
    Expression, ForExpr, FuncCall, Object, ObjectKey, Traversal, TraversalOperator,
};

use super::convert::{convert, parse_type};
use super::scope::{Budget, Scope};
use super::{Number, Value, functions, operators, template};
use crate::report::{Fault, Span};

/// Result of evaluating an expression.
pub(crate) type Evaluation = Result<Value, Fault>;

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

/// Evaluates expressions of one text in one scope.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'a> {
    pub(crate) scope: Scope<'a>,
    /// The text that the expression's spans are places in.
    text: &'a str,
    /// Where that text lies: nothing for the file itself, else the place of the YAML scalar.
    within: Option<Span>,
    /// Inside `try` and `can`, where a mistake is no mistake.
    quiet: bool,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn in_file(scope: Scope<'a>) -> Self {
        Self { scope, text: scope.globals.text, within: None, quiet: false }
    }

    /// For a template that stands in a YAML scalar.
    pub(crate) fn in_scalar(scope: Scope<'a>, text: &'a str, place: Span) -> Self {
        Self { scope, text, within: Some(place), quiet: false }
    }

    pub(super) fn with_scope<'b>(&self, scope: Scope<'b>) -> Evaluator<'b>
    where
        'a: 'b,
    {
        Evaluator { scope, text: self.text, within: self.within, quiet: self.quiet }
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

    /// The value of an expression.
    pub(crate) fn eval(&self, expression: &Expression) -> Evaluation {
        let span = self.place(expression.span());
        self.budget().deeper(span, || self.eval_here(expression, span))
    }

    fn eval_here(&self, expression: &Expression, span: Span) -> Evaluation {
        match expression {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(flag) => Ok(Value::Bool(*flag.value())),
            Expression::Number(number) => {
                let n = number.value();
                let number =
                    n.as_i64().map(Number::Int).or_else(|| n.as_f64().and_then(Number::from_f64));
                Ok(number.map_or(Value::Null, Value::Number))
            }
            Expression::String(text) => {
                self.budget().charge(span, text.len())?;
                Ok(Value::String(text.value().clone()))
            }
            Expression::Array(items) => self.all(items.iter()).map(Value::List),
            Expression::Object(object) => self.object(object),
            Expression::StringTemplate(parts) => template::evaluate(self, parts, span),
            Expression::HeredocTemplate(heredoc) => template::heredoc(self, heredoc, span),
            Expression::Parenthesis(inner) => self.eval(inner.inner()),
            Expression::Variable(name) => self.variable(name, span),
            Expression::Conditional(choice) => {
                let condition = self.condition(&choice.cond_expr)?;
                self.eval(if condition { &choice.true_expr } else { &choice.false_expr })
            }
            Expression::FuncCall(call) => self.call(call, span),
            Expression::Traversal(traversal) => self.traversal(traversal, span),
            Expression::UnaryOp(op) => {
                let value = self.eval(&op.expr)?;
                operators::unary(*op.operator.value(), &value, span)
            }
            Expression::BinaryOp(op) => operators::binary(self, op),
            Expression::ForExpr(each) => self.for_each(each, span),
        }
    }

    /// All of these, or all that is wrong with them.
    fn all<'e>(&self, items: impl Iterator<Item = &'e Expression>) -> Result<Vec<Value>, Fault> {
        let mut values = Vec::new();
        let mut failed = false;
        for item in items {
            match self.eval(item) {
                Ok(value) => values.push(value),
                Err(fault) if self.quiet => return Err(fault),
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
        let value = self.eval(expression)?;
        if value == Value::Failed {
            return Err(Fault::reported());
        }
        value.as_bool().ok_or_else(|| {
            let span = self.place(expression.span());
            Fault::new(
                "wrong-type",
                span,
                format!("a condition is true or false, this is {}", value.kind()),
            )
        })
    }

    fn object(&self, object: &Object) -> Evaluation {
        let values = self.all(object.iter().map(|(_, value)| value.expr()))?;
        let mut items = BTreeMap::new();
        for ((key, _), value) in object.iter().zip(values) {
            let name = match key {
                ObjectKey::Ident(name) => name.as_str().to_owned(),
                ObjectKey::Expression(expression) => self.key(expression)?,
            };
            items.insert(name, value);
        }
        Ok(Value::Object(items))
    }

    fn key(&self, expression: &Expression) -> Result<String, Fault> {
        let value = self.eval(expression)?;
        if value == Value::Failed {
            return Err(Fault::reported());
        }
        value.as_text().map(|text| text.into_owned()).ok_or_else(|| {
            Fault::new(
                "wrong-type",
                self.place(expression.span()),
                format!("a key is text, this is {}", value.kind()),
            )
        })
    }

    fn variable(&self, name: &str, span: Span) -> Evaluation {
        if let Some(value) = self.scope.lookup(name) {
            let value = value.clone();
            self.budget().charge(span, value.size())?;
            return Ok(value);
        }
        self.scope
            .globals
            .whole(name, span)
            .unwrap_or_else(|| Ok(Value::String(format!("${{{name}}}"))))
    }

    /// What nobody knows here is for the node to fill in; but a name that is nearly ours is worth a word.
    fn suspect(&self, name: &str, span: Span) {
        if let Some((_, meant)) = SLIPS.iter().find(|(slip, _)| *slip == name) {
            let message = format!("nothing is called `{name}`, so that the text stays as it is");
            let fault = Fault::new("unknown-reference", span, message);
            self.scope.globals.sink.warning(fault.help(format!("did you mean `{meant}`?")));
        }
    }

    fn traversal(&self, traversal: &Traversal, span: Span) -> Evaluation {
        let mut operators = traversal.operators.as_slice();
        let mut value = match &traversal.expr {
            Expression::Variable(root) if self.scope.lookup(root).is_none() => {
                let name = root.as_str();
                let first = operators.split_first().and_then(|(operator, rest)| {
                    let named = match operator.value() {
                        TraversalOperator::GetAttr(name) => Some(name.as_str().to_owned()),
                        TraversalOperator::Index(Expression::String(name)) => {
                            Some(name.value().clone())
                        }
                        _ => None,
                    };
                    named.map(|named| (named, rest))
                });
                match (name, first) {
                    ("var", Some((named, rest))) => {
                        operators = rest;
                        self.scope.globals.variable(&named, span)?
                    }
                    ("local", Some((named, rest))) => {
                        operators = rest;
                        self.scope.globals.local(&named, span)?
                    }
                    ("var" | "local", None) => self.variable(name, span)?,
                    _ => {
                        self.suspect(name, span);
                        let raw = self.raw(traversal.span()).trim();
                        return Ok(Value::String(format!("${{{raw}}}")));
                    }
                }
            }
            other => self.eval(other)?,
        };
        self.budget().charge(span, value.size())?;
        while let Some((operator, rest)) = operators.split_first() {
            operators = rest;
            value = match operator.value() {
                TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                    let items = match value {
                        Value::List(items) => items,
                        Value::Null => Vec::new(),
                        Value::Object(items) => items.into_values().collect(),
                        Value::Failed => return Ok(Value::Failed),
                        single => vec![single],
                    };
                    let each = items
                        .into_iter()
                        .map(|item| {
                            rest.iter().try_fold(item, |v, op| self.step(v, op.value(), span))
                        })
                        .collect::<Result<_, _>>()?;
                    return Ok(Value::List(each));
                }
                step => self.step(value, step, span)?,
            };
        }
        Ok(value)
    }

    fn step(&self, value: Value, operator: &TraversalOperator, span: Span) -> Evaluation {
        let key = match operator {
            TraversalOperator::GetAttr(name) => Value::text(name.as_str()),
            TraversalOperator::LegacyIndex(index) => {
                Value::int(i64::try_from(*index.value()).unwrap_or(i64::MAX))
            }
            TraversalOperator::Index(expression) => self.eval(expression)?,
            TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                return Err(Fault::new("syntax", span, "a splat in a splat is not supported"));
            }
        };
        operators::index(value, &key, span)
    }

    fn for_each(&self, each: &ForExpr, span: Span) -> Evaluation {
        let collection = self.eval(&each.intro.collection_expr)?;
        let value_name = each.intro.value_var.as_str();
        let key_name = each.intro.key_var.as_ref().map_or("", |name| name.as_str());
        let mut list = Vec::new();
        let mut object: BTreeMap<String, Value> = BTreeMap::new();
        for (key, value) in pairs(collection, span)? {
            let keys = self.scope.frame(key_name, key);
            let on_keys = self.scope.on(&keys);
            let values = on_keys.frame(value_name, value);
            let inner = self.with_scope(on_keys.on(&values));
            if let Some(condition) = &each.cond
                && !inner.condition(&condition.expr)?
            {
                continue;
            }
            let result = inner.eval(&each.value_expr)?;
            match &each.key_expr {
                None => list.push(result),
                Some(key) => {
                    let name = inner.key(key)?;
                    if each.grouping {
                        let group = object.entry(name).or_insert_with(|| Value::List(Vec::new()));
                        if let Value::List(items) = group {
                            items.push(result);
                        }
                    } else if object.insert(name.clone(), result).is_some() {
                        return Err(Fault::new(
                            "duplicate-key",
                            span,
                            format!("this makes the key `{name}` twice"),
                        )
                        .help("add `...` after the value to gather them in lists"));
                    }
                }
            }
        }
        Ok(if each.key_expr.is_some() { Value::Object(object) } else { Value::List(list) })
    }

    fn call(&self, call: &FuncCall, span: Span) -> Evaluation {
        let name = call.name.name.as_str();
        let quietly = Self { quiet: true, ..*self };
        match name {
            "try" => {
                let mut last = Fault::new("wrong-arguments", span, "try needs an argument");
                for argument in call.args.iter() {
                    match quietly.eval(argument) {
                        Ok(value) => return Ok(value),
                        Err(fault) => last = fault,
                    }
                }
                return Err(last);
            }
            "can" => {
                let mut arguments = call.args.iter();
                let (Some(only), None) = (arguments.next(), arguments.next()) else {
                    let message = "can takes 1 argument";
                    return Err(Fault::new("wrong-arguments", span, message));
                };
                return Ok(Value::Bool(quietly.eval(only).is_ok()));
            }
            "convert" => {
                let mut arguments = call.args.iter();
                let (Some(value), Some(kind)) = (arguments.next(), arguments.next()) else {
                    let message = "convert needs a value and a type";
                    return Err(Fault::new("wrong-arguments", span, message));
                };
                let kind = parse_type(kind).map_err(|m| Fault::new("wrong-type", span, m))?;
                return convert(self.eval(value)?, &kind)
                    .map_err(|message| Fault::new("wrong-type", span, message));
            }
            _ => {}
        }
        let mut arguments = self.all(call.args.iter())?;
        if call.args.expand_final() {
            match arguments.pop() {
                Some(Value::List(items)) => arguments.extend(items),
                _ => {
                    let message =
                        format!("the last argument of {name} must be a list before `...`");
                    return Err(Fault::new("wrong-type", span, message));
                }
            }
        }
        let result = functions::call(name, &arguments)
            .map_err(|fault| Fault::new(fault.code, span, fault.message).help(fault.help))?;
        self.budget().charge(span, result.size())?;
        Ok(result)
    }
}

/// Keys and values of what a `for` or `dynamic` goes through.
pub(crate) fn pairs(collection: Value, span: Span) -> Result<Vec<(Value, Value)>, Fault> {
    match collection {
        Value::List(items) => Ok(items
            .into_iter()
            .enumerate()
            .map(|(at, value)| (Value::int(i64::try_from(at).unwrap_or(i64::MAX)), value))
            .collect()),
        Value::Object(items) => {
            Ok(items.into_iter().map(|(key, value)| (Value::String(key), value)).collect())
        }
        Value::Failed => Ok(Vec::new()),
        other => Err(Fault::new(
            "wrong-type",
            span,
            format!("only lists and maps can be gone through, this is {}", other.kind()),
        )),
    }
}
