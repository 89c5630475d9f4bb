//! Law 3 where a job is not a file: jobs that share one, move, and depend on others are never stopped by accident.

use std::collections::BTreeSet;

use model::{AllocId, RevisionOutcome};

use crate::agent::Agent;
use crate::jobs::sleeper;
use crate::repository::Repository;

fn several(jobs: &[&str]) -> String {
    jobs.iter().map(|job| sleeper(job)).collect()
}

fn with_seconds(name: &str, attributes: &str) -> String {
    let job = sleeper(name).replace("[\"1000\"]", "[var.seconds]");
    format!("variable \"seconds\" {{\n  {attributes}\n}}\n{job}")
}

fn running(agent: &Agent, jobs: &[&str]) -> Vec<(u64, BTreeSet<AllocId>)> {
    let ids = |job: &str| agent.running(job).iter().map(|alloc| alloc.id).collect();
    jobs.iter().map(|job| (agent.job(job).version, ids(job))).collect()
}

fn versions(agent: &Agent, jobs: &[&str]) -> Vec<u64> {
    jobs.iter().map(|job| agent.job(job).version).collect()
}

fn status(agent: &Agent) -> String {
    String::from_utf8_lossy(&agent.herder(&["status"]).stdout).into_owned()
}

#[test]
fn many_jobs_that_leave_a_file_at_once_are_held() {
    let repo = Repository::new();
    let jobs = ["a", "b", "c", "d"];
    repo.write("all.nomad", several(&jobs));
    let first = repo.commit("four jobs in a file");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    for job in jobs {
        agent.wait_running(job, 1);
    }
    let kept = running(&agent, &jobs);

    repo.write("all.nomad", sleeper("d"));
    let removed = repo.commit("oh no");
    let entry = agent.wait_revision(&removed);
    assert!(
        entry.revision.notes.iter().any(|note| note.contains("3 of 4 jobs")),
        "{:?}",
        entry.revision.notes
    );
    assert_eq!(running(&agent, &jobs), kept);
    let text = status(&agent);
    for job in ["a", "b", "c"] {
        assert!(text.contains(&format!("`herder hold approve {job}` stops it")), "{text}");
    }
    // One comes back by itself, one is meant, one stays held.
    repo.write("all.nomad", several(&["a", "d"]));
    let back = repo.commit("a is back");
    agent.wait_revision(&back);
    assert_eq!(running(&agent, &jobs), kept);
    assert!(agent.herder(&["hold", "approve", "b"]).status.success());
    agent.wait_for("b to stop", |agent| agent.running("b").is_empty().then_some(()));
    assert_eq!(running(&agent, &["a", "c", "d"]), [&kept[..1], &kept[2..]].concat());
}

#[test]
fn a_job_that_moves_into_a_file_that_cannot_be_read_keeps_running() {
    let repo = Repository::new();
    let jobs = ["a", "b", "c", "d"];
    repo.write("all.nomad", several(&["a", "b"])).write("other.nomad", several(&["c", "d"]));
    let first = repo.commit("four jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    for job in jobs {
        agent.wait_running(job, 1);
    }
    let kept = running(&agent, &jobs);
    repo.write("all.nomad", sleeper("a")).write("b.nomad", sleeper("b").replace("{", "{{"));
    let moved = repo.commit("b moves, and breaks");
    let entry = agent.wait_revision(&moved);
    assert!(
        entry.revision.notes.iter().any(|note| note.contains("b.nomad is new and cannot be read")),
        "{:?}",
        entry.revision.notes
    );
    assert_eq!(running(&agent, &jobs), kept);
    repo.write("b.nomad", sleeper("b"));
    let mended = repo.commit("b is mended");
    agent.wait_revision(&mended);
    assert_eq!(running(&agent, &jobs), kept);
    let view = agent.repo_view();
    assert_eq!((view.broken, view.held), (Vec::new(), Vec::new()));

    // A whole folder that is renamed, values and all, is no news.
    std::fs::create_dir(repo.file("deep")).expect("a folder");
    for file in ["all.nomad", "b.nomad", "other.nomad"] {
        std::fs::rename(repo.file(file), repo.file("deep").join(file)).expect("moved");
    }
    let renamed = repo.commit("into a folder");
    agent.wait_revision(&renamed);
    assert_eq!(running(&agent, &jobs), kept);
    assert_eq!(agent.job("b").origin.path, "all.nomad", "a version says where it came from");
}

#[test]
fn one_job_in_two_files_of_several_stays_where_it_was() {
    let repo = Repository::new();
    repo.write("a.nomad", several(&["a", "b"])).write("z.nomad", sleeper("z"));
    let first = repo.commit("three jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    for job in ["a", "b", "z"] {
        agent.wait_running(job, 1);
    }
    let kept = running(&agent, &["a", "b", "z"]);
    let copy = sleeper("b").replace("1000", "2000");
    repo.write("z.nomad", format!("{}{copy}", sleeper("z").replace("1000", "2000")));
    let twice = repo.commit("b twice");
    agent.wait_revision(&twice);
    assert_eq!(running(&agent, &["a", "b", "z"]), kept);
    let text = status(&agent);
    let line = text.lines().find(|line| line.contains("already declared by a.nomad")).expect(&text);
    assert!(line.contains("z.nomad") && line.contains("`b`"), "{line}");
    repo.write("a.nomad", sleeper("a"));
    let moved = repo.commit("b is there alone");
    agent.wait_outcome(&moved, RevisionOutcome::Deployed);
    assert_eq!(agent.wait_running("b", 1)[0].job_version, 1);
    assert_eq!(versions(&agent, &["a", "b", "z"]), [0, 1, 1]);
    assert_eq!(running(&agent, &["a"]), kept[..1]);
}

#[test]
fn another_environment_is_another_reading_of_the_same_commit() {
    let repo = Repository::new();
    repo.write("a.nomad", with_seconds("a", "default = \"1000\""))
        .write("fixed.nomad", sleeper("fixed"))
        .write("all.prod.vars.hcl", "seconds = \"2000\"\n");
    let commit = repo.commit("two jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    agent.wait_running("a", 1);
    let kept = running(&agent, &["fixed"]);
    agent.terminate();
    agent.flags.push("--env=prod".to_owned());
    agent.launch();
    agent.wait_for("the values of prod", |agent| {
        let running = agent.running("a");
        (agent.job("a").version == 1 && running.len() == 1 && running[0].job_version == 1)
            .then_some(())
    });
    let args = serde_json::to_value(&agent.job("a").job).expect("JSON");
    assert_eq!(args["TaskGroups"][0]["Tasks"][0]["Config"]["args"][0], "2000");
    assert_eq!(running(&agent, &["fixed"]), kept);
    // What was broken in between is not forgotten by a restart, and stays as it was.
    repo.write("all.prod.vars.hcl", "seconds = \n");
    let broken = repo.commit("broken");
    agent.wait_revision(&broken);
    agent.terminate();
    agent.launch();
    agent.wait_running("a", 1);
    assert_eq!(versions(&agent, &["a", "fixed"]), [1, 0]);
    assert!(status(&agent).contains("all.prod.vars.hcl:1:"));
}

#[test]
fn nothing_outside_of_the_repository_is_read_and_no_secret_is_told() {
    let repo = Repository::new();
    let outside = tempfile::tempdir().expect("a folder");
    let secret = outside.path().join("secret.txt");
    std::fs::write(&secret, "top-secret-outside").expect("written");
    let reading = |name: &str, path: &str| {
        sleeper(name).replace("[\"1000\"]", &format!("[\"1000\", file(\"{path}\")]"))
    };
    let sensitive = "default = \"top-secret-default\"\n  sensitive = true\n  validation {\n    \
                     condition     = var.seconds == \"1000\"\n    error_message = \"is not 1000\"\n  }";
    std::fs::create_dir(repo.file("linked")).expect("a folder");
    std::os::unix::fs::symlink(&secret, repo.file("linked/link.txt")).expect("a link");
    std::os::unix::fs::symlink(&secret, repo.file("linked/all.vars.hcl")).expect("a link");
    repo.write("good.nomad", sleeper("good"))
        .write("absolute.nomad", reading("absolute", &secret.display().to_string()))
        .write("above.nomad", reading("above", "../../../../../etc/passwd"))
        .write("link.nomad", reading("link", "linked/link.txt"))
        .write("include.nomad", format!("include = [\"linked/link.txt\"]\n{}", sleeper("include")))
        .write("linked/vars.nomad", sleeper("vars"))
        .write("sensitive.nomad", with_seconds("sensitive", sensitive));
    let commit = repo.commit("all kinds of reads");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    agent.wait_running("good", 1);
    let broken = agent.repo_view().broken;
    let paths: Vec<&str> = broken.iter().map(|file| file.path.as_str()).collect();
    let wrong = ["above", "absolute", "include", "link", "linked/vars", "sensitive"];
    assert_eq!(paths, wrong.map(|name| format!("{name}.nomad")));
    let text = status(&agent);
    for (file, words) in [
        ("absolute.nomad:", "absolute"),
        ("above.nomad:", "repository"),
        ("link.nomad:", "symbolic link"),
        ("include.nomad:", "symbolic link"),
        ("linked/all.vars.hcl", "symbolic link"),
        ("sensitive.nomad:", "is not 1000"),
    ] {
        let found = text.lines().find(|line| line.contains(file) && line.contains(words));
        assert!(found.is_some(), "{file} does not say {words:?}: {text}");
    }
    let here = crate::job_commands::herder(repo.path(), &["validate"]);
    let plan = agent.herder(&["plan", &repo.path().display().to_string()]);
    assert_eq!((here.code, plan.status.code()), (1, Some(255)));
    let plan = String::from_utf8_lossy(&[plan.stdout, plan.stderr].concat()).into_owned();
    for text in [text, agent.log(), plan, here.out, here.said] {
        // A file that somebody named may show its own text, and never what lies behind a link.
        let text = text.replace("default = \"top-secret-default\"", "");
        assert!(!text.contains("top-secret") && !text.contains("root:"), "{text}");
    }
}
