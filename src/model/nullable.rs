//! Serde for what Go writes as null when there is nothing in it: lists, maps, and numbers that were not given.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether a value says nothing.
pub trait Nothing {
    /// Whether it is written as null.
    fn is_nothing(&self) -> bool;
}

impl<T> Nothing for Vec<T> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Nothing for BTreeMap<K, V> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl Nothing for i64 {
    fn is_nothing(&self) -> bool {
        *self == 0
    }
}

impl Nothing for u64 {
    fn is_nothing(&self) -> bool {
        *self == 0
    }
}

/// Writes null for nothing.
pub fn serialize<T: Nothing + Serialize, S: Serializer>(
    value: &T,
    to: S,
) -> Result<S::Ok, S::Error> {
    if value.is_nothing() { to.serialize_none() } else { value.serialize(to) }
}

/// Reads null as nothing.
pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
