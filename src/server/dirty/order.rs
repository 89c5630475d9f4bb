//! Which jobs wait for which others. Kept by events, so that what happens to a job finds those that wait for it without
//! a look at all jobs.

use std::collections::{BTreeMap, BTreeSet};

use model::JobId;
use state::State;

/// Only what waits is in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// What each job waits for.
    after: BTreeMap<JobId, Vec<JobId>>,
    /// The same the other way round.
    waiting: BTreeMap<JobId, BTreeSet<JobId>>,
}

impl Order {
    pub(super) fn of(state: &State) -> Self {
        let mut order = Self::default();
        for record in state.jobs() {
            order.note(state, &record.id);
        }
        order
    }

    /// Takes note of what is desired of a job now, and whether it has started.
    pub(super) fn note(&mut self, state: &State, job: &JobId) {
        for on in self.after.remove(job).unwrap_or_default() {
            if let Some(waiting) = self.waiting.get_mut(&on) {
                waiting.remove(job);
                if waiting.is_empty() {
                    self.waiting.remove(&on);
                }
            }
        }
        let record = state.job(job).filter(|record| evaluator::may_wait(record));
        let Some(desired) = record.and_then(|record| record.job()) else { return };
        for on in &desired.gitops.after {
            self.waiting.entry(on.clone()).or_default().insert(job.clone());
        }
        self.after.insert(job.clone(), desired.gitops.after.clone());
    }

    /// The jobs that wait for one.
    pub(super) fn waiting_for(&self, on: &JobId) -> impl Iterator<Item = &JobId> {
        self.waiting.get(on).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{EvalTrigger, Job, Timestamp};
    use state::{Command, Event, FileOutcome, JobSubmission, Plan, TakeRevision};

    use super::super::Dirty;
    use super::*;

    fn take(state: &mut State, id: &str, after: &[&str], count: u16) -> Vec<Event> {
        let mut job = Job { id: id.into(), priority: count, ..Job::default() };
        job.gitops.after = after.iter().map(|on| (*on).into()).collect();
        let submission = JobSubmission { job: Arc::new(job) };
        let file = FileOutcome::Job { blob: "1".into(), submission, problems: Vec::new() };
        let taken = TakeRevision {
            expected_head: state.repo("").and_then(|record| record.head.clone()),
            commit: format!("c{}", state.index()).into(),
            files: [(id.to_owned(), file)].into(),
            ..TakeRevision::default()
        };
        state.apply(state.index() + 1, &Command::TakeRevision(Box::new(taken))).events
    }

    fn taken(dirty: &mut Dirty) -> Vec<String> {
        dirty.take(Timestamp::ZERO).into_keys().map(|job| job.to_string()).collect()
    }

    #[test]
    fn what_waits_is_looked_at_when_something_happens_to_what_it_waits_for() {
        let mut state = State::default();
        take(&mut state, "db", &[], 50);
        let mut dirty = Dirty::all(&state);
        taken(&mut dirty);
        let events = take(&mut state, "web", &["db"], 50);
        dirty.note(&state, &events);
        assert_eq!(taken(&mut dirty), ["web"]);
        let changed = take(&mut state, "db", &[], 51);
        for seen in [&mut dirty.clone(), &mut Dirty::all(&state)] {
            taken(seen);
            seen.note(&state, &changed);
            assert_eq!(taken(seen), ["db", "web"]);
        }
        // Once it has started, nobody looks at it any more.
        let plan =
            Plan { basis: state.index(), started: vec![("web".into(), 0)], ..Plan::default() };
        let events = state.apply(state.index() + 1, &Command::ApplyPlan(Box::new(plan))).events;
        dirty.note(&state, &events);
        taken(&mut dirty);
        dirty.note(&state, &changed);
        assert_eq!(
            dirty.take(Timestamp::ZERO).into_iter().collect::<Vec<_>>(),
            [("db".into(), EvalTrigger::JobRegister)]
        );
    }
}
