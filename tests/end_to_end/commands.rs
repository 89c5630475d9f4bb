//! The commands as a person uses them, and the faces as other programs do.

use std::process::Command;

use model::RevisionOutcome;

use crate::agent::Agent;
use crate::jobs::{HERDER, WebJob};
use crate::load::get;
use crate::repository::Repository;

#[test]
fn every_command_has_an_answer_in_words_and_in_json() {
    let repo = Repository::new();
    repo.write("web.nomad.hcl", WebJob::new("web", 2).text());
    let commit = repo.commit("web: release 1");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    let alloc = agent.wait_running("web", 2).remove(0).id.to_string();
    for arguments in [
        vec!["status"],
        vec!["job", "status"],
        vec!["job", "status", "web"],
        vec!["job", "history", "-patch", "web"],
        vec!["alloc", "status", &alloc[..8]],
        vec!["alloc", "status", "-stats", &alloc[..8]],
        vec!["alloc", "fs", &alloc[..8]],
        vec!["deployment", "status"],
        vec!["deployment", "status", "web"],
        vec!["deployment", "list"],
        vec!["service", "list"],
        vec!["service", "info", "web"],
        vec!["node", "status"],
        vec!["node", "lost"],
        vec!["node", "lost", "-approve"],
        vec!["server", "members"],
        vec!["server", "members", "-workers", "-verbose"],
        vec!["operator", "raft", "list-peers"],
        vec!["hold", "list"],
        vec!["log"],
        vec!["plan"],
        vec!["version"],
    ] {
        let output = agent.herder(&arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let json: Vec<_> = arguments.iter().copied().chain(["-json"]).collect();
        let output = agent.herder(&json);
        assert!(output.status.success(), "{json:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_else(|error| {
            panic!("{json:?} is not JSON: {error}: {}", String::from_utf8_lossy(&output.stdout))
        });
    }
    let output = agent.herder(&["alloc", "status", "ffffffff"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ffffffff"));
    let watched = agent.herder(&["deployment", "status", "-monitor", "web"]);
    assert!(watched.status.success());
    assert!(String::from_utf8_lossy(&watched.stderr).contains("2/2 healthy"));
}

#[test]
fn services_are_found_by_http_and_dns() {
    let repo = Repository::new();
    repo.write("web.nomad.hcl", WebJob::new("web", 3).text());
    let commit = repo.commit("web: release 1");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    agent.wait_for("three passing instances", |agent| {
        (crate::load::passing(agent.catalog, "web").ok()?.len() == 3).then_some(())
    });
    let services: serde_json::Value =
        serde_json::from_str(&get(agent.catalog, "/v1/catalog/services").expect("an answer"))
            .expect("JSON");
    assert_eq!(services["web"][0], "release-1");
    let metrics = get(agent.http, "/v1/metrics?format=prometheus").expect("metrics");
    assert!(metrics.contains("# TYPE"), "{metrics}");
    get(agent.http, "/v1/agent/self").expect("an answer");
    get(agent.http, "/v1/agent/health").expect("an answer");

    let dig = |arguments: &[&str]| {
        let mut command = Command::new("dig");
        command
            .args(["@127.0.0.1", "-p", &agent.dns.port().to_string(), "+short", "+tries=3"])
            .args(arguments);
        command.output().ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(answer) = dig(&["web.service.consul", "SRV"]) else {
        assert!(std::env::var_os("CI").is_none(), "dig is missing");
        eprintln!("skipped: dig is not installed");
        return;
    };
    assert_eq!(answer.lines().count(), 3, "{answer}");
    for name in ["web.service.consul", "web.service.herder", "release-1.web.service.consul"] {
        for transport in ["+notcp", "+tcp"] {
            assert_eq!(
                dig(&[transport, name, "A"]).expect("dig").trim(),
                "127.0.0.1",
                "{name} {transport}"
            );
        }
    }
    assert_eq!(dig(&["web.service.consul", "AAAA"]).expect("dig").trim(), "");
}

#[test]
fn init_writes_what_validate_accepts() {
    let dir = tempfile::tempdir().expect("a directory");
    let herder = |arguments: &[&str]| {
        Command::new(HERDER).args(arguments).current_dir(dir.path()).output().expect("herder runs")
    };
    for (flags, file) in [
        (vec![], "example.nomad.hcl"),
        (vec!["-short", "short.nomad"], "short.nomad"),
        (vec!["-yaml"], "example.yaml"),
        (vec!["-short", "short.yaml"], "short.yaml"),
    ] {
        let output = herder(&[vec!["init"], flags].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = herder(&["validate", "-strict", file]);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{file}: {said}");
    }
    assert!(!herder(&["init"]).status.success(), "an existing file is never overwritten");
    std::fs::write(dir.path().join("bad.nomad"), "job \"x\" {\n  gruop \"g\" {}\n}\n")
        .expect("written");
    let output = herder(&["validate", "bad.nomad"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("bad.nomad:2") && text.contains("group"), "{text}");
}

#[test]
fn a_job_is_the_same_in_every_language() {
    let dir = tempfile::tempdir().expect("a directory");
    let herder = |arguments: &[&str]| {
        let output = Command::new(HERDER).args(arguments).current_dir(dir.path()).output();
        let output = output.expect("herder runs");
        (
            output.status.code().expect("it ends by itself"),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    herder(&["init"]);
    let (code, hash, _) = herder(&["job", "inspect", "-hash", "example.nomad.hcl"]);
    assert!(code == 0 && hash.trim().len() == 64, "{hash}");
    for (from, to, file) in [
        ("example.nomad.hcl", "yaml", "b.yaml"),
        ("b.yaml", "json", "c.json"),
        ("c.json", "hcl", "d.nomad.hcl"),
    ] {
        let (code, _, said) = herder(&["job", "convert", from, "-to", to, "-o", file]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(herder(&["job", "inspect", "-hash", file]).1, hash, "{file}");
    }
    let (_, json, _) = herder(&["job", "inspect", "example.nomad.hcl"]);
    assert_eq!(std::fs::read_to_string(dir.path().join("c.json")).expect("is there"), json);
    assert!(json.starts_with("{\n  \"Job\": {\n    \"Region\": \"global\","), "{json}");
    assert_eq!(herder(&["fmt", "-check", "d.nomad.hcl"]).0, 0);
    let (_, _, said) = herder(&["job", "convert", "example.nomad.hcl"]);
    assert!(said.contains("comments") && said.contains("variables stood: image"), "{said}");
    assert_eq!(herder(&["job", "convert", "b.yaml", "-o", "d.nomad.hcl"]).0, 1, "it is there");
    let (_, explained, _) = herder(&["job", "inspect", "-explain", "example.nomad.hcl"]);
    assert!(
        explained.contains("inherited from the job's update (example.nomad.hcl:"),
        "{explained}"
    );
    assert!(explained.contains("var.image ← default in example.nomad.hcl:"), "{explained}");
    let (code, _, said) = herder(&["job", "inspect", "-job", "other", "example.nomad.hcl"]);
    assert!(code == 1 && said.contains("no job `other`"), "{said}");
    std::fs::write(dir.path().join("bad.nomad"), "job \"x\" {\n  gruop \"g\" {}\n}\n")
        .expect("written");
    for command in ["inspect", "convert"] {
        let (code, out, said) = herder(&["job", command, "bad.nomad"]);
        assert!(code == 1 && out.is_empty() && said.contains("bad.nomad:2"), "{command}: {said}");
    }
}

#[test]
fn completions_and_help_are_there() {
    for shell in ["bash", "zsh", "fish"] {
        let output =
            Command::new(HERDER).args(["completions", shell]).output().expect("herder runs");
        assert!(output.status.success() && output.stdout.len() > 1_000, "{shell}");
    }
    let output = Command::new(HERDER).args(["agent", "-help"]).output().expect("herder runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("--repo"));
}
