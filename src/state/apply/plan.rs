//! What the evaluator decided.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Allocation, ClientStatus, DeploymentId, DeploymentStatus, DesiredStatus, JobId};

use crate::command::{Plan, Revert};
use crate::event::{Event, Rejection};
use crate::table::State;

impl State {
    /// Applies a plan whole or not at all. Each plan must have seen the effects of all earlier plans, so that two
    /// evaluators can never give away the same room twice.
    pub(super) fn apply_plan(
        &mut self,
        plan: &Plan,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        if plan.basis < self.last_plan {
            return Err(Rejection::StalePlan { basis: plan.basis, newer: self.last_plan });
        }
        // A job that changed meanwhile may be stopped or of another version: nothing of what it was may start. Nor may
        // anything stop for what it was: a job that was removed and is back at once goes on.
        let jobs = self.touched(plan).filter_map(|job| Some(self.jobs.get(job)?.job_modify_index));
        // Nor does a plan know better than an operator who has ended a deployment.
        let deployments = plan
            .deployment_changes
            .iter()
            .filter(|change| change.status.is_some())
            .filter_map(|change| self.deployments.get(&change.id))
            .filter(|deployment| !deployment.status.is_active())
            .map(|deployment| deployment.modify_index);
        // Nor does an update stop what serves by now as if it did not (law 4).
        let serving = plan
            .stop
            .iter()
            .filter(|stop| stop.idle)
            .filter_map(|stop| self.allocs.get(&stop.alloc))
            .filter(|alloc| serves(alloc))
            .map(|alloc| alloc.modify_index);
        let newest = jobs.chain(deployments).chain(serving).max();
        if let Some(newer) = newest.filter(|newer| *newer > plan.basis) {
            return Err(Rejection::StalePlan { basis: plan.basis, newer });
        }
        self.last_plan = self.index;
        let counted = self.counted(plan);
        for deployment in &plan.deployments {
            self.create_deployment(deployment, events);
        }
        for stop in &plan.stop {
            let Ok(alloc) = self.alloc_or_reject(stop.alloc) else { continue };
            let mut alloc = Allocation::clone(alloc);
            if alloc.desired == DesiredStatus::Run {
                alloc.desired = match &stop.evicted_for {
                    None => DesiredStatus::Stop,
                    Some(_) => DesiredStatus::Evict,
                };
                alloc.evicted_for = stop.evicted_for.clone().map(Box::new);
                alloc.desired_description = stop.description.as_str().into();
            }
            if let Some(client) = stop.client
                && !alloc.client.is_terminal()
            {
                alloc.client = client;
                alloc.client_description = stop.description.as_str().into();
            }
            alloc.next = stop.next.or(alloc.next);
            alloc.modified_at = plan.at;
            self.put_alloc(alloc, false, events);
        }
        for update in &plan.update {
            let Ok(alloc) = self.alloc_or_reject(update.alloc) else { continue };
            let mut alloc = Allocation::clone(alloc);
            let Some(version) = self.job_version(&alloc.job, update.job_version) else { continue };
            alloc.origin = Arc::clone(&version.origin);
            alloc.job_version = update.job_version;
            alloc.eval = update.eval;
            if alloc.deployment != update.deployment {
                alloc.deployment = update.deployment;
                alloc.health = None;
                alloc.canary = false;
            }
            alloc.modified_at = plan.at;
            self.put_alloc(alloc, false, events);
        }
        for gone in &plan.disconnect {
            let Ok(alloc) = self.alloc_or_reject(gone.alloc) else { continue };
            if alloc.client.is_terminal() {
                continue;
            }
            let mut alloc = Allocation::clone(alloc);
            alloc.client = ClientStatus::Unknown;
            alloc.client_description = "its node cannot be reached".into();
            alloc.disconnected_at.get_or_insert(gone.since);
            alloc.modified_at = plan.at;
            self.put_alloc(alloc, false, events);
        }
        for id in &plan.reconnect {
            let Ok(alloc) = self.alloc_or_reject(*id) else { continue };
            // It is back once its node has said what became of it.
            if alloc.client == ClientStatus::Unknown {
                continue;
            }
            let mut alloc = Allocation::clone(alloc);
            alloc.disconnected_at = None;
            alloc.modified_at = plan.at;
            self.put_alloc(alloc, false, events);
        }
        let mut beside: Option<Arc<Allocation>> = None;
        for alloc in &plan.place {
            if self.allocs.contains_key(&alloc.id) {
                continue;
            }
            let mut alloc = alloc.clone();
            let like_it = beside.as_deref().filter(|other| other.job == alloc.job);
            self.share(&mut alloc, like_it);
            let id = alloc.id;
            self.put_alloc(alloc, false, events);
            beside = self.allocs.get(&id).cloned();
        }
        for deployment in counted {
            self.count_deployment(deployment, plan.at, events);
        }
        for change in &plan.deployment_changes {
            self.change_deployment(change, plan.at, events);
        }
        for (job, version) in &plan.started {
            self.mark_started(job, *version, events);
        }
        for (job, version) in &plan.stable {
            self.mark_stable(job, *version, events);
        }
        self.finish_children(&plan.finished, plan.at, events);
        for revert in &plan.reverts {
            self.revert_job(revert, plan, events);
        }
        for evaluation in &plan.evaluations {
            self.put_evaluation(evaluation.clone(), events);
        }
        Ok(())
    }

    /// The deployments whose allocations a plan changes.
    fn counted(&self, plan: &Plan) -> BTreeSet<DeploymentId> {
        let stopped = plan.stop.iter().map(|stop| stop.alloc);
        let left = stopped.chain(plan.update.iter().map(|update| update.alloc));
        left.filter_map(|id| self.allocs.get(&id)?.deployment)
            .chain(plan.place.iter().filter_map(|alloc| alloc.deployment))
            .chain(plan.update.iter().filter_map(|update| update.deployment))
            .collect()
    }

    fn revert_job(&mut self, revert: &Revert, plan: &Plan, events: &mut Vec<Event>) {
        let Some(record) = self.jobs.get(&revert.job) else { return };
        let current = record.current().map(|version| version.version);
        let Some(target) = record.version(revert.to).cloned() else { return };
        if record.stopped || current != Some(revert.from) {
            return;
        }
        self.submit_job(&target.job, Arc::clone(&target.origin), Some(revert.to), plan.at, events);
        // What waited for the version that failed waits no more.
        let stale: Vec<_> = self
            .deployments_of_job(&revert.job)
            .filter(|deployment| deployment.status == DeploymentStatus::Paused)
            .map(|deployment| deployment.id)
            .collect();
        for id in stale {
            self.set_deployment_status(
                id,
                DeploymentStatus::Cancelled,
                "Cancelled because the job went back to an earlier version",
                plan.at,
                events,
            );
        }
    }

    /// The jobs of which something starts, stops, changes or goes back.
    fn touched<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a JobId> {
        let placed = plan.place.iter().map(|alloc| &alloc.job);
        let deployed = plan.deployments.iter().map(|deployment| &deployment.job);
        let stopped = plan.stop.iter().map(|stop| stop.alloc);
        let known = stopped.chain(plan.update.iter().map(|update| update.alloc));
        let known = known.filter_map(|id| Some(&self.allocs.get(&id)?.job));
        placed.chain(deployed).chain(known).chain(plan.reverts.iter().map(|revert| &revert.job))
    }
}

/// Whether it serves by what its node said last.
fn serves(alloc: &Allocation) -> bool {
    let is_well =
        alloc.health.as_ref().map_or_else(|| alloc.deployment.is_none(), |health| health.healthy);
    alloc.client == ClientStatus::Running && is_well
}

#[cfg(test)]
mod tests {
    use model::{AllocId, Job, Timestamp, seeded_uuid};

    use super::*;
    use crate::{Command, FileOutcome, JobSubmission, StopAlloc, TakeRevision};

    #[test]
    fn nothing_stops_for_what_a_job_was() {
        let mut state = State::default();
        let id = AllocId::new(seeded_uuid(&[b"a"]));
        let take = |state: &mut State, commit: &str, file: FileOutcome| {
            let taken = TakeRevision {
                expected_head: state.repo("").and_then(|record| record.head.clone()),
                commit: commit.into(),
                files: [("f".to_owned(), file)].into(),
                at: Timestamp::from_secs(1),
                ..TakeRevision::default()
            };
            let taken = Command::TakeRevision(Box::new(taken));
            assert_eq!(state.apply(state.index() + 1, &taken).rejection, None);
        };
        let job = || FileOutcome::Job {
            blob: "1".into(),
            submission: JobSubmission { job: Arc::new(Job { id: "a".into(), ..Job::default() }) },
            problems: Vec::new(),
        };
        take(&mut state, "1", job());
        let alloc = Allocation { id, job: "a".into(), ..Allocation::default() };
        let plan = Plan { basis: state.index(), place: vec![alloc], ..Plan::default() };
        state.apply(state.index() + 1, &Command::ApplyPlan(Box::new(plan)));
        take(&mut state, "2", FileOutcome::Removed);
        let stop = vec![StopAlloc { alloc: id, ..StopAlloc::default() }];
        let plan = Plan { basis: state.index(), stop, ..Plan::default() };
        take(&mut state, "3", job());
        let late = state.apply(state.index() + 1, &Command::ApplyPlan(Box::new(plan)));
        assert!(matches!(late.rejection, Some(Rejection::StalePlan { .. })), "{late:?}");
        assert_eq!(state.alloc(id).map(|alloc| alloc.desired), Some(DesiredStatus::Run));
    }
}
