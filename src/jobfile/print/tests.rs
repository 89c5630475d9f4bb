//! Printed and read again, a job is the same.

#![expect(clippy::disallowed_methods, reason = "the jobs are files")]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use model::Job;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

use super::{Form, print};
use crate::canonical::{self, Object};
use crate::report::Sink;
use crate::schema::{self, Kind, Schema, Shape};
use crate::{Inputs, Source, format, holds_job, is_job_file_name, parse};

const NAMES: [(Form, &str); 3] =
    [(Form::Hcl, "a.nomad.hcl"), (Form::Yaml, "a.yaml"), (Form::ApiJson, "a.nomad")];

/// The job of a file, without asking whether it makes sense.
fn read(path: &str, text: &str) -> Result<Job, String> {
    let sink = Sink::new(path, text);
    let job = unchecked(path, text, &sink);
    let found = sink.finish();
    match (found.iter().find(|found| found.is_error()), job) {
        (None, Some(job)) => Ok(job),
        (Some(first), _) => Err(format!("{}:{}: {}", first.line, first.column, first.message)),
        (None, None) => Err("there is no job".to_owned()),
    }
}

fn unchecked(path: &str, text: &str, sink: &Sink<'_>) -> Option<Job> {
    if crate::source::is_api_json(text) {
        return crate::api_json::parse(text, false, sink).map(|found| found.job);
    }
    let root = crate::tree(path, text, sink).map_err(|fault| sink.error(fault)).ok()?;
    let globals = crate::expr::Globals::new(text, sink);
    let block = root.blocks("job").next()?;
    let scope = crate::expr::Scope::root(&globals);
    let body = crate::resolve::resolve(&block.body, schema::job(), scope);
    let block = crate::tree::Block {
        kind: block.kind.clone(),
        kind_span: block.kind_span,
        labels: block.labels.clone(),
        body,
    };
    canonical::job(&block, false, sink).map(|found| found.job)
}

/// What goes wrong, if anything does.
fn round_trip(job: &Job) -> Result<(), String> {
    let wanted = serde_json::to_string_pretty(job).expect("serialises");
    for (form, name) in NAMES {
        let text = print(job, form);
        let again = read(name, &text).map_err(|error| format!("{form:?}: {error}\n{text}"))?;
        let found = serde_json::to_string_pretty(&again).expect("serialises");
        if let Some((found, wanted)) =
            found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted)
        {
            return Err(format!("{form:?}: `{found}` instead of `{wanted}`\n{text}"));
        }
        if again != *job {
            return Err(format!("{form:?} is another job\n{text}"));
        }
        if form == Form::Hcl {
            let formatted = format(Source { path: name, bytes: text.as_bytes() });
            if formatted.as_ref() != Ok(&text) {
                return Err(format!("not in the canonical style:\n{text}"));
            }
        }
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if is_job_file_name(&path.to_string_lossy()) {
            found.push(path);
        }
    }
}

/// The jobs of all files beneath a folder that can be read as they are.
fn jobs(folder: &str) -> Vec<(String, Job)> {
    let mut paths = Vec::new();
    files(&root().join(folder), &mut paths);
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let bytes = std::fs::read(&path).expect("reads");
        let name = path.to_string_lossy().into_owned();
        if holds_job(&name, &bytes) {
            let parsed = parse(Source { path: &name, bytes: &bytes }, &Inputs::default());
            all.extend(parsed.jobs.into_iter().map(|job| (name.clone(), job)));
        }
    }
    all
}

fn all_round_trip(folder: &str, least: usize) {
    let jobs = jobs(folder);
    let wrong: Vec<_> = jobs
        .iter()
        .filter_map(|(name, job)| round_trip(job).err().map(|error| format!("{name}: {error}")))
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), jobs.len(), wrong.join("\n"));
    assert!(jobs.len() >= least, "only {} jobs in {folder}", jobs.len());
}

#[test]
fn our_jobs_are_the_same_again() {
    all_round_trip("fixtures/jobs/ok", 6);
    all_round_trip("fixtures/jobs/canonical", 14);
}

#[test]
fn jobs_of_strangers_are_the_same_again() {
    let corpus = "../shared/corpus/nomad";
    if root().join(corpus).exists() {
        all_round_trip(corpus, 100);
    } else {
        eprintln!("skipped: there is no corpus beside the workspace");
    }
}

#[test]
fn from_one_language_to_another_and_back_the_meaning_stays() {
    for (name, job) in jobs("fixtures/jobs/ok") {
        let yaml = print(&job, Form::Yaml);
        let hcl = print(&read("a.yaml", &yaml).expect("reads"), Form::Hcl);
        let again = print(&read("a.hcl", &hcl).expect("reads"), Form::Yaml);
        assert_eq!(again, yaml, "{name}");
    }
}

#[test]
fn reads_well() {
    let job = read(
        "a.hcl",
        r#"
job "web" {
  update {
    max_parallel = 2
    canary       = 1
  }
  group "app" {
    constraint { distinct_hosts = true }
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }
    network {
      port "http" { to = 8080 }
      port "admin" { static = 9000 }
      port "x" {}
    }
    restart { attempts = 5 }
    task "app" {
      driver = "docker"
      config {
        image = "nginx:1"
        args  = ["-p", "${NOMAD_PORT_http}", "$${var.x}"]
        labels { "a.b" = "c" }
        mount {
          type     = "bind"
          readonly = true
        }
        logging {
          type = "journald"
          config { tag = "x" }
        }
      }
      template {
        destination = "local/x"
        data        = "a {{ b }}\n  c\n"
      }
      env { A = "x" }
      meta = { "a/b" = "1" }
      kill_timeout = "1m30s"
    }
  }
}
"#
        .replace("labels { \"a.b\" = \"c\" }", "labels = { \"a.b\" = \"c\" }")
        .as_str(),
    )
    .expect("reads");
    let hcl = r#"job "web" {
  update {
    max_parallel = 2
    canary       = 1
  }

  group "app" {
    constraint {
      distinct_hosts = true
    }

    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }

    restart {
      attempts = 5
    }

    network {
      port "admin" {
        static = 9000
      }

      port "http" {
        to = 8080
      }

      port "x" {}
    }

    task "app" {
      driver       = "docker"
      kill_timeout = "1m30s"

      meta = { "a/b" = "1" }

      config {
        args   = ["-p", "${NOMAD_PORT_http}", "$${var.x}"]
        image  = "nginx:1"
        labels = [{ "a.b" = "c" }]

        logging {
          type = "journald"

          config {
            tag = "x"
          }
        }

        mount {
          readonly = true
          type     = "bind"
        }
      }

      env {
        A = "x"
      }

      template {
        destination = "local/x"
        data        = <<EOT
a {{ b }}
  c
EOT
      }
    }
  }
}
"#;
    assert_eq!(print(&job, Form::Hcl), hcl);
    let yaml = r#"job:
  web:
    update:
      max_parallel: 2
      canary: 1
    group:
      app:
        constraint:
          - distinct_hosts: true
          - attribute: "${attr.kernel.name}"
            value: linux
        restart:
          attempts: 5
        network:
          port:
            admin:
              static: 9000
            http:
              to: 8080
            x: {}
        task:
          app:
            driver: docker
            kill_timeout: 1m30s
            meta:
              a/b: "1"
            config:
              args: ["-p", "${NOMAD_PORT_http}", "$${var.x}"]
              image: nginx:1
              labels:
                a.b: c
              logging:
                config:
                  - tag: x
                type: journald
              mount:
                readonly: true
                type: bind
            env:
              A: x
            template:
              destination: local/x
              data: |
                a {{ b }}
                  c
"#;
    assert_eq!(print(&job, Form::Yaml), yaml);
}

/// A value for a driver's settings.
fn setting() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(json!(1.5)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..3)
                .prop_map(|items| Value::Object(items.into_iter().collect())),
        ]
    })
}

/// Texts that languages trip over.
fn text() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "b c",
        "${",
        "$${",
        "$",
        "%{",
        "%",
        "}",
        "{",
        "${NOMAD_X}",
        "${var.x}",
        "${env[\"A\"]}",
        "\"",
        "'",
        "\\",
        "\n",
        "\n\n",
        "\r",
        "\t",
        " ",
        ": ",
        "#",
        "- ",
        "yes",
        "0644",
        "1.0",
        "EOT",
        "\u{e9}",
        "\u{7}",
        "\u{1f600}",
        "~",
        "null",
        "*",
        "&x",
        "|",
        ">",
        "!",
        "@",
        "`",
        ",",
        "[",
        "]",
    ]);
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a", "b-c", "d.e", "for", "true", "0", "A B", "dynamic", "x/y", "labels", "config", "y",
    ])
    .prop_map(ToOwned::to_owned)
}

/// One change: where, and to what.
#[derive(Clone, Debug)]
struct Change {
    steps: Vec<Index>,
    text: String,
    number: i64,
    flag: bool,
    setting: Value,
    key: String,
}

fn change() -> impl Strategy<Value = Change> {
    let steps = prop::collection::vec(any::<Index>(), 24);
    (steps, text(), any::<u32>(), any::<bool>(), setting(), key()).prop_map(
        |(steps, text, number, flag, setting, key)| {
            let number = i64::from(number);
            Change { steps, text, number, flag, setting, key }
        },
    )
}

impl Change {
    /// Goes down into the job and sets something by its kind.
    fn apply(&self, object: &mut Object, schema: &'static Schema, depth: usize) {
        let step = |more: usize, length: usize| {
            self.steps.get(depth * 3 + more).filter(|_| length > 0).map(|step| step.index(length))
        };
        let inner: Vec<_> =
            schema.blocks.iter().filter(|rule| !rule.json.starts_with('@')).collect();
        let goes_deeper = step(0, 4).is_some_and(|dice| dice > 0);
        if let (true, Some(at)) = (goes_deeper, step(1, inner.len())) {
            let rule = inner[at];
            match (rule.shape, object.get_mut(rule.json)) {
                (Shape::One, Some(Value::Object(part))) => {
                    self.apply(part, rule.schema(), depth + 1)
                }
                (Shape::Many, Some(Value::Array(parts))) => {
                    let at = step(2, parts.len());
                    if let Some(Value::Object(part)) = at.and_then(|at| parts.get_mut(at)) {
                        self.apply(part, rule.schema(), depth + 1);
                    }
                }
                (Shape::Texts, Some(_)) => {
                    object.insert(rule.json.to_owned(), json!({ (self.key.as_str()): self.text }));
                }
                (Shape::Any, Some(_)) => {
                    object
                        .insert(rule.json.to_owned(), json!({ (self.key.as_str()): self.setting }));
                }
                _ => {}
            }
            return;
        }
        let own: Vec<_> =
            schema.attributes.iter().filter(|rule| !rule.json.starts_with('@')).collect();
        let Some(at) = step(1, own.len()) else { return };
        let rule = own[at];
        // What a job is called is its identity, and has rules of its own.
        if ["ID", "Name", "Region", "Namespace"].contains(&rule.json) && depth == 0 {
            return;
        }
        let value = match rule.kind {
            Kind::Text => self.text.as_str().into(),
            Kind::Choice(words) => {
                let word = step(2, words.len()).and_then(|at| words.get(at)).copied();
                word.filter(|word| !word.is_empty()).map_or(Value::Null, Value::from)
            }
            Kind::Flag => self.flag.into(),
            Kind::Whole(least, most) => {
                (least + self.number % (most - least).clamp(1, 60_000)).clamp(least, most).into()
            }
            Kind::Duration => (self.number * 999_983).into(),
            Kind::Texts => json!([self.text, "x"]),
            Kind::Ports => json!([80, 443]),
            Kind::TextMap => {
                Value::Object(Map::from_iter([(self.key.clone(), self.text.as_str().into())]))
            }
        };
        object.insert(rule.json.to_owned(), value);
    }
}

/// Jobs that say much.
static FULL: LazyLock<Vec<Object>> = LazyLock::new(|| {
    let mut all = jobs("fixtures/jobs/canonical");
    all.extend(jobs("fixtures/jobs/ok"));
    let all = all.into_iter().map(|(_, job)| match serde_json::to_value(job) {
        Ok(Value::Object(job)) => job,
        other => panic!("{other:?} is no job"),
    });
    all.collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_job_is_the_same_again(
        which in any::<Index>(),
        changes in prop::collection::vec(change(), 1..30),
    ) {
        let mut job = which.get(&FULL).clone();
        for change in &changes {
            change.apply(&mut job, schema::job(), 0);
        }
        let text = json!({ "Job": job }).to_string();
        // Some changes do not go together.
        if let Ok(job) = read("a.nomad", &text) {
            prop_assert_eq!(round_trip(&job), Ok(()));
        }
    }
}
