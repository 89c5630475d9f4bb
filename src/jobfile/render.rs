//! Diagnostics for people: the line, a marker under the place, what to do, and where more is said about it.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use model::{Diagnostic, Related, Severity};

/// A longer line is data, of which a screen shows a piece that says little.
const MAX_LINE: usize = 4_000;

/// Renders a finding. With the file's text the line is shown and the place marked, unless a secret may stand there.
pub fn render(diagnostic: &Diagnostic, text: Option<&str>, color: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let text = text
        .map(|text| text.strip_prefix('\u{feff}').unwrap_or(text))
        .filter(|text| !text.is_empty() && !must_not_show(diagnostic, text));
    let mut group = level
        .primary_title(&diagnostic.message)
        .id(&diagnostic.code)
        .elements(std::iter::empty::<annotate_snippets::Element<'_>>());
    let mut elsewhere: Vec<&Related> = diagnostic.related.iter().collect();
    match (diagnostic.span.filter(|_| diagnostic.line > 0), text) {
        (Some((start, end)), Some(text)) => {
            let shown = shown(diagnostic, text);
            let place = |start, end| {
                let (start, end) = within(text, start, end);
                start.saturating_sub(shown.start)..end.saturating_sub(shown.start)
            };
            let line = 1 + count_lines(text.get(..shown.start).unwrap_or_default());
            let mut snippet = Snippet::source(text.get(shown.clone()).unwrap_or_default())
                .line_start(line)
                .path(&diagnostic.path)
                .annotation(AnnotationKind::Primary.span(place(start, end)));
            elsewhere.retain(|related| {
                related.path != diagnostic.path || related.span.is_none() || related.line == 0
            });
            for related in &diagnostic.related {
                if let Some((start, end)) = related.span
                    && related.path == diagnostic.path
                    && related.line > 0
                {
                    let marker = AnnotationKind::Context.span(place(start, end));
                    snippet = snippet.annotation(marker.label(&related.message));
                }
            }
            group = group.element(snippet);
        }
        _ => {
            let mut origin = Origin::path(&diagnostic.path);
            if diagnostic.line > 0 {
                origin = origin.line(diagnostic.line as usize);
                if diagnostic.column > 0 {
                    origin = origin.char_column(diagnostic.column as usize);
                }
            }
            group = group.element(origin);
        }
    }
    for related in elsewhere {
        let place = format!("{}:{}: {}", related.path, related.line, related.message);
        group = group.element(Level::NOTE.message(place));
    }
    if !diagnostic.help.is_empty() {
        group = group.element(Level::HELP.message(&diagnostic.help));
    }
    if !diagnostic.code.is_empty() {
        let page = format!("docs/messages.md#{}", diagnostic.code);
        group = group.element(Level::NOTE.with_name("see").message(page));
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// The places that a finding has in the file.
fn places(diagnostic: &Diagnostic) -> impl Iterator<Item = (usize, usize)> {
    let related = diagnostic
        .related
        .iter()
        .filter(|related| related.path == diagnostic.path)
        .map(|related| related.span);
    std::iter::once(diagnostic.span).chain(related).flatten()
}

/// From the first line of a finding to its last, so that nothing else is looked at.
fn shown(diagnostic: &Diagnostic, text: &str) -> Range<usize> {
    let lines = places(diagnostic).map(|(start, end)| lines_around(text, start, end));
    lines.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..text.len())
}

fn lines_around(text: &str, start: usize, end: usize) -> Range<usize> {
    let (start, end) = within(text, start, end);
    let from = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let to = text.get(end..).and_then(|after| after.find('\n')).map_or(text.len(), |at| end + at);
    from..to
}

fn count_lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Whether a line would be shown that is too long or holds what may be a secret. Findings end up in logs and on pages of
/// pull requests.
fn must_not_show(diagnostic: &Diagnostic, text: &str) -> bool {
    places(diagnostic).any(|(start, end)| {
        let line = text.get(lines_around(text, start, end)).unwrap_or_default();
        line.len() > MAX_LINE || model::secret::holds_secret(line)
    })
}

/// The span as one that lies in this text, on one line and between characters: the text may be another than the one
/// that was parsed.
fn within(text: &str, start: usize, end: usize) -> (usize, usize) {
    let mut start = start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let line = text.get(start..end).and_then(|part| part.find('\n'));
    (start, line.map_or(end, |at| start + at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_may_hold_a_secret_is_not_shown() {
        let text = "env {\n  DB_PASSWORD = \"hunter2\"\n}\n";
        let diagnostic = Diagnostic {
            code: "plain-secret".into(),
            path: "a.hcl".into(),
            line: 2,
            column: 3,
            span: Some((8, 19)),
            message: "a secret".into(),
            ..Diagnostic::default()
        };
        let shown = render(&diagnostic, Some(text), false);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("a.hcl:2:3"), "{shown}");
    }

    #[test]
    fn a_line_of_data_is_not_shown() {
        let text = format!("a = 1\nb = \"{}\"\n", "x".repeat(MAX_LINE));
        let mut diagnostic = Diagnostic {
            path: "a.hcl".into(),
            line: 2,
            column: 1,
            span: Some((6, 7)),
            ..Diagnostic::default()
        };
        let shown = render(&diagnostic, Some(&text), false);
        assert!(shown.contains("a.hcl:2:1") && !shown.contains("xxx"), "{shown}");
        (diagnostic.line, diagnostic.span) = (1, Some((0, 1)));
        assert!(render(&diagnostic, Some(&text), false).contains("a = 1"));
    }

    #[test]
    fn the_other_place_is_marked_too() {
        let text = "a = 1\nb = 2\na = 3\n";
        let related = |path: &str| Related {
            path: path.into(),
            line: 1,
            column: 1,
            span: Some((0, 1)),
            message: "first here".into(),
        };
        let diagnostic = Diagnostic {
            path: "a.hcl".into(),
            line: 3,
            column: 1,
            span: Some((12, 13)),
            message: "twice".into(),
            related: vec![related("a.hcl"), related("b.hcl")],
            ..Diagnostic::default()
        };
        let shown = render(&diagnostic, Some(text), false);
        assert!(shown.contains("- first here"), "{shown}");
        assert!(shown.contains("b.hcl:1: first here"), "{shown}");
    }
}
