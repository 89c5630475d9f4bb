//! Templates: those that stand in the job file are read, and those that are files of the repository become a part of
//! what the job is.

use std::fmt::Write as _;

use model::{BlobId, Template};
use sha1::{Digest as _, Sha1};

use crate::canonical::Canonical;
use crate::files::Files;
use crate::report::{Fault, Sink, Span};

/// Reads every template of a job. What is wrong with one is said at its place.
pub(crate) fn take_in(canonical: &mut Canonical, path: &str, files: &dyn Files, sink: &Sink<'_>) {
    let Canonical { job, places, .. } = canonical;
    for (at, group) in job.task_groups.iter_mut().enumerate() {
        for (n, task) in group.tasks.iter_mut().enumerate() {
            for (m, template) in task.templates.iter_mut().enumerate() {
                let block = format!("{}/template.{m}", places.task(at, n));
                // What somebody else found is not taken for granted.
                template.source_blob = BlobId::default();
                match template.repository_path(path) {
                    None if template.source.is_empty() => {
                        let span = places.at(&format!("{block}/data"));
                        inline(template, span, sink);
                    }
                    None => {}
                    Some(source) => {
                        let span = places.at(&format!("{block}/source"));
                        match source.and_then(|source| from_repository(template, &source, files)) {
                            Ok(blob) => template.source_blob = blob,
                            Err(message) => {
                                sink.error(Fault::new("invalid-template", span, message))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn inline(template: &Template, span: Span, sink: &Sink<'_>) {
    // A variable of Nomad's in it is filled in on no node: a template has its own way to ask.
    if let Err(error) =
        template::Template::parse(&template.data, &template.left_delim, &template.right_delim)
    {
        let message = format!("the template cannot be read: {}", error.message);
        let place = sink.text_at(span, |written| within(written, &template.data, &error));
        let span = match place {
            Some(offset) => Span::new(span.start + offset, span.start + offset + 1),
            None => span,
        };
        let help = format!("line {}, column {} of the template", error.line, error.column);
        if error.not_yet {
            let help = format!("{help}; the task does not start until it is");
            sink.warning(Fault::new("not-acted-on", span, message).help(help));
        } else {
            sink.error(Fault::new("invalid-template", span, message).help(help));
        }
    }
}

/// Where in a literal a place of its text is, if the literal says its text as it is.
fn within(written: &str, text: &str, error: &template::TemplateError) -> Option<usize> {
    let line = text.split('\n').nth(error.line - 1)?;
    if line.trim().is_empty() {
        return None;
    }
    // Of lines that are the same, the one that stands as far down as in the text.
    let same = text.split('\n').take(error.line - 1).filter(|other| other.contains(line)).count();
    let (start, _) = written.match_indices(line).nth(same)?;
    let column = line.char_indices().nth(error.column - 1).map_or(line.len(), |(at, _)| at);
    Some(start + column.min(line.len().saturating_sub(1)))
}

fn from_repository(template: &Template, path: &str, files: &dyn Files) -> Result<BlobId, String> {
    let bytes = files
        .read(path)
        .map_err(|why| format!("the template `{path}` cannot be read: {why}"))?
        .ok_or_else(|| format!("the repository has no file `{path}`"))?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| format!("the template `{path}` is no text"))?;
    match template::Template::parse(text, &template.left_delim, &template.right_delim) {
        // The task says so when it starts.
        Err(error) if error.not_yet => {}
        Err(error) => return Err(format!("the template `{path}` cannot be read: {error}")),
        Ok(_) => {}
    }
    Ok(blob_of(&bytes))
}

/// The name that Git gives to a file's content.
fn blob_of(bytes: &[u8]) -> BlobId {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    let mut name = String::with_capacity(40);
    for byte in hash.finalize() {
        let _ = write!(name, "{byte:02x}");
    }
    BlobId::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_named_as_git_does() {
        assert_eq!(blob_of(b"hello\n").as_str(), "ce013625030ba8dba906f756967f9e9ca394464a");
    }

    #[test]
    fn a_place_in_a_text_is_found_in_its_literal() {
        let error = |line, column| template::TemplateError {
            line,
            column,
            message: String::new(),
            not_yet: false,
        };
        let written = "<<EOF\n    a\n    {{ x }}\n  EOF";
        assert_eq!(within(written, "a\n{{ x }}\n", &error(2, 4)), written.find('x'));
        assert_eq!(within("\"a\\n{{ x }}\"", "a\n{{ x }}", &error(2, 4)), Some(7));
        assert_eq!(within("var.x", "{{ x }}", &error(1, 4)), None);
    }
}
