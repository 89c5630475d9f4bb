//! Where each value of a canonical job came from: the place that says it, the variables and locals that went into it,
//! what it was inherited from, or that it is a default.

use std::collections::HashMap;

use model::{Job, secret};
use serde_json::Value;

use crate::canonical::{Canonical, Object, Origin};
use crate::inputs::VariableSource;
use crate::report::{Sink, Span};
use crate::schema::{self, Kind, Schema, Shape};
use crate::tree::{Body, Expr};
use crate::variables::named_by;

/// How far locals are followed that refer to others.
const MAX_STEPS: usize = 16;

/// A value of a canonical job, and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// The job's ID.
    pub job: String,
    /// Where the value stands, in the names of job files: `group "web" count`.
    pub path: String,
    /// The value as a job file would have it. What may be secret is hidden.
    pub value: String,
    /// Where it came from: `web.nomad.hcl:12:5`, `var.count ← prod.vars.hcl:3:1`, `default`, or
    /// `inherited from the job's update (web.nomad.hcl:4)`.
    pub from: String,
    /// Whether nobody said it.
    pub is_default: bool,
}

/// What a file refers to by name.
#[derive(Default)]
pub(crate) struct Sources {
    /// The names in each attribute's value, by its place.
    names: HashMap<Span, Vec<String>>,
    /// Each local's place.
    locals: HashMap<String, Span>,
}

impl Sources {
    /// Gathers the names of a whole file.
    pub(crate) fn of(root: &Body<Expr>) -> Self {
        let mut sources = Self::default();
        sources.gather(root);
        for local in root.blocks("locals").flat_map(|block| &block.body.attributes) {
            sources.locals.insert(local.name.clone(), local.value_span);
        }
        sources
    }

    fn gather(&mut self, body: &Body<Expr>) {
        for attribute in &body.attributes {
            let names = named_by(&attribute.value);
            if !names.is_empty() {
                self.names.insert(attribute.value_span, names);
            }
        }
        body.blocks.iter().for_each(|block| self.gather(&block.body));
    }

    /// All names that go into the value at a place, those of locals' values included.
    fn names_at(&self, span: Span) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        let mut open = vec![span];
        for _ in 0..MAX_STEPS {
            let Some(span) = open.pop() else { break };
            for name in self.names.get(&span).into_iter().flatten() {
                if !found.contains(&name.as_str()) {
                    found.push(name);
                    let local = name.strip_prefix("local.").and_then(|name| self.locals.get(name));
                    open.extend(local);
                }
            }
        }
        found
    }
}

/// Explains every value of a job.
pub(crate) fn explain(
    canonical: &Canonical,
    sources: &Sources,
    variables: &[VariableSource],
    sink: &Sink<'_>,
) -> Vec<Explained> {
    let whole = serde_json::to_value(&canonical.job).unwrap_or_default();
    let Some(whole) = whole.as_object() else { return Vec::new() };
    let explaining = Explaining { canonical, sources, variables, sink };
    let explained = canonical.origins.iter().filter_map(|origin| explaining.value(origin, whole));
    let mut explained: Vec<_> = explained.collect();
    // What a job says itself comes before its groups, and what a group says itself before its tasks.
    explained.sort_by_key(|(within, _)| *within);
    explained.into_iter().map(|(_, explained)| explained).collect()
}

/// The group and the task that a value stands in, counted from one.
type Within = (usize, usize);

struct Explaining<'a> {
    canonical: &'a Canonical,
    sources: &'a Sources,
    variables: &'a [VariableSource],
    sink: &'a Sink<'a>,
}

impl Explaining<'_> {
    fn value(&self, origin: &Origin, whole: &Object) -> Option<(Within, Explained)> {
        let walked = Walked::to(&origin.path, whole)?;
        let job = &self.canonical.job;
        let (from, is_default, is_secret) = self.from(origin, &walked, job);
        let value = if is_secret { secret::HIDDEN.to_owned() } else { walked.shown() };
        if is_default && matches!(walked.value, Value::Null) {
            return None;
        }
        let number = |at: Option<usize>| at.map_or(0, |at| at + 1);
        let within = (number(walked.group), number(walked.task));
        let explained =
            Explained { job: job.id.to_string(), path: walked.path, value, from, is_default };
        Some((within, explained))
    }

    fn from(&self, origin: &Origin, walked: &Walked<'_>, job: &Job) -> (String, bool, bool) {
        let places = &self.canonical.places;
        let said = origin.places.iter().find(|place| places.has(place)).map(String::as_str);
        // What stands in a map that is written as one value has that one's place.
        let around = || {
            let first = origin.places.first().filter(|_| walked.is_entry)?;
            first.rsplit_once('/').map(|(map, _)| map).filter(|map| places.has(map))
        };
        let Some(place) = said.or_else(around) else {
            return ("default".to_owned(), true, false);
        };
        let span = places.at(place);
        let names = self.sources.names_at(span);
        let is_secret = names.iter().any(|name| self.variable(name).is_some_and(|v| v.sensitive));
        let mut from = match self.inherited(place, walked, job) {
            Some(owner) => format!("inherited from {owner} ({})", self.sink.place(span)),
            None => self.sink.exact_place(span),
        };
        if !names.is_empty() {
            let named: Vec<String> = names.iter().map(|name| self.named(name)).collect();
            from = format!("{}, at {from}", named.join(", "));
        }
        (from, false, is_secret)
    }

    fn variable(&self, name: &str) -> Option<&VariableSource> {
        let name = name.strip_prefix("var.")?;
        self.variables.iter().find(|variable| variable.name == name)
    }

    /// `var.count ← prod.vars.hcl:3:1`.
    fn named(&self, name: &str) -> String {
        let local = name.strip_prefix("local.").and_then(|name| self.sources.locals.get(name));
        match (self.variable(name), local) {
            (Some(variable), _) => format!("{name} ← {}", variable.from),
            (None, Some(span)) => format!("{name} ← {}", self.sink.exact_place(*span)),
            (None, None) => name.to_owned(),
        }
    }

    /// Whose block a value was inherited from, in words; nothing where it stands in its own.
    fn inherited(&self, place: &str, walked: &Walked<'_>, job: &Job) -> Option<String> {
        let places = &self.canonical.places;
        let owner = match (walked.group, walked.task) {
            (Some(group), Some(task)) => places.task(group, task),
            (Some(group), None) => places.group(group),
            _ => "job",
        };
        let is_own = place.strip_prefix(owner).is_some_and(|rest| rest.starts_with('/'));
        let is_of_service = walked.in_check && !place.contains("/check.");
        if is_own && !is_of_service {
            return None;
        }
        let (block, _) = place.rsplit_once('/')?;
        let (owner, block) = block.rsplit_once('/')?;
        let block = block.split('.').next().unwrap_or(block);
        let owner = match owner {
            "job" => "the job".to_owned(),
            _ if is_of_service => "the service".to_owned(),
            _ => {
                let group = walked.group.and_then(|group| job.task_groups.get(group));
                group.map_or_else(String::new, |group| format!("group `{}`", group.name))
            }
        };
        Some(format!("{owner}'s {block}"))
    }
}

/// A value of the canonical job, and what the path to it goes through.
struct Walked<'a> {
    path: String,
    value: &'a Value,
    kind: Option<Kind>,
    /// The last name, for those who ask whether it is that of a secret.
    name: String,
    group: Option<usize>,
    task: Option<usize>,
    in_check: bool,
    is_entry: bool,
}

impl<'a> Walked<'a> {
    /// Follows a path such as `TaskGroups[0].Tasks[1].Env[A.B]`.
    fn to(path: &str, whole: &'a Object) -> Option<Self> {
        let mut words: Vec<String> = Vec::new();
        let (mut object, mut schema) = (whole, schema::job());
        let (mut group, mut task, mut in_check) = (None, None, false);
        let mut rest = path;
        loop {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (json, after) = rest.split_at(end);
            let value = object.get(json).unwrap_or(&Value::Null);
            if after.is_empty() {
                let rule = schema.attributes.iter().find(|rule| rule.json == json)?;
                words.push(rule.name.to_owned());
                return Some(Self {
                    path: words.join(" "),
                    value,
                    kind: Some(rule.kind),
                    name: rule.name.to_owned(),
                    group,
                    task,
                    in_check,
                    is_entry: false,
                });
            }
            let (name, shape, label, inner) = rule(schema, json)?;
            if let Some(after) = after.strip_prefix('.') {
                words.push(name.to_owned());
                (object, schema, rest) = (value.as_object()?, inner, after);
                continue;
            }
            let inside = after.strip_prefix('[')?;
            if matches!(shape, Shape::Texts | Shape::Lists | Shape::Any) {
                let key = inside.strip_suffix(']')?;
                words.extend([name.to_owned(), key.to_owned()]);
                return Some(Self {
                    path: words.join(" "),
                    value: value.get(key).unwrap_or(&Value::Null),
                    kind: None,
                    name: key.to_owned(),
                    group,
                    task,
                    in_check,
                    is_entry: true,
                });
            }
            let (key, part, after) = step(value, inside)?;
            match (json, key.parse().ok()) {
                ("TaskGroups", number) => group = number,
                ("Tasks", number) => task = number,
                ("Checks", _) => in_check = true,
                _ => {}
            }
            let label = match label.and_then(|label| part.get(label)).and_then(Value::as_str) {
                Some(label) => format!("{name} \"{label}\""),
                None => format!("{name}[{key}]"),
            };
            words.push(label);
            (object, schema, rest) = (part, inner, after);
        }
    }

    fn shown(&self) -> String {
        match (self.kind, self.value) {
            (Some(Kind::Duration), Value::Number(number)) => {
                let span = std::time::Duration::from_nanos(number.as_u64().unwrap_or_default());
                model::format_duration(span).to_string()
            }
            (_, Value::String(text)) => {
                Value::from(secret::redact(&self.name, text).into_owned()).to_string()
            }
            (_, value) if secret::is_secret_name(&self.name) && !value.is_boolean() => {
                secret::HIDDEN.to_owned()
            }
            (_, value) => redacted(value).to_string(),
        }
    }
}

/// A list or map without what may be secret in it.
fn redacted(value: &Value) -> Value {
    match value {
        Value::String(text) => secret::redact_text(text).into_owned().into(),
        Value::Array(items) => {
            let mut before: Option<&str> = None;
            let items = items.iter().map(|item| match item {
                Value::String(text) => {
                    let shown = secret::redact_argument(before, text).into_owned();
                    before = Some(text);
                    shown.into()
                }
                other => redacted(other),
            });
            items.collect()
        }
        Value::Object(items) => {
            let items = items.iter().map(|(key, item)| {
                let shown = match item {
                    Value::String(text) => secret::redact(key, text).into_owned().into(),
                    other => redacted(other),
                };
                (key.clone(), shown)
            });
            Value::Object(items.collect())
        }
        other => other.clone(),
    }
}

type Inside = (&'static str, Shape, Option<&'static str>, &'static Schema);

fn rule(schema: &'static Schema, json: &str) -> Option<Inside> {
    if let Some(rule) = schema.blocks.iter().find(|rule| rule.json == json) {
        let name = if json == "ReservedPorts" { "port" } else { rule.name };
        return Some((name, rule.shape, rule.label, rule.schema()));
    }
    // A pass has moved it out of the list of them.
    (json == "Identity").then(|| ("identity", Shape::One, None, schema::identity()))
}

/// The part of a list or map that `3]…` or `name]…` stands for, and what follows.
fn step<'v, 'p>(value: &'v Value, inside: &'p str) -> Option<(String, &'v Object, &'p str)> {
    let behind = |key: &str| inside.strip_prefix(key)?.strip_prefix("].");
    match value {
        Value::Array(items) => {
            let (key, after) = inside.split_once("].")?;
            let part = items.get(key.parse::<usize>().ok()?)?.as_object()?;
            Some((key.to_owned(), part, after))
        }
        Value::Object(items) => items.iter().find_map(|(key, part)| {
            behind(key).and_then(|after| Some((key.clone(), part.as_object()?, after)))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Inputs, Source, parse};

    use super::Explained;

    fn explained(text: &str, inputs: Inputs) -> Vec<Explained> {
        let inputs = Inputs { explain: true, ..inputs };
        let parsed = parse(Source { path: "web.nomad.hcl", bytes: text.as_bytes() }, &inputs);
        assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
        parsed.explained
    }

    const JOB: &str = r#"variable "count" { default = 1 }
variable "word" {
  default   = "x"
  sensitive = true
}
locals { image = "app:${var.count}" }
job "web" {
  update {
    max_parallel = 2
  }
  group "app" {
    count = var.count + 1
    restart { attempts = 5 }
    network {
      port "http" { static = 80 }
    }
    task "main" {
      driver = "docker"
      config { image = local.image }
      env = {
        "A.B"       = "1"
        DB_PASSWORD = "geheim"
      }
      meta { word = var.word }
    }
  }
}
"#;

    #[test]
    fn each_value_has_its_source() {
        let flags = vec![("count".to_owned(), "3".to_owned())];
        let all = explained(JOB, Inputs { flags, ..Inputs::default() });
        let line = |path: &str| {
            let found = all.iter().find(|found| found.path == path);
            let found = found.unwrap_or_else(|| panic!("{path} is not in {all:#?}"));
            format!("{} | {}", found.value, found.from)
        };
        assert_eq!(line("update max_parallel"), "2 | web.nomad.hcl:9:20");
        assert_eq!(
            line("group \"app\" update max_parallel"),
            "2 | inherited from the job's update (web.nomad.hcl:9)"
        );
        assert_eq!(line("group \"app\" count"), "4 | var.count ← -var, at web.nomad.hcl:12:13");
        assert_eq!(
            line("group \"app\" task \"main\" config image"),
            "\"app:3\" | local.image ← web.nomad.hcl:6:18, var.count ← -var, at web.nomad.hcl:19:24"
        );
        assert_eq!(
            line("group \"app\" task \"main\" restart attempts"),
            "5 | inherited from group `app`'s restart (web.nomad.hcl:13)"
        );
        assert_eq!(line("group \"app\" task \"main\" restart delay"), "15s | default");
        assert_eq!(line("group \"app\" task \"main\" env A.B"), "\"1\" | web.nomad.hcl:20:13");
        let hidden = line("group \"app\" task \"main\" env DB_PASSWORD");
        assert!(hidden.contains("hidden") && !hidden.contains("geheim"), "{hidden}");
        let hidden = line("group \"app\" task \"main\" meta word");
        assert!(hidden.starts_with("<hidden> | var.word ← "), "{hidden}");
        assert_eq!(
            line("group \"app\" network[0] port \"http\" static"),
            "80 | web.nomad.hcl:15:30"
        );
        assert_eq!(line("priority"), "50 | default");
        assert!(all.iter().all(|found| found.is_default == (found.from == "default")));
    }

    #[test]
    fn nobody_pays_who_does_not_ask() {
        let parsed = parse(Source { path: "a.nomad", bytes: JOB.as_bytes() }, &Inputs::default());
        assert_eq!(parsed.explained, []);
    }
}
