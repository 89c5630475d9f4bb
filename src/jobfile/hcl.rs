//! HCL to the tree.
//!
//! Two parsers share the work. Ours goes through the whole file by HCL's grammar ([`body`], [`expression`],
//! [`template`]): it knows what is an attribute and what a block, finds every mistake and goes on behind it. The values
//! are built by `hcl_edit`, which is given one text with all that ours has accepted, as the items of one list, and
//! with everything else blank: so every value keeps its place in the file, and none can spoil another. What is a
//! plain literal, as most values are, needs no parser ([`literal`]).

mod body;
mod cursor;
mod expression;
#[cfg(test)]
mod golden;
mod literal;
mod template;
#[cfg(test)]
mod tests;
mod unquoted;

use hcl_edit::expr::Expression;

use self::body::Place;
use self::cursor::{Accepted, Reader};
pub(crate) use self::cursor::{MAX_BLOCKS, too_many_blocks};
use crate::report::{Fault, Sink, Span};
use crate::tree::{Attribute, Block, Body, Expr};
use crate::yaml::Node;

/// How often the values are parsed again without one that `hcl_edit` does not accept although ours does.
const MAX_ROUNDS: usize = 10;

/// What a text comes to.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// What is intact of the file; nothing if a limit was met, so that nothing can be said of the rest.
    pub(crate) body: Option<Body<Expr>>,
    /// All that is wrong with the syntax.
    pub(crate) faults: Vec<Fault>,
    pub(crate) warnings: Vec<Fault>,
}

impl Parsed {
    /// Reports what was found, and returns what is intact.
    pub(crate) fn report(self, sink: &Sink<'_>) -> Option<Body<Expr>> {
        self.faults.into_iter().for_each(|fault| sink.error(fault));
        self.warnings.into_iter().for_each(|fault| sink.warning(fault));
        self.body
    }
}

/// Parses HCL, and goes on behind mistakes.
pub(crate) fn parse_all(text: &str) -> Parsed {
    let (mut reader, mut body) = read(text);
    let mut values = if reader.stopped { Vec::new() } else { values(&mut reader) };
    body.incomplete |= reader.unbalanced || reader.cut_short;
    let Reader { faults, warnings, stopped, .. } = reader;
    let body = (!stopped).then(|| convert(body, &mut values));
    Parsed { body, faults, warnings }
}

/// Parses HCL, reports what is wrong with it, and returns what is intact: nothing if a limit was met.
pub(crate) fn parse(text: &str, sink: &Sink<'_>) -> Option<Body<Expr>> {
    parse_all(text).report(sink)
}

/// A single expression, such as the value of `-var`. Spans are places in its text.
pub(crate) fn parse_expression(text: &str) -> Result<Expression, Fault> {
    let mut reader = Reader::new(text, false);
    reader.single_expression()?;
    reader.faults.into_iter().next().map_or(Ok(()), Err)?;
    hcl_edit::parser::parse_expr(text.trim()).map_err(|error| {
        let at = error.location().offset();
        Fault::new("syntax", Span::new(at, at), error.message())
    })
}

/// What is wrong with a template, such as a string of YAML or JSON. The span is a place in the text.
pub(crate) fn check_template(text: &str) -> Result<(), Fault> {
    let mut reader = Reader::new(text, false);
    reader.whole_template()?;
    reader.faults.into_iter().next().map_or(Ok(()), Err)
}

fn read(text: &str) -> (Reader<'_>, Body<Place>) {
    let mut plain = Reader::new(text, false);
    let body = plain.file();
    if !plain.unbalanced || plain.cut_short || plain.stopped {
        return (plain, body);
    }
    let mut guided = Reader::new(text, true);
    let other = guided.file();
    // A file without any indentation is not understood better by it.
    if guided.faults.len() <= plain.faults.len() { (guided, other) } else { (plain, body) }
}

/// The values of what was accepted, in its order. Nothing stands for one that is broken after all.
fn values(reader: &mut Reader<'_>) -> Vec<Option<Expression>> {
    let accepted = std::mem::take(&mut reader.accepted);
    let written = |item: &Accepted| reader.text.get(item.span.start..item.span.end);
    let mut values: Vec<_> =
        accepted.iter().map(|item| written(item).and_then(literal::literal)).collect();
    let others = accepted.into_iter().zip(&values).filter(|(_, value)| value.is_none());
    let others: Vec<Accepted> = others.map(|(item, _)| item).collect();
    if !others.is_empty() {
        let missing = values.iter_mut().filter(|value| value.is_none());
        missing.zip(parsed(reader, &others)).for_each(|(place, value)| *place = value);
    }
    values
}

/// The values of expressions that are no literals.
fn parsed(reader: &mut Reader<'_>, accepted: &[Accepted]) -> Vec<Option<Expression>> {
    let mut list = vec![b' '; reader.bytes.len() + 1];
    for item in accepted {
        copy(&mut list, item.span, reader.bytes);
    }
    for edit in &reader.edits {
        fill(&mut list, edit.span, edit.with);
    }
    for item in accepted {
        fill(&mut list, Span::new(item.span.end, item.span.end + 1), b',');
    }
    let end = accepted.last().map_or(0, |item| item.span.end);
    fill(&mut list, Span::new(end, end + 1), b']');
    list.truncate(end + 1);
    // A name stands before the first value, so that there is room.
    fill(&mut list, Span::new(0, 1), b'[');
    let mut broken = vec![false; accepted.len()];
    for _ in 0..MAX_ROUNDS {
        let Ok(text) = std::str::from_utf8(&list) else { break };
        let error = match hcl_edit::parser::parse_expr(text) {
            Ok(Expression::Array(items)) if items.len() == accepted.len() => {
                let keep = |(item, broken): (Expression, &bool)| (!broken).then_some(item);
                return items.into_iter().zip(&broken).map(keep).collect();
            }
            Ok(_) => break,
            Err(error) => error,
        };
        let at = error.location().offset();
        let behind = accepted.partition_point(|item| item.equals <= at);
        let Some(which) = behind.checked_sub(1) else { break };
        let Some(item) = accepted.get(which) else { break };
        if std::mem::replace(&mut broken[which], true) {
            break;
        }
        let at = at.clamp(item.span.start, item.span.end);
        reader.fault(Fault::new("syntax", Span::new(at, at), error.message()));
        fill(&mut list, item.span, b' ');
        fill(&mut list, Span::new(item.span.start, item.span.start + 1), b'0');
    }
    for item in accepted.iter().zip(&broken).filter(|(_, broken)| !**broken).map(|(item, _)| item) {
        reader.fault(Fault::new("syntax", item.span, "this value is not understood"));
    }
    vec![None; accepted.len()]
}

fn copy(list: &mut [u8], span: Span, from: &[u8]) {
    if let (Some(to), Some(from)) =
        (list.get_mut(span.start..span.end), from.get(span.start..span.end))
    {
        to.copy_from_slice(from);
    }
}

fn fill(list: &mut [u8], span: Span, with: u8) {
    if let Some(to) = list.get_mut(span.start..span.end) {
        to.fill(with);
    }
}

fn convert(body: Body<Place>, values: &mut [Option<Expression>]) -> Body<Expr> {
    let mut out = Body { incomplete: body.incomplete, ..Body::default() };
    for attribute in body.attributes {
        let found = attribute.value.and_then(|place| values.get_mut(place)).and_then(Option::take);
        out.attributes.push(Attribute {
            name: attribute.name,
            name_span: attribute.name_span,
            value_span: attribute.value_span,
            value: found.map_or_else(|| Expr::Yaml(Node::broken(attribute.value_span)), Expr::Hcl),
        });
    }
    for block in body.blocks {
        out.blocks.push(Block {
            kind: block.kind,
            kind_span: block.kind_span,
            labels: block.labels,
            body: convert(block.body, values),
        });
    }
    out
}
