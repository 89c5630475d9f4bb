//! YAML: attributes are keys, a block is a map under its name and its label, and several without a label are a list.

use serde_json::Value;

use super::item::{Block, Item};
use super::text::{escape, is_invisible, template};
use crate::canonical::Object;

/// How many characters of a list stand in one line.
const LINE: usize = 90;

/// Words that some readers of YAML take for something else than text.
const WORDS: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "~", "nan"];

/// What is written under a key.
enum Node {
    Value(Value),
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
}

/// Writes the job's block.
pub(super) fn write(job: &Block) -> String {
    let body = Node::Map(body(&job.items));
    let label = job.label.clone().unwrap_or_default();
    let root = vec![("job".to_owned(), Node::Map(vec![(label, body)]))];
    let mut out = String::new();
    map(&root, 0, &mut out);
    out
}

fn body(items: &[Item]) -> Vec<(String, Node)> {
    let mut nodes: Vec<(String, Node)> = Vec::new();
    let mut rest = items;
    while let Some(item) = rest.first() {
        let name = item.name();
        let same = rest.iter().take_while(|item| item.name() == name).count();
        let (these, others) = rest.split_at(same);
        rest = others;
        let node = match item {
            Item::Attribute(_, value) => Node::Value(evaluated(value)),
            Item::Map(_, items) => from_value(&evaluated(&Value::Object(items.clone()))),
            Item::Open(_, items) => open(items),
            Item::Block(_) => blocks(these),
        };
        nodes.push((name.to_owned(), node));
    }
    nodes
}

fn blocks(items: &[Item]) -> Node {
    let blocks = items.iter().filter_map(|item| match item {
        Item::Block(block) => Some(block),
        _ => None,
    });
    let mut bodies: Vec<(Option<String>, Node)> =
        blocks.map(|block| (block.label.clone(), Node::Map(body(&block.items)))).collect();
    if bodies.iter().all(|(label, _)| label.is_none()) {
        return match (bodies.len(), bodies.pop()) {
            (1, Some((_, only))) => only,
            (_, Some(last)) => {
                bodies.push(last);
                Node::List(bodies.into_iter().map(|(_, body)| body).collect())
            }
            (_, None) => Node::Map(Vec::new()),
        };
    }
    let labels: Vec<String> =
        bodies.iter().map(|(label, _)| label.clone().unwrap_or_default()).collect();
    let is_once = |label: &String| labels.iter().filter(|other| *other == label).count() == 1;
    let all_once = labels.iter().all(is_once);
    let labelled = labels.iter().cloned().zip(bodies.into_iter().map(|(_, body)| body));
    if all_once {
        Node::Map(labelled.collect())
    } else {
        Node::List(labelled.map(|(label, body)| Node::Map(vec![(label, body)])).collect())
    }
}

/// A driver's settings: a map is read as a list of that map.
fn open(items: &Object) -> Node {
    let values = items.iter().map(|(key, value)| {
        let value = match value {
            Value::Array(all) => match all.as_slice() {
                [only @ Value::Object(_)] => only,
                _ => value,
            },
            other => other,
        };
        (key.clone(), from_value(&evaluated(value)))
    });
    Node::Map(values.collect())
}

fn from_value(value: &Value) -> Node {
    match value {
        Value::Object(items) => {
            Node::Map(items.iter().map(|(key, item)| (key.clone(), from_value(item))).collect())
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            Node::List(items.iter().map(from_value).collect())
        }
        other => Node::Value(other.clone()),
    }
}

/// The value with its texts as templates that come to them.
fn evaluated(value: &Value) -> Value {
    match value {
        Value::String(text) => template(text).into(),
        Value::Array(items) => items.iter().map(evaluated).collect(),
        Value::Object(items) => {
            items.iter().map(|(key, item)| (key.clone(), evaluated(item))).collect()
        }
        other => other.clone(),
    }
}

fn map(items: &[(String, Node)], depth: usize, out: &mut String) {
    for (key, node) in items {
        out.push_str(&"  ".repeat(depth));
        out.push_str(&scalar(key));
        out.push(':');
        value(node, depth + 1, out);
    }
}

/// What stands behind a key, on its line or below.
fn value(node: &Node, depth: usize, out: &mut String) {
    match node {
        Node::Map(items) if items.is_empty() => out.push_str(" {}\n"),
        Node::List(items) if items.is_empty() => out.push_str(" []\n"),
        Node::Map(items) => {
            out.push('\n');
            map(items, depth, out);
        }
        Node::List(items) => {
            out.push('\n');
            for item in items {
                let mut inner = String::new();
                entry(item, depth, &mut inner);
                out.push_str(&inner);
            }
        }
        Node::Value(Value::Array(items)) => list(items, depth, out),
        Node::Value(Value::String(text)) => match block_scalar(text, depth) {
            Some(block) => out.push_str(&block),
            None => out.extend([" ", &scalar(text), "\n"]),
        },
        Node::Value(other) => out.extend([" ", &plain(other), "\n"]),
    }
}

/// An item of a list: its map begins on the line of the dash.
fn entry(node: &Node, depth: usize, out: &mut String) {
    let margin = "  ".repeat(depth);
    let mut inner = String::new();
    match node {
        Node::Map(items) if !items.is_empty() => {
            map(items, depth + 1, &mut inner);
            let rest = inner.get(margin.len() + 2..).unwrap_or_default();
            out.extend([&margin, "- ", rest]);
        }
        other => {
            value(other, depth + 1, &mut inner);
            out.extend([&margin, "-", &inner]);
        }
    }
}

fn list(items: &[Value], depth: usize, out: &mut String) {
    let written: Vec<String> = items.iter().map(plain).collect();
    let length: usize = written.iter().map(|item| item.chars().count() + 2).sum();
    if length + 2 * depth < LINE {
        out.extend([" [", &written.join(", "), "]\n"]);
        return;
    }
    out.push('\n');
    for item in items {
        out.push_str(&"  ".repeat(depth));
        out.push('-');
        value(&Node::Value(item.clone()), depth + 1, out);
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Several lines as they are, where no blank at their edges would get lost.
fn block_scalar(text: &str, depth: usize) -> Option<String> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let is_fair = body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\t', '\n'])
        && !body.lines().any(|line| line.trim().is_empty() && !line.is_empty())
        && !text.chars().any(|c| is_invisible(c) && !matches!(c, '\n' | '\t'));
    if !is_fair {
        return None;
    }
    let mut out = if text.ends_with('\n') { " |\n" } else { " |-\n" }.to_owned();
    for line in body.split('\n') {
        if !line.is_empty() {
            out.push_str(&"  ".repeat(depth));
            out.push_str(line);
        }
        out.push('\n');
    }
    Some(out)
}

/// A text on one line: as it is where every reader takes it for text, else in quotes.
fn scalar(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let starts_well =
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/'));
    let inner = text.split([':', '@', '+', '=', ' ']).all(|part| part.chars().all(is_word));
    let is_safe = starts_well
        && inner
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && !looks_like_number(text);
    if is_safe {
        return text.to_owned();
    }
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_invisible(c) => out.push_str(&escape(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Numbers, dates and times of any reader of YAML: what begins with a digit and has no unit behind it.
fn looks_like_number(text: &str) -> bool {
    let is_span =
        text.ends_with(['s', 'm', 'h']) && text.chars().all(|c| c.is_ascii_alphanumeric());
    text.starts_with(|c: char| c.is_ascii_digit()) && !is_span
}
