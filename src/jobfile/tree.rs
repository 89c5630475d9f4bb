//! The one shape of a job file, whatever its syntax: bodies of attributes and blocks, each with its place.

use hcl_edit::expr::Expression;

use crate::expr::Value;
use crate::report::Span;
use crate::yaml::Node;

/// What an attribute's value is before it is evaluated.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    /// An HCL expression; its spans are places in the file.
    Hcl(Expression),
    /// A YAML node, whose texts may be templates.
    Yaml(Node),
}

/// Attributes and blocks. `E` is [`Expr`] as parsed and [`Value`] once evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Body<E> {
    pub(crate) attributes: Vec<Attribute<E>>,
    pub(crate) blocks: Vec<Block<E>>,
    /// Whether something in it could not be read, and has been reported: what seems to be missing may have stood there.
    pub(crate) incomplete: bool,
}

impl<E> Default for Body<E> {
    fn default() -> Self {
        Self { attributes: Vec::new(), blocks: Vec::new(), incomplete: false }
    }
}

impl<E> Body<E> {
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute<E>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn blocks<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block<E>> + 'a {
        self.blocks.iter().filter(move |block| block.kind == kind)
    }
}

/// `name = value`.
#[derive(Clone, Debug)]
pub(crate) struct Attribute<E> {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) value: E,
    pub(crate) value_span: Span,
}

/// `kind "label" { body }`.
#[derive(Clone, Debug)]
pub(crate) struct Block<E> {
    pub(crate) kind: String,
    pub(crate) kind_span: Span,
    pub(crate) labels: Vec<Label>,
    pub(crate) body: Body<E>,
}

impl<E> Block<E> {
    /// Kind and labels: what a finding about the whole block points at.
    pub(crate) fn header_span(&self) -> Span {
        let end = self.labels.last().map_or(self.kind_span.end, |label| label.span.end);
        if end < self.kind_span.start {
            self.kind_span
        } else {
            Span::new(self.kind_span.start, end)
        }
    }

    /// The first label, or nothing.
    pub(crate) fn label(&self) -> &str {
        self.labels.first().map_or("", |label| &label.text)
    }
}

/// A block's label.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// A body whose expressions are values.
pub(crate) type Evaluated = Body<Value>;
