//! A whole job, and a single allocation with what is recorded of how it came to be.

use std::sync::Arc;

use model::wire::{
    AllocationExplained, DeploymentBrief, EvaluationBrief, JobExplanation, NodeVerdict,
};
use model::{AllocId, Allocation, Deployment, Evaluation, JobId, Timestamp};
use state::{JobRecord, State};

use super::{MOST, Question, explain, line, of_group};
use crate::place::Fleet;
use crate::rollout::current_deployment;

/// A job and its groups, or the one of this name; `None` for a job that is not known.
pub fn explain_job(
    state: &State,
    job: &JobId,
    group: Option<&str>,
    now: Timestamp,
) -> Option<JobExplanation> {
    let record = state.job(job)?;
    let version = record.current()?;
    Some(JobExplanation {
        job_id: job.clone(),
        job_version: version.version,
        kind: version.job.kind,
        priority: version.job.priority,
        commit: version.origin.commit.clone(),
        path: version.origin.path.clone(),
        stopped: stopped(record),
        deployment: current_deployment(state, record).map(deployment_brief),
        evaluation: state.evaluations_of_job(job).next().map(evaluation_brief),
        groups: explain(state, job, group, now),
    })
}

/// An allocation, then and now; `None` for one that is not known.
pub fn explain_allocation(
    state: &State,
    id: AllocId,
    now: Timestamp,
) -> Option<AllocationExplained> {
    let alloc = state.alloc(id)?;
    let record = state.job(&alloc.job);
    let mut group = record.and_then(|record| {
        let version = record.current()?;
        let group = version.job.group(&alloc.group)?;
        let question = Question { state, record, version, now, only: Some(id), rows: MOST };
        Some(of_group(&question, group, &mut Fleet::of(state), &mut 1))
    });
    // It stands at the top, and need not be said twice.
    let own = group.as_mut().and_then(|group| group.allocations.pop());
    let explanation = alloc.explanation.as_deref();
    let filtered = explanation.map(|explanation| Arc::clone(&explanation.filtered));
    let filtered = filtered.unwrap_or_default();
    Some(AllocationExplained {
        allocation: own.unwrap_or_else(|| line(alloc)),
        job_id: alloc.job.clone(),
        job_version: alloc.job_version,
        commit: alloc.origin.commit.clone(),
        path: alloc.origin.path.clone(),
        evicted_for: alloc.evicted_for.as_deref().cloned(),
        previous: alloc.previous,
        next: alloc.next,
        evaluation: state.evaluation(alloc.eval).map(evaluation_brief),
        deployment: alloc.deployment.and_then(|id| state.deployment(id)).map(deployment_brief),
        nodes_evaluated: filtered.nodes_evaluated,
        filtered: filtered.filtered.clone(),
        exhausted: filtered.exhausted.clone(),
        scores: scores(state, alloc),
        group,
    })
}

fn scores(state: &State, alloc: &Allocation) -> Vec<NodeVerdict> {
    let explanation = alloc.explanation.as_deref();
    let scores = explanation.into_iter().flat_map(|explanation| explanation.all_scores());
    let named = scores.map(|score| NodeVerdict {
        node: score.node,
        name: match state.node(score.node) {
            Some(node) => node.name.clone(),
            None if score.node == alloc.node => alloc.node_name.to_string(),
            None => String::new(),
        },
        score: Some(score.clone()),
        ..NodeVerdict::default()
    });
    named.collect()
}

fn stopped(record: &JobRecord) -> String {
    if record.stopped {
        return match record.stop_reason.as_str() {
            "" => "the job is stopped".to_owned(),
            reason => format!("the job is stopped: {reason}"),
        };
    }
    match record.current() {
        Some(version) if !version.starts_by_itself() => {
            "each run is a job of its own, at its time or when it is dispatched".to_owned()
        }
        _ => String::new(),
    }
}

fn deployment_brief(deployment: &Arc<Deployment>) -> DeploymentBrief {
    DeploymentBrief {
        id: deployment.id,
        status: deployment.status,
        description: deployment.description.clone(),
    }
}

fn evaluation_brief(evaluation: &Arc<Evaluation>) -> EvaluationBrief {
    EvaluationBrief {
        id: evaluation.id,
        triggered_by: evaluation.trigger,
        status: evaluation.status,
        description: evaluation.description.clone(),
        created_at: evaluation.created_at,
    }
}
