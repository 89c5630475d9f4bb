//! What differs between two versions of a job, in the shape of Nomad's plan (nomad.md section 4), and what each
//! difference means for what runs.
//!
//! One walk over the jobs' JSON makes both: the [`JobDiff`] that people see and the list of [`FieldChange`]s that
//! [`compare`](crate::compare) decides by, so that a plan can never say one thing and the leader do another. Values that
//! may be secret are replaced in the walk; a diff shows that they changed (law 7).

mod align;
#[cfg(test)]
mod apply;
mod class;
mod free;
mod identity;
mod path;
#[cfg(test)]
mod property;
mod schema;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use model::wire::{
    ChangeClass, DiffType, FieldChange, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff,
};
use model::{Group, Job, Task, combined_meta};
use serde::Serialize;
use serde_json::Value;

use path::Scope;
use walk::Walk;

/// Blocks of a job that its groups start from.
const INHERITED: &[&str] = &["Update", "ReschedulePolicy", "MigrateStrategy"];

/// A change, and its place in the list of changes.
struct Noted {
    order: (usize, usize),
    change: FieldChange,
}

/// What differs between two versions of a job; `None` stands for a job that is not there.
pub fn diff_jobs(old: Option<&Job>, new: Option<&Job>) -> JobDiff {
    if let (Some(job), true) = (old, old == new) {
        return unchanged(job);
    }
    let names = |job: Option<&Job>| -> Vec<String> {
        job.into_iter().flat_map(|job| &job.task_groups).map(|group| group.name.clone()).collect()
    };
    let groups = in_order(names(old), names(new));
    let mut meta = BTreeSet::new();
    let mut task_groups = Vec::with_capacity(groups.len());
    for name in groups {
        let (diff, _) = diff_groups(&name, old, new);
        meta.extend(meta_of_group(old, new, &name));
        task_groups.push(diff);
    }
    let mut walk = Walk::new(Scope::Job, meta, DiffType::of(old.is_some(), new.is_some(), true));
    let (mut fields, mut objects) = walk.top(json(old).as_ref(), json(new).as_ref());
    if let (Some(old), Some(new)) = (old, new)
        && old.id != new.id
    {
        let (old, new) = (old.id.to_string(), new.id.to_string());
        let kind = DiffType::Edited;
        fields.push(FieldDiff { kind, name: "ID".to_owned(), old, new, annotations: Vec::new() });
    }
    // What all groups start from is told where it lands.
    objects.retain(|object| {
        !(INHERITED.contains(&object.name.as_str())
            && task_groups.iter().any(|group| shows(group, &object.name)))
    });
    let same = fields.is_empty()
        && objects.is_empty()
        && task_groups.iter().all(|group| group.kind == DiffType::None);
    JobDiff {
        kind: DiffType::of(old.is_some(), new.is_some(), same),
        id: new.or(old).map(|job| job.id.to_string()).unwrap_or_default(),
        fields,
        objects,
        task_groups,
    }
}

fn unchanged(job: &Job) -> JobDiff {
    let group =
        |group: &Group| TaskGroupDiff { name: group.name.clone(), ..TaskGroupDiff::default() };
    JobDiff {
        id: job.id.to_string(),
        task_groups: job.task_groups.iter().map(group).collect(),
        ..JobDiff::default()
    }
}

/// All changes of a job as far as `group` is concerned: those that replace allocations first, then those in place.
pub fn changes(old: &Job, new: &Job, group: &str) -> Vec<FieldChange> {
    let (Some(_), Some(_)) = (old.group(group), new.group(group)) else {
        if old.group(group).is_none() && new.group(group).is_none() {
            return Vec::new();
        }
        let reason = if new.group(group).is_some() {
            "the group is new"
        } else {
            "the group is not in the job any more"
        };
        return vec![FieldChange {
            path: format!("group \"{group}\""),
            class: ChangeClass::Destructive,
            reason: reason.to_owned(),
        }];
    };
    listed(old, new, std::iter::once(group))
}

/// All changes of a job that has run: its own and those of each group that stays.
pub fn changes_of_job(old: &Job, new: &Job) -> Vec<FieldChange> {
    let stay = new.task_groups.iter().filter(|group| old.group(&group.name).is_some());
    listed(old, new, stay.map(|group| group.name.as_str()))
}

fn listed<'a>(old: &Job, new: &Job, groups: impl Iterator<Item = &'a str>) -> Vec<FieldChange> {
    if old == new {
        return Vec::new();
    }
    let (old, new) = (Some(old), Some(new));
    let mut meta = BTreeSet::new();
    let mut all = Vec::new();
    for group in groups {
        all.extend(diff_groups(group, old, new).1);
        meta.extend(meta_of_group(old, new, group));
    }
    let mut walk = Walk::new(Scope::Job, meta, DiffType::None);
    walk.top(json(old).as_ref(), json(new).as_ref());
    all.extend(walk.changes);
    all.sort_by(|a, b| {
        let key = |noted: &Noted| (noted.change.class.rank(), noted.order);
        (key(a), &a.change.path).cmp(&(key(b), &b.change.path))
    });
    all.into_iter().map(|noted| noted.change).collect()
}

fn diff_groups(name: &str, old: Option<&Job>, new: Option<&Job>) -> (TaskGroupDiff, Vec<Noted>) {
    let meta = meta_of_group(old, new, name);
    let (before, after) =
        (old.and_then(|job| job.group(name)), new.and_then(|job| job.group(name)));
    let whole = DiffType::of(before.is_some(), after.is_some(), true);
    let mut walk = Walk::new(Scope::Group(name.to_owned()), meta, whole);
    let (fields, objects) = walk.top(json(before).as_ref(), json(after).as_ref());
    let mut changes = walk.changes;
    let names = |group: Option<&Group>| -> Vec<String> {
        group.into_iter().flat_map(|group| &group.tasks).map(|task| task.name.clone()).collect()
    };
    let mut tasks = Vec::new();
    for (at, task) in in_order(names(before), names(after)).into_iter().enumerate() {
        let pair =
            (before.and_then(|group| group.task(&task)), after.and_then(|group| group.task(&task)));
        let meta = meta_of_task((old, before, pair.0), (new, after, pair.1));
        let (diff, made) = diff_tasks((name, &task, at), pair, meta, whole);
        changes.extend(made);
        if diff.kind != DiffType::None {
            tasks.push(diff);
        }
    }
    let same = fields.is_empty() && objects.is_empty() && tasks.is_empty();
    let kind = DiffType::of(before.is_some(), after.is_some(), same);
    let updates = BTreeMap::new();
    (TaskGroupDiff { kind, name: name.to_owned(), fields, objects, tasks, updates }, changes)
}

fn diff_tasks(
    (group, name, at): (&str, &str, usize),
    (old, new): (Option<&Task>, Option<&Task>),
    meta: BTreeSet<String>,
    group_kind: DiffType,
) -> (TaskDiff, Vec<Noted>) {
    let scope = Scope::Task { group: group.to_owned(), task: name.to_owned(), at };
    let whole = DiffType::of(old.is_some(), new.is_some(), true);
    let mut walk = Walk::new(scope, meta, whole);
    let (fields, objects) = walk.top(json(old).as_ref(), json(new).as_ref());
    if whole != DiffType::None && group_kind == DiffType::None {
        walk.whole_task();
    }
    let same = fields.is_empty() && objects.is_empty();
    let kind = DiffType::of(old.is_some(), new.is_some(), same);
    let words = match (group_kind, kind) {
        (DiffType::Added, _) => Some("forces create"),
        (DiffType::Deleted, _) => Some("forces destroy"),
        (_, DiffType::None) => None,
        _ => walk
            .changes
            .iter()
            .map(|noted| noted.change.class)
            .min_by_key(|class| class.rank())
            .and_then(ChangeClass::annotation),
    };
    let annotations = words.into_iter().map(str::to_owned).collect();
    (TaskDiff { kind, name: name.to_owned(), fields, objects, annotations }, walk.changes)
}

fn shows(group: &TaskGroupDiff, name: &str) -> bool {
    let changed = |object: &ObjectDiff| object.name == name && object.kind != DiffType::None;
    group.objects.iter().any(changed)
}

/// The keys of metadata whose combined value changes for a task of the group, where such a change replaces allocations.
fn meta_of_group(old: Option<&Job>, new: Option<&Job>, group: &str) -> BTreeSet<String> {
    let (before, after) =
        (old.and_then(|job| job.group(group)), new.and_then(|job| job.group(group)));
    let tasks = after.into_iter().flat_map(|group| &group.tasks);
    tasks
        .flat_map(|task| {
            let previous = before.and_then(|group| group.task(&task.name));
            meta_of_task((old, before, previous), (new, after, Some(task)))
        })
        .collect()
}

type Place<'a> = (Option<&'a Job>, Option<&'a Group>, Option<&'a Task>);

fn meta_of_task(old: Place<'_>, new: Place<'_>) -> BTreeSet<String> {
    let ((Some(old_job), Some(before), Some(old_task)), (Some(new_job), Some(after), Some(task))) =
        (old, new)
    else {
        return BTreeSet::new();
    };
    if !new_job.gitops.restart_on_meta {
        return BTreeSet::new();
    }
    let was = combined_meta(old_job, before, Some(old_task));
    let is = combined_meta(new_job, after, Some(task));
    was.keys()
        .chain(is.keys())
        .filter(|key| was.get(*key) != is.get(*key))
        .map(|key| (*key).to_owned())
        .collect()
}

fn json<T: Serialize>(value: Option<&T>) -> Option<Value> {
    value.and_then(|value| serde_json::to_value(value).ok())
}

/// The new ones in their order, then those that are gone.
fn in_order(old: Vec<String>, new: Vec<String>) -> Vec<String> {
    let gone = old.into_iter().filter(|name| !new.contains(name)).collect::<Vec<_>>();
    new.into_iter().chain(gone).collect()
}
