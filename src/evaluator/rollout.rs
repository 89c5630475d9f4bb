//! What a job's deployment does next: it fails, goes back, is promoted or overtaken (nomad.md 2.5).
//!
//! A deployment fails as soon as an allocation of it is unhealthy and nothing is left to hope for: the job asks to go
//! back, or the allocation will not be replaced. Otherwise it fails when it makes no progress in time.

use model::{Allocation, ClientStatus, Deployment, DeploymentGroup, DeploymentStatus, Timestamp};
use state::{DeploymentChange, JobRecord, Revert, State};

use crate::reconcile::reschedule::{self, Next};

/// What changes before anything is reconciled.
#[derive(Default)]
pub(crate) struct Transitions {
    pub(crate) changes: Vec<DeploymentChange>,
    pub(crate) revert: Option<Revert>,
    /// When a deadline passes.
    pub(crate) wake: Option<Timestamp>,
}

/// The deployment of a job's desired version.
pub(crate) fn current_deployment<'a>(
    state: &'a State,
    record: &JobRecord,
) -> Option<&'a std::sync::Arc<Deployment>> {
    let version = record.current()?;
    // A job that was forgotten and came back counts its versions anew: an older deployment is not this version's.
    state.deployments_of_job(&record.id).find(|deployment| {
        deployment.job_version == version.version && deployment.create_index >= version.create_index
    })
}

/// What the job's deployments do next.
pub(crate) fn transitions(state: &State, record: &JobRecord, now: Timestamp) -> Transitions {
    let mut out = Transitions::default();
    let current = current_deployment(state, record);
    for deployment in
        state.deployments_of_job(&record.id).filter(|deployment| deployment.status.is_active())
    {
        let description = if record.stopped {
            "Cancelled because job is stopped"
        } else if current.is_none_or(|current| current.id != deployment.id) {
            "Cancelled due to newer version of job"
        } else {
            continue;
        };
        out.changes.push(DeploymentChange {
            id: deployment.id,
            status: Some(DeploymentStatus::Cancelled),
            description: Some(description.to_owned()),
            promote: Vec::new(),
        });
    }
    let Some(deployment) = current.filter(|_| !record.stopped) else { return out };
    match deployment.status {
        DeploymentStatus::Running => advance(state, record, deployment, now, &mut out),
        // An operator failed it: going back is still to be done.
        DeploymentStatus::Failed => out.revert = way_back(record, deployment).ok().flatten(),
        DeploymentStatus::Paused | DeploymentStatus::Successful | DeploymentStatus::Cancelled => {}
    }
    out
}

fn advance(
    state: &State,
    record: &JobRecord,
    deployment: &Deployment,
    now: Timestamp,
    out: &mut Transitions,
) {
    if let Some(detail) = hopeless(state, record, deployment) {
        fail(record, deployment, "Failed due to unhealthy allocations", &detail, out);
        return;
    }
    let promote = promotable(state, deployment);
    if !promote.is_empty() {
        out.changes.push(DeploymentChange {
            id: deployment.id,
            status: None,
            description: None,
            promote,
        });
        return;
    }
    for (name, group) in &deployment.groups {
        let (healthy, wanted) = progress(state, record, deployment, name, group);
        let Some(deadline) = group.require_progress_by.filter(|_| healthy < wanted) else {
            continue;
        };
        // Zero means that only an unhealthy allocation fails it.
        if group.progress_deadline.is_zero() {
            continue;
        }
        if deadline <= now {
            let detail = format!("group \"{name}\": {healthy} of {wanted} healthy");
            fail(record, deployment, "Failed due to progress deadline", &detail, out);
            return;
        }
        out.wake = Some(out.wake.map_or(deadline, |wake| wake.min(deadline)));
    }
}

/// Healthy allocations of a group, and how many are wanted before it waits for nothing.
fn progress(
    state: &State,
    record: &JobRecord,
    deployment: &Deployment,
    name: &str,
    group: &DeploymentGroup,
) -> (u32, u32) {
    if group.desired_canaries > 0 && !group.promoted {
        return (group.healthy, group.desired_canaries);
    }
    // Nodes come and go: what is wanted on each node is what is there.
    if record.job().is_some_and(|job| job.kind.per_node()) {
        let there = members(state, deployment, name).count() as u32;
        return (group.healthy, group.desired_total.min(there));
    }
    (group.healthy, group.desired_total)
}

/// Allocations of a deployment's group that are still meant to run and are not replaced.
fn members<'a>(
    state: &'a State,
    deployment: &'a Deployment,
    group: &'a str,
) -> impl Iterator<Item = &'a Allocation> {
    state.allocs_of_job(&deployment.job).map(AsRef::as_ref).filter(move |alloc: &&Allocation| {
        alloc.deployment == Some(deployment.id)
            && *alloc.group == *group
            && !alloc.server_terminal()
            && alloc.next.is_none()
    })
}

/// The first allocation that decides that the deployment fails, in words.
fn hopeless(state: &State, record: &JobRecord, deployment: &Deployment) -> Option<String> {
    let version = record.current()?;
    for (name, part) in &deployment.groups {
        let policy =
            version.job.group(name).and_then(|group| reschedule::policy(version.job.kind, group));
        for alloc in members(state, deployment, name) {
            let failed = alloc.client == ClientStatus::Failed;
            if !failed && !alloc.is_unhealthy() {
                continue;
            }
            let given_up = failed && reschedule::next(policy.as_ref(), alloc) == Next::Never;
            if part.auto_revert || part.progress_deadline.is_zero() || given_up {
                return Some(why(alloc));
            }
        }
    }
    None
}

fn why(alloc: &Allocation) -> String {
    let reason = alloc
        .health
        .as_ref()
        .map(|health| health.reason.as_str())
        .filter(|reason| !reason.is_empty())
        .or_else(|| Some(&*alloc.client_description).filter(|words| !words.is_empty()))
        .unwrap_or("it did not become healthy");
    format!(
        "allocation {} of group \"{}\" on node {}: {reason}",
        alloc.id.short(),
        alloc.group,
        alloc.node_name
    )
}

/// Groups to promote without being asked: all canaries of all groups are there and healthy.
fn promotable(state: &State, deployment: &Deployment) -> Vec<String> {
    let waiting: Vec<_> = deployment
        .groups
        .iter()
        .filter(|(_, group)| group.desired_canaries > 0 && !group.promoted)
        .collect();
    let ready = waiting.iter().all(|(_, group)| {
        let healthy = group
            .placed_canaries
            .iter()
            .filter_map(|id| state.alloc(*id))
            .filter(|alloc| alloc.is_healthy() && !alloc.terminal())
            .count();
        group.auto_promote && healthy >= group.desired_canaries as usize
    });
    if ready { waiting.into_iter().map(|(name, _)| name.clone()).collect() } else { Vec::new() }
}

fn fail(
    record: &JobRecord,
    deployment: &Deployment,
    cause: &str,
    detail: &str,
    out: &mut Transitions,
) {
    let consequence = match way_back(record, deployment) {
        Ok(None) => String::new(),
        Ok(Some(revert)) => {
            let words = format!(" - rolling back to job version {}", revert.to);
            out.revert = Some(revert);
            words
        }
        Err(words) => words,
    };
    out.changes.push(DeploymentChange {
        id: deployment.id,
        status: Some(DeploymentStatus::Failed),
        description: Some(format!("{cause}{consequence}: {detail}")),
        promote: Vec::new(),
    });
}

/// The version to go back to, if the job asks for it; or why there is none, in words.
fn way_back(record: &JobRecord, deployment: &Deployment) -> Result<Option<Revert>, String> {
    if !deployment.groups.values().any(|group| group.auto_revert) {
        return Ok(None);
    }
    let Some(current) = record.current() else { return Ok(None) };
    let Some(stable) = record.stable() else {
        return Err(" - no stable job version to auto revert to".to_owned());
    };
    if stable.hash == current.hash {
        return Err(format!(
            " - not rolling back to stable job version {} as current job has same specification",
            stable.version
        ));
    }
    Ok(Some(Revert { job: record.id.clone(), from: current.version, to: stable.version }))
}
