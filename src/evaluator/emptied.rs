//! Places that an update of ours has emptied: what was there was stopped to make room, and nothing has served there since.
//! The gate counts them (law 4). That it is so is told by allocations that are over alone, so these are kept for as long.

use std::collections::{BTreeMap, BTreeSet};

use model::{AllocId, Allocation, NodeId, TaskState};
use state::{JobRecord, State};

/// Why something stops that an update takes the place of.
pub(crate) const BEING_UPDATED: &str = "alloc is being updated";

/// How many of those before it in its place are looked at.
const LOOKS_BACK: usize = 16;

/// The newest of a place and those before it, back to the one that was stopped to make room; nothing where that is not why
/// the place is empty, or where one of them has served since.
fn since_emptied<'a>(state: &'a State, newest: Option<&'a Allocation>) -> Vec<&'a Allocation> {
    let mut seen = Vec::new();
    let mut before = newest;
    while let Some(alloc) = before.filter(|_| seen.len() < LOOKS_BACK) {
        seen.push(alloc);
        if alloc.desired_description.starts_with(BEING_UPDATED) {
            return seen;
        }
        if has_served(alloc) {
            break;
        }
        before = alloc.previous.and_then(|id| state.alloc(id)).map(AsRef::as_ref);
    }
    Vec::new()
}

fn has_served(alloc: &Allocation) -> bool {
    match &alloc.health {
        Some(health) => health.healthy,
        None => {
            let started = |task: &TaskState| !task.started_at.is_zero();
            alloc.deployment.is_none() && alloc.tasks.values().any(started)
        }
    }
}

/// Whether the place of one that is over was emptied to make room, for it or for others that were lost before they
/// served.
pub(crate) fn went_first(state: &State, newest: Option<&Allocation>) -> bool {
    !since_emptied(state, newest).is_empty()
}

/// The allocations of a job that say that a place of it was emptied by an update and is empty still. Without them the gate
/// would take it for one that is missing for another reason, and empty the next.
pub fn witnesses(state: &State, record: &JobRecord) -> BTreeSet<AllocId> {
    let Some(job) = record.job().filter(|_| !record.stopped) else { return BTreeSet::new() };
    let per_node = job.kind.per_node();
    let mut newest: BTreeMap<(&str, u32, Option<NodeId>), &Allocation> = BTreeMap::new();
    for alloc in state.allocs_of_job(&record.id).filter(|alloc| !alloc.canary) {
        let group = job.group(&alloc.group).filter(|group| group.rollout().is_some());
        let Some(group) = group.filter(|group| per_node || alloc.index < group.count) else {
            continue;
        };
        let place = (&*group.name, alloc.index, per_node.then_some(alloc.node));
        let known = newest.entry(place).or_insert(alloc);
        if (known.create_index, known.id) < (alloc.create_index, alloc.id) {
            *known = alloc;
        }
    }
    let chains = newest.into_values().flat_map(|alloc| since_emptied(state, Some(alloc)));
    chains.map(|alloc| alloc.id).collect()
}
