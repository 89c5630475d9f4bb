//! Values for variables from every source, vars files beside and above a job file, and included files.

use std::collections::BTreeMap;

use jobfile::{Files, Inputs, Parsed, Source, Surroundings, VarsFiles, parse_in};

/// A repository that is a map.
#[derive(Default)]
struct Repository(BTreeMap<String, String>);

impl Repository {
    fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    fn read(&self, path: &str, inputs: &Inputs) -> Parsed {
        let mut vars = VarsFiles::default();
        for (path, text) in &self.0 {
            vars.insert(path, text.as_bytes());
        }
        let bytes = self.0[path].as_bytes();
        parse_in(Source { path, bytes }, inputs, Surroundings { files: self, vars: &vars })
    }
}

impl Files for Repository {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        if path == "link.hcl" {
            return Err("it is a symbolic link".to_owned());
        }
        Ok(self.0.get(path).map(|text| text.clone().into_bytes()))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        Ok(self.0.keys().filter(|path| path.starts_with(folder)).cloned().collect())
    }
}

/// A job that shows a value, below these declarations.
fn showing(declarations: &str, expression: &str) -> String {
    format!(
        "{declarations}\njob \"a\" {{\n  meta {{\n    x = {expression}\n  }}\n  group \"g\" {{\n    \
         task \"t\" {{\n      driver = \"raw_exec\"\n      config {{\n        command = \"true\"\n      }}\n    }}\n  }}\n}}\n"
    )
}

fn x(parsed: &Parsed) -> String {
    assert_eq!(parsed.diagnostics, []);
    serde_json::to_value(&parsed.jobs[0]).expect("serialises")["Meta"]["x"]
        .as_str()
        .expect("a text")
        .to_owned()
}

/// The value of `var.x` with these declarations, as JSON.
fn value(declarations: &str, inputs: &Inputs) -> String {
    let text = showing(declarations, "jsonencode(var.x)");
    x(&Repository::of(&[("a.hcl", &text)]).read("a.hcl", inputs))
}

/// All findings, as `path:line:column: code: message`.
fn words(parsed: &Parsed) -> Vec<String> {
    parsed
        .diagnostics
        .iter()
        .map(|found| {
            let (path, line, column) = (&found.path, found.line, found.column);
            format!("{path}:{line}:{column}: {}: {}", found.code, found.message)
        })
        .collect()
}

fn problem(declarations: &str, inputs: &Inputs) -> String {
    let text = showing(declarations, "jsonencode(var.x)");
    let parsed = Repository::of(&[("a.hcl", &text)]).read("a.hcl", inputs);
    assert!(parsed.jobs.is_empty());
    words(&parsed).join("; ")
}

fn flag(text: &str) -> Inputs {
    Inputs { flags: vec![("x".to_owned(), text.to_owned())], ..Inputs::default() }
}

fn file(text: &str) -> Inputs {
    Inputs { files: vec![("f.hcl".to_owned(), text.into())], ..Inputs::default() }
}

#[test]
fn what_is_said_last_counts() {
    let text = showing("variable \"x\" {\n  default = \"default\"\n}", "var.x");
    let mut files = vec![("jobs/a.hcl", text.as_str())];
    let mut inputs = Inputs::default();
    let read = |files: &[(&str, &str)], inputs: &Inputs| {
        let parsed = Repository::of(files).read("jobs/a.hcl", inputs);
        (x(&parsed), parsed.variables[0].from.clone())
    };
    let is = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    assert_eq!(read(&files, &inputs), is("default", "default in jobs/a.hcl:2"));
    inputs.shell.insert("NOMAD_VAR_x".into(), "nomad".into());
    inputs.shell.insert("OTHER_x".into(), "no".into());
    assert_eq!(read(&files, &inputs), is("nomad", "NOMAD_VAR_x in the environment"));
    inputs.shell.insert("HERDER_VAR_x".into(), "herder".into());
    assert_eq!(read(&files, &inputs), is("herder", "HERDER_VAR_x in the environment"));
    files.push(("all.vars.hcl", "# more\n  x = \"root\"\n"));
    assert_eq!(read(&files, &inputs), is("root", "all.vars.hcl:2:7"));
    files.push(("jobs/all.vars.hcl", "x = \"near\""));
    assert_eq!(read(&files, &inputs).0, "near");
    files.push(("all.prod.vars.hcl", "x = \"prod\""));
    assert_eq!(read(&files, &inputs).0, "near");
    inputs.environment = Some("prod".into());
    assert_eq!(read(&files, &inputs).0, "near", "nearer wins over farther");
    files.push(("jobs/all.prod.vars.hcl", "x = \"near prod\""));
    assert_eq!(read(&files, &inputs).0, "near prod");
    inputs.environment = Some("test".into());
    assert_eq!(read(&files, &inputs).0, "near");
    inputs.variables.insert("x".into(), "agent".into());
    assert_eq!(read(&files, &inputs), is("agent", "the agent's configuration"));
    inputs.files.push(("one.hcl".into(), b"x = \"one\"".to_vec()));
    inputs.files.push(("two.json".into(), b"{\"x\": \"two\"}".to_vec()));
    assert_eq!(read(&files, &inputs), is("two", "-var-file two.json:1:7"));
    inputs.flags = vec![("x".into(), "3".into()), ("x".into(), "4".into())];
    assert_eq!(read(&files, &inputs), is("4", "-var"));
}

#[test]
fn text_is_taken_by_the_type() {
    let typed = |kind: &str| format!("variable \"x\" {{\n  type = {kind}\n}}");
    for (declarations, text, json) in [
        ("variable \"x\" {}".to_owned(), "[1]", "\"[1]\""),
        ("variable \"x\" { default = 5 }".to_owned(), "7", "7"),
        ("variable \"x\" { default = true }".to_owned(), "false", "false"),
        ("variable \"x\" { default = null }".to_owned(), "\"a\"", "\"a\""),
        ("variable \"x\" { default = {a = 1} }".to_owned(), "{a = \"2\", b = 3}", "{\"a\":2}"),
        ("variables {\n  x = 5\n}".to_owned(), "12", "12"),
        (typed("string"), "${foo}", "\"${foo}\""),
        (typed("number"), "010", "10"),
        (typed("number"), "1e3", "1000"),
        (typed("bool"), "\"true\"", "true"),
        (typed("any"), "[1, \"a\"]", "[1,\"a\"]"),
        (typed("list(string)"), "[1, 2]", "[\"1\",\"2\"]"),
        (typed("set(string)"), "[\"b\", \"a\", \"b\"]", "[\"a\",\"b\"]"),
        (typed("map(number)"), "{a = \"1\"}", "{\"a\":1}"),
        (typed("tuple([string, number])"), "[1, \"2\"]", "[\"1\",2]"),
        (typed("object({a=string})"), "{a = 1, b = 2}", "{\"a\":\"1\"}"),
        (
            typed("object({a=optional(string), b=optional(number, 3)})"),
            "{}",
            "{\"a\":null,\"b\":3}",
        ),
        (typed("list(object({a=optional(string, \"z\")}))"), "[{}]", "[{\"a\":\"z\"}]"),
        (typed("list(string)"), "null", "null"),
        (typed("list(number)"), "[for n in [1, 2] : n + 1]", "[2,3]"),
    ] {
        assert_eq!(value(&declarations, &flag(text)), json, "{declarations} given {text}");
    }
}

#[test]
fn what_does_not_fit_is_told_where_it_was_set() {
    let number = "variable \"x\" {\n  type = number\n}";
    assert_eq!(
        problem(number, &file("\n  x = \"many\"")),
        "f.hcl:2:7: wrong-type: this does not fit the variable `x`: a number is needed, this is the text \"many\""
    );
    assert!(problem(number, &flag(" 5")).starts_with("a.hcl:1:1: wrong-type: "));
    let list = "variable \"x\" {\n  type = list(string)\n}";
    assert!(problem(list, &flag("a")).contains("`a` is no value"));
    assert!(problem(list, &flag("[")).starts_with("a.hcl:1:1: syntax: "));
    assert!(
        problem("variable \"x\" { default = true }", &flag("yes")).contains("`yes` is no value")
    );
    assert_eq!(
        problem("variable \"x\" {\n  type = number\n  default = \"a\"\n}", &Inputs::default()),
        "a.hcl:3:13: wrong-type: this default does not fit the variable `x`: a number is needed, this is the text \"a\""
    );
    let text = showing(number, "jsonencode(var.x)");
    let parsed = Repository::of(&[("a.hcl", &text), ("p.vars.hcl", "x = true")])
        .read("a.hcl", &Inputs::default());
    assert!(words(&parsed)[0].starts_with("p.vars.hcl:1:5: wrong-type"), "{:?}", words(&parsed));
    assert_eq!(parsed.diagnostics[0].help, "`x` is declared in a.hcl:1");
    assert_eq!(parsed.diagnostics[0].span, Some((4, 8)));
}

#[test]
fn a_default_is_a_plain_value() {
    let with = |default: &str| {
        format!("variable \"y\" {{ default = 1 }}\nvariable \"x\" {{\n  default = {default}\n}}")
    };
    for (default, place) in [("var.y", "3:13"), ("local.y", "3:13"), ("\"a ${foo.bar}\"", "3:18")] {
        let found = problem(&with(default), &Inputs::default());
        assert!(found.starts_with(&format!("a.hcl:{place}: unknown-reference")), "{found}");
    }
    assert_eq!(value(&with("upper(\"a\")"), &Inputs::default()), "\"A\"");
    assert_eq!(
        value(&with("\"$${attr.kernel.name}\""), &Inputs::default()),
        "\"${attr.kernel.name}\""
    );
}

#[test]
fn names_that_are_not_declared_are_mistakes_where_somebody_wrote_them() {
    let one = "variable \"count\" { default = 1 }\nvariable \"x\" { default = 1 }";
    let inputs = Inputs { flags: vec![("cuont".into(), "1".into())], ..Inputs::default() };
    assert!(problem(one, &inputs).starts_with("-var cuont:0:0: unknown-variable"));
    assert_eq!(
        problem(one, &file("x = 1\ny = 2")),
        "f.hcl:2:1: unknown-variable: this file declares no variable `y`"
    );
    let lenient = Inputs { lenient: true, ..file("y = 2") };
    assert_eq!(value(one, &lenient), "1");
    // Files that nobody named serve others too.
    let text = showing(one, "jsonencode(var.x)");
    let mut inputs = Inputs::default();
    inputs.shell.insert("NOMAD_VAR_other".into(), "1".into());
    inputs.variables.insert("other".into(), 1.into());
    let repository = Repository::of(&[("a.hcl", &text), ("p.vars.hcl", "other = true")]);
    assert_eq!(x(&repository.read("a.hcl", &inputs)), "1");
}

#[test]
fn a_vars_file_holds_plain_values() {
    let any = "variable \"x\" {\n  default = 1\n}";
    for (text, message) in [
        (
            "x = foo",
            "f.hcl:1:5: unknown-reference: `foo` is no value, and nothing can be referred to in a vars file",
        ),
        (
            "x = \"${NOMAD_x}\"",
            "f.hcl:1:8: unknown-reference: `NOMAD_x` is no value, and nothing can be referred to in a vars file",
        ),
        ("x {\n}", "f.hcl:1:1: unknown-block: a vars file holds values, and no blocks"),
        ("x = 1\nx = 2", "f.hcl:2:1: duplicate-attribute: this attribute is in this block twice"),
    ] {
        let found = problem(any, &file(text));
        assert!(found.contains(message), "{found}");
    }
    assert_eq!(value(any, &file("# nothing\n")), "1");
    assert_eq!(value(any, &file("")), "1");
    assert_eq!(value("variable \"x\" {}", &file("x = 5")), "5", "what has a type keeps it");
    assert_eq!(value(any, &file("x = null")), "null");
}

#[test]
fn null_is_a_value_unless_the_variable_says_otherwise() {
    let with = |rest: &str| format!("variable \"x\" {{\n  type = string\n{rest}\n}}");
    assert_eq!(value(&with("default = null"), &Inputs::default()), "null");
    let inputs = file("x = null");
    assert_eq!(value(&with("default = \"a\""), &inputs), "null");
    assert_eq!(value(&with("default = \"a\"\nnullable = false"), &inputs), "\"a\"");
    assert!(problem(&with("nullable = false"), &inputs).contains("missing-variable"));
    assert!(
        problem(&with("default = null\nnullable = false"), &Inputs::default())
            .contains("may not be null")
    );
}

#[test]
fn a_validation_looks_at_its_own_variable() {
    let with = |condition: &str, message: &str| {
        format!(
            "variable \"y\" {{ default = 1 }}\nlocals {{ l = 1 }}\nvariable \"x\" {{\n  type = string\n  \
             validation {{\n    condition = {condition}\n    error_message = {message}\n  }}\n}}"
        )
    };
    let fine = "\"The word must be a or b.\"";
    let contains = "contains([for w in [\"a\", \"b\"] : w], var.x)";
    assert_eq!(value(&with(contains, fine), &flag("a")), "\"a\"");
    assert_eq!(
        problem(&with(contains, fine), &flag("c")),
        "a.hcl:6:17: invalid-variable: the variable `x` is not valid: The word must be a or b"
    );
    for (condition, place) in
        [("var.y == 1", "6:17"), ("var.x == local.l", "6:26"), ("true", "6:17")]
    {
        let found = problem(&with(condition, fine), &flag("a"));
        assert!(found.starts_with(&format!("a.hcl:{place}: unknown-reference")), "{found}");
    }
    let found = problem(&with("var.x == \"b\"", "\"Not ${var.x}.\""), &flag("a"));
    assert!(found.contains("refers to nothing"), "{found}");
    assert!(problem(&with("var.x", fine), &flag("a")).contains("a condition is true or false"));
}

#[test]
fn secrets_are_not_shown() {
    let text = showing(
        "variable \"x\" {\n  sensitive = true\n}\nvariable \"y\" { default = [1] }",
        "var.x",
    );
    let parsed = Repository::of(&[("a.hcl", &text)]).read("a.hcl", &flag("geheim"));
    assert_eq!(x(&parsed), "geheim");
    let shown: Vec<_> =
        parsed.variables.iter().map(|v| (v.name.as_str(), v.value.as_str())).collect();
    assert_eq!(shown, [("x", "(sensitive)"), ("y", "[1]")]);
    assert_eq!(parsed.variables[0].declared, "a.hcl:1");
    let secret = "variable \"x\" {\n  type = number\n  sensitive = true\n}\nlocals {\n  y = parseint(var.x, 10)\n}";
    let found = problem(secret, &flag("geheim"));
    assert!(found.contains("wrong-type") && !found.contains("geheim"), "{found}");
    let secret = "variable \"x\" {\n  default = \"geheim\"\n  sensitive = true\n}\nlocals {\n  y = parseint(var.x, 10)\n}";
    let found = problem(secret, &Inputs::default());
    assert!(!found.is_empty() && !found.contains("geheim"), "{found}");
}

#[test]
fn files_of_the_repository_are_included() {
    let text = showing(
        "include = [\"../lib/common.hcl\", \"/lib/more.hcl\"]\nvariable \"own\" { default = 1 }",
        "\"${local.both} ${var.own} ${var.x}\"",
    );
    let mut repository = Repository::of(&[
        ("jobs/a.hcl", &text),
        (
            "lib/common.hcl",
            "# ä\ninclude = [\"more.hcl\"]\nvariables {\n  x = 2\n}\nlocals {\n  both = <<-EOF\n    ${var.more} and ${upper(local.word)}\n  EOF\n}\n",
        ),
        ("lib/more.hcl", "variable \"more\" {\n  type = string\n}\nlocals {\n  word = \"x\"\n}"),
        ("jobs/p.vars.hcl", "more = \"m\""),
    ]);
    let parsed = repository.read("jobs/a.hcl", &Inputs::default());
    assert_eq!(x(&parsed), "m and X\n 1 2");
    assert_eq!(parsed.reads.iter().collect::<Vec<_>>(), ["lib/common.hcl", "lib/more.hcl"]);
    let declared: Vec<_> = parsed.variables.iter().map(|v| v.declared.as_str()).collect();
    assert_eq!(declared, ["lib/more.hcl:1", "jobs/a.hcl:2", "lib/common.hcl:4"]);
    repository.0.insert("lib/more.hcl".into(), "\n\nlocals {\n  word = nope(1)\n}".into());
    let parsed = repository.read("jobs/a.hcl", &Inputs::default());
    assert!(parsed.jobs.is_empty());
    let found = words(&parsed);
    assert!(
        found.iter().any(|words| words.starts_with("lib/more.hcl:4:10: unknown-function")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|words| words.starts_with("lib/common.hcl:8:7: unknown-variable")),
        "{found:?}"
    );
}

#[test]
fn what_cannot_be_included_is_named() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (
            "[\"b.hcl\"]",
            &[],
            "a.hcl:1:12: unknown-include: there is no file b.hcl in this repository",
        ),
        ("[\"../b.hcl\"]", &[], "a.hcl:1:12: unknown-include: `../b.hcl` leaves the repository"),
        (
            "[\"link.hcl\"]",
            &[],
            "a.hcl:1:12: unknown-include: link.hcl cannot be read: it is a symbolic link",
        ),
        (
            "[\"b.yaml\"]",
            &[("b.yaml", "a: 1")],
            "a.hcl:1:12: unknown-include: b.yaml cannot be included: only HCL can",
        ),
        ("[1]", &[], "a.hcl:1:12: wrong-type: `include` is a list of paths, each written out"),
        (
            "[\"${x}.hcl\"]",
            &[],
            "a.hcl:1:12: wrong-type: `include` is a list of paths, each written out",
        ),
        (
            "[\"b.hcl\"]",
            &[("b.hcl", "include = [\"c.hcl\"]"), ("c.hcl", "\ninclude = [\"b.hcl\"]")],
            "c.hcl:2:12: circular-include: files include one another in a circle: b.hcl → c.hcl → b.hcl",
        ),
        (
            "[\"a.hcl\"]",
            &[],
            "a.hcl:1:12: circular-include: files include one another in a circle: a.hcl → a.hcl",
        ),
        (
            "[\"b.hcl\"]",
            &[("b.hcl", "\njob \"x\" {}")],
            "b.hcl:2:1: unknown-block: an included file holds variables and locals, not `job`",
        ),
        (
            "[\"b.hcl\"]",
            &[("b.hcl", "x = 1")],
            "b.hcl:1:1: unknown-attribute: an included file holds variables and locals, not an attribute `x`",
        ),
        (
            "[\"b.hcl\"]",
            &[("b.hcl", "\nvariable \"own\" {}")],
            "b.hcl:2:1: duplicate-name: the variable `own` is declared twice, first in a.hcl:2",
        ),
        (
            "[\"b.hcl\"]",
            &[("b.hcl", "locals {\n l = 1\n l = 2\n}")],
            "b.hcl:3:2: duplicate-attribute: this attribute is in this block twice",
        ),
        ("[\"b.hcl\"]", &[("b.hcl", "\nlocals {")], "b.hcl:2:8: syntax: this `{` is never closed"),
    ];
    for (written, files, message) in cases {
        let text =
            showing(&format!("include = {written}\nvariable \"own\" {{ default = 1 }}"), "var.own");
        let mut all = vec![("a.hcl", text.as_str())];
        all.extend_from_slice(files);
        let parsed = Repository::of(&all).read("a.hcl", &Inputs::default());
        let found = words(&parsed);
        assert!(found.iter().any(|words| words == message), "{written}: {found:#?}");
        assert!(parsed.jobs.is_empty());
    }
    let text = showing("include = [\"b.hcl\"]", "1");
    let bytes = text.as_bytes();
    let found = jobfile::parse(Source { path: "a.hcl", bytes }, &Inputs::default());
    assert_eq!(found.diagnostics[0].code, "unknown-include", "it came alone");
}

#[test]
fn includes_are_bounded() {
    let read = |files: &[(String, String)], main: &str| {
        let text = showing(main, "1");
        let mut all: Vec<(&str, &str)> = vec![("a.hcl", &text)];
        all.extend(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
        words(&Repository::of(&all).read("a.hcl", &Inputs::default())).join("; ")
    };
    let chain: Vec<_> =
        (0..20).map(|n| (format!("{n}.hcl"), format!("include = [\"{}.hcl\"]", n + 1))).collect();
    assert!(read(&chain, "include = [\"0.hcl\"]").contains("too-large"));
    let many: Vec<_> = (0..70).map(|n| (format!("{n}.hcl"), "locals {}".to_owned())).collect();
    let all = many.iter().map(|(path, _)| format!("\"{path}\"")).collect::<Vec<_>>().join(", ");
    assert!(read(&many, &format!("include = [{all}]")).contains("too-large"));
    assert_eq!(read(&many[..2], "include = [\"0.hcl\", \"1.hcl\", \"0.hcl\"]"), "");
    let large = [("0.hcl".to_owned(), format!("# {}\nlocals {{}}", "x".repeat(300 << 10)))];
    assert!(read(&large, "include = [\"0.hcl\"]").contains("too-large"));
}

#[test]
fn what_nomad_does_not_have_is_named_for_those_who_ask() {
    let inputs = Inputs { name_extensions: true, ..Inputs::default() };
    let codes = |declarations: &str| {
        let text = showing(declarations, "1");
        let parsed =
            Repository::of(&[("a.hcl", &text), ("b.hcl", "locals {}")]).read("a.hcl", &inputs);
        assert_eq!(parsed.jobs.len(), 1, "{:?}", parsed.diagnostics);
        words(&parsed)
    };
    for declarations in [
        "include = [\"b.hcl\"]",
        "variable \"x\" {\n  type = any\n  default = 1\n}",
        "variable \"x\" {\n  type = object({a = optional(string)})\n  default = {}\n}",
        "variable \"x\" {\n  default = 1\n  sensitive = true\n}",
        "variable \"x\" {\n  default = 1\n  nullable = true\n}",
        "variable \"x\" {\n  default = upper(\"a\")\n}",
    ] {
        let found = codes(declarations);
        assert!(
            found.len() == 1 && found[0].contains(": extension: "),
            "{declarations}: {found:?}"
        );
    }
    assert_eq!(codes("variable \"x\" {\n  type = map(string)\n  default = {}\n}"), [""; 0]);
}

#[test]
fn yaml_has_variables_too() {
    let text = "include: [lib.hcl]\nvariable:\n  x:\n    type: list(string)\n    validation:\n      condition: length(var.x) > 1\n      \
                error_message: Two at least.\njob:\n  a:\n    meta:\n      x: \"${join(local.sep, var.x)}\"\n    group:\n      g:\n        task:\n          t:\n            \
                driver: raw_exec\n            config:\n              command: \"true\"\n";
    let repository = Repository::of(&[("a.yaml", text), ("lib.hcl", "locals {\n sep = \"+\"\n}")]);
    assert_eq!(x(&repository.read("a.yaml", &flag("[\"a\", \"b\"]"))), "a+b");
    let found = words(&repository.read("a.yaml", &flag("[\"a\"]")));
    assert!(found[0].ends_with("the variable `x` is not valid: Two at least"), "{found:?}");
}
