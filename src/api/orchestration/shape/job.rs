//! Jobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::wire::{GroupSummary, JobListStub, JobSummary, JobView, SummaryChildren};
use model::{ClientStatus, JobId, JobStatus, JobVersion};
use state::{JobRecord, State};

/// A job's namespace; `default` for a job that is gone.
pub(crate) fn namespace<'a>(state: &'a State, job: &JobId) -> &'a str {
    let found = state.job(job).and_then(|record| record.job());
    found.map(|job| job.namespace.as_str()).filter(|name| !name.is_empty()).unwrap_or("default")
}

pub(crate) fn job_stub(state: &State, record: &JobRecord, meta: bool) -> JobListStub {
    let version = record.current().cloned().unwrap_or_default();
    let job = &version.job;
    JobListStub {
        id: record.id.clone(),
        parent_id: parent(&version),
        name: job.name.clone(),
        namespace: namespace(state, &record.id).to_owned(),
        datacenters: job.datacenters.clone(),
        node_pool: job.node_pool.clone(),
        kind: job.kind,
        priority: job.priority,
        stop: record.stopped,
        status: state.job_status(&record.id),
        status_description: status_description(state, record),
        periodic: job.periodic.is_some(),
        parameterized_job: job.parameterized_job.is_some() && version.child.is_none(),
        job_summary: job_summary(state, record),
        version: version.version,
        meta: meta.then(|| job.meta.clone()),
        origin: Arc::clone(&version.origin),
        create_index: record.create_index,
        modify_index: record.modify_index,
        job_modify_index: record.job_modify_index,
        submit_time: record.submitted_at,
    }
}

/// The job that a version is a run of.
fn parent(version: &JobVersion) -> String {
    version.child.as_ref().map(|child| child.parent.to_string()).unwrap_or_default()
}

fn status_description(state: &State, record: &JobRecord) -> String {
    let waits = evaluator::waits(state, record);
    if waits.is_empty() {
        return record.stop_reason.clone();
    }
    waits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Its runs by where they stand. What a blocked or dead one has been told is in its own summary.
fn children(state: &State, record: &JobRecord) -> SummaryChildren {
    let mut counts = SummaryChildren::default();
    for child in state.children_of_job(&record.id) {
        let count = match state.job_status(&child.id) {
            JobStatus::Pending => &mut counts.pending,
            JobStatus::Running => &mut counts.running,
            JobStatus::Dead => &mut counts.dead,
        };
        *count += 1;
    }
    counts
}

pub(crate) fn job_summary(state: &State, record: &JobRecord) -> JobSummary {
    let groups = record.job().map(|job| job.task_groups.as_slice()).unwrap_or_default();
    let mut summary: BTreeMap<String, GroupSummary> =
        groups.iter().map(|group| (group.name.clone(), GroupSummary::default())).collect();
    let mut modify_index = record.modify_index;
    for alloc in state.allocs_of_job(&record.id) {
        modify_index = modify_index.max(alloc.modify_index);
        let group = summary.entry(alloc.group.to_string()).or_default();
        let count = match alloc.client {
            ClientStatus::Pending => &mut group.starting,
            ClientStatus::Running => &mut group.running,
            ClientStatus::Complete => &mut group.complete,
            ClientStatus::Failed => &mut group.failed,
            ClientStatus::Lost => &mut group.lost,
            ClientStatus::Unknown => &mut group.unknown,
        };
        *count += 1;
    }
    // What the newest pass could not place still waits, unless the job is to stop.
    if let Some(eval) = state.evaluations_of_job(&record.id).next().filter(|_| !record.stopped) {
        for (name, failure) in &eval.failures {
            summary.entry(name.clone()).or_default().queued = failure.unplaced;
        }
    }
    JobSummary {
        job_id: record.id.clone(),
        namespace: namespace(state, &record.id).to_owned(),
        summary,
        children: children(state, record),
        create_index: record.create_index,
        modify_index,
    }
}

/// A version of a job for whoever asks. What is in it for its tasks alone stays with the servers and the node.
pub(crate) fn job_view(state: &State, record: &JobRecord, version: &JobVersion) -> JobView {
    JobView {
        job: Arc::new(model::secret::without_secrets(&version.job)),
        stop: record.stopped,
        status: state.job_status(&record.id),
        status_description: status_description(state, record),
        version: version.version,
        stable: version.stable,
        reverts_to: version.reverts_to,
        origin: Arc::clone(&version.origin),
        spec_hash: version.hash.clone(),
        submit_time: version.submitted_at,
        create_index: record.create_index,
        modify_index: record.modify_index,
        job_modify_index: record.job_modify_index,
        parent_id: parent(version),
        dispatched: version.child.as_ref().is_some_and(|child| child.dispatched),
        dispatch_idempotency_token: version
            .child
            .as_ref()
            .map(|child| child.idempotency_token.clone())
            .unwrap_or_default(),
        payload: (!version.payload.is_empty()).then(|| version.payload.clone()),
        next_periodic_launch: None,
    }
}
