//! What nobody needs any more. Pure: the state and the time in, a list out.

use std::time::Duration;

use model::Timestamp;
use state::{Garbage, State};

/// How long what is over is kept. Nomad's figures are shorter for jobs, whose history it loses after four hours; here
/// the history is Git's, and allocations are kept for their logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) allocs: Duration,
    pub(crate) evaluations: Duration,
    pub(crate) deployments_per_job: usize,
    /// Terminal allocations kept for each job, however old, so that the last failure can still be read.
    pub(crate) allocs_per_job: usize,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            allocs: Duration::from_secs(4 * 3600),
            evaluations: Duration::from_secs(3600),
            deployments_per_job: 20,
            allocs_per_job: 5,
        }
    }
}

/// A command may not grow without bound; the rest goes with the next one.
const BATCH: usize = 5_000;

/// What can go now.
pub(crate) fn collect(state: &State, keep: Keep, now: Timestamp) -> Garbage {
    let mut garbage = Garbage::default();
    for record in state.jobs() {
        let mut over: Vec<_> = state
            .allocs_of_job(&record.id)
            .filter(|alloc| {
                alloc.client.is_terminal() && alloc.server_terminal() || alloc.next.is_some()
            })
            .filter(|alloc| alloc.client.is_terminal())
            .collect();
        over.sort_by_key(|alloc| std::cmp::Reverse(alloc.modify_index));
        let kept = if record.stopped { 0 } else { keep.allocs_per_job };
        garbage.allocs.extend(
            over.iter()
                .skip(kept)
                .filter(|alloc| now.since(alloc.modified_at) > keep.allocs)
                .map(|alloc| alloc.id),
        );
        let ended = state
            .deployments_of_job(&record.id)
            .filter(|deployment| !deployment.status.is_active());
        garbage
            .deployments
            .extend(ended.skip(keep.deployments_per_job).map(|deployment| deployment.id));
        // The newest evaluation says why something waits.
        let old = state.evaluations_of_job(&record.id).skip(1);
        garbage.evaluations.extend(
            old.filter(|evaluation| now.since(evaluation.created_at) > keep.evaluations)
                .map(|evaluation| evaluation.id),
        );
        if record.stopped
            && state.allocs_of_job(&record.id).next().is_none()
            && now.since(record.submitted_at) > keep.allocs
        {
            garbage.jobs.push(record.id.clone());
        }
    }
    garbage.allocs.truncate(BATCH);
    garbage.evaluations.truncate(BATCH);
    garbage.deployments.truncate(BATCH);
    garbage
}

/// Whether there is nothing to collect.
pub(crate) fn is_empty(garbage: &Garbage) -> bool {
    *garbage == Garbage::default()
}
