//! No template runs for ever, fills the memory or overflows the stack.

#![expect(clippy::disallowed_methods, reason = "the tests take the time, the room does not")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use template::{Data, Dependency, Found, MAX_OUTPUT, Nothing, Settings, Stopped, Template, Value};

/// Renders on a stack as small as those of the threads that a node renders on.
fn render(text: String) -> Result<String, String> {
    let run = move || {
        let template = Template::parse(&text, "", "").map_err(|error| error.to_string())?;
        match template.render(&Nothing, Settings::default()) {
            Ok(rendered) => Ok(rendered.text),
            Err(Stopped::Failed(error)) => Err(error.to_string()),
            Err(Stopped::Wants(dependency)) => Err(format!("wants {dependency:?}")),
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("a thread");
    thread.join().expect("no panic")
}

#[test]
fn bombs_are_errors() {
    let doubling = |start: &str, double: &str| {
        format!(
            "{{{{ $x := {start} }}}}{{{{ range loop 100 }}}}{{{{ $x = {double} }}}}{{{{ end }}}}{{{{ len $x }}}}"
        )
    };
    let many = |one: &str, count: usize| one.repeat(count);
    let bombs = [
        ("a template that calls itself", r#"{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}"#.to_owned()),
        ("one that calls itself twice", r#"{{ define "a" }}{{ template "b" }}{{ template "b" }}{{ end }}{{ define "b" }}{{ template "a" }}{{ template "a" }}{{ end }}{{ template "a" }}"#.to_owned()),
        ("loops in loops", "{{ range loop 10000 }}{{ range loop 10000 }}{{ range loop 10000 }}{{ end }}{{ end }}{{ end }}".to_owned()),
        ("an endless number", "{{ range 9223372036854775807 }}{{ end }}".to_owned()),
        ("a long list", "{{ loop 99999999999 }}".to_owned()),
        ("much output", "{{ range loop 100000 }}0123456789012345678901234567890123456789012345678901234567890123456789{{ end }}".to_owned()),
        ("doubled text", doubling("\"ab\"", "print $x $x")),
        ("doubled by a format", doubling("\"ab\"", "printf \"%s%s\" $x $x")),
        ("doubled by replacing", doubling("\"aa\"", "replaceAll \"a\" \"aa\" $x")),
        ("doubled by a pattern", doubling("\"aa\"", "regexReplaceAll \"a\" \"aa\" $x")),
        ("doubled by joining", doubling("\"aa\"", "join $x (split \"\" $x)")),
        ("doubled by quoting", doubling("\"\\\\\"", "sprig_quote $x")),
        ("doubled list", doubling("sprig_list 1", "sprig_list $x $x") ),
        ("a deep list", doubling("sprig_list 1", "sprig_list $x")),
        ("wide formats", format!("{{{{ printf {:?} {} }}}}", many("%10000d", 1000), many("1 ", 1000))),
        ("a width beyond all", "{{ printf \"%99999999999999999999d\" 1 }}".to_owned()),
        ("wide indents", doubling("\"a\\n\"", "indent 1000 (print $x $x)")),
        ("notes of notes", "{{ range loop 100 }}{{ scratch.MapSet \"a\" \"x\" (scratch.Get \"a\") }}{{ scratch.MapSet \"a\" \"y\" (scratch.Get \"a\") }}{{ end }}".to_owned()),
        ("deep blocks", many("{{ if true }}", 10_000)),
        ("many else ifs", format!("{{{{ if true }}}}{}{{{{ end }}}}", many("{{ else if true }}", 10_000))),
        ("parentheses", format!("{{{{ {}1{} }}}}", many("(", 100_000), many(")", 100_000))),
        ("a large template", many("x", (1 << 20) + 1)),
        ("YAML that names itself", format!("{{{{ parseYAML {:?} }}}}", {
            let mut yaml = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
            for n in 1..20 {
                let before = n - 1;
                let line = format!("a{n}: &a{n} [*a{before},*a{before},*a{before},*a{before},*a{before},*a{before},*a{before},*a{before}]\n");
                yaml.push_str(&line);
            }
            yaml
        })),
        ("deep JSON", format!("{{{{ parseJSON {:?} }}}}", format!("{}{}", many("[", 10_000), many("]", 10_000)))),
        ("a dear pattern", "{{ $x := \"a\" }}{{ range loop 14 }}{{ $x = print $x $x }}{{ end }}{{ range loop 100000 }}{{ regexMatch \"(a?){20}b\" $x }}{{ end }}".to_owned()),
        ("many variables", format!("{}{{{{ range loop 100000 }}}}{{{{ end }}}}", many("{{ $x := 1 }}", 10_000))),
    ];
    for (what, bomb) in bombs {
        let began = Instant::now();
        let result = render(bomb);
        assert!(result.is_err(), "{what} gave {} bytes", result.map_or(0, |text| text.len()));
        assert!(began.elapsed() < Duration::from_secs(60), "{what} took {:?}", began.elapsed());
    }
}

#[test]
fn what_is_long_and_honest_is_rendered() {
    let text = format!(
        "{}{{{{ range loop 10000 }}}}line {{{{ . }}}} of {{{{ env \"X\" }}}}\n{{{{ end }}}}",
        "x".repeat(1 << 19)
    );
    assert!(render(text).expect("renders").len() > 1 << 19);
    let actions = "{{ $x := 1 }}{{ $x }}".to_owned() + &"{{ add 1 2 }}\n".repeat(50_000);
    assert!(render(actions).expect("renders").len() > 50_000);
}

#[test]
fn what_is_not_here_yet_is_asked_for_once() {
    struct Later(BTreeMap<Dependency, String>);
    impl Data for Later {
        fn get(&self, dependency: &Dependency) -> Found {
            self.0.get(dependency).map_or(Found::NotYet, |text| Found::Value(Value::text(text)))
        }
    }
    let template = Template::parse(r#"{{ file "local/a" }}{{ env "B" }}"#, "", "").expect("reads");
    let mut data = Later(BTreeMap::new());
    let mut rounds = 0;
    let rendered = loop {
        match template.render(&data, Settings::default()) {
            Ok(rendered) => break rendered,
            Err(Stopped::Wants(dependency)) => {
                rounds += 1;
                data.0.insert(dependency, format!("{rounds}."));
            }
            Err(Stopped::Failed(error)) => panic!("{error}"),
        }
    };
    assert_eq!((rendered.text.as_str(), rounds), ("1.2.", 2));
    assert_eq!(rendered.used.len(), 2);
}

#[test]
fn delimiters_and_strictness_are_chosen() {
    let template = Template::parse("[[ env \"A\" ]] {{ x }}", "[[", "]]").expect("reads");
    let data = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    let rendered = template.render(&data, Settings::default()).expect("renders");
    assert_eq!(rendered.text, "1 {{ x }}");
    let template = Template::parse("{{ (parseJSON `{}`).a }}", "", "").expect("reads");
    let strict = Settings { error_on_missing_key: true, ..Settings::default() };
    assert!(matches!(template.render(&Nothing, strict), Err(Stopped::Failed(_))));
    assert_eq!(template.render(&Nothing, Settings::default()).expect("renders").text, "<no value>");
}

/// Pieces that templates are made of, so that random ones are often nearly right.
fn piece() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "\n",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "\"a\"",
        "`b`",
        "$x",
        "$",
        ":=",
        "=",
        "|",
        "(",
        ")",
        ".",
        ".a",
        ",",
        "1",
        "-2",
        "0x",
        "1e9",
        "env",
        "loop",
        "print",
        "printf",
        "\"%s%5d\"",
        "index",
        "parseJSON",
        "toJSON",
        "scratch.Set",
        "scratch.Get",
        "split",
        "join",
        "regexMatch",
        "{{ end }}",
        "{{ if true }}",
        "{{ range loop 3 }}",
        "{{/* c */}}",
        "é",
        "'",
        "\\",
        "nil",
        "true",
        "and",
        "or",
        "not",
        "eq",
        "len",
        "slice",
        "add",
        "divide",
        "mergeMap",
        "sprig_list",
        "toYAML",
    ];
    prop_oneof![10 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_template_or_an_error(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        if let Ok(template) = Template::parse(&text, "", "")
            && let Ok(rendered) = template.render(&Nothing, Settings::default())
        {
            prop_assert!(rendered.text.len() <= MAX_OUTPUT);
        }
    }

    #[test]
    fn text_without_actions_stays(text in "[^{]*") {
        let template = Template::parse(&text, "", "").expect("reads");
        prop_assert_eq!(template.render(&Nothing, Settings::default()).expect("renders").text, text);
    }

    #[test]
    fn places_of_errors_are_in_the_text(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        if let Err(error) = Template::parse(&text, "", "") {
            let line = text.split('\n').nth(error.line - 1).expect("the line is there");
            prop_assert!(error.column <= line.chars().count() + 1, "{error}");
        }
    }
}
