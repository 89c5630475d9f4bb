//! Nodes.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use model::NodeId;
use model::wire::{NodeDrainRequest, NodeEligibilityRequest, NodeUpdateResponse};

use super::list::list as rows;
use super::read::{fresh, read};
use super::shape;
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::{BODY_LIMIT, json, read_json};

pub(super) async fn list(State(app): State<App>, ask: Ask) -> Result<Response, Refusal> {
    let resources = ask.switch("resources")?;
    rows(&app, &ask, state::State::nodes_index, |state, selection| {
        state
            .nodes()
            .map(|node| (node.id.to_string(), node))
            .filter(|(id, _)| selection.wants_id(id))
            .map(|(id, node)| (id, shape::node_stub(node, resources)))
            .collect()
    })
    .await
}

pub(super) async fn one(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
) -> Result<Response, Refusal> {
    let id = node_id(&id)?;
    let index = |state: &state::State| {
        state.node(id).map_or_else(|| state.nodes_index(), |node| node.modify_index)
    };
    read(&app, &ask, index, |state| {
        state.node(id).map(|node| shape::node_view(node)).ok_or_else(missing)
    })
    .await
}

pub(super) async fn allocations(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
) -> Result<Response, Refusal> {
    let id = node_id(&id)?;
    let index = |state: &state::State| {
        let newest = state.allocs_on_node(id).map(|alloc| alloc.modify_index).max();
        newest.unwrap_or_else(|| state.allocs_index())
    };
    read(&app, &ask, index, |state| {
        Ok(state
            .allocs_on_node(id)
            .map(|alloc| shape::alloc_view(state, alloc))
            .collect::<Vec<_>>())
    })
    .await
}

pub(super) async fn drain(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
    body: Body,
) -> Result<Response, Refusal> {
    let id = known(&app, &id)?;
    let asked: NodeDrainRequest = read_json(body, BODY_LIMIT).await?;
    let index = app.control.drain_node(id, asked.drain_spec, asked.mark_eligible).await?;
    changed(&app, &ask, index)
}

pub(super) async fn eligibility(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
    body: Body,
) -> Result<Response, Refusal> {
    let id = known(&app, &id)?;
    let asked: NodeEligibilityRequest = read_json(body, BODY_LIMIT).await?;
    let Some(eligibility) = asked.eligibility else {
        return Err(Refusal::invalid("say Eligibility: \"eligible\" or \"ineligible\""));
    };
    let index = app.control.set_eligibility(id, eligibility).await?;
    changed(&app, &ask, index)
}

pub(super) async fn purge(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
) -> Result<Response, Refusal> {
    let id = known(&app, &id)?;
    let index = app.control.purge_node(id, ask.switch("force")?).await?;
    changed(&app, &ask, index)
}

fn changed(app: &App, ask: &Ask, index: u64) -> Result<Response, Refusal> {
    let answer = NodeUpdateResponse { node_modify_index: index, index, ..Default::default() };
    let mut response = json(&answer, ask.pretty())?;
    fresh(app, &mut response, index);
    Ok(response)
}

/// The node, if there is one.
fn known(app: &App, text: &str) -> Result<NodeId, Refusal> {
    let id = node_id(text)?;
    app.control.state().node(id).map(|node| node.id).ok_or_else(missing)
}

fn node_id(text: &str) -> Result<NodeId, Refusal> {
    text.parse().map_err(|_| missing())
}

fn missing() -> Refusal {
    Refusal::not_found("node not found")
}
