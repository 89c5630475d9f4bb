//! What HashiCorp's own parser says of many small texts, in `fixtures/syntax/hcl.json`, and what ours says.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::parse_all;
use crate::expr::{Globals, Scope};
use crate::report::Sink;
use crate::tree::{Body, Expr};

/// What ours refuses although the other takes it, and the reverse. Each is on purpose.
const KNOWN: [(&str, &str); 4] = [
    ("a = 1e400\n", "numbers are 64 bits wide"),
    ("a = x.1e3\n", "an index is written with digits"),
    ("a = for\n", "nothing is called `for`"),
    ("a = x.00\n", "an index is written without zeros before it"),
];

#[test]
fn agrees_with_the_original() {
    let snippets: Vec<Json> =
        serde_json::from_str(include_str!("../../../fixtures/syntax/hcl.json")).expect("is JSON");
    assert!(snippets.len() > 700, "{} are too few", snippets.len());
    let mut wrong = Vec::new();
    for snippet in &snippets {
        let text = snippet["text"].as_str().expect("has a text");
        if KNOWN.iter().any(|(known, _)| *known == text) {
            continue;
        }
        let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
        let parsed = parse_all(bare);
        let words: Vec<_> =
            parsed.faults.iter().map(|f| format!("{:?} {}", f.span, f.message)).collect();
        let expected = snippet["ok"].as_bool().expect("has a verdict");
        // That a key comes twice is for the reader of the values to say.
        if expected != words.is_empty() {
            wrong.push(format!("{text:?}: expected {expected}, found {words:?}"));
            continue;
        }
        if expected {
            let cut = text.len() - bare.len();
            let found = parsed.body.as_ref().map(|body| shape(body, cut)).unwrap_or_default();
            let wanted = wanted(&snippet["body"]);
            if found != wanted {
                wrong.push(format!("{text:?}: expected {wanted}, found {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Names, places, kinds and labels.
fn shape(body: &Body<Expr>, cut: usize) -> String {
    let mut out = String::new();
    for attribute in &body.attributes {
        let place = attribute.value_span;
        assert!(matches!(attribute.value, Expr::Hcl(_)), "{}", attribute.name);
        let _ = write!(out, "{}@{}-{} ", attribute.name, place.start + cut, place.end + cut);
    }
    for block in &body.blocks {
        let labels: Vec<_> = block.labels.iter().map(|label| &label.text).collect();
        let _ = write!(out, "{}{labels:?}{{{}}} ", block.kind, shape(&block.body, cut));
    }
    out
}

fn wanted(body: &Json) -> String {
    let mut out = String::new();
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    for attribute in list(&body["attributes"]) {
        let place = &attribute["place"];
        let _ =
            write!(out, "{}@{}-{} ", attribute["name"].as_str().unwrap_or(""), place[0], place[1]);
    }
    for block in list(&body["blocks"]) {
        let labels: Vec<_> = list(&block["labels"]);
        let labels: Vec<_> = labels.iter().map(|label| label.as_str().unwrap_or("")).collect();
        let kind = block["kind"].as_str().unwrap_or("");
        let _ = write!(out, "{kind}{labels:?}{{{}}} ", wanted(&block["body"]));
    }
    out
}

/// Values that need no names are what the original makes of them, and fail where it fails.
#[test]
fn values_agree_with_the_original() {
    let snippets: Vec<Json> =
        serde_json::from_str(include_str!("../../../fixtures/syntax/hcl.json")).expect("is JSON");
    let mut wrong = Vec::new();
    for snippet in &snippets {
        let text = snippet["text"].as_str().expect("has a text");
        let is_known = KNOWN.iter().any(|(known, _)| *known == text);
        if is_known || text.contains("var.") || snippet["ok"] == false {
            continue;
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let sink = Sink::new("a.hcl", text);
        let globals = Globals::new(text, &sink);
        let body = parse_all(text).body.expect("is whole");
        let wanted = snippet["body"]["attributes"].as_array().cloned().unwrap_or_default();
        for (attribute, wanted) in body.attributes.iter().zip(&wanted) {
            let found = Scope::root(&globals).try_value(&attribute.value, attribute.value_span);
            let why = wanted["fails"].as_str().unwrap_or("");
            // Names that nobody knows are for the node to fill in.
            if why.starts_with("Unknown variable") {
                continue;
            }
            let fails = !why.is_empty();
            match (found, &wanted["value"]) {
                (found, Json::Null) if fails != found.is_err() => {
                    wrong.push(format!("{text:?}: expected {why:?}, found {found:?}"));
                }
                (_, Json::Null) => {}
                (Ok(found), value) if same(&found.to_json(), value) => {}
                (found, value) => {
                    wrong.push(format!("{text:?}: expected {value}, found {found:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether two values are alike. Of large numbers this reader of JSON keeps 53 bits.
fn same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => one.as_f64() == other.as_f64(),
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|v| same(value, v)))
        }
        _ => one == other,
    }
}
