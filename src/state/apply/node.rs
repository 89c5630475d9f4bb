use std::sync::Arc;

use model::{Node, NodeId, NodeStatus, Timestamp};

use crate::event::{Event, Rejection};
use crate::table::State;

impl State {
    pub(super) fn register_node(
        &mut self,
        node: &Node,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let known = self.nodes.get(&node.id);
        let mut node = node.clone();
        node.status = NodeStatus::Ready;
        node.create_index = known.map_or(self.index, |known| known.create_index);
        node.modify_index = self.index;
        if let Some(known) = known {
            // What an operator said of the node outlives its registration.
            node.eligibility = known.eligibility;
            node.draining = known.draining;
            node.status_at = if known.status == NodeStatus::Ready { known.status_at } else { at };
        } else {
            node.status_at = at;
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
        let Some(node) = self.nodes.get(&id) else {
            return Err(Rejection::NotFound { what: "node", id: id.to_string() });
        };
        if node.status == status {
            return Ok(());
        }
        let mut node = Node::clone(node);
        node.status = status;
        node.status_at = at;
        node.modify_index = self.index;
        self.put_node(node, events);
        Ok(())
    }

    fn put_node(&mut self, node: Node, events: &mut Vec<Event>) {
        events.push(Event::Node(node.id));
        self.indexes.nodes = self.index;
        self.nodes.insert(node.id, Arc::new(node));
    }
}
