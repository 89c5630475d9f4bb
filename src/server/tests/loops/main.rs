//! The server's loops over a log on disk and repositories in memory.

mod around;
mod nodes;
mod world;

use std::collections::BTreeSet;

use model::{JobId, RevisionOutcome};
use server::PlanSource;

use crate::world::{World, job, long_job};

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_job_stops_within_the_budget_only() {
    let mut world = World::open(&["r"]).await;
    let all = [("a.hcl", job("a", 1)), ("b.hcl", job("b", 1)), ("c.hcl", job("c", 1))];
    world.commit("r", &all).await;
    world.commit("r", &[("a.hcl", job("x", 1)), ("b.hcl", job("y", 1)), all[2].clone()]).await;
    assert_eq!(world.running(), ["a", "b", "c", "x", "y"], "two of three are too many");
    assert_eq!(world.held(), ["a", "b"]);
    world.server().approve_removals(Some("r"), vec!["a".into()]).await.expect("is held");
    assert_eq!((world.running().len(), world.held()), (4, vec!["b".to_owned()]));
    // It comes back in another file.
    world
        .commit("r", &[("a.hcl", job("x", 1)), ("b.hcl", job("y", 1)), ("d.hcl", job("b", 1))])
        .await;
    assert_eq!((world.held().len(), world.running()), (0, names(&["b", "x", "y"])));
    world.close().await;
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rewritten_history_changes_jobs_and_stops_none() {
    let mut world = World::open(&["r"]).await;
    world.commit("r", &[("a.hcl", job("a", 1)), ("b.hcl", job("b", 1))]).await;
    world.rewrite("r", &[("a.hcl", job("a", 2))]).await;
    assert_eq!(world.version("a"), 1);
    assert_eq!((world.running(), world.held()), (names(&["a", "b"]), names(&["b"])));
    // The next commit descends from it, and what is held stays held.
    world.commit("r", &[("a.hcl", job("a", 3))]).await;
    assert_eq!((world.version("a"), world.held()), (2, names(&["b"])));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repositories_never_fight_over_a_job() {
    let mut world = World::open(&["one", "two"]).await;
    world.commit("one", &[("f.hcl", job("a", 1)), ("o.hcl", job("o", 1))]).await;
    world.commit("two", &[("g.hcl", job("a", 2)), ("h.hcl", job("b", 1))]).await;
    assert_eq!(world.version("a"), 0);
    let words = world.problems("two", "g.hcl");
    assert!(words.contains("already declared by f.hcl of repository `one`"), "{words}");
    assert_eq!(world.running(), ["a", "b", "o"], "its other files are taken in");
    // The first one lets go of it; the second one gets it without another commit.
    world.commit("one", &[("o.hcl", job("o", 1))]).await;
    world
        .until("the job moved", |state| {
            state.job(&"a".into()).is_some_and(|a| !a.stopped && a.versions.len() == 2)
        })
        .await;
    assert_eq!(world.problems("two", "g.hcl"), "");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_after_a_restart_stop_nothing() {
    let mut world = World::open(&["r"]).await;
    world.commit("r", &[("x/a.hcl", job("a", 1)), ("y/b.hcl", job("b", 1))]).await;
    world.paths("r", "x/");
    world.restart(&["r"]).await;
    world
        .until("b is held", |state| {
            state.repo("r").is_some_and(|record| record.files["y/b.hcl"].removal_held)
        })
        .await;
    assert_eq!(world.running(), ["a", "b"]);
    world.commit("r", &[("x/a.hcl", job("a", 2)), ("y/b.hcl", job("b", 2))]).await;
    assert_eq!((world.version("a"), world.version("b")), (1, 0));
    // Back to all paths.
    world.paths("r", "");
    world.restart(&["r"]).await;
    world
        .until("b goes on", |state| state.job(&"b".into()).is_some_and(|b| b.versions.len() == 2))
        .await;
    assert!(world.held().is_empty());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_followed_no_more_leaves_its_jobs_running() {
    let mut world = World::open(&["one", "two"]).await;
    world.commit("one", &[("a.hcl", job("a", 1)), ("b.hcl", job("b", 1))]).await;
    world.restart(&["two"]).await;
    world
        .until("its jobs are held", |state| {
            state
                .repo("one")
                .is_some_and(|record| record.files.values().all(|file| file.removal_held))
        })
        .await;
    assert_eq!(world.running(), ["a", "b"]);
    world.server().approve_removals(Some("one"), vec!["b".into()]).await.expect("it is held");
    world.commit("two", &[("z.hcl", job("a", 1))]).await;
    assert_eq!((world.running(), world.version("a")), (names(&["a"]), 0), "taken over as it is");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_commit_of_any_size_is_taken_in() {
    let mut world = World::open(&["r"]).await;
    // 10,000 jobs of 2 KB; or a few of the largest size, which is the same to the log.
    let files: Vec<(String, String)> =
        (0..20).map(|n| (format!("{n}.hcl"), long_job(&format!("j{n}"), 900_000))).collect();
    let files: Vec<(&str, String)> =
        files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    let commit = world.commit("r", &files).await;
    assert_eq!(world.running().len(), 20);
    let state = world.server().state();
    assert_eq!(state.revisions().count(), 1, "it is one revision");
    let revision = state.revisions().next().expect("is known");
    assert_eq!((revision.commit.as_str(), revision.files.len()), (commit.as_str(), 20));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_brings_nothing_new() {
    let mut world = World::open(&["r"]).await;
    world.commit("r", &[("a.hcl", job("a", 1)), ("bad.hcl", "job \"b\" {".to_owned())]).await;
    let revisions = world.server().state().revisions().count();
    world.restart(&["r"]).await;
    world.commit("r", &[("a.hcl", job("a", 1)), ("bad.hcl", "job \"b\" {".to_owned())]).await;
    let state = world.server().state();
    assert_eq!(state.revisions().count(), revisions + 1);
    let revision = state.revisions().next().expect("is known");
    assert!(revision.files.is_empty(), "what stays broken is no news: {:?}", revision.files);
    assert_eq!(state.revision_report(revision).outcome, RevisionOutcome::Unchanged);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_the_file_of_a_job_that_was_renamed() {
    let mut world = World::open(&["r"]).await;
    world.commit("r", &[("a.hcl", job("a", 1)), ("b.hcl", job("b", 1))]).await;
    let files = [("a.hcl".to_owned(), job("c", 1).into_bytes())].into();
    let source = PlanSource::Files { files, under: "a.hcl".into(), gone: BTreeSet::new() };
    let request = server::PlanRequest { repo: None, source };
    let outcome = world.server().plan(request).await.expect("is planned");
    assert_eq!(outcome.paths.get(&JobId::from("a")).map(String::as_str), Some("a.hcl"));
    let stopped = outcome.preview.jobs.iter().find(|job| job.job.as_str() == "a");
    assert_eq!(stopped.and_then(|job| job.change), Some(model::FileChangeKind::Removed));
    assert_eq!(world.running(), ["a", "b"], "a plan changes nothing");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_many_allocations_is_placed_whole() {
    let mut world = World::open(&["r"]).await;
    world.large_node().await;
    world.commit("r", &[("a.hcl", job("a", 1).replacen("task", "count = 2500\n task", 1))]).await;
    world.until("all are placed", |state| state.allocs().count() == 2_500).await;
    let state = world.server().state();
    assert_eq!(state.deployments().count(), 1);
    let group = &state.deployments().next().expect("is there").groups["g"];
    assert_eq!((group.placed, group.desired_total), (2_500, 2_500));
    world.close().await;
}
