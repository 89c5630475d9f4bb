//! Deployments: their standing and their counters.

use std::sync::Arc;

use model::{Allocation, Deployment, DeploymentId, DeploymentStatus, Timestamp};

use crate::command::DeploymentChange;
use crate::event::{Event, Rejection};
use crate::table::State;

impl State {
    pub(super) fn create_deployment(&mut self, deployment: &Deployment, events: &mut Vec<Event>) {
        if self.deployments.contains_key(&deployment.id) {
            return;
        }
        let mut deployment = deployment.clone();
        deployment.create_index = self.index;
        self.deployments_by_job
            .entry(deployment.job.clone())
            .or_default()
            .insert((self.index, deployment.id));
        self.put_deployment(deployment, events);
    }

    pub(super) fn change_deployment(
        &mut self,
        change: &DeploymentChange,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) {
        if !change.promote.is_empty() {
            self.promote_groups(change.id, &change.promote, at, events);
        }
        let Some(deployment) = self.deployments.get(&change.id) else { return };
        let mut deployment = Deployment::clone(deployment);
        if let Some(status) = change.status.filter(|_| deployment.status.is_active()) {
            deployment.status = status;
            if !status.is_active() {
                deployment.finished_at = at;
            }
        }
        if let Some(description) = &change.description {
            deployment.description.clone_from(description);
        }
        self.put_deployment(deployment, events);
    }

    pub(super) fn set_deployment_status(
        &mut self,
        id: DeploymentId,
        status: DeploymentStatus,
        description: &str,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) {
        let change = DeploymentChange {
            id,
            status: Some(status),
            description: Some(description.to_owned()),
            promote: Vec::new(),
        };
        self.change_deployment(&change, at, events);
    }

    pub(super) fn promote(
        &mut self,
        id: DeploymentId,
        groups: &[String],
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let deployment = self.active_deployment(id)?;
        let mut chosen = Vec::new();
        for (name, group) in &deployment.groups {
            if group.desired_canaries == 0
                || group.promoted
                || !(groups.is_empty() || groups.contains(name))
            {
                continue;
            }
            let healthy = group
                .placed_canaries
                .iter()
                .filter(|id| self.allocs.get(*id).is_some_and(|alloc| alloc.is_healthy()))
                .count();
            if healthy < group.desired_canaries as usize {
                return Err(Rejection::Conflict(format!(
                    "Task group \"{name}\" has {healthy}/{} healthy allocations",
                    group.desired_canaries
                )));
            }
            chosen.push(name.clone());
        }
        if chosen.is_empty() {
            return Err(Rejection::Conflict("no canaries to promote".to_owned()));
        }
        self.promote_groups(id, &chosen, at, events);
        Ok(())
    }

    pub(super) fn fail_deployment(
        &mut self,
        id: DeploymentId,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        self.active_deployment(id)?;
        self.set_deployment_status(
            id,
            DeploymentStatus::Failed,
            "Deployment marked as failed",
            at,
            events,
        );
        Ok(())
    }

    fn active_deployment(&self, id: DeploymentId) -> Result<&Arc<Deployment>, Rejection> {
        let deployment = self
            .deployments
            .get(&id)
            .ok_or_else(|| Rejection::NotFound { what: "deployment", id: id.to_string() })?;
        if deployment.status.is_active() {
            Ok(deployment)
        } else {
            Err(Rejection::Conflict(format!(
                "deployment `{}` is over: it is {}",
                id.short(),
                deployment.status.as_str()
            )))
        }
    }

    fn promote_groups(
        &mut self,
        id: DeploymentId,
        groups: &[String],
        at: Timestamp,
        events: &mut Vec<Event>,
    ) {
        let Some(deployment) = self.deployments.get(&id) else { return };
        let mut deployment = Deployment::clone(deployment);
        let mut canaries = Vec::new();
        for name in groups {
            if let Some(group) = deployment.groups.get_mut(name) {
                group.promoted = true;
                group.require_progress_by = Some(at + group.progress_deadline);
                canaries.extend(group.placed_canaries.iter().copied());
            }
        }
        deployment.description = "Deployment is running".to_owned();
        self.put_deployment(deployment, events);
        for id in canaries {
            if let Some(alloc) = self.allocs.get(&id).filter(|alloc| alloc.canary) {
                let mut alloc = Allocation::clone(alloc);
                alloc.canary = false;
                alloc.modified_at = at;
                self.put_alloc(alloc, false, events);
            }
        }
    }

    /// Counts a deployment's allocations anew. Counting beats keeping books: it cannot drift. One that is over keeps what
    /// it came to: that a later version replaced its allocations does not make it less of a success.
    pub(super) fn count_deployment(
        &mut self,
        id: DeploymentId,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) {
        let Some(before) = self.deployments.get(&id).filter(|known| known.status.is_active())
        else {
            return;
        };
        let mut deployment = Deployment::clone(before);
        for (name, group) in &mut deployment.groups {
            let healthy_before = group.healthy;
            (group.placed, group.healthy, group.unhealthy) = (0, 0, 0);
            group.placed_canaries.clear();
            let mut newest_verdict = Timestamp::ZERO;
            for alloc in self.allocs_of_job(&deployment.job) {
                if alloc.deployment != Some(id) || *alloc.group != **name {
                    continue;
                }
                group.placed += 1;
                if alloc.canary {
                    group.placed_canaries.push(alloc.id);
                }
                // One that was healthy and then stopped or failed no longer counts.
                if let Some(health) =
                    alloc.health.as_ref().filter(|health| health.healthy && !alloc.terminal())
                {
                    group.healthy += 1;
                    newest_verdict = newest_verdict.max(health.at);
                }
                group.unhealthy += u32::from(alloc.is_unhealthy());
            }
            if group.promoted {
                group.placed_canaries.clone_from(
                    &before
                        .groups
                        .get(name)
                        .map(|group| group.placed_canaries.clone())
                        .unwrap_or_default(),
                );
            }
            if group.placed > 0 && group.require_progress_by.is_none() {
                group.require_progress_by = Some(at + group.progress_deadline);
            }
            if group.healthy > healthy_before {
                group.require_progress_by = Some(newest_verdict + group.progress_deadline);
            }
        }
        if deployment != **before {
            self.put_deployment(deployment, events);
        }
    }

    fn put_deployment(&mut self, mut deployment: Deployment, events: &mut Vec<Event>) {
        deployment.modify_index = self.index;
        events.push(Event::Deployment { id: deployment.id, job: deployment.job.clone() });
        self.indexes.deployments = self.index;
        self.deployments.insert(deployment.id, Arc::new(deployment));
    }
}
