//! Where things stand in the file, by their path in the job, so that rules about the whole job can point at them.

use std::collections::BTreeMap;

use crate::report::Span;

/// Places by path, such as `job/group.0/task.1/driver`.
#[derive(Debug, Default)]
pub(crate) struct Places {
    spans: BTreeMap<String, Span>,
    groups: Vec<GroupPlace>,
}

/// Where a group and its tasks come from. A bare task of the job is a group as well.
#[derive(Debug, Default)]
pub(crate) struct GroupPlace {
    pub(crate) path: String,
    pub(crate) tasks: Vec<String>,
}

impl Places {
    pub(crate) fn record(&mut self, path: String, span: Span) {
        self.spans.entry(path).or_insert(span);
    }

    pub(crate) fn add_group(&mut self, group: GroupPlace) {
        self.groups.push(group);
    }

    /// The place of a path, or of the nearest thing around it that is written in the file.
    pub(crate) fn at(&self, path: &str) -> Span {
        let mut path = path;
        loop {
            if let Some(span) = self.spans.get(path) {
                return *span;
            }
            match path.rsplit_once('/') {
                Some((parent, _)) => path = parent,
                None => return Span::default(),
            }
        }
    }

    /// Whether exactly this is written in the file.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.spans.contains_key(path)
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
