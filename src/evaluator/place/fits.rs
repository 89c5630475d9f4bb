//! Whether what is asked for fits on one node beside what is there.

use std::borrow::Cow;

use model::Node;
use state::NodeLoad;

use super::asked::Asked;
use crate::ports::Ports;

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

/// Whether all but processor, memory and disk fits beside a load.
pub(super) fn fits_beside(node: &Node, load: &NodeLoad, asked: &Asked) -> Result<(), Short> {
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
