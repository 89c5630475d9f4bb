//! Finds a node for an allocation.
//!
//! Everything that knows how nodes are looked at is behind [`Fleet::place`]: who will do, room, ports and scores. The
//! best of all nodes that will do is found, not of a sample. What an allocation holds counts until its node says that it
//! is over, even when it is told to stop, so that a node is never over-committed while something is still ending.

mod asked;
mod better;
mod columns;
mod evict;
mod own;
mod ranking;
mod spread;
#[cfg(test)]
mod tests;
mod verdicts;

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    AllocId, AllocResources, Allocation, Group, Job, NodeId, NodeScore, PlacementFailure,
    SchedulerConfig, seeded_uuid,
};
use state::{State, Unplaced};

use crate::feasible::{Demands, grants};
use crate::ports::Ports;
use crate::rank::{Standing, mix, tie_break};
use crate::volumes::{of_host, offered};
use asked::Asked;
pub(crate) use better::Better;
use columns::{Columns, choose_cores, fits_load};
pub(crate) use evict::{Claim, Eviction};
use own::Own;
pub(crate) use own::Presence;
use ranking::{Entry, Ranking, verdict};

/// The best nodes that an explanation names.
const EXPLAINED: usize = 5;
/// Rankings that are kept at once: each is as long as there are nodes.
const RANKINGS: usize = 64;

/// What a group asks for, and where its job is already, for all its placements in a pass.
pub(crate) struct Candidates {
    asked: Arc<Asked>,
    own: RefCell<Option<Own>>,
}

impl Candidates {
    pub(crate) fn new(job: &Job, group: &Group) -> Self {
        Self { asked: Arc::new(Asked::of(job, group)), own: RefCell::new(None) }
    }

    /// What nodes must be, whatever room they have.
    pub(crate) fn demands(&self) -> &Demands {
        &self.asked.demands
    }
}

/// One allocation that needs a node.
pub(crate) struct Request<'a> {
    pub(crate) id: AllocId,
    /// Its index in the group, which names volumes of its own.
    pub(crate) index: u32,
    pub(crate) group_name: &'a Arc<str>,
    /// Allocations wanted of the group, for anti-affinity and spread.
    pub(crate) desired: u32,
    /// Nodes where earlier attempts failed.
    pub(crate) avoid: &'a [NodeId],
    /// The only node that will do.
    pub(crate) only: Option<NodeId>,
}

/// A node for an allocation, with what it gives and why it won.
pub(crate) struct Spot {
    pub(crate) node: NodeId,
    pub(crate) node_name: Arc<str>,
    pub(crate) resources: AllocResources,
    pub(crate) refused: Arc<PlacementFailure>,
    pub(crate) score: NodeScore,
    pub(crate) best: Option<Arc<Vec<NodeScore>>>,
}

/// A node that may be chosen, by what makes it better than others.
#[derive(Clone, Copy)]
struct Choice {
    total: f64,
    own: f64,
    tie: u64,
    at: usize,
}

impl Choice {
    fn better(self, than: Option<Self>) -> bool {
        than.is_none_or(|other| {
            let order = self.total.total_cmp(&other.total);
            order.then(self.own.total_cmp(&other.own)).then(other.tie.cmp(&self.tie))
                == Ordering::Greater
        })
    }
}

/// All nodes and what is free on them, as a plan grows. Looked up when the first allocation needs a node: most passes
/// place nothing.
#[derive(Clone)]
pub(crate) struct Fleet {
    state: State,
    config: SchedulerConfig,
    /// Empty until needed.
    columns: Columns,
    filled: bool,
    rankings: Vec<(Arc<Asked>, Option<Ranking>)>,
    /// Where each is, by what is asked.
    ranked: BTreeMap<Arc<[u8]>, usize>,
    /// The names of nodes that were chosen, so that what is placed there shares them.
    names: BTreeMap<usize, Arc<str>>,
    /// How many groups were looked at.
    serial: u64,
    /// What each node bears once all that was told to stop is gone, and what was promised its room is there.
    after: BTreeMap<usize, state::NodeLoad>,
    /// What this pass tells to stop.
    stopping: BTreeSet<AllocId>,
    /// Nodes on which something was told to stop before, once somebody has asked.
    leaving: Option<BTreeSet<usize>>,
}

impl Fleet {
    pub(crate) fn of(state: &State) -> Self {
        Self {
            state: state.clone(),
            config: *state.scheduler_config(),
            columns: Columns::default(),
            filled: false,
            names: BTreeMap::new(),
            rankings: Vec::new(),
            ranked: BTreeMap::new(),
            serial: 0,
            after: BTreeMap::new(),
            stopping: BTreeSet::new(),
            leaving: None,
        }
    }

    fn fill(&mut self) {
        if !std::mem::replace(&mut self.filled, true) {
            self.columns = Columns::of(&self.state);
        }
    }

    /// A copy to go back to. What can be worked out again is left out.
    pub(crate) fn saved(&self) -> Self {
        let mut saved = Self {
            config: self.config,
            columns: self.columns.clone(),
            filled: self.filled,
            serial: self.serial,
            after: self.after.clone(),
            stopping: self.stopping.clone(),
            ..Self::of(&self.state)
        };
        saved.columns.touched.clear();
        saved
    }

    /// Notes that an allocation is told to stop.
    pub(crate) fn stops(&mut self, alloc: AllocId) {
        self.stopping.insert(alloc);
    }

    /// Takes the ranking of what is asked for out, made or up to date.
    fn ranking(&mut self, asked: &Arc<Asked>) -> Ranking {
        self.fill();
        if asked.writes {
            self.columns.note_writers(&self.state);
        }
        if let Some(at) = self.place_of(asked)
            && let Some(known) = self.rankings.get_mut(at).and_then(|(_, ranking)| ranking.take())
        {
            return known;
        }
        Ranking::of(&self.columns, asked, self.config.algorithm)
    }

    /// Where the ranking of what is asked for is: mostly it is the last one.
    fn place_of(&self, asked: &Asked) -> Option<usize> {
        if self.rankings.last().is_some_and(|(known, _)| known.key == asked.key) {
            return self.rankings.len().checked_sub(1);
        }
        self.ranked.get(&*asked.key).copied()
    }

    fn put_back(&mut self, asked: &Arc<Asked>, ranking: Ranking) {
        if let Some((_, known)) = self.place_of(asked).and_then(|at| self.rankings.get_mut(at)) {
            *known = Some(ranking);
            return;
        }
        if self.rankings.len() >= RANKINGS {
            self.rankings.clear();
            self.ranked.clear();
        }
        self.ranked.insert(asked.key.as_slice().into(), self.rankings.len());
        self.rankings.push((Arc::clone(asked), Some(ranking)));
    }

    /// The nodes that will do for a group, in order of ID.
    pub(crate) fn feasible(&mut self, candidates: &Candidates) -> Vec<NodeId> {
        let ranking = self.ranking(&candidates.asked);
        let nodes = ranking.feasible().filter_map(|at| self.columns.ids.get(at).copied()).collect();
        self.put_back(&candidates.asked, ranking);
        nodes
    }

    /// Finds the best node and takes the room; or says why there is none.
    pub(crate) fn place(
        &mut self,
        candidates: &Candidates,
        presence: &Presence,
        request: &Request<'_>,
    ) -> Result<Spot, PlacementFailure> {
        let asked = &candidates.asked;
        let mut ranking = self.ranking(asked);
        let mut kept = candidates.own.borrow_mut();
        let own = self.own(&mut kept, asked, &mut ranking, presence, request);

        let found = match request.only.map(|only| self.columns.find(only)) {
            Some(Some(at)) => {
                let verdict = refusal(&self.columns, &ranking, own, asked, request, at);
                verdict.map(|()| at).map_err(|refusal| {
                    Box::new(PlacementFailure {
                        unplaced: 1,
                        nodes_evaluated: 1,
                        ..refusal.counted()
                    })
                })
            }
            Some(None) => Err(Box::default()),
            None => {
                let found = if asked.each_its_own {
                    scan(&self.columns, &ranking, own, asked, request, ranking.feasible())
                } else {
                    pick(&self.columns, &mut ranking, own, asked, request)
                };
                found.ok_or_else(|| {
                    Box::new(failure(&self.columns, &mut ranking, own, asked, request))
                })
            }
        };
        if found.is_ok() && own.best.is_none() && request.only.is_none() {
            let best = best(&self.columns, &mut ranking, own);
            own.best = Some(Arc::new(best));
        }
        let found = found.map(|at| {
            let standing = own.standing(&self.columns, &ranking, at);
            (at, standing, own.best.clone().filter(|_| request.only.is_none()))
        });
        let refused = ranking.refused();
        for avoided in std::mem::take(&mut own.avoided) {
            self.columns.touch(avoided as usize);
        }
        drop(kept);
        self.put_back(asked, ranking);
        let (at, standing, best) = found.map_err(|failure| *failure)?;
        let (node, node_name, resources) = self.take(asked, request, at)?;
        Ok(Spot { node, node_name, resources, refused, score: standing.explained(node), best })
    }

    /// Where the job is already, and the ranking, both up to date: how each look at the nodes begins.
    fn own<'k>(
        &mut self,
        kept: &'k mut Option<Own>,
        asked: &Asked,
        ranking: &mut Ranking,
        presence: &Presence,
        request: &Request<'_>,
    ) -> &'k mut Own {
        if kept.as_ref().is_some_and(|own| own.desired() != request.desired) {
            *kept = None;
        }
        let avoided = self.numbers(request.avoid);
        let own = kept.get_or_insert_with(|| {
            self.serial += 1;
            Own::new(self.serial, &self.columns, asked, ranking, request.desired)
        });
        ranking.catch_up(&self.columns, own.serial);
        own.catch_up(&self.columns, ranking, presence, request.group_name);
        own.avoided = avoided;
        own
    }

    fn numbers(&self, nodes: &[NodeId]) -> Vec<u32> {
        nodes.iter().filter_map(|node| Some(self.columns.find(*node)? as u32)).collect()
    }

    /// Gives an allocation what it asks for on a node that has it.
    fn take(
        &mut self,
        asked: &Asked,
        request: &Request<'_>,
        at: usize,
    ) -> Result<(NodeId, Arc<str>, AllocResources), PlacementFailure> {
        let there = self.columns.nodes.get(at).cloned().zip(self.columns.load(at));
        let Some((node, load)) = there else {
            return Err(PlacementFailure { unplaced: 1, ..PlacementFailure::default() });
        };
        let bits = request.id.uuid().as_u128();
        let seed = mix(bits as u64 ^ (bits >> 64) as u64);
        let ports = asked.network.as_ref().map_or_else(Vec::new, |network| {
            Ports { node: &node, load }.choose(network, seed ^ tie_break(node.id))
        });
        let devices = asked.devices.as_ref().and_then(|devices| devices.choose(&node, load).ok());
        let devices = devices.map(|(given, _)| given).unwrap_or_default();
        let resources = AllocResources {
            cpu: asked.cpu_on(&node),
            memory_mb: asked.memory_mb,
            disk_mb: asked.disk_mb,
            ports,
            tasks: grants(choose_cores(&node, load, asked), devices),
        };
        self.columns.hold(at, &resources);
        self.columns.write(at, &asked.group, request.index);
        if let Some(after) = self.after.get_mut(&at) {
            after.hold(&resources);
        }
        let name = self.names.entry(at).or_insert_with(|| node.name.as_str().into());
        Ok((node.id, Arc::clone(name), resources))
    }

    /// Whether the group would fit on the node of `leaving` if that one were gone already.
    pub(crate) fn fits_after(
        &mut self,
        candidates: &Candidates,
        index: u32,
        leaving: &Allocation,
    ) -> bool {
        let asked = &candidates.asked;
        let ranking = self.ranking(asked);
        let at = self.columns.find(leaving.node).filter(|at| ranking.is_feasible(*at));
        self.put_back(asked, ranking);
        let Some((at, node)) = at.and_then(|at| Some((at, self.columns.nodes.get(at)?))) else {
            return false;
        };
        let Some(load) = self.columns.load(at) else { return false };
        let mut load = load.clone();
        load.release(&leaving.resources);
        let mut writers = self.columns.writers(at).cloned().unwrap_or_default();
        if let Some(group) = group_of(&self.state, leaving) {
            writers.leave(group, leaving.index);
        }
        let mut own = of_host(&asked.group).filter(|volume| volume.per_alloc);
        own.all(|volume| offered(volume, index, node).is_ok())
            && writers.admit(&asked.group, index).is_ok()
            && fits_load(node, &load, asked).is_ok()
    }

    /// What a group that found no room waits for.
    pub(crate) fn unplaced(&mut self, candidates: &Candidates) -> Unplaced {
        let asked = &candidates.asked;
        let ranking = self.ranking(asked);
        let mut hopeless: BTreeSet<u128> = BTreeSet::new();
        if !asked.demands.escapes_class() {
            let refused = |at: &usize| {
                self.columns.ready.get(*at).copied().unwrap_or_default()
                    && !ranking.is_feasible(*at)
            };
            let nodes = (0..self.columns.len()).filter(refused);
            let classes = nodes.filter_map(|at| self.state.node_class(*self.columns.ids.get(at)?));
            hopeless.extend(classes);
        }
        let (cpu, memory_mb, disk_mb) = (asked.cpu, asked.memory_mb, asked.disk_mb);
        self.put_back(asked, ranking);
        Unplaced { cpu, memory_mb, disk_mb, hopeless }
    }

    /// How many nodes can take anything.
    pub(crate) fn ready(&mut self) -> u32 {
        self.fill();
        self.columns.ready.iter().filter(|ready| **ready).count() as u32
    }
}

/// The best node, by the tops of all cells.
fn pick(
    columns: &Columns,
    ranking: &mut Ranking,
    own: &mut Own,
    asked: &Asked,
    request: &Request<'_>,
) -> Option<usize> {
    let mut best: Option<Choice> = None;
    let asked_parts = Standing {
        affinity: asked.affinities.as_ref().map(|_| 0.0),
        devices: asked.devices.as_ref().filter(|devices| devices.have_affinities()).map(|_| 0.0),
        ..Standing::default()
    };
    for cell in 0..ranking.cells.len() {
        let Some(domains) = ranking.cells.get(cell).map(|cell| &cell.domains) else { continue };
        if own.limit_reached(domains).is_some() {
            continue;
        }
        let spread = own.spread(domains);
        let choice = |entry: Entry, collides: bool| {
            let anti_affinity = collides.then_some(0.0);
            let parts = Standing { packing: entry.sum, spread, anti_affinity, ..asked_parts };
            Choice { total: parts.total(), own: entry.sum, tie: entry.tie, at: entry.node as usize }
        };
        let free = ranking.top(columns, cell, |node| own.is_apart(node));
        let shared = own.top(columns, cell);
        for choice in [free.map(|top| choice(top, false)), shared.map(|top| choice(top, true))]
            .into_iter()
            .flatten()
        {
            if choice.better(best) {
                best = Some(choice);
            }
        }
    }
    let avoided: Vec<usize> = own.avoided.iter().map(|at| *at as usize).collect();
    let last_resort = scan_choice(columns, ranking, own, asked, request, avoided.into_iter());
    match last_resort {
        Some(choice) if choice.better(best) => Some(choice.at),
        _ => best.map(|choice| choice.at),
    }
}

/// The best of some nodes, each looked at for itself.
fn scan(
    columns: &Columns,
    ranking: &Ranking,
    own: &Own,
    asked: &Asked,
    request: &Request<'_>,
    nodes: impl Iterator<Item = usize>,
) -> Option<usize> {
    scan_choice(columns, ranking, own, asked, request, nodes).map(|choice| choice.at)
}

fn scan_choice(
    columns: &Columns,
    ranking: &Ranking,
    own: &Own,
    asked: &Asked,
    request: &Request<'_>,
    nodes: impl Iterator<Item = usize>,
) -> Option<Choice> {
    let mut best = None;
    for at in nodes {
        if refusal(columns, ranking, own, asked, request, at).is_err() {
            continue;
        }
        let standing = own.standing(columns, ranking, at);
        let choice = Choice {
            total: standing.total(),
            own: standing.base() + standing.anti_affinity.unwrap_or(0.0),
            tie: columns.tie.get(at).copied().unwrap_or_default(),
            at,
        };
        if choice.better(best) {
            best = Some(choice);
        }
    }
    best
}

/// The best nodes as they stand, for people: at most five.
fn best(columns: &Columns, ranking: &mut Ranking, own: &mut Own) -> Vec<NodeScore> {
    // Of few cells the best of each are looked at, of many the best one.
    let depth = if ranking.cells.len() <= EXPLAINED { EXPLAINED } else { 1 };
    let mut nodes: Vec<usize> = Vec::new();
    for cell in 0..ranking.cells.len() {
        let mut taken = Vec::with_capacity(depth);
        while taken.len() < depth
            && let Some(top) = ranking.top(columns, cell, |node| own.is_apart(node))
        {
            taken.push(top);
            if let Some(cell) = ranking.cells.get_mut(cell) {
                cell.heap.pop();
            }
        }
        nodes.extend(taken.iter().map(|entry| entry.node as usize));
        if let Some(cell) = ranking.cells.get_mut(cell) {
            cell.heap.extend(taken);
        }
        nodes.extend(own.top(columns, cell).map(|entry| entry.node as usize));
    }
    let mut standings: Vec<(f64, u64, Standing, NodeId)> = nodes
        .into_iter()
        .filter_map(|at| {
            let standing = own.standing(columns, ranking, at);
            let (tie, node) = (columns.tie.get(at)?, columns.ids.get(at)?);
            Some((standing.total(), *tie, standing, *node))
        })
        .collect();
    standings.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let best = standings.into_iter().take(EXPLAINED);
    best.map(|(_, _, standing, node)| standing.explained(node)).collect()
}

/// Why a node will not do.
enum Refusal {
    /// It must not.
    Filtered(String),
    /// It has no room.
    Exhausted(String),
}

impl Refusal {
    fn counted(self) -> PlacementFailure {
        let mut failure = PlacementFailure::default();
        match self {
            Self::Filtered(reason) => failure.filtered.insert(reason, 1),
            Self::Exhausted(reason) => failure.exhausted.insert(reason, 1),
        };
        failure
    }
}

/// Whether one node would do now, and why not.
fn refusal(
    columns: &Columns,
    ranking: &Ranking,
    own: &Own,
    asked: &Asked,
    request: &Request<'_>,
    at: usize,
) -> Result<(), Refusal> {
    let Some(node) = columns.nodes.get(at) else {
        return Err(Refusal::Filtered("the node is gone".to_owned()));
    };
    if !ranking.is_feasible(at) {
        let reason = match verdict(asked, node) {
            Err(reason) => reason,
            Ok(()) => "the node takes nothing".to_owned(),
        };
        return Err(Refusal::Filtered(reason));
    }
    if own.is_closed(at) {
        return Err(Refusal::Filtered("its room is needed by a more important job".to_owned()));
    }
    if own.is_taken(at) {
        return Err(Refusal::Filtered("distinct_hosts".to_owned()));
    }
    if let Some(limit) = own.limit_reached(ranking.domains(at)) {
        let property = asked.demands.distinct_properties.get(limit);
        return Err(Refusal::Filtered(property.map_or_else(String::new, |p| p.text.clone())));
    }
    let mut volumes = of_host(&asked.group).filter(|volume| volume.per_alloc);
    volumes
        .try_for_each(|volume| offered(volume, request.index, node))
        .map_err(Refusal::Filtered)?;
    let short = columns.fits(at, asked, request.index);
    short.map_err(|short| Refusal::Exhausted(short.as_str().to_owned()))
}

/// Why no node will do, counted over all.
fn failure(
    columns: &Columns,
    ranking: &mut Ranking,
    own: &Own,
    asked: &Asked,
    request: &Request<'_>,
) -> PlacementFailure {
    let mut failure = PlacementFailure::clone(&ranking.refused());
    failure.exhausted.clear();
    failure.unplaced = 1;
    for at in ranking.feasible() {
        match refusal(columns, ranking, own, asked, request, at) {
            Err(Refusal::Filtered(reason)) => *failure.filtered.entry(reason).or_default() += 1,
            Err(Refusal::Exhausted(short)) => *failure.exhausted.entry(short).or_default() += 1,
            Ok(()) => {}
        }
    }
    failure
}

/// What an allocation was placed as.
fn group_of<'a>(state: &'a State, alloc: &Allocation) -> Option<&'a Group> {
    let record = state.job(&alloc.job)?;
    let version = record.version(alloc.job_version).or_else(|| record.current())?;
    version.job.group(&alloc.group)
}

/// An allocation's ID: it follows from the job, its version, the group, and the state that the plan is made from.
pub(crate) fn alloc_id(job: &str, version: u64, group: &str, basis: u64, ordinal: u32) -> AllocId {
    AllocId::new(seeded_uuid(&[
        b"allocation",
        job.as_bytes(),
        &version.to_be_bytes(),
        group.as_bytes(),
        &basis.to_be_bytes(),
        &ordinal.to_be_bytes(),
    ]))
}
