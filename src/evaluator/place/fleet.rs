//! The nodes as passes know them: made those of a state when the first allocation of a pass needs a node, and kept for
//! the pass after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{AllocId, SchedulerConfig};
use state::{NodeLoad, State};

use super::asked::Asked;
use super::columns::Columns;
use super::ranking::Ranking;
use super::rankings::Rankings;

/// All nodes and what is free on them. [`crate::evaluate_with`] brings it up to date with the state that it is given, and
/// gives the same plan whatever it was used for before: what is kept only saves time, and a few hundred bytes for each
/// node.
#[derive(Default)]
pub struct Fleet {
    pub(super) columns: Columns,
    pub(super) rankings: Rankings,
    /// How many groups were looked at.
    pub(super) serial: u64,
    pub(super) pass: Pass,
}

/// What is of one pass alone.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) state: State,
    pub(super) config: SchedulerConfig,
    /// Whether the columns are those of the state: most passes place nothing.
    filled: bool,
    /// The names of nodes that were chosen, so that what is placed there shares them.
    pub(super) names: BTreeMap<usize, Arc<str>>,
    /// What each node bears once all that was told to stop is gone, and what was promised its room is there.
    pub(super) after: BTreeMap<usize, NodeLoad>,
    /// What this pass tells to stop.
    pub(super) stopping: BTreeSet<AllocId>,
    /// Nodes on which something was told to stop before, once somebody has asked.
    pub(super) leaving: Option<BTreeSet<usize>>,
}

/// What a pass had found out at one time, to go back to.
pub(crate) struct Mark {
    after: BTreeMap<usize, NodeLoad>,
    stopping: BTreeSet<AllocId>,
}

impl Fleet {
    pub(crate) fn of(state: &State) -> Self {
        let mut fleet = Self::default();
        fleet.begin(state);
        fleet
    }

    /// Begins a pass over a state.
    pub(crate) fn begin(&mut self, state: &State) {
        let config = *state.scheduler_config();
        self.columns.go_on();
        self.pass = Pass { state: state.clone(), config, ..Pass::default() };
    }

    /// Ends it: of the state only what nodes are and bear is held on to.
    pub(crate) fn rest(&mut self) {
        self.pass = Pass::default();
        self.rankings.rest(self.columns.len());
    }

    /// Makes the columns those of the state.
    pub(super) fn fill(&mut self) {
        if std::mem::replace(&mut self.pass.filled, true) {
            return;
        }
        let algorithm = self.pass.config.algorithm;
        if self.columns.turn_to(&self.pass.state) {
            // Who writes to volumes is not kept.
            self.rankings.retain(|known| known.algorithm == algorithm && !known.asked.writes);
        } else {
            self.rankings.clear();
        }
    }

    /// Takes the ranking of what is asked for out, made or up to date with the state.
    pub(super) fn ranking(&mut self, asked: &Arc<Asked>) -> Ranking {
        self.fill();
        if asked.writes {
            self.columns.note_writers(&self.pass.state);
        }
        let mut known = self.rankings.take(asked);
        match known.as_mut().map(|ranking| ranking.renew(&self.columns)) {
            Some(true) => known,
            Some(false) | None => None,
        }
        .unwrap_or_else(|| Ranking::of(&self.columns, asked, self.pass.config.algorithm))
    }

    /// Keeps how everything is, to go back to.
    pub(crate) fn mark(&mut self) -> Mark {
        self.columns.keep();
        Mark { after: self.pass.after.clone(), stopping: self.pass.stopping.clone() }
    }

    /// Makes everything as it was.
    pub(crate) fn back(&mut self, mark: Mark) {
        self.columns.back();
        (self.pass.after, self.pass.stopping) = (mark.after, mark.stopping);
    }

    /// It stays as it has become.
    pub(crate) fn go_on(&mut self) {
        self.columns.go_on();
    }
}
