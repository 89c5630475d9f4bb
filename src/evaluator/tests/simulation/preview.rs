//! A preview shows what then happens.

use std::collections::BTreeMap;

use evaluator::{evaluate, preview};
use model::wire::DiffType;
use model::{EvalTrigger, FileChangeKind, JobId, JobType};
use state::{Command, FileOutcome, Rejection};

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{of_kind, service};

#[test]
fn a_plan_that_was_shown_is_the_plan_that_runs() {
    let mut cluster = Cluster::new(3);
    let mut job = service("web", 5);
    job.task_groups[0].update.as_mut().expect("has updates").max_parallel = 2;
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.commit(&service("old", 1));
    cluster.run(10);
    let files = BTreeMap::from([
        Cluster::file(&with(job, Mode::Good, 2)),
        Cluster::file(&service("new", 2)),
        ("old.hcl".to_owned(), FileOutcome::Removed),
    ]);
    let revision = cluster.revision(files);
    let shown = preview(&cluster.state, &revision, cluster.now);
    assert_eq!(shown.rejection, None);
    cluster.must_apply(&Command::TakeRevision(Box::new(revision.clone())));
    let jobs = BTreeMap::from([
        (JobId::from("new"), EvalTrigger::JobRegister),
        (JobId::from("old"), EvalTrigger::JobDeregister),
        (JobId::from("web"), EvalTrigger::JobRegister),
    ]);
    assert_eq!(shown.plan, evaluate(&cluster.state, &jobs, cluster.now));

    let job = |name: &str| {
        shown.jobs.iter().find(|job| job.job.as_str() == name).expect("is shown").clone()
    };
    let web = job("web");
    assert_eq!(web.change, Some(FileChangeKind::Changed));
    assert_eq!(web.batches["web"], [2, 2, 1]);
    assert_eq!(web.updates["web"].destructive_update, 2);
    assert_eq!(web.updates["web"].ignore, 3);
    assert_eq!(web.reasons["web"], ["replace: task \"web\" env.CONTENT changed (5 times)"]);
    let group = &web.diff.task_groups[0];
    assert_eq!(group.updates["create/destroy update"], 2);
    assert_eq!(group.tasks[0].annotations, ["forces create/destroy update"]);
    let new = job("new");
    assert_eq!((new.change, new.diff.kind), (Some(FileChangeKind::Added), DiffType::Added));
    assert_eq!(new.batches["web"], [2]);
    let old = job("old");
    assert_eq!((old.change, old.diff.kind), (Some(FileChangeKind::Removed), DiffType::Deleted));
    assert_eq!(old.updates["web"].stop, 1);

    let stale = preview(&cluster.state, &revision, cluster.now);
    assert!(matches!(stale.rejection, Some(Rejection::StaleRevision { .. })));
}

#[test]
fn an_unchanged_file_plans_nothing() {
    let mut cluster = Cluster::new(2);
    let job = service("web", 2);
    cluster.commit(&job);
    cluster.run(10);
    let revision = cluster.revision([Cluster::file(&job)].into());
    let shown = preview(&cluster.state, &revision, cluster.now);
    assert!(shown.plan.is_empty());
    assert_eq!(shown.jobs[0].change, Some(FileChangeKind::Unchanged));
    assert_eq!(shown.jobs[0].diff.kind, DiffType::None);
}

#[test]
fn counts_and_tasks_say_what_they_force() {
    let mut cluster = Cluster::new(2);
    let mut job = service("web", 2);
    cluster.commit(&job);
    cluster.run(10);
    job.task_groups[0].count = 3;
    job.task_groups[0].tasks[0].kill_timeout = std::time::Duration::from_secs(9);
    let revision = cluster.revision([Cluster::file(&job)].into());
    let shown = preview(&cluster.state, &revision, cluster.now);
    let group = &shown.jobs[0].diff.task_groups[0];
    let count = group.fields.iter().find(|field| field.name == "Count").expect("is shown");
    assert_eq!(count.annotations, ["forces create"]);
    assert_eq!(group.tasks[0].annotations, ["forces in-place update"]);
    assert_eq!((group.updates["create"], group.updates["in-place update"]), (1, 2));
}

#[test]
fn a_plan_says_where_it_goes_and_who_goes_for_it() {
    let mut cluster = Cluster::new(2);
    let mut low = service("low", 8);
    low.priority = 20;
    low.task_groups[0].tasks[0].resources.cpu = 1000;
    cluster.commit(&low);
    cluster.run(15);
    let mut agent = of_kind("agent", JobType::System, 1);
    agent.priority = 80;
    agent.task_groups[0].tasks[0].resources.cpu = 900;
    let mut many = service("many", 25);
    many.task_groups[0].tasks[0].resources.cpu = 1;
    let revision = cluster.revision([Cluster::file(&agent), Cluster::file(&many)].into());
    let shown = preview(&cluster.state, &revision, cluster.now);
    let job = |name: &str| shown.jobs.iter().find(|job| job.job.as_str() == name).expect("shown");
    assert_eq!(job("agent").evicts, BTreeMap::from([(JobId::from("low"), 2)]));
    assert_eq!(job("agent").updates["web"].preemptions, 2);
    assert!(job("many").evicts.is_empty());

    let mut small = low.clone();
    small.task_groups[0].count = 1;
    cluster.commit(&small);
    cluster.run(5);
    let revision = cluster.revision([Cluster::file(&many)].into());
    let shown = preview(&cluster.state, &revision, cluster.now);
    let placements = &shown.jobs[0].placements["web"];
    assert_eq!((placements.len(), shown.jobs[0].updates["web"].place), (20, 25));
    let first = &shown.plan.place[0];
    assert_eq!((&placements[0].name, placements[0].node), (&first.name(), first.node));
    assert!(placements[0].score.is_some() && placements[0].reason == "new");
}
