//! What names mean: `var.*`, `local.*`, and the names that `for` and `dynamic` bring in.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::expr::{Evaluator, Type, Value};
use crate::files::{Files, NoFiles};
use crate::report::{Fault, Sink, Span};
use crate::suggest::did_you_mean;
use crate::tree::Expr;

/// How deep evaluation may recurse. The parser lets expressions nest 64 deep; locals may add to that.
const MAX_DEPTH: u32 = 100;
/// How many steps the expressions of one file may take.
const MAX_STEPS: u32 = 500_000;
/// How many bytes the expressions of one file may make, in between and in the end.
const MAX_BYTES: usize = 16 << 20;

/// What the evaluation of one file may cost.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    depth: Cell<u32>,
    steps: Cell<u32>,
    bytes: Cell<usize>,
}

impl Budget {
    /// Runs one level deeper.
    pub(crate) fn deeper<T>(
        &self,
        span: Span,
        run: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS {
            return Err(Fault::new(
                "expression-too-large",
                span,
                format!("the expressions of this file take more than {MAX_STEPS} steps"),
            ));
        }
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
    settled: RefCell<BTreeMap<String, Option<Value>>>,
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
        }
    }

    /// Lets functions read the repository's files, from a folder of it.
    pub(crate) fn with_files(self, files: &'a dyn Files, folder: &str) -> Self {
        Self { files, folder: folder.to_owned(), ..self }
    }

    pub(crate) fn variable(&self, name: &str, span: Span) -> Result<Value, Fault> {
        self.variables.get(name).cloned().ok_or_else(|| {
            let known = self.variables.keys().map(String::as_str);
            Fault::new("unknown-variable", span, format!("there is no variable `{name}`")).help(
                did_you_mean(name, known)
                    .unwrap_or_else(|| format!("declare it: variable \"{name}\" {{}}")),
            )
        })
    }

    pub(crate) fn local(&self, name: &str, span: Span) -> Result<Value, Fault> {
        let settled = self.settled.borrow().get(name).cloned();
        match settled {
            Some(Some(value)) => return Ok(value),
            Some(None) => {
                let message = format!("the local `{name}` depends on itself");
                return Err(Fault::new("circular-local", span, message));
            }
            None => {}
        }
        let Some((expr, place)) = self.locals.get(name) else {
            let known = self.locals.keys().map(String::as_str);
            let fault = Fault::new("unknown-local", span, format!("there is no local `{name}`"));
            return Err(fault.help(
                did_you_mean(name, known)
                    .unwrap_or_else(|| format!("declare it: locals {{ {name} = … }}")),
            ));
        };
        self.settled.borrow_mut().insert(name.to_owned(), None);
        let value = Scope::root(self).value(expr, *place);
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

    fn all_locals(&self, span: Span) -> Result<Value, Fault> {
        let all = self.locals.keys().map(|name| Ok((name.clone(), self.local(name, span)?)));
        all.collect::<Result<_, _>>().map(Value::Object)
    }

    /// The whole `var` or `local` object.
    pub(crate) fn whole(&self, root: &str, span: Span) -> Option<Result<Value, Fault>> {
        match root {
            "var" => Some(Ok(Value::Object(self.variables.clone()))),
            "local" => Some(self.all_locals(span)),
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
    value: Value,
    below: Option<&'a Frame<'a>>,
}

impl<'a> Scope<'a> {
    pub(crate) fn root(globals: &'a Globals<'a>) -> Self {
        Self { globals, frame: None }
    }

    /// A frame to stand on, see [`Scope::on`].
    pub(crate) fn frame(&self, name: &'a str, value: Value) -> Frame<'a> {
        Frame { name, value, below: self.frame }
    }

    pub(crate) fn on<'b>(&self, frame: &'b Frame<'b>) -> Scope<'b>
    where
        'a: 'b,
    {
        Scope { globals: self.globals, frame: Some(frame) }
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<&Value> {
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
}
