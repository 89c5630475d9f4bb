//! Mistakes: what is said of them, and what is kept around them.

use super::parse_all;
use crate::tree::{Body, Expr};

/// The findings as `line: message`, and what is left of the file.
fn read(text: &str) -> (Vec<String>, String) {
    let parsed = parse_all(text);
    let mut found: Vec<_> =
        parsed.faults.iter().map(|fault| (fault.span, &fault.message)).collect();
    found.sort();
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    let found = found.into_iter().map(|(span, words)| format!("{}: {words}", line(span.start)));
    (found.collect(), parsed.body.map_or_else(|| "nothing".to_owned(), |body| left(&body)))
}

/// Names; `?` is a broken value, `…` is something lost.
fn left(body: &Body<Expr>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for attribute in &body.attributes {
        let broken = if matches!(attribute.value, Expr::Hcl(_)) { "" } else { "?" };
        parts.push(format!("{}{broken}", attribute.name));
    }
    for block in &body.blocks {
        parts.push(format!("{} {}{{{}}}", block.kind, block.label(), left(&block.body)));
    }
    if body.incomplete {
        parts.push("…".to_owned());
    }
    parts.join(" ")
}

#[track_caller]
fn check(text: &str, words: &[&str], kept: &str) {
    let (found, body) = read(text);
    assert_eq!(found, words, "{text}");
    assert_eq!(body, kept, "{text}");
}

#[test]
fn every_broken_value_is_reported_and_the_rest_kept() {
    let text = "a {\n x = 'one'\n y = 2\n z = [1, 2\n w = 4\n}\nb = 1 +\nc = \"open\nd = 2\n";
    check(
        text,
        &[
            "2: a value is needed here, this is `'`",
            "5: `,` or `]` is needed here, this is `w`",
            "7: a value is needed here, this is the end of the line",
            "8: this string is not closed",
        ],
        "b? c? d a {x? y z? w}",
    );
}

#[test]
fn what_is_clear_all_the_same_is_kept_whole() {
    check(
        "r { cpu = 100, memory = 64 }\n",
        &["1: a block on one line holds one attribute and nothing else"],
        "r {cpu memory}",
    );
    check(
        "a {\n type: \"service\"\n b = 1; c = 2\n}\n",
        &[
            "2: `=` is needed behind `type`, this is `:`",
            "3: the line should end here, this is `;`",
        ],
        "a {type b c}",
    );
    check(
        "group \"a\" { count = 1\n  b = 2\n}\nd = 4\n",
        &["1: a block on one line holds one attribute and nothing else"],
        "d group a{count b}",
    );
    check("a {\n b = 1 }\nc = 2\n", &["2: the line should end here, this is `}`"], "c a {b}");
}

#[test]
fn a_missing_bracket_is_found_by_the_indentation() {
    let text = "job \"a\" {\n  group \"g\" {\n    task \"t\" {\n      driver = \"x\"\n  }\n  group \"h\" {\n  }\n}\n";
    check(text, &["3: this `{` is never closed"], "job a{group g{task t{driver …}} group h{}} …");
    let text =
        "job \"a\" {\n  group \"g\" {\n    count = 1\n  group \"h\" {\n    count = 2\n  }\n}\n";
    check(text, &["2: this `{` is never closed"], "job a{group g{count …} group h{count}} …");
    let text = "job \"a\" {\n  group \"g\" {\n    count = 1\n    }\n  }\n}\n";
    check(text, &["4: this `}` closes nothing"], "job a{group g{count}} …");
    check("job \"a\" {\n}\n}\n", &["3: this `}` closes nothing"], "job a{} …");
    check("job \"a\" {\nx = 1\n", &["1: this `{` is never closed"], "job a{x …} …");
}

#[test]
fn a_broken_header_costs_its_block_only() {
    check(
        "a 'x' {\n b = ]\n}\nc = 1\n",
        &[
            "1: a label or `{` is needed here, this is `'`",
            "2: a value is needed here, this is `]`",
        ],
        "c …",
    );
    check(
        "a {\n b \"${x}\" {\n  c = 1\n }\n d {}\n}\n",
        &["2: a label is plain text, it cannot have `${…}` or `%{…}` in it"],
        "a {d {} …}",
    );
    check(
        "a \"x\"\n{\n b = 1\n}\n",
        &["1: the `{` of the block `a` is needed here, this is the end of the line"],
        "a x{b}",
    );
    check("- a\nb = 1\n", &["1: an attribute or a block is needed here, this is `-`"], "b …");
}

#[test]
fn a_text_without_quotes_is_told_once() {
    let of = |line: &str| {
        let parsed = parse_all(&format!("{line}\nlast = 1\n"));
        let names: Vec<String> =
            parsed.body.expect("is there").attributes.iter().map(|one| one.name.clone()).collect();
        assert_eq!(names, ["x", "last"], "{line}");
        assert_eq!(parsed.faults.len(), 1, "{line}: {:?}", parsed.faults);
        let fault = &parsed.faults[0];
        format!("{}; {}", fault.message, fault.help)
    };
    let missing = |text: &str| format!("quotes are missing around `{text}`; write x = \"{text}\"");
    let texts =
        ["10s", "1m30s", "/health", "nginx:1.29", "r.example.org/a/b:1", "./x", "*/5 * * * *"];
    for text in texts.into_iter().chain(["https://example.org/a?b=c&d"]) {
        assert_eq!(of(&format!("x = {text}")), missing(text));
        assert_eq!(of(&format!("x = {text} # why")), missing(text));
    }
    assert_eq!(
        of("x = 256MB"),
        "`256MB` is neither a number nor a text in quotes; sizes are numbers without a unit, nearly all megabytes: 256"
    );
    assert!(of("x = var.a b").starts_with("the end of the line is needed here"));
    assert!(of("x = “a”").ends_with("these come from a word processor or a web page"));
    // Where a line is long, each part of it is looked at once.
    let parsed = parse_all(&format!("x = [1 2{}]\n", "<<".repeat(400_000)));
    assert!(!parsed.faults.is_empty());
    for opening in ["<<'EOF'", "<<\"EOF\"", "<< EOF", "<<- 'EOF'"] {
        assert_eq!(
            of(&format!("x = {opening}\na = {{{{ b }}}}\nEOF")),
            "the word of a text block stands right behind `<<`, without quotes; write <<EOF"
        );
    }
}

#[test]
fn texts_that_never_end_do_not_spoil_what_stands_before() {
    check(
        "a {\n b = 1\n c = <<EOT\n x\n}\nd = 1\n",
        &["3: this text block never ends"],
        "a {b c? …} …",
    );
    check(
        "a {\n c = <<EOT\n x\n EOT,\n d = 1\n}\n",
        &["2: this text block never ends"],
        "a {c? d}",
    );
    check("a = 1\n/* b\n", &["2: this comment never ends"], "a …");
}

#[test]
fn a_key_that_comes_twice_counts_once() {
    let text = "a = {\n x = 1\n y = <<E\n z\nE\n x = 2\n \"y\" = 3\n}\nb = 1\n";
    let parsed = parse_all(text);
    assert!(parsed.faults.is_empty(), "{:?}", parsed.faults);
    assert_eq!(parsed.warnings.len(), 2);
    let body = parsed.body.expect("is whole");
    let Expr::Hcl(hcl_edit::expr::Expression::Object(object)) = &body.attributes[0].value else {
        panic!("is an object");
    };
    assert_eq!(object.len(), 2);
}
