//! Law 3: what could not be read whole is never a deletion.

use model::RevisionOutcome;

use crate::agent::Agent;
use crate::jobs::sleeper;
use crate::repository::Repository;

fn ten_jobs(repo: &Repository) {
    for index in 0..10 {
        repo.write(&format!("jobs/j{index}.nomad"), sleeper(&format!("j{index}")));
    }
}

#[test]
fn one_broken_file_holds_up_no_other() {
    let repo = Repository::new();
    ten_jobs(&repo);
    let first = repo.commit("ten jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let kept = agent.wait_running("j4", 1);

    for index in 0..10 {
        let text = sleeper(&format!("j{index}")).replace("1000", "2000");
        let text =
            if index == 4 { text.replacen("group \"g\" {", "group \"g\" {{", 1) } else { text };
        repo.write(&format!("jobs/j{index}.nomad"), text);
    }
    let second = repo.commit("nine good, one broken");
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
    for index in (0..10).filter(|index| *index != 4) {
        let running = agent.wait_running(&format!("j{index}"), 1);
        assert_eq!(running[0].job_version, 1, "j{index}");
    }
    let still = agent.running("j4");
    assert_eq!((still[0].id, still[0].job_version), (kept[0].id, 0), "it runs as it was");
    let status = agent.herder(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("jobs/j4.nomad:3:"), "file and line: {text}");
    assert!(text.contains("`j4` keeps running"), "{text}");
}

#[test]
fn a_removed_file_stops_its_job() {
    let repo = Repository::new();
    repo.write("a.nomad", sleeper("a")).write("b.nomad", sleeper("b"));
    let first = repo.commit("two jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    repo.remove("b.nomad");
    let second = repo.commit("no b");
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
    agent.wait_for("b to stop", |agent| agent.running("b").is_empty().then_some(()));
    assert_eq!(agent.running("a").len(), 1);
    let history = agent.herder(&["job", "status", "b"]);
    assert!(String::from_utf8_lossy(&history.stdout).contains("dead (stopped)"));
}

#[test]
fn an_empty_repository_stops_nothing_until_it_is_approved() {
    let repo = Repository::new();
    repo.write("a.nomad", sleeper("a")).write("b.nomad", sleeper("b"));
    let first = repo.commit("two jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    repo.remove("a.nomad").remove("b.nomad");
    let empty = repo.commit("oh no");
    let entry = agent.wait_revision(&empty);
    assert!(
        entry.revision.notes.iter().any(|note| note.contains("empty")),
        "{:?}",
        entry.revision.notes
    );
    assert_eq!((agent.running("a").len(), agent.running("b").len()), (1, 1));
    let status = agent.herder(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("herder hold approve"), "{text}");

    assert!(agent.herder(&["hold", "approve", "a"]).status.success());
    agent.wait_for("a to stop", |agent| agent.running("a").is_empty().then_some(()));
    assert_eq!(agent.running("b").len(), 1, "only a was approved");
}

#[test]
fn rewritten_history_stops_nothing() {
    let repo = Repository::new();
    repo.write("a.nomad", sleeper("a"))
        .write("b.nomad", sleeper("b"))
        .write("c.nomad", sleeper("c"));
    let first = repo.commit("three jobs");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    repo.remove("c.nomad");
    let forced = repo.commit_as_new_history("rewritten");
    let entry = agent.wait_revision(&forced);
    assert!(
        entry.revision.notes.iter().any(|note| note.contains("rewritten")),
        "{:?}",
        entry.revision.notes
    );
    assert_eq!(agent.running("c").len(), 1);
}

#[test]
fn a_remote_that_is_gone_stops_nothing() {
    let repo = Repository::new();
    repo.write("a.nomad", sleeper("a"));
    let first = repo.commit("a job");
    let mut agent = Agent::start(&repo, &["--interval=200ms"]);
    agent.wait_outcome(&first, RevisionOutcome::Deployed);
    let away = repo.path().with_extension("away");
    std::fs::rename(repo.path(), &away).expect("moved away");
    let error = agent.wait_for("the failed read to be shown", |agent| {
        agent.client().gitops_status(None).ok()?.into_value().repos.into_iter().next()?.error
    });
    assert!(!error.message.is_empty());
    assert_eq!(agent.running("a").len(), 1);
    // A restart in that time changes nothing either.
    agent.terminate();
    agent.launch();
    assert_eq!(agent.wait_running("a", 1).len(), 1);
    std::fs::rename(&away, repo.path()).expect("moved back");
    repo.write("a.nomad", sleeper("a").replace("1000", "3000"));
    let second = repo.commit("it is back");
    agent.wait_outcome(&second, RevisionOutcome::Deployed);
}
