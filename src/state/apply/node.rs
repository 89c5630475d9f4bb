//! Nodes come, change and go.

use std::sync::Arc;

use model::{Eligibility, Node, NodeId, NodeStatus, Timestamp};

use crate::event::{Event, Rejection};
use crate::record::RemovedNode;
use crate::table::State;

impl State {
    pub(super) fn register_node(
        &mut self,
        node: &Node,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        if self.is_removed(node.id) {
            return Err(Rejection::Conflict(format!(
                "node {} was removed from the cluster; to bring the machine back, empty the agent's data directory and \
                 let it join anew",
                node.id
            )));
        }
        let known = self.nodes.get(&node.id);
        let mut node = node.clone();
        node.status = NodeStatus::Ready;
        node.create_index = known.map_or(self.index, |known| known.create_index);
        if let Some(known) = known {
            // What an operator said of the node outlives its registration, and so does what happened to it.
            node.eligibility = known.eligibility;
            node.draining = known.draining;
            node.drain.clone_from(&known.drain);
            node.last_drain.clone_from(&known.last_drain);
            node.events.clone_from(&known.events);
            if known.status == NodeStatus::Ready {
                node.status_at = known.status_at;
            } else {
                node.status_at = at;
                node.record("Cluster", "Node re-registered", at);
            }
        } else {
            node.status_at = at;
            (node.draining, node.drain, node.last_drain) = (false, None, None);
            node.events.clear();
            node.record("Cluster", "Node registered", at);
        }
        self.put_node(node, events);
        Ok(())
    }

    pub(super) fn set_node_status(
        &mut self,
        id: NodeId,
        status: NodeStatus,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        self.node_or_reject(id)?;
        self.set_node_statuses(&[(id, status)], None, at, "", events)
    }

    pub(super) fn set_node_statuses(
        &mut self,
        statuses: &[(NodeId, NodeStatus)],
        follows: Option<u64>,
        at: Timestamp,
        reason: &str,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        if follows.is_some_and(|known| known < self.last_word) {
            return Err(Rejection::Conflict(format!(
                "whoever says so did not know what was said of the nodes at {}; another server leads by now, or did \
                 meanwhile, and judges for itself who answers",
                self.last_word
            )));
        }
        self.last_word = self.index;
        self.forget_losses(at);
        for (id, status) in statuses {
            let Some(node) = self.nodes.get(id).filter(|node| node.status != *status) else {
                continue;
            };
            let mut node = Node::clone(node);
            if node.status == NodeStatus::Ready {
                self.given_up.insert(*id, at);
            }
            node.status = *status;
            node.status_at = at;
            let message = match reason {
                "" => format!("Node is {}", status.as_str()),
                reason => format!("Node is {}: {reason}", status.as_str()),
            };
            node.record("Cluster", message, at);
            self.put_node(node, events);
        }
        Ok(())
    }

    /// Losses that nobody counts any more go.
    fn forget_losses(&mut self, at: Timestamp) {
        let over = |when: &Timestamp| at.since(*when) >= crate::LOSSES_REMEMBERED;
        let old: Vec<NodeId> =
            self.given_up.iter().filter(|(_, when)| over(when)).map(|(id, _)| *id).collect();
        for id in old {
            self.given_up.remove(&id);
        }
    }

    pub(super) fn set_eligibility(
        &mut self,
        id: NodeId,
        eligibility: Eligibility,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let known = self.node_or_reject(id)?;
        if known.draining && eligibility == Eligibility::Eligible {
            return Err(Rejection::Conflict(format!(
                "node {} is being emptied; end that first, with `herder node drain -disable`",
                known.name
            )));
        }
        if known.eligibility == eligibility {
            return Ok(());
        }
        let mut node = Node::clone(known);
        mark(&mut node, eligibility, at);
        self.put_node(node, events);
        Ok(())
    }

    pub(super) fn remove_node(
        &mut self,
        id: NodeId,
        until: Timestamp,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        self.node_or_reject(id)?;
        if self.removed_nodes.len() >= crate::REMOVED_NODES {
            // To forget one whose certificate still counts would let it in again.
            let over = self.removed_nodes.values().filter(|removed| removed.until <= at);
            let over: Vec<NodeId> = over.map(|removed| removed.id).collect();
            if over.is_empty() {
                return Err(Rejection::Conflict(format!(
                    "{} removed nodes have certificates that are still valid, and no more can be remembered; try again \
                     when the first of them has expired",
                    crate::REMOVED_NODES
                )));
            }
            for id in over {
                self.removed_nodes.remove(&id);
            }
        }
        self.removed_nodes.insert(id, RemovedNode { id, removed_at: at, until });
        self.nodes.remove(&id);
        self.classes.remove(&id);
        self.indexes.nodes = self.index;
        events.push(Event::Node(id));
        events.push(Event::Cluster);
        Ok(())
    }

    pub(super) fn node_or_reject(&self, id: NodeId) -> Result<&Arc<Node>, Rejection> {
        self.nodes.get(&id).ok_or_else(|| Rejection::NotFound { what: "node", id: id.to_string() })
    }

    pub(super) fn put_node(&mut self, mut node: Node, events: &mut Vec<Event>) {
        node.modify_index = self.index;
        events.push(Event::Node(node.id));
        self.indexes.nodes = self.index;
        self.classify(&node);
        self.nodes.insert(node.id, Arc::new(node));
    }
}

/// Says whether new allocations may come to a node, and records it if that is news.
pub(super) fn mark(node: &mut Node, eligibility: Eligibility, at: Timestamp) {
    if node.eligibility != eligibility {
        node.eligibility = eligibility;
        node.record(
            "Cluster",
            format!("Node marked as {} for scheduling", eligibility.as_str()),
            at,
        );
    }
}

#[cfg(test)]
mod tests {
    use model::seeded_uuid;

    use super::*;
    use crate::{Command, LOSSES_REMEMBERED};

    const AT: Timestamp = Timestamp::from_secs(1_000_000);

    fn id(n: u8) -> NodeId {
        NodeId::new(seeded_uuid(&[&[n]]))
    }

    fn fleet(count: u8) -> State {
        let mut state = State::default();
        for n in 0..count {
            let node = Box::new(Node { id: id(n), ..Node::default() });
            state.apply(state.index() + 1, &Command::RegisterNode { node, at: AT });
        }
        state
    }

    fn word(
        state: &mut State,
        nodes: &[(u8, NodeStatus)],
        follows: Option<u64>,
        at: Timestamp,
    ) -> Option<Rejection> {
        let nodes = nodes.iter().map(|(n, status)| (id(*n), *status)).collect();
        let command = Command::SetNodeStatuses { nodes, at, reason: "a test".into(), follows };
        state.apply(state.index() + 1, &command).rejection
    }

    #[test]
    fn a_word_on_nodes_counts_only_if_it_knew_the_one_before() {
        let mut state = fleet(2);
        assert_eq!(word(&mut state, &[], Some(0), AT), None, "the first");
        let first = state.last_word();
        assert_eq!(first, state.index());
        assert_eq!(word(&mut state, &[(0, NodeStatus::Down)], Some(first), AT), None);
        let second = state.last_word();
        let late = word(&mut state, &[(1, NodeStatus::Down)], Some(first), AT);
        assert!(matches!(late, Some(Rejection::Conflict(_))), "{late:?}");
        assert_eq!(state.last_word(), second);
        assert_eq!(state.node(id(1)).map(|node| node.status), Some(NodeStatus::Ready));
        // What leaders of before there was such an order said always counts, and nothing follows what came before it.
        assert_eq!(word(&mut state, &[(1, NodeStatus::Down)], None, AT), None);
        assert!(word(&mut state, &[(1, NodeStatus::Ready)], Some(second), AT).is_some());
    }

    #[test]
    fn who_was_given_up_is_remembered_for_a_while_wherever_it_is_now() {
        let mut state = fleet(4);
        let (gone, back) = (NodeStatus::Down, NodeStatus::Ready);
        word(&mut state, &[(0, gone), (1, gone), (2, NodeStatus::Disconnected)], None, AT);
        word(&mut state, &[(0, back), (2, gone)], None, AT + LOSSES_REMEMBERED / 2);
        state.apply(state.index() + 1, &Command::RemoveNode { node: id(1), until: AT, at: AT });
        let mut known: Vec<(NodeId, Timestamp)> = (0..3).map(|n| (id(n), AT)).collect();
        known.sort();
        assert_eq!(state.given_up().collect::<Vec<_>>(), known);
        let bytes = state.to_bytes().expect("has bytes");
        let read = State::from_bytes(&bytes).expect("is one");
        assert_eq!((read.last_word(), read.given_up().collect()), (state.last_word(), known));
        word(&mut state, &[(3, gone)], None, AT + LOSSES_REMEMBERED);
        assert_eq!(state.given_up().collect::<Vec<_>>(), [(id(3), AT + LOSSES_REMEMBERED)]);
    }

    #[test]
    fn words_of_logs_without_an_order_are_still_read() {
        #[derive(serde::Serialize)]
        enum Old {
            SetNodeStatuses { nodes: Vec<(NodeId, NodeStatus)>, at: Timestamp, reason: String },
        }
        let (nodes, reason) = (vec![(id(0), NodeStatus::Down)], "not heard of".to_owned());
        let old = Old::SetNodeStatuses { nodes: nodes.clone(), at: AT, reason: reason.clone() };
        let bytes = rmp_serde::to_vec_named(&old).expect("is written");
        let new = Command::SetNodeStatuses { nodes, at: AT, reason, follows: None };
        assert_eq!(Command::from_bytes(&bytes).expect("is read"), new);
        assert_eq!(new.to_bytes().expect("is written"), bytes, "and is written as it was");
    }
}
