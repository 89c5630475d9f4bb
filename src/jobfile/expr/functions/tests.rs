//! Each function against a table: an expression, and the value as JSON or the error.

mod encoding;
mod format;
mod lists;
mod maps;
mod numbers;
mod text;

use super::TABLES;
use crate::testing::{eval_fault, eval_text};

/// An expression, and its value as JSON or `error: ` with the message.
type Row = (&'static str, &'static str);

const ROWS: [&[Row]; 6] =
    [text::ROWS, format::ROWS, lists::ROWS, maps::ROWS, numbers::ROWS, encoding::ROWS];

#[test]
fn functions_mean_what_nomads_mean() {
    let mut wrong = Vec::new();
    for (expression, expected) in ROWS.concat() {
        let found = if expected.starts_with("error: ") {
            format!("error: {}", eval_fault(expression).message)
        } else {
            eval_text(expression).to_json().to_string()
        };
        if found != expected {
            wrong.push(format!("{expression}\n  is     {found}\n  not    {expected}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_function_has_rows_with_values_and_with_errors() {
    let known = TABLES.iter().flat_map(|table| table.iter().map(|function| function.0));
    for name in known.chain(["can", "try", "convert"]) {
        let start = format!("{name}(");
        let all: Vec<Row> = ROWS.concat();
        let own: Vec<&Row> = all.iter().filter(|row| row.0.starts_with(&start)).collect();
        let errors = own.iter().filter(|row| row.1.starts_with("error: ")).count();
        assert!(own.len() >= 4 && errors >= 1, "{name}: {} rows, {errors} errors", own.len());
    }
}

#[test]
fn calls_that_are_none_say_why() {
    for (expression, message) in [
        ("uper(1)", "there is no function `uper`"),
        ("upper()", "upper takes 1 arguments, these are 0"),
        ("range()", "range takes 1 to 3 arguments, these are 0"),
        ("file(\"x\")", "the function `file` is not available in job files"),
        ("timestamp()", "the function `timestamp` is not available in job files"),
        ("md5(\"x\")", "the function `md5` is not supported yet"),
        ("uuidv5(\"dns\", \"x\")", "the function `uuidv5` is not supported yet"),
    ] {
        assert_eq!(eval_fault(expression).message, message, "{expression}");
    }
}

/// A short expression must not make the process grow without bound before what it made is counted.
#[test]
fn no_call_makes_more_than_it_may() {
    let text = "x".repeat(20_000);
    for expression in [
        format!("replace(\"{text}\", \"x\", \"{text}\")"),
        format!("replace(\"{text}\", \"\", \"{text}\")"),
        format!("regex_replace(\"{text}\", \"x\", \"{text}\")"),
        format!("regex_replace(\"{text}\", \".*\", \"{}\")", "$0".repeat(1000)),
        format!("join(\"{text}\", range(1000))"),
        format!("indent(1000000, \"{}\")", "\\n".repeat(1000)),
        format!("format(\"{}\", \"{text}\")", "%[1]s".repeat(1000)),
        format!("formatlist(\"%s%d\", \"{text}\", range(1000))"),
        format!("setproduct([\"{text}\"], range(1000))"),
        format!("csvdecode(\"{text}\\n{}\")", "a\\n".repeat(1000)),
    ] {
        let message = eval_fault(&expression).message;
        assert!(message.ends_with("this would make more than 16 MiB"), "{message}");
    }
}
