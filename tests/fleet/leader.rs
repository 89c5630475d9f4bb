//! Leaders that die and leaders that are cut off.

use std::time::Duration;

use model::DeploymentStatus;

use crate::fleet::{Fleet, rounds};

/// The median and the most.
fn summary(times: &mut [Duration]) -> String {
    times.sort();
    let median = times[times.len() / 2];
    format!("median {median:?}, most {:?} of {}", times[times.len() - 1], times.len())
}

#[test]
fn a_leader_killed_in_the_middle_of_a_rollout_loses_nothing() {
    let Some(mut fleet) = Fleet::start(4) else { return };
    let watch = fleet.watch(&fleet.catalogs());
    let mut times = Vec::new();
    for round in 0..rounds(3) {
        let release = format!("round-{round}");
        let before = newest(&fleet);
        fleet.commit(4, &release);
        fleet.wait_for("the rollout to be under way", |fleet| {
            (newest(fleet) > before).then_some(())
        });
        let leader = fleet.wait_leader();
        let others = fleet.living().filter(|agent| agent.name != fleet.agents[leader].name);
        watch.catalogs(others.map(|agent| agent.catalog()).collect());
        fleet.agents[leader].kill();
        times.push(fleet.next_write());
        if round % 2 == 1 {
            // Long enough that its node is lost, and what ran there is replaced.
            let node = fleet.agents[leader].node_id();
            let by = fleet.wait_leader();
            fleet.wait_for("the leader's node to be lost", |fleet| {
                let status = fleet.node_status(by, node)?;
                (status == model::NodeStatus::Down).then_some(())
            });
        }
        fleet.agents[leader].launch();
        fleet.wait_ready(leader);
        fleet.wait_settled();
        fleet.wait_for("the rollout to have ended right", |fleet| {
            let deployment = fleet.agents[0].client().job_deployment("web").ok()?.into_value()?;
            let right = deployment.status == DeploymentStatus::Successful;
            assert!(deployment.status != DeploymentStatus::Failed, "{deployment:?}");
            right.then_some(())
        });
        watch.catalogs(fleet.catalogs());
    }
    eprintln!("from the kill to the next write: {}", summary(&mut times));
    let seen = watch.end();
    assert!(seen.fewest >= 1);
    let known = fleet.agents[0].allocations().expect("an answer");
    let missing =
        seen.allocs.iter().find(|id| known.iter().all(|alloc| alloc.id.to_string() != **id));
    assert_eq!(missing, None, "an allocation that ran is known to nobody");
}

/// The newest version of the job that is placed somewhere.
fn newest(fleet: &Fleet) -> u64 {
    let all = fleet.living().find_map(|agent| agent.allocations()).unwrap_or_default();
    all.iter().map(|alloc| alloc.job_version).max().unwrap_or_default()
}

#[test]
fn a_leader_cut_off_from_the_majority_refuses_and_comes_back() {
    let Some(mut fleet) = Fleet::start(4) else { return };
    let old = fleet.wait_leader();
    let term = fleet.agents[old].raft().expect("it answers").term;
    let watch = fleet.watch(&fleet.catalogs());
    let machines = fleet.machines();
    fleet.agents[old].machine.cut_from(&machines);

    // It answers its clients all the while, and accepts nothing from them.
    let refused = Fleet::write(&fleet.agents[old], Duration::from_secs(4));
    assert!(refused.is_err(), "a minority accepted a write: {refused:?}");
    let new = fleet.wait_for("the majority to have a leader", |fleet| {
        (0..3).filter(|number| *number != old).find(|number| {
            fleet.agents[*number].raft().is_some_and(|raft| raft.leads && raft.term > term)
        })
    });
    fleet.wait_for("the majority to accept writes", |fleet| {
        Fleet::write(&fleet.agents[new], Duration::from_secs(4)).ok()
    });
    // Nor does it answer what must be consistent; what it has it shows to whoever takes that.
    let ask = |fleet: &Fleet, number: usize, path: &str| {
        fleet.agents[number].client().with_timeout(Duration::from_secs(15)).raw(path)
    };
    let error = ask(&fleet, old, "/jobs?consistent").expect_err("a minority has no leader");
    assert!(error.to_string().contains("No cluster leader"), "{error}");
    ask(&fleet, old, "/jobs").expect("its own copy");
    for number in (0..3).filter(|number| *number != old) {
        ask(&fleet, number, "/jobs?consistent").expect("the majority has one");
    }
    fleet.wait_for("the old leader to step down", |fleet| {
        fleet.agents[old].raft().is_some_and(|raft| !raft.leads).then_some(())
    });
    let node = fleet.agents[old].node_id();
    fleet.wait_for("the old leader's node to be lost", |fleet| {
        (fleet.node_status(new, node)? == model::NodeStatus::Down).then_some(())
    });
    fleet.commit(5, "2");
    fleet.wait_for("the majority to deploy", |fleet| {
        let all = fleet.agents[new].allocations()?;
        let running = all.iter().filter(|alloc| crate::audit::runs(alloc));
        (running.filter(|alloc| alloc.node_id != node && alloc.job_version > 0).count() == 5)
            .then_some(())
    });
    let refused = Fleet::write(&fleet.agents[old], Duration::from_secs(4));
    assert!(refused.is_err(), "a minority accepted a write: {refused:?}");

    fleet.agents[old].machine.heal();
    fleet.wait_settled();
    fleet.wait_agreement();
    let leaders: Vec<_> = fleet.living().filter_map(|agent| agent.raft()).collect();
    assert_eq!(leaders.iter().filter(|raft| raft.leads).count(), 1, "{leaders:?}");
    watch.end();
}
