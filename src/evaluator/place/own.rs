//! Where one job's group is already, as far as it makes nodes better or worse, or closes them.
//!
//! Nodes that bear allocations of the group have heaps of their own here: what they are worth to this job is nobody
//! else's business.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use model::{NodeId, NodeScore};

use super::asked::Asked;
use super::columns::Columns;
use super::ranking::{Entry, Ranking};
use super::spread::{Domain, MISSING, Spreading};
use crate::feasible::{Distinct, DistinctProperty};
use crate::rank::{Part, Standing, anti_affinity};

/// Where a job's allocations come and go during a pass.
#[derive(Clone, Default)]
pub(crate) struct Presence {
    log: Vec<Move>,
    closed: Vec<NodeId>,
}

#[derive(Clone)]
struct Move {
    node: NodeId,
    group: Arc<str>,
    comes: bool,
}

impl Presence {
    /// Notes a node on which the job makes room for a more important one: what it places there would be in the way again.
    pub(crate) fn close(&mut self, node: NodeId) {
        self.closed.push(node);
    }

    pub(crate) fn enter(&mut self, node: NodeId, group: &Arc<str>) {
        self.log.push(Move { node, group: Arc::clone(group), comes: true });
    }

    pub(crate) fn leave(&mut self, node: NodeId, group: &Arc<str>) {
        self.log.push(Move { node, group: Arc::clone(group), comes: false });
    }
}

/// A limit to how many may share a value.
struct Limit {
    over: Distinct,
    limit: u32,
    counts: BTreeMap<Domain, u32>,
}

/// Nodes with any that are looked up in a tree; from there on all nodes have a number of their own.
const FEW: usize = 64;

/// How many there are by node. Mostly there are few nodes with any.
#[derive(Default)]
struct Counts {
    some: Vec<u64>,
    few: BTreeMap<u32, u32>,
    /// Of all nodes; empty while there are few with any.
    all: Vec<u32>,
}

impl Counts {
    fn of(nodes: usize) -> Self {
        Self { some: vec![0; nodes.div_ceil(64)], ..Self::default() }
    }

    fn any(&self, at: usize) -> bool {
        self.some.get(at / 64).is_some_and(|bits| bits & (1 << (at % 64)) != 0)
    }

    fn get(&self, at: usize) -> u32 {
        if !self.any(at) {
            return 0;
        }
        let count = if self.all.is_empty() { self.few.get(&(at as u32)) } else { self.all.get(at) };
        count.copied().unwrap_or_default()
    }

    fn shift(&mut self, at: usize, comes: bool) {
        let before = self.get(at);
        let count = if comes { before + 1 } else { before.saturating_sub(1) };
        let nodes = self.some.len() * 64;
        let Some(bits) = self.some.get_mut(at / 64) else { return };
        if count == 0 {
            *bits &= !(1 << (at % 64));
            self.few.remove(&(at as u32));
        } else {
            *bits |= 1 << (at % 64);
        }
        if let Some(known) = self.all.get_mut(at) {
            *known = count;
        } else if count > 0 {
            self.few.insert(at as u32, count);
        }
        if self.few.len() > FEW {
            self.all = vec![0; nodes];
            for (at, count) in std::mem::take(&mut self.few) {
                if let Some(known) = self.all.get_mut(at as usize) {
                    *known = count;
                }
            }
        }
    }
}

pub(super) struct Own {
    /// Tells it from other jobs' and groups'.
    pub(super) serial: u64,
    desired: u32,
    distinct_hosts: Option<Distinct>,
    /// Allocations of the group by node; those of the job where its hosts must be distinct.
    of_group: Counts,
    of_job: Counts,
    spreads: Vec<Spreading>,
    limits: Vec<Limit>,
    /// Nodes on which the job makes room for a more important one, and how many of them are known.
    closed: BTreeSet<u32>,
    closed_known: usize,
    /// The nodes that bear allocations of the group, by cell.
    heaps: Vec<BinaryHeap<Entry>>,
    /// How much of the presence is known.
    seen: usize,
    /// How much of the columns' changes is known.
    known: usize,
    /// Nodes that are not looked at for now.
    pub(super) avoided: Vec<u32>,
    /// The best when the first of the group was placed.
    pub(super) best: Option<Arc<Vec<NodeScore>>>,
    /// Nodes on which room could be made, and at which price; worked out when the first is needed.
    pub(super) offers: Option<super::evict::Offers>,
}

impl Own {
    pub(super) fn new(
        serial: u64,
        columns: &Columns,
        asked: &Asked,
        ranking: &Ranking,
        desired: u32,
    ) -> Self {
        let weights: f64 = asked.spreads.iter().map(|spread| f64::from(spread.weight)).sum();
        let spreads = asked.spreads.iter().zip(&ranking.values).map(|(spread, values)| {
            let share = f64::from(spread.weight) / weights;
            Spreading::new(spread, share, desired, values.iter().map(AsRef::<str>::as_ref))
        });
        let limit = |property: &DistinctProperty| Limit {
            over: property.over,
            limit: property.limit,
            counts: BTreeMap::new(),
        };
        Self {
            serial,
            desired,
            distinct_hosts: asked.demands.distinct_hosts,
            of_group: Counts::of(columns.len()),
            of_job: match asked.demands.distinct_hosts {
                Some(Distinct::Job) => Counts::of(columns.len()),
                Some(Distinct::Group) | None => Counts::default(),
            },
            spreads: spreads.collect(),
            limits: asked.demands.distinct_properties.iter().map(limit).collect(),
            closed: BTreeSet::new(),
            closed_known: 0,
            heaps: Vec::new(),
            seen: 0,
            known: columns.touched.end(),
            avoided: Vec::new(),
            best: None,
            offers: None,
        }
    }

    pub(super) const fn desired(&self) -> u32 {
        self.desired
    }

    /// Learns what has changed.
    pub(super) fn catch_up(
        &mut self,
        columns: &Columns,
        ranking: &mut Ranking,
        presence: &Presence,
        group: &str,
    ) {
        for node in presence.closed.get(self.closed_known..).unwrap_or_default() {
            self.closed_known += 1;
            self.closed.extend(columns.find(*node).map(|at| at as u32));
        }
        let (mut changed, mut left): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        while let Some(moved) = presence.log.get(self.seen) {
            self.seen += 1;
            let Some(at) = columns.find(moved.node) else { continue };
            let mine = *moved.group == *group;
            self.of_job.shift(at, moved.comes);
            if mine {
                self.of_group.shift(at, moved.comes);
            }
            let domains = ranking.domains(at);
            if mine {
                for (spread, domain) in self.spreads.iter_mut().zip(domains) {
                    spread.shift(*domain, moved.comes);
                }
            }
            for (limit, domain) in
                self.limits.iter_mut().zip(domains.iter().skip(self.spreads.len()))
            {
                if (mine || limit.over == Distinct::Job) && *domain != MISSING {
                    let count = limit.counts.entry(*domain).or_default();
                    *count = if moved.comes { *count + 1 } else { count.saturating_sub(1) };
                }
            }
            if moved.comes { changed.push(at) } else { left.push(at) }
        }
        let touched = columns.touched.since(self.known).unwrap_or_default();
        self.known = columns.touched.end();
        changed.extend(touched.iter().map(|at| *at as usize));
        for at in &left {
            if self.collisions(*at) == 0 {
                // It may have been set aside for what has left it.
                ranking.consider(columns, *at);
            }
        }
        changed.append(&mut left);
        changed.sort_unstable();
        changed.dedup();
        for at in changed {
            if self.collisions(at) > 0 {
                self.push(columns, ranking, at);
            }
        }
    }

    fn push(&mut self, columns: &Columns, ranking: &Ranking, at: usize) {
        if self.is_taken(at) {
            return;
        }
        if let Some(mut entry) = ranking.entry(columns, at) {
            entry.count = self.collisions(at);
            entry.sum += self.anti_affinity(at).unwrap_or(0.0);
            self.heaps.resize_with(ranking.cells.len(), BinaryHeap::new);
            if let Some(heap) = self.heaps.get_mut(ranking.cell_of(at)) {
                heap.push(entry);
            }
        }
    }

    pub(super) fn collisions(&self, at: usize) -> u32 {
        self.of_group.get(at)
    }

    fn anti_affinity(&self, at: usize) -> Part {
        anti_affinity(self.collisions(at), self.desired)
    }

    /// Whether the job makes room there for a more important one.
    pub(super) fn is_closed(&self, at: usize) -> bool {
        !self.closed.is_empty() && self.closed.contains(&(at as u32))
    }

    /// Whether a node takes nothing of the job: it makes room there, or `distinct_hosts` closes it.
    pub(super) fn is_taken(&self, at: usize) -> bool {
        self.is_closed(at) || self.is_occupied(at)
    }

    fn is_occupied(&self, at: usize) -> bool {
        match self.distinct_hosts {
            None => false,
            Some(Distinct::Job) => self.of_job.any(at),
            Some(Distinct::Group) => self.of_group.any(at),
        }
    }

    /// Whether a node is not to be found among those where the job has nothing.
    pub(super) fn is_apart(&self, node: u32) -> bool {
        let at = node as usize;
        self.of_group.any(at) || self.is_taken(at) || self.avoided.contains(&node)
    }

    /// The first `distinct_property` whose limit is reached by nodes with these values, by its number.
    pub(super) fn limit_reached(&self, domains: &[Domain]) -> Option<usize> {
        let of_limits = domains.iter().skip(self.spreads.len());
        self.limits.iter().zip(of_limits).position(|(limit, domain)| {
            limit.counts.get(domain).is_some_and(|count| *count >= limit.limit)
        })
    }

    /// How much better the spread is with one more on a node with these values.
    pub(super) fn spread(&self, domains: &[Domain]) -> Part {
        if self.spreads.is_empty() {
            return None;
        }
        Some(self.spreads.iter().zip(domains).map(|(spread, domain)| spread.boost(*domain)).sum())
    }

    /// The best node of a cell among those that bear allocations of the group.
    pub(super) fn top(&mut self, columns: &Columns, cell: usize) -> Option<Entry> {
        if self.distinct_hosts.is_some() {
            return None;
        }
        loop {
            let top = *self.heaps.get(cell)?.peek()?;
            let at = top.node as usize;
            let fresh = columns.stamp.get(at) == Some(&top.stamp)
                && self.collisions(at) == top.count
                && !self.avoided.contains(&top.node);
            if fresh {
                return Some(top);
            }
            self.heaps.get_mut(cell)?.pop();
        }
    }

    /// What a node's score is made up of for this job.
    pub(super) fn standing(&self, columns: &Columns, ranking: &Ranking, at: usize) -> Standing {
        Standing {
            anti_affinity: self.anti_affinity(at),
            spread: self.spread(ranking.domains(at)),
            penalty: self.avoided.contains(&(at as u32)).then_some(-1.0),
            ..ranking.standing(columns, at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_counted_whether_it_is_on_few_nodes_or_on_many() {
        let mut counts = Counts::of(300);
        for at in 0..300 {
            (0..at % 3).for_each(|_| counts.shift(at, true));
            assert_eq!((counts.get(at), counts.any(at)), ((at % 3) as u32, at % 3 > 0));
        }
        for at in 0..300 {
            assert_eq!(counts.get(at), (at % 3) as u32, "also once there are many");
            counts.shift(at, false);
            assert_eq!(counts.any(at), at % 3 > 1);
        }
        counts.shift(1_000, true);
        assert_eq!(counts.get(1_000), 0, "there is no such node");
    }
}
