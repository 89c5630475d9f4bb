//! The columns made those of a state: anew, or from those of another by what has changed between the two.

use std::sync::Arc;

use model::Node;
use state::{NodeLoad, State};

use super::{Columns, Room, Row};
use crate::rank::tie_break;

/// Classes without a node are put up with while there are no more of them than this and the nodes together.
const SPARE_CLASSES: usize = 64;

impl Columns {
    /// All of it worked out.
    pub(super) fn of(state: &State) -> Self {
        let mut columns = Self { seen: state.see_nodes(), ..Self::default() };
        let nothing = Arc::new(NodeLoad::default());
        columns.reserve(state.nodes_count());
        // Most nodes are of the class of the one before.
        let mut last: Option<(u128, u32)> = None;
        for (node, class, load) in state.nodes_with_loads() {
            let number = match last {
                Some((known, number)) if known == class => number,
                _ => columns.number(class),
            };
            last = Some((class, number));
            columns.push(node, load.unwrap_or(&nothing), number);
        }
        columns
    }

    fn reserve(&mut self, nodes: usize) {
        self.ids.reserve(nodes);
        self.nodes.reserve(nodes);
        self.loads.reserve(nodes);
        self.ready.reserve(nodes);
        self.class.reserve(nodes);
        self.tie.reserve(nodes);
        self.rooms.reserve(nodes);
        self.stamp.reserve(nodes);
    }

    fn push(&mut self, node: &Arc<Node>, load: &Arc<NodeLoad>, class: u32) {
        self.ids.push(node.id);
        self.ready.push(node.is_ready());
        self.class.push(class);
        self.tie.push(tie_break(node.id));
        self.rooms.push(Room::of(node, load));
        self.nodes.push(Arc::clone(node));
        self.loads.push(Arc::clone(load));
        self.stamp.push(0);
    }

    fn number(&mut self, class: u128) -> u32 {
        let next = self.classes.len() as u32;
        *self.classes.entry(class).or_insert(next)
    }

    /// Makes these the columns of a state. What was changed for a plan is forgotten, whether or not the plan was carried
    /// out. `false` where all is new, so that nothing made from it holds any more.
    pub(in crate::place) fn turn_to(&mut self, state: &State) -> bool {
        if self.ids.is_empty() {
            return self.begin(state);
        }
        let changes = state.node_changes(&self.seen);
        let spare = self.classes.len().saturating_sub(self.ids.len());
        if changes.others || spare > self.ids.len() + SPARE_CLASSES {
            return self.begin(state);
        }
        let mut changed: Vec<u32> = match self.touched.since(self.settled) {
            Some(tentative) => tentative.to_vec(),
            None => (0..self.ids.len() as u32).collect(),
        };
        changed.extend(changes.loads.iter().filter_map(|id| Some(self.find(*id)? as u32)));
        changed.sort_unstable();
        changed.dedup();
        self.writers.clear();
        for id in changes.records {
            if let (Some(at), Some(node)) = (self.find(id), state.node(id)) {
                self.renew(at, node, state.node_class(id).unwrap_or_default());
            }
        }
        let nothing = Arc::new(NodeLoad::default());
        for at in changed {
            let at = at as usize;
            let Some(id) = self.ids.get(at) else { continue };
            let load = Arc::clone(state.load(*id).unwrap_or(&nothing));
            self.settle(at, load);
        }
        let nodes = self.ids.len();
        self.touched.forget(nodes.saturating_mul(2));
        self.renewed.forget(nodes / 2);
        self.seen = state.see_nodes();
        self.settled = self.touched.end();
        true
    }

    fn begin(&mut self, state: &State) -> bool {
        let journal = self.journal.take();
        *self = Self { journal, ..Self::of(state) };
        false
    }

    /// A node's record is another.
    fn renew(&mut self, at: usize, node: &Arc<Node>, class: u128) {
        let number = self.number(class);
        if let Some(class) = self.class.get_mut(at) {
            *class = number;
        }
        if let Some(ready) = self.ready.get_mut(at) {
            *ready = node.is_ready();
        }
        if let (Some(room), Some(load)) = (self.rooms.get_mut(at), self.loads.get(at)) {
            *room = Room::of(node, load);
        }
        if let Some(known) = self.nodes.get_mut(at) {
            *known = Arc::clone(node);
        }
        self.renewed.push(at as u32);
        self.touch(at);
    }

    /// A node bears what the state says. Where that was foreseen, nobody has to look at it again.
    fn settle(&mut self, at: usize, load: Arc<NodeLoad>) {
        let (Some(node), Some(known)) = (self.nodes.get(at), self.loads.get_mut(at)) else {
            return;
        };
        let row = Row { room: Room::of(node, &load), load, writers: None };
        if *known != row.load {
            self.set(at, row);
            return;
        }
        *known = row.load;
        if let Some(room) = self.rooms.get_mut(at) {
            *room = row.room;
        }
    }
}
