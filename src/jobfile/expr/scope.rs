//! What names mean: `var.*`, `local.*`, and the names that `for` and `dynamic` bring in.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::expr::cty::{self, Fields};
use crate::expr::{Evaluator, Type, Value, loops};
use crate::files::{Files, NoFiles};
use crate::report::{Fault, Sink, Span};
use crate::suggest::did_you_mean;
use crate::tree::Expr;

/// How deep evaluation may recurse. The parser lets expressions nest 64 deep; locals may add to that.
const MAX_DEPTH: u32 = 100;
/// How many steps the expressions of one file may take.
const MAX_STEPS: u32 = 500_000;
/// How many bytes are gone through in the time of a step.
const BYTES_PER_STEP: usize = 32;
/// How many bytes the expressions of one file may make, in between and in the end.
const MAX_BYTES: usize = 16 << 20;

/// What the evaluation of one file may cost.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    depth: Cell<u32>,
    steps: Cell<u32>,
    bytes: Cell<usize>,
    chances: Cell<u32>,
}

impl Budget {
    /// Counts what going through so many bytes costs.
    pub(crate) fn work(&self, span: Span, bytes: usize) -> Result<(), Fault> {
        self.steps(span, u32::try_from(bytes / BYTES_PER_STEP).unwrap_or(u32::MAX))
    }

    /// Counts steps.
    pub(crate) fn steps(&self, span: Span, steps: u32) -> Result<(), Fault> {
        self.steps.set(self.steps.get().saturating_add(steps));
        if self.steps.get() > MAX_STEPS {
            return Err(Fault::new(
                "expression-too-large",
                span,
                format!("the expressions of this file take more than {MAX_STEPS} steps"),
            ));
        }
        Ok(())
    }

    /// A number that no other call in this file gets.
    pub(crate) fn chance(&self) -> u32 {
        self.chances.set(self.chances.get().wrapping_add(1));
        self.chances.get()
    }

    /// Runs one level deeper.
    pub(crate) fn deeper<T>(
        &self,
        span: Span,
        run: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.steps(span, 1)?;
        if self.depth.get() >= MAX_DEPTH {
            return Err(Fault::new(
                "too-deep",
                span,
                format!("expressions nest more than {MAX_DEPTH} levels deep here"),
            ));
        }
        self.depth.set(self.depth.get() + 1);
        let result = run();
        self.depth.set(self.depth.get() - 1);
        result
    }

    /// Counts what has been made.
    pub(crate) fn charge(&self, span: Span, bytes: usize) -> Result<(), Fault> {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
        if self.bytes.get() > MAX_BYTES {
            return Err(Fault::new(
                "expression-too-large",
                span,
                format!("the expressions of this file make more than {} MiB", MAX_BYTES >> 20),
            ));
        }
        Ok(())
    }
}

/// The names of the whole file.
pub(crate) struct Globals<'a> {
    /// The text that HCL spans are places in.
    pub(crate) text: &'a str,
    pub(crate) sink: &'a Sink<'a>,
    pub(crate) budget: Budget,
    pub(crate) variables: BTreeMap<String, Value>,
    /// The types of the variables that are declared with one: a value of a list's type is a list, one without is a tuple.
    pub(crate) types: BTreeMap<String, Type>,
    /// What functions such as `file` may read.
    pub(crate) files: &'a dyn Files,
    /// The folder of the job file, from the repository's root: what their paths are relative to.
    pub(crate) folder: String,
    /// Each local's expression and its place.
    pub(crate) locals: BTreeMap<String, (&'a Expr, Span)>,
    /// Locals are evaluated when they are first asked for, so that their order does not matter. Nothing stands for one
    /// that is being evaluated.
    settled: RefCell<BTreeMap<String, Option<cty::Value>>>,
    /// The locals whose values are being looked for, each for the one before it.
    settling: RefCell<Vec<String>>,
    /// The variables that have been asked for, with their types.
    typed: RefCell<BTreeMap<String, cty::Value>>,
}

impl<'a> Globals<'a> {
    pub(crate) fn new(text: &'a str, sink: &'a Sink<'a>) -> Self {
        Self {
            text,
            sink,
            budget: Budget::default(),
            variables: BTreeMap::new(),
            types: BTreeMap::new(),
            files: &NoFiles,
            folder: String::new(),
            locals: BTreeMap::new(),
            settled: RefCell::default(),
            settling: RefCell::default(),
            typed: RefCell::default(),
        }
    }

    /// Lets functions read the repository's files, from a folder of it.
    pub(crate) fn with_files(self, files: &'a dyn Files, folder: &str) -> Self {
        Self { files, folder: folder.to_owned(), ..self }
    }

    /// Gives a variable a value that has its type.
    #[cfg(test)]
    pub(super) fn give(&self, name: &str, value: cty::Value) {
        self.typed.borrow_mut().insert(name.to_owned(), value);
    }

    pub(super) fn variable(&self, name: &str, span: Span) -> Result<cty::Value, Fault> {
        if let Some(value) = self.typed.borrow().get(name) {
            return Ok(value.clone());
        }
        let plain = self.variables.get(name).ok_or_else(|| {
            let known = self.variables.keys().map(String::as_str);
            Fault::new("unknown-variable", span, format!("there is no variable `{name}`")).help(
                self.sink
                    .seek(|| did_you_mean(name, known))
                    .unwrap_or_else(|| format!("declare it: variable \"{name}\" {{}}")),
            )
        })?;
        let value = cty::from_plain(plain);
        // What does not fit has been reported where the variable got its value.
        let value = match self.types.get(name) {
            Some(kind) => cty::convert(&value, kind).unwrap_or(value),
            None => value,
        };
        self.typed.borrow_mut().insert(name.to_owned(), value.clone());
        Ok(value)
    }

    pub(super) fn local(&self, name: &str, span: Span) -> Result<cty::Value, Fault> {
        let settled = self.settled.borrow().get(name).cloned();
        match settled {
            Some(Some(value)) => return Ok(value),
            Some(None) => {
                let open = self.settling.borrow();
                let from = open.iter().position(|open| open == name).unwrap_or_default();
                let circle = open.get(from..).unwrap_or_default();
                let message = match circle {
                    [_, _, ..] => {
                        let circle = circle.join(" → ");
                        format!("these locals depend on each other: {circle} → {name}")
                    }
                    _ => format!("the local `{name}` depends on itself"),
                };
                let help = "give one of them a value of its own";
                return Err(Fault::new("circular-local", span, message).help(help));
            }
            None => {}
        }
        let Some((expr, place)) = self.locals.get(name) else {
            let known = self.locals.keys().map(String::as_str);
            let fault = Fault::new("unknown-local", span, format!("there is no local `{name}`"));
            return Err(fault.help(
                self.sink
                    .seek(|| did_you_mean(name, known))
                    .unwrap_or_else(|| format!("declare it: locals {{ {name} = … }}")),
            ));
        };
        self.settled.borrow_mut().insert(name.to_owned(), None);
        self.settling.borrow_mut().push(name.to_owned());
        let value = Scope::root(self).typed(expr, *place).unwrap_or_else(|fault| {
            self.sink.error(fault);
            cty::Value::Failed
        });
        self.settling.borrow_mut().pop();
        self.settled.borrow_mut().insert(name.to_owned(), Some(value.clone()));
        Ok(value)
    }

    /// Evaluates every local, so that a broken one is reported even when nothing uses it.
    pub(crate) fn settle_locals(&self) {
        for (name, (_, span)) in &self.locals {
            if let Err(fault) = self.local(name, *span) {
                self.sink.error(fault);
            }
        }
    }

    fn all<'n>(
        names: impl Iterator<Item = &'n String>,
        value: impl Fn(&str) -> Result<cty::Value, Fault>,
    ) -> Result<cty::Value, Fault> {
        let all = names.map(|name| Ok((name.as_str().into(), value(name)?)));
        all.collect::<Result<Fields, _>>().map(cty::Value::object)
    }

    fn names(&self) -> BTreeSet<String> {
        self.variables.keys().chain(self.typed.borrow().keys()).cloned().collect()
    }

    /// The whole `var` or `local` object.
    pub(super) fn whole(&self, root: &str, span: Span) -> Option<Result<cty::Value, Fault>> {
        match root {
            "var" => Some(Self::all(self.names().iter(), |name| self.variable(name, span))),
            "local" => Some(Self::all(self.locals.keys(), |name| self.local(name, span))),
            _ => None,
        }
    }
}

/// The names at one place: those of the file and those of the `for`s and `dynamic`s around it.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) globals: &'a Globals<'a>,
    frame: Option<&'a Frame<'a>>,
}

/// One name and its value, on top of others.
pub(crate) struct Frame<'a> {
    name: &'a str,
    value: cty::Value,
    below: Option<&'a Frame<'a>>,
}

impl<'a> Scope<'a> {
    pub(crate) fn root(globals: &'a Globals<'a>) -> Self {
        Self { globals, frame: None }
    }

    /// A frame to stand on, see [`Scope::on`].
    pub(crate) fn frame(&self, name: &'a str, value: Value) -> Frame<'a> {
        self.frame_of(name, cty::from_plain(&value))
    }

    /// As [`Scope::frame`], of a value that has its type.
    pub(super) fn frame_of(&self, name: &'a str, value: cty::Value) -> Frame<'a> {
        Frame { name, value, below: self.frame }
    }

    pub(crate) fn on<'b>(&self, frame: &'b Frame<'b>) -> Scope<'b>
    where
        'a: 'b,
    {
        Scope { globals: self.globals, frame: Some(frame) }
    }

    pub(super) fn lookup(&self, name: &str) -> Option<&'a cty::Value> {
        let mut frame = self.frame;
        while let Some(here) = frame {
            if here.name == name {
                return Some(&here.value);
            }
            frame = here.below;
        }
        None
    }

    /// Evaluates, reports what goes wrong and then yields [`Value::Failed`].
    pub(crate) fn value(&self, expr: &Expr, span: Span) -> Value {
        self.try_value(expr, span).unwrap_or_else(|fault| {
            self.globals.sink.error(fault);
            Value::Failed
        })
    }

    pub(crate) fn try_value(&self, expr: &Expr, span: Span) -> Result<Value, Fault> {
        match expr {
            Expr::Hcl(expression) => Evaluator::in_file(*self).eval(expression),
            Expr::Yaml(node) => self.globals.budget.deeper(span, || node.evaluate(self)),
        }
    }

    /// What a `dynamic` goes through, keys and values; reports what goes wrong and then yields nothing.
    pub(crate) fn each(&self, expr: &Expr, span: Span) -> Vec<(Value, Value)> {
        let items = self.typed(expr, span).and_then(|value| loops::each(&value, span));
        let items = items.unwrap_or_else(|fault| {
            self.globals.sink.error(fault);
            Vec::new()
        });
        items.iter().map(|(key, value)| (cty::to_plain(key), cty::to_plain(value))).collect()
    }

    fn typed(&self, expr: &Expr, span: Span) -> Result<cty::Value, Fault> {
        match expr {
            Expr::Hcl(expression) => Evaluator::in_file(*self).typed(expression),
            Expr::Yaml(_) => self.try_value(expr, span).map(|value| cty::from_plain(&value)),
        }
    }
}
