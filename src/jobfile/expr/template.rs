//! Texts with `${…}` and `%{…}` in them.

use std::borrow::Cow;

use hcl_edit::Span as _;
use hcl_edit::template::{Directive, Element, HeredocTemplate, Strip, Template};
use unicode_segmentation::UnicodeSegmentation as _;

use super::Value as Plain;
use super::cty::{self, Value};
use super::evaluate::{Evaluation, Evaluator};
use super::loops::each;
use crate::report::{Fault, Span};

/// The value of a quoted template. A lone `${…}` keeps its type.
pub(super) fn quoted(evaluator: &Evaluator<'_>, template: &Template, span: Span) -> Evaluation {
    if let Some(Element::Interpolation(only)) = template.as_single_element() {
        return evaluator.typed(&only.expr);
    }
    let pieces = |raw| split(raw, false).map(|piece| without_escapes(unescaped(piece))).collect();
    render(evaluator, template, &|raw| pieces(raw), false, span)
}

/// The value of a template that stands in a YAML scalar, which knows no escapes.
pub(crate) fn evaluate_template(
    evaluator: &Evaluator<'_>,
    template: &Template,
    span: Span,
) -> Result<Plain, Fault> {
    let value = match template.as_single_element() {
        Some(Element::Interpolation(only)) => evaluator.typed(&only.expr),
        _ => render(evaluator, template, &lines, false, span),
    };
    value.map(|value| cty::to_plain(&value))
}

/// The text of a heredoc. The indentation of `<<-` is taken off by the line with the least of it.
pub(super) fn heredoc(
    evaluator: &Evaluator<'_>,
    heredoc: &HeredocTemplate,
    span: Span,
) -> Evaluation {
    let flush = evaluator.raw(heredoc.span()).starts_with("<<-");
    render(evaluator, &heredoc.template, &lines, flush, span)
}

fn lines(raw: &str) -> Vec<Cow<'_, str>> {
    split(raw, true).map(unescaped).collect()
}

/// The pieces that literal text is read in, each of which `~` takes white space off alone: lines, where there are lines,
/// and each `$` and `%` that begins nothing. Such a sign takes the last letter of its line with it.
fn split(raw: &str, lines: bool) -> impl Iterator<Item = &str> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        let sign = rest.starts_with(['$', '%']);
        let mut letters = rest.chars();
        let length = if !sign {
            let end = rest.find(['$', '%', '\n']);
            match end.and_then(|end| Some((end, rest.as_bytes().get(end)?))) {
                Some((end, b'\n')) if lines => end + 1,
                Some((_, b'\n')) => rest.find(['$', '%']).unwrap_or(rest.len()),
                Some((end, _)) => end,
                None => rest.len(),
            }
        } else if rest.starts_with("$${") || rest.starts_with("%%{") {
            3
        } else {
            letters.next();
            match letters.next() {
                Some(letter) if lines && letter != '\n' && letters.next() == Some('\n') => {
                    1 + letter.len_utf8()
                }
                _ => 1,
            }
        };
        let (piece, after) = rest.split_at_checked(length)?;
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn unescaped(raw: &str) -> Cow<'_, str> {
    if raw.contains("$${") || raw.contains("%%{") {
        Cow::Owned(raw.replace("$${", "${").replace("%%{", "%{"))
    } else {
        Cow::Borrowed(raw)
    }
}

/// The text that a text with escapes stands for. Unknown ones stay.
fn without_escapes(literal: Cow<'_, str>) -> Cow<'_, str> {
    if !literal.contains('\\') {
        return literal;
    }
    let mut out = String::with_capacity(literal.len());
    let mut rest = literal.as_ref();
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = |digits: usize| {
            let n = u32::from_str_radix(after.get(1..=digits)?, 16).ok()?;
            Some((char::from_u32(n)?, digits + 1))
        };
        let found = match after.chars().next() {
            Some('n') => Some(('\n', 1)),
            Some('r') => Some(('\r', 1)),
            Some('t') => Some(('\t', 1)),
            Some(c @ ('"' | '\\')) => Some((c, 1)),
            Some('u') => code(4),
            Some('U') => code(8),
            _ => None,
        };
        let (c, length) = found.unwrap_or(('\\', 0));
        out.push(c);
        rest = after.get(length..).unwrap_or("");
    }
    Cow::Owned(out + rest)
}

/// How many literals a template has, those of its directives included.
fn literals(template: &Template) -> usize {
    let each = template.iter().map(|element| match element {
        Element::Literal(_) => 1,
        Element::Interpolation(_) => 0,
        Element::Directive(directive) => match directive.as_ref() {
            Directive::If(choice) => {
                let otherwise = choice.else_expr.as_ref();
                literals(&choice.if_expr.template)
                    + otherwise.map_or(0, |otherwise| literals(&otherwise.template))
            }
            Directive::For(run) => literals(&run.for_expr.template),
        },
    });
    each.sum()
}

/// A piece of literal text, or a mark: what `~` takes white space off is the one piece beside it. In a heredoc each line
/// is a piece.
enum Token<'t> {
    Text { literal: usize, text: Cow<'t, str> },
    Mark(Strip),
}

/// A template laid flat, to take white space off.
#[derive(Default)]
struct Tokens<'t> {
    all: Vec<Token<'t>>,
    literals: usize,
}

impl<'t> Tokens<'t> {
    fn gather(
        &mut self,
        template: &'t Template,
        evaluator: &Evaluator<'t>,
        pieces: &dyn Fn(&'t str) -> Vec<Cow<'t, str>>,
    ) {
        for element in template.iter() {
            match element {
                Element::Literal(literal) => {
                    for text in pieces(evaluator.raw(literal.span())) {
                        self.text(text);
                    }
                    self.literals += 1;
                }
                Element::Interpolation(part) => self.mark(part.strip),
                Element::Directive(directive) => match directive.as_ref() {
                    Directive::If(choice) => {
                        self.mark(choice.if_expr.strip);
                        self.gather(&choice.if_expr.template, evaluator, pieces);
                        if let Some(otherwise) = &choice.else_expr {
                            self.mark(otherwise.strip);
                            self.gather(&otherwise.template, evaluator, pieces);
                        }
                        self.mark(choice.endif_expr.strip);
                    }
                    Directive::For(run) => {
                        self.mark(run.for_expr.strip);
                        self.gather(&run.for_expr.template, evaluator, pieces);
                        self.mark(run.endfor_expr.strip);
                    }
                },
            }
        }
    }

    fn mark(&mut self, strip: Strip) {
        if strip.strip_start()
            && let Some(Token::Text { text, .. }) = self.all.last_mut()
        {
            let end = text.trim_end().len();
            match text {
                Cow::Borrowed(text) => *text = text.get(..end).unwrap_or(""),
                Cow::Owned(text) => text.truncate(end),
            }
        }
        self.all.push(Token::Mark(strip));
    }

    fn text(&mut self, mut text: Cow<'t, str>) {
        if let Some(Token::Mark(strip)) = self.all.last()
            && strip.strip_end()
        {
            text = without(text, |text| text.len() - text.trim_start().len());
        }
        self.all.push(Token::Text { literal: self.literals, text });
    }

    /// Takes off the indentation that all lines have. Lines of white space have none to look at; a line that begins with
    /// a mark has none at all.
    fn dedent(&mut self) {
        let mut least = usize::MAX;
        let mut starts = Vec::new();
        let mut at_line_start = true;
        for (at, token) in self.all.iter().enumerate() {
            let Token::Text { text, .. } = token else {
                if at_line_start {
                    least = 0;
                }
                at_line_start = false;
                continue;
            };
            if at_line_start {
                let rest = text.trim_start();
                if !(rest.is_empty() && text.ends_with('\n')) {
                    let space = text.get(..text.len() - rest.len()).unwrap_or("");
                    least = least.min(space.graphemes(true).count());
                    starts.push(at);
                }
            }
            at_line_start = text.ends_with('\n');
        }
        for at in starts {
            if let Some(Token::Text { text, .. }) = self.all.get_mut(at) {
                let cut = |text: &str| text.graphemes(true).take(least).map(str::len).sum();
                *text = without(std::mem::take(text), cut);
            }
        }
    }

    /// The texts of the literals, in their order.
    fn texts(self) -> Vec<Cow<'t, str>> {
        let mut out: Vec<Cow<'t, str>> = vec![Cow::Borrowed(""); self.literals];
        for token in self.all {
            if let Token::Text { literal, text } = token
                && let Some(out) = out.get_mut(literal)
            {
                if out.is_empty() {
                    *out = text;
                } else {
                    out.to_mut().push_str(&text);
                }
            }
        }
        out
    }
}

fn without(text: Cow<'_, str>, cut: impl Fn(&str) -> usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(cut(text)..).unwrap_or("")),
        Cow::Owned(mut text) => {
            let end = cut(&text);
            text.drain(..end);
            Cow::Owned(text)
        }
    }
}

/// The text of a template whose literals are read in pieces.
fn render<'t>(
    evaluator: &Evaluator<'t>,
    template: &'t Template,
    pieces: &dyn Fn(&'t str) -> Vec<Cow<'t, str>>,
    flush: bool,
    span: Span,
) -> Evaluation {
    let mut tokens = Tokens::default();
    tokens.gather(template, evaluator, pieces);
    if flush {
        tokens.dedent();
    }
    let texts = tokens.texts();
    let mut out = String::new();
    run(evaluator, template, &mut texts.iter(), span, &mut out)?;
    evaluator.made(Value::text(out), span)
}

/// The texts of the literals that are still to come.
type Texts<'a> = std::slice::Iter<'a, Cow<'a, str>>;

/// Goes past the literals of a part that is left out.
fn skip(template: &Template, texts: &mut Texts<'_>) {
    texts.by_ref().take(literals(template)).for_each(drop);
}

fn run(
    evaluator: &Evaluator<'_>,
    template: &Template,
    texts: &mut Texts<'_>,
    span: Span,
    out: &mut String,
) -> Result<(), Fault> {
    let before = out.len();
    for element in template.iter() {
        match element {
            Element::Literal(_) => out.push_str(texts.next().map_or("", |text| text)),
            Element::Interpolation(part) => {
                let value = evaluator.typed(&part.expr)?;
                if matches!(value, Value::Failed) {
                    return Err(Fault::reported());
                }
                let text = value.as_text().ok_or_else(|| {
                    let place = evaluator.place(part.expr.span());
                    let message = format!("only text fits into text, this is {}", value.kind());
                    Fault::new("wrong-type", place, message)
                        .help("turn it into text first, for example with join or jsonencode")
                })?;
                out.push_str(&text);
            }
            Element::Directive(directive) => match directive.as_ref() {
                Directive::If(choice) => {
                    let condition = evaluator.condition(&choice.if_expr.cond_expr)?;
                    if condition {
                        run(evaluator, &choice.if_expr.template, texts, span, out)?;
                    } else {
                        skip(&choice.if_expr.template, texts);
                    }
                    if let Some(otherwise) = &choice.else_expr {
                        if condition {
                            skip(&otherwise.template, texts);
                        } else {
                            run(evaluator, &otherwise.template, texts, span, out)?;
                        }
                    }
                }
                Directive::For(repeated) => {
                    let intro = &repeated.for_expr;
                    let place = evaluator.place(intro.collection_expr.span());
                    let collection = evaluator.typed(&intro.collection_expr)?;
                    let key_name = intro.key_var.as_ref().map_or("", |name| name.as_str());
                    for (key, value) in each(&collection, place)? {
                        let keys = evaluator.scope.frame_of(key_name, key);
                        let on_keys = evaluator.scope.on(&keys);
                        let values = on_keys.frame_of(intro.value_var.as_str(), value);
                        let inner = evaluator.with_scope(on_keys.on(&values));
                        run(&inner, &intro.template, &mut texts.clone(), span, out)?;
                    }
                    skip(&intro.template, texts);
                }
            },
        }
    }
    // Text that is still growing counts as well.
    evaluator.budget().charge(span, out.len() - before)
}
