//! Why something runs where it does, and why not.

use axum::extract::{Path, State};
use axum::response::Response;
use evaluator::{explain_allocation, explain_job};
use model::JobId;

use super::allocations::{alloc_id, missing};
use super::operator::now;
use super::read::fresh;
use crate::app::App;
use crate::control::consistent;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::json;

type Answer = Result<Response, Refusal>;

pub(super) async fn job(State(app): State<App>, Path(id): Path<String>, ask: Ask) -> Answer {
    let id = JobId::from(id);
    let group = ask.filled("group").map(str::to_owned);
    answer(&app, &ask, move |state| {
        let Some(told) = explain_job(state, &id, group.as_deref(), now()) else {
            return Err(Refusal::not_found("job not found"));
        };
        match group {
            Some(group) if told.groups.is_empty() => {
                Err(Refusal::not_found(format!("job {id} has no group \"{group}\"")))
            }
            _ => Ok(told),
        }
    })
    .await
}

pub(super) async fn allocation(State(app): State<App>, Path(id): Path<String>, ask: Ask) -> Answer {
    let id = alloc_id(&id)?;
    answer(&app, &ask, move |state| explain_allocation(state, id, now()).ok_or_else(missing)).await
}

/// Answers from the state as it is. A look at every node takes its time: few at once, and beside the runtime's threads.
async fn answer<T: serde::Serialize + Send + 'static>(
    app: &App,
    ask: &Ask,
    body: impl FnOnce(&state::State) -> Result<T, Refusal> + Send + 'static,
) -> Answer {
    let _slot = app.plans.try_acquire().map_err(|_| {
        Refusal::busy("several plans or explanations are being made already; try again in a moment")
    })?;
    let state = match ask.switch("consistent")? {
        true => consistent(app.control.as_ref()).await?,
        false => app.control.state(),
    };
    let index = state.index();
    let told = tokio::task::spawn_blocking(move || body(&state))
        .await
        .map_err(|error| Refusal::unavailable(format!("explaining failed: {error}")))??;
    let mut response = json(&told, ask.pretty())?;
    fresh(app, &mut response, index);
    Ok(response)
}
