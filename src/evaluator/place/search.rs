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

/// The best node, by the tops of all cells; those that come close are noted.
pub(super) fn pick(
    columns: &Columns,
    ranking: &mut Ranking,
    own: &mut Own,
    asked: &Asked,
    request: &Request<'_>,
    mut close: Option<&mut Podium>,
) -> Option<usize> {
    let mut best: Option<Choice> = None;
    let parts = asked_parts(asked);
    for cell in 0..ranking.cells.len() {
        let Some(domains) = ranking.cells.get(cell).map(|cell| &cell.domains) else { continue };
        let is_full = own.limit_reached(domains).is_some();
        if is_full && close.is_none() {
            continue;
        }
        let spread = own.spread(domains);
        let free = ranking.top(columns, cell, |node| own.is_apart(node));
        let shared = own.top(columns, cell);
        for (top, collides) in [(free, false), (shared, true)] {
            let Some(top) = top else { continue };
            let choice = Choice::of(top, parts, spread, collides);
            if !is_full && choice.better(best) {
                best = Some(choice);
            }
            if let Some(close) = &mut close {
                close.consider(choice);
            }
        }
    }
    let avoided: Vec<usize> = own.avoided.iter().map(|at| *at as usize).collect();
    let last_resort = scan(columns, ranking, own, asked, request, avoided.into_iter());
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

/// The best nodes as they stand, for people: at most [`EXPLAINED`], best first.
#[derive(Default)]
pub(super) struct Podium(Vec<Choice>);

impl Podium {
    /// For [`pick`] to fill, where the best of each cell are all that is looked at.
    pub(super) fn wanted(ranking: &Ranking, own: &Own) -> Option<Self> {
        let wanted = own.best.is_none() && ranking.cells.len() > EXPLAINED;
        wanted.then(Self::default)
    }

    fn consider(&mut self, choice: Choice) {
        let at = self.0.partition_point(|known| !choice.better(Some(*known)));
        if at < EXPLAINED {
            self.0.truncate(EXPLAINED - 1);
            self.0.insert(at, choice);
        }
    }

    /// Of few cells the best of each are looked at, of many the best one.
    fn of(columns: &Columns, ranking: &mut Ranking, own: &mut Own) -> Self {
        let mut podium = Self::default();
        let depth = if ranking.cells.len() <= EXPLAINED { EXPLAINED } else { 1 };
        let parts = asked_parts(&ranking.asked);
        for cell in 0..ranking.cells.len() {
            let Some(domains) = ranking.cells.get(cell).map(|cell| &cell.domains) else { continue };
            let spread = own.spread(domains);
            let mut taken: Vec<Entry> = Vec::new();
            for n in 1..=depth {
                let top = ranking.top(columns, cell, |node| own.is_apart(node));
                let Some(top) = top else { break };
                podium.consider(Choice::of(top, parts, spread, false));
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
                podium.consider(Choice::of(top, parts, spread, true));
            }
        }
        podium
    }
}

/// The best nodes with their scores. `podium`: those that were seen while the best was looked for.
pub(super) fn best(
    columns: &Columns,
    ranking: &mut Ranking,
    own: &mut Own,
    podium: Option<Podium>,
) -> Vec<NodeScore> {
    let seen = podium.filter(|podium| !podium.0.is_empty());
    let podium = seen.unwrap_or_else(|| Podium::of(columns, ranking, own));
    let explained = |choice: Choice| {
        let node = *columns.ids.get(choice.at)?;
        Some(own.standing(columns, ranking, choice.at).explained(node))
    };
    podium.0.into_iter().filter_map(explained).collect()
}
