//! All nodes as columns, with what is given away of each as a plan grows. A node is a number here: its place in the
//! order of IDs.

mod refresh;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{AllocResources, Group, Node, NodeId, VolumeRequest};
use state::{NodeLoad, SeenNodes, State};

use super::asked::Asked;
use super::fits::{Short, fits_beside};
use super::log::Log;
use crate::ports::Ports;
use crate::volumes::{Writers, of_host};

/// The nodes.
#[derive(Clone, Default)]
pub(crate) struct Columns {
    pub(super) ids: Vec<NodeId>,
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) ready: Vec<bool>,
    /// Which nodes are equal but for what is unique to each.
    pub(super) class: Vec<u32>,
    /// The number of each class; some may have no node any more.
    classes: BTreeMap<u128, u32>,
    pub(super) tie: Vec<u64>,
    loads: Vec<Arc<NodeLoad>>,
    /// Empty until somebody asks for a volume to write to.
    writers: Vec<Writers>,
    rooms: Vec<Room>,
    /// Goes up with each change of a node.
    pub(super) stamp: Vec<u32>,
    /// The nodes that changed, in order.
    pub(super) touched: Log<u32>,
    /// The nodes whose record changed from one state to another, in order.
    pub(super) renewed: Log<u32>,
    /// What this was made from, and how many changes that took: those after it are a plan's.
    seen: SeenNodes,
    settled: usize,
    journal: Option<Journal>,
}

/// How nodes were before they changed, to go back to.
#[derive(Clone, Default)]
struct Journal {
    rows: BTreeMap<u32, Row>,
    /// Whether it was known who writes.
    with_writers: bool,
}

/// All that changes of a node as a plan grows.
#[derive(Clone)]
pub(super) struct Row {
    room: Room,
    load: Arc<NodeLoad>,
    writers: Option<Writers>,
}

/// What can be compared without a look at the node: mostly it is all that is asked for.
#[derive(Clone, Copy, Default)]
struct Room {
    cpu: Amount,
    memory: Amount,
    disk: Amount,
    /// Dynamic ports that are left at the node's own address, at least.
    dynamic_ports: u32,
}

impl Room {
    fn of(node: &Node, load: &NodeLoad) -> Self {
        let all = &node.resources;
        Self {
            cpu: Amount { used: load.cpu, all: all.cpu },
            memory: Amount { used: load.memory_mb, all: all.memory_mb },
            disk: Amount { used: load.disk_mb, all: all.disk_mb },
            dynamic_ports: Ports { node, load }.surely_left(),
        }
    }

    fn hold(&mut self, held: &AllocResources) {
        self.cpu.take(held.cpu);
        self.memory.take(held.memory_mb);
        self.disk.take(held.disk_mb);
        self.dynamic_ports = self.dynamic_ports.saturating_sub(held.ports.len() as u32);
    }
}

/// What is used of something, and all there is.
#[derive(Clone, Copy, Default)]
struct Amount {
    used: u64,
    all: u64,
}

impl Amount {
    const fn has_room(self, more: u64) -> bool {
        self.used.saturating_add(more) <= self.all
    }

    const fn take(&mut self, more: u64) {
        self.used = self.used.saturating_add(more);
    }

    /// The part that is left once so much more is taken.
    fn left(self, more: u64) -> f64 {
        crate::rank::free(self.used.saturating_add(more), self.all)
    }
}

/// What is free of a node's processor and memory once an allocation is there, each from 0 to 1.
pub(super) struct Free {
    pub(super) cpu: f64,
    pub(super) memory: f64,
}

impl Columns {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    pub(super) fn find(&self, id: NodeId) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    pub(super) fn load(&self, at: usize) -> Option<&NodeLoad> {
        self.loads.get(at).map(AsRef::as_ref)
    }

    /// Says that whoever ranks nodes must look at this one again.
    pub(super) fn touch(&mut self, at: usize) {
        if let Some(stamp) = self.stamp.get_mut(at) {
            *stamp = stamp.wrapping_add(1);
            self.touched.push(at as u32);
        }
    }

    /// Gives away what an allocation holds.
    pub(super) fn hold(&mut self, at: usize, held: &AllocResources) {
        self.note(at);
        if let (Some(room), Some(load)) = (self.rooms.get_mut(at), self.loads.get_mut(at)) {
            room.hold(held);
            Arc::make_mut(load).hold(held);
        }
        self.touch(at);
    }

    /// Takes an allocation off a node, to see it without; what comes back makes it as it was.
    pub(super) fn lift(
        &mut self,
        at: usize,
        held: &AllocResources,
        written: Option<(&Group, u32)>,
    ) -> Option<Row> {
        let was = self.row(at)?;
        let mut without = was.clone();
        let load = Arc::make_mut(&mut without.load);
        load.release(held);
        without.room = Room::of(self.nodes.get(at)?, load);
        if let (Some(writers), Some((group, index))) = (&mut without.writers, written) {
            writers.leave(of_host(group), index);
        }
        self.set_down(at, without);
        Some(was)
    }

    /// Makes a node as it was before [`Columns::lift`].
    pub(super) fn set_down(&mut self, at: usize, was: Row) {
        self.note(at);
        self.set(at, was);
    }

    fn row(&self, at: usize) -> Option<Row> {
        Some(Row {
            room: *self.rooms.get(at)?,
            load: Arc::clone(self.loads.get(at)?),
            writers: self.writers.get(at).cloned(),
        })
    }

    fn set(&mut self, at: usize, row: Row) {
        if let (Some(room), Some(load)) = (self.rooms.get_mut(at), self.loads.get_mut(at)) {
            (*room, *load) = (row.room, row.load);
        }
        if let (Some(cell), Some(writers)) = (self.writers.get_mut(at), row.writers) {
            *cell = writers;
        }
        self.touch(at);
    }

    /// Keeps how nodes are from now on, to go [`back`](Columns::back) to.
    pub(super) fn keep(&mut self) {
        let with_writers = !self.writers.is_empty();
        self.journal = Some(Journal { rows: BTreeMap::new(), with_writers });
    }

    /// Makes all nodes as they were when they were kept.
    pub(super) fn back(&mut self) {
        let Some(journal) = self.journal.take() else { return };
        for (at, row) in journal.rows {
            self.set(at as usize, row);
        }
        if !journal.with_writers {
            self.writers.clear();
        }
    }

    /// What was kept is not needed.
    pub(super) fn go_on(&mut self) {
        self.journal = None;
    }

    /// Remembers a node that is about to change.
    fn note(&mut self, at: usize) {
        let wanted =
            self.journal.as_ref().is_some_and(|known| !known.rows.contains_key(&(at as u32)));
        if wanted
            && let Some(row) = self.row(at)
            && let Some(journal) = &mut self.journal
        {
            journal.rows.insert(at as u32, row);
        }
    }

    /// Learns who writes to the volumes of nodes that offer some.
    pub(super) fn note_writers(&mut self, state: &State) {
        if !self.writers.is_empty() {
            return;
        }
        let of = |node: &Arc<Node>| {
            let mut writers = Writers::default();
            if node.host_volumes.is_empty() {
                return writers;
            }
            let there = state.allocs_on_node(node.id).filter(|alloc| !alloc.client.is_terminal());
            for alloc in there {
                if let Some(group) = super::group_of(state, alloc) {
                    writers.enter(of_host(group), alloc.index);
                }
            }
            writers
        };
        self.writers = self.nodes.iter().map(of).collect();
    }

    pub(super) fn writers(&self, at: usize) -> Option<&Writers> {
        self.writers.get(at)
    }

    /// Counts an allocation with these volumes among those that write. Comes after it was given what it holds.
    pub(super) fn write(&mut self, at: usize, volumes: &[VolumeRequest], index: u32) {
        if let Some(writers) = self.writers.get_mut(at) {
            writers.enter(volumes, index);
        }
    }

    /// Whether what an allocation of this index asks for fits beside what is there.
    pub(super) fn fits(&self, at: usize, asked: &Asked, index: u32) -> Result<(), Short> {
        let room = self.rooms.get(at).copied().unwrap_or_default();
        if !room.cpu.has_room(self.cpu_on(at, asked)) {
            return Err(Short::Cpu);
        }
        if !room.memory.has_room(asked.memory_mb) {
            return Err(Short::Memory);
        }
        if !room.disk.has_room(asked.disk_mb) {
            return Err(Short::Disk);
        }
        if asked.only_dynamic.is_some_and(|ports| room.dynamic_ports >= ports) && !asked.writes {
            return Ok(());
        }
        let (Some(node), Some(load)) = (self.nodes.get(at), self.loads.get(at)) else {
            return Err(Short::Other("the node is gone".to_owned()));
        };
        if asked.writes
            && let Some(writers) = self.writers(at)
        {
            writers.admit(&asked.volumes, index).map_err(Short::Other)?;
        }
        fits_beside(node, load, asked)
    }

    /// What is free once it is there.
    pub(super) fn free_after(&self, at: usize, asked: &Asked) -> Free {
        let room = self.rooms.get(at).copied().unwrap_or_default();
        Free {
            cpu: room.cpu.left(self.cpu_on(at, asked)),
            memory: room.memory.left(asked.memory_mb),
        }
    }

    /// MHz that it takes on a node. Only for whole cores has that one to be looked at.
    fn cpu_on(&self, at: usize, asked: &Asked) -> u64 {
        match self.nodes.get(at).filter(|_| !asked.cores.is_empty()) {
            Some(node) => asked.cpu_on(node),
            None => asked.cpu,
        }
    }
}
