//! Finds a node for an allocation.
//!
//! Everything that knows how nodes are looked at is behind [`Fleet::place`]: candidates, room, ports and scores. All
//! feasible nodes are considered. What an allocation holds counts until its node says that it is over, even when it is
//! told to stop, so that a node is never over-committed while something is still ending.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    AllocId, AllocResources, Allocation, Group, LifecycleHook, Node, NodeId, NodeScore,
    PlacementFailure, seeded_uuid,
};
use state::State;

use crate::feasible::{Demands, Distinct};
use crate::ports::Ports;
use crate::rank::{Standing, mix, tie_break};
use crate::volumes::{Writers, of_host, offered};

/// The best nodes that an explanation names.
const EXPLAINED: usize = 5;

/// A node with what is given away of it.
#[derive(Clone)]
struct Room {
    node: Arc<Node>,
    cpu: u64,
    memory: u64,
    disk: u64,
    ports: Ports,
    writers: Writers,
}

impl Room {
    fn hold(&mut self, held: &AllocResources) {
        self.cpu += held.cpu;
        self.memory += held.memory_mb;
        self.disk += held.disk_mb;
        self.ports.take(&self.node, &held.ports);
    }

    /// Whether `need` fits; otherwise the dimension that is short.
    fn fits(&self, need: &Need<'_>) -> Result<(), String> {
        let all = &self.node.resources;
        for (name, used, asked, there) in [
            ("cpu", self.cpu, need.cpu, all.cpu),
            ("memory", self.memory, need.memory, all.memory_mb),
            ("disk", self.disk, need.disk, all.disk_mb),
        ] {
            if used.saturating_add(asked) > there {
                return Err(name.to_owned());
            }
        }
        self.writers.admit(need.group, need.index)?;
        need.group.network().map_or(Ok(()), |network| self.ports.fits(&self.node, &network))
    }
}

/// What one allocation of a group takes.
pub(crate) struct Need<'a> {
    group: &'a Group,
    index: u32,
    cpu: u64,
    memory: u64,
    disk: u64,
}

impl<'a> Need<'a> {
    /// Tasks that never run at the same time share: the most that runs at once counts.
    pub(crate) fn of(group: &'a Group, index: u32) -> Self {
        let (mut main, mut before, mut after) = ((0, 0), (0, 0), (0, 0));
        for task in &group.tasks {
            let sum = match &task.lifecycle {
                None => &mut main,
                Some(lifecycle) => match lifecycle.hook {
                    LifecycleHook::Prestart if lifecycle.sidecar => &mut main,
                    LifecycleHook::Prestart => &mut before,
                    LifecycleHook::Poststart => &mut main,
                    LifecycleHook::Poststop => &mut after,
                },
            };
            sum.0 += task.resources.cpu;
            sum.1 += task.resources.memory_mb;
        }
        Self {
            group,
            index,
            cpu: main.0.max(before.0).max(after.0),
            memory: main.1.max(before.1).max(after.1),
            disk: group.ephemeral_disk.size_mb,
        }
    }
}

/// Where the job's allocations are that count against being distinct or apart.
#[derive(Clone, Default)]
pub(crate) struct Presence {
    by_node: BTreeMap<NodeId, BTreeMap<Arc<str>, u32>>,
}

impl Presence {
    pub(crate) fn enter(&mut self, node: NodeId, group: &Arc<str>) {
        *self.by_node.entry(node).or_default().entry(Arc::clone(group)).or_default() += 1;
    }

    pub(crate) fn leave(&mut self, node: NodeId, group: &str) {
        if let Some(count) = self.by_node.get_mut(&node).and_then(|groups| groups.get_mut(group)) {
            *count = count.saturating_sub(1);
        }
    }

    fn count(&self, node: NodeId, over: Distinct, group: &str) -> u32 {
        let Some(groups) = self.by_node.get(&node) else { return 0 };
        match over {
            Distinct::Job => groups.values().sum(),
            Distinct::Group => groups.get(group).copied().unwrap_or(0),
        }
    }
}

/// The nodes that may run a group, found once for all its placements in a pass.
pub(crate) struct Candidates {
    pub(crate) demands: Demands,
    found: OnceCell<Found>,
}

struct Found {
    rooms: Vec<usize>,
    refused: PlacementFailure,
}

impl Candidates {
    pub(crate) fn new(demands: Demands) -> Self {
        Self { demands, found: OnceCell::new() }
    }

    /// Their IDs, in order.
    pub(crate) fn nodes(&self, fleet: &mut Fleet) -> Vec<NodeId> {
        fleet.fill();
        self.found(&fleet.rooms)
            .rooms
            .iter()
            .filter_map(|at| fleet.rooms.get(*at))
            .map(|room| room.node.id)
            .collect()
    }

    fn found(&self, rooms: &[Room]) -> &Found {
        self.found.get_or_init(|| {
            let mut found = Found { rooms: Vec::new(), refused: PlacementFailure::default() };
            for (at, room) in rooms.iter().enumerate() {
                if !room.node.is_ready() {
                    continue;
                }
                found.refused.nodes_evaluated += 1;
                match self.demands.check(&room.node) {
                    Ok(()) => found.rooms.push(at),
                    Err(reason) => *found.refused.filtered.entry(reason).or_default() += 1,
                }
            }
            found
        })
    }
}

/// One allocation that needs a node.
pub(crate) struct Request<'a> {
    pub(crate) id: AllocId,
    pub(crate) group: &'a Group,
    /// Its index in the group, which names volumes of its own.
    pub(crate) index: u32,
    pub(crate) group_name: &'a Arc<str>,
    /// Allocations wanted of the group, for anti-affinity.
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
    pub(crate) refused: PlacementFailure,
    pub(crate) scores: Vec<NodeScore>,
}

/// All nodes and what is free on them, as a plan grows. Looked up when the first allocation needs a node: most passes
/// place nothing.
#[derive(Clone)]
pub(crate) struct Fleet {
    state: State,
    /// By node ID; empty until needed.
    rooms: Vec<Room>,
    filled: bool,
}

impl Fleet {
    pub(crate) fn of(state: &State) -> Self {
        Self { state: state.clone(), rooms: Vec::new(), filled: false }
    }

    fn fill(&mut self) {
        if std::mem::replace(&mut self.filled, true) {
            return;
        }
        let rooms = self.state.nodes().map(|node| {
            let mut room = Room {
                node: Arc::clone(node),
                cpu: 0,
                memory: 0,
                disk: 0,
                ports: Ports::default(),
                writers: Writers::default(),
            };
            for alloc in self.state.allocs_on_node(node.id) {
                if alloc.client.is_terminal() {
                    room.ports.wear(node, &alloc.resources.ports);
                } else {
                    room.hold(&alloc.resources);
                    // Mostly a node offers nothing, and nobody has to look which job an allocation is of.
                    if !node.host_volumes.is_empty()
                        && let Some(group) = group_of(&self.state, alloc)
                    {
                        room.writers.enter(group, alloc.index);
                    }
                }
            }
            room
        });
        self.rooms = rooms.collect();
    }

    /// Finds the best node and takes the room; or says why there is none.
    pub(crate) fn place(
        &mut self,
        candidates: &Candidates,
        presence: &Presence,
        request: &Request<'_>,
    ) -> Result<Spot, PlacementFailure> {
        self.fill();
        let need = Need::of(request.group, request.index);
        let found = candidates.found(&self.rooms);
        let bits = request.id.uuid().as_u128();
        let seed = mix(bits as u64 ^ (bits >> 64) as u64);
        let mut refused = found.refused.clone();
        let property_counts = self.property_counts(candidates, presence, request);
        // Best first; a handful, so that insertion beats sorting all.
        let mut best: Vec<(f64, u64, usize, Standing)> = Vec::with_capacity(EXPLAINED + 1);
        for &at in &found.rooms {
            let Some(room) = self.rooms.get(at) else { continue };
            if request.only.is_some_and(|only| only != room.node.id) {
                continue;
            }
            if let Err(reason) =
                distinct(candidates, presence, request, &room.node, &property_counts)
            {
                *refused.filtered.entry(reason).or_default() += 1;
                continue;
            }
            let mut own = of_host(request.group).filter(|volume| volume.per_alloc);
            if let Err(reason) =
                own.try_for_each(|volume| offered(volume, request.index, &room.node))
            {
                *refused.filtered.entry(reason).or_default() += 1;
                continue;
            }
            if let Err(dimension) = room.fits(&need) {
                *refused.exhausted.entry(dimension).or_default() += 1;
                continue;
            }
            let standing = Standing {
                cpu: (room.cpu + need.cpu, room.node.resources.cpu),
                memory: (room.memory + need.memory, room.node.resources.memory_mb),
                collisions: presence.count(room.node.id, Distinct::Group, request.group_name),
                desired: request.desired,
                penalised: request.avoid.contains(&room.node.id),
            };
            let score = standing.total();
            let tie = tie_break(seed, room.node.id);
            let position = best
                .iter()
                .position(|(other, other_tie, ..)| {
                    score.total_cmp(other).then(other_tie.cmp(&tie)) == Ordering::Greater
                })
                .unwrap_or(best.len());
            if position < EXPLAINED {
                best.insert(position, (score, tie, at, standing));
                best.truncate(EXPLAINED);
            }
        }
        let scores = best
            .iter()
            .filter_map(|(_, _, at, standing)| {
                Some(standing.explained(self.rooms.get(*at)?.node.id))
            })
            .collect();
        let Some(room) = best.first().and_then(|(_, _, at, _)| self.rooms.get_mut(*at)) else {
            refused.unplaced = 1;
            return Err(refused);
        };
        let node = Arc::clone(&room.node);
        let ports = request.group.network().map_or_else(Vec::new, |network| {
            room.ports.assign(&node, &network, seed ^ tie_break(0, node.id))
        });
        let resources = AllocResources {
            cpu: need.cpu,
            memory_mb: need.memory,
            disk_mb: need.disk,
            ports,
            ..AllocResources::default()
        };
        room.hold(&resources);
        room.writers.enter(request.group, request.index);
        Ok(Spot {
            node: node.id,
            node_name: Arc::from(node.name.as_str()),
            resources,
            refused,
            scores,
        })
    }

    /// Whether the group would fit on the node of `leaving` if that one were gone already.
    pub(crate) fn fits_after(
        &mut self,
        candidates: &Candidates,
        group: &Group,
        index: u32,
        leaving: &Allocation,
    ) -> bool {
        self.fill();
        let Ok(at) = self.rooms.binary_search_by_key(&leaving.node, |room| room.node.id) else {
            return false;
        };
        if candidates.found(&self.rooms).rooms.binary_search(&at).is_err() {
            return false;
        }
        let Some(room) = self.rooms.get(at) else { return false };
        let mut room = room.clone();
        room.cpu = room.cpu.saturating_sub(leaving.resources.cpu);
        room.memory = room.memory.saturating_sub(leaving.resources.memory_mb);
        room.disk = room.disk.saturating_sub(leaving.resources.disk_mb);
        room.ports = room.ports.without(&room.node, &leaving.resources.ports);
        if let Some(group) = group_of(&self.state, leaving) {
            room.writers.leave(group, leaving.index);
        }
        let mut own = of_host(group).filter(|volume| volume.per_alloc);
        own.all(|volume| offered(volume, index, &room.node).is_ok())
            && room.fits(&Need::of(group, index)).is_ok()
    }

    /// For each `distinct_property`, how many allocations have each value.
    fn property_counts(
        &self,
        candidates: &Candidates,
        presence: &Presence,
        request: &Request<'_>,
    ) -> Vec<BTreeMap<String, u32>> {
        candidates
            .demands
            .distinct_properties
            .iter()
            .map(|property| {
                let mut counts = BTreeMap::new();
                for node in presence.by_node.keys() {
                    let Ok(at) = self.rooms.binary_search_by_key(node, |room| room.node.id) else {
                        continue;
                    };
                    let Some(room) = self.rooms.get(at) else { continue };
                    if let Some(value) = property.value(&room.node) {
                        let count = presence.count(*node, property.over, request.group_name);
                        *counts.entry(value).or_default() += count;
                    }
                }
                counts
            })
            .collect()
    }
}

/// What an allocation was placed as.
fn group_of<'a>(state: &'a State, alloc: &Allocation) -> Option<&'a Group> {
    let record = state.job(&alloc.job)?;
    let version = record.version(alloc.job_version).or_else(|| record.current())?;
    version.job.group(&alloc.group)
}

fn distinct(
    candidates: &Candidates,
    presence: &Presence,
    request: &Request<'_>,
    node: &Node,
    property_counts: &[BTreeMap<String, u32>],
) -> Result<(), String> {
    if let Some(over) = candidates.demands.distinct_hosts
        && presence.count(node.id, over, request.group_name) > 0
    {
        return Err("distinct_hosts".to_owned());
    }
    for (property, counts) in candidates.demands.distinct_properties.iter().zip(property_counts) {
        let room = property
            .value(node)
            .is_some_and(|value| counts.get(&value).copied().unwrap_or(0) < property.limit);
        if !room {
            return Err(property.text.clone());
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests;
