//! A difference applied to a job gives the other one, whatever the two are.

use model::Job;
use model::wire::{DiffType, FieldDiff, JobDiff, ObjectDiff};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::apply::{apply, meaning};
use super::{changes, diff_jobs};

const FULL: &str = include_str!("golden/full.json");

/// A job with all there is, two groups and lists of some length.
fn base() -> Value {
    let mut job: Value = serde_json::from_str(FULL).expect("is JSON");
    for pointer in [
        "/Constraints",
        "/TaskGroups",
        "/TaskGroups/0/Tasks",
        "/TaskGroups/0/Tasks/0/Templates",
        "/TaskGroups/0/Tasks/0/Artifacts",
        "/TaskGroups/0/Tasks/0/VolumeMounts",
        "/TaskGroups/0/Services",
        "/TaskGroups/0/Services/0/Checks",
        "/TaskGroups/0/Networks/0/DynamicPorts",
    ] {
        let list = job.pointer_mut(pointer).expect("is there").as_array_mut().expect("is a list");
        let more: &[&str] = if pointer.ends_with("Tasks") || pointer.ends_with("Groups") {
            &["b"]
        } else {
            &["b", "c"]
        };
        for n in more {
            let mut copy = list[0].clone();
            for key in ["Name", "Label", "DestPath", "GetterSource", "Destination", "LTarget"] {
                if copy.get(key).is_some() {
                    copy[key] = json!(n);
                }
            }
            list.push(copy);
        }
    }
    for group in job["TaskGroups"].as_array_mut().expect("is a list") {
        for task in group["Tasks"].as_array_mut().expect("is a list") {
            // Their values are never shown.
            task["Secrets"][0]["Config"] = Value::Null;
            task["Secrets"][0]["Env"] = Value::Null;
        }
    }
    let task = &mut job["TaskGroups"][0]["Tasks"][0];
    task["Config"] = json!({
        "image": "a",
        "args": ["a", "b", "c"],
        "labels": { "a": "b", "8080": "c" },
        "mount": [{ "target": "a", "readonly": true }, { "target": "b", "options": [1, 2] }],
        "deep": [["a"], { "b": [] }, null],
    });
    job
}

/// Changes one thing of a value, chosen by numbers.
fn mutate(value: &mut Value, key: &str, choices: &mut std::slice::Iter<'_, u16>) {
    let mut next = || choices.next().copied().map_or(0, usize::from);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let choice = next();
            let names: Vec<String> = map.keys().cloned().collect();
            let name = &names[choice % names.len()];
            if choice.is_multiple_of(23) && !["TaskGroups", "Tasks"].contains(&name.as_str()) {
                map.remove(name);
            } else if choice.is_multiple_of(17) && ["Env", "Meta", "labels"].contains(&key) {
                map.insert(["a", "b", "7"][next() % 3].to_owned(), json!(["", "x"][next() % 2]));
            } else {
                let inner = map.get_mut(name).expect("is there");
                mutate(inner, name, choices);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let (choice, from, to) = (next() % 6, next() % list.len(), next() % list.len());
            match choice {
                0 => drop(list.remove(from)),
                1 => list.swap(from, to),
                2 => {
                    let mut copy = list[from].clone();
                    mutate(&mut copy, key, choices);
                    list.insert(to, copy);
                }
                _ => mutate(&mut list[from], key, choices),
            }
        }
        leaf => {
            let choice = next();
            *leaf = match leaf {
                Value::String(_) => json!(["a", "b", "c", "d", ""][choice % 5]),
                Value::Number(_) => json!(choice % 50 + 1),
                Value::Bool(is) => json!(!*is),
                _ => return,
            };
        }
    }
}

fn mutated(mut job: Value, choices: &[Vec<u16>]) -> Option<Job> {
    for choices in choices {
        let mut changed = job.clone();
        mutate(&mut changed, "", &mut choices.iter());
        let Ok(read) = serde_json::from_value::<Job>(changed.clone()) else { continue };
        let unique = |names: Vec<&str>| {
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted.dedup();
            sorted.len() == names.len() && !names.contains(&"")
        };
        let named = unique(read.task_groups.iter().map(|group| group.name.as_str()).collect())
            && read
                .task_groups
                .iter()
                .all(|group| unique(group.tasks.iter().map(|task| task.name.as_str()).collect()));
        if named {
            job = changed;
        }
    }
    serde_json::from_value(job).ok()
}

fn steps() -> impl Strategy<Value = Vec<Vec<u16>>> {
    prop::collection::vec(prop::collection::vec(any::<u16>(), 12), 0..7)
}

/// What a difference says, without the places in lists, which each direction counts in its own new list.
fn said(diff: &JobDiff, swapped: bool) -> Vec<String> {
    let mut out = Vec::new();
    let kind = |kind: DiffType| match kind {
        DiffType::Added if swapped => DiffType::Deleted,
        DiffType::Deleted if swapped => DiffType::Added,
        kind => kind,
    };
    let field = |field: &FieldDiff| {
        let mut name = field.name.clone();
        while let Some((start, end)) = name.find('[').zip(name.find(']')) {
            let inner = name[start + 1..end].to_owned();
            let mark = if inner.parse::<usize>().is_ok() { "#" } else { &inner };
            name = format!("{}({mark}){}", &name[..start], &name[end + 1..]);
        }
        let (old, new) = if swapped { (&field.new, &field.old) } else { (&field.old, &field.new) };
        format!("{name} {:?} {old} {new}", kind(field.kind))
    };
    fn object(
        diff: &ObjectDiff,
        kind: &impl Fn(DiffType) -> DiffType,
        field: &impl Fn(&FieldDiff) -> String,
    ) -> String {
        let mut parts: Vec<String> = diff.fields.iter().map(field).collect();
        parts.extend(diff.objects.iter().map(|inner| object(inner, kind, field)));
        parts.sort();
        format!("{} {:?} {parts:?}", diff.name, kind(diff.kind))
    }
    let mut scope = |name: &str, fields: &[FieldDiff], objects: &[ObjectDiff]| {
        out.extend(fields.iter().map(|one| format!("{name} {}", field(one))));
        out.extend(
            objects
                .iter()
                .filter(|one| one.kind != DiffType::None)
                .map(|one| format!("{name} {}", object(one, &kind, &field))),
        );
    };
    scope("", &diff.fields, &diff.objects);
    for group in &diff.task_groups {
        scope(&format!("{} {:?}", group.name, kind(group.kind)), &group.fields, &group.objects);
        for task in &group.tasks {
            let name = format!("{}/{} {:?}", group.name, task.name, kind(task.kind));
            scope(&name, &task.fields, &task.objects);
        }
    }
    out.sort();
    out
}

/// The first place where two values differ.
fn apart(a: &Value, b: &Value, path: &str) -> Option<String> {
    match (a, b) {
        _ if a == b => None,
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<_> = a.keys().chain(b.keys()).collect();
            keys.sort();
            let null = Value::Null;
            keys.into_iter().find_map(|key| {
                let path = format!("{path}/{key}");
                apart(a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null), &path)
            })
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => x
            .iter()
            .zip(y)
            .enumerate()
            .find_map(|(at, (x, y))| apart(x, y, &format!("{path}/{at}"))),
        _ => Some(format!("{path}: {a} is not {b}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_difference_applied_gives_the_other_job(before in steps(), after in steps()) {
        let old = mutated(base(), &before).expect("is a job");
        let new = mutated(serde_json::to_value(&old).expect("serialises"), &after).expect("is a job");
        let diff = diff_jobs(Some(&old), Some(&new));
        let text = serde_json::to_string_pretty(&diff).expect("serialises");
        prop_assert!(!text.contains("<hidden>"), "{}", text);
        let (was, is) = (meaning(&old), meaning(&new));
        prop_assert_eq!(apart(&apply(&was, &diff), &is, ""), None);
        prop_assert!(diff.kind != DiffType::None || was == is, "{:?}", apart(&was, &is, ""));

        let back = diff_jobs(Some(&new), Some(&old));
        let (there, here) = (said(&diff, false), said(&back, true));
        let odd: Vec<_> = there.iter().filter(|line| !here.contains(line)).collect();
        let other: Vec<_> = here.iter().filter(|line| !there.contains(line)).collect();
        prop_assert!(there == here, "{:#?} is not {:#?}", odd, other);
        prop_assert_eq!(apart(&apply(&is, &back), &was, ""), None);

        prop_assert_eq!(diff_jobs(Some(&new), Some(&new)).kind, DiffType::None);
        let whole = diff_jobs(None, Some(&new));
        prop_assert_eq!(apart(&apply(&Value::Null, &whole), &is, ""), None);

        // What the plan shows and what the leader decides by are one.
        for group in &diff.task_groups {
            if group.kind == DiffType::None && diff.fields.is_empty() && diff.objects.is_empty() {
                let made = changes(&old, &new, &group.name);
                let none = made.iter().all(|change| change.class == model::wire::ChangeClass::None);
                prop_assert!(none, "{:?}", made);
            }
        }
    }
}
