//! Evaluations.

use axum::extract::{Path, State};
use axum::response::Response;
use model::EvalId;

use super::list::list as rows;
use super::read::read;
use super::shape;
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;

pub(super) async fn list(State(app): State<App>, ask: Ask) -> Result<Response, Refusal> {
    rows(&app, &ask, state::State::evaluations_index, |state, selection| {
        state
            .evaluations()
            .map(|eval| (eval.id.to_string(), eval))
            .filter(|(id, eval)| selection.wants(id, shape::namespace(state, &eval.job)))
            .map(|(id, eval)| (id, shape::evaluation(state, eval)))
            .collect()
    })
    .await
}

pub(super) async fn one(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
) -> Result<Response, Refusal> {
    let id = eval_id(&id)?;
    let index = |state: &state::State| {
        state.evaluation(id).map_or_else(|| state.evaluations_index(), |eval| eval.modify_index)
    };
    read(&app, &ask, index, |state| {
        state.evaluation(id).map(|eval| shape::evaluation(state, eval)).ok_or_else(missing)
    })
    .await
}

pub(super) async fn allocations(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
) -> Result<Response, Refusal> {
    let id = eval_id(&id)?;
    read(&app, &ask, state::State::allocs_index, |state| {
        let job = state.evaluation(id).map(|eval| &eval.job);
        Ok(job
            .into_iter()
            .flat_map(|job| state.allocs_of_job(job))
            .filter(|alloc| alloc.eval == id)
            .map(|alloc| shape::alloc_stub(state, alloc, false))
            .collect::<Vec<_>>())
    })
    .await
}

fn eval_id(text: &str) -> Result<EvalId, Refusal> {
    text.parse().map_err(|_| missing())
}

fn missing() -> Refusal {
    Refusal::not_found("eval not found")
}
