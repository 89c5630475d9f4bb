//! Texts with `${…}` and `%{…}` in them.

use hcl_edit::Span as _;
use hcl_edit::template::{Directive, Element, HeredocTemplate, Strip, Template};

use super::Value;
use super::evaluate::{Evaluator, pairs};
use crate::report::{Fault, Span};

/// The value of a quoted template. A lone `${…}` keeps its type.
pub(super) fn evaluate(
    evaluator: &Evaluator<'_>,
    template: &Template,
    span: Span,
) -> Result<Value, Fault> {
    if let Some(Element::Interpolation(only)) = template.as_single_element() {
        return evaluator.eval(&only.expr);
    }
    let mut out = Text::default();
    render(evaluator, template, span, &mut out)?;
    Ok(Value::String(out.text))
}

/// The text of a template that stands in a YAML scalar.
pub(crate) fn evaluate_template(
    evaluator: &Evaluator<'_>,
    template: &Template,
    span: Span,
) -> Result<Value, Fault> {
    evaluate(evaluator, template, span)
}

/// The text of a heredoc. The indentation of `<<-` is taken off here, from the literals as they stand in the file, by
/// the line with the least of it.
pub(super) fn heredoc(
    evaluator: &Evaluator<'_>,
    heredoc: &HeredocTemplate,
    span: Span,
) -> Result<Value, Fault> {
    let mut out = Text::default();
    if evaluator.raw(heredoc.span()).starts_with("<<-") {
        let literals: Vec<Option<String>> = heredoc
            .template
            .iter()
            .map(|element| match element {
                Element::Literal(literal) => Some(unescape(evaluator.raw(literal.span()))),
                Element::Interpolation(_) | Element::Directive(_) => None,
            })
            .collect();
        let cut = least_indent(&literals);
        let mut at_line_start = true;
        for (element, literal) in heredoc.template.iter().zip(&literals) {
            match literal {
                Some(literal) => {
                    out.push(&dedent(literal, cut, at_line_start));
                    at_line_start = literal.ends_with('\n');
                }
                None => {
                    render_element(evaluator, element, span, &mut out)?;
                    at_line_start = false;
                }
            }
        }
    } else {
        render(evaluator, &heredoc.template, span, &mut out)?;
    }
    evaluator.budget().charge(span, out.text.len())?;
    Ok(Value::String(out.text))
}

fn unescape(raw: &str) -> String {
    raw.replace("$${", "${").replace("%%{", "%{")
}

fn least_indent(literals: &[Option<String>]) -> usize {
    let mut least = usize::MAX;
    let mut at_line_start = true;
    for literal in literals {
        let Some(literal) = literal else {
            if at_line_start {
                least = 0;
            }
            at_line_start = false;
            continue;
        };
        for (n, line) in literal.split_inclusive('\n').enumerate() {
            let ends = line.ends_with('\n');
            if (n > 0 || at_line_start) && !(ends && line.trim().is_empty()) {
                least = least.min(line.chars().take_while(|c| matches!(c, ' ' | '\t')).count());
            }
        }
        at_line_start = literal.ends_with('\n');
    }
    if least == usize::MAX { 0 } else { least }
}

fn dedent(literal: &str, cut: usize, at_line_start: bool) -> String {
    let mut out = String::with_capacity(literal.len());
    for (n, line) in literal.split_inclusive('\n').enumerate() {
        if n == 0 && !at_line_start {
            out.push_str(line);
            continue;
        }
        let spaces = line.bytes().take_while(|b| matches!(b, b' ' | b'\t')).count().min(cut);
        out.push_str(line.get(spaces..).unwrap_or(""));
    }
    out
}

/// Text that grows, and the `~` that takes white space off what comes next.
#[derive(Default)]
struct Text {
    text: String,
    strip_next: bool,
}

impl Text {
    fn push(&mut self, literal: &str) {
        if self.strip_next {
            let rest = literal.trim_start();
            self.text.push_str(rest);
            self.strip_next = rest.is_empty();
        } else {
            self.text.push_str(literal);
        }
    }

    fn before(&mut self, strip: Strip) {
        if strip.strip_start() {
            self.text.truncate(self.text.trim_end().len());
        }
        self.strip_next = false;
    }

    fn after(&mut self, strip: Strip) {
        self.strip_next = strip.strip_end();
    }
}

fn render(
    evaluator: &Evaluator<'_>,
    template: &Template,
    span: Span,
    out: &mut Text,
) -> Result<(), Fault> {
    for element in template.iter() {
        render_element(evaluator, element, span, out)?;
    }
    evaluator.budget().charge(span, out.text.len())
}

fn render_element(
    evaluator: &Evaluator<'_>,
    element: &Element,
    span: Span,
    out: &mut Text,
) -> Result<(), Fault> {
    match element {
        Element::Literal(literal) => out.push(literal.value()),
        Element::Interpolation(part) => {
            let value = evaluator.eval(&part.expr)?;
            if value.has_failed() {
                return Err(Fault::reported());
            }
            let text = value.as_text().ok_or_else(|| {
                let place = evaluator.place(part.expr.span());
                let message = format!("only text fits into text, this is {}", value.kind());
                Fault::new("wrong-type", place, message)
                    .help("turn it into text first, for example with join or jsonencode")
            })?;
            out.before(part.strip);
            out.text.push_str(&text);
            out.after(part.strip);
        }
        Element::Directive(directive) => match directive.as_ref() {
            Directive::If(choice) => {
                let condition = evaluator.condition(&choice.if_expr.cond_expr)?;
                out.before(choice.if_expr.strip);
                if condition {
                    out.after(choice.if_expr.strip);
                    render(evaluator, &choice.if_expr.template, span, out)?;
                    if let Some(otherwise) = &choice.else_expr {
                        out.before(otherwise.strip);
                    }
                } else if let Some(otherwise) = &choice.else_expr {
                    out.after(otherwise.strip);
                    render(evaluator, &otherwise.template, span, out)?;
                }
                out.before(choice.endif_expr.strip);
                out.after(choice.endif_expr.strip);
            }
            Directive::For(each) => {
                let intro = &each.for_expr;
                let collection = evaluator.eval(&intro.collection_expr)?;
                let key_name = intro.key_var.as_ref().map_or("", |name| name.as_str());
                out.before(intro.strip);
                for (key, value) in pairs(collection, span)? {
                    let keys = evaluator.scope.frame(key_name, key);
                    let on_keys = evaluator.scope.on(&keys);
                    let values = on_keys.frame(intro.value_var.as_str(), value);
                    let inner = evaluator.with_scope(on_keys.on(&values));
                    out.after(intro.strip);
                    render(&inner, &intro.template, span, out)?;
                    out.before(each.endfor_expr.strip);
                }
                out.after(each.endfor_expr.strip);
            }
        },
    }
    Ok(())
}
