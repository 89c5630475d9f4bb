//! Volumes and disks that stay: who may write where, and what goes back to where its data is.

use model::{JobType, NodeId};

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{node, of_kind, service, with_volume};

fn places(cluster: &Cluster, job: &str) -> Vec<NodeId> {
    cluster.running(job).iter().map(|alloc| alloc.node).collect()
}

#[test]
fn a_volume_for_one_writer_is_written_by_one_on_each_node() {
    let mut cluster = Cluster::new(2);
    let job = with_volume(service("a", 3), "single-node-writer");
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    let mut nodes = places(&cluster, "a");
    nodes.sort();
    nodes.dedup();
    assert_eq!((nodes.len(), cluster.running("a").len()), (2, 2));
    let failures = &cluster.state.evaluations_of_job(&"a".into()).next().expect("one").failures;
    assert_eq!(failures["web"].exhausted["host volume shared has a writer"], 2);
    // Another job's writer waits for its end too, and the update goes through one after the other on each node.
    cluster.commit(&with(with_volume(service("b", 1), ""), Mode::Good, 1));
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(40);
    assert!(cluster.running("b").is_empty());
    assert_eq!(cluster.versions("a"), [1, 1]);
    cluster.remove("a");
    cluster.run(10);
    assert_eq!(cluster.running("b").len(), 1);
}

#[test]
fn a_node_without_the_volume_is_not_asked() {
    let mut bare = node(1);
    bare.host_volumes.clear();
    let mut cluster = Cluster::of([bare, node(2)]);
    cluster.commit(&with(with_volume(of_kind("a", JobType::Service, 2), ""), Mode::Good, 1));
    cluster.run(5);
    assert_eq!(places(&cluster, "a"), [node(2).id, node(2).id]);
    let mut numbered = with_volume(of_kind("b", JobType::Service, 1), "");
    numbered.task_groups[0].volumes.get_mut("data").expect("it is there").per_alloc = true;
    cluster.commit(&with(numbered, Mode::Good, 1));
    cluster.run(5);
    let failures = &cluster.state.evaluations_of_job(&"b".into()).next().expect("one").failures;
    assert_eq!(failures["web"].filtered["missing host volume shared[0]"], 2);
    let mut own = node(3);
    own.host_volumes.insert("shared[0]".into(), model::HostVolume::default());
    cluster.join(own);
    cluster.run(5);
    assert_eq!(places(&cluster, "b"), [node(3).id]);
}

#[test]
fn a_sticky_disk_brings_its_replacement_back() {
    for (cpu, content) in [(100, 2), (3000, 3)] {
        let mut cluster = Cluster::new(4);
        let mut job = service("a", 3);
        job.task_groups[0].ephemeral_disk.sticky = true;
        job.task_groups[0].tasks[0].resources.cpu = cpu;
        cluster.commit(&with(job.clone(), Mode::Good, 1));
        cluster.run(10);
        let before: std::collections::BTreeMap<u32, NodeId> =
            cluster.running("a").iter().map(|alloc| (alloc.index, alloc.node)).collect();
        cluster.commit(&with(job, Mode::Good, content));
        cluster.run(60);
        assert_eq!(cluster.versions("a"), [1, 1, 1]);
        for alloc in cluster.running("a") {
            assert_eq!(before[&alloc.index], alloc.node, "with {cpu} MHz");
            assert!(alloc.previous.is_some());
        }
    }
}

#[test]
fn a_sticky_disk_goes_elsewhere_when_its_node_is_lost_and_a_sticky_volume_waits() {
    for volume in [false, true] {
        let mut cluster = Cluster::new(2);
        let mut job = with_volume(service("a", 1), "");
        let group = &mut job.task_groups[0];
        group.ephemeral_disk.sticky = true;
        group.volumes.get_mut("data").expect("it is there").sticky = volume;
        cluster.commit(&with(job, Mode::Good, 1));
        cluster.run(5);
        let home = places(&cluster, "a")[0];
        let number = (1..=2).find(|n| node(*n).id == home).expect("one of two");
        cluster.node_down(number);
        cluster.run(10);
        let now = places(&cluster, "a");
        if volume {
            assert!(now.is_empty(), "its data is on the other node");
            cluster.node_up(number);
            cluster.run(10);
            assert_eq!(places(&cluster, "a"), [home]);
        } else {
            assert!(now.len() == 1 && now[0] != home);
        }
    }
}
