//! Deployments.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use model::DeploymentId;
use model::wire::DeploymentUpdateResponse;
use serde::Deserialize;

use super::list::list as rows;
use super::read::{fresh, read};
use super::shape;
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::{BODY_LIMIT, json, read_json};

type Answer = Result<Response, Refusal>;

pub(super) async fn list(State(app): State<App>, ask: Ask) -> Answer {
    rows(&app, &ask, state::State::deployments_index, |state, selection| {
        state
            .deployments()
            .map(|deployment| (deployment.id.to_string(), deployment))
            .filter(|(id, deployment)| {
                selection.wants(id, shape::namespace(state, &deployment.job))
            })
            .map(|(id, deployment)| (id, shape::deployment(state, deployment)))
            .collect()
    })
    .await
}

pub(super) async fn one(State(app): State<App>, Path(id): Path<String>, ask: Ask) -> Answer {
    let id = deployment_id(&id)?;
    let index = |state: &state::State| {
        let found = state.deployment(id);
        found.map_or_else(|| state.deployments_index(), |deployment| deployment.modify_index)
    };
    read(&app, &ask, index, |state| {
        let found = state.deployment(id);
        found.map(|deployment| shape::deployment(state, deployment)).ok_or_else(missing)
    })
    .await
}

pub(super) async fn allocations(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
) -> Answer {
    let id = deployment_id(&id)?;
    read(&app, &ask, state::State::allocs_index, |state| {
        let job = state.deployment(id).map(|deployment| &deployment.job);
        Ok(job
            .into_iter()
            .flat_map(|job| state.allocs_of_job(job))
            .filter(|alloc| alloc.deployment == Some(id))
            .map(|alloc| shape::alloc_stub(state, alloc, false))
            .collect::<Vec<_>>())
    })
    .await
}

/// The body of a promotion.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Promotion {
    #[serde(rename = "DeploymentID")]
    deployment_id: String,
    all: bool,
    groups: Option<Vec<String>>,
}

pub(super) async fn promote(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
    body: Body,
) -> Answer {
    let asked: Promotion = read_json(body, BODY_LIMIT).await?;
    let id = same_id(&id, &asked.deployment_id)?;
    let groups = asked.groups.unwrap_or_default();
    if asked.all != groups.is_empty() {
        return Err(Refusal::invalid("name either All or the Groups to promote"));
    }
    let index = app.control.promote(id, groups).await?;
    changed(&app, &ask, index)
}

/// The body of a failure.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Failure {
    #[serde(rename = "DeploymentID")]
    deployment_id: String,
}

pub(super) async fn fail(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
    body: Body,
) -> Answer {
    let asked: Failure = read_json(body, BODY_LIMIT).await?;
    let id = same_id(&id, &asked.deployment_id)?;
    let index = app.control.fail_deployment(id).await?;
    changed(&app, &ask, index)
}

fn changed(app: &App, ask: &Ask, index: u64) -> Answer {
    let answer =
        DeploymentUpdateResponse { deployment_modify_index: index, index, ..Default::default() };
    let mut response = json(&answer, ask.pretty())?;
    fresh(app, &mut response, index);
    Ok(response)
}

fn same_id(path: &str, body: &str) -> Result<DeploymentId, Refusal> {
    if !body.is_empty() && body != path {
        return Err(Refusal::invalid("the body names another deployment than the path"));
    }
    deployment_id(path)
}

fn deployment_id(text: &str) -> Result<DeploymentId, Refusal> {
    text.parse().map_err(|_| missing())
}

fn missing() -> Refusal {
    Refusal::not_found("deployment not found")
}
