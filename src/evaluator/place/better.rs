//! Whether another node would suit an allocation better than the one that it is on.
//!
//! Both are looked at as if it were placed anew: what it holds and what it is to its job do not count for either. So
//! once it has moved, the way back gains as much less as the way there gained.

use model::{AllocResources, Allocation, NodeId};

use super::refusal::refusal;
use super::search::scan;
use super::{Candidates, Fleet, Presence, Request};

/// What there is for an allocation that could move.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Better {
    /// The best other node that has room beside all that is there, and its score.
    pub(crate) best: Option<(NodeId, f64)>,
    /// The score of its own node; nothing where it could not be placed there anew.
    pub(crate) own: Option<f64>,
}

impl Better {
    /// By how much the best other node is better than its own; nothing where it would do without one of them.
    pub(crate) fn gain(&self) -> Option<f64> {
        Some(self.best?.1 - self.own?)
    }
}

impl Fleet {
    /// Looks for a better node than `home`. `leaving` are allocations of the group that are to move, the one that is
    /// asked for among them: for scores they are gone, but they keep their room and count for limits until they are.
    pub(crate) fn better(
        &mut self,
        candidates: &Candidates,
        presence: &mut Presence,
        request: &Request<'_>,
        home: NodeId,
        leaving: &[&Allocation],
    ) -> Better {
        let asked = &candidates.asked;
        let mut ranking = self.ranking(asked);
        let mut kept = candidates.own.borrow_mut();
        let own = self.own(&mut kept, asked, &mut ranking, presence, request);
        let home = self.columns.find(home);
        let others: Vec<usize> = ranking
            .feasible()
            .filter(|at| Some(*at) != home)
            .filter(|at| refusal(&self.columns, &ranking, own, asked, request, *at).is_ok())
            .collect();

        let mut lifted = Vec::with_capacity(leaving.len());
        for alloc in leaving {
            presence.leave(alloc.node, &alloc.group);
            if let Some(at) = self.columns.find(alloc.node)
                && let Some(was) = self.columns.lift(at, &alloc.resources, None)
            {
                lifted.push((at, was));
            }
        }
        ranking.catch_up(&self.columns, own.serial);
        own.catch_up(&self.columns, &mut ranking, presence, request.group_name);
        let columns = &self.columns;
        let best = scan(columns, &ranking, own, asked, request, others.into_iter());
        let better = Better {
            best: best.and_then(|choice| Some((*columns.ids.get(choice.at)?, choice.total))),
            own: home
                .filter(|at| refusal(columns, &ranking, own, asked, request, *at).is_ok())
                .map(|at| own.standing(columns, &ranking, at).total()),
        };

        for alloc in leaving {
            presence.enter(alloc.node, &alloc.group);
        }
        // The last first: two may have been on one node.
        for (at, was) in lifted.into_iter().rev() {
            self.columns.set_down(at, was);
        }
        drop(kept);
        self.rankings.put(asked, ranking);
        better
    }

    /// Counts on it that an allocation that holds this will come to a node.
    pub(crate) fn expect(&mut self, node: NodeId, held: &AllocResources) {
        self.fill();
        if let Some(at) = self.columns.find(node) {
            self.columns.hold(at, held);
        }
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.pass.state.nodes_count()
    }
}
