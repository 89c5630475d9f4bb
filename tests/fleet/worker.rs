//! A worker that all servers lose sight of.

use std::time::Instant;

use model::NodeStatus;

use crate::audit::runs;
use crate::fleet::{Fleet, LOST_AFTER, web};

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

    let leader = fleet.wait_leader();
    let term = |fleet: &mut Fleet| fleet.agents[leader].raft().map(|raft| raft.term);
    let before_cut = fleet.wait_for("a term", term);
    fleet.agents[worker].machine.link(false);
    let cut = Instant::now();
    fleet.wait_for("the worker to be lost", |fleet| {
        (fleet.node_status(leader, node)? == NodeStatus::Down).then_some(())
    });
    let silent = cut.elapsed();
    eprintln!("lost after {silent:?}, where {LOST_AFTER:?} is said");
    assert!(silent + std::time::Duration::from_millis(600) >= LOST_AFTER, "lost after {silent:?}");
    // Each election, as there are on a machine that is busy with other things, begins with a new leader's grace.
    let elections = fleet.wait_for("a term", term).saturating_sub(before_cut);
    let each = LOST_AFTER * 4;
    let most = each * u32::try_from(elections + 1).unwrap_or(u32::MAX);
    assert!(silent < most, "lost after {silent:?}, with {elections} elections");
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

#[test]
fn a_worker_cut_off_stops_what_must_not_outlive_that() {
    let Some(mut fleet) = Fleet::start(4) else { return };
    let worker = fleet.join("d", &["--role", "worker"]);
    fleet.deploy(8, "2");
    let node = fleet.agents[worker].node_id();
    let servers: Vec<String> =
        (0..3).map(|number| fleet.agents[number].node_id().to_string()).collect();
    let eligible = |fleet: &Fleet, flag: &str| {
        for id in &servers {
            let output = fleet.agents[0].herder(&["node", "eligibility", flag, id]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    };
    eligible(&fleet, "-disable");
    let count = "    count = 1\n";
    let fenced = "    disconnect {\n      stop_on_client_after = \"3s\"\n    }\n";
    let job = web(1, "1").replace("\"web\"", "\"alone\"");
    fleet.repo.write("alone.nomad.hcl", job.replace(count, &format!("{count}{fenced}")));
    fleet.repo.commit("one that must not outlive its node's silence");
    fleet.check_now();
    fleet.jobs.insert("alone".to_owned(), 1);
    fleet.wait_settled();
    eligible(&fleet, "-enable");
    let of = |fleet: &Fleet, agent: usize, job: &str| -> Vec<_> {
        let all = fleet.running(&fleet.agents[agent]).into_iter();
        all.filter(|alloc| alloc.job_id.as_str() == job).collect()
    };
    let first = of(&fleet, 0, "alone").remove(0);
    assert_eq!(first.node_id, node);
    let others: Vec<String> = of(&fleet, 0, "web")
        .into_iter()
        .filter(|alloc| alloc.node_id == node)
        .map(|alloc| alloc.id.to_string())
        .collect();
    assert!(!others.is_empty(), "nothing else runs on the worker");
    let before = fleet.processes();

    fleet.agents[worker].machine.link(false);
    let cut = Instant::now();
    let own = first.id.to_string();
    fleet.wait_for("the worker to stop it", |fleet| {
        (!fleet.processes().contains_key(&own)).then_some(())
    });
    eprintln!("stopped after {:?}, where 3 s are said", cut.elapsed());
    assert!(cut.elapsed() >= std::time::Duration::from_secs(2), "too early");
    let leader = fleet.wait_leader();
    fleet.wait_for("another one to take its place", |fleet| {
        let running = of(fleet, leader, "alone");
        assert!(running.len() <= 1);
        running.iter().any(|alloc| alloc.node_id != node).then_some(())
    });
    let now = fleet.processes();
    for other in &others {
        assert_eq!(now.get(other), before.get(other), "what may run on, does");
    }

    fleet.agents[worker].machine.link(true);
    fleet.wait_for("the worker to be back", |fleet| {
        (fleet.node_status(leader, node)? == NodeStatus::Ready).then_some(())
    });
    fleet.wait_settled();
    fleet.wait_agreement();
}
