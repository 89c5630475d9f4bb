//! Jobs.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use evaluator::diff_jobs;
use model::JobId;
use model::wire::{JobDispatchRequest, JobVersions};

use super::list::list as rows;
use super::read::{fresh, read};
use super::shape;
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::{BODY_LIMIT, json, read_json};

type Answer = Result<Response, Refusal>;

fn missing() -> Refusal {
    Refusal::not_found("job not found")
}

/// Index of the last change of a job, its runs or any of their allocations, which its status and summary follow from.
fn activity(state: &state::State, id: &JobId) -> u64 {
    let job = state.job(id).map(|record| record.modify_index);
    let allocs = state.allocs_of_job(id).map(|alloc| alloc.modify_index).max();
    // Runs come and go; of all that changes there is one index that never goes back.
    if state.children_of_job(id).next().is_some() {
        return state.jobs_index().max(state.allocs_index());
    }
    job.max(allocs).unwrap_or_else(|| state.jobs_index())
}

pub(super) async fn list(State(app): State<App>, ask: Ask) -> Answer {
    let meta = ask.switch("meta")?;
    let index = |state: &state::State| state.jobs_index().max(state.allocs_index());
    rows(&app, &ask, index, |state, selection| {
        state
            .jobs()
            .filter(|record| {
                let namespace = record.job().map_or("", |job| job.namespace.as_str());
                selection.wants(record.id.as_str(), namespace)
            })
            .map(|record| (record.id.to_string(), shape::job_stub(state, record, meta)))
            .collect()
    })
    .await
}

pub(super) async fn one(State(app): State<App>, Path(id): Path<String>, ask: Ask) -> Answer {
    let id = JobId::from(id);
    read(
        &app,
        &ask,
        |state| activity(state, &id),
        |state| {
            let record = state.job(&id).ok_or_else(missing)?;
            let version = record.current().ok_or_else(missing)?;
            let mut view = shape::job_view(state, record, version);
            view.next_periodic_launch = server::next_launch(record, app.control.now());
            Ok(view)
        },
    )
    .await
}

pub(super) async fn allocations(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
) -> Answer {
    let id = JobId::from(id);
    read(
        &app,
        &ask,
        |state| activity(state, &id),
        |state| {
            Ok(state
                .allocs_of_job(&id)
                .map(|alloc| shape::alloc_stub(state, alloc, false))
                .collect::<Vec<_>>())
        },
    )
    .await
}

pub(super) async fn evaluations(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
) -> Answer {
    let id = JobId::from(id);
    let index = |state: &state::State| {
        let newest = state.evaluations_of_job(&id).map(|eval| eval.modify_index).max();
        newest.unwrap_or_else(|| state.evaluations_index())
    };
    read(&app, &ask, index, |state| {
        Ok(state
            .evaluations_of_job(&id)
            .map(|eval| shape::evaluation(state, eval))
            .collect::<Vec<_>>())
    })
    .await
}

/// Starts a run of a parameterized job with what the request hands over.
pub(super) async fn dispatch(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
    body: Body,
) -> Answer {
    let request: JobDispatchRequest = read_json(body, BODY_LIMIT).await?;
    let token = ask.get("idempotency_token").unwrap_or_default().to_owned();
    let answer = app.control.dispatch(id.into(), request, token).await?;
    let mut response = json(&answer, ask.pretty())?;
    fresh(&app, &mut response, answer.index);
    Ok(response)
}

/// Starts a periodic job out of turn.
pub(super) async fn force(State(app): State<App>, Path(id): Path<String>, ask: Ask) -> Answer {
    let answer = app.control.force_periodic(id.into()).await?;
    let mut response = json(&answer, ask.pretty())?;
    fresh(&app, &mut response, answer.index);
    Ok(response)
}

fn deployments_index(state: &state::State, id: &JobId) -> u64 {
    let newest = state.deployments_of_job(id).map(|deployment| deployment.modify_index).max();
    newest.unwrap_or_else(|| state.deployments_index())
}

pub(super) async fn deployments(
    State(app): State<App>,
    Path(id): Path<String>,
    ask: Ask,
) -> Answer {
    let id = JobId::from(id);
    read(
        &app,
        &ask,
        |state| deployments_index(state, &id),
        |state| {
            Ok(state
                .deployments_of_job(&id)
                .map(|deployment| shape::deployment(state, deployment))
                .collect::<Vec<_>>())
        },
    )
    .await
}

pub(super) async fn deployment(State(app): State<App>, Path(id): Path<String>, ask: Ask) -> Answer {
    let id = JobId::from(id);
    read(
        &app,
        &ask,
        |state| deployments_index(state, &id),
        |state| {
            Ok(state.latest_deployment(&id).map(|deployment| shape::deployment(state, deployment)))
        },
    )
    .await
}

pub(super) async fn summary(State(app): State<App>, Path(id): Path<String>, ask: Ask) -> Answer {
    let id = JobId::from(id);
    read(
        &app,
        &ask,
        |state| activity(state, &id),
        |state| state.job(&id).map(|record| shape::job_summary(state, record)).ok_or_else(missing),
    )
    .await
}

pub(super) async fn versions(State(app): State<App>, Path(id): Path<String>, ask: Ask) -> Answer {
    let id = JobId::from(id);
    let diffs = ask.switch("diffs")?;
    let index = |state: &state::State| {
        state.job(&id).map_or_else(|| state.jobs_index(), |record| record.modify_index)
    };
    read(&app, &ask, index, |state| {
        let record = state.job(&id).ok_or_else(|| Refusal::not_found("job versions not found"))?;
        let newest_first: Vec<_> = record.versions.iter().rev().collect();
        Ok(JobVersions {
            versions: newest_first
                .iter()
                .map(|version| shape::job_view(state, record, version))
                .collect(),
            diffs: diffs.then(|| {
                newest_first
                    .windows(2)
                    .map(|pair| diff_jobs(Some(&pair[1].job), Some(&pair[0].job)))
                    .collect()
            }),
        })
    })
    .await
}
