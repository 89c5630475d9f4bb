//! `/v1/agent` and `/v1/status`.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::app::App;
use crate::orchestration::{leader_address, server_addresses};
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::json as answer;

type Answer = Result<Response, Refusal>;

/// An agent that is alive, as Serf numbers it.
const ALIVE: u8 = 1;

fn member(app: &App) -> Value {
    let agent = &app.agent;
    let (address, port) = agent.rpc_address.rsplit_once(':').unwrap_or((&agent.rpc_address, "0"));
    json!({
        "Name": agent.name,
        "Addr": address.trim_matches(['[', ']']),
        "Port": port.parse::<u16>().unwrap_or_default(),
        "Tags": {
            "role": "consul",
            "dc": agent.datacenter,
            "id": agent.node.id,
            "build": agent.version,
            "acls": "0",
            "port": port,
        },
        "Status": ALIVE,
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    })
}

pub(super) async fn own(State(app): State<App>, ask: Ask) -> Answer {
    let agent = &app.agent;
    let raft = app.control.raft();
    let figures = json!({
        "agent": {"services": app.catalog.load().instances_on(agent.node.id).len().to_string()},
        "consul": {
            "leader": (raft.leader == Some(raft.node)).to_string(),
            "leader_addr": leader_address(&app).unwrap_or_default(),
            "server": "true",
        },
        "raft": {
            "applied_index": raft.applied.to_string(),
            "last_log_index": raft.last_log.to_string(),
            "term": raft.term.to_string(),
            "state": raft.role,
        },
        "runtime": {},
    });
    let body = json!({
        "Config": {
            "Datacenter": agent.datacenter,
            "PrimaryDatacenter": agent.datacenter,
            "NodeName": agent.name,
            "NodeID": agent.node.id,
            "Partition": "",
            "PartitionLong": "",
            "Revision": "",
            "Server": true,
            "Version": agent.version,
            "BuildDate": "",
        },
        "DebugConfig": {},
        "Coord": {"Vec": [0, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0, "Height": 1e-5},
        "Member": member(&app),
        "Stats": figures,
        "Meta": agent.node.meta,
        "xDS": {"SupportedProxies": {}, "Port": -1, "Ports": {"Plaintext": -1, "TLS": -1}},
    });
    answer(&body, ask.pretty())
}

pub(super) async fn members(State(app): State<App>, ask: Ask) -> Answer {
    let mut own = member(&app);
    // Across datacenters members carry theirs in their name.
    if ask.get("wan").is_some() {
        own["Name"] = format!("{}.{}", app.agent.name, app.agent.datacenter).into();
    }
    answer(&[own], ask.pretty())
}

pub(super) async fn leader(State(app): State<App>, ask: Ask) -> Answer {
    answer(&leader_address(&app).unwrap_or_default(), ask.pretty())
}

pub(super) async fn peers(State(app): State<App>, ask: Ask) -> Answer {
    answer(&server_addresses(&app), ask.pretty())
}
