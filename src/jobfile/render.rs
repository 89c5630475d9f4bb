//! Diagnostics for people: the line, a marker under the place, and what to do.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use model::{Diagnostic, Severity};

/// Renders a finding. With the file's text the line is shown and the place marked.
pub fn render(diagnostic: &Diagnostic, text: Option<&str>, color: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let text = text.map(|text| text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut group = level
        .primary_title(&diagnostic.message)
        .id(&diagnostic.code)
        .elements(std::iter::empty::<annotate_snippets::Element<'_>>());
    match (diagnostic.span.filter(|_| diagnostic.line > 0), text.filter(|text| !text.is_empty())) {
        (Some((start, end)), Some(text)) => {
            let (start, end) = within(text, start, end);
            group = group.element(
                Snippet::source(text)
                    .path(&diagnostic.path)
                    .annotation(AnnotationKind::Primary.span(start..end)),
            );
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
    if !diagnostic.help.is_empty() {
        group = group.element(Level::HELP.message(&diagnostic.help));
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
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
