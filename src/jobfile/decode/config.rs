//! A task's `config`: whatever the driver reads. Nested blocks become attributes.

use std::collections::BTreeMap;

use crate::expr::Value;
use crate::tree::{Block, Evaluated};

/// The body as a map. A block becomes a map, several of one kind a list of maps, labels become keys.
pub(super) fn as_map(body: &Evaluated) -> BTreeMap<String, Value> {
    let mut items: BTreeMap<String, Value> = body
        .attributes
        .iter()
        .filter(|attribute| !attribute.value.is_null())
        .map(|attribute| (attribute.name.clone(), attribute.value.clone()))
        .collect();
    for block in &body.blocks {
        let value = as_value(block);
        match items.remove(&block.kind) {
            None => {
                items.insert(block.kind.clone(), value);
            }
            Some(Value::List(mut list)) => {
                list.push(value);
                items.insert(block.kind.clone(), Value::List(list));
            }
            Some(first) => {
                items.insert(block.kind.clone(), Value::List(vec![first, value]));
            }
        }
    }
    items
}

fn as_value(block: &Block<Value>) -> Value {
    block.labels.iter().rev().fold(Value::Object(as_map(&block.body)), |inner, label| {
        Value::Object([(label.text.clone(), inner)].into())
    })
}
