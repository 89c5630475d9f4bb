//! Why things are as they are (law 8): what each node would say to one more allocation of a group, what the group waits
//! for, and for each allocation why it is there and whether it would be put there once more.
//!
//! Nothing is decided here. Who will do, room and scores are [`Fleet`]'s, and what waits is seen by the same
//! reconciliation as a pass makes.

mod gate;
mod waits;
mod whole;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::wire::{AllocationExplanation, GroupExplanation, NodeVerdict, Verdict};
use model::{AllocId, Allocation, Group, JobId, JobVersion, Timestamp};
use state::{JobRecord, State};

use crate::execute::bond;
use crate::place::{Candidates, Fleet, Presence, Request};
use crate::reconcile::{GroupWork, Scene};
use crate::rollout::current_deployment;
pub use whole::{explain_allocation, explain_job};

/// Nodes and allocations of an answer, shared by its groups.
const MOST: usize = 1_000;
/// What each group may have of them in any case.
const LEAST: usize = 20;
/// Allocations of an answer for which a node is chosen anew: each is a look at all nodes.
const MOST_ANEW: usize = 50;

/// What is asked.
struct Question<'a> {
    state: &'a State,
    record: &'a JobRecord,
    version: &'a Arc<JobVersion>,
    now: Timestamp,
    /// The only allocation that is told of.
    only: Option<AllocId>,
    /// Nodes and allocations that a group may have.
    rows: usize,
}

/// Each group of a job's desired version, or the one of this name: what one more allocation of it would find now, what
/// it waits for, and what there is of it. Nothing for a job or a group that is not known. Pure, as
/// [`crate::evaluate`] is.
pub fn explain(
    state: &State,
    job: &JobId,
    group: Option<&str>,
    now: Timestamp,
) -> Vec<GroupExplanation> {
    let Some(record) = state.job(job) else { return Vec::new() };
    let Some(version) = record.current() else { return Vec::new() };
    let groups = version.job.task_groups.iter();
    let groups: Vec<_> =
        groups.filter(|known| group.is_none_or(|name| name == known.name)).collect();
    let rows = (MOST / groups.len().max(1)).max(LEAST);
    let question = Question { state, record, version, now, only: None, rows };
    let (mut fleet, mut anew) = (Fleet::of(state), MOST_ANEW);
    let groups = groups.into_iter();
    groups.map(|group| of_group(&question, group, &mut fleet, &mut anew)).collect()
}

/// What is looked at to explain a group.
struct Look<'a> {
    scene: Scene<'a>,
    group: &'a Group,
    candidates: Candidates,
    /// What there is of the group, oldest first.
    allocs: Vec<&'a Allocation>,
    /// All nodes, as they would be chosen.
    nodes: Vec<NodeVerdict>,
    work: GroupWork<'a>,
}

impl Look<'_> {
    /// Allocations that are to run and are not over.
    fn placed(&self) -> impl Iterator<Item = &Allocation> {
        self.allocs.iter().copied().filter(|alloc| !alloc.terminal())
    }
}

/// Explains a group. `anew` is for how many allocations a node may still be chosen anew.
fn of_group(
    question: &Question<'_>,
    group: &Group,
    fleet: &mut Fleet,
    anew: &mut usize,
) -> GroupExplanation {
    let Question { state, record, version, now, only, rows } = *question;
    let scene = Scene {
        state,
        record,
        version,
        deployment: current_deployment(state, record).filter(|_| !record.stopped),
        held: !crate::order::waits(state, record).is_empty(),
        now,
        compared: RefCell::default(),
        references: RefCell::default(),
    };
    let candidates = Candidates::new(&version.job, group);
    let per_node = version.job.kind.per_node();
    let feasible = if per_node { fleet.feasible(&candidates) } else { Vec::new() };
    let desired = if per_node { feasible.len() as u32 } else { group.count };
    let runs = !record.stopped && record.finished_at.is_zero() && version.starts_by_itself();
    let mut presence = Presence::default();
    for alloc in state.allocs_of_job(&record.id).filter(|alloc| !alloc.terminal()) {
        presence.enter(alloc.node, &alloc.group);
    }
    let mut allocs: Vec<&Allocation> = state
        .allocs_of_job(&record.id)
        .map(AsRef::as_ref)
        .filter(|alloc| *alloc.group == *group.name)
        .collect();
    allocs.sort_by_key(|alloc| (alloc.create_index, alloc.index, alloc.id));
    let name: Arc<str> = group.name.as_str().into();
    let taken: BTreeSet<u32> =
        allocs.iter().filter(|alloc| !alloc.terminal()).map(|alloc| alloc.index).collect();
    let request = Request {
        id: AllocId::default(),
        index: (0..).find(|index| !taken.contains(index)).unwrap_or_default(),
        group_name: &name,
        desired,
        avoid: &[],
        only: None,
    };
    let running = allocs.iter().filter(|alloc| per_node && !alloc.terminal());
    let already = running.map(|alloc| alloc.node).collect();
    let nodes = fleet.verdicts(&candidates, &presence, &request, &already);
    let work = if runs {
        scene.reconcile(group, &allocs, &candidates, &feasible)
    } else {
        scene.remove(&group.name, &allocs, "")
    };
    let look = Look { scene, group, candidates, allocs, nodes, work };
    let gate = if runs && !look.scene.held { gate::view(&look) } else { None };
    let waits = if runs { waits::of(&look, gate.as_ref()) } else { Vec::new() };
    let shown: Vec<&Allocation> = match only {
        Some(id) => look.allocs.iter().copied().filter(|alloc| alloc.id == id).collect(),
        None => listed(&look.allocs, rows),
    };
    let left_out = if only.is_some() { 0 } else { look.allocs.len() - shown.len() };
    let allocations = shown.iter().map(|alloc| {
        let mut line = line(alloc);
        if *anew > 0 && !alloc.terminal() {
            *anew -= 1;
            let avoid: Vec<_> = alloc.reschedules.iter().map(|event| event.node).collect();
            let request = Request { id: alloc.id, index: alloc.index, avoid: &avoid, ..request };
            let bound = per_node || bond(group).is_some();
            let candidates = &look.candidates;
            line.today = fleet.chosen_today(candidates, &mut presence, &request, alloc, bound);
        }
        line
    });
    let allocations = allocations.collect();
    let placed = look.placed().count() as u32;
    let told = GroupExplanation {
        group: group.name.clone(),
        desired: if runs { desired } else { 0 },
        placed,
        gate,
        waits,
        allocations,
        allocations_left_out: left_out as u32,
        nodes: look.nodes,
        ..GroupExplanation::default()
    };
    counted(told, rows)
}

/// Those that run first, then the newest that are over.
fn listed<'a>(allocs: &[&'a Allocation], most: usize) -> Vec<&'a Allocation> {
    let mut shown = allocs.to_vec();
    shown.sort_by_key(|alloc| {
        let age = std::cmp::Reverse(alloc.create_index);
        if alloc.terminal() {
            (true, 0, age, alloc.id)
        } else {
            (false, alloc.index, age, alloc.id)
        }
    });
    shown.truncate(most);
    shown
}

/// Counts the nodes, and leaves out those beyond the limit.
fn counted(mut group: GroupExplanation, most: usize) -> GroupExplanation {
    let mut nodes = std::mem::take(&mut group.nodes);
    group.nodes_total = nodes.len() as u32;
    let count = |counts: &mut BTreeMap<String, u32>, reason: &str| {
        *counts.entry(reason.to_owned()).or_default() += 1;
    };
    for node in &nodes {
        match node.verdict {
            Verdict::Fits => group.nodes_fit += 1,
            Verdict::Exhausted => count(&mut group.exhausted, &node.reason),
            Verdict::Filtered => count(&mut group.filtered, &node.reason),
        }
    }
    group.nodes_left_out = nodes.len().saturating_sub(most) as u32;
    nodes.truncate(most);
    group.nodes = nodes;
    group
}

fn line(alloc: &Allocation) -> AllocationExplanation {
    let explanation = alloc.explanation.as_deref();
    AllocationExplanation {
        id: alloc.id,
        name: alloc.name(),
        node: alloc.node,
        node_name: alloc.node_name.to_string(),
        job_version: alloc.job_version,
        desired: alloc.desired,
        desired_description: alloc.desired_description.to_string(),
        client: alloc.client,
        created_at: alloc.created_at,
        reason: explanation.map(|explanation| explanation.reason.to_string()).unwrap_or_default(),
        score_then: explanation.and_then(|explanation| Some(explanation.score.as_ref()?.total)),
        today: None,
    }
}
