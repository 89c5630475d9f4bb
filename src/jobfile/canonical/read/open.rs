//! Maps with any keys: `meta` and `env`, headers, and a driver's `config`.

use serde_json::Value as Json;

use super::{Here, Object, Reading};
use crate::expr::Value;
use crate::report::Span;
use crate::schema::{self, Shape};
use crate::tree::{Attribute, Block, Evaluated};

impl Reading<'_> {
    /// `name = { … }` where `name { … }` is as good. Both at once is an error.
    pub(super) fn map_attribute(
        &mut self,
        rule: &'static schema::Rule,
        attribute: &Attribute<Value>,
        body: &Evaluated,
        here: Here<'_>,
        said: &mut Object,
    ) {
        let (name, span) = (attribute.name.as_str(), attribute.value_span);
        self.places.record_attribute(here.path, name, span);
        if attribute.value.is_null() {
            return;
        }
        if let Some(block) = body.blocks(name).next() {
            let message = format!("`{name}` is here as a block and as an attribute");
            self.fault("duplicate-block", block.header_span(), message, "keep one".to_owned());
            return;
        }
        let items = match &attribute.value {
            Value::Object(items) => items.clone(),
            // HCL's JSON form wraps maps into lists.
            Value::List(list) => match list.as_slice() {
                [Value::Object(items)] => items.clone(),
                _ => return self.not_a_map(name, &attribute.value, span),
            },
            Value::Failed => return,
            other => return self.not_a_map(name, other, span),
        };
        let mut read = Object::new();
        for (key, value) in items.iter() {
            self.entry(rule, name, key, value, span, &mut read);
        }
        said.insert(rule.json.to_owned(), read.into());
    }

    fn not_a_map(&self, name: &str, value: &Value, span: Span) {
        let message = format!("`{name}` is a map, this is {}", value.kind());
        self.fault("wrong-type", span, message, format!("write {name} {{ NAME = \"value\" }}"));
    }

    /// `name { … }`.
    pub(super) fn open_body(
        &mut self,
        rule: &'static schema::Rule,
        body: &Evaluated,
        here: Here<'_>,
    ) -> Object {
        if rule.shape == Shape::Any {
            return self.driver_map(body, here.path);
        }
        let mut read = Object::new();
        for attribute in &body.attributes {
            let span = attribute.value_span;
            self.places.record_attribute(here.path, &attribute.name, span);
            self.entry(rule, here.kind, &attribute.name, &attribute.value, span, &mut read);
        }
        for block in &body.blocks {
            let message = format!("`{}` holds `key = value` only, this is a block", here.kind);
            let help = format!("write {} = …", block.kind);
            self.fault("wrong-form", block.header_span(), message, help);
        }
        read
    }

    fn entry(
        &self,
        rule: &schema::Rule,
        name: &str,
        key: &str,
        value: &Value,
        span: Span,
        read: &mut Object,
    ) {
        let json = match (rule.shape, value) {
            (_, Value::Null | Value::Failed) => return,
            (Shape::Any, value) => driver_value(value),
            (Shape::Lists, Value::List(items)) => {
                let texts = items.iter().filter_map(Value::as_text);
                texts.map(|text| Json::from(text.into_owned())).collect()
            }
            (shape, value) => match value.as_text() {
                Some(text) if shape == Shape::Lists => Json::Array(vec![text.into_owned().into()]),
                Some(text) => text.into_owned().into(),
                None => {
                    let message =
                        format!("`{key}` in `{name}` is a string, this is {}", value.kind());
                    self.fault("wrong-type", span, message, String::new());
                    return;
                }
            },
        };
        read.insert(key.to_owned(), json);
    }

    /// A driver's settings. As in Nomad a block and a map that is written out are both a list of one map, so that the
    /// two ways to write them mean the same; several blocks of a kind are a longer list, and labels are keys.
    fn driver_map(&mut self, body: &Evaluated, path: &str) -> Object {
        let mut read = Object::new();
        for attribute in body.attributes.iter().filter(|attribute| !attribute.value.is_null()) {
            self.places.record_attribute(path, &attribute.name, attribute.value_span);
            read.insert(attribute.name.clone(), driver_value(&attribute.value));
        }
        for block in &body.blocks {
            let inner = format!("{path}/{}", block.kind);
            self.places.record(inner.clone(), block.header_span());
            let value = self.driver_block(block, &inner);
            match read.get_mut(&block.kind).and_then(Json::as_array_mut) {
                Some(list) => list.push(value),
                None => {
                    read.insert(block.kind.clone(), Json::Array(vec![value]));
                }
            }
        }
        read
    }

    fn driver_block(&mut self, block: &Block<Value>, path: &str) -> Json {
        let inner: Json = self.driver_map(&block.body, path).into();
        block.labels.iter().rev().fold(inner, |inner, label| {
            let mut outer = Object::new();
            outer.insert(label.text.clone(), Json::Array(vec![inner]));
            outer.into()
        })
    }
}

fn driver_value(value: &Value) -> Json {
    match value {
        Value::Object(_) => Json::Array(vec![value.to_json()]),
        other => other.to_json(),
    }
}
