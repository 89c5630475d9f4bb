//! The agents of the cluster, as Nomad's `server members` expects them.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::wire::{AgentMember, AgentMembers};
use model::{Node, NodeStatus};
use state::State;

use crate::app::App;
use crate::control::RaftMember;

/// The port of an agent's RPC where nothing is known of one: one that is alone has none.
const USUAL_PORT: &str = "4647";

/// This agent's RPC address; for one that is alone, where it would be.
fn own_address(app: &App) -> String {
    if !app.agent.rpc_address.is_empty() {
        return app.agent.rpc_address.clone();
    }
    let host = app.agent.http_address.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
    format!("{host}:{USUAL_PORT}")
}

/// Where a server is reached.
pub(super) fn address_of(app: &App, member: &RaftMember) -> String {
    if member.address.is_empty() { own_address(app) } else { member.address.clone() }
}

/// The node that a server is, if it is known. Addresses are what nodes say of themselves: of two that claim the same one,
/// none is believed.
pub(super) fn node_of(app: &App, state: &State, member: &RaftMember) -> Option<Arc<Node>> {
    if member.node == app.control.raft().node {
        return state
            .node(app.agent.node.id)
            .cloned()
            .or_else(|| Some(Arc::clone(&app.agent.node)));
    }
    let mut there = state.nodes().filter(|node| node.rpc_address == member.address);
    match (there.next(), there.next()) {
        (Some(only), None) => Some(Arc::clone(only)),
        _ => None,
    }
}

/// The leader's RPC address, as far as it is known here.
pub(crate) fn leader_address(app: &App) -> Option<String> {
    let members = app.control.members();
    members.iter().find(|member| member.leader).map(|member| address_of(app, member))
}

/// The RPC addresses of all servers.
pub(crate) fn server_addresses(app: &App) -> Vec<String> {
    app.control.members().iter().map(|member| address_of(app, member)).collect()
}

fn entry(name: &str, node: Option<&Node>, address: &str) -> AgentMember {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_matches(['[', ']']);
    let status = match node.map(|node| node.status) {
        Some(NodeStatus::Down | NodeStatus::Disconnected) => "failed",
        Some(NodeStatus::Ready | NodeStatus::Initializing) => "alive",
        // It takes part, but its node was removed.
        None => "left",
    };
    let mut tags = BTreeMap::from([
        ("region".to_owned(), "global".to_owned()),
        ("port".to_owned(), port.to_owned()),
        ("rpc_addr".to_owned(), host.to_owned()),
    ]);
    if let Some(node) = node {
        tags.insert("dc".to_owned(), node.datacenter.clone());
        tags.insert("build".to_owned(), node.version.clone());
        tags.insert("id".to_owned(), node.id.to_string());
    }
    AgentMember {
        name: name.to_owned(),
        addr: host.to_owned(),
        port: port.parse().unwrap_or_default(),
        tags,
        status: status.to_owned(),
    }
}

fn server(app: &App, state: &State, member: &RaftMember) -> AgentMember {
    let node = node_of(app, state, member);
    let address = address_of(app, member);
    let name =
        node.as_ref().map_or_else(|| format!("server-{}", member.node), |node| node.name.clone());
    let mut entry = entry(&name, node.as_deref(), &address);
    let mut tag = |key: &str, value: String| entry.tags.insert(key.to_owned(), value);
    tag("role", "nomad".to_owned());
    tag("raft_vsn", "3".to_owned());
    tag("leader", member.leader.to_string());
    tag("voter", member.voter.to_string());
    tag("number", member.node.to_string());
    entry
}

fn worker(node: &Node) -> AgentMember {
    let mut entry = entry(&node.name, Some(node), &node.rpc_address);
    entry.tags.insert("role".to_owned(), "worker".to_owned());
    entry
}

/// All agents.
pub(super) fn members_of(app: &App) -> AgentMembers {
    let state = app.control.state();
    let servers = app.control.members();
    let nodes: Vec<_> = servers
        .iter()
        .filter_map(|member| node_of(app, &state, member))
        .map(|node| node.id)
        .collect();
    let workers = state.nodes().filter(|node| !nodes.contains(&node.id));
    AgentMembers {
        server_name: app.agent.name.clone(),
        server_region: "global".to_owned(),
        server_dc: app.agent.datacenter.clone(),
        members: servers.iter().map(|member| server(app, &state, member)).collect(),
        workers: workers.map(|node| worker(node)).collect(),
    }
}

/// This agent.
pub(super) fn own_member(app: &App) -> AgentMember {
    let own = app.control.raft().node;
    let state = app.control.state();
    match app.control.members().iter().find(|member| member.node == own) {
        Some(member) => server(app, &state, member),
        None => {
            let mut entry = worker(state.node(app.agent.node.id).unwrap_or(&app.agent.node));
            entry.name.clone_from(&app.agent.name);
            entry
        }
    }
}
