//! Files that together say everything a job can say, and beside each its canonical form and what it is in YAML. `UPDATE_GOLDEN=1` writes
//! what is there now; `oracle/` in their folder asks Nomad's own package whether it is right.

#![expect(clippy::disallowed_methods, reason = "the cases are files")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::report::Sink;
use crate::schema::{self, Schema, Shape};
use crate::tree::{Body, Expr};
use crate::{Form, Inputs, Source, parse, print};

fn cases() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/jobs/canonical");
    let entries = std::fs::read_dir(folder).expect("the cases are there");
    let paths = entries.map(|entry| entry.expect("reads").path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.to_string_lossy().ends_with(".nomad.hcl")).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("reads");
            (path, text)
        })
        .collect()
}

/// Names by where they stand, as `job.group.count`.
#[derive(Default)]
struct Names {
    written: BTreeSet<String>,
    /// What does not stand in a block where it might.
    left_out: BTreeSet<String>,
}

impl Names {
    fn body(&mut self, body: &Body<Expr>, schema: &'static Schema, path: &str) {
        for name in schema.names() {
            let here = format!("{path}.{name}");
            let is_written = body.attribute(name).is_some() || body.blocks(name).next().is_some();
            if is_written { &mut self.written } else { &mut self.left_out }.insert(here);
        }
        for block in &body.blocks {
            let rule = schema.block(&block.kind).expect("is known");
            if matches!(rule.shape, Shape::One | Shape::Many | Shape::Keyed) {
                self.body(&block.body, rule.schema(), &place(path, &block.kind));
            }
        }
    }
}

/// What is the same everywhere stands in one place.
fn place(path: &str, kind: &str) -> String {
    const SHARED: [&str; 21] = [
        "constraint",
        "affinity",
        "spread",
        "update",
        "migrate",
        "reschedule",
        "restart",
        "scaling",
        "network",
        "service",
        "check_restart",
        "identity",
        "vault",
        "consul",
        "secret",
        "resources",
        "logs",
        "volume_mount",
        "task",
        "tls",
        "port",
    ];
    match kind {
        // A gateway's services are something else.
        "service" if path.contains("gateway") => format!("{path}.{kind}"),
        "reserved_ports" => "port".to_owned(),
        "request_headers" | "response_headers" => "headers".to_owned(),
        _ if SHARED.contains(&kind) => kind.to_owned(),
        _ => format!("{path}.{kind}"),
    }
}

fn expected(
    schema: &'static Schema,
    path: &str,
    all: &mut BTreeSet<String>,
    attributes: &mut BTreeSet<String>,
) {
    attributes.extend(schema.attributes.iter().map(|rule| format!("{path}.{}", rule.name)));
    for name in schema.names() {
        if !all.insert(format!("{path}.{name}")) {
            return;
        }
    }
    for rule in schema.blocks {
        if matches!(rule.shape, Shape::One | Shape::Many | Shape::Keyed) {
            expected(rule.schema(), &place(path, rule.name), all, attributes);
        }
    }
}

#[test]
fn everything_is_said_once_and_left_out_once() {
    let mut names = Names::default();
    for (path, text) in cases() {
        let name = path.to_string_lossy().into_owned();
        let sink = Sink::new(&name, &text);
        let root = crate::tree(&name, &text, &sink).expect("parses");
        names.body(&root, &schema::ROOT, "");
    }
    let (mut all, mut attributes) = (BTreeSet::new(), BTreeSet::new());
    expected(&schema::ROOT, "", &mut all, &mut attributes);
    let missing: Vec<_> =
        all.difference(&names.written).filter(|name| *name != ".include").collect();
    assert_eq!(missing, Vec::<&String>::new(), "no file says these");
    let needed = |name: &str| {
        let (path, name) = name.rsplit_once('.').unwrap_or_default();
        path.is_empty() || path.starts_with(".variable") || REQUIRED.contains(&name)
    };
    let always = attributes.difference(&names.left_out);
    let always: Vec<_> = always.filter(|name| !needed(name)).collect();
    assert_eq!(always, Vec::<&String>::new(), "all files say these");
}

/// Names without which their block means nothing.
const REQUIRED: [&str; 22] = [
    "after",
    "attribute",
    "command",
    "data",
    "destination",
    "destination_name",
    "driver",
    "file",
    "hook",
    "id",
    "interval",
    "local_bind_port",
    "max",
    "name",
    "path",
    "port",
    "provider",
    "restart_on_meta",
    "source",
    "timeout",
    "type",
    "volume",
];

#[test]
fn the_canonical_form_is_this() {
    let mut wrong = Vec::new();
    for (path, text) in cases() {
        let name = path.file_name().expect("has a name").to_string_lossy().into_owned();
        let parsed = parse(Source { path: &name, bytes: text.as_bytes() }, &Inputs::default());
        let errors = parsed.diagnostics.iter().filter(|found| found.is_error());
        wrong.extend(errors.map(ToString::to_string));
        let [job] = parsed.jobs.as_slice() else { continue };
        let found = print(job, Form::ApiJson);
        let golden = PathBuf::from(path.to_string_lossy().replace(".nomad.hcl", ".json"));
        let yaml = golden.with_extension("yaml");
        let printed = print(job, Form::Yaml);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &found).expect("writes");
            std::fs::write(&yaml, &printed).expect("writes");
        }
        assert_eq!(printed, std::fs::read_to_string(&yaml).expect("reads"), "{name}");
        let wanted = std::fs::read_to_string(&golden).expect("reads");
        assert_eq!(found, wanted, "{name}");
        let again = parse(Source { path: "a.nomad", bytes: wanted.as_bytes() }, &Inputs::default());
        assert_eq!(
            again.jobs.as_slice(),
            std::slice::from_ref(job),
            "{name}: {:?}",
            again.diagnostics
        );
    }
    assert_eq!(wrong, [""; 0]);
}
