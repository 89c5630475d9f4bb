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

#[test]
fn an_agent_that_stops_empties_its_node_first_if_it_is_told_to() {
    let count = 6;
    let Some(mut fleet) = Fleet::start(count) else { return };
    let token = fleet.token.clone();
    let worker = fleet.add_with_token("d", &token, &["--role", "worker"]);
    let config = fleet.config("d");
    let mut text = std::fs::read_to_string(&config).expect("a configuration");
    text += "client {\n  drain_on_shutdown {\n    deadline = \"50s\"\n  }\n}\n";
    std::fs::write(&config, text).expect("written");
    fleet.agents[worker].launch();
    fleet.wait_ready(worker);
    fleet.deploy(count + 2, "2");
    let id = fleet.agents[worker].node_id();
    let here = |fleet: &Fleet| {
        let running = fleet.running(&fleet.agents[0]);
        running.iter().filter(|alloc| alloc.node_id == id).count()
    };
    assert!(here(&fleet) > 0, "nothing runs there");
    let watch = fleet.watch(&fleet.catalogs()[..3]);
    let begin = std::time::Instant::now();
    fleet.agents[worker].terminate();
    eprintln!("left within {:?}", begin.elapsed());
    assert!(begin.elapsed() < std::time::Duration::from_secs(50), "not before its deadline");
    assert_eq!(here(&fleet), 0);
    assert!(crate::audit::processes(&fleet.agents[worker].data_dir()).is_empty());
    fleet.wait_settled();
    let fewest = watch.end().fewest;
    assert!(fewest > count, "{fewest} of {} passed", count + 2);

    // Nobody took it out of service, so it is back in it with its agent.
    fleet.agents[worker].launch();
    fleet.wait_ready(worker);
    fleet.wait_for("the node to be eligible", |fleet| {
        let nodes = fleet.agents[0].nodes()?;
        let view = nodes.iter().find(|one| one.id == id)?;
        (!view.drain && view.scheduling_eligibility == Eligibility::Eligible).then_some(())
    });
    fleet.deploy(count + 4, "3");
    assert!(here(&fleet) > 0, "what is new comes to it again");

    // What an operator took out of service stays so.
    let id_text = id.to_string();
    let out = fleet.agents[0].herder(&["node", "eligibility", "-disable", &id_text]);
    assert!(out.status.success(), "{}", said(&out));
    fleet.agents[worker].terminate();
    fleet.wait_settled();
    fleet.agents[worker].launch();
    fleet.wait_ready(worker);
    fleet.commit(count + 5, "3");
    fleet.wait_settled();
    assert_eq!(here(&fleet), 0);
    let nodes = fleet.agents[0].nodes().expect("an answer");
    let view = nodes.iter().find(|one| one.id == id).expect("there");
    assert_eq!(view.scheduling_eligibility, Eligibility::Ineligible);
}
