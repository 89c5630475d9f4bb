//! Nodes.

use std::collections::BTreeMap;

use model::wire::{
    DeviceAttribute, DeviceInstanceView, DriverView, HostVolumeView, NodeCpu, NodeDeviceView,
    NodeDisk, NodeListStub, NodeMemory, NodeResourcesView, NodeView,
};
use model::{DeviceInstance, Node, NodeDevice};

use crate::tls::speaks_tls;

pub(crate) fn node_stub(node: &Node, resources: bool) -> NodeListStub {
    NodeListStub {
        address: node.address.clone(),
        id: node.id,
        datacenter: node.datacenter.clone(),
        name: node.name.clone(),
        node_pool: node.pool.clone(),
        node_class: node.class.clone(),
        version: node.version.clone(),
        drain: node.draining,
        scheduling_eligibility: node.eligibility,
        status: node.status,
        status_description: String::new(),
        drivers: drivers(node),
        last_drain: node.last_drain.as_ref().map(Into::into),
        node_resources: resources.then(|| self::resources(node)),
        create_index: node.create_index,
        modify_index: node.modify_index,
    }
}

pub(crate) fn node_view(node: &Node) -> NodeView {
    NodeView {
        id: node.id,
        datacenter: node.datacenter.clone(),
        node_pool: node.pool.clone(),
        name: node.name.clone(),
        address: node.address.clone(),
        http_addr: node.http_address.clone(),
        tls_enabled: speaks_tls(node),
        attributes: node.attributes.clone(),
        node_resources: resources(node),
        meta: node.meta.clone(),
        node_class: node.class.clone(),
        version: node.version.clone(),
        role: node.role,
        drain: node.draining,
        drain_strategy: node.drain.as_ref().map(Into::into),
        last_drain: node.last_drain.as_ref().map(Into::into),
        events: node.events.iter().map(Into::into).collect(),
        scheduling_eligibility: node.eligibility,
        status: node.status,
        status_description: String::new(),
        status_updated_at: node.status_at.0 / 1_000_000_000,
        drivers: drivers(node),
        host_volumes: node
            .host_volumes
            .iter()
            .map(|(name, volume)| {
                let (path, read_only) = (volume.path.clone(), volume.read_only);
                (name.clone(), HostVolumeView { name: name.clone(), path, read_only })
            })
            .collect(),
        create_index: node.create_index,
        modify_index: node.modify_index,
    }
}

fn drivers(node: &Node) -> BTreeMap<String, DriverView> {
    let shape = |(name, driver): (&String, &model::DriverInfo)| {
        let view = DriverView {
            attributes: driver.attributes.clone(),
            detected: driver.detected,
            healthy: driver.healthy,
            health_description: driver.description.clone(),
            update_time: node.status_at,
        };
        (name.clone(), view)
    };
    node.drivers.iter().map(shape).collect()
}

fn resources(node: &Node) -> NodeResourcesView {
    let own = &node.resources;
    NodeResourcesView {
        cpu: NodeCpu {
            cpu_shares: own.cpu,
            total_cpu_cores: u16::try_from(own.cores.len()).unwrap_or(u16::MAX),
            reservable_cpu_cores: own.cores.clone(),
        },
        memory: NodeMemory { memory_mb: own.memory_mb },
        disk: NodeDisk { disk_mb: own.disk_mb },
        min_dynamic_port: own.min_dynamic_port,
        max_dynamic_port: own.max_dynamic_port,
        reserved_ports: own.reserved_ports.clone(),
        devices: own.devices.iter().map(device).collect(),
    }
}

fn device(device: &NodeDevice) -> NodeDeviceView {
    let instance = |one: &DeviceInstance| DeviceInstanceView {
        id: one.id.clone(),
        healthy: one.healthy,
        health_description: String::new(),
        path: one.path.clone(),
    };
    let attribute = |(key, text): (&String, &String)| (key.clone(), DeviceAttribute::of(text));
    NodeDeviceView {
        vendor: device.vendor.clone(),
        kind: device.kind.clone(),
        name: device.name.clone(),
        instances: device.instances.iter().map(instance).collect(),
        attributes: device.attributes.iter().map(attribute).collect(),
    }
}
