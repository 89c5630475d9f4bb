//! What Nomad has not: repositories, revisions and plans.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use model::wire::{ApproveRequest, ChangeResponse, CheckRequest, PlanRequest};

use super::read::{fresh, read};
use super::shape;
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::{BODY_LIMIT, PLAN_BODY_LIMIT, json, read_json};

type Answer = Result<Response, Refusal>;

/// Revisions that are listed unless a limit is named.
const REVISIONS: u64 = 50;

pub(super) async fn status(State(app): State<App>, ask: Ask) -> Answer {
    let repo = ask.filled("repo").map(str::to_owned);
    let index = |state: &state::State| {
        let repos = state.repos().map(|repo| repo.modify_index).max();
        state.revisions_index().max(repos.unwrap_or_default())
    };
    read(&app, &ask, index, |state| {
        let mut status = shape::gitops_status(state, &app.control.repos());
        if let Some(name) = repo {
            status.repos.retain(|repo| repo.name == name);
            if status.repos.is_empty() {
                return Err(Refusal::not_found(format!("repository `{name}` not found")));
            }
        }
        Ok(status)
    })
    .await
}

pub(super) async fn revisions(State(app): State<App>, ask: Ask) -> Answer {
    let limit = ask.number("limit")?.unwrap_or(REVISIONS).min(state::TRACKED_REVISIONS as u64);
    let repo = ask.filled("repo").map(str::to_owned);
    // What became of a revision follows from deployments and allocations.
    let index = |state: &state::State| {
        state.revisions_index().max(state.deployments_index()).max(state.allocs_index())
    };
    read(&app, &ask, index, |state| {
        Ok(state
            .revisions()
            .filter(|revision| repo.as_ref().is_none_or(|name| *name == revision.repo))
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .map(|revision| shape::revision(state, revision))
            .collect::<Vec<_>>())
    })
    .await
}

pub(super) async fn plan(State(app): State<App>, ask: Ask, body: Body) -> Answer {
    // Taken before the body is read: bodies are what is large.
    let _slot = app.plans.try_acquire().map_err(|_| {
        Refusal::busy("several plans are being made already; try again in a moment")
    })?;
    let request: PlanRequest = read_json(body, PLAN_BODY_LIMIT).await?;
    let sources = usize::from(request.files.is_some())
        + usize::from(request.rev.is_some())
        + usize::from(request.head == Some(true));
    if sources != 1 {
        return Err(Refusal::invalid("name exactly one of Files, Rev and Head"));
    }
    let index = app.control.state().index();
    let mut response = json(&app.control.plan(request).await?, ask.pretty())?;
    fresh(&app, &mut response, index);
    Ok(response)
}

pub(super) async fn check(State(app): State<App>, ask: Ask, body: Body) -> Answer {
    let request: CheckRequest = read_json(body, BODY_LIMIT).await?;
    app.control.check_now(request.repo).await?;
    answer(&app, &ask, app.control.state().index())
}

pub(super) async fn approve(State(app): State<App>, ask: Ask, body: Body) -> Answer {
    let request: ApproveRequest = read_json(body, BODY_LIMIT).await?;
    let index = app.control.approve(request.repo, request.jobs).await?;
    answer(&app, &ask, index)
}

fn answer(app: &App, ask: &Ask, index: u64) -> Answer {
    let mut response = json(&ChangeResponse { index }, ask.pretty())?;
    fresh(app, &mut response, index);
    Ok(response)
}
