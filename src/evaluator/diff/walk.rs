//! The walk over two JSON values of the same type, field by field.

use std::collections::BTreeSet;

use model::secret::{HIDDEN, is_reference, redact, redact_argument, redact_text};
use model::wire::{ChangeClass, DiffType, FieldChange, FieldDiff, ObjectDiff};
use serde_json::{Map, Value};

use super::Noted;
use super::align::{by_keys, in_order};
use super::class;
use super::identity::{entries, label, match_keys, places_matter};
use super::path::{Scope, Step, words};
use super::schema::{self, Kind, ListRule, said};

/// Stands for a value that is not shown and differs from the one before.
const CHANGED: &str = "<changed>";

/// Deeper than any job nests; what lies deeper is compared as text.
pub(super) const MAX_DEPTH: usize = 24;

/// Keys that are not compared: what has a place of its own in a diff, and what the server fills in.
const ELSEWHERE: &[&str] = &["TaskGroups", "Tasks", "ID", "CreateIndex", "ModifyIndex"];

pub(super) type Parts = (Vec<FieldDiff>, Vec<ObjectDiff>);
pub(super) type Both<'a> = (Option<&'a Value>, Option<&'a Value>);

/// A walk through a job, a group or a task.
pub(super) struct Walk {
    scope: Scope,
    steps: Vec<Step>,
    /// What changed.
    pub(super) changes: Vec<Noted>,
    /// Keys of metadata whose change replaces allocations.
    meta: BTreeSet<String>,
    /// Whether unchanged parts are shown too.
    pub(super) context: bool,
    /// Whether a block above came or went as a whole, so that its parts are no changes of their own.
    whole: bool,
    /// Whether values of free settings and maps are secret here.
    pub(super) secret: bool,
    /// Whether this is inside of a service that is in a mesh.
    mesh: bool,
}

/// A value as it may be shown, and whether it is there.
pub(super) type Shown = Option<String>;

impl Walk {
    /// A walk; `whole` says whether all of it came or went.
    pub(super) fn new(scope: Scope, meta: BTreeSet<String>, whole: DiffType) -> Self {
        Self {
            scope,
            steps: Vec::new(),
            changes: Vec::new(),
            meta,
            context: false,
            whole: whole != DiffType::None,
            secret: false,
            mesh: false,
        }
    }

    /// The fields and blocks that differ.
    pub(super) fn top(&mut self, old: Option<&Value>, new: Option<&Value>) -> Parts {
        self.object(old.and_then(Value::as_object), new.and_then(Value::as_object))
    }

    /// Notes that the task came or went.
    pub(super) fn whole_task(&mut self) {
        let Scope::Task { group, task, .. } = &self.scope else { return };
        let path = format!("group \"{group}\" task \"{task}\"");
        let (order, row) = class::row("group", ["Tasks"].into_iter());
        let change = FieldChange { path, class: row.1, reason: row.2.to_owned() };
        self.changes.push(Noted { order: (0, order), change });
    }

    fn object(
        &mut self,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) -> Parts {
        let keys: BTreeSet<&String> =
            old.into_iter().chain(new).flat_map(|map| map.keys()).collect();
        let top = self.steps.is_empty() && !matches!(self.scope, Scope::Job);
        let (mut fields, mut objects) = (Vec::new(), Vec::new());
        for key in keys {
            if (self.steps.is_empty() && ELSEWHERE.contains(&key.as_str()))
                || (top && key == "Name")
            {
                continue;
            }
            let (old, new) = (old.and_then(|map| map.get(key)), new.and_then(|map| map.get(key)));
            let (old, new) = (said(old), said(new));
            match schema::kind(key, old, new) {
                Kind::Field => fields.extend(self.field(key, (old, new))),
                Kind::Map => fields.extend(self.map(key, (old, new))),
                Kind::Free => objects.extend(self.free_block(key, (old, new))),
                Kind::Texts { ordered } => objects.extend(self.texts(key, (old, new), ordered)),
                Kind::Blocks(rule) => objects.extend(self.blocks(key, rule, (old, new))),
                Kind::Block => {
                    let name = schema::shown_name(key);
                    objects.extend(self.block(name, Step::Key(key.clone()), (old, new), false));
                }
            }
        }
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        (fields, objects)
    }

    /// A plain value.
    fn field(&mut self, key: &str, (old, new): Both<'_>) -> Option<FieldDiff> {
        let shown =
            |value: Option<&Value>| value.map(|value| redact_text(&text(value)).into_owned());
        let (before, after) = distinct((old, new), shown);
        self.leaf(
            key.to_owned(),
            Step::Key(key.to_owned()),
            (before, after),
            old == new,
            (old, new),
        )
    }

    /// A map of texts, as fields `Name[key]` of what it is in. An empty text is not the same as none.
    fn map(&mut self, name: &str, (old, new): Both<'_>) -> Vec<FieldDiff> {
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        let keys: BTreeSet<&String> =
            old.into_iter().chain(new).flat_map(|map| map.keys()).collect();
        let mut out = Vec::new();
        self.steps.push(Step::Key(name.to_owned()));
        for key in keys {
            let entry = |map: Option<&'_ Map<String, Value>>| {
                map.and_then(|map| map.get(key)).filter(|value| !value.is_null()).cloned()
            };
            let (old, new) = (entry(old), entry(new));
            let secret = self.secret;
            let shown = |value: Option<&Value>| {
                value.map(|value| {
                    let text = text(value);
                    if secret && !text.is_empty() && !is_reference(&text) {
                        return HIDDEN.to_owned();
                    }
                    redact(key, &text).into_owned()
                })
            };
            let values = (old.as_ref(), new.as_ref());
            let texts = distinct(values, shown);
            let label = format!("{name}[{key}]");
            out.extend(self.leaf(label, Step::Leaf(key.clone()), texts, old == new, values));
        }
        self.steps.pop();
        out
    }

    /// One value, with what its change makes of allocations.
    pub(super) fn leaf(
        &mut self,
        name: String,
        step: Step,
        (old, new): (Shown, Shown),
        same: bool,
        raw: Both<'_>,
    ) -> Option<FieldDiff> {
        let kind = DiffType::of(old.is_some(), new.is_some(), same);
        if (kind == DiffType::None && !self.context) || (old.is_none() && new.is_none()) {
            return None;
        }
        let mut annotations = Vec::new();
        if kind != DiffType::None {
            self.steps.push(step);
            annotations = self.note(kind, raw);
            self.steps.pop();
        }
        let (old, mut new) = (old.unwrap_or_default(), new.unwrap_or_default());
        if kind == DiffType::Edited && old == new {
            CHANGED.clone_into(&mut new);
        }
        Some(FieldDiff { kind, name, old, new, annotations })
    }

    /// A block that is there once at most, or one pair of a list. `keep` shows it unchanged too.
    fn block(
        &mut self,
        name: &str,
        step: Step,
        (old, new): Both<'_>,
        keep: bool,
    ) -> Option<ObjectDiff> {
        if (old.is_none() && new.is_none()) || (old == new && !self.context && !keep) {
            return None;
        }
        let before = (self.context, self.whole, self.secret, self.mesh);
        let came = old.is_some() != new.is_some();
        self.steps.push(step);
        let in_mesh = |value: Option<&Value>| {
            value
                .is_some_and(|value| value.get("Connect").is_some_and(|connect| !connect.is_null()))
        };
        self.mesh |= name == "Service" && (in_mesh(old) || in_mesh(new));
        self.secret |= name == "Secret";
        let whole = DiffType::of(old.is_some(), new.is_some(), true);
        let mut annotations = if came { self.note(whole, (None, None)) } else { Vec::new() };
        self.context = true;
        self.whole |= came;
        let (fields, objects) = if self.steps.len() > MAX_DEPTH {
            (self.field(name, (old, new)).into_iter().collect(), Vec::new())
        } else {
            self.object(old.and_then(Value::as_object), new.and_then(Value::as_object))
        };
        (self.context, self.whole, self.secret, self.mesh) = before;
        self.steps.pop();
        let same = !came
            && fields.iter().all(|field| field.kind == DiffType::None)
            && objects.iter().all(|object| object.kind == DiffType::None);
        let kind = DiffType::of(old.is_some(), new.is_some(), same);
        if kind == DiffType::None && !self.context && !keep {
            return None;
        }
        if kind == DiffType::Edited {
            annotations = gravest(&fields, &objects);
        }
        Some(ObjectDiff { kind, name: name.to_owned(), fields, objects, annotations })
    }

    /// Repeated blocks, or a map of them.
    fn blocks(&mut self, key: &str, rule: ListRule, (old, new): Both<'_>) -> Vec<ObjectDiff> {
        let (old, new) = (entries(old), entries(new));
        let keys = |list: &[Value]| -> Vec<Vec<String>> {
            list.iter().map(|value| match_keys(rule, value)).collect()
        };
        let (old_keys, new_keys) = (keys(&old), keys(&new));
        let pairs = if rule.ordered {
            let telling = |keys: &[Vec<String>]| -> Vec<String> {
                let at = usize::from(!rule.identity.is_empty());
                keys.iter().map(|keys| keys.get(at).cloned().unwrap_or_default()).collect()
            };
            in_order(&telling(&old_keys), &telling(&new_keys), rule.pairs)
        } else {
            by_keys(&old_keys, &new_keys)
        };
        let keep = rule.ordered && places_matter(&pairs, &old_keys);
        let name = if rule.name.is_empty() { schema::shown_name(key) } else { rule.name };
        let mut out = Vec::with_capacity(pairs.len());
        for (i, j) in pairs {
            let pair = (i.and_then(|i| old.get(i)), j.and_then(|j| new.get(j)));
            let label = pair.1.or(pair.0).map(|value| label(rule, value)).unwrap_or_default();
            let step = Step::Entry(key.to_owned(), label);
            out.extend(self.block(name, step, pair, keep));
        }
        // Nobody needs to see that nothing of a list changed.
        if !self.context && out.iter().all(|object| object.kind == DiffType::None) {
            out.clear();
        }
        out
    }

    /// A list of plain values: a set, or entries `Name[0]` where their order means something.
    fn texts(&mut self, key: &str, (old, new): Both<'_>, ordered: bool) -> Option<ObjectDiff> {
        let list = |value: Option<&Value>| -> Vec<String> {
            value.and_then(Value::as_array).into_iter().flatten().map(text).collect()
        };
        let (mut before, mut after) = (list(old), list(new));
        if !ordered {
            for list in [&mut before, &mut after] {
                list.sort();
                list.dedup();
            }
        }
        let kind = DiffType::of(!before.is_empty(), !after.is_empty(), before == after);
        if (kind == DiffType::None && !self.context) || (before.is_empty() && after.is_empty()) {
            return None;
        }
        let mut annotations = Vec::new();
        if kind != DiffType::None {
            self.steps.push(Step::Key(key.to_owned()));
            annotations = self.note(kind, (None, None));
            self.steps.pop();
        }
        let pairs = in_order(&before, &after, ordered);
        let shown = |list: &[String], at: Option<usize>| -> Shown {
            let at = at?;
            let previous = at.checked_sub(1).filter(|_| ordered).and_then(|at| list.get(at));
            let value = list.get(at)?;
            Some(redact_argument(previous.map(String::as_str), value).into_owned())
        };
        let fields = pairs.into_iter().map(|(i, j)| {
            let (old, new) = (shown(&before, i), shown(&after, j));
            let same = i.and_then(|i| before.get(i)) == j.and_then(|j| after.get(j));
            let kind = DiffType::of(old.is_some(), new.is_some(), same);
            let name = match j.or(i).filter(|_| ordered) {
                Some(at) => format!("{key}[{at}]"),
                None => key.to_owned(),
            };
            let (old, mut new) = (old.unwrap_or_default(), new.unwrap_or_default());
            if kind == DiffType::Edited && old == new {
                CHANGED.clone_into(&mut new);
            }
            FieldDiff { kind, name, old, new, annotations: Vec::new() }
        });
        let fields = fields.collect();
        let name = schema::shown_name(key).to_owned();
        Some(ObjectDiff { kind, name, fields, objects: Vec::new(), annotations })
    }

    /// Free settings: one block with a field for each leaf.
    fn free_block(&mut self, key: &str, (old, new): Both<'_>) -> Option<ObjectDiff> {
        if old == new && !self.context {
            return None;
        }
        let (old, new) = (old.and_then(super::free::pruned), new.and_then(super::free::pruned));
        if old.is_none() && new.is_none() {
            return None;
        }
        let context = self.context;
        self.context = true;
        self.steps.push(Step::Key(key.to_owned()));
        let mut fields = Vec::new();
        super::free::fields(self, (old.as_ref(), new.as_ref()), &mut fields);
        self.steps.pop();
        self.context = context;
        let same = fields.iter().all(|field| field.kind == DiffType::None);
        let kind = DiffType::of(old.is_some(), new.is_some(), same);
        if kind == DiffType::None && !context {
            return None;
        }
        let annotations = gravest(&fields, &[]);
        Some(ObjectDiff { kind, name: key.to_owned(), fields, objects: Vec::new(), annotations })
    }

    /// Takes a change at this place down, and says what it leads to.
    fn note(&mut self, kind: DiffType, (old, new): Both<'_>) -> Vec<String> {
        let scope = self.scope.pattern();
        let steps: Vec<&str> = self.steps.iter().map(Step::pattern).collect();
        let (row, found) = class::row(scope, steps.iter().copied());
        let (mut class, mut reason) = (found.1, found.2);
        let count = scope == "group" && steps == ["Count"];
        if self.mesh
            && matches!(steps.as_slice(), ["Services"] | ["Services", "PortLabel" | "Cluster"])
        {
            class = ChangeClass::Destructive;
            reason = class::MESH;
        }
        if let (["Meta", _], Some(Step::Leaf(key))) = (steps.as_slice(), self.steps.last())
            && self.meta.contains(key)
        {
            class = ChangeClass::Destructive;
            reason = class::META_RESTARTS;
        }
        let written = |value: Option<&Value>| value.map(text).unwrap_or_default();
        if class::means_the_same(scope, &steps, &written(old), &written(new)) {
            class = ChangeClass::InPlace;
            reason = class::SAME;
        }
        if self.whole && count {
            let words = if kind == DiffType::Added { "forces create" } else { "forces destroy" };
            return vec![words.to_owned()];
        }
        if self.whole {
            return Vec::new();
        }
        let section = match (&self.scope, class) {
            (Scope::Group(_), _) if count => 1,
            (Scope::Group(_), ChangeClass::Destructive) => 2,
            (Scope::Task { at, .. }, _) => 3 + at,
            (Scope::Group(_), _) => usize::MAX - 1,
            (Scope::Job, _) => usize::MAX,
        };
        let path = words(&self.scope, &self.steps);
        let change = FieldChange { path, class, reason: reason.to_owned() };
        self.changes.push(Noted { order: (section, row), change });
        if count {
            let number = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or(0);
            let more = number(new) > number(old);
            return vec![if more { "forces create" } else { "forces destroy" }.to_owned()];
        }
        class.annotation().into_iter().map(str::to_owned).collect()
    }
}

/// What the parts of a block lead to: the gravest of it.
fn gravest(fields: &[FieldDiff], objects: &[ObjectDiff]) -> Vec<String> {
    let all = fields
        .iter()
        .flat_map(|field| &field.annotations)
        .chain(objects.iter().flat_map(|object| &object.annotations));
    // `forces create/destroy update` sorts before `forces in-place update`.
    all.min().into_iter().cloned().collect()
}

/// Two values as they are shown. Where both are written the same but are not the same, as JSON writes them.
fn distinct(
    (old, new): Both<'_>,
    shown: impl Fn(Option<&Value>) -> Option<String>,
) -> (Option<String>, Option<String>) {
    if let (Some(before), Some(after)) = (old, new)
        && before != after
        && text(before) == text(after)
    {
        let json = |value: &Value| shown(Some(&Value::String(value.to_string())));
        return (json(before), json(after));
    }
    (shown(old), shown(new))
}

/// A value as text: texts bare, everything else as JSON writes it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
