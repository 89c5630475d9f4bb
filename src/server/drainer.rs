//! Which allocations leave nodes that are emptied, and when (nomad.md 2.11). Pure: the state and the time in, commands
//! out. It only says that an allocation is to move; the evaluator finds the place and lets the old one go.

use std::collections::BTreeMap;
use std::sync::Arc;

use consensus::{Consensus, SubscriptionError};
use model::{AllocId, Allocation, ClientStatus, Group, JobId, JobType, NodeStatus, Timestamp};
use state::{Command, Event, State};

use crate::server::Clock;
use crate::worker::Worker;

/// Allocations that one command marks at most; the rest goes with the next one.
const BATCH: usize = 1_000;
/// The wait after a command that could not be committed.
const RETRY: std::time::Duration = std::time::Duration::from_millis(200);

/// What is to be said now, and when to look again though nothing happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub(crate) commands: Vec<Command>,
    pub(crate) wake: Option<Timestamp>,
}

/// Looks at all nodes that are emptied.
pub(crate) fn step(state: &State, now: Timestamp) -> Step {
    let mut step = Step::default();
    let mut marks: Vec<AllocId> = Vec::new();
    let mut budgets = Budgets { state, left: BTreeMap::new() };
    for node in state.draining_nodes() {
        let Some(drain) = &node.drain else { continue };
        let over = drain.is_over(now);
        let mut there: Vec<(&Allocation, JobType)> = state
            .allocs_on_node(node.id)
            .filter(|alloc| !alloc.client.is_terminal())
            .map(|alloc| (alloc.as_ref(), kind(state, alloc)))
            .filter(|(_, kind)| !(drain.ignore_system && *kind == JobType::System))
            .collect();
        if there.is_empty() {
            step.commands.push(Command::FinishDrain {
                node: node.id,
                started_at: drain.started_at,
                forced: over,
                at: now,
            });
            continue;
        }
        there.sort_by_key(|(alloc, _)| (alloc.index, alloc.id));
        let system_only = there.iter().all(|(_, kind)| *kind == JobType::System);
        for (alloc, kind) in there {
            if alloc.server_terminal() || alloc.migrate.is_some() {
                continue;
            }
            let due = over
                || match kind {
                    JobType::Service => budgets.take(alloc),
                    // They are let run to their end.
                    JobType::Batch | JobType::Sysbatch => false,
                    JobType::System => system_only,
                };
            if due {
                marks.push(alloc.id);
            }
        }
        if let Some(deadline) = drain.deadline.filter(|_| !over) {
            step.wake = Some(step.wake.map_or(deadline, |wake| wake.min(deadline)));
        }
    }
    for allocs in marks.chunks(BATCH) {
        let (allocs, reason) = (allocs.to_vec(), String::new());
        step.commands.push(Command::MarkMigrate { allocs, at: now, reason });
    }
    step
}

fn kind(state: &State, alloc: &Allocation) -> JobType {
    let record = state.job(&alloc.job);
    let job = record.and_then(|record| {
        record.version(alloc.job_version).or_else(|| record.current()).map(|version| &version.job)
    });
    job.map(|job| job.kind).unwrap_or_default()
}

/// How many allocations of each group may begin to leave now.
struct Budgets<'a> {
    state: &'a State,
    left: BTreeMap<(JobId, Arc<str>), usize>,
}

impl Budgets<'_> {
    /// Whether this one may leave now.
    fn take(&mut self, alloc: &Allocation) -> bool {
        let Some(record) = self.state.job(&alloc.job).filter(|record| !record.stopped) else {
            return false;
        };
        // What is desired no more is stopped anyway.
        let Some(group) = record.job().and_then(|job| job.group(&alloc.group)) else {
            return false;
        };
        // What does not serve yet, and what comes on top of what is owed, costs nobody anything.
        if alloc.client == ClientStatus::Pending || alloc.canary {
            return true;
        }
        let key = (alloc.job.clone(), Arc::clone(&alloc.group));
        let state = self.state;
        let left = self.left.entry(key).or_insert_with(|| budget(state, &alloc.job, group));
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }
}

/// As many as keep `count - max_parallel` well, and no more than `max_parallel` on their way at once.
fn budget(state: &State, job: &JobId, group: &Group) -> usize {
    let at_once = group.migrate.as_ref().map_or(1, |migrate| migrate.max_parallel.max(1)) as usize;
    let (mut well, mut leaving) = (0_usize, 0_usize);
    for alloc in state
        .allocs_of_job(job)
        .filter(|alloc| *alloc.group == *group.name && !alloc.terminal() && !alloc.canary)
    {
        let answers = state.node(alloc.node).is_some_and(|node| node.status == NodeStatus::Ready);
        let judged = alloc.deployment.is_none() || alloc.health.is_some();
        if alloc.migrate.is_some() {
            leaving += 1;
        } else if alloc.client == ClientStatus::Running && answers && judged {
            well += 1;
        }
    }
    let spare = (well + at_once).saturating_sub(group.count as usize);
    spare.min(at_once.saturating_sub(leaving))
}

/// Empties nodes while this server leads.
pub(crate) async fn run(consensus: Consensus, clock: Clock, worker: Arc<Worker>) {
    let mut subscription = consensus.subscribe();
    let mut draining = any(&consensus.state());
    loop {
        let mut wake = None;
        if draining {
            let now = clock();
            let step = step(&consensus.state(), now);
            wake = step.wake.map(|at| at.since(now));
            if !step.commands.is_empty() {
                worker.busy();
                let mut error = None;
                for command in step.commands {
                    if let Err(failed) = consensus.propose(command).await {
                        error = Some(failed.to_string());
                        wake = Some(RETRY);
                        break;
                    }
                }
                worker.done(clock(), error);
            }
            draining = any(&consensus.state());
        }
        let mut received = tokio::select! {
            received = subscription.next() => Some(received),
            () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => None,
        };
        // What is there already is looked at together.
        while let Some(next) = received {
            match next {
                Ok(applied) => {
                    let of_node =
                        applied.events.iter().any(|event| matches!(event, Event::Node(_)));
                    draining = draining || (of_node && any(&consensus.state()));
                }
                Err(SubscriptionError::Lagged) => draining = any(&consensus.state()),
                Err(SubscriptionError::Closed) => return,
            }
            received = subscription.try_next().transpose();
        }
    }
}

fn any(state: &State) -> bool {
    state.draining_nodes().next().is_some()
}

#[cfg(test)]
mod tests;
