//! The last step: what nobody said stands there as its default, and what only the reading needed goes.
//!
//! No second tree is built: serde goes through what was said, and is told of the rest on the way.

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

use super::Object;
use crate::schema::{self, Absent, Attribute, Rule, Schema, Shape, Unset};

/// An object of a schema's, with its defaults and without what is not part of the canonical form, for serde to read.
pub(crate) struct Filled {
    said: Object,
    schema: &'static Schema,
}

impl Filled {
    pub(crate) fn new(said: Object, schema: &'static Schema) -> Self {
        Self { said, schema }
    }

    fn fields(self) -> Fields {
        Fields {
            said: self.said,
            attributes: self.schema.attributes.iter(),
            blocks: self.schema.blocks.iter(),
            rest: None,
            value: None,
        }
    }
}

impl<'de> Deserializer<'de> for Filled {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self.fields())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The fields of an object, one after the other: attributes, blocks, and what has no rule.
struct Fields {
    said: Object,
    attributes: std::slice::Iter<'static, Attribute>,
    blocks: std::slice::Iter<'static, Rule>,
    rest: Option<serde_json::map::IntoIter>,
    value: Option<Content>,
}

impl Fields {
    /// The next field that has a rule.
    fn ruled(&mut self) -> Option<(&'static str, Content)> {
        if let Some(rule) = self.attributes.find(|rule| !rule.json.starts_with('@')) {
            let said = self.said.remove(rule.json).filter(|value| !is_nothing(value));
            return Some((rule.json, Content::Plain(said.unwrap_or_else(|| unset(rule)))));
        }
        loop {
            let rule = self.blocks.find(|rule| !rule.json.starts_with('@'))?;
            let said = self.said.remove(rule.json).filter(|value| !value.is_null());
            if let Some(content) = block(said, rule) {
                return Some((rule.json, content));
            }
        }
    }

    /// Labels, and what a pass has added.
    fn unruled(&mut self) -> Option<(String, Content)> {
        let said = &mut self.said;
        let rest = self.rest.get_or_insert_with(|| std::mem::take(said).into_iter());
        let (name, value) = rest.find(|(name, _)| !name.starts_with('@'))?;
        let content = match value {
            Value::Object(own) if name == "Identity" => Content::One(own, schema::identity()),
            value => Content::Plain(value),
        };
        Some((name, content))
    }
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        if let Some((name, content)) = self.ruled() {
            self.value = Some(content);
            return seed.deserialize(StrDeserializer::<Error>::new(name)).map(Some);
        }
        let Some((name, content)) = self.unruled() else { return Ok(None) };
        self.value = Some(content);
        seed.deserialize(StringDeserializer::<Error>::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(self.value.take().unwrap_or(Content::Plain(Value::Null)))
    }
}

/// The value of a field.
enum Content {
    /// It has no schema.
    Plain(Value),
    One(Object, &'static Schema),
    Many(Vec<Value>, &'static Schema),
    Keyed(Object, &'static Schema),
}

impl Content {
    fn item(value: Value, schema: &'static Schema) -> Self {
        match value {
            Value::Object(said) => Self::One(said, schema),
            other => Self::Plain(other),
        }
    }
}

impl<'de> Deserializer<'de> for Content {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Plain(value) => value.deserialize_any(visitor),
            Self::One(said, schema) => Filled::new(said, schema).deserialize_any(visitor),
            Self::Many(items, schema) => {
                visitor.visit_seq(Items { items: items.into_iter(), schema })
            }
            Self::Keyed(items, schema) => {
                visitor.visit_map(Entries { items: items.into_iter(), schema, value: None })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Plain(Value::Null) => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Self::Plain(value) => value.deserialize_enum(name, variants, visitor),
            _ => Err(Error::invalid_type(Unexpected::Map, &"one of several words")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The objects of a list.
struct Items {
    items: std::vec::IntoIter<Value>,
    schema: &'static Schema,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let next = self.items.next();
        next.map(|item| seed.deserialize(Content::item(item, self.schema))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// Objects by their labels.
struct Entries {
    items: serde_json::map::IntoIter,
    schema: &'static Schema,
    value: Option<Value>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.items.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(StringDeserializer::<Error>::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(Content::item(self.value.take().unwrap_or_default(), self.schema))
    }
}

/// What stands for a block; nothing where not even its name does.
fn block(said: Option<Value>, rule: &'static Rule) -> Option<Content> {
    let content = match (rule.shape, said) {
        (Shape::One, Some(Value::Object(said))) => Content::One(said, rule.schema()),
        (Shape::One, _) => match rule.absent {
            Absent::Null => Content::Plain(Value::Null),
            Absent::Left => return None,
            Absent::Filled => Content::One(Object::new(), rule.schema()),
        },
        (Shape::Many, Some(Value::Array(items))) if !items.is_empty() => {
            Content::Many(items, rule.schema())
        }
        (Shape::Keyed, Some(Value::Object(items))) if !items.is_empty() => {
            Content::Keyed(items, rule.schema())
        }
        (Shape::Texts | Shape::Lists | Shape::Any, Some(Value::Object(items)))
            if !items.is_empty() || rule.absent == Absent::Filled =>
        {
            Content::Plain(Value::Object(items))
        }
        (Shape::Texts, None) if rule.absent == Absent::Filled => {
            Content::Plain(Object::new().into())
        }
        _ => Content::Plain(Value::Null),
    };
    Some(content)
}

/// An empty list says as much as none.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    }
}

fn unset(rule: &Attribute) -> Value {
    match rule.unset {
        Unset::Null => Value::Null,
        Unset::Text(text) => text.into(),
        Unset::Flag(flag) => flag.into(),
        Unset::Whole(n) => n.into(),
        Unset::EmptyList => Value::Array(Vec::new()),
    }
}
