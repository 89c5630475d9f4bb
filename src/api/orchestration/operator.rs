//! The servers themselves, for those who run them: who takes part in Raft, who leads, which losses are held, and the whole
//! state as a file. What only the leader knows or does is asked of it before a request comes here.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use model::wire::{
    HeldNode, LeadershipTransfer, LossesApproved, LostNodes, RaftConfiguration, RaftIdAddress,
    RaftServer, SnapshotInfo,
};
use model::{NodeId, Timestamp};

use super::members::{address_of, node_of};
use super::read::fresh;
use crate::app::App;
use crate::control::RaftMember;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::json;

type Answer = Result<Response, Refusal>;

fn view(app: &App, state: &state::State, member: &RaftMember) -> RaftServer {
    let node = node_of(app, state, member);
    let known = node.filter(|node| node.id != NodeId::default());
    RaftServer {
        id: known.as_ref().map_or_else(|| member.node.to_string(), |node| node.id.to_string()),
        node: known.map_or_else(|| "(unknown)".to_owned(), |node| node.name.clone()),
        address: address_of(app, member),
        leader: member.leader,
        voter: member.voter,
        raft_protocol: "3".to_owned(),
        number: member.node,
        last_contact: member
            .last_contact
            .map(|ago| u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX)),
        match_index: member.matched,
    }
}

fn servers(app: &App) -> Vec<RaftServer> {
    let state = app.control.state();
    app.control.members().iter().map(|member| view(app, &state, member)).collect()
}

pub(super) async fn configuration(State(app): State<App>, ask: Ask) -> Answer {
    let answer = RaftConfiguration { index: app.control.raft().applied, servers: servers(&app) };
    json(&answer, ask.pretty())
}

/// The server that a request names, by node, number or address.
fn named(app: &App, ask: &Ask) -> Result<Option<RaftServer>, Refusal> {
    let (id, address) = (ask.filled("id"), ask.filled("address"));
    if id.is_some() && address.is_some() {
        return Err(Refusal::invalid("name the server by id or by address, not by both"));
    }
    let Some(text) = id.or(address) else { return Ok(None) };
    let is_it = |server: &RaftServer| match id {
        Some(id) => server.id == id || server.number.to_string() == id,
        None => server.address == text,
    };
    let found = servers(app).into_iter().find(is_it);
    found.map(Some).ok_or_else(|| Refusal::not_found(format!("no server is `{text}`")))
}

pub(super) async fn transfer(State(app): State<App>, ask: Ask) -> Answer {
    let short = |server: &RaftServer| RaftIdAddress {
        id: server.id.clone(),
        address: server.address.clone(),
    };
    let wanted = named(&app, &ask)?;
    let all = servers(&app);
    let Some(from) = all.iter().find(|server| server.leader) else {
        return Err(Refusal::unavailable("No cluster leader"));
    };
    if let Some(to) = wanted.as_ref().filter(|to| to.number == from.number) {
        let answer = LeadershipTransfer { from: short(from), to: short(to), noop: true };
        return json(&answer, ask.pretty());
    }
    let number = app.control.transfer_leadership(wanted.map(|server| server.number)).await?;
    let to = all.iter().find(|server| server.number == number).map(short).unwrap_or_default();
    json(&LeadershipTransfer { from: short(from), to, noop: false }, ask.pretty())
}

pub(super) async fn remove_peer(State(app): State<App>, ask: Ask) -> Answer {
    let Some(server) = named(&app, &ask)? else {
        return Err(Refusal::invalid("name the server: ?id= or ?address="));
    };
    app.control.remove_member(server.number).await?;
    json(&serde_json::Value::Null, ask.pretty())
}

pub(super) async fn lost_nodes(State(app): State<App>, ask: Ask) -> Answer {
    leading(&app)?;
    let state = app.control.state();
    let found = app.control.heartbeats();
    let held = found.held.iter().map(|id| HeldNode {
        id: *id,
        name: state.node(*id).map(|node| node.name.clone()).unwrap_or_default(),
    });
    let answer = LostNodes {
        listening: found.listening as u64,
        declared: found.declared as u64,
        allowed: found.allowed as u64,
        held: held.collect(),
        message: found.message,
    };
    json(&answer, ask.pretty())
}

pub(super) async fn approve_losses(State(app): State<App>, ask: Ask) -> Answer {
    leading(&app)?;
    let approved = app.control.approve_losses() as u64;
    json(&LossesApproved { approved }, ask.pretty())
}

/// What this agent would say of the nodes is nothing unless it leads.
fn leading(app: &App) -> Result<(), Refusal> {
    let raft = app.control.raft();
    match raft.leader {
        Some(leader) if leader == raft.node => Ok(()),
        Some(_) => Err(Refusal::unavailable("this server does not lead; ask the leader")),
        None => Err(Refusal::unavailable("No cluster leader")),
    }
}

/// The header in which the agent's owner shows the key that lies in the data directory.
const OWNER_KEY: &str = "x-herder-owner-key";

/// Whether the agent's owner asks. What jobs keep in their variables is hidden in every other answer.
fn owner(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    let shown = headers.get(OWNER_KEY).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
    let is_it = app.owner_key.as_deref().is_some_and(|key| same(key.as_bytes(), shown));
    if is_it {
        return Ok(());
    }
    Err(Refusal::forbidden(
        "a snapshot holds in clear what job files hold, so only the agent's owner gets one: run `herder operator \
         snapshot save` on the agent's machine, as the agent's user, with -data-dir and the agent's data directory",
    ))
}

/// Whether two keys are equal, in a time that does not depend on where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// The whole state as a file. A follower waits until it has seen everything that was answered before.
pub(super) async fn snapshot(State(app): State<App>, headers: HeaderMap) -> Answer {
    owner(&app, &headers)?;
    let state = app.control.consistent().await?;
    let raft = app.control.raft();
    let version = app.agent.version.clone();
    let made_at = now();
    let index = state.index();
    let made = tokio::task::spawn_blocking(move || file(&state, raft.term, version, made_at)).await;
    let bytes = made.map_err(|error| Refusal::unavailable(error.to_string()))??;
    let kind = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"herder.snap\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut response = (kind, bytes).into_response();
    fresh(&app, &mut response, index);
    Ok(response)
}

pub(super) async fn restore() -> Refusal {
    Refusal::conflict(
        "a running cluster is not overwritten: stop the agents and run `herder operator snapshot restore FILE \
         -data-dir DIR` on one machine, into an empty directory",
    )
}

fn file(
    state: &state::State,
    term: u64,
    version: String,
    created_at: Timestamp,
) -> Result<Vec<u8>, Refusal> {
    let failed = |error: &dyn std::fmt::Display| {
        Refusal::unavailable(format!("the snapshot cannot be written: {error}"))
    };
    let body = state.to_bytes().map_err(|error| failed(&error))?;
    let count = |name: &str, count: usize| (name.to_owned(), count as u64);
    let contents = [
        count("Jobs", state.jobs().count()),
        count("Allocations", state.allocs().count()),
        count("Nodes", state.nodes_count()),
        count("Deployments", state.deployments().count()),
        count("Evaluations", state.evaluations().count()),
        count("Repositories", state.repos().count()),
        count("Revisions", state.revisions().count()),
        count("JoinTokenHashes", state.join_tokens().count()),
    ];
    let info = SnapshotInfo {
        version,
        created_at,
        index: state.index(),
        term,
        cluster: state.cluster().map(|cluster| cluster.id.clone()).unwrap_or_default(),
        contents: contents.into(),
    };
    model::write_snapshot(&info, &body).map_err(|error| failed(&error))
}

/// The date on the file. No decision depends on it.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map(|since| since.as_nanos()).unwrap_or_default();
    Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX))
}
