//! What is given away of each node, kept up with every allocation, so that nobody has to go through those that run to
//! learn what is free.
//!
//! An allocation holds what it was given until its node says that it is over, even when it is told to stop.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{AllocResources, Allocation, Node, PortAssignment, seeded_uuid};

use crate::table::State;

/// What is given away of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeLoad {
    /// Allocations that are not over.
    pub allocs: u32,
    /// MHz.
    pub cpu: u64,
    /// Megabytes of memory.
    pub memory_mb: u64,
    /// Megabytes of disk.
    pub disk_mb: u64,
    /// Ports at the node's own address.
    pub ports: PortUse,
    /// Ports at its host networks, by address.
    pub elsewhere: BTreeMap<Box<str>, PortUse>,
    /// Cores that a task has for itself alone, sorted.
    pub cores: Vec<u16>,
    /// Devices: make (`vendor/type/name`) and ID, sorted.
    pub devices: Vec<(Box<str>, Box<str>)>,
}

/// The ports of one address, sorted. One that may be shared stands as often as it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortUse {
    /// Held by what is not over.
    pub taken: Vec<u16>,
    /// Held by what is over and still known: clients may believe that it is there.
    pub worn: Vec<u16>,
}

/// How a device's make is written in [`NodeLoad::devices`].
pub fn device_make(vendor: &str, kind: &str, name: &str) -> Box<str> {
    format!("{vendor}/{kind}/{name}").into()
}

fn insert<T: Ord>(sorted: &mut Vec<T>, item: T) {
    let at = sorted.partition_point(|known| *known < item);
    sorted.insert(at, item);
}

fn remove<T: Ord>(sorted: &mut Vec<T>, item: &T) {
    if let Ok(at) = sorted.binary_search(item) {
        sorted.remove(at);
    }
}

impl NodeLoad {
    /// Adds what an allocation holds.
    pub fn hold(&mut self, held: &AllocResources) {
        self.allocs = self.allocs.saturating_add(1);
        self.cpu = self.cpu.saturating_add(held.cpu);
        self.memory_mb = self.memory_mb.saturating_add(held.memory_mb);
        self.disk_mb = self.disk_mb.saturating_add(held.disk_mb);
        for port in &held.ports {
            insert(&mut self.at(port).taken, port.value);
        }
        for grant in held.tasks.values() {
            for core in &grant.cores {
                insert(&mut self.cores, *core);
            }
            for devices in &grant.devices {
                let make = device_make(&devices.vendor, &devices.kind, &devices.name);
                for id in &devices.ids {
                    insert(&mut self.devices, (make.clone(), id.as_str().into()));
                }
            }
        }
    }

    /// Takes away what an allocation held.
    pub fn release(&mut self, held: &AllocResources) {
        self.allocs = self.allocs.saturating_sub(1);
        self.cpu = self.cpu.saturating_sub(held.cpu);
        self.memory_mb = self.memory_mb.saturating_sub(held.memory_mb);
        self.disk_mb = self.disk_mb.saturating_sub(held.disk_mb);
        for port in &held.ports {
            remove(&mut self.at(port).taken, &port.value);
        }
        for grant in held.tasks.values() {
            for core in &grant.cores {
                remove(&mut self.cores, core);
            }
            for devices in &grant.devices {
                let make = device_make(&devices.vendor, &devices.kind, &devices.name);
                for id in &devices.ids {
                    remove(&mut self.devices, &(make.clone(), id.as_str().into()));
                }
            }
        }
    }

    fn wear(&mut self, ports: &[PortAssignment]) {
        for port in ports {
            insert(&mut self.at(port).worn, port.value);
        }
    }

    fn forget(&mut self, ports: &[PortAssignment]) {
        for port in ports {
            remove(&mut self.at(port).worn, &port.value);
        }
    }

    fn at(&mut self, port: &PortAssignment) -> &mut PortUse {
        match port.host_network {
            None => &mut self.ports,
            Some(_) => self.elsewhere.entry((*port.host_ip).into()).or_default(),
        }
    }
}

/// What tells nodes apart that are not the same to any job which names no node: nodes of one class are looked at once.
pub(crate) fn class_of(node: &Node) -> u128 {
    let mut parts: Vec<&[u8]> =
        vec![node.datacenter.as_bytes(), node.pool.as_bytes(), node.class.as_bytes()];
    let sets = [("attr", &node.attributes), ("meta", &node.meta)];
    for (kind, set) in sets {
        parts.push(kind.as_bytes());
        for (key, value) in set.iter().filter(|(key, _)| !key.starts_with("unique.")) {
            parts.extend([key.as_bytes(), value.as_bytes()]);
        }
    }
    parts.push(b"drivers");
    for (name, driver) in &node.drivers {
        let state: &[u8] = match (driver.detected, driver.healthy) {
            (true, true) => b"healthy",
            (true, false) => b"ill",
            (false, _) => b"missing",
        };
        parts.extend([name.as_bytes(), state]);
    }
    parts.push(b"volumes");
    for (name, volume) in &node.host_volumes {
        let access: &[u8] = if volume.read_only { b"read" } else { b"write" };
        parts.extend([name.as_bytes(), access]);
    }
    parts.push(b"networks");
    parts.extend(node.resources.host_networks.iter().map(|network| network.name.as_bytes()));
    seeded_uuid(&parts).as_u128()
}

/// Whether two nodes are of one class for sure, without working it out.
fn same_class(a: &Node, b: &Node) -> bool {
    let names = |node: &Node| -> Vec<String> {
        node.resources.host_networks.iter().map(|network| network.name.clone()).collect()
    };
    a.datacenter == b.datacenter
        && a.pool == b.pool
        && a.class == b.class
        && a.attributes == b.attributes
        && a.meta == b.meta
        && a.drivers == b.drivers
        && a.host_volumes == b.host_volumes
        && names(a) == names(b)
}

impl State {
    /// What is given away of a node; nothing for one that never had an allocation.
    pub fn load(&self, node: model::NodeId) -> Option<&Arc<NodeLoad>> {
        self.loads.get(&node)
    }

    /// The class of a node: equal for nodes that differ in nothing but what is unique to each, and in what they can
    /// give.
    pub fn node_class(&self, node: model::NodeId) -> Option<u128> {
        self.classes.get(&node).copied()
    }

    /// All nodes, by ID, each with its class and what is given away of it.
    pub fn nodes_with_loads(
        &self,
    ) -> impl Iterator<Item = (&Arc<Node>, u128, Option<&Arc<NodeLoad>>)> {
        // All three are in the same order, so that nothing has to be looked up.
        let mut loads = self.loads.iter().peekable();
        let mut classes = self.classes.iter().peekable();
        self.nodes.iter().map(move |(id, node)| {
            while loads.next_if(|(other, _)| *other < id).is_some() {}
            while classes.next_if(|(other, _)| *other < id).is_some() {}
            let load = loads.next_if(|(other, _)| *other == id).map(|(_, load)| load);
            let class = classes.next_if(|(other, _)| *other == id).map(|(_, class)| *class);
            (node, class.unwrap_or_default(), load)
        })
    }

    /// Keeps the loads up with an allocation that came, changed or went.
    pub(crate) fn shift_load(&mut self, before: Option<&Allocation>, after: Option<&Allocation>) {
        let over = |alloc: &Allocation| alloc.client.is_terminal();
        if let (Some(before), Some(after)) = (before, after)
            && over(before) == over(after)
        {
            return;
        }
        let Some(node) = before.or(after).map(|alloc| alloc.node) else { return };
        let load = Arc::make_mut(self.loads.entry(node).or_default());
        if let Some(before) = before {
            let held = &before.resources;
            if over(before) {
                load.forget(&held.ports)
            } else {
                load.release(held)
            }
            load.elsewhere.retain(|_, ports| *ports != PortUse::default());
        }
        if let Some(after) = after {
            let held = &after.resources;
            if over(after) { load.wear(&held.ports) } else { load.hold(held) }
        }
        if *load == NodeLoad::default() {
            self.loads.remove(&node);
        }
    }

    /// Keeps the classes up with a node that came or changed.
    pub(crate) fn classify(&mut self, node: &Node) {
        let known = self.nodes.get(&node.id).is_some_and(|known| same_class(known, node));
        if !known || !self.classes.contains_key(&node.id) {
            self.classes.insert(node.id, class_of(node));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{DeviceGrant, TaskGrant};

    fn held(port: u16, network: Option<&str>) -> AllocResources {
        let grant = TaskGrant {
            cores: vec![port % 4],
            devices: vec![DeviceGrant {
                vendor: "v".into(),
                kind: "gpu".into(),
                name: "n".into(),
                ids: vec![port.to_string()],
            }],
        };
        AllocResources {
            cpu: 10,
            memory_mb: 20,
            disk_mb: 30,
            ports: vec![PortAssignment {
                value: port,
                host_ip: "10.0.0.1".into(),
                host_network: network.map(Into::into),
                ..PortAssignment::default()
            }],
            tasks: [("t".to_owned(), grant)].into(),
        }
    }

    #[test]
    fn what_is_released_is_free_again() {
        let mut load = NodeLoad::default();
        let all = [held(3, None), held(1, Some("lan")), held(2, None)];
        for one in &all {
            load.hold(one);
        }
        assert_eq!((load.allocs, load.cpu, load.memory_mb, load.disk_mb), (3, 30, 60, 90));
        assert_eq!(load.ports.taken, [2, 3]);
        assert_eq!(load.elsewhere["10.0.0.1"].taken, [1]);
        assert_eq!((load.cores.as_slice(), load.devices.len()), (&[1, 2, 3][..], 3));
        for one in &all {
            load.release(one);
        }
        load.elsewhere.clear();
        assert_eq!(load, NodeLoad::default());
    }

    #[test]
    fn what_is_unique_makes_no_class() {
        let mut a = Node { datacenter: "dc1".into(), ..Node::default() };
        let mut b = a.clone();
        b.attributes.insert("unique.hostname".into(), "b".into());
        assert_eq!(class_of(&a), class_of(&b));
        b.meta.insert("rack".into(), "1".into());
        assert_ne!(class_of(&a), class_of(&b));
        a.attributes.insert("rack".into(), "1".into());
        assert_ne!(class_of(&a), class_of(&b), "an attribute is no metadata");
    }
}
