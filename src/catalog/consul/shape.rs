//! Consul's JSON objects. They borrow from the catalog; nothing is copied to be written.

use std::collections::BTreeMap;

use model::{Instance, InstanceCheck, Node, NodeId, NodeStatus};
use serde::Serialize;

use crate::instances::{NODE_CHECK, node_check};
use crate::view::Catalog;

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeRow<'a> {
    /// Its UUID.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Its name.
    pub node: &'a str,
    /// Its address.
    pub address: &'a str,
    /// Its datacenter.
    pub datacenter: &'a str,
    /// The address under the names that clients look for.
    pub tagged_addresses: BTreeMap<&'static str, &'a str>,
    /// Its metadata.
    pub meta: BTreeMap<&'a str, &'a str>,
    /// Index of its registration.
    pub create_index: u64,
    /// Index of its last change.
    pub modify_index: u64,
}

impl<'a> NodeRow<'a> {
    pub(super) fn new(node: &'a Node) -> Self {
        Self {
            id: node.id,
            node: &node.name,
            address: &node.address,
            datacenter: &node.datacenter,
            tagged_addresses: tagged(&node.address).into_iter().collect(),
            meta: node.meta.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            create_index: node.create_index,
            modify_index: node.modify_index,
        }
    }

    /// The node of an instance; a server that runs no allocations is known by its instance alone.
    pub(super) fn of(catalog: &'a Catalog, instance: &'a Instance) -> Self {
        match catalog.node(instance.node) {
            Some(node) => Self::new(node),
            None => Self {
                id: instance.node,
                node: &instance.node_name,
                address: &instance.node_address,
                datacenter: &instance.datacenter,
                tagged_addresses: tagged(&instance.node_address).into_iter().collect(),
                meta: BTreeMap::new(),
                create_index: instance.create_index,
                modify_index: instance.modify_index,
            },
        }
    }
}

fn tagged(address: &str) -> [(&'static str, &str); 4] {
    let [lan, wan] = match address.contains(':') {
        true => ["lan_ipv6", "wan_ipv6"],
        false => ["lan_ipv4", "wan_ipv4"],
    };
    ["lan", lan, "wan", wan].map(|name| (name, address))
}

/// An address of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceAddress<'a> {
    /// The host.
    pub address: &'a str,
    /// The port.
    pub port: u16,
}

fn service_addresses(instance: &Instance) -> BTreeMap<&'static str, ServiceAddress<'_>> {
    tagged(&instance.address)
        .into_iter()
        .filter(|(name, _)| name.contains('_'))
        .map(|(name, address)| (name, ServiceAddress { address, port: instance.port }))
        .collect()
}

/// How much of the traffic an instance should get, by its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Weights {
    /// When passing.
    pub passing: u32,
    /// When a warning stands.
    pub warning: u32,
}

const EQUAL: Weights = Weights { passing: 1, warning: 1 };

/// An object without fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Empty {}

/// How Consul says that a service is in no mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Proxy {
    mode: &'static str,
    mesh_gateway: Empty,
    expose: Empty,
}

const NO_PROXY: Proxy = Proxy { mode: "", mesh_gateway: Empty {}, expose: Empty {} };

/// An instance as `/v1/catalog/service/:name` lists it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogRow<'a> {
    /// The node's UUID.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// The node's name.
    pub node: &'a str,
    /// The node's address.
    pub address: &'a str,
    /// The node's datacenter.
    pub datacenter: &'a str,
    /// The node's address under the names that clients look for.
    pub tagged_addresses: BTreeMap<&'static str, &'a str>,
    /// The node's metadata.
    pub node_meta: BTreeMap<&'a str, &'a str>,
    /// Empty: an ordinary service.
    pub service_kind: &'static str,
    /// The instance's ID.
    #[serde(rename = "ServiceID")]
    pub service_id: &'a str,
    /// The service.
    pub service_name: &'a str,
    /// Its tags.
    pub service_tags: &'a [String],
    /// Where it is reached.
    pub service_address: &'a str,
    /// The same under the names that clients look for.
    pub service_tagged_addresses: BTreeMap<&'static str, ServiceAddress<'a>>,
    /// Its weights.
    pub service_weights: Weights,
    /// Its metadata.
    pub service_meta: &'a BTreeMap<String, String>,
    /// Its port.
    pub service_port: u16,
    /// Always empty.
    pub service_socket_path: &'static str,
    /// Always false.
    pub service_enable_tag_override: bool,
    /// In no mesh.
    pub service_proxy: Proxy,
    /// In no mesh.
    pub service_connect: Empty,
    /// Always null.
    pub service_locality: Option<Empty>,
    /// Index at which it came.
    pub create_index: u64,
    /// Index of its last change.
    pub modify_index: u64,
}

impl<'a> CatalogRow<'a> {
    pub(super) fn new(node: NodeRow<'a>, instance: &'a Instance) -> Self {
        Self {
            id: node.id,
            node: node.node,
            address: node.address,
            datacenter: node.datacenter,
            tagged_addresses: node.tagged_addresses,
            node_meta: node.meta,
            service_kind: "",
            service_id: &instance.id,
            service_name: &instance.service,
            service_tags: &instance.tags,
            service_address: &instance.address,
            service_tagged_addresses: service_addresses(instance),
            service_weights: EQUAL,
            service_meta: &instance.meta,
            service_port: instance.port,
            service_socket_path: "",
            service_enable_tag_override: false,
            service_proxy: NO_PROXY,
            service_connect: Empty {},
            service_locality: None,
            create_index: instance.create_index,
            modify_index: instance.modify_index,
        }
    }
}

/// An instance as health and node listings show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceRow<'a> {
    /// Empty: an ordinary service.
    pub kind: &'static str,
    /// The instance's ID.
    #[serde(rename = "ID")]
    pub id: &'a str,
    /// The service.
    pub service: &'a str,
    /// Its tags.
    pub tags: &'a [String],
    /// Where it is reached.
    pub address: &'a str,
    /// The same under the names that clients look for.
    pub tagged_addresses: BTreeMap<&'static str, ServiceAddress<'a>>,
    /// Its metadata.
    pub meta: &'a BTreeMap<String, String>,
    /// Its port.
    pub port: u16,
    /// Its weights.
    pub weights: Weights,
    /// Always false.
    pub enable_tag_override: bool,
    /// In no mesh.
    pub proxy: Proxy,
    /// In no mesh.
    pub connect: Empty,
    /// Always empty.
    pub peer_name: &'static str,
    /// Index at which it came.
    pub create_index: u64,
    /// Index of its last change.
    pub modify_index: u64,
}

impl<'a> ServiceRow<'a> {
    pub(super) fn new(instance: &'a Instance) -> Self {
        Self {
            kind: "",
            id: &instance.id,
            service: &instance.service,
            tags: &instance.tags,
            address: &instance.address,
            tagged_addresses: service_addresses(instance),
            meta: &instance.meta,
            port: instance.port,
            weights: EQUAL,
            enable_tag_override: false,
            proxy: NO_PROXY,
            connect: Empty {},
            peer_name: "",
            create_index: instance.create_index,
            modify_index: instance.modify_index,
        }
    }
}

/// A node with what runs on it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeServices<'a> {
    /// The node.
    pub node: NodeRow<'a>,
    /// Its instances, by ID.
    pub services: BTreeMap<&'a str, ServiceRow<'a>>,
}

/// An instance with its node and all checks that it depends on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceEntry<'a> {
    /// The node.
    pub node: NodeRow<'a>,
    /// The instance.
    pub service: ServiceRow<'a>,
    /// The node's check, then the instance's own.
    pub checks: Vec<CheckRow<'a>>,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CheckRow<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The check's ID.
    #[serde(rename = "CheckID")]
    pub check_id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its status.
    pub status: &'static str,
    /// Always empty.
    pub notes: &'static str,
    /// What it saw.
    pub output: &'a str,
    /// The instance; empty for a node's check.
    #[serde(rename = "ServiceID")]
    pub service_id: &'a str,
    /// The service; empty for a node's check.
    pub service_name: &'a str,
    /// The instance's tags.
    pub service_tags: &'a [String],
    /// `http`, `tcp`, `script` or empty.
    pub r#type: &'static str,
    /// Not shown.
    pub interval: &'static str,
    /// Not shown.
    pub timeout: &'static str,
    /// Always 0.
    pub exposed_port: u16,
    /// Not shown.
    pub definition: Empty,
    /// Index at which it came.
    pub create_index: u64,
    /// Index of its last change.
    pub modify_index: u64,
}

impl<'a> CheckRow<'a> {
    /// The check that every node has.
    pub(super) fn of_node(node: &'a Node) -> Self {
        Self {
            create_index: node.create_index,
            modify_index: node.modify_index,
            ..Self::node_level(&node.name, node.status)
        }
    }

    /// The node check of an instance's node.
    pub(super) fn of_node_of(catalog: &'a Catalog, instance: &'a Instance) -> Self {
        match catalog.node(instance.node) {
            Some(node) => Self::of_node(node),
            None => Self {
                create_index: instance.create_index,
                modify_index: instance.modify_index,
                ..Self::node_level(&instance.node_name, NodeStatus::Ready)
            },
        }
    }

    /// An instance's own checks.
    pub(super) fn of_service(instance: &'a Instance) -> impl Iterator<Item = Self> {
        let own = instance.checks.iter().filter(|check| check.id != NODE_CHECK);
        own.map(|check: &InstanceCheck| Self {
            node: &instance.node_name,
            check_id: &check.id,
            name: &check.name,
            status: check.status.as_str(),
            output: &check.output,
            service_id: &instance.id,
            service_name: &instance.service,
            service_tags: &instance.tags,
            r#type: check.kind,
            create_index: instance.create_index,
            modify_index: instance.modify_index,
            ..Self::blank()
        })
    }

    fn node_level(node: &'a str, status: NodeStatus) -> Self {
        let check = node_check(status);
        Self {
            node,
            check_id: NODE_CHECK,
            name: check.name,
            status: check.status.as_str(),
            output: check.output,
            ..Self::blank()
        }
    }

    const fn blank() -> Self {
        Self {
            node: "",
            check_id: "",
            name: "",
            status: "",
            notes: "",
            output: "",
            service_id: "",
            service_name: "",
            service_tags: &[],
            r#type: "",
            interval: "",
            timeout: "",
            exposed_port: 0,
            definition: Empty {},
            create_index: 0,
            modify_index: 0,
        }
    }
}
