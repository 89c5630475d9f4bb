//! Expressions and what they come to.

mod nomad;
mod random;

use crate::testing::{eval_fault, eval_text};

fn json(expression: &str) -> String {
    eval_text(expression).to_json().to_string()
}

#[test]
fn operators() {
    for (expression, expected) in [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 3 - 2", "5"),
        ("7 / 2", "3.5"),
        ("6 / 2", "3"),
        ("7 % 4", "3"),
        ("-5 + 2", "-3"),
        ("\"1\" + 1", "2"),
        ("1 == 1.0", "true"),
        ("\"1\" == 1", "false"),
        ("[1, \"a\"] == [1, \"a\"]", "true"),
        ("1 < 2 && !(2 <= 1)", "true"),
        ("true || false", "true"),
        ("false ? nonsense() : 2", "2"),
        ("9007199254740993 + 0", "9007199254740993"),
    ] {
        assert_eq!(json(expression), expected, "{expression}");
    }
}

#[test]
fn collections() {
    for (expression, expected) in [
        ("[for x in [1, 2, 3] : x * 2 if x != 2]", "[2,6]"),
        ("[for i, x in [\"a\", \"b\"] : \"${i}${x}\"]", r#"["0a","1b"]"#),
        ("{for k, v in {a = 1} : upper(k) => v + 1}", r#"{"A":2}"#),
        ("{for x in [\"a\", \"b\", \"a\"] : x => 1...}", r#"{"a":[1,1],"b":[1]}"#),
        ("[{a = 1}, {a = 2}][*].a", "[1,2]"),
        ("[{a = 1}, {a = 2}].*.a", "[1,2]"),
        ("{a = [1, 2]}.a[1]", "2"),
        ("{a = {b = 3}}[\"a\"].b", "3"),
        ("[[1, 2]].0[1]", "2"),
        ("null[*]", "[]"),
        ("{\"a b\" = 1, (\"c\") = 2}", r#"{"a b":1,"c":2}"#),
        ("max([1, 2]...)", "2"),
    ] {
        assert_eq!(json(expression), expected, "{expression}");
    }
}

#[test]
fn templates() {
    for (expression, expected) in [
        ("\"a${1 + 1}b\"", r#""a2b""#),
        ("\"${[1, 2]}\"", "[1,2]"),
        ("\"$${x} %%{y}\"", r#""${x} %{y}""#),
        ("\"%{ if 1 > 2 }a%{ else }b%{ endif }\"", r#""b""#),
        ("\"%{ for x in [1, 2] }<${x}>%{ endfor }\"", r#""<1><2>""#),
        ("\"a ${~ \"x\" ~} b\"", r#""axb""#),
        ("<<E\n  a\n b\nE", r#""  a\n b\n""#),
        ("<<-E\n    a\n\n      ${1}\n    E", r#""a\n\n  1\n""#),
        ("<<-E\na\n    ${1} b\n    c\nE", r#""a\n    1 b\n    c\n""#),
        ("<<-E\n  ${1}\n  x\nE", r#""1\nx\n""#),
        ("<<E\nE", r#""""#),
    ] {
        assert_eq!(json(expression), expected, "{expression}");
    }
}

#[test]
fn what_only_a_node_knows_stays_as_it_is() {
    for (expression, expected) in [
        ("NOMAD_PORT_http", "${NOMAD_PORT_http}"),
        ("\"x ${node.unique.name}:${attr.cpu.arch}\"", "x ${node.unique.name}:${attr.cpu.arch}"),
        ("\"${env[\"a..b\"]}\"", "${env[\"a..b\"]}"),
        ("upper(\"${meta.x}\")", "${META.X}"),
    ] {
        assert_eq!(eval_text(expression).as_text().as_deref(), Some(expected), "{expression}");
    }
}

#[test]
fn mistakes_are_where_they_are() {
    for (expression, code, at) in [
        ("[1, 2][5]", "no-such-element", 0..9),
        ("1 + [2]", "wrong-type", 0..7),
        ("\"a${[1]}\"", "wrong-type", 4..7),
        ("upper(var.x)", "unknown-variable", 6..11),
        ("[1, local.x]", "unknown-local", 4..11),
        ("1 / 0", "wrong-arguments", 0..5),
        ("{for x in [1, 1] : \"k\" => x}", "duplicate-key", 0..28),
        ("5 ? 1 : 2", "wrong-type", 0..1),
    ] {
        let fault = eval_fault(expression);
        assert_eq!(fault.code, code, "{expression}: {}", fault.message);
        assert_eq!(fault.span, Some((at.start, at.end)), "{expression}");
    }
}

#[test]
fn try_and_can_keep_quiet() {
    for (expression, expected) in [
        ("try([var.x, 1], \"d\")", r#""d""#),
        ("try({a = nonsense()}, var.y, 2)", "2"),
        ("can([1 / 0])", "false"),
        ("can([1])", "true"),
    ] {
        assert_eq!(json(expression), expected, "{expression}");
    }
}
