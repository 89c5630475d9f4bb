//! Counts, nodes, stops and room.

use model::{ClientStatus, DesiredStatus, EvalStatus, Group, JobId, JobType};
use state::Command;

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{node, of_kind, service};

#[test]
fn counts_go_up_and_down_without_restarts() {
    let mut cluster = Cluster::new(3);
    cluster.commit(&service("web", 2));
    cluster.run(10);
    let first: Vec<_> = cluster.running("web").iter().map(|alloc| alloc.id).collect();
    for (count, placed) in [(5, 5), (3, 5), (0, 5), (1, 6)] {
        cluster.commit(&service("web", count));
        cluster.run(15);
        let running = cluster.running("web");
        assert_eq!(running.len(), count as usize);
        assert_eq!(cluster.placed.len(), placed);
        let mut names: Vec<u32> = running.iter().map(|alloc| alloc.index).collect();
        names.sort_unstable();
        assert_eq!(names, (0..count).collect::<Vec<_>>(), "the highest names go first");
        if count >= 2 {
            assert!(first.iter().all(|id| running.iter().any(|alloc| alloc.id == *id)));
        }
    }
}

#[test]
fn a_stopped_job_stops_and_its_deployment_with_it() {
    let mut cluster = Cluster::new(2);
    cluster.commit(&service("web", 3));
    cluster.run(1);
    cluster.remove("web");
    cluster.run(5);
    assert!(cluster.running("web").is_empty());
    assert_eq!(cluster.deployment("web").description, "Cancelled because job is stopped");
    let web = JobId::from("web");
    assert!(cluster.state.allocs_of_job(&web).all(|alloc| {
        alloc.desired == DesiredStatus::Stop
            && alloc.desired_description.contains("web.hcl was removed")
    }));
    cluster.commit(&service("web", 3));
    cluster.run(10);
    assert_eq!(cluster.serving("web"), 3, "and comes back");
}

#[test]
fn groups_come_and_go() {
    let mut cluster = Cluster::new(3);
    let mut job = service("web", 1);
    let second = Group { name: "side".into(), count: 2, ..job.task_groups[0].clone() };
    job.task_groups.push(second);
    cluster.commit(&job);
    cluster.run(10);
    assert_eq!(cluster.running("web").len(), 3);
    job.task_groups.remove(0);
    cluster.commit(&job);
    cluster.run(10);
    let running = cluster.running("web");
    assert_eq!(running.len(), 2);
    assert!(running.iter().all(|alloc| *alloc.group == *"side"));
}

#[test]
fn what_is_on_a_lost_node_comes_back_elsewhere() {
    let mut cluster = Cluster::new(3);
    cluster.commit(&service("web", 3));
    cluster.run(10);
    cluster.node_down(1);
    cluster.run(10);
    assert_eq!(cluster.serving("web"), 3);
    let lost: Vec<_> = cluster
        .state
        .allocs()
        .filter(|alloc| alloc.client == ClientStatus::Lost)
        .cloned()
        .collect();
    assert_eq!(lost.len(), 1);
    assert!(lost[0].next.is_some() && lost[0].desired == DesiredStatus::Stop);
    let heir = cluster.state.alloc(lost[0].next.expect("has an heir")).expect("is known");
    assert_eq!((heir.previous, heir.index), (Some(lost[0].id), lost[0].index));
    cluster.node_up(1);
    cluster.run(10);
    assert_eq!(cluster.placed.len(), 4, "a node that comes back changes nothing");
}

#[test]
fn a_failed_allocation_is_replaced_after_its_wait() {
    let mut cluster = Cluster::new(3);
    cluster.commit(&service("web", 2));
    cluster.run(10);
    let victim = cluster.running("web")[0].clone();
    cluster.crash(victim.id);
    cluster.run(20);
    assert_eq!(cluster.placed.len(), 2, "not yet");
    cluster.run(20);
    assert_eq!(cluster.serving("web"), 2);
    let failed = cluster.state.alloc(victim.id).expect("is kept");
    let heir = cluster.state.alloc(failed.next.expect("has an heir")).expect("is known");
    assert_ne!(heir.node, victim.node, "where it failed is avoided");
    assert_eq!(heir.reschedules.len(), 1);
    assert!(heir.explanation.as_ref().expect("is explained").reason.contains("failed"));
}

#[test]
fn what_does_not_fit_waits_for_room() {
    let mut cluster = Cluster::new(1);
    let mut job = service("web", 3);
    job.task_groups[0].tasks[0].resources.cpu = 1500;
    cluster.commit(&job);
    cluster.run(10);
    assert_eq!(cluster.running("web").len(), 2);
    let web = JobId::from("web");
    let last = cluster.state.evaluations_of_job(&web).next().expect("is recorded").clone();
    assert_eq!(last.status, EvalStatus::Blocked);
    assert_eq!(last.failures["web"].exhausted["cpu"], 1);
    assert_eq!(last.failures["web"].unplaced, 1);
    assert!(last.description.contains("1 not placed"), "{}", last.description);
    let records = cluster.state.evaluations().count();
    cluster.run(50);
    assert_eq!(cluster.state.evaluations().count(), records, "waiting is recorded once");
    cluster.join(node(2));
    cluster.run(10);
    assert_eq!(cluster.serving("web"), 3);
    let last = cluster.state.evaluations_of_job(&web).next().expect("is recorded").clone();
    assert_eq!(last.status, EvalStatus::Complete);
}

#[test]
fn less_hunger_gets_through_where_more_was_stuck() {
    let mut cluster = Cluster::new(1);
    let mut job = service("web", 3);
    job.task_groups[0].tasks[0].resources.cpu = 1500;
    cluster.commit(&job);
    cluster.run(10);
    job.task_groups[0].tasks[0].resources.cpu = 500;
    cluster.commit(&job);
    cluster.run(40);
    assert_eq!(cluster.versions("web"), [1, 1, 1]);
    assert_eq!(cluster.serving("web"), 3);
}

#[test]
fn all_or_none() {
    let mut cluster = Cluster::new(1);
    let mut job = of_kind("work", JobType::Batch, 3);
    job.all_at_once = true;
    job.task_groups[0].tasks[0].resources.cpu = 1500;
    cluster.commit(&with(job, Mode::Good, 1));
    cluster.run(5);
    assert!(cluster.running("work").is_empty());
    cluster.join(node(2));
    cluster.run(5);
    assert_eq!(cluster.running("work").len(), 3);
}

#[test]
fn the_more_important_job_gets_the_room() {
    let mut cluster = Cluster::new(1);
    let mut low = service("a-low", 1);
    low.task_groups[0].tasks[0].resources.cpu = 3000;
    let mut high = service("z-high", 1);
    high.task_groups[0].tasks[0].resources.cpu = 3000;
    high.priority = 80;
    let revision = cluster.revision([Cluster::file(&low), Cluster::file(&high)].into());
    cluster.must_apply(&state::Command::TakeRevision(Box::new(revision)));
    cluster.run(10);
    assert_eq!((cluster.serving("a-low"), cluster.serving("z-high")), (0, 1));
}

#[test]
fn a_version_that_asks_for_nothing_is_recorded_once() {
    let mut cluster = Cluster::new(1);
    cluster.commit(&service("web", 0));
    cluster.run(20);
    assert_eq!(cluster.state.evaluations().count(), 1);
    let revision = cluster.state.revisions().next().expect("is known").clone();
    let report = cluster.state.revision_report(&revision);
    assert_eq!(report.outcome, model::RevisionOutcome::Deployed);
}

#[test]
fn what_was_to_move_and_did_not_start_goes_where_fewer_are_wanted() {
    let mut cluster = Cluster::new(3);
    cluster.commit(&with(service("web", 3), Mode::Good, 1));
    cluster.run(10);
    // The first is to move, what takes its place does not start, and is to move as well.
    cluster.stuck = cluster.state.nodes().map(|node| node.id).collect();
    for _ in 0..2 {
        let newest = cluster.running("web").into_iter().filter(|alloc| alloc.index == 0);
        let newest = newest.max_by_key(|alloc| alloc.create_index).expect("is there");
        let (allocs, at) = (vec![newest.id], cluster.now);
        cluster.must_apply(&Command::MarkMigrate { allocs, at, reason: String::new() });
        cluster.run(2);
    }
    cluster.commit(&with(service("web", 2), Mode::Good, 1));
    cluster.run(30);
    assert_eq!(cluster.running("web").len(), 2);
}
