//! Makes room for what is more important (nomad.md 2.7): which allocations would have to go on a node, and on which node
//! that costs least.
//!
//! What is evicted holds its room until its node says that it is over, so that what it makes room for is placed once it
//! is. Until then that room is taken for granted: nobody is evicted twice for the same.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use model::{AllocId, Allocation, JobId};
use state::{NodeLoad, State};

use super::asked::Asked;
use super::columns::Columns;
use super::fits::{Short, fits_load};
use super::own::{Own, Presence};
use super::ranking::Ranking;
use super::{Candidates, Fleet, Request};
use crate::rank::{Standing, preemption};

/// How much more important a job must be than what it takes the room of.
const MARGIN: u16 = 10;
/// What each victim beyond what its group may miss at once adds to its distance.
const TOO_MANY: f64 = 50.0;

/// What comes of asking for room.
pub(crate) enum Eviction {
    /// There will be room once these are over.
    Of(Vec<Arc<Allocation>>),
    /// There will be room once what is told to stop already is over.
    Waits,
    /// Nobody is less important enough.
    None,
}

/// Who asks.
pub(crate) struct Claim<'a> {
    pub(crate) job: &'a JobId,
    pub(crate) priority: u16,
}

/// Nodes on which room could be made, best first.
#[derive(Default)]
pub(super) struct Offers(BinaryHeap<Offer>);

#[derive(PartialEq)]
struct Offer {
    total: f64,
    tie: u64,
    at: usize,
}

impl Eq for Offer {}

impl Ord for Offer {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.total.total_cmp(&other.total);
        order.then_with(|| other.tie.cmp(&self.tie)).then_with(|| other.at.cmp(&self.at))
    }
}

impl PartialOrd for Offer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Fleet {
    /// Looks for room for one that found none.
    pub(crate) fn make_room(
        &mut self,
        candidates: &Candidates,
        presence: &Presence,
        request: &Request<'_>,
        claim: &Claim<'_>,
    ) -> Eviction {
        let asked = &candidates.asked;
        let mut ranking = self.ranking(asked);
        let mut kept = candidates.own.borrow_mut();
        let own = self.own(&mut kept, asked, &mut ranking, presence, request);
        let nodes: Vec<usize> = match request.only {
            Some(only) => self.columns.find(only).into_iter().collect(),
            None => ranking.feasible().collect(),
        };
        let open = |own: &Own, at: usize| {
            ranking.is_feasible(at)
                && !own.is_taken(at)
                && own.limit_reached(ranking.domains(at)).is_none()
        };
        let mut eviction = Eviction::None;
        for at in self.loosening(request.only.map(|_| nodes.as_slice())) {
            if open(own, at) && self.promise(asked, at) {
                eviction = Eviction::Waits;
                break;
            }
        }
        if matches!(eviction, Eviction::None) {
            if own.offers.is_none() || request.only.is_some() {
                let offers = nodes
                    .iter()
                    .filter(|at| open(own, **at))
                    .filter_map(|at| self.offer(asked, own, &ranking, *at, claim));
                own.offers = Some(Offers(offers.collect()));
            }
            eviction = self.accept(asked, own, &ranking, claim, open);
        }
        for avoided in std::mem::take(&mut own.avoided) {
            self.columns.touch(avoided as usize);
        }
        drop(kept);
        self.rankings.put(asked, ranking);
        eviction
    }

    /// Takes the best offer that still stands.
    fn accept(
        &mut self,
        asked: &Asked,
        own: &mut Own,
        ranking: &Ranking,
        claim: &Claim<'_>,
        open: impl Fn(&Own, usize) -> bool,
    ) -> Eviction {
        while let Some(offer) = own.offers.as_mut().and_then(|offers| offers.0.pop()) {
            let at = offer.at;
            if !open(own, at) {
                continue;
            }
            // Somebody may have been faster since it was worked out.
            match self.offer(asked, own, ranking, at, claim) {
                None => continue,
                Some(now) if now != offer => {
                    if let Some(offers) = &mut own.offers {
                        offers.0.push(now);
                    }
                    continue;
                }
                Some(_) => {}
            }
            let Some(victims) = self.victims(asked, at, claim) else { continue };
            for victim in &victims {
                self.stops(victim.id);
            }
            if let Some(after) = self.pass.after.get_mut(&at) {
                for victim in &victims {
                    after.release(&victim.resources);
                }
            }
            self.promise(asked, at);
            let again = self.offer(asked, own, ranking, at, claim);
            if let (Some(again), Some(offers)) = (again, &mut own.offers) {
                offers.0.push(again);
            }
            return Eviction::Of(victims);
        }
        Eviction::None
    }

    /// The nodes on which something is told to stop that may run still; or those of `nodes`.
    fn loosening(&mut self, nodes: Option<&[usize]>) -> Vec<usize> {
        if let Some(nodes) = nodes {
            return nodes.to_vec();
        }
        let (state, columns) = (&self.pass.state, &self.columns);
        let known = self.pass.leaving.get_or_insert_with(|| {
            let leaves =
                |alloc: &&Arc<Allocation>| alloc.server_terminal() && !alloc.client.is_terminal();
            state.allocs().filter(leaves).filter_map(|alloc| columns.find(alloc.node)).collect()
        });
        known
            .iter()
            .chain(self.pass.after.keys())
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// What a node bears once all that was told to stop is gone, and what was promised its room is there.
    fn after(&mut self, at: usize) -> &mut NodeLoad {
        let (state, columns, stopping) = (&self.pass.state, &self.columns, &self.pass.stopping);
        self.pass.after.entry(at).or_insert_with(|| {
            let mut load = columns.load(at).cloned().unwrap_or_default();
            for alloc in leaving(state, columns, at, stopping) {
                load.release(&alloc.resources);
            }
            load
        })
    }

    /// Whether there will be room on a node without anybody else going; then it is promised.
    fn promise(&mut self, asked: &Asked, at: usize) -> bool {
        let Some(node) = self.columns.nodes.get(at).cloned() else { return false };
        let load = self.after(at);
        if fits_load(&node, load, asked).is_err() {
            return false;
        }
        load.hold(&held(asked, &node));
        true
    }

    fn offer(
        &mut self,
        asked: &Asked,
        own: &Own,
        ranking: &Ranking,
        at: usize,
        claim: &Claim<'_>,
    ) -> Option<Offer> {
        let victims = self.victims(asked, at, claim)?;
        let priorities = victims.iter().filter_map(|victim| priority(&self.pass.state, victim));
        let standing = Standing {
            preemption: Some(preemption(priorities)),
            ..own.standing(&self.columns, ranking, at)
        };
        let tie = self.columns.tie.get(at).copied().unwrap_or_default();
        Some(Offer { total: standing.total(), tie, at })
    }

    /// Who would have to go on a node: the least important first, and of those whoever comes closest to what is missing.
    fn victims(
        &mut self,
        asked: &Asked,
        at: usize,
        claim: &Claim<'_>,
    ) -> Option<Vec<Arc<Allocation>>> {
        let node = self.columns.nodes.get(at).cloned()?;
        let mut load = self.after(at).clone();
        let mut candidates: BTreeMap<u16, Vec<&Arc<Allocation>>> = BTreeMap::new();
        for alloc in self.pass.state.allocs_on_node(node.id) {
            let goes = alloc.terminal() || self.pass.stopping.contains(&alloc.id);
            if goes || alloc.job == *claim.job {
                continue;
            }
            let Some(priority) = priority(&self.pass.state, alloc) else { continue };
            if priority.saturating_add(MARGIN) <= claim.priority {
                candidates.entry(priority).or_default().push(alloc);
            }
        }
        let mut chosen: Vec<(f64, Arc<Allocation>)> = Vec::new();
        let mut of_group: BTreeMap<(&JobId, &str), u32> = BTreeMap::new();
        while let Err(short) = fits_load(&node, &load, asked) {
            let missing = Missing::of(&node, &load, asked);
            let mut next: Option<(f64, u16, usize)> = None;
            for (priority, allocs) in &candidates {
                for (n, alloc) in allocs.iter().enumerate() {
                    if !helps(alloc, &short) {
                        continue;
                    }
                    let group = (&alloc.job, &*alloc.group);
                    let gone = of_group.get(&group).copied().unwrap_or_default();
                    let distance =
                        missing.distance(alloc) + too_many(&self.pass.state, alloc, gone);
                    if next.is_none_or(|(known, ..)| distance < known) {
                        next = Some((distance, *priority, n));
                    }
                }
                if next.is_some() {
                    break;
                }
            }
            let (distance, priority, n) = next?;
            let alloc = candidates.get_mut(&priority)?.remove(n);
            *of_group.entry((&alloc.job, &*alloc.group)).or_default() += 1;
            load.release(&alloc.resources);
            chosen.push((distance, Arc::clone(alloc)));
        }
        // Whoever went early may turn out not to be needed: those who are furthest from what was missing stay first.
        let mut order: Vec<usize> = (0..chosen.len()).collect();
        let far = |n: &usize| chosen.get(*n).map_or(0.0, |(distance, _)| *distance);
        order.sort_by(|a, b| far(b).total_cmp(&far(a)));
        let mut stays: Vec<usize> = Vec::new();
        for n in order {
            let Some((_, alloc)) = chosen.get(n) else { continue };
            load.hold(&alloc.resources);
            if fits_load(&node, &load, asked).is_ok() {
                stays.push(n);
            } else {
                load.release(&alloc.resources);
            }
        }
        let victims = chosen.into_iter().enumerate().filter(|(n, _)| !stays.contains(n));
        let victims: Vec<_> = victims.map(|(_, (_, alloc))| alloc).collect();
        (!victims.is_empty()).then_some(victims)
    }
}

/// What is told to stop on a node and may run still.
fn leaving<'a>(
    state: &'a State,
    columns: &Columns,
    at: usize,
    stopping: &'a BTreeSet<AllocId>,
) -> impl Iterator<Item = &'a Arc<Allocation>> {
    let node = columns.ids.get(at).copied().unwrap_or_default();
    state.allocs_on_node(node).filter(move |alloc| {
        !alloc.client.is_terminal() && (alloc.server_terminal() || stopping.contains(&alloc.id))
    })
}

/// What one that asks for this would hold, but for the ports that are given by chance.
fn held(asked: &Asked, node: &model::Node) -> model::AllocResources {
    model::AllocResources {
        cpu: asked.cpu_on(node),
        memory_mb: asked.memory_mb,
        disk_mb: asked.disk_mb,
        ports: asked
            .network
            .iter()
            .flat_map(|network| &network.reserved_ports)
            .map(fixed)
            .collect(),
        tasks: BTreeMap::new(),
    }
}

fn fixed(port: &model::Port) -> model::PortAssignment {
    model::PortAssignment {
        label: port.label.as_str().into(),
        value: port.value,
        host_network: port.network().map(Into::into),
        ..model::PortAssignment::default()
    }
}

fn priority(state: &State, alloc: &Allocation) -> Option<u16> {
    state.job(&alloc.job)?.job().map(|job| job.priority)
}

/// What one more victim of a group costs that may miss fewer at once.
fn too_many(state: &State, alloc: &Allocation, gone: u32) -> f64 {
    let group = super::group_of(state, alloc);
    let most = group.and_then(|group| group.migrate.as_ref()).map_or(1, |m| m.max_parallel);
    if gone >= most { TOO_MANY * f64::from(gone + 1 - most) } else { 0.0 }
}

/// Whether an allocation holds something of what is short.
fn helps(alloc: &Allocation, short: &Short) -> bool {
    let held = &alloc.resources;
    match short {
        Short::Cpu => held.cpu > 0,
        Short::Memory => held.memory_mb > 0,
        Short::Disk => held.disk_mb > 0,
        Short::Cores => held.tasks.values().any(|grant| !grant.cores.is_empty()),
        Short::Other(words) => {
            let taken =
                words.strip_prefix("network: port ").and_then(|rest| rest.split(' ').next());
            match taken {
                Some(port) => held.ports.iter().any(|known| known.value.to_string() == port),
                None if words.starts_with("network") => !held.ports.is_empty(),
                None if words.starts_with("devices") => {
                    held.tasks.values().any(|grant| !grant.devices.is_empty())
                }
                None => false,
            }
        }
    }
}

/// How much is missing of what can be counted.
struct Missing {
    cpu: f64,
    memory: f64,
    disk: f64,
}

impl Missing {
    fn of(node: &model::Node, load: &NodeLoad, asked: &Asked) -> Self {
        let missing = |used: u64, more: u64, all: u64| (used + more).saturating_sub(all) as f64;
        let all = &node.resources;
        Self {
            cpu: missing(load.cpu, asked.cpu_on(node), all.cpu),
            memory: missing(load.memory_mb, asked.memory_mb, all.memory_mb),
            disk: missing(load.disk_mb, asked.disk_mb, all.disk_mb),
        }
    }

    /// How far what an allocation holds is from what is missing.
    fn distance(&self, alloc: &Allocation) -> f64 {
        let held = &alloc.resources;
        let part = |missing: f64, held: u64| {
            if missing > 0.0 { (missing - held as f64) / missing } else { 0.0 }
        };
        let parts = [
            part(self.cpu, held.cpu),
            part(self.memory, held.memory_mb),
            part(self.disk, held.disk_mb),
        ];
        parts.iter().map(|part| part * part).sum::<f64>().sqrt()
    }
}
