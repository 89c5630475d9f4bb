//! Nothing that a file holds may panic, run out of stack or take long.

#![expect(clippy::disallowed_methods, reason = "how long a file takes is what is tested")]

use std::time::{Duration, Instant};

use jobfile::{Inputs, Parsed, Source, holds_job, parse, render};
use proptest::prelude::*;

/// The stack of a thread that nobody has set up: the least that must do.
const STACK: usize = 2 << 20;

fn read(path: &str, text: &str) -> Parsed {
    let (path, text) = (path.to_owned(), text.to_owned());
    let thread = std::thread::Builder::new().stack_size(STACK);
    let run = thread.spawn(move || {
        holds_job(&path, text.as_bytes());
        let parsed = parse(Source { path: &path, bytes: text.as_bytes() }, &Inputs::default());
        for found in &parsed.diagnostics {
            render(found, Some(&text), true);
        }
        parsed
    });
    run.expect("starts").join().expect("does not panic")
}

fn codes(parsed: &Parsed) -> Vec<&str> {
    parsed.diagnostics.iter().map(|found| found.code.as_str()).collect()
}

fn in_config(expression: &str) -> String {
    format!(
        "job \"a\" {{\n group \"g\" {{\n task \"t\" {{\n driver = \"exec\"\n config {{\n x = {expression}\n}}\n}}\n}}\n}}\n"
    )
}

#[test]
fn depth_is_bounded_on_a_small_stack() {
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("{a=", "}"),
        ("\"${", "}\""),
        ("upper(", ")"),
        ("!", ""),
        ("-", ""),
        ("true ? 1 : ", ""),
        ("[for a in [1] : ", "]"),
        ("x[", "]"),
        ("x.*.a[", "]"),
    ] {
        for depth in [10, 20, 30, 35, 38, 40, 50, 63, 64, 65, 100, 1000, 20_000] {
            let text = in_config(&format!("{}1{}", open.repeat(depth), close.repeat(depth)));
            let parsed = read("a.nomad", &text);
            if depth > 100 {
                assert!(parsed.has_errors(), "{open} {depth}");
            }
        }
    }
    for depth in [35, 64, 1000, 50_000] {
        read("a.nomad", &format!("{}{}", "a {\n".repeat(depth), "}\n".repeat(depth)));
        read(
            "a.nomad",
            &format!("a = <<E\n{}{}\nE\n", "%{ if x }".repeat(depth), "%{ endif }".repeat(depth)),
        );
        read("a.yaml", &format!("job: {}{}", "[".repeat(depth), "]".repeat(depth)));
        read("a.yaml", &format!("job: {}", "{a: ".repeat(depth)));
        let lines: String = (0..depth.min(1000)).map(|n| " ".repeat(n) + "a:\n").collect();
        read("a.yaml", &lines);
    }
    let text = in_config(&format!("1{}", " + 1".repeat(120)));
    assert_eq!(codes(&read("a.nomad", &text)), [""; 0]);
    let locals: String = (0..2000).map(|n| format!("  l{n} = local.l{}\n", n + 1)).collect();
    let text = format!("locals {{\n{locals}  l2000 = 1\n}}\n{}", in_config("1"));
    assert!(codes(&read("a.nomad", &text)).contains(&"too-deep"));
}

#[test]
fn what_is_too_deep_says_so() {
    let text = in_config(&format!("{}{}", "[".repeat(200), "]".repeat(200)));
    assert_eq!(codes(&read("a.nomad", &text)), ["too-deep"]);
    let text = format!("job: {}{}", "[".repeat(200), "]".repeat(200));
    assert_eq!(codes(&read("a.yaml", &text)), ["too-deep"]);
}

#[test]
fn time_is_bounded() {
    let wide = |n: usize| (0..n).map(|i| format!("k{i} = 1,")).collect::<String>();
    let doubling: String = (1..60)
        .map(|n| format!("l{n} = \"${{local.l{}}}${{local.l{}}}\"\n", n - 1, n - 1))
        .collect();
    let files = [
        in_config(&format!("{{{}}}", wide(100_000))),
        in_config(&format!("<<E\n${{{{{}}}}}\nE", wide(100_000))),
        (0..60_000).map(|n| format!("k{n} = 1\n")).collect(),
        format!("locals {{\nl0 = \"x\"\n{doubling}}}\n{}", in_config("local.l59")),
        in_config("[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : 1]]]"),
        in_config("setproduct(range(1000), range(1000))"),
        in_config(&format!("\"{}\"", "${\"".repeat(30))),
        "<".repeat(900_000),
        "\"".repeat(900_000),
        "<<A\n".repeat(200_000),
        "${".repeat(400_000),
        "a ".repeat(400_000),
        "/*".repeat(400_000),
        "\n".repeat(1_000_000),
    ];
    for (n, text) in files.iter().enumerate() {
        let start = Instant::now();
        read("a.nomad", text);
        read("a.yaml", text);
        println!("file {n}: {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(30), "file {n} takes {:?}", start.elapsed());
    }
}

#[test]
fn sizes_and_bytes_are_checked_first() {
    let code = |path: &str, bytes: &[u8]| {
        let parsed = parse(Source { path, bytes }, &Inputs::default());
        assert!(parsed.jobs.is_empty());
        parsed.diagnostics[0].code.clone()
    };
    assert_eq!(code("a.nomad", &vec![b'#'; (1 << 20) + 1]), "file-too-large");
    assert_eq!(code("a.yaml", b"job:\0"), "not-text");
    assert_eq!(code("a.yaml", &[0xc3, 0x28]), "not-text");
    assert_eq!(code("a.nomad", b""), "empty-file");
    assert_eq!(code("a.nomad", b"# nothing\n"), "no-job");
}

/// Pieces that files are made of, so that chance gets beyond the first character.
fn pieces() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "job \"a\" {\n",
        "group \"g\" {\n",
        "task \"t\" {\n",
        "}\n",
        "driver = \"exec\"\n",
        "config {\n",
        "network {\n",
        "port \"p\" {\n",
        "static = 80\n",
        "service {\n",
        "check {\n",
        "type = \"http\"\n",
        "count = ",
        "5\n",
        "\"30s\"\n",
        "interval = ",
        "${",
        "}",
        "\"",
        "<<EOF\n",
        "EOF\n",
        "var.x",
        "local.y",
        "[",
        "]",
        "(",
        ")",
        "upper(",
        ", ",
        " ? ",
        " : ",
        "for a in ",
        "variable \"x\" {\n",
        "default = ",
        "locals {\n",
        "y = ",
        "dynamic \"port\" {\n",
        "for_each = ",
        "content {\n",
        "%{ if true }",
        "%{ endif }",
        "$${",
        "ä",
        "\u{feff}",
        "\r\n",
        "<<<<<<< a\n",
        "meta = {\n",
        "null",
        "-",
        "1e999",
        "...",
        "*",
        ".",
        "\\u12",
        "job:\n",
        "  a:\n",
        "    group:\n",
        "      g: &x\n",
        "        <<: *x\n",
        "- ",
        "? ",
        "!!str ",
        "|\n",
        "{a: b}",
        "#",
        "/*",
        "\t",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}", pieces in pieces()) {
        for text in [text, pieces] {
            read("a.nomad", &text);
            read("a.yaml", &text);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for path in ["a.hcl", "a.yml"] {
            holds_job(path, &bytes);
            parse(Source { path, bytes: &bytes }, &Inputs::default());
        }
    }

    /// A file with one piece cut out or doubled is what people have while they edit.
    #[test]
    fn no_edit_panics(at in 0usize..4000, length in 0usize..40, doubled in any::<bool>()) {
        for (kind, path) in [(jobfile::Example::Full, "a.nomad"), (jobfile::Example::Yaml, "a.yaml")] {
            let text: Vec<char> = jobfile::example(kind).chars().collect();
            let at = at % text.len();
            let end = (at + length).min(text.len());
            let piece = if doubled { [&text[at..end], &text[at..end]].concat() } else { Vec::new() };
            let edited: String = [&text[..at], &piece[..], &text[end..]].concat().into_iter().collect();
            let parsed = read(path, &edited);
            prop_assert_eq!(parsed.jobs.len(), usize::from(!parsed.has_errors()));
        }
    }
}
