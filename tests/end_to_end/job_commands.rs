//! The commands that read job files: what they say is what the agent then does.

use std::path::Path;
use std::process::Command;

use model::RevisionOutcome;
use serde_json::Value;

use crate::agent::Agent;
use crate::jobs::{HERDER, WebJob, sleeper};
use crate::repository::Repository;

/// What a command came to.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    /// What it said beside its answer.
    pub(crate) said: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("no JSON: {error}: {}{}", self.out, self.said))
    }

    fn all(&self) -> String {
        format!("{}{}", self.out, self.said)
    }
}

/// Runs a command that needs no agent.
pub(crate) fn herder(folder: &Path, arguments: &[&str]) -> Answer {
    let mut command = Command::new(HERDER);
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1");
    answer(command.output().expect("herder runs"))
}

fn ask(agent: &Agent, arguments: &[&str]) -> Answer {
    answer(agent.herder(arguments))
}

fn answer(output: std::process::Output) -> Answer {
    Answer {
        code: output.status.code().expect("it ends by itself"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A difference without what only a plan knows.
fn bare(diff: &Value) -> Value {
    match diff {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(name, _)| !["Annotations", "Updates"].contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), bare(value))).collect()
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        other => other.clone(),
    }
}

/// A job that has a secret, a value from a vars file and one from an included file.
fn shop(count: u32, priority: u32) -> String {
    let job = sleeper("shop")
        .replace("[\"1000\"]", "[var.seconds]")
        .replace(
            "group \"g\" {",
            &format!("priority = {priority}\n  group \"g\" {{\n    count = {count}"),
        )
        .replace(
            "resources {",
            "env {\n        DB_PASSWORD = local.password\n      }\n      resources {",
        );
    format!("include = [\"../lib/secrets.hcl\"]\nvariable \"seconds\" {{}}\n{job}")
}

fn secret(value: &str) -> String {
    format!("locals {{\n  password = \"{value}\"\n}}\n")
}

#[test]
fn a_plan_of_uncommitted_files_is_what_the_commit_then_does() {
    let repo = Repository::new();
    repo.write("jobs/shop.nomad", shop(2, 50))
        .write("jobs/other.nomad", sleeper("other"))
        .write("lib/secrets.hcl", secret("hunter-one"))
        .write("all.prod.vars.hcl", "seconds = \"1000\"\n");
    let first = repo.commit("two jobs");
    let mut agent = Agent::start(&repo, &["--env=prod"]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    agent.wait_running("shop", 2);
    let whole = repo.path().display().to_string();
    let folder = repo.file("jobs").display().to_string();
    let file = repo.file("jobs/shop.nomad").display().to_string();
    let paths = [whole.as_str(), &folder, &file];
    for path in paths {
        let plan = ask(&agent, &["plan", path]);
        assert_eq!(
            (plan.code, plan.out.contains("No changes")),
            (0, true),
            "{path}: {}",
            plan.all()
        );
    }

    // The change lies in a vars file and in an included file alone.
    repo.write("lib/secrets.hcl", secret("hunter-two"))
        .write("all.prod.vars.hcl", "seconds = \"2000\"\n");
    for path in paths {
        let plan = ask(&agent, &["plan", path]);
        assert_eq!(plan.code, 1, "{path}: {}", plan.all());
        for words in [
            "+/- Job: \"shop\"",
            "+/- Task Group: \"g\" (1 create/destroy update, 1 ignore)",
            "+/- Task: \"sleep\" (forces create/destroy update)",
            "\"1000\" => \"2000\"",
            "0 to create, 2 to replace, 0 to stop, in 1 job.",
        ] {
            assert!(plan.out.contains(words), "{path}: no {words:?}: {}", plan.all());
        }
        assert!(plan.out.contains("PASSWORD"), "{path}: {}", plan.all());
        assert!(!plan.out.contains("other"), "{path}: {}", plan.all());
    }
    let planned = ask(&agent, &["plan", "-json", &folder]);
    let before = agent.job("shop");
    assert_eq!(before.version, 0, "a plan changes nothing");

    let second = repo.commit("longer, and another password");
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
    let history = ask(&agent, &["job", "history", "-patch", "-json", "shop"]);
    let (planned_json, history_json) = (planned.json(), history.json());
    let jobs = planned_json["Jobs"].as_array().expect("jobs");
    let shop = jobs.iter().find(|job| job["JobID"] == "shop").expect("the job that changes");
    assert_eq!(bare(&shop["Diff"]), bare(&history_json["Diffs"][0]));
    assert_eq!(shop["Updates"]["g"]["DestructiveUpdate"], 1);

    // Nowhere does a change show what may be secret.
    let versions = Answer { out: history_json["Diffs"].to_string(), ..history };
    let mut shown = vec![planned, versions];
    shown.push(ask(&agent, &["job", "history", "-patch", "-verbose", "shop"]));
    repo.write("lib/secrets.hcl", secret("hunter-three"));
    for path in paths {
        shown.push(ask(&agent, &["plan", path]));
        shown.push(ask(&agent, &["plan", "-verbose", path]));
        shown.push(ask(&agent, &["plan", "-json", path]));
    }
    for answer in shown {
        let text = answer.all();
        assert!(text.contains("DB_PASSWORD") && text.contains("<hidden>"), "{text}");
        assert!(!text.contains("hunter"), "{text}");
    }
    assert!(!agent.log().contains("hunter"), "neither does the log");
}

#[test]
fn the_exit_code_of_a_plan_says_whether_anything_starts_or_stops() {
    let repo = Repository::new();
    repo.write("jobs/shop.nomad", shop(2, 50))
        .write("lib/secrets.hcl", secret("x"))
        .write("all.vars.hcl", "seconds = \"1000\"\n");
    let first = repo.commit("a job");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let kept = agent.wait_running("shop", 2);
    let path = repo.path().display().to_string();

    repo.write("jobs/shop.nomad", shop(3, 50));
    let plan = ask(&agent, &["plan", &path]);
    assert_eq!(plan.code, 1, "{}", plan.all());
    let words = ["Count: \"2\" => \"3\" (forces create)", "(1 create, 2 in-place update)"];
    assert!(words.iter().all(|words| plan.out.contains(words)), "{}", plan.all());
    repo.write("jobs/shop.nomad", shop(1, 50));
    let plan = ask(&agent, &["plan", &path]);
    assert_eq!(plan.code, 1, "{}", plan.all());
    assert!(plan.out.contains("Count: \"2\" => \"1\" (forces destroy)"), "{}", plan.all());
    repo.write("jobs/shop.nomad", shop(2, 60));
    let plan = ask(&agent, &["plan", &path]);
    assert_eq!(plan.code, 0, "{}", plan.all());
    assert!(plan.out.contains("Priority: \"50\" => \"60\""), "{}", plan.all());
    assert!(plan.out.contains("Nothing starts or stops."), "{}", plan.all());
    // And so it is.
    let second = repo.commit("more important");
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
    let running = agent.wait_running("shop", 2);
    assert!(running.iter().all(|alloc| kept.iter().any(|old| old.id == alloc.id)));
    assert_eq!(agent.job("shop").version, 1);

    repo.write("all.vars.hcl", "seconds = \n");
    let plan = ask(&agent, &["plan", &path]);
    assert_eq!(plan.code, 255, "{}", plan.all());
    assert!(plan.said.contains("all.vars.hcl:1:"), "{}", plan.all());
    for arguments in [
        vec!["plan", "/no/such/folder"],
        vec!["plan", "-rev", "no-such-branch"],
        vec!["plan", "-repo", "no-such-repository"],
        vec!["plan", "-address", "http://127.0.0.1:1"],
    ] {
        let plan = ask(&agent, &arguments);
        assert_eq!(plan.code, 255, "{arguments:?}: {}", plan.all());
        assert!(!plan.said.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_job_of_the_agent_is_the_job_of_the_file() {
    const OF_THE_SERVER: [&str; 9] = [
        "Stop",
        "Status",
        "StatusDescription",
        "Stable",
        "Version",
        "SubmitTime",
        "CreateIndex",
        "ModifyIndex",
        "JobModifyIndex",
    ];
    let repo = Repository::new();
    repo.write("web/web.nomad.hcl", WebJob::new("web", 2).text())
        .write("shop/shop.nomad", shop(1, 70))
        .write("lib/secrets.hcl", secret("x"))
        .write("all.prod.vars.hcl", "seconds = \"1000\"\n");
    let commit = repo.commit("two jobs");
    let mut agent = Agent::start(&repo, &["--env=prod"]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    for (id, file) in [("web", "web/web.nomad.hcl"), ("shop", "shop/shop.nomad")] {
        let of_agent = ask(&agent, &["job", "inspect", id]);
        let of_file = herder(repo.path(), &["job", "inspect", "-env=prod", file]);
        assert_eq!((of_agent.code, of_file.code), (0, 0), "{}{}", of_agent.said, of_file.said);
        let without = |answer: &Answer| {
            let mut document = answer.json();
            let job = document["Job"].as_object_mut().expect("a job");
            for field in OF_THE_SERVER {
                job.remove(field).unwrap_or_else(|| panic!("there is no {field}"));
            }
            document
        };
        let (shown, written) = (without(&of_agent).to_string(), without(&of_file).to_string());
        // What may be secret is the only difference.
        assert_eq!(
            shown,
            written.replace("\"DB_PASSWORD\":\"x\"", "\"DB_PASSWORD\":\"<hidden>\""),
            "{id}"
        );
        assert_ne!(of_agent.json(), of_file.json(), "the agent says where it stands");

        let hash = ask(&agent, &["job", "inspect", "-hash", id]).out;
        let shown = crate::load::get(agent.http, &format!("/v1/job/{id}")).expect("an answer");
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(Some(hash.trim()), shown["SpecHash"].as_str(), "{id}");
        assert_eq!(herder(repo.path(), &["job", "inspect", "-hash", "-env=prod", file]).out, hash);
        // What the agent has is a job file, in every form, unless something in it is hidden.
        if of_agent.out.contains("<hidden>") {
            assert_eq!(id, "shop");
            continue;
        }
        for (form, name) in [("-hcl", "again.nomad"), ("-yaml", "again.yaml")] {
            let again = ask(&agent, &["job", "inspect", form, id]).out;
            repo.write(name, again);
            assert_eq!(
                herder(repo.path(), &["job", "inspect", "-hash", name]).out,
                hash,
                "{id} {form}"
            );
        }
        repo.write("again.nomad", &of_agent.out);
        assert_eq!(herder(repo.path(), &["job", "inspect", "-hash", "again.nomad"]).out, hash);
    }
    let missing = ask(&agent, &["job", "inspect", "nothing"]);
    assert!(missing.code == 1 && missing.said.contains("no job of this name"), "{}", missing.all());
    let other = herder(
        repo.path(),
        &["job", "inspect", "-hash", "-env=prod", "-var=seconds=1", "shop/shop.nomad"],
    );
    assert_ne!(other.out, ask(&agent, &["job", "inspect", "-hash", "shop"]).out);
}

#[test]
fn a_thousand_files_are_validated_and_what_matters_comes_first() {
    let repo = Repository::new();
    for index in 0..1_000 {
        let job = sleeper(&format!("job-{index:03}"));
        let text = match index {
            400 => job.replace("driver =", "drivr ="),
            600 => job.replace("\"20s\"", "\"20 parsecs\""),
            800 => job.replacen("group \"g\" {", "group \"g\" {{", 1),
            // These are no mistakes, and come first by name.
            0..20 => {
                job.replacen("task", "ephemeral_disk {\n      migrate = true\n    }\n    task", 1)
            }
            _ => job,
        };
        repo.write(&format!("team-{}/job-{index:03}.nomad", index / 100), text);
    }
    repo.write("team-9/values.yaml", "no: job\n").write("team-9/unread.vars.hcl", "a = 1\n");
    repo.commit("a thousand jobs");
    let files = ["team-4/job-400.nomad:10:7", "team-6/job-600.nomad:6:", "team-8/job-800.nomad:3:"];

    let all = herder(repo.path(), &["validate"]);
    assert_eq!(all.code, 1, "{}", all.all());
    let at =
        |words: &str| all.out.find(words).unwrap_or_else(|| panic!("no {words}: {}", all.all()));
    let warning = at("not-acted-on");
    for file in files {
        assert!(at(file) < warning, "{file} comes after a warning: {}", all.out);
    }
    assert!(all.out.contains("did you mean `driver`"), "{}", all.out);
    assert!(all.out.matches("not-acted-on").count() == 1, "many warnings are folded: {}", all.out);
    assert!(all.out.lines().count() < 60, "{}", all.out);
    let is_summary = |line: &&str| line.starts_with("1,000 files, 3 with errors");
    let summary = all.said.lines().find(is_summary).expect(&all.said);
    assert!(summary.contains("; first: team-4/job-400.nomad:"), "{summary}");

    let github = herder(repo.path(), &["validate", "-format=github"]);
    assert_eq!(github.code, 1);
    let lines: Vec<&str> = github.out.lines().collect();
    let errors = lines.iter().take_while(|line| line.starts_with("::error ")).count();
    assert!(errors >= 3, "{}", github.out);
    assert!(lines[errors..].iter().all(|line| line.starts_with("::warning ")), "{}", github.out);
    for (file, line) in [("team-4/job-400", 10), ("team-6/job-600", 6), ("team-8/job-800", 3)] {
        let start = format!("::error file={file}.nomad,line={line},");
        assert!(
            lines[..errors].iter().any(|line| line.starts_with(&start)),
            "no {start}: {}",
            github.out
        );
    }
    let short = herder(repo.path(), &["validate", "-format=short", "team-4"]);
    assert!(
        short.out.contains(&format!("{}: error: ", files[0])) && short.code == 1,
        "{}",
        short.all()
    );
    let json = herder(repo.path(), &["validate", "-json"]);
    assert_eq!((json.code, json.out.matches("\"error\"").count() >= 3), (1, true), "{}", json.said);
    assert_eq!(herder(repo.path(), &["validate", "team-3"]).code, 0);
    assert_eq!(herder(&repo.file("team-8"), &["validate", "job-800.nomad"]).code, 1);
    assert_eq!(herder(repo.path(), &["validate", "no-such-folder"]).code, 255);
}

#[test]
fn a_plan_says_what_is_gone_and_what_is_new() {
    let repo = Repository::new();
    repo.write("jobs/all.nomad", [sleeper("a"), sleeper("b")].concat())
        .write("jobs/shop.nomad", shop(1, 50))
        .write("lib/secrets.hcl", secret("x"))
        .write("all.vars.hcl", "seconds = \"1000\"\n");
    let first = repo.commit("three jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let paths = [repo.path().display().to_string(), repo.file("jobs").display().to_string()];

    repo.write("jobs/all.nomad", sleeper("a")).write("jobs/c.nomad", sleeper("c"));
    for path in &paths {
        let plan = ask(&agent, &["plan", path]);
        assert_eq!(plan.code, 1, "{path}: {}", plan.all());
        for words in
            ["- Job: \"b\"", "+ Job: \"c\"", "1 to create, 0 to replace, 1 to stop, in 2 jobs."]
        {
            assert!(plan.out.contains(words), "{path}: no {words:?}: {}", plan.all());
        }
    }
    // A file that is moved with its jobs is nothing.
    repo.write("jobs/all.nomad", sleeper("b")).write("jobs/c.nomad", sleeper("a"));
    for path in &paths {
        let plan = ask(&agent, &["plan", path]);
        assert_eq!(
            (plan.code, plan.out.contains("No changes")),
            (0, true),
            "{path}: {}",
            plan.all()
        );
    }
    // What a job takes its values from is gone.
    repo.remove("all.vars.hcl");
    for path in &paths {
        let plan = ask(&agent, &["plan", path]);
        assert_eq!(plan.code, 255, "{path}: {}", plan.all());
        assert!(plan.said.contains("jobs/shop.nomad:2:"), "{path}: {}", plan.all());
    }
}

#[test]
fn where_a_value_came_from_is_told() {
    let repo = Repository::new();
    repo.write("jobs/shop.nomad", shop(1, 50))
        .write("lib/secrets.hcl", secret("hunter-one"))
        .write("all.vars.hcl", "seconds = \"1000\"\n")
        .write("jobs/all.prod.vars.hcl", "\nseconds = \"2000\"\n");
    let explain = |flags: &[&str]| {
        let explained = herder(
            repo.path(),
            &[&["job", "inspect", "-explain", "jobs/shop.nomad"], flags].concat(),
        );
        assert_eq!(explained.code, 0, "{}", explained.said);
        assert!(!explained.all().contains("hunter"), "{}", explained.all());
        explained.out
    };
    for (flags, words) in [
        (&[][..], "var.seconds ← all.vars.hcl:1:"),
        (&["-env=prod"], "var.seconds ← jobs/all.prod.vars.hcl:2:"),
        (&["-env=prod", "-var=seconds=3000"], "var.seconds ← -var,"),
    ] {
        let text = explain(flags);
        let line = text.lines().find(|line| line.contains("args")).expect("the arguments");
        assert!(line.contains(words), "{flags:?}: no {words:?}: {text}");
    }
    let text = explain(&[]);
    assert!(text.contains("local.password ← lib/secrets.hcl:2:"), "{text}");
}
