//! Which jobs the evaluator must look at, and when. Pure: events in, jobs out.

mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{DesiredStatus, EvalTrigger, JobId, NodeId, Timestamp};
use state::{Event, JobRecord, Plan, State};

use crate::blocked::Blocked;
use order::Order;

/// Jobs to look at now, and jobs to look at later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dirty {
    now: BTreeMap<JobId, EvalTrigger>,
    later: BTreeMap<JobId, Timestamp>,
    by_time: BTreeSet<(Timestamp, JobId)>,
    blocked: Blocked,
    /// Jobs that run on every node that will do.
    everywhere: BTreeSet<JobId>,
    order: Order,
}

impl Dirty {
    /// Everything is worth a look: at start, and after events were missed.
    pub(crate) fn all(state: &State) -> Self {
        let mut dirty = Self { order: Order::of(state), ..Self::default() };
        for record in state.jobs().filter(|record| record.finished_at.is_zero()) {
            dirty.mark(&record.id, EvalTrigger::JobRegister);
            dirty.note_kind(state, &record.id);
        }
        dirty
    }

    pub(crate) fn mark(&mut self, job: &JobId, trigger: EvalTrigger) {
        self.now.entry(job.clone()).or_insert(trigger);
    }

    /// Notes what `events` touch, in the state that they led to.
    pub(crate) fn note(&mut self, state: &State, events: &[Event]) {
        let mut nodes = false;
        // Where room may have come.
        let mut loosened: BTreeSet<NodeId> = BTreeSet::new();
        self.note_order(state, events);
        for event in events {
            match event {
                Event::Job(job) => {
                    let record = state.job(job);
                    let stopped = record.is_some_and(|record| record.stopped);
                    let child = record.and_then(|record| record.child());
                    let trigger = match (stopped, child.is_some_and(|child| !child.dispatched)) {
                        (true, _) => EvalTrigger::JobDeregister,
                        (false, true) => EvalTrigger::PeriodicJob,
                        (false, false) => EvalTrigger::JobRegister,
                    };
                    self.mark(job, trigger);
                    self.note_kind(state, job);
                }
                Event::Alloc { id, node, job, evaluate } => {
                    let alloc = state.alloc(*id);
                    let over = alloc.is_none_or(|alloc| alloc.client.is_terminal());
                    if over {
                        loosened.insert(*node);
                    } else if alloc.is_some_and(|alloc| alloc.desired == DesiredStatus::Evict) {
                        self.mark(job, EvalTrigger::Preemption);
                    }
                    if *evaluate {
                        let trigger = if over {
                            EvalTrigger::AllocFailure
                        } else {
                            EvalTrigger::DeploymentWatcher
                        };
                        self.mark(job, trigger);
                    }
                }
                Event::Deployment { job, .. } => self.mark(job, EvalTrigger::DeploymentWatcher),
                Event::Node(id) => {
                    nodes = true;
                    loosened.insert(*id);
                    for alloc in
                        state.allocs_on_node(*id).filter(|alloc| !alloc.client.is_terminal())
                    {
                        self.mark(&alloc.job, EvalTrigger::NodeUpdate);
                    }
                }
                // What found no room may find some by another rule.
                Event::Scheduler => {
                    let waiting: Vec<JobId> = self.blocked.all().cloned().collect();
                    for job in waiting {
                        self.mark(&job, EvalTrigger::QueuedAllocs);
                    }
                }
                Event::Cluster | Event::Evaluation(_) | Event::Revision { .. } => {}
            }
        }
        if nodes {
            // One that runs everywhere runs on a new node as well.
            for job in self.everywhere.clone() {
                self.mark(&job, EvalTrigger::NodeUpdate);
            }
        }
        for node in loosened {
            for job in self.blocked.helped_by(state, node) {
                self.mark(&job, EvalTrigger::QueuedAllocs);
            }
        }
    }

    fn note_kind(&mut self, state: &State, id: &JobId) {
        let may_run = |record: &&Arc<JobRecord>| !record.stopped && record.finished_at.is_zero();
        let record = state.job(id).filter(may_run);
        if record.and_then(|record| record.job()).is_some_and(|job| job.kind.per_node()) {
            self.everywhere.insert(id.clone());
        } else {
            self.everywhere.remove(id);
        }
        if record.is_none() {
            self.blocked.set(id, None);
        }
    }

    /// Marks what waits for a job that something happened to.
    fn note_order(&mut self, state: &State, events: &[Event]) {
        let mut touched: BTreeSet<&JobId> = BTreeSet::new();
        for event in events {
            match event {
                Event::Job(job) => {
                    self.order.note(state, job);
                    touched.insert(job);
                }
                Event::Alloc { job, .. } | Event::Deployment { job, .. } => {
                    touched.insert(job);
                }
                // Whoever wants nothing has only this to say that it is settled.
                Event::Evaluation(id) => {
                    touched.extend(state.evaluation(*id).map(|eval| &eval.job))
                }
                Event::Node(id) => {
                    touched.extend(state.allocs_on_node(*id).map(|alloc| &alloc.job))
                }
                Event::Cluster | Event::Scheduler | Event::Revision { .. } => {}
            }
        }
        for on in touched {
            for job in self.order.waiting_for(on) {
                self.now.entry(job.clone()).or_insert(EvalTrigger::DeploymentWatcher);
            }
        }
    }

    /// Takes the jobs to look at now, with those whose wait is over.
    pub(crate) fn take(&mut self, now: Timestamp) -> BTreeMap<JobId, EvalTrigger> {
        while self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, job)) = self.by_time.pop_first() {
                self.later.remove(&job);
                self.now.entry(job).or_insert(EvalTrigger::Scheduled);
            }
        }
        std::mem::take(&mut self.now)
    }

    /// Puts back what was taken, after a plan was not applied.
    pub(crate) fn put_back(&mut self, jobs: BTreeMap<JobId, EvalTrigger>) {
        for (job, trigger) in jobs {
            self.now.entry(job).or_insert(trigger);
        }
    }

    /// Notes when the jobs just looked at want to be looked at again.
    pub(crate) fn schedule(&mut self, jobs: &BTreeMap<JobId, EvalTrigger>, plan: &Plan) {
        for job in jobs.keys() {
            if let Some(at) = self.later.remove(job) {
                self.by_time.remove(&(at, job.clone()));
            }
            self.blocked.set(job, plan.blocked.get(job).cloned());
        }
        for (job, at) in &plan.wake {
            self.delay(job, *at);
        }
    }

    /// Looks at a job no sooner than then, unless something happens to it.
    pub(crate) fn delay(&mut self, job: &JobId, at: Timestamp) {
        if let Some(before) = self.later.insert(job.clone(), at) {
            self.by_time.remove(&(before, job.clone()));
        }
        self.by_time.insert((at, job.clone()));
    }

    /// Whether something is to be done now.
    pub(crate) fn is_due(&self) -> bool {
        !self.now.is_empty()
    }

    /// When the next wait is over.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_over_in_time_and_once() {
        let mut dirty = Dirty::default();
        let jobs = BTreeMap::from([("a".into(), EvalTrigger::JobRegister)]);
        let plan = Plan { wake: BTreeMap::from([("a".into(), Timestamp(10))]), ..Plan::default() };
        dirty.schedule(&jobs, &plan);
        assert_eq!(dirty.next(), Some(Timestamp(10)));
        assert!(dirty.take(Timestamp(9)).is_empty());
        assert_eq!(dirty.take(Timestamp(10)).len(), 1);
        assert!(dirty.take(Timestamp(11)).is_empty());
    }

    #[test]
    fn a_newer_pass_forgets_an_older_wait() {
        let mut dirty = Dirty::default();
        let jobs = BTreeMap::from([("a".into(), EvalTrigger::JobRegister)]);
        let plan = Plan { wake: BTreeMap::from([("a".into(), Timestamp(10))]), ..Plan::default() };
        dirty.schedule(&jobs, &plan);
        dirty.schedule(&jobs, &Plan::default());
        assert_eq!(dirty.next(), None);
    }
}
