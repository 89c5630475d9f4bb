//! The catalog in Consul's shapes: what `/v1/catalog/*` and `/v1/health/*` answer, without HTTP.
//!
//! Rows come by node name and instance ID, so that the same state always gives the same bytes; arrays are never null.

mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{CheckStatus, Instance, Node};

pub use shape::{
    CatalogRow, CheckRow, Empty, NodeRow, NodeServices, Proxy, ServiceAddress, ServiceEntry,
    ServiceRow, Weights,
};

use crate::view::{Catalog, SERVERS};

/// An answer and the index that a client waits beyond.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// For `X-Consul-Index`; at least 1.
    pub index: u64,
    /// The body.
    pub value: T,
}

/// What the common query parameters leave in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// `tag`: an instance must have all of them, whatever their case.
    pub tags: Vec<String>,
    /// `passing`: no check of the instance or its node may be anything else.
    pub passing: bool,
    /// `node-meta`: a node must have all of them.
    pub node_meta: Vec<(String, String)>,
}

impl Select {
    fn node(&self, node: Option<&Arc<Node>>) -> bool {
        self.node_meta.iter().all(|(key, value)| {
            node.is_some_and(|node| node.meta.get(key).is_some_and(|own| own == value))
        })
    }

    fn instance(&self, catalog: &Catalog, instance: &Instance) -> bool {
        self.node(catalog.node(instance.node))
            && self
                .tags
                .iter()
                .all(|tag| instance.tags.iter().any(|own| own.eq_ignore_ascii_case(tag)))
            && !(self.passing && instance.status() != CheckStatus::Passing)
    }
}

/// Which checks `/v1/health/state/:state` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `any`.
    Any,
    /// Those in this status.
    In(CheckStatus),
}

impl Wanted {
    /// Reads the path's last part; `None` for a state that there is not.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "any" => Self::Any,
            "passing" => Self::In(CheckStatus::Passing),
            "warning" => Self::In(CheckStatus::Warning),
            "critical" => Self::In(CheckStatus::Critical),
            _ => return None,
        })
    }

    fn has(self, check: &CheckRow<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::In(status) => check.status == status.as_str(),
        }
    }
}

/// `/v1/catalog/datacenters`: `own`, the answering agent's, and all others, by name.
pub fn datacenters<'a>(catalog: &'a Catalog, own: &'a str) -> Vec<&'a str> {
    let mut all = catalog.datacenters();
    all.insert(own);
    all.into_iter().collect()
}

/// `/v1/catalog/services`: each service with the tags of all its instances.
pub fn services<'a>(
    catalog: &'a Catalog,
    select: &Select,
) -> Found<BTreeMap<&'a str, Vec<&'a str>>> {
    let mut value = BTreeMap::new();
    if select.node_meta.is_empty() {
        value.insert(SERVERS, Vec::new());
    }
    for entry in catalog.services() {
        let tags: Vec<&str> = match select.node_meta.is_empty() {
            true => entry.tags.iter().map(String::as_str).collect(),
            false => {
                let mut chosen = entry
                    .instances
                    .iter()
                    .filter(|one| select.node(catalog.node(one.node)))
                    .peekable();
                if chosen.peek().is_none() {
                    continue;
                }
                let tags: BTreeSet<&str> =
                    chosen.flat_map(|one| one.tags.iter().map(String::as_str)).collect();
                tags.into_iter().collect()
            }
        };
        value.insert(&*entry.name, tags);
    }
    Found { index: catalog.services_index().max(catalog.servers().index), value }
}

/// `/v1/catalog/service/:name`.
pub fn service<'a>(
    catalog: &'a Catalog,
    name: &str,
    select: &Select,
) -> Found<Vec<CatalogRow<'a>>> {
    let value = chosen(catalog, name, select)
        .map(|one| CatalogRow::new(NodeRow::of(catalog, one), one))
        .collect();
    Found { index: catalog.service_index(name), value }
}

/// `/v1/catalog/nodes`.
pub fn nodes<'a>(catalog: &'a Catalog, select: &Select) -> Found<Vec<NodeRow<'a>>> {
    let value = catalog
        .nodes()
        .filter(|node| select.node(Some(node)))
        .map(|node| NodeRow::new(node))
        .collect();
    Found { index: catalog.nodes_index(), value }
}

/// `/v1/catalog/node/:node`, by name or ID. `None`, Consul's `null`, if there is no such node.
pub fn node<'a>(catalog: &'a Catalog, name: &str) -> Found<Option<NodeServices<'a>>> {
    let value = catalog.node_named(name).map(|node| NodeServices {
        node: NodeRow::new(node),
        services: catalog
            .instances_on(node.id)
            .into_iter()
            .map(|one| (one.id.as_str(), ServiceRow::new(one)))
            .collect(),
    });
    Found { index: catalog.health_index(), value }
}

/// `/v1/health/service/:name`.
pub fn health_service<'a>(
    catalog: &'a Catalog,
    name: &str,
    select: &Select,
) -> Found<Vec<ServiceEntry<'a>>> {
    let value = chosen(catalog, name, select)
        .map(|one| ServiceEntry {
            node: NodeRow::of(catalog, one),
            service: ServiceRow::new(one),
            checks: std::iter::once(CheckRow::of_node_of(catalog, one))
                .chain(CheckRow::of_service(one))
                .collect(),
        })
        .collect();
    Found { index: catalog.service_index(name), value }
}

/// `/v1/health/checks/:service`: the service's own checks, without its nodes'.
pub fn health_checks<'a>(
    catalog: &'a Catalog,
    name: &str,
    select: &Select,
) -> Found<Vec<CheckRow<'a>>> {
    let value = chosen(catalog, name, select).flat_map(CheckRow::of_service).collect();
    Found { index: catalog.service_index(name), value }
}

/// `/v1/health/state/:state`: all checks in a state, those of nodes too.
pub fn health_state<'a>(
    catalog: &'a Catalog,
    wanted: Wanted,
    select: &Select,
) -> Found<Vec<CheckRow<'a>>> {
    let value = catalog
        .nodes()
        .filter(|node| select.node(Some(node)))
        .flat_map(|node| checks_on(catalog, node))
        .filter(|check| wanted.has(check))
        .collect();
    Found { index: catalog.health_index(), value }
}

/// `/v1/health/node/:node`: all checks on a node, by name or ID; none if there is no such node.
pub fn health_node<'a>(catalog: &'a Catalog, name: &str) -> Found<Vec<CheckRow<'a>>> {
    let value =
        catalog.node_named(name).into_iter().flat_map(|node| checks_on(catalog, node)).collect();
    Found { index: catalog.health_index(), value }
}

fn chosen<'a>(
    catalog: &'a Catalog,
    name: &str,
    select: &Select,
) -> impl Iterator<Item = &'a Instance> {
    catalog
        .service(name)
        .into_iter()
        .flat_map(|entry| &entry.instances)
        .map(|one| &**one)
        .filter(move |one| select.instance(catalog, one))
}

fn checks_on<'a>(catalog: &'a Catalog, node: &'a Node) -> impl Iterator<Item = CheckRow<'a>> {
    let services = catalog.instances_on(node.id).into_iter();
    std::iter::once(CheckRow::of_node(node))
        .chain(services.flat_map(|one| CheckRow::of_service(one)))
}

#[cfg(test)]
#[path = "consul/tests.rs"]
mod tests;
