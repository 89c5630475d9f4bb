use std::sync::Arc;

use model::{EvalId, Evaluation, Job, JobType, Parameterized, seeded_uuid};
use state::{Command, FileOutcome, JobSubmission, Plan, TakeRevision};

use super::*;
use crate::samples::{of_kind, service};

/// Takes jobs in as one revision.
fn take(state: &mut State, jobs: &[&Job]) {
    let file = |job: &&Job| {
        let submission = JobSubmission { job: Arc::new(Job::clone(job)) };
        let outcome = FileOutcome::Job { blob: "1".into(), submission, problems: Vec::new() };
        (job.id.to_string(), outcome)
    };
    let taken = TakeRevision {
        expected_head: state.repo("").and_then(|record| record.head.clone()),
        commit: format!("c{}", state.index()).into(),
        files: jobs.iter().map(file).collect(),
        ..TakeRevision::default()
    };
    apply(state, &Command::TakeRevision(Box::new(taken)));
}

fn apply(state: &mut State, command: &Command) {
    assert_eq!(state.apply(state.index() + 1, command).rejection, None);
}

fn plan(state: &mut State, change: impl FnOnce(&mut Plan)) {
    let mut plan = Plan { basis: state.index(), ..Plan::default() };
    change(&mut plan);
    apply(state, &Command::ApplyPlan(Box::new(plan)));
}

/// What `web`, which is after `db`, waits for.
fn web(state: &State) -> String {
    in_words(&waits(state, state.job(&"web".into()).expect("is known")))
}

fn after(mut job: Job) -> Job {
    job.gitops.after = vec!["db".into(), "db".into()];
    job
}

fn deployment(state: &mut State, version: u64, status: DeploymentStatus) {
    let id = model::DeploymentId::new(seeded_uuid(&[&version.to_be_bytes()]));
    let deployment =
        Deployment { id, job: "db".into(), job_version: version, status, ..Deployment::default() };
    plan(state, |plan| plan.deployments.push(deployment));
}

fn alloc(state: &mut State, n: u8, version: u64, client: ClientStatus) {
    let alloc = Allocation {
        id: model::AllocId::new(seeded_uuid(&[&[n]])),
        job: "db".into(),
        job_version: version,
        group: "web".into(),
        client,
        ..Allocation::default()
    };
    plan(state, |plan| plan.place.push(alloc));
}

#[test]
fn the_rollout_must_be_over_and_well_and_all_of_it_run() {
    use DeploymentStatus::{Cancelled, Failed, Paused, Running, Successful};
    let cases = [
        (Running, "waits for db: its deployment is running"),
        (Paused, "waits for db: its deployment is paused"),
        (Failed, "waits for db: its deployment failed"),
        (Cancelled, "waits for db: its deployment was cancelled"),
        (Successful, "waits for db: not all of it runs"),
    ];
    for (status, words) in cases {
        let mut state = State::default();
        take(&mut state, &[&service("db", 1), &after(service("web", 1))]);
        assert_eq!(web(&state), "waits for db: its rollout has not begun");
        deployment(&mut state, 0, status);
        assert_eq!(web(&state), words);
        alloc(&mut state, 1, 0, ClientStatus::Running);
        assert_eq!(web(&state), if status == Successful { "" } else { words });
    }
}

#[test]
fn an_older_failure_holds_nothing_up_as_long_as_what_runs_is_well() {
    let mut state = State::default();
    take(&mut state, &[&service("db", 2)]);
    deployment(&mut state, 0, DeploymentStatus::Failed);
    alloc(&mut state, 1, 0, ClientStatus::Running);
    take(&mut state, &[&after(service("web", 1))]);
    assert_eq!(web(&state), "waits for db: not all of it runs");
    alloc(&mut state, 2, 0, ClientStatus::Running);
    assert_eq!(web(&state), "");
    // A later version is waited for.
    let mut db = service("db", 2);
    db.priority = 60;
    take(&mut state, &[&db]);
    assert_eq!(web(&state), "waits for db: its rollout has not begun");
}

#[test]
fn jobs_that_only_wait_to_be_started_are_settled_and_others_complete() {
    let mut state = State::default();
    let mut parent = of_kind("db", JobType::Batch, 1);
    parent.parameterized_job = Some(Parameterized::default());
    take(&mut state, &[&parent, &after(service("web", 1))]);
    assert_eq!(web(&state), "");

    let mut state = State::default();
    take(&mut state, &[&of_kind("db", JobType::Batch, 2), &after(service("web", 1))]);
    alloc(&mut state, 1, 0, ClientStatus::Complete);
    alloc(&mut state, 2, 0, ClientStatus::Failed);
    assert_eq!(web(&state), "waits for db: it is not complete");
    alloc(&mut state, 3, 0, ClientStatus::Complete);
    assert_eq!(web(&state), "");
}

#[test]
fn one_that_wants_nothing_is_settled_once_it_was_looked_at() {
    let mut state = State::default();
    take(&mut state, &[&service("db", 0), &after(service("web", 1))]);
    assert_eq!(web(&state), "waits for db: its rollout has not begun");
    let evaluation = Evaluation {
        id: EvalId::new(seeded_uuid(&[b"e"])),
        job: "db".into(),
        ..Evaluation::default()
    };
    plan(&mut state, |plan| plan.evaluations.push(evaluation));
    assert_eq!(web(&state), "");
}

#[test]
fn a_version_waits_once() {
    let mut state = State::default();
    take(&mut state, &[&after(service("web", 1))]);
    let record = state.job(&"web".into()).expect("is known");
    assert!(may_wait(record));
    assert_eq!(web(&state), "waits for db: there is no such job");
    plan(&mut state, |plan| plan.started.push(("web".into(), 0)));
    let record = state.job(&"web".into()).expect("is known");
    assert!(!may_wait(record));
    assert_eq!(web(&state), "");
}

#[test]
fn what_goes_on_is_the_newest_version_that_has_started() {
    let mut state = State::default();
    let goes_on = |state: &State| {
        let before = without_what_waits(state.job(&"web".into()).expect("is known"));
        (!before.stopped).then(|| before.current().expect("has a version").version)
    };
    take(&mut state, &[&after(service("web", 1))]);
    assert_eq!(goes_on(&state), None, "nothing ran before");
    take(&mut state, &[&service("web", 2)]);
    take(&mut state, &[&after(service("web", 3))]);
    take(&mut state, &[&after(service("web", 4))]);
    assert_eq!(goes_on(&state), Some(1), "one that waited is passed over");
    plan(&mut state, |plan| plan.started.push(("web".into(), 2)));
    assert_eq!(goes_on(&state), Some(2));
    // What was stopped is not brought back.
    let stop = TakeRevision {
        expected_head: state.repo("").and_then(|record| record.head.clone()),
        commit: "gone".into(),
        files: [("web".to_owned(), FileOutcome::Removed)].into(),
        ..TakeRevision::default()
    };
    apply(&mut state, &Command::TakeRevision(Box::new(stop)));
    take(&mut state, &[&after(service("web", 5))]);
    take(&mut state, &[&after(service("web", 6))]);
    assert_eq!(goes_on(&state), None);
}
