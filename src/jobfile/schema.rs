//! The grammar of job files, as one table: every attribute and block with its name in job files, its name in Nomad's
//! API JSON, its type, what it is when nothing is said, and what Herder does with it (nomad.md 1.1).
//!
//! Reading, printing, checking, documenting and comparing jobs all follow this table, so that they cannot disagree.

mod connect;
mod group;
mod job;
mod material;
mod network;
mod service;
mod task;

/// What Herder does with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is acted on.
    Acted,
    /// It is kept, and nothing is done about it yet.
    Later,
    /// Nomad itself has given it up.
    Gone,
    /// Herder has it and Nomad has not.
    Ours,
}

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    Flag,
    /// A whole number from, to.
    Whole(i64, i64),
    /// Text such as `"1m30s"`, or a number of nanoseconds. Nanoseconds in JSON.
    Duration,
    Texts,
    /// A list of whole numbers from 0 to 65,535.
    Ports,
    /// A map from text to text that is written as an attribute only.
    TextMap,
}

/// What stands in the canonical form when nothing is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unset {
    Null,
    Text(&'static str),
    Flag(bool),
    Whole(i64),
    EmptyList,
}

/// An attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute {
    /// Its name in job files.
    pub(crate) name: &'static str,
    /// Its name in JSON. With `@` in front it does not come so far: a pass reads it and takes it away.
    pub(crate) json: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unset: Unset,
    pub(crate) status: Status,
    /// What to write, where it must be written.
    pub(crate) required: Option<&'static str>,
}

/// What a block becomes in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An object.
    One,
    /// A list of objects.
    Many,
    /// An object of objects by their label.
    Keyed,
    /// A map from text to text.
    Texts,
    /// A map from text to lists of texts.
    Lists,
    /// Any map; blocks in it are attributes.
    Any,
}

/// What stands in the canonical form where a block is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Null,
    /// The block as if it were there and empty.
    Filled,
    /// Not even its name.
    Left,
}

/// A block inside another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// As [`Attribute::json`].
    pub(crate) json: &'static str,
    pub(crate) shape: Shape,
    /// The label's name in JSON; nothing for a block without one.
    pub(crate) label: Option<&'static str>,
    /// Whether `name = { … }` is as good.
    pub(crate) or_attribute: bool,
    pub(crate) absent: Absent,
    pub(crate) status: Status,
    body: fn() -> &'static Schema,
}

impl Rule {
    pub(crate) fn schema(&self) -> &'static Schema {
        (self.body)()
    }

    pub(crate) const fn labels(&self) -> usize {
        if self.label.is_some() { 1 } else { 0 }
    }

    pub(crate) const fn repeated(&self) -> bool {
        matches!(self.shape, Shape::Many | Shape::Keyed)
    }
}

/// The inside of a block.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) attributes: &'static [Attribute],
    pub(crate) blocks: &'static [Rule],
    /// Any name goes, and blocks are attributes.
    pub(crate) open: bool,
}

impl Schema {
    pub(crate) fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn block(&self, name: &str) -> Option<&'static Rule> {
        self.blocks.iter().find(|block| block.name == name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let (attributes, blocks) = (self.attributes, self.blocks);
        attributes.iter().map(|a| a.name).chain(blocks.iter().map(|b| b.name))
    }
}

/// Anything at all.
pub(crate) static OPAQUE: Schema = Schema { attributes: &[], blocks: &[], open: true };

/// The file itself.
pub(crate) static ROOT: Schema = Schema {
    attributes: &[texts("include", "@include").ours()],
    blocks: &[
        labelled("job", "Job", "@label", || &job::JOB),
        labelled("variable", "@variable", "@label", || &VARIABLE),
        many("variables", "@variables", opaque),
        many("locals", "@locals", opaque),
    ],
    open: false,
};

/// `job {}`.
pub(crate) fn job() -> &'static Schema {
    &job::JOB
}

/// `identity {}`, which a pass moves.
pub(crate) fn identity() -> &'static Schema {
    &material::IDENTITY
}

static VARIABLE: Schema = Schema {
    attributes: &[
        text("type", "@type"),
        text("default", "@default"),
        text("description", "@description"),
        flag("sensitive", "@sensitive"),
        flag("nullable", "@nullable"),
    ],
    blocks: &[many("validation", "@validation", || &VALIDATION)],
    open: false,
};

static VALIDATION: Schema = Schema {
    attributes: &[text("condition", "@condition"), text("error_message", "@error_message")],
    blocks: &[],
    open: false,
};

const fn attribute(name: &'static str, json: &'static str, kind: Kind, unset: Unset) -> Attribute {
    Attribute { name, json, kind, unset, status: Status::Acted, required: None }
}

const fn text(name: &'static str, json: &'static str) -> Attribute {
    attribute(name, json, Kind::Text, Unset::Text(""))
}

const fn choice(
    name: &'static str,
    json: &'static str,
    words: &'static [&'static str],
) -> Attribute {
    attribute(name, json, Kind::Choice(words), Unset::Text(""))
}

const fn flag(name: &'static str, json: &'static str) -> Attribute {
    attribute(name, json, Kind::Flag, Unset::Flag(false))
}

const fn whole(name: &'static str, json: &'static str, least: i64, most: i64) -> Attribute {
    attribute(name, json, Kind::Whole(least, most), Unset::Whole(0))
}

/// A number that may be as large as an `int` of Nomad's goes.
const fn count(name: &'static str, json: &'static str) -> Attribute {
    whole(name, json, 0, i32::MAX as i64)
}

const fn duration(name: &'static str, json: &'static str) -> Attribute {
    attribute(name, json, Kind::Duration, Unset::Whole(0))
}

const fn texts(name: &'static str, json: &'static str) -> Attribute {
    attribute(name, json, Kind::Texts, Unset::Null)
}

const fn text_map(name: &'static str, json: &'static str) -> Attribute {
    attribute(name, json, Kind::TextMap, Unset::Null)
}

impl Attribute {
    const fn or(self, text: &'static str) -> Self {
        Self { unset: Unset::Text(text), ..self }
    }

    const fn or_flag(self, flag: bool) -> Self {
        Self { unset: Unset::Flag(flag), ..self }
    }

    const fn or_whole(self, n: i64) -> Self {
        Self { unset: Unset::Whole(n), ..self }
    }

    const fn or_seconds(self, n: i64) -> Self {
        Self { unset: Unset::Whole(n * 1_000_000_000), ..self }
    }

    const fn or_null(self) -> Self {
        Self { unset: Unset::Null, ..self }
    }

    const fn or_empty(self) -> Self {
        Self { unset: Unset::EmptyList, ..self }
    }

    const fn required(self, help: &'static str) -> Self {
        Self { required: Some(help), ..self }
    }

    const fn later(self) -> Self {
        Self { status: Status::Later, ..self }
    }

    const fn gone(self) -> Self {
        Self { status: Status::Gone, ..self }
    }

    const fn ours(self) -> Self {
        Self { status: Status::Ours, ..self }
    }
}

const fn block(
    name: &'static str,
    json: &'static str,
    shape: Shape,
    body: fn() -> &'static Schema,
) -> Rule {
    Rule {
        name,
        json,
        shape,
        label: None,
        or_attribute: false,
        absent: Absent::Null,
        status: Status::Acted,
        body,
    }
}

const fn one(name: &'static str, json: &'static str, body: fn() -> &'static Schema) -> Rule {
    block(name, json, Shape::One, body)
}

const fn many(name: &'static str, json: &'static str, body: fn() -> &'static Schema) -> Rule {
    block(name, json, Shape::Many, body)
}

const fn labelled(
    name: &'static str,
    json: &'static str,
    label: &'static str,
    body: fn() -> &'static Schema,
) -> Rule {
    Rule { label: Some(label), ..block(name, json, Shape::Many, body) }
}

const fn keyed(
    name: &'static str,
    json: &'static str,
    label: &'static str,
    body: fn() -> &'static Schema,
) -> Rule {
    Rule { label: Some(label), ..block(name, json, Shape::Keyed, body) }
}

/// A block of texts that may also be written as an attribute, because any key is allowed in it.
const fn map(name: &'static str, json: &'static str) -> Rule {
    Rule { or_attribute: true, ..block(name, json, Shape::Texts, opaque) }
}

/// A block of anything, which may also be written as an attribute.
const fn any(name: &'static str, json: &'static str) -> Rule {
    Rule { or_attribute: true, ..block(name, json, Shape::Any, opaque) }
}

impl Rule {
    const fn filled(self) -> Self {
        Self { absent: Absent::Filled, ..self }
    }

    const fn left(self) -> Self {
        Self { absent: Absent::Left, ..self }
    }

    const fn later(self) -> Self {
        Self { status: Status::Later, ..self }
    }

    const fn gone(self) -> Self {
        Self { status: Status::Gone, ..self }
    }

    const fn ours(self) -> Self {
        Self { status: Status::Ours, ..self }
    }
}

fn opaque() -> &'static Schema {
    &OPAQUE
}
