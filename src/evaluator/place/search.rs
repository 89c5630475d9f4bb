//! The best of the nodes that will do.

use std::cmp::Ordering;

use model::NodeScore;

use super::Request;
use super::asked::Asked;
use super::columns::Columns;
use super::own::Own;
use super::ranking::{Entry, Ranking};
use super::refusal::refusal;
use crate::rank::{Part, Standing};

/// The best nodes that an explanation names.
const EXPLAINED: usize = 5;

/// A node that may be chosen, by what makes it better than others.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) total: f64,
    pub(super) own: f64,
    pub(super) tie: u64,
    pub(super) at: usize,
}

impl Choice {
    /// The top of a heap. `collides`: the group has something there.
    fn of(top: Entry, parts: Standing, spread: Part, collides: bool) -> Self {
        // What is there already has been counted by whoever made the entry.
        let anti_affinity = collides.then_some(0.0);
        let standing = Standing { packing: top.sum, spread, anti_affinity, ..parts };
        Self { total: standing.total(), own: top.sum, tie: top.tie, at: top.node as usize }
    }

    pub(super) fn better(self, than: Option<Self>) -> bool {
        than.is_none_or(|other| {
            let order = self.total.total_cmp(&other.total);
            order.then(self.own.total_cmp(&other.own)).then(other.tie.cmp(&self.tie))
                == Ordering::Greater
        })
    }
}

/// The best node, by the tops of all cells.
pub(super) fn pick(
    columns: &Columns,
    ranking: &mut Ranking,
    own: &mut Own,
    asked: &Asked,
    request: &Request<'_>,
) -> Option<usize> {
    let mut best: Option<Choice> = None;
    let parts = asked_parts(asked);
    for cell in 0..ranking.cells.len() {
        let Some(domains) = ranking.cells.get(cell).map(|cell| &cell.domains) else { continue };
        if own.limit_reached(domains).is_some() {
            continue;
        }
        let spread = own.spread(domains);
        let choice = |entry, collides| Choice::of(entry, parts, spread, collides);
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

/// The parts of a score that count because they are asked for. Their worth is in the sums of entries.
fn asked_parts(asked: &Asked) -> Standing {
    Standing {
        affinity: asked.affinities.as_ref().map(|_| 0.0),
        devices: asked.devices.as_ref().filter(|devices| devices.have_affinities()).map(|_| 0.0),
        ..Standing::default()
    }
}

/// The best of some nodes, each looked at for itself.
pub(super) fn scan(
    columns: &Columns,
    ranking: &Ranking,
    own: &Own,
    asked: &Asked,
    request: &Request<'_>,
    nodes: impl Iterator<Item = usize>,
) -> Option<usize> {
    scan_choice(columns, ranking, own, asked, request, nodes).map(|choice| choice.at)
}

pub(super) fn scan_choice(
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

/// The best nodes as they stand, for people: at most five. Of few cells the best of each are looked at, of many the best
/// one.
pub(super) fn best(columns: &Columns, ranking: &mut Ranking, own: &mut Own) -> Vec<NodeScore> {
    let depth = if ranking.cells.len() <= EXPLAINED { EXPLAINED } else { 1 };
    let mut best: Vec<Choice> = Vec::with_capacity(EXPLAINED + 1);
    let mut consider = |choice: Choice| {
        let at = best.partition_point(|known| !choice.better(Some(*known)));
        if at < EXPLAINED {
            best.truncate(EXPLAINED - 1);
            best.insert(at, choice);
        }
    };
    let parts = asked_parts(&ranking.asked);
    for cell in 0..ranking.cells.len() {
        let Some(domains) = ranking.cells.get(cell).map(|cell| &cell.domains) else { continue };
        let spread = own.spread(domains);
        let mut taken: Vec<Entry> = Vec::new();
        for n in 1..=depth {
            let Some(top) = ranking.top(columns, cell, |node| own.is_apart(node)) else { break };
            consider(Choice::of(top, parts, spread, false));
            if n < depth
                && let Some(cell) = ranking.cells.get_mut(cell)
            {
                // A node may be there twice, once for each time that somebody looked at it.
                while cell.heap.peek() == Some(&top) {
                    cell.heap.pop();
                }
                taken.push(top);
            }
        }
        if let Some(cell) = ranking.cells.get_mut(cell) {
            cell.heap.extend(taken);
        }
        if let Some(top) = own.top(columns, cell) {
            consider(Choice::of(top, parts, spread, true));
        }
    }
    let explained = |choice: Choice| {
        let node = *columns.ids.get(choice.at)?;
        Some(own.standing(columns, ranking, choice.at).explained(node))
    };
    best.into_iter().filter_map(explained).collect()
}
