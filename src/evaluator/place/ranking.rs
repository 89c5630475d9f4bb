//! The nodes that will do for what is asked, best first.
//!
//! Nodes of one class are looked at once. Those that have the same values of the attributes that matter to spreading are
//! a cell with a heap: within a cell, and as long as the job has nothing there, what makes a node better does not change
//! when something is placed elsewhere. So a placement looks at the top of each cell, and puts back the one node that it
//! took. Jobs that ask for the same share a ranking, whatever differs in where they are already (see `own`), and so do passes:
//! what has changed from one state to the next is learned as what changes within one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use model::{Node, PlacementAlgorithm, PlacementFailure};

use super::asked::Asked;
use super::columns::Columns;
use super::fits::Short;
use super::spread::{Domain, MISSING};
use crate::feasible::{is_unique, resolve};
use crate::rank::{Standing, packing};

/// A node in a heap. It counts as long as nothing has changed there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    /// The parts of its score that do not depend on what is elsewhere.
    pub(super) sum: f64,
    pub(super) tie: u64,
    pub(super) node: u32,
    pub(super) stamp: u32,
    /// Allocations of the group that are there.
    pub(super) count: u32,
}

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sum
            .total_cmp(&other.sum)
            .then_with(|| other.tie.cmp(&self.tie))
            .then_with(|| other.node.cmp(&self.node))
            .then_with(|| other.count.cmp(&self.count))
            .then_with(|| other.stamp.cmp(&self.stamp))
    }
}

impl Entry {
    fn is_fresh(&self, columns: &Columns) -> bool {
        columns.stamp.get(self.node as usize) == Some(&self.stamp)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Entries of a cell that count no more are put up with while there are no more of them than this and of those that do.
const SPARE_ENTRIES: usize = 32;

/// Nodes that have the same values of the attributes that matter.
#[derive(Clone)]
pub(super) struct Cell {
    /// By attribute: those of spreads, then those of `distinct_property`.
    pub(super) domains: Box<[Domain]>,
    pub(super) heap: BinaryHeap<Entry>,
    /// How many entries there may be before those that count no more are swept out.
    limit: usize,
}

impl Cell {
    fn push(&mut self, columns: &Columns, entry: Entry) {
        self.heap.push(entry);
        if self.heap.len() > self.limit {
            self.heap.retain(|entry| entry.is_fresh(columns));
            self.limit = self.heap.len() * 2 + SPARE_ENTRIES;
        }
    }
}

/// What a node says to what is asked for, whatever room it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    NotReady,
    Yes,
    /// By the number of the reason.
    No(u32),
}

#[derive(Clone)]
pub(super) struct Ranking {
    pub(super) asked: Arc<Asked>,
    pub(super) algorithm: PlacementAlgorithm,
    answers: Vec<Answer>,
    reasons: Vec<String>,
    cell_of: Vec<u32>,
    pub(super) cells: Vec<Cell>,
    /// Values of each attribute, by number.
    pub(super) values: Vec<Vec<Arc<str>>>,
    /// By node; empty where nothing is said.
    affinity: Vec<f64>,
    /// Nodes that will do but have no room, and what they are short of.
    short: BTreeMap<u32, Short>,
    refused: PlacementFailure,
    shared: Option<Arc<PlacementFailure>>,
    /// How much is known of what changed of nodes, and of their records.
    known: usize,
    known_records: usize,
    /// Whose allocations the nodes set aside bear.
    owner: u64,
    aside: Vec<Entry>,
}

impl Ranking {
    pub(super) fn of(columns: &Columns, asked: &Arc<Asked>, algorithm: PlacementAlgorithm) -> Self {
        let mut ranking = Self {
            asked: Arc::clone(asked),
            algorithm,
            answers: vec![Answer::NotReady; columns.len()],
            reasons: Vec::new(),
            cell_of: Vec::with_capacity(columns.len()),
            cells: Vec::new(),
            values: Vec::new(),
            affinity: Vec::new(),
            short: BTreeMap::new(),
            refused: PlacementFailure::default(),
            shared: None,
            known: columns.touched.end(),
            known_records: columns.renewed.end(),
            owner: 0,
            aside: Vec::new(),
        };
        ranking.sort_into_cells(columns);
        ranking.sift(columns);
        for at in 0..columns.len() {
            ranking.consider(columns, at);
        }
        for cell in &mut ranking.cells {
            cell.limit = cell.heap.len() * 2 + SPARE_ENTRIES;
        }
        ranking
    }

    fn sort_into_cells(&mut self, columns: &Columns) {
        let asked = Arc::clone(&self.asked);
        let attributes: Vec<&str> = asked.attributes().collect();
        self.values = vec![Vec::new(); attributes.len()];
        let escapes = attributes.iter().any(|attribute| is_unique(attribute));
        let mut numbers: Vec<BTreeMap<Arc<str>, Domain>> = vec![BTreeMap::new(); attributes.len()];
        let mut cells: BTreeMap<Box<[Domain]>, u32> = BTreeMap::new();
        let mut of_class: Vec<Option<u32>> = vec![None; columns.classes()];
        for (node, class) in columns.nodes.iter().zip(&columns.class) {
            let known = of_class.get(*class as usize).copied().flatten();
            if let Some(cell) = known.filter(|_| !escapes) {
                self.cell_of.push(cell);
                continue;
            }
            let mut domains = Vec::with_capacity(attributes.len());
            for (n, attribute) in attributes.iter().enumerate() {
                let value = resolve(attribute, node);
                let all = numbers.get_mut(n).zip(self.values.get_mut(n));
                let Some((value, (numbers, values))) = value.zip(all) else {
                    domains.push(MISSING);
                    continue;
                };
                domains.push(numbers.get(&*value).copied().unwrap_or_else(|| {
                    let (value, number): (Arc<str>, Domain) = (value.into(), values.len() as u32);
                    values.push(Arc::clone(&value));
                    numbers.insert(value, number);
                    number
                }));
            }
            let domains = domains.into_boxed_slice();
            let next = self.cells.len() as u32;
            let cell = *cells.entry(domains.clone()).or_insert(next);
            if cell == next {
                self.cells.push(Cell { domains, heap: BinaryHeap::new(), limit: usize::MAX });
            }
            if let Some(known) = of_class.get_mut(*class as usize) {
                *known = Some(cell);
            }
            self.cell_of.push(cell);
        }
    }

    /// Finds out which nodes will do, whatever room they have.
    fn sift(&mut self, columns: &Columns) {
        let asked = Arc::clone(&self.asked);
        let escapes = asked.demands.escapes_class() || asked.devices.is_some();
        let mut of_class: Vec<Option<Answer>> = vec![None; columns.classes()];
        if let Some(affinities) = &asked.affinities {
            let mut of_class: Vec<Option<f64>> = vec![None; columns.classes()];
            for (node, class) in columns.nodes.iter().zip(&columns.class) {
                let known = of_class.get_mut(*class as usize).filter(|_| !affinities.escapes);
                self.affinity.push(match known {
                    Some(known) => *known.get_or_insert_with(|| affinities.score(node)),
                    None => affinities.score(node),
                });
            }
        }
        for (at, (node, class)) in columns.nodes.iter().zip(&columns.class).enumerate() {
            if !columns.ready.get(at).copied().unwrap_or_default() {
                continue;
            }
            let answer = match of_class.get_mut(*class as usize).filter(|_| !escapes) {
                Some(known) => *known.get_or_insert_with(|| self.ask(node)),
                None => self.ask(node),
            };
            self.answer(at, answer);
        }
    }

    fn ask(&mut self, node: &Node) -> Answer {
        let Err(reason) = verdict(&self.asked, node) else { return Answer::Yes };
        let known = self.reasons.iter().position(|known| *known == reason);
        Answer::No(known.unwrap_or_else(|| {
            self.reasons.push(reason);
            self.reasons.len() - 1
        }) as u32)
    }

    /// Takes an answer down, in place of the one before.
    fn answer(&mut self, at: usize, answer: Answer) {
        let Some(known) = self.answers.get_mut(at) else { return };
        let before = std::mem::replace(known, answer);
        if before == answer {
            return;
        }
        self.shared = None;
        self.refused.nodes_evaluated -= u32::from(before != Answer::NotReady);
        self.refused.nodes_evaluated += u32::from(answer != Answer::NotReady);
        let reason = |answer| match answer {
            Answer::No(reason) => self.reasons.get(reason as usize),
            Answer::NotReady | Answer::Yes => None,
        };
        if let Some(reason) = reason(before) {
            less(&mut self.refused.filtered, reason);
        }
        if let Some(reason) = reason(answer) {
            more(&mut self.refused.filtered, reason);
        }
    }

    /// Learns whose record has changed. `false` where that is forgotten or moves a node to another cell: then all of it
    /// is to be made anew.
    pub(super) fn renew(&mut self, columns: &Columns) -> bool {
        let (Some(renewed), Some(_)) =
            (columns.renewed.since(self.known_records), columns.touched.since(self.known))
        else {
            return false;
        };
        self.known_records = columns.renewed.end();
        renewed.iter().all(|at| self.renew_one(columns, *at as usize))
    }

    fn renew_one(&mut self, columns: &Columns, at: usize) -> bool {
        let Some(node) = columns.nodes.get(at) else { return false };
        let stays = self.asked.attributes().enumerate().all(|(n, attribute)| {
            let domain = self.domains(at).get(n).copied().unwrap_or(MISSING);
            let known = self.values.get(n).and_then(|values| values.get(domain as usize));
            resolve(attribute, node).as_deref() == known.map(|value| &**value)
        });
        if !stays {
            return false;
        }
        if let (Some(affinities), Some(known)) = (&self.asked.affinities, self.affinity.get_mut(at))
        {
            *known = affinities.score(node);
        }
        let is_ready = columns.ready.get(at).copied().unwrap_or_default();
        let answer = if is_ready { self.ask(node) } else { Answer::NotReady };
        self.answer(at, answer);
        // Whether it has room is seen when it is looked at: it was touched, too.
        self.is_short_no_more(at);
        true
    }

    /// Whether a node will do, whatever room it has.
    pub(super) fn is_feasible(&self, at: usize) -> bool {
        self.answers.get(at) == Some(&Answer::Yes)
    }

    pub(super) fn cell_of(&self, at: usize) -> usize {
        self.cell_of.get(at).map_or(usize::MAX, |cell| *cell as usize)
    }

    /// The values that a node has of the attributes that matter.
    pub(super) fn domains(&self, at: usize) -> &[Domain] {
        self.cells.get(self.cell_of(at)).map_or(&[], |cell| &cell.domains)
    }

    /// Nodes that will do, in order.
    pub(super) fn feasible(&self) -> impl Iterator<Item = usize> {
        let yes = |(_, answer): &(usize, &Answer)| **answer == Answer::Yes;
        self.answers.iter().enumerate().filter(yes).map(|(at, _)| at)
    }

    /// Nodes looked at, and what refuses how many of them.
    pub(super) fn refused(&mut self) -> Arc<PlacementFailure> {
        let refused = &self.refused;
        Arc::clone(self.shared.get_or_insert_with(|| Arc::new(refused.clone())))
    }

    /// What a node's score is made up of where the job has nothing yet.
    pub(super) fn standing(&self, columns: &Columns, at: usize) -> Standing {
        let free = columns.free_after(at, &self.asked);
        let affinity = self.affinity.get(at).copied();
        let devices = self.asked.devices.as_ref().filter(|devices| devices.have_affinities());
        let devices = devices.and_then(|devices| {
            let (node, load) = columns.nodes.get(at).zip(columns.load(at))?;
            Some(devices.choose(node, load).map_or(0.0, |(_, score)| score))
        });
        let packing = packing(self.algorithm, free.cpu, free.memory);
        Standing { packing, affinity, devices, ..Standing::default() }
    }

    /// A node as it stands now, if it will do and has room.
    pub(super) fn entry(&self, columns: &Columns, at: usize) -> Option<Entry> {
        let has_room = self.is_feasible(at) && columns.fits(at, &self.asked, 0).is_ok();
        has_room.then(|| self.bare_entry(columns, at))
    }

    fn bare_entry(&self, columns: &Columns, at: usize) -> Entry {
        Entry {
            sum: self.standing(columns, at).base(),
            tie: columns.tie.get(at).copied().unwrap_or_default(),
            node: at as u32,
            stamp: columns.stamp.get(at).copied().unwrap_or_default(),
            count: 0,
        }
    }

    /// Looks at a node anew.
    pub(super) fn consider(&mut self, columns: &Columns, at: usize) {
        if !self.is_feasible(at) {
            return;
        }
        let fits = columns.fits(at, &self.asked, 0);
        let now = fits.err();
        if let Some(now) = now {
            if self.short.get(&(at as u32)) == Some(&now) {
                return;
            }
            self.is_short_no_more(at);
            more(&mut self.refused.exhausted, now.as_str());
            self.short.insert(at as u32, now);
            self.shared = None;
            return;
        }
        self.is_short_no_more(at);
        let entry = self.bare_entry(columns, at);
        let cell = self.cell_of(at);
        if let Some(cell) = self.cells.get_mut(cell) {
            cell.push(columns, entry);
        }
    }

    fn is_short_no_more(&mut self, at: usize) {
        let Some(before) = self.short.remove(&(at as u32)) else { return };
        self.shared = None;
        less(&mut self.refused.exhausted, before.as_str());
    }

    /// Learns what has changed, and whose turn it is.
    pub(super) fn catch_up(&mut self, columns: &Columns, owner: u64) {
        if self.owner != owner {
            self.owner = owner;
            for entry in std::mem::take(&mut self.aside) {
                let cell = self.cell_of(entry.node as usize);
                if let Some(cell) = self.cells.get_mut(cell)
                    && entry.is_fresh(columns)
                {
                    cell.push(columns, entry);
                }
            }
        }
        let Some(touched) = columns.touched.since(self.known) else { return };
        self.known = columns.touched.end();
        if let [at] = touched {
            self.consider(columns, *at as usize);
            return;
        }
        let mut touched = touched.to_vec();
        touched.sort_unstable();
        touched.dedup();
        for at in touched {
            self.consider(columns, at as usize);
        }
    }

    /// The best node of a cell that is as it was and that `apart` has not set aside for now.
    pub(super) fn top(
        &mut self,
        columns: &Columns,
        cell: usize,
        apart: impl Fn(u32) -> bool,
    ) -> Option<Entry> {
        let heap = &mut self.cells.get_mut(cell)?.heap;
        loop {
            let top = *heap.peek()?;
            let fresh = top.is_fresh(columns);
            if fresh && !apart(top.node) {
                return Some(top);
            }
            heap.pop();
            if fresh {
                self.aside.push(top);
            }
        }
    }
}

/// Whether a node will do, whatever room it has; else why not.
pub(super) fn verdict(asked: &Asked, node: &Node) -> Result<(), String> {
    asked.demands.check(node)?;
    if let Some(devices) = &asked.devices {
        devices.check(node)?;
    }
    let mut properties = asked.demands.distinct_properties.iter();
    match properties.find(|property| resolve(&property.attribute, node).is_none()) {
        Some(property) => Err(property.text.clone()),
        None => Ok(()),
    }
}

fn more(counts: &mut BTreeMap<String, u32>, reason: &str) {
    match counts.get_mut(reason) {
        Some(count) => *count += 1,
        None => drop(counts.insert(reason.to_owned(), 1)),
    }
}

fn less(counts: &mut BTreeMap<String, u32>, reason: &str) {
    if let Some(count) = counts.get_mut(reason) {
        *count -= 1;
        if *count == 0 {
            counts.remove(reason);
        }
    }
}
