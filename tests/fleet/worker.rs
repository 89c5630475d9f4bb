//! A worker that all servers lose sight of.

use std::time::Instant;

use model::NodeStatus;

use crate::audit::runs;
use crate::fleet::{Fleet, LOST_AFTER};

#[test]
fn a_worker_cut_off_runs_on_is_replaced_and_comes_back() {
    let Some(mut fleet) = Fleet::start(4) else { return };
    let worker = fleet.join("d", &["--role", "worker"]);
    fleet.deploy(8, "2");
    let node = fleet.agents[worker].node_id();
    let theirs = |fleet: &Fleet| -> Vec<_> {
        let all = fleet.running(&fleet.agents[0]);
        all.into_iter().filter(|alloc| alloc.node_id == node).map(|alloc| alloc.id).collect()
    };
    let on_it = theirs(&fleet);
    assert!(!on_it.is_empty(), "nothing runs on the worker");
    let before = fleet.processes();
    let watch = fleet.watch(&fleet.catalogs()[..3]);

    fleet.agents[worker].machine.link(false);
    let cut = Instant::now();
    let leader = fleet.wait_leader();
    fleet.wait_for("the worker to be lost", |fleet| {
        (fleet.node_status(leader, node)? == NodeStatus::Down).then_some(())
    });
    let silent = cut.elapsed();
    eprintln!("lost after {silent:?}, where {LOST_AFTER:?} is said");
    assert!(silent + std::time::Duration::from_millis(600) >= LOST_AFTER, "lost after {silent:?}");
    assert!(silent < LOST_AFTER * 4, "lost after {silent:?}");
    fleet.wait_for("what ran there to be replaced", |fleet| {
        let all = fleet.agents[leader].allocations()?;
        let elsewhere = all.iter().filter(|alloc| runs(alloc) && alloc.node_id != node);
        (elsewhere.count() == 8).then_some(())
    });
    let now = fleet.processes();
    for alloc in &on_it {
        let alloc = alloc.to_string();
        assert_eq!(
            now.get(&alloc),
            before.get(&alloc),
            "what a worker that is alone runs, runs on"
        );
    }

    fleet.agents[worker].machine.link(true);
    fleet.wait_for("the worker to be back", |fleet| {
        (fleet.node_status(leader, node)? == NodeStatus::Ready).then_some(())
    });
    fleet.wait_settled();
    fleet.wait_agreement();
    let now = fleet.processes();
    assert_eq!(now.len(), 8);
    watch.end();
}
