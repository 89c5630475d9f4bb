//! What job files say in all their forms, and what comes of it: values from vars files, files that are included and
//! read, several jobs in one file, other languages, and what is the same job written otherwise.

use std::collections::BTreeSet;

use model::wire::{JobView, RevisionEntry};
use model::{AllocId, FileChangeKind, RevisionOutcome};

use crate::agent::Agent;
use crate::jobs::sleeper;
use crate::repository::Repository;

/// A job that sleeps as long as its variable `seconds` says.
fn taking_seconds(name: &str) -> String {
    let job = sleeper(name).replace("[\"1000\"]", "[var.seconds]");
    format!("variable \"seconds\" {{\n  type = string\n}}\n{job}")
}

/// How long such a job sleeps.
fn seconds(job: &JobView) -> String {
    let task = &job.job.task_groups[0].tasks[0];
    let config = serde_json::to_value(&task.config).expect("JSON");
    config["args"][0].as_str().expect("a text").to_owned()
}

/// The jobs' versions, and the allocations that run.
fn stand(agent: &Agent, jobs: &[&str]) -> Vec<(u64, BTreeSet<AllocId>)> {
    let running = |job: &str| agent.running(job).iter().map(|alloc| alloc.id).collect();
    jobs.iter().map(|job| (agent.job(job).version, running(job))).collect()
}

/// The files whose jobs a revision changed.
fn changed(entry: &RevisionEntry) -> Vec<&str> {
    let files = entry.revision.files.iter();
    files
        .filter(|file| file.change == FileChangeKind::Changed)
        .map(|file| file.path.as_str())
        .collect()
}

fn status(agent: &Agent) -> String {
    String::from_utf8_lossy(&agent.herder(&["status"]).stdout).into_owned()
}

/// Three job files with vars files beside and above them.
fn three_folders() -> Repository {
    let repo = Repository::new();
    repo.write("top.nomad", taking_seconds("top"))
        .write("jobs/near.nomad", taking_seconds("near"))
        .write("shop/web.nomad", taking_seconds("web"))
        .write("all.vars.hcl", "seconds = \"1000\"\n")
        .write("all.prod.vars.hcl", "seconds = \"2000\"\n")
        .write("jobs/near.vars.hcl", "seconds = \"3000\"\n")
        .write("shop/all.prod.vars.hcl", "seconds = \"4000\"\n")
        .write("shop/all.test.vars.hcl", "seconds = \"5000\"\n");
    repo
}

#[test]
fn values_come_from_vars_files_beside_and_above() {
    let repo = three_folders();
    let commit = repo.commit("three jobs");
    for (flags, expected) in [
        (&[][..], ["1000", "3000", "1000"]),
        (&["--env=prod"], ["2000", "3000", "4000"]),
        (&["--env=test"], ["1000", "3000", "5000"]),
    ] {
        let mut agent = Agent::start(&repo, flags);
        agent.wait_outcome(&commit, RevisionOutcome::Deployed);
        let found = ["top", "near", "web"].map(|job| seconds(&agent.job(job)));
        assert_eq!(found, expected, "{flags:?}");
    }
}

#[test]
fn a_configuration_file_names_the_environment_and_gives_values() {
    let repo = three_folders();
    let commit = repo.commit("three jobs");
    let url = repo.path().display();
    let mut agent = Agent::start_configured(&format!(
        "repo \"infra\" {{\n  url   = \"{url}\"\n  env   = \"prod\"\n  paths = [\"jobs\", \"shop\"]\n}}\n"
    ));
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    assert_eq!(["near", "web"].map(|job| seconds(&agent.job(job))), ["3000", "4000"]);
    assert!(agent.client().job("top").is_err(), "it lies outside of the paths");
    // What lies above the paths counts all the same.
    repo.remove("shop/all.prod.vars.hcl");
    let above = repo.commit("prod as everywhere");
    let entry = agent.wait_outcome(&above, RevisionOutcome::Deployed);
    assert_eq!(
        (seconds(&agent.job("web")).as_str(), changed(&entry)),
        ("2000", vec!["shop/web.nomad"])
    );
    drop(agent);

    let mut agent = Agent::start_configured(&format!(
        "repo \"infra\" {{\n  url = \"{url}\"\n  variables {{\n    seconds = \"6000\"\n  }}\n}}\n"
    ));
    agent.wait_outcome(&above, RevisionOutcome::Deployed);
    assert_eq!(["top", "near", "web"].map(|job| seconds(&agent.job(job))), ["6000"; 3]);
}

#[test]
fn a_changed_vars_file_deploys_the_jobs_below_whose_meaning_changed() {
    let repo = Repository::new();
    let other = taking_seconds("other").replace("type = string", "default = \"1000\"");
    repo.write("jobs/all.vars.hcl", "seconds = \"1000\"\n")
        .write("jobs/a.nomad", taking_seconds("a"))
        .write("jobs/deep/er/b.nomad", taking_seconds("b"))
        .write("jobs/fixed.nomad", sleeper("fixed"))
        .write("jobs/own/own.vars.hcl", "seconds = \"500\"\n")
        .write("jobs/own/own.nomad", taking_seconds("own"))
        .write("jobs2/other.nomad", other);
    let first = repo.commit("five jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let (touched, others) = (["a", "b"], ["fixed", "own", "other"]);
    for job in touched.iter().chain(&others) {
        agent.wait_running(job, 1);
    }
    let (before, kept) = (stand(&agent, &touched), stand(&agent, &others));

    repo.write("jobs/all.vars.hcl", "# the same\n\nseconds=\"1000\"\nunused = [1, 2]\n");
    let same = repo.commit("a comment and a value for nobody");
    let entry = agent.wait_outcome(&same, RevisionOutcome::Unchanged);
    assert_eq!(changed(&entry), Vec::<&str>::new());
    assert_eq!(stand(&agent, &touched), before);

    repo.write("jobs/all.vars.hcl", "seconds = \"2000\"\n");
    let second = repo.commit("more seconds");
    let entry = agent.wait_outcome(&second, RevisionOutcome::Deployed);
    assert_eq!(changed(&entry), ["jobs/a.nomad", "jobs/deep/er/b.nomad"]);
    for job in touched {
        let running = agent.wait_running(job, 1);
        assert_eq!((running[0].job_version, agent.job(job).version), (1, 1), "{job}");
        assert_eq!(seconds(&agent.job(job)), "2000");
        assert_eq!(agent.job(job).origin.commit.as_str(), second, "{job} names the commit");
    }
    assert_eq!(stand(&agent, &others), kept);

    // A new file further in counts more, and a restart changes nothing of it.
    repo.write("jobs/deep/all.vars.hcl", "seconds = \"3000\"\n");
    let third = repo.commit("b sleeps longer");
    let entry = agent.wait_outcome(&third, RevisionOutcome::Deployed);
    assert_eq!(changed(&entry), ["jobs/deep/er/b.nomad"]);
    agent.wait_running("b", 1);
    let before = stand(&agent, &["a", "b", "fixed", "own", "other"]);
    assert_eq!(before.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [1, 2, 0, 0, 0]);
    agent.terminate();
    agent.launch();
    agent.wait_running("b", 1);
    repo.write("README.md", "# Jobs\n");
    let fourth = repo.commit("no job");
    agent.wait_outcome(&fourth, RevisionOutcome::Unchanged);
    assert_eq!(stand(&agent, &["a", "b", "fixed", "own", "other"]), before);
}

#[test]
fn a_broken_vars_file_keeps_the_last_good_version() {
    let repo = Repository::new();
    repo.write("jobs/all.vars.hcl", "seconds = \"1000\"\n")
        .write("jobs/a.nomad", taking_seconds("a"))
        .write("jobs/b.nomad", taking_seconds("b"))
        .write("other.nomad", sleeper("other"));
    let first = repo.commit("three jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    for job in ["a", "b"] {
        agent.wait_running(job, 1);
    }
    let kept = stand(&agent, &["a", "b"]);

    repo.write("jobs/all.vars.hcl", "# so many\nseconds = 2000 +\n")
        .write("other.nomad", sleeper("other").replace("1000", "2000"));
    let second = repo.commit("half a value");
    let entry = agent.wait_outcome(&second, RevisionOutcome::Deployed);
    assert_eq!(changed(&entry), ["other.nomad"], "one broken file holds up no other");
    assert_eq!(stand(&agent, &["a", "b"]), kept);
    let broken = agent.repo_view().broken;
    assert_eq!(
        broken.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        ["jobs/a.nomad", "jobs/b.nomad"]
    );
    for file in &broken {
        let problem = file.problems.iter().find(|problem| problem.is_error()).expect("an error");
        assert_eq!((problem.path.as_str(), problem.line), ("jobs/all.vars.hcl", 2), "{problem}");
        assert!(problem.column > 0, "{problem}");
    }
    let text = status(&agent);
    for job in ["a", "b"] {
        let words = format!("job `{job}` keeps running as it was");
        let line = text.lines().find(|line| line.contains(&words)).expect(&text);
        assert!(line.contains("jobs/all.vars.hcl:2:"), "{line}");
    }

    // A value of another type is a mistake of the same kind.
    repo.write("jobs/all.vars.hcl", "seconds = [2000]\n");
    let third = repo.commit("a list");
    agent.wait_revision(&third);
    assert_eq!(stand(&agent, &["a", "b"]), kept);
    let text = status(&agent);
    assert!(text.contains("jobs/all.vars.hcl:1:"), "{text}");
    // None at all is one of the job file.
    repo.remove("jobs/all.vars.hcl");
    let fourth = repo.commit("no values");
    agent.wait_revision(&fourth);
    assert_eq!(stand(&agent, &["a", "b"]), kept);
    let text = status(&agent);
    assert!(text.contains("jobs/a.nomad:1:") && text.contains("`seconds`"), "{text}");

    repo.write("jobs/all.vars.hcl", "seconds = \"2000\"\n");
    let mended = repo.commit("mended");
    let entry = agent.wait_outcome(&mended, RevisionOutcome::Deployed);
    assert_eq!(changed(&entry), ["jobs/a.nomad", "jobs/b.nomad"]);
    for job in ["a", "b"] {
        assert_eq!(agent.wait_running(job, 1)[0].job_version, 1, "{job}");
    }
    assert_eq!(agent.repo_view().broken, []);
    assert!(!status(&agent).contains("broken"));
}

#[test]
fn a_file_that_is_included_or_read_deploys_who_uses_it() {
    let repo = Repository::new();
    let including = |name: &str| {
        format!(
            "include = [\"../lib/common.hcl\"]\n{}",
            taking_seconds(name).split_once("}\n").expect("a variable").1
        )
    };
    let with_env = |name: &str, value: &str| {
        sleeper(name).replace(
            "resources {",
            &format!("env {{\n        VALUE = {value}\n      }}\n      resources {{"),
        )
    };
    let common = |seconds: &str| {
        format!("include = [\"types.hcl\"]\nlocals {{\n  unused = \"{seconds}\"\n}}\n")
    };
    repo.write("lib/common.hcl", common("a"))
        .write("lib/types.hcl", "variable \"seconds\" {\n  default = \"1000\"\n}\n")
        .write("lib/motd.txt", "hello\n")
        .write("jobs/a.nomad", including("a"))
        .write("jobs/b.nomad", with_env("b", "file(\"../lib/motd.txt\")"))
        .write("jobs/c.nomad", with_env("c", "fileexists(\"c.flag\") ? \"on\" : \"off\""))
        .write("jobs/d.nomad", with_env("d", "join(\",\", fileset(\"../lib/d\", \"*.txt\"))"))
        .write("jobs/e.nomad", sleeper("e"));
    let first = repo.commit("five jobs");
    let jobs = ["a", "b", "c", "d", "e"];
    let mut agent = Agent::start(&repo, &["--path=jobs"]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    assert_eq!(agent.repo_view().broken, []);
    let value =
        |agent: &Agent, job: &str| agent.job(job).job.task_groups[0].tasks[0].env["VALUE"].clone();
    assert_eq!(seconds(&agent.job("a")), "1000");
    let versions = |agent: &Agent| jobs.map(|job| agent.job(job).version);

    let mut expect = |repo: &Repository, words: &str, file: &str, expected: [u64; 5]| {
        let commit = repo.commit(words);
        let entry = agent.wait_outcome(&commit, RevisionOutcome::Deployed);
        assert_eq!((changed(&entry), versions(&agent)), (vec![file], expected), "{words}");
    };
    repo.write("lib/types.hcl", "variable \"seconds\" {\n  default = \"2000\"\n}\n");
    expect(&repo, "what is included by what is included", "jobs/a.nomad", [1, 0, 0, 0, 0]);
    repo.write("lib/motd.txt", "good evening\n");
    expect(&repo, "what is read", "jobs/b.nomad", [1, 1, 0, 0, 0]);
    repo.write("jobs/c.flag", "");
    expect(&repo, "what was not there", "jobs/c.nomad", [1, 1, 1, 0, 0]);
    repo.write("lib/d/one.txt", "");
    expect(&repo, "what a pattern matches", "jobs/d.nomad", [1, 1, 1, 1, 0]);
    assert_eq!(["b", "c", "d"].map(|job| value(&agent, job)), ["good evening\n", "on", "one.txt"]);
    assert_eq!(seconds(&agent.job("a")), "2000");

    repo.write("lib/common.hcl", common("b"));
    let same = repo.commit("a local that nobody uses");
    agent.wait_outcome(&same, RevisionOutcome::Unchanged);
    let kept = agent.wait_running("a", 1);
    repo.remove("lib/types.hcl");
    let broken = repo.commit("the included file is gone");
    agent.wait_revision(&broken);
    let view = agent.repo_view();
    assert_eq!(
        view.broken.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        ["jobs/a.nomad"]
    );
    let text = status(&agent);
    assert!(text.contains("lib/types.hcl") && text.contains("job `a` keeps running"), "{text}");
    assert_eq!(agent.running("a")[0].id, kept[0].id);
    repo.write("lib/types.hcl", "variable \"seconds\" {\n  default = \"2000\"\n}\n");
    let back = repo.commit("it is back");
    agent.wait_revision(&back);
    assert_eq!((agent.repo_view().broken, versions(&agent)), (Vec::new(), [1, 1, 1, 1, 0]));
    assert_eq!(agent.running("a")[0].id, kept[0].id, "it means what it meant");
}

#[test]
fn several_jobs_in_a_file_come_and_go_each_by_itself() {
    let repo = Repository::new();
    let several = |jobs: &[&str]| jobs.iter().map(|job| sleeper(job)).collect::<String>();
    repo.write("all.nomad", several(&["a", "b", "c"])).write("other.nomad", sleeper("other"));
    let first = repo.commit("three jobs in one file");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    for job in ["a", "b", "c"] {
        agent.wait_running(job, 1);
        assert_eq!(agent.job(job).origin.path, "all.nomad");
    }
    let kept = stand(&agent, &["a", "b", "c"]);

    // To a new file, and to one that was there.
    repo.write("all.nomad", sleeper("a"))
        .write("b.nomad", sleeper("b"))
        .write("other.nomad", several(&["other", "c"]));
    let moved = repo.commit("each where it belongs");
    let entry = agent.wait_revision(&moved);
    assert_eq!((changed(&entry), &entry.revision.notes), (vec![], &Vec::new()));
    assert_eq!(stand(&agent, &["a", "b", "c"]), kept);

    repo.write("all.nomad", several(&["b", "a"])).remove("b.nomad");
    let back = repo.commit("together again");
    agent.wait_revision(&back);
    assert_eq!(stand(&agent, &["a", "b", "c"]), kept);

    repo.write("all.nomad", sleeper("b").replace("1000", "2000"));
    let removed = repo.commit("no a, another b");
    agent.wait_outcome(&removed, RevisionOutcome::Deployed);
    agent.wait_for("a to stop", |agent| agent.running("a").is_empty().then_some(()));
    let text = agent.herder(&["job", "status", "a"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("dead (stopped)"));
    assert_eq!(agent.wait_running("b", 1)[0].job_version, 1);
    assert_eq!(stand(&agent, &["c"]), kept[2..]);

    // One that is wrong spoils its file, and nothing of it stops.
    let before = stand(&agent, &["b", "c", "other"]);
    let wrong = several(&["other", "c"]).replacen("driver =", "drivr =", 1);
    repo.write("other.nomad", wrong);
    let broken = repo.commit("a typo in one of two");
    agent.wait_revision(&broken);
    assert_eq!(stand(&agent, &["b", "c", "other"]), before);
    let text = status(&agent);
    assert!(
        text.contains("other.nomad:") && text.contains("its 2 jobs keep running as they were"),
        "{text}"
    );
}

#[test]
fn the_same_job_written_otherwise_is_no_new_version() {
    let repo = Repository::new();
    let gates = "update {\n      min_healthy_time  = \"50ms\"\n      healthy_deadline  = \"20s\"\n      \
                 progress_deadline = \"60s\"\n    }\n";
    let job =
        sleeper("a").replace(gates, "").replace("group \"g\"", &format!("{gates}  group \"g\""));
    assert!(job.find("update") < job.find("group"), "{job}");
    repo.write("a.nomad", job);
    let first = repo.commit("a job");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    agent.wait_running("a", 1);
    let kept = stand(&agent, &["a"]);
    let hash = agent.job("a").spec_hash;

    let spelled_out = r#"
# A job that sleeps.
locals { much = 500 }
job "a" {
  datacenters = ["*"]
  priority = 50
    type = "service" // as always
  group "g" {
    task "sleep" {
      kill_timeout = "5s"
      resources {
        memory = "10"
        cpu = 5 * 2
      }
      /* it sleeps */
      env = {}
      config = { args = [format("%d", local.much * 2)], command = "sleep" }
      driver = "raw_exec"
    }
    count = 1
    restart {
      attempts = 2
    }
    meta {}
    update {
      healthy_deadline = "20s"
    }
  }
  update {
    progress_deadline = "1m"
    healthy_deadline  = "0m20s"
    min_healthy_time  = "50ms"
    max_parallel      = 1
  }
}
"#;
    let mut same = |repo: &Repository, words: &str| {
        let commit = repo.commit(words);
        agent.wait_outcome(&commit, RevisionOutcome::Unchanged);
        let view = agent.job("a");
        assert_eq!((stand(&agent, &["a"]), &view.spec_hash), (kept.clone(), &hash), "{words}");
        assert_eq!(agent.repo_view().broken, [], "{words}");
    };
    repo.write("a.nomad", spelled_out);
    same(&repo, "reordered, with comments and defaults");
    let path = repo.file("a.nomad").display().to_string();
    let output = crate::job_commands::herder(repo.path(), &["fmt", &path]);
    assert_eq!(output.code, 0, "{}", output.said);
    assert_ne!(std::fs::read_to_string(&path).expect("is there"), spelled_out);
    same(&repo, "formatted");
    let to = repo.file("a.yaml").display().to_string();
    let output = crate::job_commands::herder(repo.path(), &["job", "convert", &path, "-o", &to]);
    assert_eq!(output.code, 0, "{}", output.said);
    repo.remove("a.nomad");
    same(&repo, "in another language and another file");
}

#[test]
fn every_language_runs() {
    let repo = Repository::new();
    let task =
        r#"{"Name": "t", "Driver": "raw_exec", "Config": {"command": "sleep", "args": ["1000"]}}"#;
    let api = |id: &str| {
        format!(r#"{{"ID": "{id}", "TaskGroups": [{{"Name": "g", "Tasks": [{task}]}}]}}"#)
    };
    let hcl_json = r#"{"job": {"json": {"group": {"g": {"task": {"t": {"driver": "raw_exec", "config": {"command": "sleep", "args": ["1000"]}}}}}}}}"#;
    let yaml = "job:\n  yaml:\n    group:\n      g:\n        task:\n          t: &t\n            driver: raw_exec\n            \
                config: {command: sleep, args: ['${join(\"\", [500 * 2])}']}\n          u: *t\n";
    repo.write("api.nomad", format!("{{\"Job\": {}}}", api("api")))
        .write("bare.hcl", api("bare"))
        .write("json.nomad.hcl", hcl_json)
        .write("yaml.yaml", yaml)
        .write("short.yml", yaml.replace("  yaml:", "  yml:"))
        .write("values.yaml", "image: web\n")
        .write("named.nomad.json", api("named"))
        .write("passed-over.json", api("passed-over"));
    let commit = repo.commit("all languages");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    for job in ["api", "bare", "json", "named", "yaml", "yml"] {
        agent.wait_running(job, 1);
    }
    assert_eq!(seconds(&agent.job("yaml")), "1000");
    let view = agent.repo_view();
    assert_eq!((view.files, view.broken), (6, Vec::new()));
    assert_eq!(
        agent.client().jobs(&client::Listing::default()).expect("an answer").into_value().len(),
        6
    );
}
