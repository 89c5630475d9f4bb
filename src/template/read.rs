//! Reads JSON and YAML into values, and stops at the limits: an alias in YAML can name as much as it likes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::{MAX_ELEMENTS, MAX_NESTING, MAX_OUTPUT};
use crate::value::Value;

/// What may still be read.
#[derive(Clone, Copy)]
pub(crate) struct Bounded<'a> {
    elements: &'a Cell<usize>,
    bytes: &'a Cell<usize>,
    depth: usize,
}

/// Reads with limits.
pub(crate) fn bounded<T>(read: impl FnOnce(Bounded<'_>) -> T) -> T {
    let (elements, bytes) = (Cell::new(MAX_ELEMENTS), Cell::new(MAX_OUTPUT));
    read(Bounded { elements: &elements, bytes: &bytes, depth: 0 })
}

impl Bounded<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let left = self.elements.get().checked_sub(1).filter(|_| self.depth < MAX_NESTING);
        self.elements.set(left.ok_or_else(|| E::custom("too large"))?);
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn text<E: Error>(self, text: &str) -> Result<Arc<str>, E> {
        let left = self.bytes.get().checked_sub(text.len());
        self.bytes.set(left.ok_or_else(|| E::custom("too large"))?);
        Ok(Arc::from(text))
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "as Go reads numbers")]
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Float(number as f64), Value::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(self.text(text)?))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self.inner()?)? {
            items.push(item);
        }
        Ok(Value::list(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(key) = from.next_key_seed(self.inner()?)? {
            let key = match key {
                Value::Text(key) => key,
                key @ (Value::Int(_) | Value::Bool(_)) => Arc::from(key.to_string()),
                _ => return Err(A::Error::custom("no key")),
            };
            fields.insert(key, from.next_value_seed(self.inner()?)?);
        }
        Ok(Value::map(fields))
    }
}
