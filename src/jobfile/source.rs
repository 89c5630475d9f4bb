//! Is this a job file, and is it text at all? Questions that are answered before anything is parsed.

use std::ops::Range;

use crate::report::{Fault, Span};
use crate::scan::scan;

/// The longest job file.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// How many markers of unfinished merges are worth a line each.
const MAX_MARKERS: usize = 30;

/// The syntax of a file, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Hcl,
    Yaml,
}

impl Syntax {
    pub(crate) fn of(path: &str) -> Self {
        let name = file_name(path);
        if name.ends_with(".yaml") || name.ends_with(".yml") { Self::Yaml } else { Self::Hcl }
    }
}

/// Whether a file of this name can hold a job: `*.nomad`, `*.nomad.hcl`, `*.hcl`, `*.yaml` and `*.yml`; not
/// `*.vars.hcl`, and nothing hidden.
pub fn is_job_file_name(path: &str) -> bool {
    let name = file_name(path);
    let ends =
        [".nomad", ".nomad.json", ".hcl", ".yaml", ".yml"].iter().any(|end| name.ends_with(end));
    ends && !name.ends_with(".vars.hcl") && !name.starts_with('.')
}

/// Whether the content looks like a job, that is, has `job` at its top level. A file whose name says so (`*.nomad`,
/// `*.nomad.hcl`, `*.nomad.json`) always does: without a job it is a mistake. So does an HCL file that is too large or not text, so
/// that it is reported and not passed over.
pub fn holds_job(path: &str, bytes: &[u8]) -> bool {
    if name_says_job(path) {
        return true;
    }
    let syntax = Syntax::of(path);
    let Ok(text) = text_of(bytes) else {
        let is_empty = bytes.iter().all(u8::is_ascii_whitespace);
        let has_key = bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"job:"));
        return !is_empty && (syntax == Syntax::Hcl || has_key);
    };
    match syntax {
        Syntax::Hcl if text.trim_start().starts_with('{') => has_json_job(text),
        Syntax::Hcl => {
            let found = scan(text);
            let whole = found.unclosed.is_none()
                && found.open_string.is_none()
                && found.open_heredoc.is_none()
                && found.too_deep.is_none()
                && found.stray.is_none();
            found.job.is_some() || (!whole && lines_look_like_job(text))
        }
        Syntax::Yaml if text.trim_start().starts_with('{') => has_json_job(text),
        Syntax::Yaml => text.lines().any(is_yaml_job_line),
    }
}

/// Whether the name alone promises a job.
pub(crate) fn name_says_job(path: &str) -> bool {
    let name = file_name(path);
    [".nomad", ".nomad.hcl", ".nomad.json"].iter().any(|end| name.ends_with(end))
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn lines_look_like_job(text: &str) -> bool {
    text.lines().any(|line| {
        let rest = line.trim_start().strip_prefix("job").map(str::trim_start);
        rest.is_some_and(|rest| rest.starts_with('"'))
    })
}

fn is_yaml_job_line(line: &str) -> bool {
    let key = ["job", "\"job\"", "'job'"].iter().find_map(|key| line.strip_prefix(key));
    key.and_then(|rest| rest.trim_start().strip_prefix(':'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']))
}

fn has_json_job(text: &str) -> bool {
    // Nomad's API; others have an `ID`, too.
    if text.contains("\"TaskGroups\"") && is_api_json(text) {
        return true;
    }
    match crate::json::read(text) {
        Ok(node) => matches!(node.kind, crate::yaml::Kind::Map(items)
            if items.iter().any(|(key, _)| key.text == "job")),
        Err(_) => text.contains("\"job\""),
    }
}

/// Whether a text is a job as Nomad's API writes it, and not HCL's JSON form: an object with the key `Job` before an
/// object, or with `ID` or `TaskGroups`, at its top. In HCL's form no key at the top has a capital.
pub(crate) fn is_api_json(text: &str) -> bool {
    let Some(inside) = text.trim_start().strip_prefix('{') else { return false };
    let bytes = inside.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return false,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let start = at;
                while let Some(byte) = bytes.get(at).filter(|byte| **byte != b'"') {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
                let text = inside.get(start..at);
                at += 1;
                let behind = inside.get(at..).unwrap_or("").trim_start().strip_prefix(':');
                if let (0, Some(value)) = (depth, behind) {
                    let opens = value.trim_start().starts_with('{');
                    match text {
                        Some("ID" | "TaskGroups") => return true,
                        Some("Job") if opens => return true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    false
}

/// The text of a file, or why it has none. The span is that of the whole file where there is no better place.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, Fault> {
    let nowhere = Span::default();
    if bytes.len() > MAX_BYTES {
        let message =
            format!("the file has {} bytes, a job file may have {MAX_BYTES} (1 MiB)", bytes.len());
        return Err(Fault::new("file-too-large", nowhere, message)
            .help("large texts and data belong into files or artifacts of their own"));
    }
    let not_text = |what: &str| {
        Fault::new("not-text", nowhere, format!("the file is not text: {what}"))
            .help("job files are UTF-8")
    };
    if bytes.contains(&0) {
        return Err(not_text("it has a zero byte"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| not_text(&format!("byte {} is not UTF-8", error.valid_up_to())))?;
    // Windows editors put a mark in front that no grammar knows.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(Fault::new("empty-file", nowhere, "the file is empty")
            .help("delete it, or write a job into it: `herder init` makes an example"));
    }
    Ok(text)
}

/// The markers that an unfinished merge leaves behind. A line of `=` alone is no sign without the others.
pub(crate) fn conflict_markers(text: &str) -> Vec<Fault> {
    if !text.contains("<<<<<<<") && !text.contains(">>>>>>>") {
        return Vec::new();
    }
    let lines = || lines_with_places(text);
    let is = |line: &str, mark: &str| {
        line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let ours = lines().any(|(line, _)| is(line, "<<<<<<<"));
    let theirs = lines().any(|(line, _)| is(line, ">>>>>>>"));
    if !ours && !theirs {
        return Vec::new();
    }
    lines()
        .filter(|(line, _)| {
            ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|m| is(line, m))
        })
        .take(MAX_MARKERS)
        .map(|(line, place)| {
            let mark = line.get(..7).unwrap_or(line);
            let message = format!("a merge was not finished: this line starts with `{mark}`");
            Fault::new("conflict-marker", place.into(), message)
                .help("choose one side of the conflict and delete the markers")
        })
        .collect()
}

fn lines_with_places(text: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        let bare = line.trim_end_matches(['\n', '\r']);
        (bare, start..start + bare.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_job_files() {
        for name in ["a.nomad", "dir/a.nomad.hcl", "a.hcl", "a.yaml", "b/a.yml"] {
            assert!(is_job_file_name(name), "{name}");
        }
        for name in ["a.vars.hcl", ".hidden.hcl", "d/.a.yaml", "a.txt", "README.md", "a.hcl.bak"] {
            assert!(!is_job_file_name(name), "{name}");
        }
    }

    #[test]
    fn contents_of_job_files() {
        let holds = |path: &str, text: &str| holds_job(path, text.as_bytes());
        assert!(holds("a.hcl", "variable \"x\" {}\njob \"a\" {}"));
        assert!(holds("a.hcl", "<<<<<<< HEAD\njob \"a\" {\n=======\n"));
        assert!(holds("a.hcl", "{\"job\": {\"a\": {}}}"));
        assert!(!holds("a.hcl", "server { enabled = true }"));
        assert!(!holds("a.hcl", "x = <<E\njob \"a\" {}\nE\n"));
        assert!(holds("a.hcl", "{\"Job\": {\"ID\": \"a\", \"TaskGroups\": []}}"));
        assert!(!holds("a.hcl", "{\"ID\": \"a\", \"Name\": \"b\"}"));
        assert!(holds("a.nomad", "whatever"));
        assert!(holds("a.yaml", "# c\njob:\n  a: {}"));
        assert!(holds("a.yaml", "\"job\": {}"));
        assert!(!holds("a.yaml", "jobs: 1\nx:\n  job: 2\njob:x"));
        assert!(holds_job("a.hcl", &[0, 1, 2]));
        assert!(!holds_job("a.yaml", &[0, 1, 2]));
    }

    #[test]
    fn json_of_the_api_is_told_from_that_of_hcl() {
        for text in [
            "{\"Job\": {\"ID\": \"a\"}}",
            " \n{\"ID\": \"a\"}",
            "{\"Region\": \"x\", \"Meta\": {\"a\": [1, \"}\\\"\"]}, \"TaskGroups\" : null}",
            "{\"EnforceIndex\": false, \"Job\":\n{",
        ] {
            assert!(is_api_json(text), "{text}");
        }
        for text in [
            "{\"job\": {\"Job\": {\"ID\": 1}}}",
            "{\"//\": \"ID\", \"job\": [{\"ID\": {}}]}",
            "{\"Job\": \"ID\"}",
            "[{\"ID\": 1}]",
            "{}",
            "job {}",
            "{} \"ID\":",
            "{\"a\\\\\": \"ID\"}",
            "{\"",
        ] {
            assert!(!is_api_json(text), "{text}");
        }
    }

    #[test]
    fn only_text_of_a_fair_size() {
        let code = |bytes: &[u8]| text_of(bytes).expect_err("is refused").code;
        assert_eq!(code(b"a\0b"), "not-text");
        assert_eq!(code(&[0xff, 0xfe]), "not-text");
        assert_eq!(code(b" \n"), "empty-file");
        assert_eq!(code(&vec![b' '; MAX_BYTES + 1]), "file-too-large");
    }

    #[test]
    fn a_line_of_equals_is_no_conflict() {
        assert!(conflict_markers("Title\n=======\n").is_empty());
        let found = conflict_markers("a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> x\n");
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].span, Span::new(2, 14));
    }
}
