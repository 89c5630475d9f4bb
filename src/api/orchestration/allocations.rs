//! Allocations.

use axum::extract::{Path, State};
use axum::response::Response;
use model::AllocId;

use super::list::list as rows;
use super::read::read;
use super::shape;
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;

pub(super) async fn list(State(app): State<App>, ask: Ask) -> Result<Response, Refusal> {
    let resources = ask.switch("resources")?;
    rows(&app, &ask, state::State::allocs_index, |state, selection| {
        state
            .allocs()
            .map(|alloc| (alloc.id.to_string(), alloc))
            .filter(|(id, alloc)| selection.wants(id, shape::namespace(state, &alloc.job)))
            .map(|(id, alloc)| (id, shape::alloc_stub(state, alloc, resources)))
            .collect()
    })
    .await
}

pub(super) async fn one(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
) -> Result<Response, Refusal> {
    let id = alloc_id(&id)?;
    let index = |state: &state::State| {
        state.alloc(id).map_or_else(|| state.allocs_index(), |alloc| alloc.modify_index)
    };
    read(&app, &ask, index, |state| {
        state.alloc(id).map(|alloc| shape::alloc_view(state, alloc)).ok_or_else(missing)
    })
    .await
}

/// An allocation's ID in a path. Prefixes are the client's to resolve, by a list.
pub(super) fn alloc_id(text: &str) -> Result<AllocId, Refusal> {
    text.parse().map_err(|_| missing())
}

pub(super) fn missing() -> Refusal {
    Refusal::not_found("alloc not found")
}
