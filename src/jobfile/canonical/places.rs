//! Where things stand in the file, by their path in the job, so that rules about the whole job can point at them.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::Object;
use super::read::AT;
use crate::report::Span;

/// Places by path, such as `job/group.0/task.1/driver`.
#[derive(Debug, Default)]
pub(crate) struct Places {
    blocks: HashMap<String, Block>,
    /// Places of what is there twice, of the second.
    twice: HashMap<String, Span>,
    /// Blocks of which a part could not be read.
    broken: HashSet<String>,
    /// Blocks that lack their label.
    unlabelled: HashSet<String>,
    groups: Vec<GroupPlace>,
}

/// The place of a block, and those of its attributes by their names.
#[derive(Debug, Default)]
struct Block {
    at: Option<Span>,
    attributes: BTreeMap<String, Span>,
}

/// Where a group and its tasks stand. A bare task of the job is a group as well.
#[derive(Debug, Default)]
struct GroupPlace {
    path: String,
    tasks: Vec<String>,
}

impl Places {
    pub(crate) fn record(&mut self, path: String, span: Span) {
        self.blocks.entry(path).or_default().at.get_or_insert(span);
    }

    /// Notes where an attribute of a block stands.
    pub(crate) fn record_attribute(&mut self, block: &str, name: &str, span: Span) {
        let block = match self.blocks.get_mut(block) {
            Some(block) => block,
            None => self.blocks.entry(block.to_owned()).or_default(),
        };
        block.attributes.entry(name.to_owned()).or_insert(span);
    }

    /// Notes where something stands, or stands again.
    pub(crate) fn record_each(&mut self, path: &str, span: Span) {
        if self.has(path) {
            self.twice.entry(path.to_owned()).or_insert(span);
        } else {
            self.record(path.to_owned(), span);
        }
    }

    /// The place of the second of two that have the same path.
    pub(crate) fn again(&self, path: &str) -> Option<Span> {
        self.twice.get(path).copied()
    }

    pub(crate) fn record_broken(&mut self, path: &str) {
        self.broken.insert(path.to_owned());
    }

    pub(crate) fn record_unlabelled(&mut self, path: &str) {
        self.unlabelled.insert(path.to_owned());
    }

    /// Whether a block has the label that it needs; it has been said if not.
    pub(crate) fn is_labelled(&self, path: &str) -> bool {
        !self.unlabelled.contains(path)
    }

    /// Whether all of a block could be read, so that what is not there is really missing.
    pub(crate) fn is_whole(&self, path: &str) -> bool {
        !self.broken.contains(path)
    }

    /// Notes the places of groups and tasks, which passes may have moved.
    pub(super) fn find_groups(&mut self, job: &Object) {
        let at = |value: &Value| value.get(AT).and_then(Value::as_str).unwrap_or("job").to_owned();
        self.groups = items(job.get("TaskGroups"))
            .map(|group| GroupPlace {
                path: at(group),
                tasks: items(group.get("Tasks")).map(at).collect(),
            })
            .collect();
    }

    /// The place of a path, or of the nearest thing around it that is written in the file.
    pub(crate) fn at(&self, path: &str) -> Span {
        let mut path = path;
        loop {
            if let Some(span) = self.exactly(path) {
                return span;
            }
            match path.rsplit_once('/') {
                Some((parent, _)) => path = parent,
                None => return Span::default(),
            }
        }
    }

    /// Whether exactly this is written in the file.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.exactly(path).is_some()
    }

    fn exactly(&self, path: &str) -> Option<Span> {
        if let Some(span) = self.blocks.get(path).and_then(|block| block.at) {
            return Some(span);
        }
        // The name behind the block may have slashes of its own.
        let mut splits = path.rmatch_indices('/').map(|(at, _)| path.split_at(at));
        let (block, name) = splits
            .find_map(|(block, name)| Some((self.blocks.get(block)?, name.strip_prefix('/')?)))?;
        block.attributes.get(name).copied()
    }

    pub(crate) fn group(&self, at: usize) -> &str {
        self.groups.get(at).map_or("job", |group| &group.path)
    }

    pub(crate) fn task(&self, group: usize, task: usize) -> &str {
        self.groups
            .get(group)
            .and_then(|group| group.tasks.get(task))
            .map_or_else(|| self.group(group), String::as_str)
    }
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}
