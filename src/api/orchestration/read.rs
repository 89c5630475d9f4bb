//! How a read is answered: wait if asked to, look once, and say how fresh the answer is.

use axum::response::Response;
use serde::Serialize;
use state::State;

use crate::app::App;
use crate::blocking::{ORCHESTRATION, hold, until_newer};
use crate::control::{consistent, last_contact};
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::{json, set};

/// Answers with what `body` makes of the state, once `index` of it is beyond what the client has seen.
pub(super) async fn read<T: Serialize>(
    app: &App,
    ask: &Ask,
    index: impl Fn(&State) -> u64,
    body: impl FnOnce(&State) -> Result<T, Refusal>,
) -> Result<Response, Refusal> {
    let hold = hold(ask, ORCHESTRATION, (app.jitter)())?;
    // This agent's copy has everything that was answered by now, or there is no answer.
    let is_consistent = ask.switch("consistent")?;
    if is_consistent {
        consistent(app.control.as_ref()).await?;
    }
    let changes = app.control.index();
    until_newer(hold, changes, &ask.stopping.0, || index(&app.control.state())).await;
    let state = app.control.state();
    let mut response = json(&body(&state)?, ask.pretty())?;
    fresh(app, &mut response, index(&state));
    if is_consistent && hold.is_none() {
        set(response.headers_mut(), "x-nomad-lastcontact", 0);
    }
    Ok(response)
}

/// Adds the headers that every read and write carries.
pub(super) fn fresh(app: &App, response: &mut Response, index: u64) {
    let headers = response.headers_mut();
    set(headers, "x-nomad-index", index.max(1));
    let raft = app.control.raft();
    set(headers, "x-nomad-knownleader", raft.leader.is_some());
    set(headers, "x-nomad-lastcontact", last_contact(&raft));
}
