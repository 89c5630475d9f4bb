//! Golden files made by HCL's own writer, and what must hold for every file.

use std::path::{Path, PathBuf};

use hcl_edit::expr::{Array, FuncArgs, Object};
use hcl_edit::structure::Body;
use hcl_edit::template::{
    ElseTemplateExpr, EndforTemplateExpr, EndifTemplateExpr, ForTemplateExpr, HeredocTemplate,
    IfTemplateExpr,
};
use hcl_edit::visit_mut::{self, VisitMut};
use proptest::prelude::*;

use super::tokens::{Bracket, Kind, tokens};
use super::{FormatError, format};
use crate::{Example, Inputs, Source, example, parse};

fn formatted(text: &str) -> String {
    format(Source { path: "a.hcl", bytes: text.as_bytes() })
        .unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

fn refused(path: &str, text: &str) -> FormatError {
    format(Source { path, bytes: text.as_bytes() }).expect_err("is refused")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[expect(clippy::disallowed_methods, reason = "the cases are files")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The HCL files beneath a folder; none where there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "hcl" || end == "nomad") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Files of all kinds: our own, and strangers' where they lie beside the workspace.
fn examples() -> Vec<(PathBuf, String)> {
    let folders = ["fixtures/jobs/ok", "fixtures/format/input", "../shared/corpus/nomad"];
    let found: Vec<_> = folders.iter().flat_map(|folder| files(&root().join(folder))).collect();
    let texts = found.into_iter().map(|path| (path.clone(), read(&path)));
    texts.filter(|(_, text)| !text.starts_with('{')).collect()
}

/// Takes out what equality of trees still sees of blanks and comments.
struct Bare;

macro_rules! bare {
    ($($visit:ident($node:ty): $($set:ident)+ $(=> $walk:path)?;)+) => {
        impl VisitMut for Bare {
            $(fn $visit(&mut self, node: &mut $node) {
                $(node.$set("");)+
                $($walk(self, node);)?
            })+
        }
    };
}

bare! {
    visit_array_mut(Array): set_trailing => visit_mut::visit_array_mut;
    visit_object_mut(Object): set_trailing => visit_mut::visit_object_mut;
    visit_func_args_mut(FuncArgs): set_trailing => visit_mut::visit_func_args_mut;
    visit_heredoc_template_mut(HeredocTemplate): set_trailing => visit_mut::visit_heredoc_template_mut;
    visit_if_template_expr_mut(IfTemplateExpr): set_preamble => visit_mut::visit_if_template_expr_mut;
    visit_else_template_expr_mut(ElseTemplateExpr): set_preamble set_trailing
        => visit_mut::visit_else_template_expr_mut;
    visit_for_template_expr_mut(ForTemplateExpr): set_preamble => visit_mut::visit_for_template_expr_mut;
    visit_endif_template_expr_mut(EndifTemplateExpr): set_preamble set_trailing;
    visit_endfor_template_expr_mut(EndforTemplateExpr): set_preamble set_trailing;
}

fn tree(text: &str) -> Body {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut body = hcl_edit::parser::parse_body(text).expect("parses");
    Bare.visit_body_mut(&mut body);
    body
}

#[test]
fn the_style_is_that_of_the_golden_files() {
    let cases = files(&root().join("fixtures/format/input"));
    assert!(cases.len() >= 60, "the golden files are missing");
    for case in cases {
        let name = case.file_name().expect("has a name");
        let expected = read(&root().join("fixtures/format/expected").join(name));
        assert_eq!(formatted(&read(&case)), expected, "{}", case.display());
    }
}

#[test]
fn formatting_keeps_the_meaning_and_is_done_after_once() {
    for (path, text) in examples() {
        let once = formatted(&text);
        let name = path.display();
        assert_eq!(formatted(&once), once, "{name} is not stable");
        assert_eq!(tree(&once), tree(&text), "{name} has another tree");
        let job = |text: &str| {
            parse(Source { path: "a.nomad", bytes: text.as_bytes() }, &Inputs::default())
        };
        let (before, after) = (job(&text), job(&once));
        assert_eq!(before.jobs, after.jobs, "{name} is another job");
        let words = |parsed: &crate::Parsed| {
            let mut all: Vec<_> =
                parsed.diagnostics.iter().map(|found| found.code.clone()).collect();
            all.sort();
            all
        };
        assert_eq!(words(&before), words(&after), "{name} has other findings");
    }
}

/// The text with other blanks: none may matter to the result.
fn with_other_blanks(text: &str, mut next: impl FnMut() -> usize) -> String {
    let mut written = String::new();
    let mut before = None;
    for token in tokens(text).expect("has tokens") {
        // Within a text they would be part of it, as on the line that ends a heredoc; so they are within references of
        // run time.
        let is_fixed = matches!(
            token.kind,
            Kind::Text
                | Kind::QuoteClose
                | Kind::HeredocClose
                | Kind::Dot
                | Kind::Open(Bracket::Template | Bracket::Square)
                | Kind::Close(Bracket::Square)
        ) || matches!(
            before,
            Some(Kind::HeredocClose | Kind::Dot | Kind::Open(Bracket::Square))
        );
        if !is_fixed {
            written.push_str(["  ", " ", "\t", "   \t"].get(next() % 4).expect("one of four"));
        }
        written.push_str(token.text);
        before = Some(token.kind);
    }
    written
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn blanks_between_tokens_do_not_matter(seed in any::<u64>()) {
        for (path, text) in examples() {
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let mut state = seed | 1;
            let other = with_other_blanks(text, || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                usize::try_from(state % 64).expect("is small")
            });
            prop_assert!(formatted(&other) == formatted(text), "{}", path.display());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-b01 \t\r\n\"${}%~<E\\-=\\[\\](),.#/*:?!é\\\\]{0,60}") {
        if let Ok(once) = format(Source { path: "a.hcl", bytes: text.as_bytes() }) {
            prop_assert_eq!(formatted(&once), once);
        }
    }
}

#[test]
fn what_herder_writes_is_in_its_own_style() {
    for which in [Example::Full, Example::Short] {
        assert_eq!(formatted(example(which)), example(which), "{which:?}");
    }
}

#[test]
fn what_is_no_hcl_is_refused() {
    assert_eq!(refused("a.yaml", "job:\n  a: {}\n"), FormatError::NotHcl("YAML"));
    assert_eq!(refused("a.nomad", " {\"job\": {}}"), FormatError::NotHcl("JSON"));
    for (text, code, line) in [
        ("a = \"b\n", "syntax", 1),
        ("a {\n", "syntax", 1),
        ("a = 1\na = 2\n", "duplicate-attribute", 2),
        ("<<<<<<< HEAD\na = 1\n=======\n>>>>>>> b\n", "conflict-marker", 1),
    ] {
        let FormatError::Invalid(found) = refused("a.hcl", text) else { panic!("{text}") };
        assert_eq!((found[0].code.as_str(), found[0].line), (code, line), "{text}");
    }
}

#[test]
fn an_empty_file_has_nothing_to_format() {
    assert_eq!(formatted(""), "");
    assert_eq!(formatted(" \n\t\n"), "\n\n");
}

#[test]
fn alignment_does_not_grow_without_bound() {
    let mut text = format!("/* {} */ a = 1\n", "x".repeat(100_000));
    text.extend((0..1_000).map(|n| format!("b{n} = 1\n")));
    let FormatError::Invalid(found) = refused("a.hcl", &text) else { panic!("is refused") };
    assert_eq!(found[0].code, "file-too-large");
}

#[test]
fn references_of_run_time_reach_the_task_as_written() {
    let job = |value: &str| {
        format!(
            "job \"a\" {{\n  group \"b\" {{\n    task \"c\" {{\n      driver = \"raw_exec\"\n      config {{\n        \
             command = {value}\n      }}\n    }}\n  }}\n}}\n"
        )
    };
    for (value, expected) in [
        ("\"${ NOMAD_TASK_DIR }/x\"", "\"${NOMAD_TASK_DIR}/x\""),
        ("\"${ env[ \"x\" ] }\"", "\"${env[ \"x\" ]}\""),
        ("attr . kernel .name", "attr . kernel .name"),
        ("\"${attr.kernel.name  }\"", "\"${attr.kernel.name}\""),
    ] {
        let (before, after) = (job(value), job(expected));
        assert_eq!(formatted(&before), after);
        let jobs = |text: &str| {
            parse(Source { path: "a.nomad", bytes: text.as_bytes() }, &Inputs::default()).jobs
        };
        assert!(!jobs(&before).is_empty(), "{value} is no valid job");
        assert_eq!(jobs(&before), jobs(&after), "{value}");
    }
}

#[test]
fn what_only_blanks_keep_apart_stays_apart() {
    let text = "b  =  a.0 .1\n";
    assert_eq!(formatted(text), text);
}
