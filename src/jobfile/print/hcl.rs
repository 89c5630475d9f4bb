//! HCL, in its canonical style.

use serde_json::Value;

use super::item::{Block, Item};
use super::text::{heredoc, is_name, label, quoted};
use crate::Source;
use crate::canonical::Object;
use crate::format::format;

/// How many characters of a list or map stand in one line.
const LINE: usize = 90;

/// Writes the job's block.
pub(super) fn write(job: &Block) -> String {
    let mut writer = Writer { out: String::new(), depth: 0 };
    writer.block(job);
    // Alignment is the style's business.
    format(Source { path: "job.nomad.hcl", bytes: writer.out.as_bytes() }).unwrap_or(writer.out)
}

struct Writer {
    out: String,
    depth: usize,
}

impl Writer {
    fn line(&mut self, text: &str) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn open(&mut self, name: &str, label_text: Option<&str>) {
        let label = label_text.map(|text| format!(" {}", label(text))).unwrap_or_default();
        self.line(&format!("{name}{label} {{"));
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    fn block(&mut self, block: &Block) {
        if block.items.is_empty() {
            let label = block.label.as_ref().map(|text| format!(" {}", label(text)));
            self.line(&format!("{}{} {{}}", block.name, label.unwrap_or_default()));
            return;
        }
        self.open(block.name, block.label.as_deref());
        let mut before: Option<&Item> = None;
        for item in &block.items {
            if before.is_some_and(|before| is_apart(before, item)) {
                self.out.push('\n');
            }
            match item {
                Item::Attribute(name, value) => self.attribute(name, value),
                Item::Block(block) => self.block(block),
                Item::Map(name, items) if items.keys().all(|key| is_name(key)) => {
                    self.open(name, None);
                    items.iter().for_each(|(key, value)| self.attribute(key, value));
                    self.close();
                }
                Item::Open(name, items) if is_body(items) => self.open_block(name, items),
                Item::Map(name, items) | Item::Open(name, items) => self.map(name, items),
            }
            before = Some(item);
        }
        self.close();
    }

    /// A driver's settings: lists of maps are blocks, scalars and other lists are attributes.
    fn open_block(&mut self, name: &str, items: &Object) {
        if items.is_empty() {
            self.line(&format!("{name} {{}}"));
            return;
        }
        self.open(name, None);
        let blocks = |key: &str, value: &Value| match value {
            Value::Array(all) if !all.is_empty() && is_name(key) => {
                let bodies = all.iter().map(|one| one.as_object().filter(|one| is_body(one)));
                bodies.map(|body| body.cloned()).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        let mut is_first = true;
        for (key, value) in items {
            if blocks(key, value).is_none() {
                self.attribute(key, value);
                is_first = false;
            }
        }
        for (key, value) in items {
            for body in blocks(key, value).into_iter().flatten() {
                if !std::mem::take(&mut is_first) {
                    self.out.push('\n');
                }
                self.open_block(key, &body);
            }
        }
        self.close();
    }

    fn attribute(&mut self, name: &str, value: &Value) {
        if let Value::String(text) = value
            && let Some((lines, word)) = heredoc(text)
        {
            let call = if text.ends_with('\n') { "" } else { "chomp(" };
            self.line(&format!("{name} = {call}<<{word}"));
            self.out.push_str(&lines);
            self.out.push_str(&word);
            self.out.push('\n');
            if !call.is_empty() {
                self.line(")");
            }
            return;
        }
        let written = written(value, self.depth);
        self.line(&format!("{name} = {written}"));
    }

    /// `name = { … }`, with the keys in quotes.
    fn map(&mut self, name: &str, items: &Object) {
        let written = written(&Value::Object(items.clone()), self.depth);
        self.line(&format!("{name} = {written}"));
    }
}

/// Whether an empty line goes between two parts of a block.
fn is_apart(before: &Item, item: &Item) -> bool {
    match (before, item) {
        (Item::Attribute(..), Item::Attribute(..)) => false,
        (Item::Block(before), Item::Block(block)) => {
            !(before.name == block.name && before.items.is_empty() && block.items.is_empty())
        }
        _ => true,
    }
}

/// Whether a map of a driver's settings can be written as a block: what is neither scalar nor list cannot, because as
/// an attribute it would become a list.
fn is_body(items: &Object) -> bool {
    items
        .iter()
        .all(|(key, value)| is_name(key) && !matches!(value, Value::Null | Value::Object(_)))
}

/// An expression that comes to this value.
fn written(value: &Value, depth: usize) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items = items.iter().map(|item| written(item, depth + 1));
            enclosed("[", "]", "", items.collect(), depth)
        }
        Value::Object(items) => {
            let items = items.iter().map(|(key, item)| {
                let key = if is_name(key) { key.clone() } else { label(key) };
                format!("{key} = {}", written(item, depth + 1))
            });
            enclosed("{", "}", " ", items.collect(), depth)
        }
        other => other.to_string(),
    }
}

fn enclosed(open: &str, close: &str, blank: &str, items: Vec<String>, depth: usize) -> String {
    if items.is_empty() {
        return format!("{open}{close}");
    }
    let length: usize = items.iter().map(|item| item.chars().count() + 2).sum();
    let is_short = length + 2 * depth < LINE && items.iter().all(|item| !item.contains('\n'));
    if is_short && (blank.is_empty() || items.len() == 1) {
        return format!("{open}{blank}{}{blank}{close}", items.join(", "));
    }
    let margin = "  ".repeat(depth + 1);
    let end = "  ".repeat(depth);
    // Keys of a map are aligned by the style where no comma stands between them.
    let comma = if blank.is_empty() { "," } else { "" };
    let lines: String = items.iter().map(|item| format!("{margin}{item}{comma}\n")).collect();
    format!("{open}\n{lines}{end}{close}")
}
