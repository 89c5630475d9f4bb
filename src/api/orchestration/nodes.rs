//! Nodes.

use axum::extract::{Path, State};
use axum::response::Response;
use model::NodeId;

use super::list::list as rows;
use super::read::read;
use super::shape;
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;

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

fn node_id(text: &str) -> Result<NodeId, Refusal> {
    text.parse().map_err(|_| missing())
}

fn missing() -> Refusal {
    Refusal::not_found("node not found")
}
