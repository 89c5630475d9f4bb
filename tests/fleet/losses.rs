//! Many nodes that fall silent at once.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{NodeId, NodeStatus};

use crate::audit::runs;
use crate::fleet::Fleet;

/// The workers, and how many nodes there are.
const WORKERS: [&str; 4] = ["d", "e", "f", "g"];
const NODES: usize = 3 + WORKERS.len();

/// Their nodes, by what the leader says of them.
fn having(fleet: &Fleet, leader: usize, nodes: &BTreeSet<NodeId>, status: NodeStatus) -> usize {
    let known = fleet.agents[leader].nodes().unwrap_or_default();
    known.iter().filter(|node| nodes.contains(&node.id) && node.status == status).count()
}

fn held(fleet: &Fleet, leader: usize) -> usize {
    fleet.agents[leader].client().lost_nodes().map_or(0, |lost| lost.held.len())
}

/// How many run on other nodes, by the leader's word.
fn elsewhere(fleet: &Fleet, leader: usize, nodes: &BTreeSet<NodeId>) -> usize {
    let all = fleet.agents[leader].allocations().unwrap_or_default();
    all.iter().filter(|alloc| runs(alloc) && !nodes.contains(&alloc.node_id)).count()
}

#[test]
fn when_many_fall_silent_the_rest_is_not_flooded_until_somebody_says_so() {
    let Some(mut fleet) = Fleet::start(3) else { return };
    let workers: Vec<usize> =
        WORKERS.iter().map(|name| fleet.join(name, &["--role", "worker"])).collect();
    fleet.deploy(2 * NODES, "2");
    let nodes: BTreeSet<NodeId> = workers.iter().map(|n| fleet.agents[*n].node_id()).collect();
    let leader = fleet.wait_leader();
    let on_servers = elsewhere(&fleet, leader, &nodes);
    assert!(on_servers <= NODES, "little runs on the workers: {on_servers} elsewhere");
    let link = |fleet: &Fleet, is_up: bool| {
        for worker in &workers {
            fleet.agents[*worker].machine.link(is_up);
        }
    };
    let back = |fleet: &mut Fleet| {
        link(fleet, true);
        fleet.wait_for("all workers to be back", |fleet| {
            (having(fleet, leader, &nodes, NodeStatus::Ready) == nodes.len()
                && held(fleet, leader) == 0)
                .then_some(())
        });
        fleet.wait_settled();
    };

    // As many are lost as may be; the rest is held.
    let brake = |fleet: &mut Fleet| {
        link(fleet, false);
        fleet.wait_for("the brake", |fleet| {
            let lost = having(fleet, leader, &nodes, NodeStatus::Down);
            let held = held(fleet, leader);
            (held > 0 && held + lost == nodes.len()).then_some(())
        });
        std::thread::sleep(Duration::from_secs(3));
        let lost = having(fleet, leader, &nodes, NodeStatus::Down);
        assert!(lost <= 3, "{lost} of {NODES} are lost");
        assert_eq!(lost + held(fleet, leader), nodes.len());
        let said = fleet.agents[leader].herder(&["node", "lost"]);
        assert!(String::from_utf8_lossy(&said.stdout).contains("held"), "{said:?}");
    };
    // What runs on those that are held is not replaced, and goes on as before once they are heard of.
    brake(&mut fleet);
    assert!(elsewhere(&fleet, leader, &nodes) < 2 * NODES, "everything is moved");
    back(&mut fleet);

    // The second time somebody says that they are gone.
    brake(&mut fleet);
    let said = fleet.agents[leader].herder(&["node", "lost", "-approve"]);
    assert!(said.status.success(), "{said:?}");
    fleet.wait_for("all workers to be lost", |fleet| {
        (having(fleet, leader, &nodes, NodeStatus::Down) == nodes.len()).then_some(())
    });
    fleet.wait_for("the servers to run everything", |fleet| {
        (elsewhere(fleet, leader, &nodes) == 2 * NODES).then_some(())
    });
    assert_eq!(held(&fleet, leader), 0);
    back(&mut fleet);
    fleet.wait_agreement();
}
