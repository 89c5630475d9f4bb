//! Evaluations.

use model::wire::{AllocMetric, EvaluationView, PlanAnnotations};
use model::{Evaluation, PlacementFailure};
use state::State;

use super::job::namespace;

pub(crate) fn evaluation(state: &State, eval: &Evaluation) -> EvaluationView {
    EvaluationView {
        id: eval.id,
        namespace: namespace(state, &eval.job).to_owned(),
        priority: eval.priority,
        kind: eval.kind,
        triggered_by: eval.trigger,
        job_id: eval.job.clone(),
        job_version: eval.job_version,
        node_id: String::new(),
        deployment_id: eval.deployment,
        status: eval.status,
        status_description: eval.description.clone(),
        failed_tg_allocs: eval
            .failures
            .iter()
            .map(|(group, failure)| (group.clone(), failure_metric(failure)))
            .collect(),
        queued_allocations: eval
            .updates
            .keys()
            .chain(eval.failures.keys())
            .map(|group| {
                let failure = eval.failures.get(group);
                (group.clone(), failure.map_or(0, |failure| failure.unplaced))
            })
            .collect(),
        plan_annotations: PlanAnnotations { desired_tg_updates: eval.updates.clone() },
        snapshot_index: eval.create_index.saturating_sub(1),
        create_index: eval.create_index,
        modify_index: eval.modify_index,
        create_time: eval.created_at,
        modify_time: eval.created_at,
    }
}

pub(super) fn failure_metric(failure: &PlacementFailure) -> AllocMetric {
    AllocMetric {
        nodes_evaluated: failure.nodes_evaluated,
        nodes_filtered: failure.filtered.values().sum(),
        nodes_exhausted: failure.exhausted.values().sum(),
        constraint_filtered: failure.filtered.clone(),
        dimension_exhausted: failure.exhausted.clone(),
        coalesced_failures: failure.unplaced.saturating_sub(1),
        ..AllocMetric::default()
    }
}
