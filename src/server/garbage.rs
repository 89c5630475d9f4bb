//! What nobody needs any more. Pure: the state and the time in, a list out.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{AllocId, Allocation, ClientStatus, JobId, NodeStatus, Timestamp};
use state::{Garbage, JobRecord, State};

/// How long what is over is kept. Nomad's figures are shorter for jobs, whose history it loses after four hours; here
/// the history is Git's, and allocations are kept for their logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) allocs: Duration,
    pub(crate) evaluations: Duration,
    pub(crate) deployments_per_job: usize,
    /// Terminal allocations kept for each job, however old, so that the last failure can still be read.
    pub(crate) allocs_per_job: usize,
    /// Runs of a periodic or parameterized job that are over and kept, however old.
    pub(crate) children_per_job: usize,
    /// Runs that are over and kept, however new.
    pub(crate) most_children_per_job: usize,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            allocs: Duration::from_secs(4 * 3600),
            evaluations: Duration::from_secs(3600),
            deployments_per_job: 20,
            allocs_per_job: 5,
            children_per_job: 20,
            most_children_per_job: 5_000,
        }
    }
}

/// A command may not grow without bound; the rest goes with the next one.
const BATCH: usize = 5_000;

/// What can go now.
pub(crate) fn collect(state: &State, keep: Keep, now: Timestamp) -> Garbage {
    let mut garbage = Garbage::default();
    let mut children: BTreeMap<&JobId, Vec<&JobRecord>> = BTreeMap::new();
    for record in state.jobs() {
        if let Some(child) = record.child().filter(|_| !record.finished_at.is_zero()) {
            children.entry(&child.parent).or_default().push(record);
        }
        let mut over: Vec<_> = state
            .allocs_of_job(&record.id)
            .filter(|alloc| alloc.client.is_terminal() && is_past(record, alloc))
            .collect();
        over.sort_by_key(|alloc| std::cmp::Reverse(alloc.modify_index));
        let kept = if record.stopped { 0 } else { keep.allocs_per_job };
        let mut old: Vec<AllocId> = over
            .iter()
            .skip(kept)
            .filter(|alloc| now.since(alloc.modified_at) > keep.allocs)
            .filter(|alloc| !may_run_still(state, alloc, keep, now))
            .map(|alloc| alloc.id)
            .collect();
        if !old.is_empty() {
            let needed = evaluator::witnesses(state, record);
            old.retain(|id| !needed.contains(id));
        }
        garbage.allocs.append(&mut old);
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
    for mut runs in children.into_values() {
        runs.sort_by_key(|record| std::cmp::Reverse((record.finished_at, record.create_index)));
        let old = runs.iter().enumerate().skip(keep.children_per_job).filter(|(at, record)| {
            *at >= keep.most_children_per_job || now.since(record.finished_at) > keep.allocs
        });
        garbage.children.extend(old.map(|(_, record)| record.id.clone()));
    }
    let expired = state.join_tokens().filter(|token| !token.is_valid(now));
    garbage.join_tokens.extend(expired.map(|token| token.id.clone()));
    let past = state.removed_nodes().filter(|removed| removed.until <= now);
    garbage.removed_nodes.extend(past.map(|removed| removed.id));
    if !(garbage.join_tokens.is_empty() && garbage.removed_nodes.is_empty()) {
        garbage.at = now;
    }
    garbage.allocs.truncate(BATCH);
    garbage.evaluations.truncate(BATCH);
    garbage.deployments.truncate(BATCH);
    garbage.children.truncate(BATCH);
    garbage
}

/// Whether an allocation that is over plays no part any more. One that failed for good or is done holds its place.
fn is_past(record: &JobRecord, alloc: &Allocation) -> bool {
    let done_for_another_version = record.current().is_some_and(|current| {
        current.job.kind.runs_to_completion()
            && alloc.client == ClientStatus::Complete
            && alloc.job_version != current.version
    });
    record.stopped || alloc.server_terminal() || alloc.next.is_some() || done_for_another_version
}

/// Whether it was given up with its node and may run there still. Until the node is back and had its time to hear that it
/// is to stop, it stays in the list: a node whose list is empty lets run what it runs.
fn may_run_still(state: &State, alloc: &Allocation, keep: Keep, now: Timestamp) -> bool {
    alloc.client == ClientStatus::Lost
        && state.node(alloc.node).is_some_and(|node| {
            node.status != NodeStatus::Ready || now.since(node.status_at) <= keep.allocs
        })
}

/// Whether there is nothing to collect.
pub(crate) fn is_empty(garbage: &Garbage) -> bool {
    *garbage == Garbage::default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{DesiredStatus, Group, Job, JobType, NodeId, seeded_uuid};
    use state::{Command, FileOutcome, JobSubmission, Plan, TakeRevision};

    use super::*;

    const DAY: i64 = 24 * 3600;

    fn id(n: u8) -> AllocId {
        AllocId::new(seeded_uuid(&[&[n]]))
    }

    fn apply(state: &mut State, command: &Command) {
        assert_eq!(state.apply(state.index() + 1, command).rejection, None);
    }

    fn take(state: &mut State, file: FileOutcome) {
        let taken = TakeRevision {
            expected_head: state.repo("").and_then(|record| record.head.clone()),
            commit: format!("c{}", state.index()).into(),
            files: [("f".to_owned(), file)].into(),
            ..TakeRevision::default()
        };
        apply(state, &Command::TakeRevision(Box::new(taken)));
    }

    fn file(kind: JobType, priority: u16) -> FileOutcome {
        let job = Job { id: "a".into(), kind, priority, ..Job::default() };
        let submission = JobSubmission { job: Arc::new(job) };
        FileOutcome::Job { blob: "1".into(), submission, problems: Vec::new() }
    }

    fn place(state: &mut State, n: u8, version: u64, client: ClientStatus, desired: DesiredStatus) {
        let alloc = Allocation {
            id: id(n),
            job: "a".into(),
            job_version: version,
            client,
            desired,
            ..Allocation::default()
        };
        let plan = Plan { basis: state.index(), place: vec![alloc], ..Plan::default() };
        apply(state, &Command::ApplyPlan(Box::new(plan)));
    }

    fn collected(state: &State) -> Vec<AllocId> {
        let mut allocs = collect(state, Keep::default(), Timestamp::from_secs(DAY)).allocs;
        allocs.sort();
        allocs
    }

    #[test]
    fn what_runs_and_the_last_failures_are_kept() {
        let mut state = State::default();
        take(&mut state, file(JobType::Service, 1));
        place(&mut state, 0, 0, ClientStatus::Running, DesiredStatus::Stop);
        place(&mut state, 1, 0, ClientStatus::Failed, DesiredStatus::Run);
        for n in 2..9 {
            place(&mut state, n, 0, ClientStatus::Failed, DesiredStatus::Stop);
        }
        let mut oldest = [id(2), id(3)];
        oldest.sort();
        assert_eq!(collected(&state), oldest);
    }

    /// A rollout that stops what it takes the place of first, and finds no room for a long time.
    #[test]
    fn what_says_that_an_update_emptied_a_place_is_kept_until_something_serves_there() {
        let mut state = State::default();
        let update = Some(model::Update { max_parallel: 1, ..model::Update::default() });
        let group = Group { name: "web".into(), count: 9, update, ..Group::default() };
        let job = Job {
            id: "a".into(),
            kind: JobType::Service,
            task_groups: vec![group],
            ..Job::default()
        };
        let submission = JobSubmission { job: Arc::new(job) };
        let file = FileOutcome::Job { blob: "1".into(), submission, problems: Vec::new() };
        take(&mut state, file);
        let ended = |n: u8, index: u32, why: &str, previous: Option<u8>| Allocation {
            id: id(n),
            job: "a".into(),
            group: "web".into(),
            index,
            client: ClientStatus::Complete,
            desired: DesiredStatus::Stop,
            desired_description: why.into(),
            previous: previous.map(id),
            ..Allocation::default()
        };
        let health = Some(model::AllocHealth { healthy: true, ..model::AllocHealth::default() });
        let emptied = "alloc is being updated: priority changed";
        let lost = "alloc is lost since its node n is down";
        let healthy = Allocation { health, ..ended(6, 2, lost, Some(5)) };
        let all = [
            // Nothing was there since.
            ended(1, 0, emptied, None),
            // The one that was there since did not serve.
            ended(2, 1, emptied, None),
            ended(3, 1, lost, Some(2)),
            // That one did.
            ended(5, 2, emptied, None),
            healthy,
            // Not our doing.
            ended(7, 3, lost, None),
            // Nobody wants that many.
            ended(8, 9, emptied, None),
        ];
        for alloc in all {
            let plan = Plan { basis: state.index(), place: vec![alloc], ..Plan::default() };
            apply(&mut state, &Command::ApplyPlan(Box::new(plan)));
        }
        let keep = Keep { allocs_per_job: 0, ..Keep::default() };
        let mut gone = collect(&state, keep, Timestamp::from_secs(DAY)).allocs;
        gone.sort();
        let mut expected = [5, 6, 7, 8].map(id);
        expected.sort();
        assert_eq!(gone, expected);
    }

    #[test]
    fn what_moved_is_kept_while_it_counts_for_the_budget_of_its_job() {
        assert!(Keep::default().allocs >= evaluator::BUDGET_PERIOD);
    }

    #[test]
    fn a_stopped_job_goes_whole() {
        let mut state = State::default();
        take(&mut state, file(JobType::Batch, 1));
        place(&mut state, 1, 0, ClientStatus::Complete, DesiredStatus::Run);
        assert!(collected(&state).is_empty(), "it says that the work is done");
        take(&mut state, FileOutcome::Removed);
        let garbage = collect(&state, Keep::default(), Timestamp::from_secs(DAY));
        assert_eq!((garbage.allocs.len(), garbage.jobs.len()), (1, 0));
        apply(&mut state, &Command::CollectGarbage(garbage));
        let garbage = collect(&state, Keep::default(), Timestamp::from_secs(DAY));
        assert_eq!(garbage.jobs, ["a".into()]);
        apply(&mut state, &Command::CollectGarbage(garbage));
        assert!(is_empty(&collect(&state, Keep::default(), Timestamp::from_secs(DAY))));
        assert_eq!(state.jobs().count(), 0);
    }

    #[test]
    fn what_was_lost_with_its_node_is_kept_until_the_node_has_heard() {
        let mut state = State::default();
        let node = model::Node { id: NodeId::new(seeded_uuid(&[b"n"])), ..model::Node::default() };
        let set = |status, at| Command::SetNodeStatuses {
            nodes: vec![(node.id, status)],
            at,
            reason: String::new(),
            follows: None,
        };
        let at = Timestamp::ZERO;
        apply(&mut state, &Command::RegisterNode { node: Box::new(node.clone()), at });
        take(&mut state, file(JobType::Service, 1));
        let alloc = Allocation {
            id: id(1),
            job: "a".into(),
            node: node.id,
            client: ClientStatus::Lost,
            desired: DesiredStatus::Stop,
            ..Allocation::default()
        };
        let plan = Plan { basis: state.index(), place: vec![alloc], ..Plan::default() };
        apply(&mut state, &Command::ApplyPlan(Box::new(plan)));
        take(&mut state, FileOutcome::Removed);
        apply(&mut state, &set(NodeStatus::Down, at));
        assert!(collected(&state).is_empty(), "it may run there still");
        apply(&mut state, &set(NodeStatus::Ready, Timestamp::from_secs(DAY - 60)));
        assert!(collected(&state).is_empty(), "its node is just back");
        apply(&mut state, &set(NodeStatus::Down, at));
        apply(&mut state, &set(NodeStatus::Ready, Timestamp::from_secs(60)));
        assert_eq!(collected(&state), [id(1)]);
    }

    #[test]
    fn work_done_for_an_older_version_is_past() {
        let mut state = State::default();
        take(&mut state, file(JobType::Batch, 1));
        for n in 0..7 {
            place(&mut state, n, 0, ClientStatus::Complete, DesiredStatus::Run);
        }
        assert!(collected(&state).is_empty());
        take(&mut state, file(JobType::Batch, 2));
        assert_eq!(collected(&state).len(), 2);
    }
}
