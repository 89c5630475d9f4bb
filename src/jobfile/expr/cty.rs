//! The values that expressions are made of, each of a type, as in HCL.
//!
//! A list, a set and a tuple differ, as do a map and an object, and each null has a type: equality, conditionals and
//! conversions ask for it. Whoever decodes a job sees none of this but [`super::Value`], plain data.
//!
//! A value is shared, never copied: `var.x` costs the same for any `x`.

mod compare;
mod convert;
mod decimal;
mod json;
mod kind;
mod number;
mod plain;
mod unify;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

pub(super) use compare::{equal, set};
pub(super) use convert::convert;
pub(super) use decimal::Decimal;
pub(super) use json::{decode as from_json, encode as to_json};
pub(crate) use kind::Type;
pub(super) use kind::type_of;
pub(super) use number::Number;
pub(super) use plain::{from_plain, plain_number, to_plain};
pub(super) use unify::unify;

/// The elements of a map or the attributes of an object, in the order of their names.
pub(super) type Fields = BTreeMap<Rc<str>, Value>;

/// A value and its type.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, of a type. A `null` that is written out is of any.
    Null(Rc<Type>),
    Bool(bool),
    Number(Number),
    /// In Unicode's normal form C.
    String(Rc<str>),
    /// Elements of one type.
    List(Sequence),
    /// Elements of one type, each once, in the order of sets.
    Set(Sequence),
    /// Elements, each of its own type; the sequence's type means nothing.
    Tuple(Sequence),
    /// Elements of one type.
    Map(Mapping),
    /// Attributes, each of its own type; the mapping's type means nothing.
    Object(Mapping),
    /// What could not be evaluated. It has been reported; whoever meets it says no more.
    Failed,
}

/// Elements in a row.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub(super) of: Rc<Type>,
    pub(super) items: Rc<[Value]>,
    size: usize,
}

/// Elements by name.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    pub(super) of: Rc<Type>,
    pub(super) items: Rc<Fields>,
    size: usize,
}

impl Sequence {
    fn new(of: Rc<Type>, items: Vec<Value>) -> Self {
        let size = items.iter().map(Value::size).fold(48, usize::saturating_add);
        Self { of, items: items.into(), size }
    }
}

impl Mapping {
    fn new(of: Rc<Type>, items: Fields) -> Self {
        let each = items.iter().map(|(name, value)| (40 + name.len()).saturating_add(value.size()));
        let size = each.fold(48, usize::saturating_add);
        Self { of, items: Rc::new(items), size }
    }
}

thread_local! {
    /// Nearly every null and empty collection is of any type.
    static ANY: Rc<Type> = Rc::new(Type::Any);
}

fn any() -> Rc<Type> {
    ANY.with(Rc::clone)
}

/// Text in Unicode's normal form C, so that two that look alike are alike.
pub(crate) fn normal(text: &str) -> Cow<'_, str> {
    // Everything below the first combining mark is in its normal form.
    if text.chars().all(|c| c < '\u{300}') {
        return Cow::Borrowed(text);
    }
    icu_normalizer::ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

impl Value {
    pub(super) fn null() -> Self {
        Self::Null(any())
    }

    pub(super) fn null_of(kind: Type) -> Self {
        Self::Null(Rc::new(kind))
    }

    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self::String(normal(text.as_ref()).as_ref().into())
    }

    pub(super) const fn int(n: i64) -> Self {
        Self::Number(Number::Int(n))
    }

    /// A length or a place.
    pub(super) fn count(n: usize) -> Self {
        Self::int(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// Elements that are of this type.
    pub(super) fn list(of: Type, items: Vec<Self>) -> Self {
        Self::List(Sequence::new(Rc::new(of), items))
    }

    fn set_of(of: Type, items: Vec<Self>) -> Self {
        Self::Set(Sequence::new(Rc::new(of), items))
    }

    pub(super) fn texts(items: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::list(Type::String, items.into_iter().map(Self::text).collect())
    }

    pub(super) fn tuple(items: Vec<Self>) -> Self {
        Self::Tuple(Sequence::new(any(), items))
    }

    pub(super) fn map(of: Type, items: Fields) -> Self {
        Self::Map(Mapping::new(Rc::new(of), items))
    }

    pub(super) fn object(items: Fields) -> Self {
        Self::Object(Mapping::new(any(), items))
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Null(_))
    }

    /// The elements of what holds them in a row.
    pub(super) fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Set(items) | Self::Tuple(items) => Some(&items.items),
            _ => None,
        }
    }

    /// The elements of what holds them by name.
    pub(super) fn fields(&self) -> Option<&Fields> {
        match self {
            Self::Map(items) | Self::Object(items) => Some(&items.items),
            _ => None,
        }
    }

    /// The kind of value, in words for a message.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null(_) => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) | Self::Tuple(_) => "a list",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
            Self::Object(_) => "an object",
            Self::Failed => "nothing",
        }
    }

    /// A string, or a number or bool as text.
    pub(super) fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::String(text) => Some(Cow::Borrowed(text)),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            _ => None,
        }
    }

    /// A number, also one written as text.
    pub(super) fn as_number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(number.clone()),
            Self::String(text) => Number::parse(text),
            _ => None,
        }
    }

    /// A bool, also one written as text.
    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            Self::String(text) => match text.as_ref() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// How many bytes it would have if nothing of it were shared; known at once. What goes through a value costs so much.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::String(text) => 40 + text.len(),
            Self::Number(number) => number.size(),
            Self::List(items) | Self::Set(items) | Self::Tuple(items) => items.size,
            Self::Map(items) | Self::Object(items) => items.size,
            Self::Null(_) | Self::Bool(_) | Self::Failed => 24,
        }
    }

    /// Whether a failed evaluation is anywhere inside.
    pub(super) fn has_failed(&self) -> bool {
        match self {
            Self::Failed => true,
            Self::List(items) | Self::Set(items) | Self::Tuple(items) => {
                items.items.iter().any(Self::has_failed)
            }
            Self::Map(items) | Self::Object(items) => items.items.values().any(Self::has_failed),
            _ => false,
        }
    }
}
