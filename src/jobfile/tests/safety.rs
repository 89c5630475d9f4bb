//! Nothing that a file holds may panic, run out of stack or take long.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use jobfile::{Inputs, Parsed, Source, holds_job, parse, render};
use proptest::prelude::*;

/// The stack of a thread that nobody has set up: the least that must do.
const STACK: usize = 2 << 20;
/// How much memory a file may take at once.
const MAX_PEAK: usize = 64 << 20;
/// How much memory a file may ask for in all: what a bounded number of steps asks for.
const MAX_TOTAL: usize = 256 << 20;

/// How large the files of these tests are. Unoptimised, the largest take minutes.
const SIZE: usize = if cfg!(debug_assertions) { 1 << 17 } else { 1 << 20 };

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
}

/// Counts what each thread asks for.
struct Counting;

#[expect(
    unsafe_code,
    reason = "the interface of allocators is unsafe; this one passes everything on"
)]
// SAFETY: every call goes to the system's allocator as it is, and counting in thread-locals that need no allocation
// themselves neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get().wrapping_add(layout.size());
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
        TOTAL.set(TOTAL.get().wrapping_add(layout.size()));
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn read(path: &str, text: &str) -> Parsed {
    let (path, text) = (path.to_owned(), text.to_owned());
    let thread = std::thread::Builder::new().stack_size(STACK);
    let run = thread.spawn(move || {
        LIVE.set(0);
        PEAK.set(0);
        TOTAL.set(0);
        holds_job(&path, text.as_bytes());
        let parsed = parse(Source { path: &path, bytes: text.as_bytes() }, &Inputs::default());
        let shape: String = text.chars().take(60).collect();
        assert!(PEAK.get() < MAX_PEAK, "{} bytes at once: {path} {shape:?}", PEAK.get());
        assert!(TOTAL.get() < MAX_TOTAL, "{} bytes in all: {path} {shape:?}", TOTAL.get());
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
fn what_multiplies_is_bounded() {
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
    ];
    for text in files {
        read("a.nomad", &text);
        read("a.yaml", &text);
    }
}

/// As much of something as fits.
fn fill(piece: &str) -> String {
    piece.repeat(SIZE / piece.len())
}

/// What a reader that goes on behind mistakes may do again and again.
#[test]
fn files_of_nothing_but_mistakes_are_bounded() {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        "(",
        "\"",
        "'",
        "<",
        "<<A\n",
        "${",
        "%{",
        "$${",
        "/*",
        "#\n",
        "\\",
        "\t",
        "\r",
        "a ",
        "a {\n",
        "a {} ",
        "a = '\n",
        "a = [\n",
        "a = \"\n",
        "a = \"${\n",
        "a = 1 ",
        "a = 1;",
        "a = <<E\nE,\n",
        "a = [<<E\n",
        "a = <<E\nE x\nE\n",
        "a \"${x}\" {\n}\n",
        "x y\n",
        "- a\n",
        "a: 1\n",
        "é",
        "\u{1f600}",
        "\u{202e}",
        "a = b ? c : d\n",
        "<<<<<<< a\n",
        ">>>>>>>\n",
        "&a ",
        "*a ",
        "? ",
        "!!a ",
        "---\n",
        "- - ",
        "{\"a\":",
        "[{\"",
        "{\"a\":1}",
        "a=1\na {}\n",
    ];
    for piece in pieces {
        let text = fill(piece);
        read("a.nomad", &text);
        read("a.yaml", &text);
        let inside = in_config(text.get(..text.floor_char_boundary(SIZE - 200)).unwrap_or(""));
        read("a.nomad", &inside);
    }
}

/// As many parts of each kind as a file may have.
#[test]
fn the_largest_files_that_are_taken_are_bounded() {
    let many = |n: usize, part: &dyn Fn(usize) -> String| (0..n).map(part).collect::<String>();
    let lists = [
        "1,",
        "x,",
        "var.x,",
        "upper(\"a\"),",
        "\"aaaaaaaaaaaaaaaaaaaa\",",
        "\"${1}b\",",
        "{a=1},",
        "[1],",
        "!true,",
        "true ? 1 : 2,",
        "[for a in [1] : a],",
        "x.*.a[0],",
        "<<E\nE\n,",
    ];
    for item in lists {
        for n in [2_000, 19_000] {
            read("a.nomad", &in_config(&format!("[{}]", item.repeat(n))));
        }
    }
    let texts = ["a", "\\n", "$", " ", "%", "$${", "ä"];
    for piece in texts {
        let body = piece.repeat((SIZE - 1_000) / piece.len());
        read("a.nomad", &in_config(&format!("\"{body}\"")));
        read("a.nomad", &in_config(&format!("\"{body}${{1}}\"")));
        read("a.nomad", &in_config(&format!("<<-E\n{body}\nE\n")));
    }
    for line in ["\n", "  x\n", "E x\n", "EE\n", "${1}\n"] {
        read(
            "a.nomad",
            &in_config(&format!("<<-E\n{}\nE\n", line.repeat((SIZE - 1_000) / line.len()))),
        );
    }
    let files = [
        many(9_000, &|n| format!("k{n} = 1\n")),
        format!("job \"a\" {{\n meta {{\n{}}}\n}}\n", many(9_000, &|n| format!("k{n} = \"v\"\n"))),
        format!(
            "job \"a\" {{\n{}}}\n",
            many(1_400, &|n| {
                format!("group \"g{n}\" {{\n task \"t\" {{\n driver = \"exec\"\n}}\n}}\n")
            })
        ),
        format!("job \"a\" {{\n{}}}\n", "constraint {\n attribute = \"x\"\n}\n".repeat(2_900)),
        format!(
            "locals {{\n{}}}\n{}",
            many(4_900, &|n| format!("l{n} = local.l{}\n", n + 1)),
            in_config("1")
        ),
        format!(
            "{}{}",
            many(2_900, &|n| format!("variable \"v{n}\" {{\n default = 1\n}}\n")),
            in_config("1")
        ),
        in_config(&format!("{{{}}}", many(2_700, &|n| format!("k{n} = 1,")))),
        in_config(&format!("[{}]", format!("1{},", "+1".repeat(119)).repeat(160))),
        in_config(&format!("x{}", ".a".repeat(19_000))),
        in_config(&format!("\"{}\"", "%{ if true }x%{ endif }".repeat(6_000))),
        in_config(&format!("[{}1 /*{}*/]", "-".repeat(30), "x".repeat(SIZE - 1_000))),
        in_config("1e999999999"),
        in_config(&"9".repeat(SIZE - 1_000)),
        format!("{{\"locals\":{{\"a\":[{}1]}}}}", "1,".repeat(19_000)),
        format!("{{\"locals\":{{{}\"z\":1}}}}", many(19_000, &|n| format!("\"k{n}\":1,"))),
        format!("{{\"job\":{{\"a\":{{\"group\":[{}{{}}]}}}}}}", "{\"g\":{}},".repeat(9_000)),
    ];
    for text in files {
        read("a.nomad", &text);
    }
    let yaml = [
        format!("locals:\n  a:\n{}", "  - 1\n".repeat(39_000)),
        format!("locals:\n  a:\n{}", "  - ${1}\n".repeat(39_000)),
        many(4_900, &|n| format!("k{n}: v\n")),
        many(4_900, &|n| format!("k{n}: &a{n} x\n")),
        format!("a: [{}]", "[],".repeat(39_000)),
        format!(
            "a: &a {{{}}}\n{}",
            many(400, &|n| format!("k{n}: 1,")),
            many(90, &|n| format!("b{n}: {{<<: *a}}\n"))
        ),
        "---\na: 1\n".repeat(12_000),
        format!("locals:\n  a: |\n{}", "    hello world\n".repeat(SIZE / 20)),
        format!("a: \"{}\"", "x\\n".repeat(SIZE / 4)),
        format!("a: 1{}", "0".repeat(SIZE - 1_000)),
    ];
    for text in yaml {
        read("a.yaml", &text);
    }
}

#[test]
fn aliases_do_not_multiply_without_bound() {
    for (width, levels) in [(2, 60), (10, 30), (1_000, 3), (10_000, 2)] {
        let lines = (1..levels).map(|n| {
            let list = vec![format!("*a{}", n - 1); width].join(", ");
            format!("a{n}: &a{n} [{list}]\n")
        });
        let bomb: String = std::iter::once("a0: &a0 [x, x]\n".to_owned()).chain(lines).collect();
        assert!(codes(&read("a.yaml", &bomb)).contains(&"too-large"), "{width} {levels}");
    }
    let merges: String =
        (1..40).map(|n| format!("a{n}: &a{n} {{<<: [*a{0}, *a{0}], k{n}: 1}}\n", n - 1)).collect();
    read("a.yaml", &format!("a0: &a0 {{k0: 1}}\n{merges}"));
    let text = "x".repeat(500_000);
    assert!(
        codes(&read("a.yaml", &format!("a: &a {text}\nb: [*a, *a, *a, *a, *a, *a, *a, *a]\n")))
            .contains(&"too-large")
    );
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
        for (kind, path) in [(jobfile::Example::Full, "a.nomad"), (jobfile::Example::ShortYaml, "a.yaml")] {
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
