//! S23: when many nodes fall silent at once, no more are given up than the brake allows, until an operator says so.

use std::collections::{BTreeSet, VecDeque};

use model::{NodeId, NodeStatus};
use state::{Command, State};

use crate::heartbeat::HeartbeatOptions;
use crate::simulation::world::Check;

/// Nodes that were given up lately, and when.
#[derive(Default)]
pub(super) struct Losses(VecDeque<(u64, NodeId)>);

impl Losses {
    pub(super) fn approved(&mut self) {
        self.0.clear();
        // What is held now is given up with the leader's next look, whenever that comes.
        self.0.push_back((u64::MAX, NodeId::default()));
    }

    /// A new leader knows of those that are away still. What was given up before and is back it does not count again:
    /// nobody wrote that down, and it does no harm any more.
    pub(super) fn led_anew(&mut self, state: &State) {
        self.0
            .retain(|(_, id)| state.node(*id).is_none_or(|node| node.status != NodeStatus::Ready));
    }

    pub(super) fn look(
        &mut self,
        before: &State,
        after: &State,
        command: &Command,
        now: u64,
    ) -> Check {
        let Command::SetNodeStatuses { nodes, reason, .. } = command else { return Ok(()) };
        if !reason.starts_with("not heard of") {
            return Ok(());
        }
        if self.0.front().is_some_and(|(at, _)| *at == u64::MAX) {
            self.0.clear();
            return Ok(());
        }
        let options = HeartbeatOptions::default();
        let window = options.window.as_millis() as u64;
        while self.0.front().is_some_and(|(at, _)| at + window <= now) {
            self.0.pop_front();
        }
        let is_new = |id: &NodeId| {
            before.node(*id).is_some_and(|node| node.status == NodeStatus::Ready)
                && after.node(*id).is_some_and(|node| node.status != NodeStatus::Ready)
        };
        self.0.extend(nodes.iter().map(|(id, _)| *id).filter(is_new).map(|id| (now, id)));
        let lost: BTreeSet<NodeId> = self.0.iter().map(|(_, id)| *id).collect();
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
