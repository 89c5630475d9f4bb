//! Law 4 over time (S1, S2): of what serves, no more is missing because of us than the group allows.
//!
//! A place (an index of a group, or a node) is missing because of us from the plan that stopped by choice what served
//! there, until something serves there again. What fails, or is on a node that falls silent, or is driven out by a
//! deadline or an operator, is missing by somebody else's doing. Whatever is missing for their sake, a plan never adds
//! to what is missing for ours beyond `max_parallel`.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Allocation, ClientStatus, DeploymentStatus, DesiredStatus, Group, JobId, JobType, NodeStatus,
};
use state::State;

use super::shown;
use crate::simulation::world::Check;

/// A place of a group: its index and, for what runs on every node, the node.
type Place = (u32, Option<model::NodeId>);

/// The places that are missing because of us.
#[derive(Default)]
pub(super) struct Ledger(BTreeMap<(JobId, String), BTreeSet<Place>>);

/// Whether an allocation serves, as far as anybody can know: it runs on a node that answers and, where a rollout had to
/// judge it before it counts, it was found well. Canaries come on top of what is owed.
pub(super) fn serves(state: &State, alloc: &Allocation) -> bool {
    let deployment = alloc.deployment.and_then(|id| state.deployment(id));
    let is_well = alloc.health.as_ref().map_or_else(
        // Without a verdict it counts where it served before it was taken on by a rollout.
        || deployment.is_none_or(|deployment| alloc.create_index < deployment.create_index),
        |health| health.healthy,
    );
    let answers = state.node(alloc.node).is_some_and(|node| node.status == NodeStatus::Ready);
    alloc.client == ClientStatus::Running
        && is_well
        && answers
        && !alloc.canary
        && !alloc.server_terminal()
}

fn place(alloc: &Allocation, kind: JobType) -> Place {
    if kind.per_node() { (0, Some(alloc.node)) } else { (alloc.index, None) }
}

/// What serves of a group, by place.
fn serving<'a>(
    state: &'a State,
    job: &JobId,
    group: &Group,
    kind: JobType,
) -> BTreeMap<Place, &'a Allocation> {
    state
        .allocs_of_job(job)
        .filter(|alloc| *alloc.group == *group.name && serves(state, alloc))
        .map(|alloc| (place(alloc, kind), alloc.as_ref()))
        .collect()
}

/// Whether a node meets the constraints of a group, which are all of one kind here.
fn suits(node: &model::Node, job: &model::Job, group: &Group) -> bool {
    let mut constraints = job.constraints.iter().chain(&group.constraints);
    constraints.all(|constraint| {
        let name = constraint.attribute.trim_start_matches("${").trim_end_matches('}');
        constraint.operator != "=" || node.attribute(name).as_deref() == Some(&*constraint.value)
    })
}

/// Whether an operator, or time that an operator set, ended it.
fn is_theirs(alloc: &Allocation) -> bool {
    let why = &*alloc.desired_description;
    why.contains("the time to empty its node is over")
        || why.contains("on request")
        || why.contains("its node is emptied")
        || alloc.desired == DesiredStatus::Evict
        || alloc.client == ClientStatus::Lost
}

/// Forgets some of what is missing; which ones does not matter, since others stand in for them.
fn keep_at_most(known: &mut BTreeSet<Place>, most: usize) {
    while known.len() > most {
        known.pop_last();
    }
}

impl Ledger {
    /// Looks at a job after an entry.
    pub(super) fn look(
        &mut self,
        before: &State,
        after: &State,
        job: &JobId,
        is_plan: bool,
    ) -> Check {
        let Some(record) = after.job(job).filter(|record| !record.stopped) else {
            self.0.retain(|(known, _), _| known != job);
            return Ok(());
        };
        let Some(desired) = record.job() else { return Ok(()) };
        let kind = desired.kind;
        self.0.retain(|(known, group), _| known != job || desired.group(group).is_some());
        for group in &desired.task_groups {
            let key = (job.clone(), group.name.clone());
            let Some(update) = group.rollout() else {
                self.0.remove(&key);
                continue;
            };
            let (old, new) = (serving(before, job, group, kind), serving(after, job, group, kind));
            let wanted = if kind.per_node() { old.len() } else { group.count as usize };
            let known = self.0.entry(key).or_default();
            let missing = |places: usize, known: &BTreeSet<Place>| {
                if kind.per_node() {
                    known.len()
                } else {
                    known.len().min(wanted.saturating_sub(places))
                }
            };
            let were = missing(old.len(), known);
            // Where fewer are wanted by now, or one serves under another name, as many as are missing are the most that
            // are missing because of us. That has to be forgotten when it happens: what made up for the others is not
            // missing because of us when somebody else drives it out later.
            keep_at_most(known, were);
            // A node that takes nothing is missing for its own reasons.
            // So is one that what is desired by now does not suit.
            let takes = |id: model::NodeId| {
                after.node(id).is_some_and(|node| node.is_ready() && suits(node, desired, group))
            };
            known.retain(|place| !new.contains_key(place) && place.1.is_none_or(takes));
            let left = missing(new.len(), known);
            keep_at_most(known, left);
            let lost: Vec<(&Place, &&Allocation)> =
                old.iter().filter(|(place, _)| !new.contains_key(place)).collect();
            if !is_plan || lost.is_empty() {
                continue;
            }
            // More serve than are wanted now: so many of those that are not needed are missing nowhere.
            let mut surplus = if kind.per_node() { 0 } else { old.len().saturating_sub(wanted) };
            for (place, alloc) in &lost {
                let now = after.alloc(alloc.id).map_or(**alloc, |alloc| alloc.as_ref());
                // What a node that takes nothing new, or does not suit any more, ran of an older version only goes.
                let only_goes = kind.per_node() && !now.desired_description.contains("updated");
                if surplus > 0 && now.desired_description.contains("alloc not needed") {
                    surplus -= 1;
                } else if now.server_terminal() && !is_theirs(now) && !only_goes {
                    known.insert(**place);
                }
            }
            let are = missing(new.len(), known);
            let most = (update.max_parallel as usize).max(were);
            if are > most {
                return Err(format!(
                    "S1: {job} {}: {are} of {wanted} are missing because of us, {most} may: {:#?}",
                    group.name,
                    after.allocs_of_job(job).map(|alloc| shown(alloc)).collect::<Vec<_>>()
                ));
            }
        }
        // What a node lost is in the ledger under the node, whatever filled the others meanwhile.
        if is_plan && !kind.per_node() { Self::in_flight(before, after, job) } else { Ok(()) }
    }

    /// S2: replacements of a rollout that are not proven are no more than `max_parallel`. S11: none is added to one that
    /// failed or is held.
    fn in_flight(before: &State, after: &State, job: &JobId) -> Check {
        let Some(record) = after.job(job) else { return Ok(()) };
        let Some(version) = record.current() else { return Ok(()) };
        let Some(deployment) = after.deployments_of_job(job).find(|known| {
            known.job_version == version.version && known.create_index >= version.create_index
        }) else {
            return Ok(());
        };
        for group in &version.job.task_groups {
            let Some(update) = group.rollout() else { continue };
            let unproven = |state: &State| {
                // Where one that cannot be reached is stood in for by one that is proven, its place is done. It still is
                // when that one is back and starts anew: the proven one goes only once the other is proven as well.
                let is_done = |gone: &Allocation| {
                    gone.disconnected_at.is_some()
                        && state.allocs_of_job(job).any(|other| {
                            other.id != gone.id
                                && (&other.group, other.index) == (&gone.group, gone.index)
                                && other.deployment == Some(deployment.id)
                                && other.is_healthy()
                                && !other.terminal()
                        })
                };
                state
                    .allocs_of_job(job)
                    .filter(|alloc| {
                        let replaces = alloc.previous.and_then(|id| after.alloc(id));
                        // One that only took on the version has replaced nothing now.
                        alloc.deployment == Some(deployment.id)
                            && alloc.create_index >= deployment.create_index
                            && *alloc.group == *group.name
                            && !alloc.terminal()
                            && !alloc.canary
                            && !alloc.is_healthy()
                            && !is_done(alloc)
                            // Stopped and stood in for in one plan. Where the old one goes first,
                            // what it leaves is in the ledger.
                            && replaces.is_some_and(|old| {
                                old.next == Some(alloc.id)
                                    && old.desired_description.contains("alloc is being updated")
                            })
                    })
                    .count()
            };
            let (were, are) = (unproven(before), unproven(after));
            if are > were && are > update.max_parallel as usize {
                return Err(format!(
                    "S2: {job} {}: {are} are being replaced, {} may: {:#?}",
                    group.name,
                    update.max_parallel,
                    after.allocs_of_job(job).map(|alloc| shown(alloc)).collect::<Vec<_>>()
                ));
            }
            let is_held = before.deployment(deployment.id).is_some_and(|known| {
                matches!(known.status, DeploymentStatus::Failed | DeploymentStatus::Paused)
            });
            if are > were && is_held {
                return Err(format!("S11: {job} {}: a rollout that failed goes on", group.name));
            }
        }
        Ok(())
    }
}
