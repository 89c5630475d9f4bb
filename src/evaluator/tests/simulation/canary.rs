//! Canaries: placed beside, promoted or withdrawn.

use model::{DeploymentStatus, Disconnect, Job, JobId};
use state::Command;

use crate::cluster::{Cluster, Mode, with};
use crate::samples::service;

fn canaried(count: u32, canary: u32, auto: bool) -> Job {
    let mut job = service("web", count);
    let update = job.task_groups[0].update.as_mut().expect("has updates");
    update.canary = canary;
    update.auto_promote = auto;
    update.auto_revert = auto;
    job
}

#[test]
fn canaries_wait_for_promotion() {
    let mut cluster = Cluster::new(4);
    let job = canaried(3, 1, false);
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    assert_eq!(cluster.deployment("web").status, DeploymentStatus::Successful);
    cluster.watch();
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(60);
    let deployment = cluster.deployment("web");
    assert_eq!(deployment.status, DeploymentStatus::Running);
    assert_eq!(deployment.description, "Deployment is running but requires manual promotion");
    assert_eq!(cluster.versions("web"), [0, 0, 0, 1]);
    assert_eq!(deployment.groups["web"].placed_canaries.len(), 1);
    cluster.run(1000);
    assert_eq!(
        cluster.deployment("web").status,
        DeploymentStatus::Running,
        "waiting for a person is no lack of progress"
    );
    let at = cluster.now;
    cluster.must_apply(&Command::Promote { deployment: deployment.id, groups: vec![], at });
    cluster.run(30);
    assert_eq!(cluster.versions("web"), [1, 1, 1]);
    assert_eq!(cluster.deployment("web").status, DeploymentStatus::Successful);
    assert!(cluster.lowest[&JobId::from("web")] >= 2);
    let mut names: Vec<u32> = cluster.running("web").iter().map(|alloc| alloc.index).collect();
    names.sort_unstable();
    assert_eq!(names, [0, 1, 2]);
}

#[test]
fn canaries_promote_themselves_when_asked_to() {
    for canary in [1, 3] {
        let mut cluster = Cluster::new(4);
        let job = canaried(3, canary, true);
        cluster.commit(&with(job.clone(), Mode::Good, 1));
        cluster.run(10);
        cluster.watch();
        cluster.commit(&with(job, Mode::Good, 2));
        cluster.run(30);
        assert_eq!(cluster.versions("web"), [1, 1, 1]);
        assert_eq!(cluster.deployment("web").status, DeploymentStatus::Successful);
        let floor = if canary == 3 { 3 } else { 2 };
        assert!(cluster.lowest[&JobId::from("web")] >= floor);
    }
}

#[test]
fn bad_canaries_are_withdrawn() {
    for (mode, auto) in [(Mode::Crash, true), (Mode::Sick, true), (Mode::Sick, false)] {
        let mut cluster = Cluster::new(4);
        let job = canaried(3, 2, auto);
        cluster.commit(&with(job.clone(), Mode::Good, 1));
        cluster.run(10);
        cluster.watch();
        cluster.commit(&with(job, mode, 2));
        cluster.run(620);
        let wanted = if auto { [2; 3] } else { [0; 3] };
        assert_eq!(cluster.versions("web"), wanted, "{mode:?} {auto}");
        assert_eq!(cluster.placed_of("web", 1), 2, "{mode:?} {auto}");
        assert_eq!(cluster.lowest[&JobId::from("web")], 3, "nothing old was touched");
    }
}

#[test]
fn what_is_lost_beside_canaries_comes_back_as_it_was() {
    let mut cluster = Cluster::new(4);
    let job = canaried(3, 1, false);
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(10);
    for n in 1..=3 {
        cluster.node_down(n);
        cluster.run(10);
        assert_eq!(cluster.versions("web"), [0, 0, 0, 1], "without node {n}");
        cluster.node_up(n);
    }
}

/// Where no two may ever run at once, there is no room for one beside: it is updated by itself.
#[test]
fn one_that_is_alone_has_no_canary() {
    let mut cluster = Cluster::new(2);
    let mut job = canaried(1, 1, false);
    job.task_groups[0].disconnect = Some(Disconnect { replace: false, ..Disconnect::default() });
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    cluster.commit(&with(job, Mode::Good, 2));
    for _ in 0..30 {
        cluster.run(1);
        assert!(cluster.truth.len() <= 1, "{:?} run at once", cluster.truth);
    }
    assert_eq!(cluster.versions("web"), [1]);
    assert_eq!(cluster.deployment("web").status, DeploymentStatus::Successful);
}
