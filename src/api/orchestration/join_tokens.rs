//! Join tokens: who has one may bring a machine into the cluster. Herder's own.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use model::wire::{ChangeResponse, JoinTokenRequest, JoinTokenStub};

use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::{BODY_LIMIT, json, read_json};

type Answer = Result<Response, Refusal>;

/// How long a token is good where nothing is said.
const USUAL: Duration = Duration::from_secs(3600);

pub(super) async fn make(State(app): State<App>, ask: Ask, body: Body) -> Answer {
    let request: JoinTokenRequest = read_json(body, BODY_LIMIT).await?;
    let life = match request.ttl.as_str() {
        "" => USUAL,
        text => model::parse_duration(text)
            .map_err(|error| Refusal::invalid(format!("TTL: {error}")))?,
    };
    json(&app.control.make_join_token(life).await?, ask.pretty())
}

pub(super) async fn list(State(app): State<App>, ask: Ask) -> Answer {
    let state = app.control.state();
    let tokens: Vec<JoinTokenStub> = state
        .join_tokens()
        .map(|token| JoinTokenStub { id: token.id.clone(), expires_at: token.expires_at })
        .collect();
    json(&tokens, ask.pretty())
}

pub(super) async fn revoke(State(app): State<App>, Path(id): Path<String>, ask: Ask) -> Answer {
    let index = app.control.revoke_join_token(id).await?;
    json(&ChangeResponse { index }, ask.pretty())
}
