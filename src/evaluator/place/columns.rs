//! All nodes as columns, with what is given away of each as a plan grows. A node is a number here: its place in the
//! order of IDs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::{AllocResources, Group, Node, NodeId};
use state::{NodeLoad, State};

use super::asked::Asked;
use crate::ports::Ports;
use crate::rank::tie_break;
use crate::volumes::Writers;

/// What a node is short of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    Cpu,
    Memory,
    Disk,
    Cores,
    /// In words.
    Other(String),
}

impl Short {
    /// As it is shown to people and counted by.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Cores => "cores",
            Self::Other(words) => words,
        }
    }
}

/// The nodes.
#[derive(Clone, Default)]
pub(crate) struct Columns {
    pub(super) ids: Vec<NodeId>,
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) ready: Vec<bool>,
    /// Which nodes are equal but for what is unique to each.
    pub(super) class: Vec<u32>,
    pub(super) classes: usize,
    pub(super) tie: Vec<u64>,
    loads: Vec<Arc<NodeLoad>>,
    /// Empty until somebody asks for a volume to write to.
    writers: Vec<Writers>,
    cpu: Vec<Amount>,
    memory: Vec<Amount>,
    disk: Vec<Amount>,
    /// Dynamic ports that are left at the node's own address, at least.
    dynamic_ports: Vec<u32>,
    /// Goes up with each change of a node.
    pub(super) stamp: Vec<u32>,
    /// The nodes that changed, in order.
    pub(super) touched: Vec<u32>,
}

/// A node as it was before an allocation was lifted off it.
pub(super) struct Lifted {
    cpu: Amount,
    memory: Amount,
    disk: Amount,
    dynamic_ports: u32,
    load: Arc<NodeLoad>,
    writers: Option<Writers>,
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
}

/// What is free of a node's processor and memory once an allocation is there, each from 0 to 1.
pub(super) struct Free {
    pub(super) cpu: f64,
    pub(super) memory: f64,
}

impl Columns {
    pub(super) fn of(state: &State) -> Self {
        let mut columns = Self::default();
        let mut classes: BTreeMap<u128, u32> = BTreeMap::new();
        let nothing = Arc::new(NodeLoad::default());
        columns.reserve(state.nodes_count());
        // Most nodes are of the class of the one before.
        let mut last: Option<(u128, u32)> = None;
        for (node, class, load) in state.nodes_with_loads() {
            let number = match last {
                Some((known, number)) if known == class => number,
                _ => {
                    let next = classes.len() as u32;
                    *classes.entry(class).or_insert(next)
                }
            };
            last = Some((class, number));
            columns.push(node, load.unwrap_or(&nothing), number);
        }
        columns.classes = classes.len();
        columns
    }

    fn reserve(&mut self, nodes: usize) {
        self.ids.reserve(nodes);
        self.nodes.reserve(nodes);
        self.loads.reserve(nodes);
        self.ready.reserve(nodes);
        self.class.reserve(nodes);
        self.tie.reserve(nodes);
        self.cpu.reserve(nodes);
        self.memory.reserve(nodes);
        self.disk.reserve(nodes);
        self.dynamic_ports.reserve(nodes);
        self.stamp.reserve(nodes);
    }

    fn push(&mut self, node: &Arc<Node>, load: &Arc<NodeLoad>, class: u32) {
        let all = &node.resources;
        self.ids.push(node.id);
        self.dynamic_ports.push(Ports { node, load }.surely_left());
        self.ready.push(node.is_ready());
        self.class.push(class);
        self.tie.push(tie_break(node.id));
        self.cpu.push(Amount { used: load.cpu, all: all.cpu });
        self.memory.push(Amount { used: load.memory_mb, all: all.memory_mb });
        self.disk.push(Amount { used: load.disk_mb, all: all.disk_mb });
        self.nodes.push(Arc::clone(node));
        self.loads.push(Arc::clone(load));
        self.stamp.push(0);
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
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
        let columns = [
            (&mut self.cpu, held.cpu),
            (&mut self.memory, held.memory_mb),
            (&mut self.disk, held.disk_mb),
        ];
        for (column, more) in columns {
            if let Some(amount) = column.get_mut(at) {
                amount.used = amount.used.saturating_add(more);
            }
        }
        if let Some(left) = self.dynamic_ports.get_mut(at) {
            *left = left.saturating_sub(held.ports.len() as u32);
        }
        if let Some(load) = self.loads.get_mut(at) {
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
    ) -> Option<Lifted> {
        let lifted = Lifted {
            cpu: self.cpu.get(at).copied()?,
            memory: self.memory.get(at).copied()?,
            disk: self.disk.get(at).copied()?,
            dynamic_ports: self.dynamic_ports.get(at).copied()?,
            load: Arc::clone(self.loads.get(at)?),
            writers: self.writers.get(at).cloned(),
        };
        let mut load = NodeLoad::clone(&lifted.load);
        load.release(held);
        let mut writers = lifted.writers.clone();
        if let (Some(writers), Some((group, index))) = (&mut writers, written) {
            writers.leave(group, index);
        }
        let node = self.nodes.get(at)?;
        let without = Lifted {
            cpu: Amount { used: load.cpu, ..lifted.cpu },
            memory: Amount { used: load.memory_mb, ..lifted.memory },
            disk: Amount { used: load.disk_mb, ..lifted.disk },
            dynamic_ports: Ports { node, load: &load }.surely_left(),
            load: Arc::new(load),
            writers,
        };
        self.set_down(at, without);
        Some(lifted)
    }

    /// Makes a node as it was before [`Columns::lift`].
    pub(super) fn set_down(&mut self, at: usize, was: Lifted) {
        let amounts =
            [(&mut self.cpu, was.cpu), (&mut self.memory, was.memory), (&mut self.disk, was.disk)];
        for (column, amount) in amounts {
            if let Some(cell) = column.get_mut(at) {
                *cell = amount;
            }
        }
        if let Some(left) = self.dynamic_ports.get_mut(at) {
            *left = was.dynamic_ports;
        }
        if let Some(load) = self.loads.get_mut(at) {
            *load = was.load;
        }
        if let (Some(cell), Some(writers)) = (self.writers.get_mut(at), was.writers) {
            *cell = writers;
        }
        self.touch(at);
    }

    /// Takes back what an allocation holds.
    pub(super) fn release(&mut self, at: usize, held: &AllocResources) {
        let columns = [
            (&mut self.cpu, held.cpu),
            (&mut self.memory, held.memory_mb),
            (&mut self.disk, held.disk_mb),
        ];
        for (column, less) in columns {
            if let Some(amount) = column.get_mut(at) {
                amount.used = amount.used.saturating_sub(less);
            }
        }
        if let (Some(node), Some(load)) = (self.nodes.get(at), self.loads.get_mut(at)) {
            let load = Arc::make_mut(load);
            load.release(held);
            if let Some(left) = self.dynamic_ports.get_mut(at) {
                *left = Ports { node, load }.surely_left();
            }
        }
        self.touch(at);
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
                    writers.enter(group, alloc.index);
                }
            }
            writers
        };
        self.writers = self.nodes.iter().map(of).collect();
    }

    pub(super) fn writers(&self, at: usize) -> Option<&Writers> {
        self.writers.get(at)
    }

    /// Counts an allocation of a group among those that write.
    pub(super) fn write(&mut self, at: usize, group: &Group, index: u32) {
        if let Some(writers) = self.writers.get_mut(at) {
            writers.enter(group, index);
        }
    }

    /// Whether what an allocation of this index asks for fits beside what is there.
    pub(super) fn fits(&self, at: usize, asked: &Asked, index: u32) -> Result<(), Short> {
        // What is asked for mostly is in the columns, and no node has to be looked at.
        let cpu = match self.nodes.get(at).filter(|_| !asked.cores.is_empty()) {
            Some(node) => asked.cpu_on(node),
            None => asked.cpu,
        };
        let room = |column: &[Amount], more: u64| column.get(at).is_some_and(|a| a.has_room(more));
        if !room(&self.cpu, cpu) {
            return Err(Short::Cpu);
        }
        if !room(&self.memory, asked.memory_mb) {
            return Err(Short::Memory);
        }
        if !room(&self.disk, asked.disk_mb) {
            return Err(Short::Disk);
        }
        if let Some(ports) = asked.only_dynamic
            && !asked.writes
            && self.dynamic_ports.get(at).is_some_and(|left| *left >= ports)
        {
            return Ok(());
        }
        let (Some(node), Some(load)) = (self.nodes.get(at), self.loads.get(at)) else {
            return Err(Short::Other("the node is gone".to_owned()));
        };
        if asked.writes
            && let Some(writers) = self.writers(at)
        {
            writers.admit(&asked.group, index).map_err(Short::Other)?;
        }
        fits_beside(node, load, asked)
    }

    /// What is free once it is there.
    pub(super) fn free_after(&self, at: usize, asked: &Asked) -> Free {
        let free = |column: &[Amount], more: u64| {
            let amount = column.get(at).copied().unwrap_or_default();
            crate::rank::free(amount.used.saturating_add(more), amount.all)
        };
        let cpu = match self.nodes.get(at).filter(|_| !asked.cores.is_empty()) {
            Some(node) => asked.cpu_on(node),
            None => asked.cpu,
        };
        Free { cpu: free(&self.cpu, cpu), memory: free(&self.memory, asked.memory_mb) }
    }
}

/// Whether all but processor, memory and disk fits beside a load.
fn fits_beside(node: &Node, load: &NodeLoad, asked: &Asked) -> Result<(), Short> {
    if !asked.cores.is_empty() {
        let free = node.resources.cores.len().saturating_sub(load.cores.len());
        if asked.whole_cores() > free as u64 {
            return Err(Short::Cores);
        }
    }
    if let Some(devices) = &asked.devices {
        devices.choose(node, load).map_err(Short::Other)?;
    }
    match &asked.network {
        Some(network) => Ports { node, load }.fits(network).map_err(Short::Other),
        None => Ok(()),
    }
}

/// Whether all of it fits on a node that bears a load.
pub(super) fn fits_load(node: &Node, load: &NodeLoad, asked: &Asked) -> Result<(), Short> {
    let all = &node.resources;
    let dimensions = [
        (Short::Cpu, load.cpu, asked.cpu_on(node), all.cpu),
        (Short::Memory, load.memory_mb, asked.memory_mb, all.memory_mb),
        (Short::Disk, load.disk_mb, asked.disk_mb, all.disk_mb),
    ];
    for (short, used, more, all) in dimensions {
        if used.saturating_add(more) > all {
            return Err(short);
        }
    }
    fits_beside(node, load, asked)
}

/// The cores that each task gets: the lowest free ones.
pub(super) fn choose_cores(node: &Node, load: &NodeLoad, asked: &Asked) -> Vec<(String, Vec<u16>)> {
    let mut all: Cow<'_, [u16]> = Cow::Borrowed(&node.resources.cores);
    if !all.is_sorted() {
        all.to_mut().sort_unstable();
    }
    let mut free = all.iter().copied().filter(|core| load.cores.binary_search(core).is_err());
    let of = |(task, cores): &(String, u64)| {
        (task.clone(), free.by_ref().take(usize::try_from(*cores).unwrap_or(usize::MAX)).collect())
    };
    asked.cores.iter().map(of).collect()
}
