//! S9: what a node holds never exceeds what it has, and no port is given twice. Counted is whatever its node has not said
//! to be over.

use std::collections::BTreeSet;

use model::NodeId;
use state::State;

use super::shown;
use crate::simulation::world::Check;

pub(super) fn holds(state: &State, id: NodeId) -> Check {
    let Some(node) = state.node(id) else { return Ok(()) };
    let (mut cpu, mut memory, mut disk) = (0, 0, 0);
    let mut ports = BTreeSet::new();
    for alloc in state.allocs_on_node(id).filter(|alloc| !alloc.client.is_terminal()) {
        cpu += alloc.resources.cpu;
        memory += alloc.resources.memory_mb;
        disk += alloc.resources.disk_mb;
        for port in &alloc.resources.ports {
            if !ports.insert((port.host_ip.clone(), port.value)) {
                return Err(format!(
                    "S9: port {} is given twice on {}: {}",
                    port.value,
                    node.name,
                    shown(alloc)
                ));
            }
        }
    }
    let has = &node.resources;
    if cpu > has.cpu || memory > has.memory_mb || disk > has.disk_mb {
        let all: Vec<String> = state
            .allocs_on_node(id)
            .filter(|alloc| !alloc.client.is_terminal())
            .map(|alloc| format!("{} MHz {}", alloc.resources.cpu, shown(alloc)))
            .collect();
        return Err(format!("S9: {cpu} MHz, {memory} MB, {disk} MB on {}: {all:#?}", node.name));
    }
    Ok(())
}
