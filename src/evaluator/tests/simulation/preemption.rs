//! What is more important takes the room of what is less.

use model::{ClientStatus, DesiredStatus, JobId, JobType};

use crate::cluster::Cluster;
use crate::samples::{of_kind, service};

fn big(mut job: model::Job, cpu: u64, priority: u16) -> model::Job {
    job.priority = priority;
    job.task_groups[0].tasks[0].resources.cpu = cpu;
    job
}

#[test]
fn a_system_job_takes_the_room_that_it_needs_and_no_more() {
    let mut cluster = Cluster::new(2);
    cluster.commit(&big(service("low", 4), 1000, 20));
    cluster.commit(&big(service("middle", 4), 900, 60));
    cluster.run(15);
    assert_eq!((cluster.serving("low"), cluster.serving("middle")), (4, 4));
    cluster.commit(&big(of_kind("agent", JobType::System, 1), 1100, 80));
    cluster.run(20);
    assert_eq!(cluster.serving("agent"), 2, "one on each node");
    assert_eq!(cluster.serving("middle"), 4, "the least important goes first");
    let low = JobId::from("low");
    let evicted: Vec<_> = cluster
        .state
        .allocs_of_job(&low)
        .filter(|alloc| alloc.desired == DesiredStatus::Evict)
        .collect();
    assert_eq!(evicted.len(), 2, "one on each node is enough");
    for alloc in evicted {
        assert_eq!(alloc.evicted_for.as_deref(), Some(&JobId::from("agent")));
        assert_eq!(alloc.client, ClientStatus::Complete);
        assert!(alloc.desired_description.contains("job agent of priority 80 needs its room"));
    }
    // They wait for room and say so.
    let last = cluster.state.evaluations_of_job(&low).next().expect("is recorded");
    assert_eq!((last.status, last.failures["web"].unplaced), (model::EvalStatus::Blocked, 2));
    cluster.remove("agent");
    cluster.run(20);
    assert_eq!(cluster.serving("low"), 4, "and come back");
}

#[test]
fn nobody_gives_way_to_what_is_hardly_more_important_or_may_not_ask() {
    for (kind, priority) in [(JobType::System, 29), (JobType::Service, 90), (JobType::Batch, 90)] {
        let mut cluster = Cluster::new(1);
        cluster.commit(&big(service("low", 4), 1000, 20));
        cluster.run(10);
        cluster.commit(&big(of_kind("high", kind, 1), 1000, priority));
        cluster.run(10);
        assert_eq!((cluster.serving("low"), cluster.serving("high")), (4, 0), "{kind:?}");
    }
}

#[test]
fn who_makes_room_does_not_come_back_to_where_it_is_made() {
    let mut cluster = Cluster::new(1);
    // Beside what is evicted there is room for one more of it, but not for what it makes room for.
    cluster.commit(&big(of_kind("low", JobType::Sysbatch, 1), 1500, 20));
    cluster.run(5);
    cluster.commit(&big(of_kind("agent", JobType::System, 1), 2600, 80));
    cluster.run(10);
    assert_eq!(cluster.serving("agent"), 1);
    assert_eq!(cluster.placed_of("low", 0), 1, "it waits until there is room again");
    cluster.remove("agent");
    cluster.run(10);
    assert_eq!(cluster.serving("low"), 1);
}
