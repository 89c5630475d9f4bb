//! Old records go. Whoever proposes the list decides what is old; what is still in use is kept whatever the list says.

use std::collections::BTreeSet;

use model::{Allocation, JobId};

use crate::TRACKED_VERSIONS;
use crate::command::Garbage;
use crate::event::{Event, Rejection};
use crate::record::JobRecord;
use crate::table::State;

impl State {
    pub(super) fn collect_garbage(
        &mut self,
        garbage: &Garbage,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let mut shorter: BTreeSet<JobId> = BTreeSet::new();
        for id in &garbage.allocs {
            let Some(alloc) =
                self.allocs.get(id).filter(|alloc| alloc.client.is_terminal()).cloned()
            else {
                continue;
            };
            self.forget_alloc(&alloc, events);
            shorter.insert(alloc.job.clone());
        }
        shorter.iter().for_each(|id| self.forget_versions_of(id, events));
        for id in &garbage.evaluations {
            if let Some(evaluation) = self.evaluations.remove(id)
                && let Some(ids) = self.evaluations_by_job.get_mut(&evaluation.job)
            {
                ids.remove(&(evaluation.create_index, *id));
                self.indexes.evaluations = self.index;
            }
        }
        for id in &garbage.deployments {
            let ended = self
                .deployments
                .get(id)
                .filter(|deployment| !deployment.status.is_active())
                .cloned();
            if let Some(deployment) = ended {
                self.deployments.remove(id);
                self.indexes.deployments = self.index;
                if let Some(ids) = self.deployments_by_job.get_mut(&deployment.job) {
                    ids.remove(&(deployment.create_index, *id));
                }
            }
        }
        for id in &garbage.jobs {
            let idle = self.allocs_of_job(id).next().is_none();
            if idle && self.jobs.get(id).is_some_and(|record| record.stopped) {
                self.forget_job(id, events);
            }
        }
        for id in &garbage.children {
            if self.jobs.get(id).is_none_or(|record| record.finished_at.is_zero()) {
                continue;
            }
            let allocs: Vec<_> = self.allocs_of_job(id).cloned().collect();
            if allocs.iter().any(|alloc| !alloc.client.is_terminal()) {
                continue;
            }
            allocs.iter().for_each(|alloc| self.forget_alloc(alloc, events));
            self.forget_job(id, events);
        }
        self.forget_expired(garbage, events);
        Ok(())
    }

    fn forget_alloc(&mut self, alloc: &Allocation, events: &mut Vec<Event>) {
        self.allocs.remove(&alloc.id);
        self.shift_load(Some(alloc), None);
        if let Some(ids) = self.allocs_by_job.get_mut(&alloc.job) {
            ids.remove(&alloc.id);
        }
        if let Some(ids) = self.allocs_by_node.get_mut(&alloc.node) {
            ids.remove(&alloc.id);
        }
        self.indexes.allocs = self.index;
        events.push(Event::Alloc {
            id: alloc.id,
            node: alloc.node,
            job: alloc.job.clone(),
            evaluate: false,
        });
    }

    /// Forgets versions that were known for the sake of allocations alone.
    fn forget_versions_of(&mut self, id: &JobId, events: &mut Vec<Event>) {
        let Some(known) = self.jobs.get(id).filter(|known| known.versions.len() > TRACKED_VERSIONS)
        else {
            return;
        };
        let mut record = JobRecord::clone(known);
        self.forget_old_versions(&mut record);
        if record.versions.len() < known.versions.len() {
            self.put_job(record, events);
        }
    }

    fn forget_job(&mut self, id: &JobId, events: &mut Vec<Event>) {
        if let Some(record) = self.jobs.remove(id) {
            self.forget_child(&record);
        }
        self.forget_history(id);
        self.indexes.jobs = self.index;
        events.push(Event::Job(id.clone()));
    }

    /// Forgets what is only known by a job that is gone: should one of this name come, its versions count anew, and
    /// nothing of the old ones may be taken for theirs.
    fn forget_history(&mut self, id: &JobId) {
        for (_, evaluation) in self.evaluations_by_job.remove(id).into_iter().flatten() {
            self.evaluations.remove(&evaluation);
            self.indexes.evaluations = self.index;
        }
        for (_, deployment) in self.deployments_by_job.remove(id).into_iter().flatten() {
            self.deployments.remove(&deployment);
            self.indexes.deployments = self.index;
        }
        self.allocs_by_job.remove(id);
    }
}
