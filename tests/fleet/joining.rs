//! Agents that join, and what each of them then says.

use crate::fleet::Fleet;

#[test]
fn three_agents_join_by_one_line_each_and_say_the_same() {
    let Some(mut fleet) = Fleet::bare(|_| {}) else { return };
    let output = fleet.agents[0].herder(&["token", "join"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.split_whitespace().count(), 1, "the token stands alone: {text:?}");
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    let log = fleet.agents[0].log();
    assert!(!log.contains(text.trim()), "secrets are not logged");

    fleet.grow(6);
    let fourth = fleet.join("d", &["--role", "worker"]);
    fleet.wait_for("four nodes", |fleet| {
        let all = |fleet: &Fleet| {
            fleet.living().all(|agent| {
                let nodes = agent.nodes().unwrap_or_default();
                nodes.iter().filter(|node| node.status == model::NodeStatus::Ready).count() == 4
            })
        };
        all(fleet).then_some(())
    });
    let raft = fleet.agents[fourth].raft().expect("it answers");
    assert!(!raft.leads && raft.role != "follower", "a worker does not vote: {raft:?}");
    let leaders = fleet.living().filter(|agent| agent.raft().is_some_and(|raft| raft.leads));
    assert_eq!(leaders.count(), 1);

    // The job is spread, and every agent tells the same of it, by HTTP and by DNS.
    fleet.deploy(8, "2");
    fleet.wait_agreement();
    let running = fleet.running(&fleet.agents[fourth]);
    let nodes: std::collections::BTreeSet<_> = running.iter().map(|alloc| alloc.node_id).collect();
    assert_eq!(nodes.len(), 4, "over all nodes: {nodes:?}");
    fleet.wait_for("DNS to say the same everywhere", |fleet| {
        let known: Vec<_> = fleet.living().map(|agent| agent.dns("web")).collect();
        (known.iter().all(|one| *one == known[0]) && known[0].len() == 8).then_some(())
    });

    // What only an allocation's own node can say is told by every agent.
    for alloc in running.iter().take(4) {
        let id = alloc.id.to_string();
        let output = fleet.agents[0].herder(&["alloc", "logs", &id]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
