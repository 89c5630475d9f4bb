//! Runs a template.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::data::{Data, Dependency, Settings};
use crate::error::{Stopped, TemplateError};
use crate::functions::{self, Context, Problem};
use crate::limits::{MAX_DEPTH, MAX_OUTPUT};
use crate::printf::printed;
use crate::scope::Scope;
use crate::tree::{At, Base, Branch, Command, Node, Operand, Pipe, Template};
use crate::value::Value;

/// What came of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The result. May hold secrets.
    pub text: String,
    /// Everything that it depends on.
    pub used: BTreeSet<Dependency>,
}

impl Template {
    /// Renders.
    ///
    /// # Errors
    /// When something is asked for that `data` does not have yet, that it does not have at all, or that cannot be done;
    /// and at the limits.
    pub fn render(&self, data: &dyn Data, settings: Settings) -> Result<Rendered, Stopped> {
        let mut run = Run {
            template: self,
            context: Context {
                data,
                now: settings.now,
                scratch: BTreeMap::new(),
                fuel: crate::limits::Fuel::default(),
                used: BTreeSet::new(),
            },
            strict: settings.error_on_missing_key,
            scope: Scope::new(Value::Nil),
            out: String::new(),
            depth: 0,
        };
        match run.nodes(&self.body, &Value::Nil) {
            Ok(_) => Ok(Rendered { text: run.out, used: run.context.used }),
            Err(Halt(at, Problem::Words(message))) => {
                Err(Stopped::Failed(TemplateError::at(&self.source, at, message)))
            }
            Err(Halt(_, Problem::Wants(dependency))) => Err(Stopped::Wants(dependency)),
        }
    }
}

/// Why it does not go on, and where.
struct Halt(At, Problem);

/// How a block ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    template: &'a Template,
    context: Context<'a>,
    strict: bool,
    scope: Scope<Value>,
    out: String,
    depth: usize,
}

fn halt(at: At) -> impl Fn(String) -> Halt {
    move |message| Halt(at, Problem::Words(message))
}

impl<'a> Run<'a> {
    fn nodes(&mut self, nodes: &'a [Node], dot: &Value) -> Result<Flow, Halt> {
        for node in nodes {
            match node {
                Node::Text(text) => self.write(0, text)?,
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.names.is_empty() {
                        match value {
                            Value::Text(text) => self.write(pipe.at, &text)?,
                            Value::Nil => self.write(pipe.at, "<no value>")?,
                            value => {
                                let text = printed(&value).map_err(halt(pipe.at))?;
                                self.write(pipe.at, &text)?;
                            }
                        }
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
                Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                    self.enter(branch.at)?;
                    let mark = self.scope.mark();
                    let flow = match node {
                        Node::Range(branch) => {
                            self.range(branch, dot)?;
                            Flow::On
                        }
                        _ => self.branch(branch, dot, matches!(node, Node::With(_)))?,
                    };
                    self.scope.leave(mark);
                    self.depth -= 1;
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
                Node::Call { at, name, with } => {
                    let dot = match with {
                        Some(pipe) => self.pipe(pipe, dot)?,
                        None => Value::Nil,
                    };
                    let Some(body) = self.template.named.get(name) else { continue };
                    self.enter(*at)?;
                    let scope = std::mem::replace(&mut self.scope, Scope::new(dot.clone()));
                    self.nodes(body, &dot)?;
                    self.scope = scope;
                    self.depth -= 1;
                }
            }
        }
        Ok(Flow::On)
    }

    fn enter(&mut self, at: At) -> Result<(), Halt> {
        self.depth += 1;
        self.context.fuel.spend(1).map_err(halt(at))?;
        if self.depth > MAX_DEPTH {
            let message = format!("blocks and templates are nested more than {MAX_DEPTH} deep");
            return Err(halt(at)(message));
        }
        Ok(())
    }

    fn write(&mut self, at: At, text: &str) -> Result<(), Halt> {
        if self.out.len() + text.len() > MAX_OUTPUT {
            let message = format!("the result would have more than {} MiB", MAX_OUTPUT >> 20);
            return Err(halt(at)(message));
        }
        self.context.fuel.spend(1).map_err(halt(at))?;
        self.out.push_str(text);
        Ok(())
    }

    fn branch(&mut self, branch: &'a Branch, dot: &Value, with: bool) -> Result<Flow, Halt> {
        let value = self.pipe(&branch.pipe, dot)?;
        if !value.is_true() {
            return self.nodes(&branch.otherwise, dot);
        }
        self.nodes(&branch.body, if with { &value } else { dot })
    }

    fn range(&mut self, branch: &'a Branch, dot: &Value) -> Result<(), Halt> {
        let value = self.operands(&branch.pipe, dot)?;
        let names = &branch.pipe.names;
        let mut ran = false;
        let items: Box<dyn Iterator<Item = (Value, Value)>> = match &value {
            Value::Nil => Box::new(std::iter::empty()),
            Value::List(items) => {
                Box::new((0_i64..).zip(items.iter()).map(|(n, item)| (Value::Int(n), item.clone())))
            }
            Value::Map(fields) => Box::new(
                fields.iter().map(|(key, item)| (Value::Text(Arc::clone(key)), item.clone())),
            ),
            Value::Int(count) => Box::new((0..*count).map(|n| (Value::Int(n), Value::Int(n)))),
            other => {
                let message =
                    format!("`range` goes through lists and maps, not through {}", other.kind());
                return Err(halt(branch.pipe.at)(message));
            }
        };
        for (key, item) in items {
            ran = true;
            self.context.fuel.spend(1).map_err(halt(branch.at))?;
            let mark = self.scope.mark();
            let set = match names.as_slice() {
                [one] => vec![(one, item.clone())],
                [first, second] => vec![(first, key), (second, item.clone())],
                _ => Vec::new(),
            };
            for (name, value) in set {
                self.set(name, value, branch.pipe.assigns);
            }
            let flow = self.nodes(&branch.body, &item)?;
            self.scope.leave(mark);
            if flow == Flow::Break {
                break;
            }
        }
        if !ran {
            self.nodes(&branch.otherwise, dot)?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: Value, assigns: bool) {
        match self.scope.get_mut(name).filter(|_| assigns) {
            Some(slot) => *slot = value,
            None => self.scope.declare(name, value),
        }
    }

    fn pipe(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value, Halt> {
        let value = self.operands(pipe, dot)?;
        if let [name] = pipe.names.as_slice() {
            self.set(name, value.clone(), pipe.assigns);
        }
        Ok(value)
    }

    fn operands(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value, Halt> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, value, dot)?);
        }
        Ok(value.unwrap_or_default())
    }

    fn command(
        &mut self,
        command: &'a Command,
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, Halt> {
        let first = &command.first;
        self.context.fuel.spend(1).map_err(halt(first.at))?;
        if let Base::Function(name) = &first.base
            && name != "scratch"
        {
            if matches!(name.as_str(), "and" | "or") && first.fields.is_empty() {
                return self.until(command, piped, dot, name == "or");
            }
            let arguments = self.arguments(command, piped, dot)?;
            let value = self.call(first.at, name, &arguments)?;
            return self.fields(first.at, value, &first.fields);
        }
        let mut value = self.base(first, dot)?;
        for (n, name) in first.fields.iter().enumerate() {
            if matches!(value, Value::Scratch) && n + 1 == first.fields.len() {
                let arguments = self.arguments(command, piped, dot)?;
                return functions::scratch(&mut self.context, name, &arguments)
                    .map_err(|problem| Halt(first.at, problem));
            }
            value = self.field(first.at, &value, name)?;
        }
        if piped.is_some() || !command.arguments.is_empty() {
            return Err(halt(first.at)("this is no function and takes no arguments".to_owned()));
        }
        Ok(value)
    }

    fn arguments(
        &mut self,
        command: &'a Command,
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Vec<Value>, Halt> {
        let mut values = Vec::with_capacity(command.arguments.len() + 1);
        for operand in &command.arguments {
            values.push(self.operand(operand, dot)?);
        }
        values.extend(piped);
        Ok(values)
    }

    /// `and` and `or` look at no more than they need.
    fn until(
        &mut self,
        command: &'a Command,
        piped: Option<Value>,
        dot: &Value,
        wanted: bool,
    ) -> Result<Value, Halt> {
        let mut last = None;
        for operand in &command.arguments {
            let value = self.operand(operand, dot)?;
            if value.is_true() == wanted {
                return Ok(value);
            }
            last = Some(value);
        }
        piped
            .or(last)
            .ok_or_else(|| halt(command.first.at)("`and` and `or` need arguments".to_owned()))
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value, Halt> {
        self.context.fuel.spend(1).map_err(halt(operand.at))?;
        let value = self.base(operand, dot)?;
        self.fields(operand.at, value, &operand.fields)
    }

    fn base(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value, Halt> {
        Ok(match &operand.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => self.scope.get(name).cloned().unwrap_or_default(),
            Base::Function(name) if name == "scratch" => Value::Scratch,
            Base::Function(name) => self.call(operand.at, name, &[])?,
            Base::Text(text) => Value::Text(Arc::clone(text)),
            Base::Int(number) => Value::Int(*number),
            Base::Float(number) => Value::Float(*number),
            Base::Bool(flag) => Value::Bool(*flag),
            Base::Nil => Value::Nil,
            Base::Pipe(pipe) => {
                self.enter(operand.at)?;
                let value = self.pipe(pipe, dot)?;
                self.depth -= 1;
                value
            }
        })
    }

    fn call(&mut self, at: At, name: &str, arguments: &[Value]) -> Result<Value, Halt> {
        functions::call(&mut self.context, name, arguments).map_err(|problem| Halt(at, problem))
    }

    fn fields(&mut self, at: At, mut value: Value, names: &[String]) -> Result<Value, Halt> {
        for name in names {
            if matches!(value, Value::Scratch) {
                value = functions::scratch(&mut self.context, name, &[])
                    .map_err(|problem| Halt(at, problem))?;
            } else {
                value = self.field(at, &value, name)?;
            }
        }
        Ok(value)
    }

    fn field(&self, at: At, value: &Value, name: &str) -> Result<Value, Halt> {
        match value {
            Value::Map(fields) => match fields.get(name) {
                Some(value) => Ok(value.clone()),
                None if self.strict => Err(halt(at)(format!("the map has no key `{name}`"))),
                None => Ok(Value::Nil),
            },
            Value::Nil if !self.strict => Ok(Value::Nil),
            other => Err(halt(at)(format!("there is no `{name}` in {}", other.kind()))),
        }
    }
}
