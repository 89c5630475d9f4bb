//! HCL to the tree.

use hcl_edit::Span as _;
use hcl_edit::structure::{Block as HclBlock, Body as HclBody, Structure};

use crate::report::{Fault, Span};
use crate::scan::{MAX_DEPTH, MAX_ITEMS, Scan};
use crate::tree::{Attribute, Block, Body, Expr, Label};

/// Parses HCL. `scan` is what a look at the text has found, for limits and for better words about syntax errors.
pub(crate) fn parse(text: &str, scan: &Scan) -> Result<Body<Expr>, Fault> {
    if let Some(at) = scan.too_deep {
        let message = format!("brackets nest more than {MAX_DEPTH} levels deep here");
        return Err(Fault::new("too-deep", Span::new(at, at + 1), message));
    }
    if let Some(at) = scan.too_wide {
        let message = format!("one pair of brackets holds more than {MAX_ITEMS} items here");
        return Err(Fault::new("too-large", Span::new(at, at + 1), message));
    }
    match hcl_edit::parser::parse_body(text) {
        Ok(body) => Ok(convert(body)),
        Err(error) => Err(syntax_fault(text, scan, &error)),
    }
}

fn convert(body: HclBody) -> Body<Expr> {
    let mut out = Body::default();
    for structure in body {
        match structure {
            Structure::Attribute(attribute) => {
                let value_span = place(attribute.value.span());
                let name_span = attribute.key.span().map_or(value_span, Span::from);
                out.attributes.push(Attribute {
                    name: attribute.key.as_str().to_owned(),
                    name_span,
                    value_span,
                    value: Expr::Hcl(attribute.value),
                });
            }
            Structure::Block(block) => out.blocks.push(convert_block(block)),
        }
    }
    out
}

fn convert_block(block: HclBlock) -> Block<Expr> {
    let labels = block
        .labels
        .iter()
        .map(|label| Label { text: label.as_str().to_owned(), span: place(label.span()) })
        .collect();
    Block {
        kind: block.ident.as_str().to_owned(),
        kind_span: place(block.ident.span()),
        labels,
        body: convert(block.body),
    }
}

fn place(span: Option<std::ops::Range<usize>>) -> Span {
    span.map_or_else(Span::default, Span::from)
}

/// The parser stops where it no longer understands; the mistake is often earlier, and the look at the text knows it.
fn syntax_fault(text: &str, scan: &Scan, error: &hcl_edit::parser::Error) -> Fault {
    let at = error.location().offset().min(text.len());
    let line_start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |n| n + 1);
    let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let ends_here = text.get(at..).is_none_or(|rest| rest.trim().is_empty());
    if let Some(opened) = scan.open_heredoc {
        return Fault::new("syntax", to_line_end(text, opened), "this text block never ends")
            .help("close it with its word on a line of its own");
    }
    if let Some(opened) = scan.open_string.filter(|opened| *opened <= line_start + line.len()) {
        return Fault::new("syntax", to_line_end(text, opened), "this string is not closed")
            .help("add a `\"`; text of several lines is written as <<EOF … EOF");
    }
    if let Some(opened) = scan.unclosed.filter(|_| ends_here) {
        let likely = scan.askew.unwrap_or(opened);
        let bracket = text.get(likely..=likely).unwrap_or("{");
        let message = match scan.askew {
            Some(_) => {
                format!("this `{bracket}` seems not to be closed, one is missing at the end")
            }
            None => format!("this `{bracket}` is never closed"),
        };
        return Fault::new("syntax", to_line_end(text, likely), message);
    }
    if let Some(stray) = scan.stray.filter(|stray| *stray == at) {
        let bracket = text.get(stray..=stray).unwrap_or("}");
        let message = format!("this `{bracket}` closes nothing");
        return Fault::new("syntax", Span::new(stray, stray + 1), message);
    }
    let mut message = error.message().to_owned();
    let mut help = String::new();
    if message.contains("nesting depth") || message.contains("chained binary") {
        return Fault::new("too-deep", Span::new(at, at), message);
    }
    let before = text.get(line_start..at).unwrap_or("");
    if message.contains("redefined attribute") {
        "this attribute is in this block twice".clone_into(&mut message);
        "keep one of them".clone_into(&mut help);
        let name = text.get(at..).unwrap_or("");
        let length = name.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
        let span = Span::new(at, at + length.unwrap_or(0));
        return Fault::new("duplicate-attribute", span, message).help(help);
    } else if message.contains("redefined object key") {
        "this key is here twice".clone_into(&mut message);
    } else if before.contains('{') && before.contains('=') && line.contains('}') {
        "a block on one line holds one attribute at most: give each a line of its own"
            .clone_into(&mut help);
    } else if line.trim_start().split_once([':', '=']).is_some_and(|(name, _)| {
        !name.is_empty() && line.trim_start().strip_prefix(name).is_some_and(|r| r.starts_with(':'))
    }) {
        "HCL writes `name = value`; with colons it would be YAML, in a file named .yaml"
            .clone_into(&mut help);
    } else if line.trim_start().starts_with('\'')
        || before.trim_end().ends_with('=') && line.contains('\'')
    {
        "strings stand in double quotes".clone_into(&mut help);
    }
    let end = (at + 1).min(text.len());
    let end = if text.is_char_boundary(end) { end } else { at };
    Fault::new("syntax", Span::new(at, end), message).help(help)
}

fn to_line_end(text: &str, at: usize) -> Span {
    let length = text.get(at..).and_then(|rest| rest.find('\n')).unwrap_or(text.len() - at);
    Span::new(at, at + length)
}
