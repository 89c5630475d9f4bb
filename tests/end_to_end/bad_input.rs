//! What people get wrong: each says in words what is wrong and where, and nothing is lost.

use std::net::TcpListener;

use model::RevisionOutcome;

use crate::agent::Agent;
use crate::jobs::{WebJob, sleeper};
use crate::repository::Repository;

#[test]
fn bad_files_are_named_and_the_good_one_runs() {
    let repo = Repository::new();
    repo.write("good.nomad", sleeper("good"));
    let nested =
        format!("job \"deep\" {{ meta {{ a = {}1{} }} }}\n", "[".repeat(5_000), "]".repeat(5_000));
    repo.write("empty.nomad", "")
        .write("binary.nomad", [0_u8, 159, 146, 150, 0, 1, 2])
        .write("large.nomad", format!("job \"large\" {{\n{}\n}}\n", "# x\n".repeat(2_600_000)))
        .write(
            "conflict.nomad",
            format!("<<<<<<< HEAD\n{}=======\n{}>>>>>>> other\n", sleeper("c"), sleeper("c")),
        )
        .write("deep.nomad", nested)
        .write("again.nomad", sleeper("twice"))
        .write("again2.nomad", sleeper("twice"));
    std::os::unix::fs::symlink("/etc/passwd", repo.file("link.nomad")).expect("a link");
    let commit = repo.commit("all kinds of files");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    agent.wait_running("good", 1);
    agent.wait_running("twice", 1);
    let status = agent.herder(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    for (file, word) in [
        ("empty.nomad", "empty"),
        ("binary.nomad", "text"),
        ("large.nomad", "large"),
        ("conflict.nomad:1", "conflict"),
        ("deep.nomad", "deep"),
        ("link.nomad", "link"),
        ("again2.nomad", "already declared by again.nomad"),
    ] {
        let line = text
            .lines()
            .find(|line| line.contains(file))
            .unwrap_or_else(|| panic!("{file} is not named: {text}"));
        assert!(line.contains(word), "{file}: {line}");
    }
    assert!(!text.contains("root:"), "a link is never followed");
}

#[test]
fn a_command_that_does_not_exist_is_said_in_words() {
    let repo = Repository::new();
    repo.write("typo.nomad", sleeper("typo").replace("\"sleep\"\n", "\"slepe\"\n"));
    let commit = repo.commit("a typo");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_revision(&commit);
    let output = agent.wait_for("the event", |agent| {
        let alloc = agent.client().job_allocations("typo").ok()?.into_value().into_iter().next()?;
        let output = agent.herder(&["alloc", "status", &alloc.id.to_string()]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("slepe").then_some(text)
    });
    assert!(output.contains("Driver Failure"), "{output}");
}

#[test]
fn a_port_that_is_taken_is_said_in_words() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let repo = Repository::new();
    let text = WebJob::new("web", 2)
        .text()
        .replace("port \"http\" {}", &format!("port \"http\" {{ static = {port} }}"));
    repo.write("web.nomad.hcl", text);
    let commit = repo.commit("a static port for two");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_revision(&commit);
    // Two instances cannot share a static port on one node: the second one waits, and says for what.
    let text = agent.wait_for("the reason", |agent| {
        let output = agent.herder(&["job", "status", "web"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("Placement failures").then_some(text)
    });
    assert!(text.contains(&port.to_string()), "the port is named: {text}");
    // The first one finds the port held by a stranger: its own output says so.
    agent.wait_for("the task's own words", |agent| {
        let alloc = agent.client().job_allocations("web").ok()?.into_value().into_iter().next()?;
        let output = agent.herder(&["alloc", "logs", "-stderr", &alloc.id.to_string()]);
        String::from_utf8_lossy(&output.stdout).contains("listening on").then_some(())
    });
}

#[test]
fn an_agent_that_cannot_start_says_why() {
    use std::process::Command;
    let run = |arguments: &[&str]| {
        let output = Command::new(crate::jobs::HERDER)
            .arg("agent")
            .args(arguments)
            .output()
            .expect("herder runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(run(&[]).contains("--dev"));
    assert!(run(&["--config", "/does/not/exist.hcl"]).contains("/does/not/exist.hcl"));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().display().to_string();
    let text = run(&["--dev", "--data-dir", &data, &format!("--http-port={port}")]);
    assert!(text.contains(&port.to_string()) && text.contains("--http-port"), "{text}");
}
