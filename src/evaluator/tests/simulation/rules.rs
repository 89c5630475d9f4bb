//! Single rules of Nomad's that no longer story is about.

use std::time::Duration;

use model::{
    ClientStatus, DelayFunction, Disconnect, Eligibility, JobType, NodeStatus, Reschedule,
    Timestamp,
};
use state::Command;

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{node, of_kind, service};

fn number(cluster: &Cluster, alloc: &model::Allocation) -> u32 {
    let of = |n: &u32| node(*n).id == alloc.node;
    (1..=cluster.state.nodes_count() as u32).find(of).expect("is one of them")
}

#[test]
fn what_had_not_started_is_lost_with_a_node_that_is_waited_for() {
    let mut cluster = Cluster::new(2);
    cluster.stuck.extend([node(1).id, node(2).id]);
    let mut job = service("far", 1);
    let lost_after = Some(Duration::from_secs(600));
    job.task_groups[0].disconnect = Some(Disconnect { lost_after, ..Disconnect::default() });
    cluster.commit(&job);
    cluster.run(2);
    let first = cluster.running("far")[0].clone();
    assert_eq!(first.client, ClientStatus::Pending);
    cluster.cut.insert(first.node);
    let (nodes, at) = (vec![(first.node, NodeStatus::Disconnected)], cluster.now);
    cluster.must_apply(&Command::SetNodeStatuses {
        nodes,
        at,
        reason: "a test".into(),
        follows: None,
    });
    cluster.run(2);
    let lost = cluster.state.alloc(first.id).expect("is known");
    assert_eq!(lost.client, ClientStatus::Lost);
    let other = &cluster.running("far")[0];
    assert!(other.node != first.node && other.index == first.index);
}

#[test]
fn what_is_on_a_node_that_was_removed_is_lost() {
    let mut cluster = Cluster::new(2);
    cluster.commit(&service("web", 2));
    cluster.run(10);
    let gone = cluster.running("web")[0].node;
    cluster.cut.insert(gone);
    let at = cluster.now;
    cluster.must_apply(&Command::RemoveNode { node: gone, until: Timestamp::ZERO, at });
    cluster.run(10);
    assert!(cluster.running("web").iter().all(|alloc| alloc.node != gone));
    assert_eq!(cluster.serving("web"), 2);
    let lost = cluster.state.allocs().filter(|alloc| alloc.node == gone);
    assert!(lost.into_iter().all(|alloc| alloc.client == ClientStatus::Lost));
}

#[test]
fn a_replacement_goes_where_nothing_of_it_has_failed() {
    let mut cluster = Cluster::new(3);
    let mut job = service("web", 1);
    job.task_groups[0].update = None;
    cluster.commit(&job);
    cluster.run(10);
    let mut seen = vec![cluster.running("web")[0].node];
    for _ in 0..2 {
        cluster.crash(cluster.running("web")[0].id);
        cluster.run(130);
        seen.push(cluster.running("web")[0].node);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "each time to another one");
}

#[test]
fn a_chain_of_replacements_is_remembered_in_part() {
    let mut cluster = Cluster::new(1);
    let mut job = service("web", 1);
    job.task_groups[0].update = None;
    job.task_groups[0].reschedule_policy = Some(Reschedule {
        delay: Duration::from_secs(5),
        delay_function: DelayFunction::Constant,
        ..Reschedule::default()
    });
    cluster.commit(&with(job, Mode::Crash, 1));
    cluster.run(70);
    assert!(cluster.placed_of("web", 0) > 8);
    let longest = cluster.state.allocs().map(|alloc| alloc.reschedules.len()).max();
    assert_eq!(longest, Some(5));
}

#[test]
fn a_node_that_takes_nothing_keeps_what_runs_everywhere_until_it_changes() {
    let mut cluster = Cluster::new(2);
    let job = of_kind("all", JobType::System, 1);
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    let (node, at) = (node(1).id, cluster.now);
    let eligibility = Eligibility::Ineligible;
    cluster.must_apply(&Command::SetEligibility { node, eligibility, at });
    cluster.run(10);
    assert_eq!(cluster.running("all").len(), 2);
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(20);
    let running = cluster.running("all");
    assert_eq!(running.len(), 1);
    assert_eq!(number(&cluster, &running[0]), 2);
}
