//! `${…}` that is left for the node to fill in: what nobody will fill in there stays as it is, and the task finds the
//! text itself (nomad.md 1.2, 1.3).

use std::cell::OnceCell;
use std::collections::BTreeSet;

use model::{Group, Service, Task};
use serde_json::Value;

use super::{Rules, constraint, network};
use crate::suggest::{did_you_mean, nearest};

/// What tasks are told beside ports, metadata and tokens, without `NOMAD_`.
const NAMES: [&str; 22] = [
    "ALLOC_DIR",
    "TASK_DIR",
    "SECRETS_DIR",
    "CPU_LIMIT",
    "CPU_CORES",
    "MEMORY_LIMIT",
    "MEMORY_MAX_LIMIT",
    "ALLOC_ID",
    "SHORT_ALLOC_ID",
    "ALLOC_NAME",
    "ALLOC_INDEX",
    "TASK_NAME",
    "GROUP_NAME",
    "JOB_ID",
    "JOB_NAME",
    "JOB_PARENT_ID",
    "DC",
    "NAMESPACE",
    "REGION",
    "PARENT_CGROUP",
    "TOKEN",
    "UNIX_ADDR",
];
/// What is told of each port.
const OF_PORTS: [&str; 9] = [
    "HOST_IP_",
    "HOST_PORT_",
    "HOST_ADDR_",
    "ALLOC_IP_",
    "ALLOC_PORT_",
    "ALLOC_ADDR_",
    "IP_",
    "PORT_",
    "ADDR_",
];
/// What is told by names that a file does not hold.
const OTHERS: [&str; 4] = ["UPSTREAM_", "TOKEN_", "ENVOY_", "PROXY_"];
/// So many ports and keys are looked at when a name is like one of theirs.
const MAX_KNOWN: usize = 60;
const ROOTS: [&str; 6] = ["node", "attr", "meta", "device", "env", "secret"];

/// Fields of the job that nobody fills in.
pub(super) fn of_job(rules: &Rules<'_>) {
    let job = rules.job;
    let plain = [
        ("id", job.id.as_str()),
        ("name", &job.name),
        ("region", &job.region),
        ("namespace", &job.namespace),
        ("node_pool", &job.node_pool),
    ];
    for (name, text) in plain {
        literal(rules, "job", name, text);
    }
    for text in &job.datacenters {
        literal(rules, "job", "datacenters", text);
    }
}

fn literal(rules: &Rules<'_>, path: &str, name: &str, text: &str) {
    if !text.contains("${") {
        return;
    }
    let place = &format!("{path}/{name}");
    // The name of a job that is not written is the ID's.
    if let Some(reference) = model::references(text).first()
        && (path != "job" || rules.places.has(place))
    {
        if let Some(unquoted) = unquoted(rules, place, reference) {
            return rules.warning("unknown-reference", place, unquoted.message, &unquoted.help);
        }
        let message = format!("`{name}` is not filled in: `${{{reference}}}` stays as it is");
        let help = "what is known when the file is read is ${var.…} and ${local.…}";
        rules.warning("unknown-reference", place, message, help);
    }
}

pub(super) fn check(rules: &Rules<'_>, at: usize, group: &Group) {
    let path = rules.places.group(at);
    let known = Known::default();
    let context =
        Context { rules, group, task: None, of_group: &known, of_task: &Known::default() };
    for (n, network) in group.networks.iter().enumerate() {
        let block = format!("{path}/network.{n}");
        context.plain(|| format!("{block}/hostname"), &network.hostname);
        if let Some(dns) = &network.dns {
            for text in dns.servers.iter().chain(&dns.searches).chain(&dns.options) {
                context.plain(|| format!("{block}/dns"), text);
            }
        }
    }
    services(&context, path, &group.services);
    for (n, task) in group.tasks.iter().enumerate() {
        let context = Context { task: Some(task), of_task: &Known::default(), ..context };
        of_task(&context, rules.places.task(at, n), task);
    }
}

fn of_task(context: &Context<'_>, path: &str, task: &Task) {
    literal(context.rules, path, "driver", &task.driver);
    literal(context.rules, path, "kill_signal", &task.kill_signal);
    context.plain(|| format!("{path}/user"), &task.user);
    for (key, value) in &task.env {
        context.loose(|| format!("{path}/env/{key}"), value);
    }
    for (key, value) in &task.config {
        context.loose(|| format!("{path}/config/{key}"), key);
        deep(context, &format!("{path}/config/{key}"), value, 0);
    }
    for (n, artifact) in task.artifacts.iter().enumerate() {
        let block = format!("{path}/artifact.{n}");
        let source = artifact.source.as_deref().unwrap_or_default();
        context.plain(|| format!("{block}/source"), source);
        context.plain(|| format!("{block}/destination"), &artifact.destination);
        for (key, value) in artifact.options.iter().chain(&artifact.headers) {
            context.plain(|| format!("{block}/options/{key}"), value);
        }
    }
    for (n, template) in task.templates.iter().enumerate() {
        let block = format!("{path}/template.{n}");
        context.plain(|| format!("{block}/source"), &template.source);
        context.plain(|| format!("{block}/destination"), &template.destination);
        // What the template itself holds is for the file that comes of it, often a script.
        context.loose(|| format!("{block}/data"), &template.data);
    }
    for (n, mount) in task.volume_mounts.iter().enumerate() {
        let place = || format!("{path}/volume_mount.{n}/destination");
        context.plain(place, mount.destination.as_deref().unwrap_or_default());
    }
    for (n, action) in task.actions.iter().enumerate() {
        for text in std::iter::once(&action.command).chain(&action.args) {
            context.loose(|| format!("{path}/action.{n}/args"), text);
        }
    }
    services(context, path, &task.services);
}

/// A driver's settings at any depth, of which the outermost name has a place.
fn deep(context: &Context<'_>, place: &str, value: &Value, depth: usize) {
    match value {
        Value::String(text) => context.loose(|| place.to_owned(), text),
        Value::Array(items) if depth < 40 => {
            items.iter().for_each(|item| deep(context, place, item, depth + 1));
        }
        Value::Object(items) if depth < 40 => {
            for (key, item) in items {
                let own = format!("{place}/{key}");
                let place = if context.rules.places.has(&own) { &own } else { place };
                deep(context, place, item, depth + 1);
            }
        }
        _ => {}
    }
}

fn services(context: &Context<'_>, parent: &str, services: &[Service]) {
    for (n, service) in services.iter().enumerate() {
        let path = format!("{parent}/service.{n}");
        let own = |name: &str| format!("{path}/{name}");
        context.plain(|| own("name"), &service.name);
        context.plain(|| own("port"), &service.port_label);
        context.plain(|| own("address"), &service.address);
        service.tags.iter().for_each(|text| context.plain(|| own("tags"), text));
        service.canary_tags.iter().for_each(|text| context.plain(|| own("canary_tags"), text));
        for (key, value) in service.meta.iter().chain(&service.canary_meta) {
            context.plain(|| own(&format!("meta/{key}")), value);
        }
        for (c, check) in service.checks.iter().enumerate() {
            let own = |name: &str| format!("{path}/check.{c}/{name}");
            context.plain(|| own("name"), &check.name);
            context.plain(|| own("path"), &check.path);
            context.plain(|| own("port"), &check.port_label);
            context.plain(|| own("body"), &check.body);
            context.loose(|| own("command"), &check.command);
            check.args.iter().for_each(|text| context.loose(|| own("args"), text));
            for (key, values) in &check.header {
                values
                    .iter()
                    .for_each(|text| context.plain(|| own(&format!("header/{key}")), text));
            }
        }
    }
}

/// Names that are gathered when somebody first asks for them.
#[derive(Default)]
pub(super) struct Known {
    meta: OnceCell<BTreeSet<String>>,
    ports: OnceCell<BTreeSet<String>>,
}

/// What is known where a text stands.
#[derive(Clone, Copy)]
struct Context<'a> {
    rules: &'a Rules<'a>,
    group: &'a Group,
    task: Option<&'a Task>,
    of_group: &'a Known,
    of_task: &'a Known,
}

impl<'a> Context<'a> {
    /// Keys of `meta`, as they stand in the names of variables, also in capitals: of the job, the group and the task.
    fn meta(&self) -> [&BTreeSet<String>; 3] {
        let job = self.rules.job;
        let of_job = || {
            let dispatched = job.parameterized_job.iter();
            let dispatched =
                dispatched.flat_map(|of| of.meta_required.iter().chain(&of.meta_optional));
            names(job.meta.keys().chain(dispatched))
        };
        let of_group = || names(self.group.meta.keys());
        let is_here = |one: &&Task| self.task.is_none_or(|task| task.name == one.name);
        let of_task = || {
            let tasks = self.group.tasks.iter().filter(is_here);
            names(tasks.flat_map(|task| task.meta.keys()))
        };
        [
            self.rules.known.meta.get_or_init(of_job),
            self.of_group.meta.get_or_init(of_group),
            self.of_task.meta.get_or_init(of_task),
        ]
    }

    fn meta_keys(&self) -> impl Iterator<Item = &str> {
        self.meta().into_iter().flatten().map(String::as_str)
    }

    /// The labels of ports, as they stand in the names of variables.
    fn ports(&self) -> &BTreeSet<String> {
        self.of_group.ports.get_or_init(|| network::labels(self.group).map(clean).collect())
    }

    /// A text in which nothing but references is in `${…}`.
    fn plain(&self, place: impl Fn() -> String, text: &str) {
        self.text(place, text, false);
    }

    /// A text that may be a script or the settings of a program, with a `${…}` of their own.
    fn loose(&self, place: impl Fn() -> String, text: &str) {
        self.text(place, text, true);
    }

    fn text(&self, place: impl Fn() -> String, text: &str, loose: bool) {
        if !text.contains("${") {
            return;
        }
        let place = &place();
        for reference in model::references(text) {
            if !is_reference(&reference) {
                continue;
            }
            let unknown = unquoted(self.rules, place, &reference)
                .filter(|_| !reference.contains(['.', '[']))
                .or_else(|| self.unknown(&reference, loose));
            if let Some(Unknown { code, message, help }) = unknown {
                let key = format!("reference/{reference}");
                self.rules.once(code, &key, place, message, &help);
            }
        }
    }

    fn unknown(&self, reference: &str, loose: bool) -> Option<Unknown> {
        let (root, rest) =
            reference.split_at(reference.find(['.', '[']).unwrap_or(reference.len()));
        let in_env = self.task.is_some_and(|task| task.env.contains_key(reference));
        // The first two are said where expressions are evaluated; names of services know the last four.
        if in_env || matches!(root, "var" | "local" | "JOB" | "TASKGROUP" | "TASK" | "BASE") {
            return None;
        }
        if let (Some(name), "") = (reference.strip_prefix("NOMAD_"), rest) {
            return self.nomad(name, loose);
        }
        match (root, rest) {
            ("attr" | "meta" | "device" | "env", _) if !rest.is_empty() => None,
            ("node", _) if !rest.is_empty() => constraint::OF_NODES
                .iter()
                .all(|known| *known != reference)
                .then(|| unknown_node(reference)),
            ("secret", _) if !rest.is_empty() => self.secret(rest),
            (_, "") => self.bare(reference, loose),
            _ => {
                let meant = nearest(root, ROOTS.iter().copied()).filter(|_| root.len() > 2);
                if nearest(root, ["var", "local"]).is_some() || (loose && meant.is_none()) {
                    return None;
                }
                let help = match meant {
                    Some(meant) => format!("did you mean `${{{meant}{rest}}}`?"),
                    None => "known here are ${NOMAD_…}, ${node.…}, ${attr.…}, ${meta.…} and the task's own `env`".to_owned(),
                };
                Some(Unknown::reference(reference, help))
            }
        }
    }

    /// `${PORT}`: the task's own environment is known, the rest is the node's.
    fn bare(&self, reference: &str, loose: bool) -> Option<Unknown> {
        let misspelt = reference
            .split_once('_')
            .filter(|(first, _)| nearest(first, ["NOMAD"]).is_some() && *first != "NOMAD");
        if let Some((_, rest)) = misspelt {
            let help = format!("did you mean `${{NOMAD_{rest}}}`?");
            return Some(Unknown::reference(reference, help));
        }
        if loose || ROOTS.contains(&reference) {
            return None;
        }
        let own = self.task.into_iter().flat_map(|task| task.env.keys().map(String::as_str));
        let meant = self.rules.sink.seek(|| did_you_mean(reference, own));
        let help = meant.unwrap_or_else(|| {
            "known here are ${NOMAD_…}, ${node.…}, ${attr.…}, ${meta.…} and the task's own `env`".to_owned()
        });
        Some(Unknown::reference(reference, help))
    }

    fn secret(&self, rest: &str) -> Option<Unknown> {
        let name = rest.trim_start_matches('.').split(['.', '[']).next().unwrap_or_default();
        let task = self.task?;
        if task.secrets.iter().any(|secret| secret.name == name) {
            return None;
        }
        let known = task.secrets.iter().map(|secret| secret.name.as_str());
        let help = (self.rules.sink.seek(|| did_you_mean(name, known)))
            .unwrap_or_else(|| format!("add secret \"{name}\" {{}} to the task"));
        Some(Unknown::reference(&format!("secret{rest}"), help))
    }

    /// A name of Nomad's, without `NOMAD_`.
    fn nomad(&self, name: &str, loose: bool) -> Option<Unknown> {
        if NAMES.contains(&name) || OTHERS.iter().any(|prefix| name.starts_with(prefix)) {
            return None;
        }
        if let Some(key) = name.strip_prefix("META_") {
            if self.meta().iter().any(|known| known.contains(key)) {
                return None;
            }
            let meant = self.rules.sink.seek(|| did_you_mean(key, self.meta_keys()));
            let help = meant.unwrap_or_else(|| {
                format!("add meta {{ {key} = … }} to the job, the group or the task")
            });
            return Some(Unknown::reference(&format!("NOMAD_{name}"), help));
        }
        let of_port = OF_PORTS.iter().find_map(|prefix| name.strip_prefix(prefix));
        let Some(label) = of_port else { return self.no_such_name(name, loose) };
        let ports = self.ports();
        // Of another task's port the task's name stands in front.
        let of_task = |task: &Task| {
            let rest =
                label.strip_prefix(&clean(&task.name)).and_then(|rest| rest.strip_prefix('_'));
            rest.is_some_and(|label| ports.contains(label))
        };
        if ports.contains(label) || self.group.tasks.iter().any(of_task) {
            return None;
        }
        let message =
            format!("the group has no port `{label}`, so that `${{NOMAD_{name}}}` stays as it is");
        let meant = || did_you_mean(label, ports.iter().map(String::as_str));
        let help = (self.rules.sink.seek(meant))
            .unwrap_or_else(|| format!("add port \"{label}\" {{}} to the group's network"));
        Some(Unknown { code: "unknown-port", message, help })
    }

    /// A script may have variables of its own that begin like this.
    fn no_such_name(&self, name: &str, loose: bool) -> Option<Unknown> {
        let search = || {
            let of_ports = OF_PORTS.iter().flat_map(|prefix| {
                self.ports().iter().take(MAX_KNOWN).map(move |port| format!("{prefix}{port}"))
            });
            let of_meta = self.meta_keys().take(MAX_KNOWN).map(|key| format!("META_{key}"));
            let own = NAMES.iter().map(|name| (*name).to_owned());
            let known: Vec<String> = own.chain(of_ports).chain(of_meta).collect();
            nearest(name, known.iter().map(String::as_str)).map(ToOwned::to_owned)
        };
        let help = match self.rules.sink.seek(search) {
            Some(meant) => format!("did you mean `${{NOMAD_{meant}}}`?"),
            None if loose => return None,
            None => "docs/job-files.md lists what tasks are told".to_owned(),
        };
        Some(Unknown::reference(&format!("NOMAD_{name}"), help))
    }
}

struct Unknown {
    code: &'static str,
    message: String,
    help: String,
}

impl Unknown {
    fn reference(reference: &str, help: String) -> Self {
        let message = format!("nobody knows `${{{reference}}}`, so that it stays as it is");
        Self { code: "unknown-reference", message, help }
    }
}

/// A word that stands without quotes is a reference too, and hardly ever meant as one.
fn unquoted(rules: &Rules<'_>, place: &str, reference: &str) -> Option<Unknown> {
    let is_bare = || rules.sink.text_at(rules.places.at(place), |written| written == reference);
    (!reference.starts_with("NOMAD_") && is_bare()).then(|| Unknown {
        code: "unknown-reference",
        message: format!("`{reference}` without quotes is a reference, and nobody knows it"),
        help: format!("a text stands in quotes: \"{reference}\""),
    })
}

fn unknown_node(reference: &str) -> Unknown {
    let help = did_you_mean(reference, constraint::OF_NODES)
        .unwrap_or_else(|| format!("what there is: {}", constraint::OF_NODES.join(", ")));
    Unknown::reference(reference, help)
}

/// Keys as they stand in the names of variables, also in capitals.
fn names<'k>(keys: impl Iterator<Item = &'k String>) -> BTreeSet<String> {
    let both = |key: &String| [clean(key).to_ascii_uppercase(), clean(key)];
    keys.flat_map(both).collect()
}

/// A label or key as it stands in the name of a variable.
fn clean(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Names with dots, and what stands in brackets behind them; not what a shell makes of `${…}`.
fn is_reference(text: &str) -> bool {
    let fits =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']' | '"' | '*');
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(fits)
        && !text.contains(":-")
}
