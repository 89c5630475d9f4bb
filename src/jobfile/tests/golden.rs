//! Files and what they come to: jobs as JSON, mistakes as people see them.

#![expect(clippy::disallowed_methods, reason = "the fixtures are files")]

use std::path::{Path, PathBuf};

use jobfile::{Inputs, Parsed, Source, parse, render};

fn fixtures(folder: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/jobs").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root)
        .expect("the fixtures are there")
        .map(|entry| entry.expect("reads").path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_name().expect("has a name").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("reads"))
        })
        .collect()
}

fn read(name: &str, bytes: &[u8]) -> Parsed {
    parse(Source { path: name, bytes }, &Inputs::default())
}

fn rendered(name: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let found = read(name, bytes).diagnostics;
    found.iter().map(|found| render(found, Some(&text), false) + "\n\n").collect()
}

#[test]
fn good_files_become_these_jobs() {
    for (name, bytes) in fixtures("ok") {
        let parsed = read(&name, &bytes);
        assert_eq!(parsed.diagnostics, [], "{name}");
        let json = serde_json::to_string_pretty(&parsed.jobs).expect("serialises");
        insta::with_settings!({ snapshot_path => "../../../fixtures/jobs/snapshots" }, {
            insta::assert_snapshot!(format!("ok-{name}"), json);
        });
    }
}

#[test]
fn bad_files_are_told_so() {
    let all = fixtures("bad");
    assert!(all.len() >= 60, "these are too few: {}", all.len());
    for (name, bytes) in all {
        let parsed = read(&name, &bytes);
        assert!(parsed.has_errors(), "{name} has no error");
        assert!(parsed.jobs.is_empty(), "{name} has errors and yet a job");
        insta::with_settings!({ snapshot_path => "../../../fixtures/jobs/snapshots" }, {
            insta::assert_snapshot!(format!("bad-{name}"), rendered(&name, &bytes));
        });
    }
}

#[test]
fn the_syntax_makes_no_difference() {
    let all = fixtures("ok");
    let twins: Vec<_> = all
        .iter()
        .filter(|(name, _)| name.starts_with("twin."))
        .map(|(name, bytes)| read(name, bytes).jobs.remove(0))
        .collect();
    assert_eq!(twins.len(), 3, "HCL, YAML and JSON");
    for twin in &twins {
        assert_eq!(twin, &twins[0]);
        assert_eq!(twin.spec_hash(), twins[0].spec_hash());
    }
}

#[test]
fn jobs_survive_their_json() {
    for (name, bytes) in fixtures("ok") {
        let job = read(&name, &bytes).jobs.remove(0);
        let json = serde_json::to_string(&job).expect("serialises");
        assert_eq!(serde_json::from_str::<model::Job>(&json).expect("reads"), job, "{name}");
    }
}

#[test]
fn inputs_replace_defaults() {
    let text = r#"
variable "n" { type = number }
variable "tags" { type = list(string) }
variable "name" { default = "x" }
job "a" {
  group "g" {
    count = var.n
    service {
      name = var.name
      tags = var.tags
    }
    task "t" { driver = "exec" }
  }
}
"#;
    let variables = [
        ("n", "4"),
        ("tags", "[\"a\", upper(\"b\")]"),
        ("name", "${NOMAD_REGION}"),
        ("other", "1"),
    ];
    let variables =
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let inputs = Inputs { variables, ..Inputs::default() };
    let parsed = parse(Source { path: "a.hcl", bytes: text.as_bytes() }, &inputs);
    assert_eq!(parsed.diagnostics, []);
    let group = &parsed.jobs[0].task_groups[0];
    assert_eq!(group.count, 4);
    assert_eq!(group.services[0].tags, ["a", "B"]);
    assert_eq!(group.services[0].name, "${NOMAD_REGION}");
}

#[test]
fn more_is_said_to_those_who_ask() {
    let text = r#"
job "a" {
  group "g" {
    task "moving" {
      driver = "docker"
      config {
        image = "registry:5000/nginx"
      }
    }
    task "empty" {
      driver = "exec"
    }
    task "fixed" {
      driver = "docker"
      config {
        image = "registry:5000/nginx:1.29"
      }
    }
  }
}
"#;
    let source = Source { path: "a.hcl", bytes: text.as_bytes() };
    assert_eq!(parse(source, &Inputs::default()).diagnostics, []);
    let strict = Inputs { name_extensions: true, ..Inputs::default() };
    let found = parse(source, &strict).diagnostics;
    let codes: Vec<(&str, u32)> =
        found.iter().map(|found| (found.code.as_str(), found.line)).collect();
    assert_eq!(codes, [("moving-image", 7), ("missing-config", 10)]);
}

#[test]
fn findings_never_show_a_secret() {
    let (name, bytes) = fixtures("bad")
        .into_iter()
        .find(|(name, _)| name.starts_with("plain-secrets"))
        .expect("is there");
    let shown = rendered(&name, &bytes);
    for secret in ["hunter2", "correct-horse", "battery"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
