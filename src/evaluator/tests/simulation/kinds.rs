//! Batch, system and sysbatch.

use model::{ClientStatus, DeploymentStatus, JobId, JobType};

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{node, of_kind};

#[test]
fn a_batch_runs_once_for_each_version() {
    let mut cluster = Cluster::new(2);
    let job = of_kind("work", JobType::Batch, 3);
    cluster.commit(&with(job.clone(), Mode::Finish, 1));
    cluster.run(20);
    let done = |cluster: &Cluster| {
        let work = JobId::from("work");
        let all = cluster.state.allocs_of_job(&work);
        all.filter(|alloc| alloc.client == ClientStatus::Complete).count()
    };
    assert_eq!((done(&cluster), cluster.placed.len()), (3, 3));
    cluster.run(100);
    assert_eq!(cluster.placed.len(), 3, "what is done stays done");
    cluster.commit(&with(job, Mode::Finish, 2));
    cluster.run(20);
    assert_eq!((done(&cluster), cluster.placed.len()), (6, 6), "a new version runs anew");
}

#[test]
fn a_periodic_job_waits_to_be_started() {
    let mut cluster = Cluster::new(2);
    let mut job = of_kind("work", JobType::Batch, 3);
    job.periodic = Some(model::Periodic { specs: vec!["@daily".into()], ..Default::default() });
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(20);
    assert_eq!(cluster.placed.len(), 0);
    job.periodic = None;
    cluster.commit(&with(job.clone(), Mode::Good, 2));
    cluster.run(20);
    assert_eq!(cluster.serving("work"), 3);
    job.parameterized_job = Some(model::Parameterized::default());
    cluster.commit(&with(job, Mode::Good, 3));
    cluster.run(20);
    assert!(cluster.running("work").is_empty(), "what ran by itself does so no more");
}

#[test]
fn a_run_is_over_when_nothing_of_it_is_left_to_do() {
    for (mode, kind, placed) in [
        (Mode::Finish, JobType::Batch, 2),
        // Each is tried once more, after a wait.
        (Mode::Crash, JobType::Batch, 4),
        (Mode::Finish, JobType::Sysbatch, 2),
    ] {
        let mut cluster = Cluster::new(2);
        let mut job = with(of_kind("work", kind, 2), mode, 1);
        job.periodic = Some(model::Periodic { specs: vec!["@daily".into()], ..Default::default() });
        cluster.commit(&job);
        cluster.run(2);
        let at = cluster.now + std::time::Duration::from_secs(60);
        cluster.must_apply(&state::Command::LaunchPeriodic(state::Launch {
            job: "work".into(),
            run_of: at,
            at,
            ..Default::default()
        }));
        let run = model::JobId::from("work").periodic_child(at);
        let over =
            |cluster: &Cluster| !cluster.state.job(&run).expect("is there").finished_at.is_zero();
        cluster.run(2);
        assert!(!over(&cluster), "{mode:?} {kind:?}");
        cluster.run(200);
        assert!(over(&cluster), "{mode:?} {kind:?}");
        assert_eq!(cluster.placed.len(), placed, "{mode:?} {kind:?}");
        assert_eq!(cluster.state.job_status(&run), model::JobStatus::Dead);
        cluster.join(crate::samples::node(7));
        cluster.run(20);
        assert_eq!(cluster.placed.len(), placed, "what is over does not come to a new node");
    }
}

#[test]
fn a_batch_that_fails_has_its_attempts() {
    let mut cluster = Cluster::new(2);
    cluster.commit(&with(of_kind("work", JobType::Batch, 2), Mode::Crash, 1));
    cluster.run(100);
    assert_eq!(cluster.placed.len(), 4, "each is tried once more");
}

#[test]
fn a_batch_that_is_lost_runs_again() {
    let mut cluster = Cluster::new(2);
    cluster.commit(&with(of_kind("work", JobType::Batch, 2), Mode::Good, 1));
    cluster.run(5);
    cluster.node_down(1);
    cluster.node_down(2);
    cluster.run(5);
    assert!(cluster.running("work").is_empty());
    cluster.node_up(1);
    cluster.run(5);
    assert_eq!(cluster.serving("work"), 2);
}

#[test]
fn a_system_job_follows_the_nodes() {
    let mut cluster = Cluster::new(3);
    let job = of_kind("agent", JobType::System, 1);
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    assert_eq!(cluster.serving("agent"), 3);
    assert_eq!(cluster.deployment("agent").status, DeploymentStatus::Successful);
    assert_eq!(cluster.deployment("agent").groups["web"].desired_total, 3);
    cluster.join(node(4));
    cluster.run(10);
    assert_eq!(cluster.serving("agent"), 4);
    cluster.node_down(2);
    cluster.run(10);
    assert_eq!(cluster.running("agent").len(), 3, "it goes nowhere else");
    cluster.watch();
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(30);
    assert_eq!(cluster.versions("agent"), [1, 1, 1]);
    assert_eq!(cluster.deployment("agent").status, DeploymentStatus::Successful);
    assert!(cluster.lowest[&JobId::from("agent")] >= 2, "one node at a time");
    cluster.node_up(2);
    cluster.run(10);
    assert_eq!(cluster.serving("agent"), 4);
}

#[test]
fn a_system_job_hands_over_on_a_full_node() {
    let nodes = (1..=2).map(|n| {
        let mut node = node(n);
        node.resources.cpu = 150;
        node
    });
    let mut cluster = Cluster::of(nodes);
    let job = of_kind("agent", JobType::System, 1);
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(30);
    assert_eq!(cluster.versions("agent"), [1, 1]);
    assert_eq!(cluster.deployment("agent").status, DeploymentStatus::Successful);
}

#[test]
fn a_node_that_leaves_during_a_rollout_does_not_hold_it_up() {
    let mut cluster = Cluster::new(3);
    let job = of_kind("agent", JobType::System, 1);
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(2);
    cluster.node_down(3);
    cluster.run(30);
    assert_eq!(cluster.versions("agent"), [1, 1]);
    assert_eq!(cluster.deployment("agent").status, DeploymentStatus::Successful);
}

#[test]
fn a_sysbatch_runs_once_on_each_node() {
    let mut cluster = Cluster::new(3);
    let job = of_kind("scan", JobType::Sysbatch, 1);
    cluster.commit(&with(job.clone(), Mode::Finish, 1));
    cluster.run(20);
    assert_eq!(cluster.placed.len(), 3);
    cluster.join(node(4));
    cluster.run(20);
    assert_eq!(cluster.placed.len(), 4);
    cluster.commit(&with(job, Mode::Finish, 2));
    cluster.run(20);
    assert_eq!(cluster.placed.len(), 8);
}
