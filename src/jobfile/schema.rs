//! The grammar of job files: which attributes and blocks exist where, and which of them Herder acts on.
//!
//! YAML needs it to tell blocks from attributes, the decoder to tell mistakes from names it merely does not read, and
//! the documentation is made from it.

mod group;
mod job;
mod service;
mod task;

/// What Herder does with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is read.
    Acted,
    /// Nomad has it; Herder knows it and does nothing about it yet.
    Later,
    /// As [`Self::Later`], but a job that has it must not run as if it had not.
    Refused,
    /// Nomad itself has given it up.
    Gone,
}

/// An attribute.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) name: &'static str,
    pub(crate) status: Status,
}

/// A block inside another.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) labels: usize,
    pub(crate) repeated: bool,
    /// Whether `name = { … }` is as good.
    pub(crate) or_attribute: bool,
    pub(crate) status: Status,
    body: fn() -> &'static Schema,
}

impl Rule {
    pub(crate) fn schema(&self) -> &'static Schema {
        (self.body)()
    }
}

/// The inside of a block.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) attributes: &'static [Name],
    pub(crate) blocks: &'static [Rule],
    /// Any name goes, and blocks are attributes.
    pub(crate) open: bool,
}

impl Schema {
    pub(crate) fn attribute(&self, name: &str) -> Option<&'static Name> {
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
    attributes: &[],
    blocks: &[
        many("job", 1, || &job::JOB),
        many("variable", 1, || &VARIABLE),
        many("variables", 0, opaque),
        many("locals", 0, opaque),
    ],
    open: false,
};

static VARIABLE: Schema = Schema {
    attributes: &[
        acted("type"),
        acted("default"),
        acted("description"),
        acted("sensitive"),
        acted("nullable"),
    ],
    blocks: &[many("validation", 0, || &VALIDATION)],
    open: false,
};

static VALIDATION: Schema =
    Schema { attributes: &[acted("condition"), acted("error_message")], blocks: &[], open: false };

const fn acted(name: &'static str) -> Name {
    Name { name, status: Status::Acted }
}

const fn later(name: &'static str) -> Name {
    Name { name, status: Status::Later }
}

const fn gone(name: &'static str) -> Name {
    Name { name, status: Status::Gone }
}

const fn block(
    name: &'static str,
    labels: usize,
    repeated: bool,
    status: Status,
    body: fn() -> &'static Schema,
) -> Rule {
    Rule { name, labels, repeated, or_attribute: false, status, body }
}

const fn one(name: &'static str, body: fn() -> &'static Schema) -> Rule {
    block(name, 0, false, Status::Acted, body)
}

const fn many(name: &'static str, labels: usize, body: fn() -> &'static Schema) -> Rule {
    block(name, labels, true, Status::Acted, body)
}

/// A block that may also be written as an attribute, because any key is allowed in it.
const fn map(name: &'static str) -> Rule {
    let rule = block(name, 0, false, Status::Acted, opaque);
    Rule { or_attribute: true, ..rule }
}

const fn later_block(name: &'static str, labels: usize) -> Rule {
    block(name, labels, true, Status::Later, opaque)
}

/// A block whose job would do harm if it ran without it.
const fn refused_block(name: &'static str) -> Rule {
    block(name, 0, true, Status::Refused, opaque)
}

const fn gone_block(name: &'static str) -> Rule {
    block(name, 0, true, Status::Gone, opaque)
}

fn opaque() -> &'static Schema {
    &OPAQUE
}
