//! S23: when many nodes fall silent at once, no more are given up than the brake allows, until an operator says so. It
//! holds across leaders: whoever comes to lead counts what the one before gave up, and what that one says of nodes counts
//! for nothing once the new one has spoken.

use std::collections::{BTreeSet, VecDeque};

use model::{NodeId, NodeStatus};
use state::State;

use crate::heartbeat::HeartbeatOptions;
use crate::simulation::world::Check;

/// Nodes that were given up lately, and when that was decided.
#[derive(Default)]
pub(super) struct Losses {
    lately: VecDeque<(u64, NodeId)>,
    /// Whether an operator let go of what is held. It is given up with the leader's next look, whenever that comes.
    is_approved: bool,
    /// The newest term whose leader spoke of nodes.
    term: u64,
}

impl Losses {
    pub(super) fn approved(&mut self) {
        self.lately.clear();
        self.is_approved = true;
    }

    /// Something was said of nodes that was decided on in the term `of`, and it counts.
    pub(super) fn spoken(&mut self, of: u64) -> Check {
        if of < self.term {
            return Err(format!(
                "S23: what the leader of term {of} said of nodes counts, and the one of term {} had spoken",
                self.term
            ));
        }
        self.term = of;
        Ok(())
    }

    /// Nodes were not heard of, and given up for that.
    pub(super) fn given_up(&mut self, before: &State, after: &State, at: u64) -> Check {
        if std::mem::take(&mut self.is_approved) {
            self.lately.clear();
            return Ok(());
        }
        let options = HeartbeatOptions::default();
        let window = options.window.as_millis() as u64;
        while self.lately.front().is_some_and(|(when, _)| when + window <= at) {
            self.lately.pop_front();
        }
        let was_ready = before.nodes().filter(|node| node.status == NodeStatus::Ready);
        let lost = was_ready
            .map(|node| node.id)
            .filter(|id| after.node(*id).is_some_and(|node| node.status != NodeStatus::Ready));
        self.lately.extend(lost.map(|id| (at, id)));
        let lost: BTreeSet<NodeId> = self.lately.iter().map(|(_, id)| *id).collect();
        let share = after.nodes_count() * options.brake_percent as usize / 100;
        let most = share.max(options.brake_floor);
        if lost.len() > most {
            return Err(format!(
                "S23: {} of {} nodes were given up within a minute, {most} may be",
                lost.len(),
                after.nodes_count()
            ));
        }
        Ok(())
    }
}
