//! The nodes as somebody saw them last, to find out what has changed since.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use model::{Node, NodeId};

use crate::load::NodeLoad;
use crate::table::State;

/// The nodes and what each bore, as they were in one state. To hold it costs what has changed since.
#[derive(Clone, Debug, Default)]
pub struct SeenNodes {
    nodes: OrdMap<NodeId, Arc<Node>>,
    loads: OrdMap<NodeId, Arc<NodeLoad>>,
}

/// How the nodes of one state differ from those that were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeChanges {
    /// Whether nodes came or went.
    pub others: bool,
    /// Nodes that are there as before and whose record has changed, by ID.
    pub records: Vec<NodeId>,
    /// Those of which more or less is given away, whether they are there or not, by ID.
    pub loads: Vec<NodeId>,
}

impl State {
    /// Remembers the nodes as they are.
    pub fn see_nodes(&self) -> SeenNodes {
        SeenNodes { nodes: self.nodes.clone(), loads: self.loads.clone() }
    }

    /// What has changed since the nodes were seen, in this state or in another of which this one came. What both share
    /// is not looked at, so the cost goes by what has changed.
    pub fn node_changes(&self, seen: &SeenNodes) -> NodeChanges {
        let mut changes = NodeChanges::default();
        for item in seen.nodes.diff(&self.nodes) {
            match item {
                DiffItem::Add(..) | DiffItem::Remove(..) => changes.others = true,
                DiffItem::Update { new: (id, _), .. } => changes.records.push(*id),
            }
        }
        changes.loads = seen
            .loads
            .diff(&self.loads)
            .map(|item| match item {
                DiffItem::Add(id, _) | DiffItem::Remove(id, _) => *id,
                DiffItem::Update { new: (id, _), .. } => *id,
            })
            .collect();
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AllocResources, Allocation, Eligibility, NodeStatus, Timestamp, seeded_uuid};

    use crate::{Command, Plan};

    fn id(n: u32) -> NodeId {
        NodeId::new(seeded_uuid(&[&n.to_be_bytes()]))
    }

    fn joins(state: &mut State, n: u32) {
        let node = Box::new(Node { id: id(n), ..Node::default() });
        state.apply(state.index() + 1, &Command::RegisterNode { node, at: Timestamp::ZERO });
    }

    #[test]
    fn what_has_changed_is_found_among_many() {
        let mut state = State::default();
        for n in 0..1_000 {
            joins(&mut state, n);
        }
        let seen = state.see_nodes();
        assert_eq!(state.node_changes(&seen), NodeChanges::default());

        let changed = [id(17), id(500)];
        for node in changed {
            let (eligibility, at) = (Eligibility::Ineligible, Timestamp::ZERO);
            state.apply(state.index() + 1, &Command::SetEligibility { node, eligibility, at });
        }
        let place = vec![Allocation {
            node: id(3),
            resources: AllocResources { cpu: 5, ..AllocResources::default() },
            ..Allocation::default()
        }];
        let plan = Plan { basis: state.index(), place, ..Plan::default() };
        state.apply(state.index() + 1, &Command::ApplyPlan(Box::new(plan)));
        let mut changes = state.node_changes(&seen);
        changes.records.sort_unstable();
        let mut expected = changed.to_vec();
        expected.sort_unstable();
        assert_eq!(changes.records, expected);
        assert_eq!(changes.loads, [id(3)]);
        assert!(!changes.others);
        let now = state.see_nodes();
        assert_eq!(state.node_changes(&now), NodeChanges::default());

        joins(&mut state, 1_000);
        assert!(state.node_changes(&now).others, "one came");
        let joined = state.see_nodes();
        let (node, at) = (id(1_000), Timestamp::ZERO);
        state.apply(
            state.index() + 1,
            &Command::SetNodeStatus { node, status: NodeStatus::Down, at },
        );
        assert_eq!(state.node_changes(&joined).records, [node]);
        state.apply(state.index() + 1, &Command::RemoveNode { node, until: at, at });
        assert!(state.node_changes(&joined).others, "one went");
    }
}
