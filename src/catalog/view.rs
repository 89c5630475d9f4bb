//! The catalog: all services with their instances, as a view that costs nothing to clone.

mod entry;
mod follow;
mod handle;

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::{AllocId, Instance, Node, NodeId};

pub(crate) use entry::Endpoint;
pub use entry::Entry;
pub use handle::{CatalogHandle, Change, Changes, run};

/// The service that the servers themselves form, as Consul's do.
pub const SERVERS: &str = "consul";

/// A server of this cluster, as the service [`SERVERS`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its node.
    pub id: NodeId,
    /// The node's name.
    pub name: String,
    /// The node's datacenter.
    pub datacenter: String,
    /// Where it is reached.
    pub address: String,
    /// The port of its RPC.
    pub port: u16,
}

/// All services, by name, with their instances. A view of one state; cloning it is a snapshot.
///
/// Each index is the state index of the last change of what it is named after, at least 1, and never goes back while
/// the process lives. After a rebuild they all start at the state's index, so that whoever waits looks again once.
#[derive(Clone, Default)]
pub struct Catalog {
    index: u64,
    services: OrdMap<Arc<str>, Arc<Entry>>,
    /// Names that are not all lower case, under their lower-case form: DNS does not see case.
    folded: OrdSet<(Arc<str>, Arc<str>)>,
    by_alloc: OrdMap<AllocId, Arc<[Arc<Instance>]>>,
    by_node: OrdMap<NodeId, OrdSet<AllocId>>,
    nodes: OrdMap<NodeId, Arc<Node>>,
    /// Lower-case name and ID, in the order in which nodes are listed.
    node_names: OrdSet<(Arc<str>, NodeId)>,
    servers: Arc<Entry>,
    services_index: u64,
    extinction_index: u64,
    nodes_index: u64,
    health_index: u64,
}

impl Catalog {
    /// The index of the state that this is a view of.
    pub fn index(&self) -> u64 {
        self.index.max(1)
    }

    /// Index of the last time that an instance came or went or its tags changed.
    pub fn services_index(&self) -> u64 {
        self.services_index.max(1)
    }

    /// Index of the last change of any node, as far as the catalog shows it.
    pub fn nodes_index(&self) -> u64 {
        self.nodes_index.max(1)
    }

    /// Index of the last change of any instance, check or node.
    pub fn health_index(&self) -> u64 {
        self.health_index.max(1)
    }

    /// Index of the last change of a service; for one that is not there, of the last time any service went.
    pub fn service_index(&self, name: &str) -> u64 {
        self.service(name).map_or(self.extinction_index, |entry| entry.index).max(1)
    }

    /// A service by its exact name.
    pub fn service(&self, name: &str) -> Option<&Entry> {
        match self.services.get(name) {
            Some(entry) => Some(entry),
            None => Some(&*self.servers)
                .filter(|servers| name == SERVERS && !servers.instances.is_empty()),
        }
    }

    /// A service by its name in lower case.
    pub(crate) fn service_folded(&self, lower: &str) -> Option<&Entry> {
        self.service(lower).or_else(|| {
            if self.folded.is_empty() {
                return None;
            }
            let from = (Arc::from(lower), Arc::from(""));
            let (found, exact) = self.folded.range(from..).next()?;
            if &**found == lower { self.services.get(exact).map(|entry| &**entry) } else { None }
        })
    }

    /// All services with instances, by name. The servers are not among them.
    pub fn services(&self) -> impl Iterator<Item = &Entry> {
        self.services.values().map(|entry| &**entry)
    }

    /// The servers, as a service.
    pub fn servers(&self) -> &Entry {
        &self.servers
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.node_names.iter().filter_map(|(_, id)| self.nodes.get(id))
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// A node by its name, whatever its case, or by its ID.
    pub fn node_named(&self, name: &str) -> Option<&Arc<Node>> {
        let lower = name.to_lowercase();
        let from = (Arc::from(lower.as_str()), NodeId::default());
        let named = self.node_names.range(from..).next().filter(|(found, _)| **found == *lower);
        match named {
            Some((_, id)) => self.nodes.get(id),
            None => self.nodes.get(&name.parse::<NodeId>().ok()?),
        }
    }

    /// The instances on a node, by service and ID.
    pub fn instances_on(&self, node: NodeId) -> Vec<&Arc<Instance>> {
        let mut found: Vec<_> = self
            .by_node
            .get(&node)
            .into_iter()
            .flatten()
            .filter_map(|id| self.by_alloc.get(id))
            .flat_map(|all| all.iter())
            .collect();
        found.sort_by(|a, b| (&a.service, &a.id).cmp(&(&b.service, &b.id)));
        found
    }

    /// The datacenters of all nodes and servers, sorted.
    pub fn datacenters(&self) -> BTreeSet<&str> {
        let servers = self.servers.instances.iter().map(|server| server.datacenter.as_str());
        self.nodes
            .values()
            .map(|node| node.datacenter.as_str())
            .chain(servers)
            .filter(|name| !name.is_empty())
            .collect()
    }
}
