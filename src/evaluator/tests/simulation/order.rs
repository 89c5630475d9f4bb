//! Jobs that start after others.

use std::collections::BTreeMap;
use std::time::Duration;

use evaluator::{preview, waits};
use model::{DeploymentStatus, EvalStatus, Job, JobId, JobType, RevisionOutcome};
use proptest::prelude::*;
use state::{Command, FileOutcome};

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{node, of_kind, service};

fn after(mut job: Job, on: &[&str]) -> Job {
    job.gitops.after = on.iter().map(|on| (*on).into()).collect();
    job
}

/// Commits several jobs as one revision.
fn commit(cluster: &mut Cluster, jobs: &[&Job]) {
    let revision = cluster.revision(jobs.iter().map(|job| Cluster::file(job)).collect());
    cluster.must_apply(&Command::TakeRevision(Box::new(revision)));
}

fn reason(cluster: &Cluster, job: &str) -> String {
    let record = cluster.state.job(&JobId::from(job)).expect("is known");
    waits(&cluster.state, record).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn said(cluster: &Cluster, job: &str) -> String {
    let id = JobId::from(job);
    let last = cluster.state.evaluations_of_job(&id).next().expect("was looked at");
    assert_eq!(last.status, EvalStatus::Complete);
    last.description.clone()
}

#[test]
fn a_first_version_waits_until_what_it_names_is_healthy() {
    let mut cluster = Cluster::new(3);
    let db = with(service("db", 2), Mode::Good, 1);
    let web = after(with(service("web", 2), Mode::Good, 1), &["db"]);
    let api = after(with(service("api", 1), Mode::Good, 1), &["web", "db"]);
    commit(&mut cluster, &[&api, &web, &db]);
    cluster.run(2);
    assert_eq!((cluster.running("web").len(), cluster.running("api").len()), (0, 0));
    assert_eq!(reason(&cluster, "web"), "waits for db: its deployment is running");
    assert_eq!(said(&cluster, "web"), "waits for db: its deployment is running");
    assert!(reason(&cluster, "api").contains("waits for web: it has not started"));
    let revision = cluster.state.revisions().next().expect("is there");
    let report = cluster.state.revision_report(revision);
    assert_eq!((report.outcome, report.finished_at), (RevisionOutcome::Deploying, None));
    assert_eq!(report.jobs[2].2, "waits for db: its deployment is running");
    cluster.run(4);
    assert_eq!(cluster.deployment("db").status, DeploymentStatus::Successful);
    assert_eq!((cluster.running("web").len(), cluster.running("api").len()), (2, 0));
    cluster.run(10);
    assert_eq!((cluster.running("web").len(), cluster.running("api").len()), (2, 1));
    assert_eq!(cluster.deployment("api").status, DeploymentStatus::Successful);
    assert_eq!(reason(&cluster, "api"), "");
    let evaluations = cluster.state.evaluations_of_job(&"web".into()).count();
    assert!(evaluations < 6, "{evaluations} passes are recorded");
}

#[test]
fn what_runs_goes_on_while_a_new_version_waits() {
    let mut cluster = Cluster::new(4);
    let (db, web) = (service("db", 2), service("web", 3));
    commit(&mut cluster, &[&with(db.clone(), Mode::Good, 1), &with(web.clone(), Mode::Good, 1)]);
    cluster.run(15);
    cluster.watch();
    // One that scales down, drops a group and changes what remains: none of it happens.
    let mut next = after(with(web, Mode::Good, 2), &["db"]);
    next.task_groups[0].count = 1;
    commit(&mut cluster, &[&with(db.clone(), Mode::Sick, 2), &next]);
    cluster.run(2);
    assert_eq!(cluster.versions("web"), [0, 0, 0]);
    // What is lost or fails is replaced as it was.
    let alloc = cluster.running("web")[0].clone();
    let lost = (1..=4).find(|n| node(*n).id == alloc.node).expect("is a node");
    cluster.node_down(lost);
    cluster.run(2);
    let alloc = cluster.running("web")[0].clone();
    cluster.crash(alloc.id);
    cluster.run(60);
    assert_eq!(cluster.versions("web"), [0, 0, 0]);
    assert_eq!(cluster.placed_of("web", 1), 0);
    assert_eq!(reason(&cluster, "web"), "waits for db: its deployment is running");
    // A version that succeeds lets it start.
    commit(&mut cluster, &[&with(db, Mode::Good, 3)]);
    cluster.run(40);
    assert_eq!(cluster.versions("web"), [1]);
}

#[test]
fn what_waits_for_a_rollout_that_fails_is_held_and_says_so() {
    for auto_revert in [false, true] {
        let mut cluster = Cluster::new(4);
        let (mut db, web) = (service("db", 2), service("web", 2));
        let update = db.task_groups[0].update.as_mut().expect("has updates");
        update.auto_revert = auto_revert;
        update.progress_deadline = Duration::from_secs(20);
        commit(
            &mut cluster,
            &[&with(db.clone(), Mode::Good, 1), &with(web.clone(), Mode::Good, 1)],
        );
        cluster.run(15);
        let next = after(with(web.clone(), Mode::Good, 2), &["db"]);
        commit(&mut cluster, &[&with(db.clone(), Mode::Sick, 2), &next]);
        cluster.run(60);
        let words = match auto_revert {
            true => "waits for db: its deployment failed, and it went back to version 0",
            false => "waits for db: its deployment failed",
        };
        assert_eq!(reason(&cluster, "web"), words);
        assert_eq!(said(&cluster, "web"), words);
        assert_eq!(cluster.versions("web"), [0, 0]);
        let recorded = cluster.state.evaluations_of_job(&"web".into()).count();
        cluster.run(300);
        assert_eq!(
            cluster.state.evaluations_of_job(&"web".into()).count(),
            recorded,
            "nothing flips"
        );
        if auto_revert {
            // Who changes it now has seen what runs.
            commit(&mut cluster, &[&after(with(web, Mode::Good, 3), &["db"])]);
            cluster.run(20);
            assert_eq!(cluster.versions("web"), [2, 2]);
        } else {
            // Half of it is not well: that holds a new version as well.
            commit(&mut cluster, &[&after(with(web, Mode::Good, 3), &["db"])]);
            cluster.run(20);
            assert_eq!(reason(&cluster, "web"), "waits for db: not all of it runs");
            commit(&mut cluster, &[&with(db, Mode::Good, 4)]);
            cluster.run(40);
            assert_eq!(cluster.versions("web"), [2, 2]);
        }
    }
}

#[test]
fn a_file_that_says_what_the_job_went_back_to_settles_it() {
    let mut cluster = Cluster::new(4);
    let (mut db, web) = (service("db", 2), service("web", 1));
    db.task_groups[0].update.as_mut().expect("has updates").auto_revert = true;
    let good = with(db.clone(), Mode::Good, 1);
    commit(&mut cluster, &[&good]);
    cluster.run(10);
    commit(&mut cluster, &[&with(db, Mode::Sick, 2), &after(with(web, Mode::Good, 1), &["db"])]);
    cluster.run(40);
    assert!(reason(&cluster, "web").ends_with("went back to version 0"));
    commit(&mut cluster, &[&good]);
    cluster.run(10);
    assert_eq!(cluster.versions("web"), [0]);
}

#[test]
fn each_kind_of_job_is_settled_in_its_way() {
    for kind in [JobType::Batch, JobType::Sysbatch] {
        let mut cluster = Cluster::new(2);
        let migrate = with(of_kind("migrate", kind, 2), Mode::Finish, 1);
        commit(
            &mut cluster,
            &[&migrate, &after(with(service("web", 1), Mode::Good, 1), &["migrate"])],
        );
        cluster.run(3);
        assert_eq!(reason(&cluster, "web"), "waits for migrate: it is not complete");
        cluster.run(8);
        assert_eq!(cluster.versions("web"), [0]);
        // A new version of it is another run.
        let again = with(of_kind("migrate", kind, 2), Mode::Finish, 2);
        commit(
            &mut cluster,
            &[&again, &after(with(service("web", 1), Mode::Good, 2), &["migrate"])],
        );
        cluster.run(3);
        assert_eq!(cluster.versions("web"), [0], "{kind:?}");
        cluster.run(12);
        assert_eq!(cluster.versions("web"), [1], "{kind:?}");
    }
    let mut cluster = Cluster::new(2);
    let mut parent = with(of_kind("nightly", JobType::Batch, 1), Mode::Finish, 1);
    parent.parameterized_job = Some(model::Parameterized::default());
    let system = with(of_kind("agent", JobType::System, 1), Mode::Good, 1);
    let mut idle = with(service("idle", 1), Mode::Good, 1);
    idle.task_groups[0].count = 0;
    let mut plain = with(service("plain", 2), Mode::Good, 1);
    plain.task_groups[0].update = None;
    let web = after(with(service("web", 1), Mode::Good, 1), &["nightly", "agent", "idle", "plain"]);
    commit(&mut cluster, &[&parent, &system, &idle, &plain, &web]);
    cluster.run(15);
    assert_eq!(cluster.versions("web"), [0], "{}", reason(&cluster, "web"));
}

#[test]
fn a_job_that_is_stopped_or_unknown_holds() {
    let mut cluster = Cluster::new(2);
    commit(&mut cluster, &[&with(service("db", 1), Mode::Good, 1)]);
    cluster.run(10);
    cluster.remove("db");
    cluster.run(3);
    commit(&mut cluster, &[&after(with(service("web", 1), Mode::Good, 1), &["db", "no"])]);
    cluster.run(3);
    assert_eq!(
        reason(&cluster, "web"),
        "waits for db: it is stopped; waits for no: there is no such job"
    );
    // A job that was stopped and comes back is not started as it was meanwhile.
    let web = with(service("web", 1), Mode::Good, 1);
    commit(&mut cluster, &[&web]);
    cluster.run(10);
    assert_eq!(cluster.versions("web"), [1]);
    cluster.remove("web");
    cluster.run(4);
    commit(&mut cluster, &[&after(web, &["db"])]);
    cluster.run(10);
    assert_eq!(cluster.versions("web"), [0; 0]);
    cluster.remove("web");
    cluster.run(2);
}

#[test]
fn a_version_that_has_started_is_not_held_again_and_one_that_goes_back_never_waits() {
    let mut cluster = Cluster::new(3);
    let db = service("db", 1);
    let mut web = after(service("web", 3), &["db"]);
    web.task_groups[0].update.as_mut().expect("has updates").auto_revert = true;
    commit(&mut cluster, &[&with(db.clone(), Mode::Good, 1), &with(web.clone(), Mode::Good, 1)]);
    cluster.run(20);
    commit(&mut cluster, &[&with(web.clone(), Mode::Good, 2)]);
    cluster.run(2);
    commit(&mut cluster, &[&with(db.clone(), Mode::Sick, 2)]);
    cluster.run(30);
    assert_eq!(cluster.versions("web"), [1, 1, 1], "it had started");
    commit(&mut cluster, &[&with(db.clone(), Mode::Good, 3)]);
    cluster.run(20);
    commit(&mut cluster, &[&with(web.clone(), Mode::Sick, 3)]);
    cluster.run(2);
    commit(&mut cluster, &[&with(db, Mode::Sick, 4)]);
    cluster.run(40);
    assert_eq!(cluster.versions("web"), [3, 3, 3], "it went back");
    // Scaled to nothing, it stays so whatever becomes of the other one.
    web.task_groups[0].count = 0;
    let mut cluster = Cluster::new(3);
    commit(
        &mut cluster,
        &[
            &with(service("db", 1), Mode::Good, 1),
            &after(with(service("web", 2), Mode::Good, 1), &["db"]),
        ],
    );
    cluster.run(20);
    commit(&mut cluster, &[&with(web, Mode::Good, 1)]);
    cluster.run(5);
    let alloc = cluster.running("db")[0].id;
    cluster.crash(alloc);
    cluster.run(10);
    assert_eq!(cluster.versions("web"), [0; 0]);
}

#[test]
fn a_plan_shows_what_waits_and_what_it_will_do() {
    let mut cluster = Cluster::new(3);
    let (db, web) = (service("db", 1), service("web", 2));
    commit(&mut cluster, &[&with(db.clone(), Mode::Good, 1), &with(web.clone(), Mode::Good, 1)]);
    cluster.run(15);
    let next = [with(db, Mode::Good, 2), after(with(web, Mode::Good, 2), &["db"])];
    let revision = cluster.revision(next.iter().map(Cluster::file).collect());
    let shown = preview(&cluster.state, &revision, cluster.now);
    let job = |id: &str| shown.jobs.iter().find(|job| job.job == id.into()).expect("is shown");
    assert_eq!(job("db").waits, []);
    assert_eq!(job("web").waits.len(), 1);
    assert_eq!(job("web").waits[0].to_string(), "waits for db: its rollout has not begun");
    assert_eq!(job("web").updates["web"].destructive_update, 1, "what it does once it starts");
    let web = JobId::from("web");
    assert!(
        shown
            .plan
            .stop
            .iter()
            .all(|stop| cluster.state.alloc(stop.alloc).is_some_and(|alloc| alloc.job != web))
    );
    let files: BTreeMap<String, FileOutcome> = next.iter().map(Cluster::file).collect();
    assert_eq!(files.len(), 2);
}

#[derive(Clone, Debug)]
enum Step {
    /// These jobs change in one revision, to these modes.
    Commit(Vec<(usize, Mode)>),
    Remove(usize),
    Down(u32),
    Up(u32),
    Crash(usize),
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// `b` is after `a`, and `c` after both.
fn of_chain(at: usize, mode: Mode, content: u32) -> Job {
    let mut job = service(NAMES[at], 2);
    let update = job.task_groups[0].update.as_mut().expect("has updates");
    update.progress_deadline = Duration::from_secs(20);
    update.auto_revert = at == 0;
    update.canary = u32::from(at == 1);
    update.auto_promote = true;
    after(with(job, mode, content), &NAMES[..at])
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
    let mode = prop_oneof![4 => Just(Mode::Good), 1 => Just(Mode::Sick), 1 => Just(Mode::Crash)];
    let step = prop_oneof![
        6 => prop::collection::vec((0..3_usize, mode), 1..4).prop_map(Step::Commit),
        1 => (0..3_usize).prop_map(Step::Remove),
        1 => (1..5_u32).prop_map(Step::Down),
        2 => (1..5_u32).prop_map(Step::Up),
        1 => (0..3_usize).prop_map(Step::Crash),
    ];
    prop::collection::vec((step, 0..12_u64), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Each pass is held against the laws, one of which is that nothing of what waits is ever placed. Whatever happened,
    /// all of it runs once good versions are committed.
    #[test]
    fn nothing_that_waits_is_placed_whatever_happens(steps in steps()) {
        let mut cluster = Cluster::new(4);
        for (content, (step, secs)) in (1..).zip(steps) {
            match step {
                Step::Commit(jobs) => {
                    let jobs: BTreeMap<usize, Mode> = jobs.into_iter().collect();
                    let jobs: Vec<Job> =
                        jobs.into_iter().map(|(at, mode)| of_chain(at, mode, content)).collect();
                    commit(&mut cluster, &jobs.iter().collect::<Vec<_>>());
                }
                Step::Remove(at) => cluster.remove(NAMES[at]),
                Step::Down(n) => cluster.node_down(n),
                Step::Up(n) => cluster.node_up(n),
                Step::Crash(at) => {
                    let running = cluster.running(NAMES[at]).first().map(|alloc| alloc.id);
                    running.into_iter().for_each(|id| cluster.crash(id));
                }
            }
            cluster.run(secs);
        }
        (1..5).for_each(|n| cluster.node_up(n));
        let jobs = [0, 1, 2].map(|at| of_chain(at, Mode::Good, 99));
        commit(&mut cluster, &jobs.iter().collect::<Vec<_>>());
        cluster.run(150);
        for name in NAMES {
            let version = cluster.state.job(&name.into()).and_then(|job| job.current()).expect("is known").version;
            prop_assert_eq!(cluster.versions(name), [version; 2], "{}: {}", name, reason(&cluster, name));
        }
    }
}
