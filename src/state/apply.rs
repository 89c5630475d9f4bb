//! `State × Command → State' × events`.

mod alloc;
mod child;
mod cluster;
mod deployment;
mod drain;
mod garbage;
mod job;
mod node;
mod plan;
mod revision;
mod scheduler;

use std::sync::Arc;

use model::{AllocId, Allocation, Evaluation};

pub use revision::renamed_path;

use crate::command::Command;
use crate::event::{Applied, Event, Rejection};
use crate::table::State;

impl State {
    /// Applies the command that the log holds at `index`. Indexes must rise; the same commands in the same order give
    /// the same state everywhere. Never fails: see [`Applied::rejection`].
    pub fn apply(&mut self, index: u64, command: &Command) -> Applied {
        self.index = index;
        let mut events = Vec::new();
        let result = match command {
            Command::RegisterNode { node, at } => self.register_node(node, *at, &mut events),
            Command::SetNodeStatus { node, status, at } => {
                self.set_node_status(*node, *status, *at, &mut events)
            }
            Command::SetNodeStatuses { nodes, at, reason, follows } => {
                self.set_node_statuses(nodes, *follows, *at, reason, &mut events)
            }
            Command::SetEligibility { node, eligibility, at } => {
                self.set_eligibility(*node, *eligibility, *at, &mut events)
            }
            Command::SetDrain { node, drain, mark_eligible, at } => {
                self.set_drain(*node, drain.as_ref(), *mark_eligible, *at, &mut events)
            }
            Command::FinishDrain { node, started_at, forced, at } => {
                self.finish_drain(*node, *started_at, *forced, *at, &mut events)
            }
            Command::MarkMigrate { allocs, at, reason } => {
                self.mark_migrate(allocs, *at, reason, &mut events);
                Ok(())
            }
            Command::UnmarkMigrate { allocs, at } => {
                self.unmark_migrate(allocs, *at, &mut events);
                Ok(())
            }
            Command::RemoveNode { node, until, at } => {
                self.remove_node(*node, *until, *at, &mut events)
            }
            Command::FoundCluster { id, ca_certificate, at } => {
                self.found_cluster(id, ca_certificate, *at, &mut events)
            }
            Command::PutJoinToken { id, secret_hash, expires_at, at } => {
                self.put_join_token(id, *secret_hash, *expires_at, *at, &mut events)
            }
            Command::RevokeJoinToken { id, at: _ } => self.revoke_join_token(id, &mut events),
            Command::TakeRevision(revision) => self.take_revision(revision, &mut events),
            Command::ApplyPlan(plan) => self.apply_plan(plan, &mut events),
            Command::UpdateAllocs { updates, at } => self.update_allocs(updates, *at, &mut events),
            Command::Promote { deployment, groups, at } => {
                self.promote(*deployment, groups, *at, &mut events)
            }
            Command::FailDeployment { deployment, at } => {
                self.fail_deployment(*deployment, *at, &mut events)
            }
            Command::ApproveRemovals { repo, jobs, at } => {
                self.approve_removals(repo, jobs, *at, &mut events)
            }
            Command::LaunchPeriodic(launch) => self.launch_periodic(launch, &mut events),
            Command::SkipPeriodic(skipped) => self.skip_periodic(skipped, &mut events),
            Command::DispatchJob(dispatch) => self.dispatch_job(dispatch, &mut events),
            Command::SetSchedulerConfig { config, if_index } => {
                self.set_scheduler_config(config, *if_index, &mut events)
            }
            Command::CollectGarbage(garbage) => self.collect_garbage(garbage, &mut events),
        };
        Applied { index, events, rejection: result.err() }
    }

    pub(crate) fn put_alloc(
        &mut self,
        mut alloc: Allocation,
        evaluate: bool,
        events: &mut Vec<Event>,
    ) {
        alloc.modify_index = self.index;
        if alloc.create_index == 0 {
            alloc.create_index = self.index;
            self.allocs_by_job.entry(alloc.job.clone()).or_default().insert(alloc.id);
            self.allocs_by_node.entry(alloc.node).or_default().insert(alloc.id);
        }
        events.push(Event::Alloc {
            id: alloc.id,
            node: alloc.node,
            job: alloc.job.clone(),
            evaluate,
        });
        self.indexes.allocs = self.index;
        let (id, alloc) = (alloc.id, Arc::new(alloc));
        let before = self.allocs.insert(id, Arc::clone(&alloc));
        self.shift_load(before.as_deref(), Some(&alloc));
    }

    fn put_evaluation(&mut self, mut evaluation: Evaluation, events: &mut Vec<Event>) {
        evaluation.create_index = self.index;
        evaluation.modify_index = self.index;
        if let Some(known) = self.evaluations.get(&evaluation.id)
            && let Some(ids) = self.evaluations_by_job.get_mut(&known.job)
        {
            ids.remove(&(known.create_index, known.id));
        }
        self.evaluations_by_job
            .entry(evaluation.job.clone())
            .or_default()
            .insert((self.index, evaluation.id));
        self.indexes.evaluations = self.index;
        events.push(Event::Evaluation(evaluation.id));
        self.evaluations.insert(evaluation.id, Arc::new(evaluation));
    }

    fn alloc_or_reject(&self, id: AllocId) -> Result<&Arc<Allocation>, Rejection> {
        self.allocs
            .get(&id)
            .ok_or_else(|| Rejection::NotFound { what: "allocation", id: id.to_string() })
    }
}
