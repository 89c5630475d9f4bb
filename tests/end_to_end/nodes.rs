//! A node is emptied and taken into use again, by the commands that operators use.

use model::{Eligibility, RevisionOutcome};

use crate::agent::Agent;
use crate::jobs::sleeper;
use crate::repository::Repository;

fn said(output: &std::process::Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_node_is_emptied_and_taken_into_use_again() {
    let repo = Repository::new();
    repo.write("sleep.nomad", sleeper("sleep"));
    let commit = repo.commit("sleep");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    let before = agent.wait_running("sleep", 1).remove(0);
    let node = before.node_id.to_string();

    // There is no other node: without force, what runs stays.
    let output = agent.herder(&["node", "drain", "-enable", "-detach", "-yes", &node]);
    assert!(output.status.success(), "{}", said(&output));
    agent.wait_for("it is to move", |agent| {
        let node = agent.client().node(before.node_id).ok()?.into_value();
        (node.drain && node.scheduling_eligibility == Eligibility::Ineligible).then_some(())
    });
    assert_eq!(agent.running("sleep").len(), 1);
    let refused = agent.herder(&["node", "eligibility", "-enable", &node]);
    assert!(said(&refused).contains("is being emptied"), "{}", said(&refused));

    let output = agent.herder(&["node", "drain", "-enable", "-force", &node]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("the node is empty"), "{}", said(&output));
    assert!(said(&output).contains("is complete"), "{}", said(&output));
    assert_eq!(agent.running("sleep").len(), 0);
    let shown = said(&agent.herder(&["node", "status", &node]));
    for words in ["ineligible", "complete", "Node drain complete", "Node registered"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    let output = agent.herder(&["node", "eligibility", "-enable", &node[..8]]);
    assert!(output.status.success(), "{}", said(&output));
    let after = agent.wait_running("sleep", 1).remove(0);
    assert_ne!(after.id, before.id);

    let purge = agent.client().purge_node(before.node_id, false).expect_err("it answers");
    assert!(purge.to_string().contains("answers"), "{purge}");
}
