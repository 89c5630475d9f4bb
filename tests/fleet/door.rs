//! Who is let in, and who no more.

use std::time::Duration;

use model::NodeStatus;

use crate::fleet::Fleet;

/// Starts an agent that is to be refused, and gives what it said.
fn refused(fleet: &mut Fleet, name: &str, token: &str) -> String {
    let number = fleet.add_with_token(name, token, &["--role", "worker"]);
    fleet.agents[number].launch();
    let status = fleet.wait_for(&format!("{name} to give up"), |fleet| {
        let agent = &mut fleet.agents[number];
        assert!(!agent.data_dir().join("agent.json").exists(), "{name} was let in");
        agent.ended()
    });
    assert!(!status.success(), "{name} was let in");
    fleet.agents[number].kill();
    fleet.agents.pop().expect("just added").log()
}

#[test]
fn bad_tokens_let_nobody_in() {
    let Some(mut fleet) = Fleet::bare(|_| {}) else { return };
    let client = fleet.agents[0].client();
    let good = fleet.wait_for("a token", |_| client.make_join_token("1h").ok());
    let short = client.make_join_token("1s").expect("a token");
    let revoked = client.make_join_token("1h").expect("a token");
    client.revoke_join_token(&revoked.id).expect("revoked");
    std::thread::sleep(Duration::from_millis(1200));

    let said = refused(&mut fleet, "late", &short.token);
    assert!(said.contains("expired"), "{said}");
    let said = refused(&mut fleet, "revoked", &revoked.token);
    assert!(said.contains("does not know this token"), "{said}");
    // Each part of a token, made up.
    for at in [good.token.len() / 3, good.token.len() / 2, good.token.len() - 3] {
        let mut forged = good.token.clone().into_bytes();
        forged[at] = if forged[at] == b'a' { b'b' } else { b'a' };
        let forged = String::from_utf8(forged).expect("text");
        let said = refused(&mut fleet, &format!("forged-{at}"), &forged);
        assert!(said.contains("token"), "{said}");
        assert!(!said.contains(&forged), "a token is not logged");
    }
    let nodes = fleet.agents[0].nodes().expect("an answer");
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    fleet.token = good.token;
    fleet.join("good", &["--role", "worker"]);
}

#[test]
fn a_removed_node_is_let_in_no_more() {
    let Some(mut fleet) = Fleet::start(3) else { return };
    let worker = fleet.join("d", &["--role", "worker"]);
    let node = fleet.agents[worker].node_id();
    fleet.deploy(4, "2");
    let purge = fleet.agents[0].client().purge_node(node, false);
    assert!(purge.is_err(), "a node that answers is not removed");

    fleet.agents[worker].kill();
    fleet.wait_for("the worker to be lost", |fleet| {
        (fleet.node_status(0, node)? == NodeStatus::Down).then_some(())
    });
    fleet.agents[1].client().purge_node(node, false).expect("removed");
    fleet.wait_for("all agents to know", |fleet| {
        fleet
            .living()
            .all(|agent| agent.nodes().is_some_and(|nodes| nodes.iter().all(|one| one.id != node)))
            .then_some(())
    });
    // It comes back with a certificate that was good.
    fleet.agents[worker].launch();
    fleet.wait_for("somebody to tell it", |fleet| {
        fleet.agents[worker].log().contains("removed").then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    for agent in &fleet.agents[..3] {
        let nodes = agent.nodes().expect("an answer");
        assert!(nodes.iter().all(|one| one.id != node), "{nodes:?}");
    }
    let refused = Fleet::write(&fleet.agents[worker], Duration::from_secs(4));
    assert!(refused.is_err(), "a node that was removed wrote: {refused:?}");
    // With its data directory a machine loses its old name, and comes as a new node.
    let mut stranger = fleet.agents.remove(worker);
    stranger.kill();
    for pid in crate::audit::all_processes(&stranger.data_dir()) {
        crate::agent::signal(pid, "KILL");
    }
    drop(stranger);
    fleet.wait_settled();
    fleet.join("e", &["--role", "worker"]);
}
