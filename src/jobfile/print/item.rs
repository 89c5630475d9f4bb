//! What is said, as attributes and blocks with the names of job files, in the order in which people write them.

use std::time::Duration;

use serde_json::Value;

use crate::canonical::Object;
use crate::schema::{self, Attribute, Kind, Rule, Schema, Shape};

/// Blocks in the order in which they stand in jobs, groups and most others; what is not named stands before `group`.
const ORDER: &[&str] = &[
    "meta",
    "ui",
    "gitops",
    "constraint",
    "affinity",
    "spread",
    "periodic",
    "parameterized",
    "multiregion",
    "update",
    "migrate",
    "reschedule",
    "restart",
    "disconnect",
    "scaling",
    "ephemeral_disk",
    "volume",
    "consul",
    "vault",
    "network",
    "service",
    "check_restart",
    "check",
];

/// The same in tasks.
const TASK_ORDER: &[&str] = &[
    "lifecycle",
    "meta",
    "constraint",
    "affinity",
    "csi_plugin",
    "dispatch_payload",
    "config",
    "env",
    "artifact",
    "template",
    "volume_mount",
    "identity",
    "consul",
    "vault",
    "secret",
    "restart",
    "service",
    "resources",
    "logs",
    "scaling",
    "schedule",
    "action",
];

/// Where a name stands that is in no list.
const MIDDLE: usize = 1_000;

/// A part of a block.
pub(super) enum Item {
    Attribute(&'static str, Value),
    Block(Block),
    /// A map from text to values, which is a block where its keys are names.
    Map(&'static str, Object),
    /// A driver's settings, as [`Self::Map`]; lists of maps in it are blocks.
    Open(&'static str, Object),
}

/// A block.
pub(super) struct Block {
    pub(super) name: &'static str,
    pub(super) label: Option<String>,
    pub(super) items: Vec<Item>,
}

impl Item {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Attribute(name, _) | Self::Map(name, _) | Self::Open(name, _) => name,
            Self::Block(block) => block.name,
        }
    }
}

/// The whole job.
pub(super) fn job(mut said: Object) -> Block {
    let label = said.remove("@label").and_then(|label| label.as_str().map(ToOwned::to_owned));
    Block { name: "job", label, items: items("job", said, schema::job()) }
}

fn items(kind: &str, mut said: Object, schema: &'static Schema) -> Vec<Item> {
    let mut items = Vec::new();
    match kind {
        "constraint" => distinct(&mut said, &mut items),
        "network" => ports(&mut said),
        _ => {}
    }
    for rule in schema.attributes.iter().filter(|rule| !rule.json.starts_with('@')) {
        if let Some(value) = said.remove(rule.json) {
            items.push(Item::Attribute(rule.name, literal(rule, value)));
        }
    }
    if matches!(kind, "constraint" | "affinity") {
        // As one says it: what, compared how, with what.
        items.sort_by_key(|item| matches!(item.name(), "value" | "weight"));
    }
    let mut blocks = Vec::new();
    for rule in schema.blocks.iter().filter(|rule| !rule.json.starts_with('@')) {
        if let Some(value) = said.remove(rule.json) {
            of_rule(rule, value, &mut blocks);
        }
    }
    let order = if kind.ends_with("task") { TASK_ORDER } else { ORDER };
    blocks.sort_by_key(|item| rank(item.name(), order));
    items.extend(blocks);
    items
}

fn rank(name: &str, order: &[&str]) -> usize {
    match name {
        "group" => MIDDLE + 1,
        "task" => MIDDLE + 2,
        _ => order.iter().position(|other| *other == name).unwrap_or(MIDDLE),
    }
}

fn of_rule(rule: &'static Rule, value: Value, out: &mut Vec<Item>) {
    match (rule.shape, value) {
        (Shape::One, Value::Object(said)) => out.push(block(rule, None, said)),
        (Shape::Many, Value::Array(all)) => {
            for said in all {
                if let Value::Object(mut said) = said {
                    let label = rule.label.map(|label| label_of(label, &mut said));
                    out.push(block(rule, label, said));
                }
            }
        }
        (Shape::Keyed, Value::Object(all)) => {
            for (key, said) in all {
                if let Value::Object(said) = said {
                    out.push(block(rule, Some(key), said));
                }
            }
        }
        (Shape::Texts | Shape::Lists, Value::Object(all)) => out.push(Item::Map(rule.name, all)),
        (Shape::Any, Value::Object(all)) => out.push(Item::Open(rule.name, all)),
        _ => {}
    }
}

fn block(rule: &'static Rule, label: Option<String>, said: Object) -> Item {
    // What is said of a job's ports is told apart by number in JSON only.
    Item::Block(Block { name: rule.name, label, items: items(rule.name, said, rule.schema()) })
}

/// A label; of a task's scaling policy, the one that its type follows from.
fn label_of(label: &str, said: &mut Object) -> String {
    if label != "@label" {
        return match said.remove(label) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
    }
    let label = match said.get("Type").and_then(Value::as_str) {
        Some("vertical_cpu") => "cpu",
        Some("vertical_mem") => "mem",
        _ => return "policy".to_owned(),
    };
    said.remove("Type");
    label.to_owned()
}

/// The two operators that have names of their own.
fn distinct(said: &mut Object, items: &mut Vec<Item>) {
    match said.get("Operand").and_then(Value::as_str) {
        Some("distinct_hosts") if !said.contains_key("LTarget") => {
            let asks = match said.get("RTarget").and_then(Value::as_str) {
                Some("true") => true,
                Some("false") => false,
                _ => return,
            };
            said.remove("Operand");
            said.remove("RTarget");
            items.push(Item::Attribute("distinct_hosts", asks.into()));
        }
        Some("distinct_property") => {
            if let Some(property) = said.remove("LTarget") {
                said.remove("Operand");
                items.push(Item::Attribute("distinct_property", property));
            }
        }
        _ => {}
    }
}

/// Ports with a number are written as all others, before them, as far as that keeps their order.
fn ports(said: &mut Object) {
    let has_number =
        |port: &Value| port.get("Value").and_then(Value::as_i64).is_some_and(|number| number > 0);
    let all_have = |ports: &Vec<Value>| ports.iter().all(has_number);
    if !said.get("ReservedPorts").and_then(Value::as_array).is_some_and(all_have) {
        return;
    }
    let Some(Value::Array(mut ports)) = said.remove("ReservedPorts") else { return };
    if let Some(Value::Array(others)) = said.remove("DynamicPorts") {
        ports.extend(others);
    }
    said.insert("DynamicPorts".to_owned(), ports.into());
}

fn literal(rule: &Attribute, value: Value) -> Value {
    match (rule.kind, value.as_u64()) {
        (Kind::Duration, Some(nanoseconds)) => duration(nanoseconds).map_or(value, Value::from),
        _ => value,
    }
}

/// A span of time as people write it; nothing where only the number says it exactly.
fn duration(nanoseconds: u64) -> Option<String> {
    let span = Duration::from_nanos(nanoseconds);
    let short = model::format_duration(span).to_string();
    let is_exact = |text: &String| model::parse_duration(text) == Ok(span);
    let units = [("ms", 1_000_000), ("us", 1_000), ("ns", 1)];
    let whole = units.iter().find(|(_, unit)| nanoseconds.is_multiple_of(*unit));
    let long = whole.map(|(name, unit)| format!("{}{name}", nanoseconds / unit));
    [Some(short), long].into_iter().flatten().find(is_exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_exact() {
        for (nanoseconds, text) in [
            (0, Some("0s")),
            (5_400_000_000_000, Some("1h30m")),
            (1_500_000_000, Some("1.5s")),
            (90_500_000_000, Some("90500ms")),
            (1_234_567, Some("1234567ns")),
            (10_001_000, Some("10001us")),
            ((1 << 62) + 1, Some("4611686018427387905ns")),
            (u64::MAX, None),
        ] {
            assert_eq!(duration(nanoseconds).as_deref(), text, "{nanoseconds}");
        }
    }
}
