//! Expressions against the answers of the libraries that Nomad reads job files with. `fixtures/expressions/README.md`
//! says how those are made.

use std::collections::BTreeMap;

use hcl_edit::expr::Expression;
use serde_json::Value as Json;

use crate::expr::cty::{self, Type, to_json, type_of};
use crate::expr::{Evaluator, Globals, Scope};
use crate::files::Files;
use crate::report::Sink;

const ANSWERS: &str = include_str!("../../../../fixtures/expressions/answers.jsonl");
const VARIABLES: &str = include_str!("../../../../fixtures/expressions/variables.txt");

/// Where this differs from Nomad, and means to: what an expression starts with or is, and why.
const KEPT: &[(&str, &str)] = &[
    ("true || 1 / 0 == 1", "infinity is an error here: no field of a job can be infinite"),
    ("try(1 / 0, 5)", "as above"),
    ("{a = 1, a = 2}", "a key that is there twice is a mistake, and the parser says so"),
    ("<<EOF\n EOF\nEOF", "the parser looks for the end of an empty heredoc one line further"),
    ("convert({}, object({a = optional", "`optional` makes a field optional, also here"),
    ("convert({a = 1}, object({a = optional", "as above"),
    ("convert([1], list)", "`list`, `set` and `map` alone are those of any elements"),
    ("convert([1], set)", "as above"),
    ("convert({}, map)", "as above"),
    ("convert(1, \"number\")", "a type may be in quotes"),
    ("convert(\"1\", \"number\")", "as above"),
    ("log(2.5, 3)", "the logarithms of two libraries differ in their last bit"),
    ("regex_replace(\"αβ\", \"\\\\p{Greek}\"", "the tables of scripts are not built in"),
    ("min(1e400, 2)", "the parser knows numbers up to 1e308"),
    ("convert(1e400, string)", "as above"),
    ("yamldecode(\"%YAML 1.2", "the version may be written down"),
    ("cidrhost(\"::ffff:10.0.0.0/120\"", "Nomad writes an address outside of the block"),
    ("cidrsubnet(\"10.0.0.0/24\", -1, 0)", "Nomad makes the prefix shorter"),
    ("cidrsubnet(\"10.0.0.0/24\", 4, -1)", "Nomad writes an address outside of the block"),
    ("cidrsubnets(\"0.0.0.0/0\", 1, 1)", "Nomad takes the block before the first of all"),
    ("timeadd(\"9999-", "a year has four digits"),
    ("timeadd(\"0000-", "as above"),
];

struct Folder;

const FILES: [(&str, &[u8]); 5] = [
    ("files/a.txt", include_bytes!("../../../../fixtures/expressions/files/a.txt")),
    ("files/binary.dat", include_bytes!("../../../../fixtures/expressions/files/binary.dat")),
    ("files/empty", include_bytes!("../../../../fixtures/expressions/files/empty")),
    ("files/sub/b.txt", include_bytes!("../../../../fixtures/expressions/files/sub/b.txt")),
    ("files/unicode.txt", include_bytes!("../../../../fixtures/expressions/files/unicode.txt")),
];

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(FILES.iter().find(|file| file.0 == path).map(|file| file.1.to_vec()))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let inside = |path: &&str| {
            path.strip_prefix(folder).is_some_and(|rest| folder.is_empty() || rest.starts_with('/'))
        };
        Ok(FILES.iter().map(|file| file.0).filter(inside).map(str::to_owned).collect())
    }
}

/// The type and JSON of an expression's value, or why there is none.
fn evaluate(
    text: &str,
    variables: &BTreeMap<String, cty::Value>,
) -> Result<(Type, String, cty::Value), String> {
    let text = format!("x = {text}\n");
    let body = hcl_edit::parser::parse_body(&text).map_err(|error| error.to_string())?;
    let attribute = body.get_attribute("x").ok_or("no attribute")?;
    let sink = Sink::new("test.hcl", &text);
    let globals = Globals::new(&text, &sink).with_files(&Folder, "files");
    for (name, value) in variables {
        globals.give(name, value.clone());
    }
    let expression: &Expression = &attribute.value;
    let value = Evaluator::in_file(Scope::root(&globals)).typed(expression);
    let value = value.map_err(|fault| format!("{}: {}", fault.code, fault.message))?;
    drop(globals);
    let found = sink.finish();
    if value.has_failed() || found.iter().any(|found| found.is_error()) {
        return Err(format!("{found:?}"));
    }
    Ok((type_of(&value), to_json(&value), value))
}

fn variables() -> BTreeMap<String, cty::Value> {
    let mut known = BTreeMap::new();
    for line in VARIABLES.lines().filter(|line| !line.is_empty()) {
        let (name, text) = line.split_once(" = ").expect("a name and a value");
        let (.., value) = evaluate(text, &known).expect("evaluates");
        known.insert(name.to_owned(), value);
    }
    known
}

#[test]
fn expressions_mean_what_they_mean_in_nomad() {
    let variables = variables();
    let mut wrong = Vec::new();
    let mut kept = vec![0; KEPT.len()];
    let mut count = 0;
    for line in ANSWERS.lines() {
        count += 1;
        // The digits of numbers are compared, and not what a float makes of them.
        let (answer, value) = match line.split_once(",\"value\":") {
            Some((answer, value)) => (format!("{answer}}}"), value.strip_suffix('}')),
            None => (line.to_owned(), None),
        };
        let answer: Json = serde_json::from_str(&answer).expect("a line of JSON");
        let text = answer["expr"].as_str().expect("an expression");
        let expected =
            value.map(|value| format!("{} {value}", answer["type"].as_str().expect("a type")));
        assert_eq!(answer["ok"].as_bool(), Some(expected.is_some()), "{text}");
        let found = evaluate(text, &variables);
        let shown = found.as_ref().map(|(kind, json, _)| format!("{kind} {json}"));
        if shown.as_ref().ok() == expected.as_ref() {
            continue;
        }
        match KEPT.iter().position(|(start, _)| text.starts_with(start)) {
            Some(at) => kept[at] += 1,
            None => wrong.push(format!(
                "{text}\n  is     {}\n  not    {}",
                shown.unwrap_or_else(|why| format!("error {why}")),
                expected.unwrap_or_else(|| "an error in Nomad".to_owned())
            )),
        }
    }
    assert!(wrong.is_empty(), "{} of {count}\n{}", wrong.len(), wrong.join("\n"));
    for (at, (start, why)) in KEPT.iter().enumerate() {
        assert!(kept[at] > 0, "no expression differs any more: {start} ({why})");
    }
}
