use serde_json::{Value, json};

use super::*;
use crate::sample::{self, World, alloc, node, node_id, service as declared};
use crate::view::Server;
use model::{Check, CheckState, NodeStatus};
use state::Command;

fn json(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("serialises")
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no {path} in {value}"))
}

fn small() -> Catalog {
    Catalog::rebuild(&World::small().state)
}

#[test]
fn services_are_arrays_of_tags_and_include_the_servers() {
    let catalog = small();
    let found = services(&catalog, &Select::default());
    assert_eq!(json(&found.value), json!({"consul": [], "web": ["Prod.EU", "v1"]}));
    assert_eq!(found.index, catalog.services_index());
    assert_eq!(
        json(services(&Catalog::default(), &Select::default()).value),
        json!({"consul": []})
    );
    assert_eq!(services(&Catalog::default(), &Select::default()).index, 1);
}

#[test]
fn node_metadata_selects() {
    let mut world = World::small();
    let mut racked = node(1);
    racked.meta.insert("rack".into(), "r1".into());
    world.add_node(racked);
    let catalog = Catalog::rebuild(&world.state);
    let on =
        |rack: &str| Select { node_meta: vec![("rack".into(), rack.into())], ..Select::default() };
    assert_eq!(json(services(&catalog, &on("r1")).value), json!({"web": ["Prod.EU", "v1"]}));
    assert_eq!(json(services(&catalog, &on("r2")).value), json!({}));
    assert_eq!(health_service(&catalog, "web", &on("r1")).value.len(), 1);
    assert_eq!(nodes(&catalog, &on("r1")).value.len(), 1);
}

#[test]
fn a_service_lists_its_instances_by_node() {
    let catalog = small();
    let rows = json(service(&catalog, "web", &Select::default()).value);
    assert_eq!(text(&rows, "/0/Node"), "n1");
    assert_eq!(text(&rows, "/1/Node"), "n2");
    assert_eq!(text(&rows, "/0/ID"), node_id(1).to_string());
    assert_eq!(text(&rows, "/0/ServiceAddress"), "10.0.0.1");
    assert_eq!(rows[0]["ServicePort"], 20_001);
    assert_eq!(rows[0]["ServiceTags"], json!(["v1", "Prod.EU"]));
    assert_eq!(rows[0]["TaggedAddresses"]["lan_ipv4"], "10.0.0.1");
    assert_eq!(
        rows[0]["ServiceTaggedAddresses"]["lan_ipv4"],
        json!({"Address": "10.0.0.1", "Port": 20_001})
    );
    assert_eq!(rows[0]["ServiceMeta"], json!({}));
    assert_eq!(rows[0]["ServiceProxy"], json!({"Mode": "", "MeshGateway": {}, "Expose": {}}));
    assert_eq!(json(service(&catalog, "none", &Select::default()).value), json!([]));
}

#[test]
fn tags_select_whatever_their_case_and_all_must_match() {
    let catalog = small();
    let with = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        health_service(&catalog, "web", &Select { tags, ..Select::default() }).value.len()
    };
    assert_eq!((with(&["V1"]), with(&["v1", "prod.eu"]), with(&["v1", "v2"])), (2, 2, 0));
}

fn with_checks() -> World {
    let mut world = World::default();
    world.add_node(node(1));
    world.add_node(node(2));
    let mut web = declared("web", &["t"]);
    web.checks = vec![Check { initial_status: "passing".into(), ..Check::default() }];
    world.add_job(sample::job("job", vec![web]));
    let mut second = alloc(2, 2);
    let warning =
        CheckState { status: CheckStatus::Warning, output: "slow".into(), ..CheckState::default() };
    second.checks.insert("0.0".into(), warning);
    world.place(vec![alloc(1, 1), second]);
    world
}

#[test]
fn every_entry_has_the_nodes_check_and_its_own() {
    let world = with_checks();
    let catalog = Catalog::rebuild(&world.state);
    let rows = json(health_service(&catalog, "web", &Select::default()).value);
    let first = &rows[0]["Checks"];
    assert_eq!(first[0]["CheckID"], "serfHealth");
    assert_eq!(first[0]["ServiceTags"], json!([]));
    assert_eq!(first[0]["Definition"], json!({}));
    assert_eq!(first[1]["Status"], "passing");
    assert_eq!(first[1]["Type"], "http");
    assert_eq!(first[1]["ServiceID"], rows[0]["Service"]["ID"]);
    assert_eq!(first[1]["ServiceTags"], json!(["t"]));
    assert_eq!(rows[1]["Checks"][1]["Output"], "slow");
    let passing = Select { passing: true, ..Select::default() };
    let rows = json(health_service(&catalog, "web", &passing).value);
    assert_eq!(rows.as_array().map(Vec::len), Some(1));

    let checks = json(health_checks(&catalog, "web", &Select::default()).value);
    assert_eq!(checks.as_array().map(Vec::len), Some(2));
    assert_eq!(checks[1]["Status"], "warning");
}

#[test]
fn a_silent_node_shows_in_every_listing() {
    let mut world = with_checks();
    world.apply(&Command::SetNodeStatus {
        node: node_id(1),
        status: NodeStatus::Down,
        at: Default::default(),
    });
    let catalog = Catalog::rebuild(&world.state);
    let rows = json(health_service(&catalog, "web", &Select::default()).value);
    assert_eq!(rows.as_array().map(Vec::len), Some(2), "it is still listed");
    let checks = rows[0]["Checks"].as_array().expect("an array");
    assert_eq!(checks.len(), 2, "the node's check is there once");
    assert_eq!(checks[0]["Status"], "critical");
    let critical =
        json(health_state(&catalog, Wanted::In(CheckStatus::Critical), &Select::default()).value);
    assert_eq!(critical.as_array().map(Vec::len), Some(1));
    assert_eq!(critical[0]["Node"], "n1");
    assert!(
        health_checks(&catalog, "web", &Select::default())
            .value
            .iter()
            .all(|check| check.check_id != "serfHealth")
    );
}

#[test]
fn states_and_nodes_list_checks() {
    let world = with_checks();
    let catalog = Catalog::rebuild(&world.state);
    let count = |state: &str| {
        let wanted = Wanted::parse(state).expect("a state");
        health_state(&catalog, wanted, &Select::default()).value.len()
    };
    assert_eq!((count("any"), count("passing"), count("warning")), (4, 3, 1));
    assert_eq!(count("critical"), 0);
    assert_eq!(Wanted::parse(""), None);
    assert_eq!(health_node(&catalog, "n2").value.len(), 2);
    assert!(health_node(&catalog, "nowhere").value.is_empty());
}

#[test]
fn a_node_with_its_services_or_null() {
    let catalog = small();
    let found = json(node_of(&catalog, "n1"));
    assert_eq!(text(&found, "/Node/Node"), "n1");
    let services = found["Services"].as_object().expect("an object");
    assert_eq!(services.len(), 1);
    assert!(services.iter().all(|(id, one)| one["ID"] == **id && one["Service"] == "web"));
    assert_eq!(json(node_of(&catalog, "nowhere")), Value::Null);
}

fn node_of<'a>(catalog: &'a Catalog, name: &str) -> Option<NodeServices<'a>> {
    super::node(catalog, name).value
}

#[test]
fn the_servers_are_listed_even_where_they_run_nothing() {
    let mut catalog = small();
    catalog.set_servers(&[Server {
        id: node_id(9),
        name: "s9".into(),
        datacenter: "dc2".into(),
        address: "10.0.0.9".into(),
        port: 4647,
    }]);
    let rows = json(health_service(&catalog, SERVERS, &Select::default()).value);
    assert_eq!(text(&rows, "/0/Node/Node"), "s9");
    assert_eq!(text(&rows, "/0/Checks/0/CheckID"), "serfHealth");
    assert_eq!(datacenters(&catalog, "dc3"), ["dc1", "dc2", "dc3"]);
}
