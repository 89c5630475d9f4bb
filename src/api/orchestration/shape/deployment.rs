//! Deployments.

use model::wire::{DeploymentGroupView, DeploymentView};
use model::{Deployment, DeploymentGroup};
use state::State;

use super::job::namespace;

pub(crate) fn deployment(state: &State, deployment: &Deployment) -> DeploymentView {
    let record = state.job(&deployment.job);
    let over = !deployment.finished_at.is_zero();
    DeploymentView {
        id: deployment.id,
        namespace: namespace(state, &deployment.job).to_owned(),
        job_id: deployment.job.clone(),
        job_version: deployment.job_version,
        job_modify_index: record.map_or(0, |record| record.modify_index),
        job_spec_modify_index: record.map_or(0, |record| record.job_modify_index),
        job_create_index: record.map_or(0, |record| record.create_index),
        is_multiregion: false,
        task_groups: deployment
            .groups
            .iter()
            .map(|(name, group)| (name.clone(), self::group(group)))
            .collect(),
        status: deployment.status,
        status_description: deployment.description.clone(),
        eval_priority: record.and_then(|record| record.job()).map_or(50, |job| job.priority),
        commit: deployment.commit.clone(),
        reverts: deployment.reverts,
        create_index: deployment.create_index,
        modify_index: deployment.modify_index,
        create_time: deployment.created_at,
        modify_time: if over { deployment.finished_at } else { deployment.created_at },
        finish_time: deployment.finished_at,
    }
}

fn group(group: &DeploymentGroup) -> DeploymentGroupView {
    DeploymentGroupView {
        auto_revert: group.auto_revert,
        auto_promote: group.auto_promote,
        progress_deadline: group.progress_deadline,
        require_progress_by: group.require_progress_by.unwrap_or_default(),
        promoted: group.promoted,
        placed_canaries: group.placed_canaries.clone(),
        desired_canaries: group.desired_canaries,
        desired_total: group.desired_total,
        placed_allocs: group.placed,
        healthy_allocs: group.healthy,
        unhealthy_allocs: group.unhealthy,
    }
}
