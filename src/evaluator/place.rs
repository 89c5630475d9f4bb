//! Finds a node for an allocation.
//!
//! Everything that knows how nodes are looked at is behind [`Fleet::place`]: who will do, room, ports and scores. The
//! best of all nodes that will do is found, not of a sample. What an allocation holds counts until its node says that it
//! is over, even when it is told to stop, so that a node is never over-committed while something is still ending.

mod asked;
mod better;
mod columns;
mod evict;
mod fits;
mod fleet;
mod log;
mod own;
mod ranking;
mod rankings;
mod refusal;
mod search;
mod spread;
#[cfg(test)]
mod tests;
mod verdicts;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    AllocId, AllocResources, Allocation, Group, Job, NodeId, NodeScore, PlacementFailure,
    seeded_uuid,
};
use state::{State, Unplaced};

use crate::feasible::{Demands, grants};
use crate::ports::Ports;
use crate::rank::{mix, tie_break};
use crate::volumes::{of_host, offered};
use asked::Asked;
pub(crate) use better::Better;
pub(crate) use evict::{Claim, Eviction};
use fits::{choose_cores, fits_load};
pub use fleet::Fleet;
use own::Own;
pub(crate) use own::Presence;
use ranking::Ranking;
use refusal::{failure, refusal};
use search::{Podium, best, pick, scan};

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

impl Fleet {
    /// Notes that an allocation is told to stop.
    pub(crate) fn stops(&mut self, alloc: AllocId) {
        self.pass.stopping.insert(alloc);
    }

    /// The nodes that will do for a group, in order of ID.
    pub(crate) fn feasible(&mut self, candidates: &Candidates) -> Vec<NodeId> {
        let ranking = self.ranking(&candidates.asked);
        let nodes = ranking.feasible().filter_map(|at| self.columns.ids.get(at).copied()).collect();
        self.rankings.put(&candidates.asked, ranking);
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

        let mut podium = Podium::wanted(&ranking, own);
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
                        .map(|choice| choice.at)
                } else {
                    pick(&self.columns, &mut ranking, own, asked, request, podium.as_mut())
                };
                found.ok_or_else(|| {
                    Box::new(failure(&self.columns, &mut ranking, own, asked, request))
                })
            }
        };
        if found.is_ok() && own.best.is_none() && request.only.is_none() {
            let best = best(&self.columns, &mut ranking, own, podium);
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
        self.rankings.put(asked, ranking);
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
        self.columns.write(at, &asked.volumes, request.index);
        if let Some(after) = self.pass.after.get_mut(&at) {
            after.hold(&resources);
        }
        let name = self.pass.names.entry(at).or_insert_with(|| node.name.as_str().into());
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
        self.rankings.put(asked, ranking);
        let Some((at, node)) = at.and_then(|at| Some((at, self.columns.nodes.get(at)?))) else {
            return false;
        };
        let Some(load) = self.columns.load(at) else { return false };
        let mut load = load.clone();
        load.release(&leaving.resources);
        let mut writers = self.columns.writers(at).cloned().unwrap_or_default();
        if let Some(group) = group_of(&self.pass.state, leaving) {
            writers.leave(of_host(group), leaving.index);
        }
        let mut own = asked.volumes.iter().filter(|volume| volume.per_alloc);
        own.all(|volume| offered(volume, index, node).is_ok())
            && writers.admit(&asked.volumes, index).is_ok()
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
            let classes =
                nodes.filter_map(|at| self.pass.state.node_class(*self.columns.ids.get(at)?));
            hopeless.extend(classes);
        }
        let (cpu, memory_mb, disk_mb) = (asked.cpu, asked.memory_mb, asked.disk_mb);
        self.rankings.put(asked, ranking);
        Unplaced { cpu, memory_mb, disk_mb, hopeless }
    }

    /// How many nodes can take anything.
    pub(crate) fn ready(&mut self) -> u32 {
        self.fill();
        self.columns.ready.iter().filter(|ready| **ready).count() as u32
    }
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
