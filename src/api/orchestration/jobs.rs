//! Jobs.

use axum::extract::{Path, State};
use axum::response::Response;
use evaluator::diff_jobs;
use model::JobId;
use model::wire::JobVersions;

use super::list::list as rows;
use super::read::read;
use super::shape;
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;

type Answer = Result<Response, Refusal>;

fn missing() -> Refusal {
    Refusal::not_found("job not found")
}

/// Index of the last change of a job or any of its allocations, which its status follows from.
fn activity(state: &state::State, id: &JobId) -> u64 {
    let job = state.job(id).map(|record| record.modify_index);
    let allocs = state.allocs_of_job(id).map(|alloc| alloc.modify_index).max();
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
            record
                .current()
                .map(|version| shape::job_view(state, record, version))
                .ok_or_else(missing)
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
