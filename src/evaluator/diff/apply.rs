//! The other way: a job and a difference give the other job. It shows that a difference says all there is to say.
//!
//! Jobs are compared by what they mean: texts of leaves, sets without order, nothing for what says nothing.

use std::collections::BTreeMap;

use model::Job;
use model::wire::{DiffType, FieldDiff, JobDiff, ObjectDiff};
use serde_json::{Map, Value, json};

use super::free::pruned;
use super::schema::{FREE, Kind, LISTS, MAPS, kind, said, shown_name};
use super::walk::text;

/// What a job means.
pub(super) fn meaning(job: &Job) -> Value {
    let mut value = serde_json::to_value(job).expect("serialises");
    let map = value.as_object_mut().expect("a job is an object");
    for key in ["Update", "Reschedule", "Migrate"] {
        map.remove(key);
    }
    let groups = map.remove("TaskGroups").unwrap_or_default();
    let id = map.remove("ID").unwrap_or_default();
    let mut out = normal(map);
    let groups: Map<String, Value> = items(&groups)
        .into_iter()
        .map(|mut group| {
            let map = group.as_object_mut().expect("a group is an object");
            let tasks = map.remove("Tasks").unwrap_or_default();
            let name = text(&map.remove("Name").unwrap_or_default());
            let tasks: Map<String, Value> = items(&tasks)
                .into_iter()
                .map(|mut task| {
                    let map = task.as_object_mut().expect("a task is an object");
                    let name = text(&map.remove("Name").unwrap_or_default());
                    (name, Value::Object(normal(map)))
                })
                .collect();
            let mut group = normal(map);
            group.insert("Tasks".into(), Value::Object(tasks));
            (name, Value::Object(group))
        })
        .collect();
    out.insert("ID".into(), id);
    out.insert("TaskGroups".into(), Value::Object(groups));
    Value::Object(out)
}

fn items(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn normal(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter()
        .filter_map(|(key, value)| {
            let value = said(Some(value))?;
            let value = match kind(key, Some(value), None) {
                Kind::Field => Value::String(text(value)),
                Kind::Map => {
                    let map: Map<_, _> = value
                        .as_object()?
                        .iter()
                        .map(|(key, value)| (key.clone(), text(value).into()))
                        .collect();
                    if map.is_empty() {
                        return None;
                    }
                    Value::Object(map)
                }
                Kind::Free => leaves(&pruned(value)?),
                Kind::Texts { ordered } => {
                    let list = value.as_array()?.iter().map(text).collect();
                    sorted_texts(list, ordered)
                }
                Kind::Blocks(rule) => {
                    let list = match value {
                        Value::Object(map) => map
                            .iter()
                            .map(|(name, value)| {
                                let mut map = value.as_object().cloned().unwrap_or_default();
                                map.insert("Name".into(), json!(name));
                                Value::Object(map)
                            })
                            .collect(),
                        _ => items(value),
                    };
                    let list: Vec<Value> = list
                        .iter()
                        .map(|value| Value::Object(normal(value.as_object().expect("a block"))))
                        .collect();
                    if list.is_empty() {
                        return None;
                    }
                    sorted_blocks(list, rule.ordered)
                }
                Kind::Block => Value::Object(normal(value.as_object()?)),
            };
            Some((key.clone(), value))
        })
        .collect()
}

fn leaves(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), leaves(v))).collect(),
        Value::Array(list) => list.iter().map(leaves).collect(),
        leaf => Value::String(text(leaf)),
    }
}

fn sorted_texts(mut list: Vec<String>, ordered: bool) -> Value {
    if !ordered {
        list.sort();
        list.dedup();
    }
    list.into_iter().collect()
}

fn sorted_blocks(mut list: Vec<Value>, ordered: bool) -> Value {
    if !ordered {
        list.sort_by_key(ToString::to_string);
    }
    Value::Array(list)
}

/// What the job of which `old` is the meaning means after the difference.
pub(super) fn apply(old: &Value, diff: &JobDiff) -> Value {
    let mut job = scope(old, &diff.fields, &diff.objects);
    job["ID"] = json!(diff.id);
    let mut groups = Map::new();
    for group in &diff.task_groups {
        if group.kind == DiffType::Deleted {
            continue;
        }
        let before = &old["TaskGroups"][&group.name];
        let mut value = scope(before, &group.fields, &group.objects);
        let mut tasks = before["Tasks"].as_object().cloned().unwrap_or_default();
        for task in &group.tasks {
            if task.kind == DiffType::Deleted {
                tasks.remove(&task.name);
            } else {
                let before = tasks.remove(&task.name).unwrap_or_default();
                tasks.insert(task.name.clone(), scope(&before, &task.fields, &task.objects));
            }
        }
        value["Tasks"] = Value::Object(tasks);
        groups.insert(group.name.clone(), value);
    }
    job["TaskGroups"] = Value::Object(groups);
    // What groups start from means nothing by itself.
    if let Some(map) = job.as_object_mut() {
        map.retain(|key, _| !["Update", "ReschedulePolicy", "Migrate"].contains(&key.as_str()));
    }
    job
}

fn scope(old: &Value, fields: &[FieldDiff], objects: &[ObjectDiff]) -> Value {
    let mut map = old.as_object().cloned().unwrap_or_default();
    for field in fields {
        put(&mut map, field, Side::New);
    }
    let mut lists: BTreeMap<&str, Vec<&ObjectDiff>> = BTreeMap::new();
    for object in objects {
        match LISTS.iter().find(|rule| rule.name == object.name) {
            Some(rule) => lists.entry(rule.key).or_default().push(object),
            None => {
                let key = key_of(&object.name);
                match build(object, Side::New) {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
            }
        }
    }
    for (key, objects) in lists {
        let ordered = LISTS.iter().any(|rule| rule.key == key && rule.ordered);
        let mut list = items(map.get(key).unwrap_or(&Value::Null));
        if objects.iter().any(|object| object.kind == DiffType::None) {
            list = objects.iter().filter_map(|object| build(object, Side::New)).collect();
        } else {
            for object in objects {
                let at = build(object, Side::Old).map(|was| {
                    let was = without_free(&was);
                    list.iter().position(|other| without_free(other) == was).expect("was there")
                });
                match (at, build(object, Side::New)) {
                    (Some(at), Some(new)) => list[at] = new,
                    (Some(at), None) => drop(list.remove(at)),
                    (None, new) => list.extend(new),
                }
            }
        }
        if list.is_empty() {
            map.remove(key);
        } else {
            map.insert(key.to_owned(), sorted_blocks(list, ordered));
        }
    }
    Value::Object(map)
}

/// Places in free settings are those of the new version; they say nothing of where a block was.
fn without_free(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| !(FREE.contains(&key.as_str()) && value.is_object()))
            .map(|(key, value)| (key.clone(), without_free(value)))
            .collect(),
        Value::Array(list) => list.iter().map(without_free).collect(),
        leaf => leaf.clone(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

impl Side {
    fn has(self, kind: DiffType) -> bool {
        kind != if self == Self::Old { DiffType::Added } else { DiffType::Deleted }
    }

    fn text(self, field: &FieldDiff) -> &str {
        if self == Self::Old { &field.old } else { &field.new }
    }
}

fn put(map: &mut Map<String, Value>, field: &FieldDiff, side: Side) {
    let parts = field.name.strip_suffix(']').and_then(|name| name.split_once('['));
    let value = side.has(field.kind).then(|| Value::String(side.text(field).to_owned()));
    match parts.filter(|(name, _)| MAPS.contains(name)) {
        Some((name, key)) => {
            let inner = map.entry(name).or_insert_with(|| json!({}));
            let entries = inner.as_object_mut().expect("a map");
            match value {
                Some(value) => entries.insert(key.to_owned(), value),
                None => entries.remove(key),
            };
            if entries.is_empty() {
                map.remove(name);
            }
        }
        None => match value {
            Some(value) => drop(map.insert(field.name.clone(), value)),
            None => drop(map.remove(&field.name)),
        },
    }
}

fn key_of(name: &str) -> String {
    ["Migrate", "Reschedule", "Connect", "Proxy", "CNI"]
        .into_iter()
        .find(|key| *key != "Reschedule" && shown_name(key) == name)
        .unwrap_or(name)
        .to_owned()
}

fn build(object: &ObjectDiff, side: Side) -> Option<Value> {
    if !side.has(object.kind) {
        return None;
    }
    let name = object.name.as_str();
    let fields = object.fields.iter().filter(|field| side.has(field.kind));
    if FREE.contains(&name) {
        let mut root = Node::Map(BTreeMap::new());
        for field in fields {
            root.put(&tokens(&field.name), side.text(field));
        }
        return Some(root.value());
    }
    let is_list = !object.fields.is_empty()
        && object.fields.iter().all(|field| {
            field.name == name || field.name.strip_prefix(name).is_some_and(|r| r.starts_with('['))
        });
    if is_list {
        let ordered = object.fields.iter().any(|field| field.name != name);
        return Some(sorted_texts(
            fields.map(|field| side.text(field).to_owned()).collect(),
            ordered,
        ));
    }
    let mut map = Map::new();
    for field in fields {
        put(&mut map, field, side);
    }
    for object in &object.objects {
        let Some(value) = build(object, side) else { continue };
        match LISTS.iter().find(|rule| rule.name == object.name) {
            Some(rule) => {
                let list = map.entry(rule.key).or_insert_with(|| json!([]));
                let mut all = items(list);
                all.push(value);
                *list = sorted_blocks(all, rule.ordered);
            }
            None => drop(map.insert(key_of(&object.name), value)),
        }
    }
    Some(Value::Object(map))
}

/// Free settings while they are put together.
enum Node {
    Leaf(String),
    Map(BTreeMap<String, Node>),
    List(BTreeMap<usize, Node>),
}

enum Token {
    Key(String),
    At(usize),
}

fn tokens(name: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = name;
    let mut first = true;
    while !rest.is_empty() {
        if !first {
            rest = rest.strip_prefix('[').expect("a bracket opens");
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').expect("a quote closes");
            out.push(Token::Key(quoted[..end].to_owned()));
            rest = &quoted[end + 1..];
        } else {
            let end = rest.find(['[', ']']).unwrap_or(rest.len());
            let part = &rest[..end];
            out.push(match part.parse() {
                Ok(at) => Token::At(at),
                Err(_) => Token::Key(part.to_owned()),
            });
            rest = &rest[end..];
        }
        if !first {
            rest = rest.strip_prefix(']').expect("a bracket closes");
        }
        first = false;
    }
    out
}

impl Node {
    fn put(&mut self, path: &[Token], text: &str) {
        let Some((first, rest)) = path.split_first() else {
            *self = Self::Leaf(text.to_owned());
            return;
        };
        let inner = match (first, &mut *self) {
            (Token::Key(key), Self::Map(map)) => {
                map.entry(key.clone()).or_insert_with(|| Self::empty(rest))
            }
            (Token::At(at), Self::List(list)) => {
                list.entry(*at).or_insert_with(|| Self::empty(rest))
            }
            _ => panic!("a list is a map"),
        };
        inner.put(rest, text);
    }

    fn empty(path: &[Token]) -> Self {
        match path.first() {
            None => Self::Leaf(String::new()),
            Some(Token::Key(_)) => Self::Map(BTreeMap::new()),
            Some(Token::At(_)) => Self::List(BTreeMap::new()),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Leaf(text) => json!(text),
            Self::Map(map) => map.iter().map(|(key, node)| (key.clone(), node.value())).collect(),
            Self::List(list) => {
                assert!(list.keys().copied().eq(0..list.len()), "a list has no holes");
                list.values().map(Self::value).collect()
            }
        }
    }
}
