//! How placement chooses.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use model::wire::{
    SchedulerConfigChange, SchedulerConfigResponse, SchedulerConfigUpdated, SchedulerConfigView,
};

use super::read::{fresh, read};
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::{BODY_LIMIT, json, read_json};

pub(super) async fn show(State(app): State<App>, ask: Ask) -> Result<Response, Refusal> {
    let raft = app.control.raft();
    read(&app, &ask, state::State::scheduler_index, |state| {
        Ok(SchedulerConfigResponse {
            scheduler_config: SchedulerConfigView {
                config: *state.scheduler_config(),
                ..SchedulerConfigView::default()
            },
            index: state.scheduler_index(),
            last_contact: raft
                .last_contact
                .map_or(0, |ago| u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX)),
            known_leader: raft.leader.is_some(),
            next_token: String::new(),
        })
    })
    .await
}

pub(super) async fn change(
    State(app): State<App>,
    ask: Ask,
    body: Body,
) -> Result<Response, Refusal> {
    let if_index = ask.number("cas")?;
    let asked: SchedulerConfigChange = read_json(body, BODY_LIMIT).await?;
    let known = *app.control.state().scheduler_config();
    let config = asked.of(known).map_err(Refusal::invalid)?;
    let changed = app.control.set_scheduler_config(config, if_index).await?;
    let index = changed.unwrap_or_else(|| app.control.state().scheduler_index());
    let answer = SchedulerConfigUpdated { updated: changed.is_some(), index };
    let mut response = json(&answer, ask.pretty())?;
    fresh(&app, &mut response, index);
    Ok(response)
}
