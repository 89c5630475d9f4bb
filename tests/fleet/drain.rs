//! A node that is emptied while its service is used.

use model::Eligibility;

use crate::fleet::Fleet;

fn said(output: &std::process::Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_node_is_drained_without_its_service_getting_thin() {
    let count = 6;
    let Some(mut fleet) = Fleet::start(count) else { return };
    let leader = fleet.wait_leader();
    let node = (0..3).find(|number| *number != leader).expect("another");
    let id = fleet.agents[node].node_id();
    let here = |fleet: &Fleet| {
        let running = fleet.running(&fleet.agents[leader]);
        running.iter().filter(|alloc| alloc.node_id == id).count()
    };
    assert!(here(&fleet) > 0, "nothing runs there");
    let watch = fleet.watch(&fleet.catalogs());
    let id_text = id.to_string();
    let drain = fleet.agents[leader].herder(&["node", "drain", "-enable", "-yes", &id_text]);
    assert!(drain.status.success(), "{}", said(&drain));
    assert!(said(&drain).contains("the node is empty"), "{}", said(&drain));
    fleet.wait_settled();
    assert_eq!(here(&fleet), 0);
    let fewest = watch.end().fewest;
    assert!(fewest >= count - 1, "{fewest} of {count} passed");
    let nodes = fleet.agents[leader].nodes().expect("an answer");
    let view = nodes.iter().find(|one| one.id == id).expect("there");
    assert_eq!(view.scheduling_eligibility, Eligibility::Ineligible);

    let back = fleet.agents[node].herder(&["node", "eligibility", "-enable", &id_text]);
    assert!(back.status.success(), "{}", said(&back));
    fleet.deploy(count + 2, "2");
    assert!(here(&fleet) > 0, "what is new comes to it again");

    // An end before it is empty takes the node back at once.
    let again = ["node", "drain", "-enable", "-detach", "-yes", &id_text];
    let output = fleet.agents[leader].herder(&again);
    assert!(output.status.success(), "{}", said(&output));
    let output = fleet.agents[leader].herder(&["node", "drain", "-disable", "-yes", &id_text]);
    assert!(output.status.success(), "{}", said(&output));
    fleet.wait_for("the node to be eligible", |fleet| {
        let nodes = fleet.agents[node].nodes()?;
        let view = nodes.iter().find(|one| one.id == id)?;
        (!view.drain && view.scheduling_eligibility == Eligibility::Eligible).then_some(())
    });
    fleet.wait_settled();
}
