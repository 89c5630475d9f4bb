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
        self.set_node_statuses(&[(id, status)], at, "", events);
        Ok(())
    }

    pub(super) fn set_node_statuses(
        &mut self,
        statuses: &[(NodeId, NodeStatus)],
        at: Timestamp,
        reason: &str,
        events: &mut Vec<Event>,
    ) {
        for (id, status) in statuses {
            let Some(node) = self.nodes.get(id).filter(|node| node.status != *status) else {
                continue;
            };
            let mut node = Node::clone(node);
            node.status = *status;
            node.status_at = at;
            let message = match reason {
                "" => format!("Node is {}", status.as_str()),
                reason => format!("Node is {}: {reason}", status.as_str()),
            };
            node.record("Cluster", message, at);
            self.put_node(node, events);
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
