//! How the catalog follows the state: whole once, then by events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{AllocId, Instance, Node, NodeId};
use state::{Applied, Event, State};

use super::entry::Entry;
use super::{Catalog, SERVERS, Server};
use crate::instances::{instances, node_check};

/// What changes of one service.
#[derive(Default)]
struct Delta {
    /// Allocations whose instances are replaced.
    allocs: BTreeSet<AllocId>,
    /// What they publish now.
    instances: Vec<Arc<Instance>>,
}

impl Catalog {
    /// The view of a whole state.
    pub fn rebuild(state: &State) -> Self {
        let index = state.index();
        let mut catalog = Self {
            index,
            services_index: index,
            extinction_index: index,
            nodes_index: index,
            health_index: index,
            ..Self::default()
        };
        for node in state.nodes() {
            catalog.node_names.insert(listed(node));
            catalog.nodes.insert(node.id, Arc::clone(node));
        }
        let mut services: BTreeMap<Arc<str>, Vec<Arc<Instance>>> = BTreeMap::new();
        for alloc in state.allocs() {
            let published: Arc<[Arc<Instance>]> =
                published_by(state, alloc.id).into_iter().map(Arc::new).collect();
            for instance in &*published {
                match services.get_mut(instance.service.as_str()) {
                    Some(all) => all.push(Arc::clone(instance)),
                    None => {
                        services.insert(
                            Arc::from(instance.service.as_str()),
                            vec![Arc::clone(instance)],
                        );
                    }
                }
            }
            catalog.put_alloc(alloc.id, published);
        }
        for (name, all) in services {
            catalog.put_entry(Entry::new(name, index, all));
        }
        catalog
    }

    /// Follows the state by one command: `state` is what it made of it. Looks only at what its events name. Returns
    /// whether anything that the catalog shows is different now.
    pub fn apply(&mut self, state: &State, applied: &Applied) -> bool {
        // A view that was rebuilt from a later state has seen this already.
        if applied.index <= self.index {
            return false;
        }
        self.index = applied.index;
        let mut allocs = BTreeSet::new();
        let mut stale = BTreeSet::new();
        for event in &applied.events {
            match event {
                Event::Alloc { id, .. } => {
                    allocs.insert(*id);
                }
                Event::Job(job) => allocs.extend(state.allocs_of_job(job).map(|alloc| alloc.id)),
                Event::Node(id) => {
                    allocs.extend(state.allocs_on_node(*id).map(|alloc| alloc.id));
                    if self.take_node(state, *id) {
                        stale.extend(
                            self.instances_on(*id).into_iter().map(|one| one.service.clone()),
                        );
                    }
                }
                Event::Deployment { .. }
                | Event::Cluster
                | Event::Scheduler
                | Event::Evaluation(_)
                | Event::Revision { .. } => {}
            }
        }
        let mut deltas: BTreeMap<String, Delta> =
            stale.into_iter().map(|name| (name, Delta::default())).collect();
        for id in allocs {
            self.take_alloc(state, id, &mut deltas);
        }
        let changed = !deltas.is_empty() || self.nodes_index == self.index;
        for (name, delta) in deltas {
            self.take_service(&name, delta);
        }
        if changed {
            self.health_index = self.index;
        }
        changed
    }

    /// Sets the servers that form the service [`SERVERS`]. Returns whether they are others now.
    pub fn set_servers(&mut self, servers: &[Server]) -> bool {
        let all = servers.iter().map(|server| Arc::new(as_instance(server, self.index))).collect();
        let entry = Entry::new(Arc::from(SERVERS), self.index, all);
        let same = entry.instances.len() == self.servers.instances.len()
            && entry.instances.iter().zip(&self.servers.instances).all(|(new, old)| {
                (&new.id, &new.node_name, &new.datacenter, &new.address, new.port)
                    == (&old.id, &old.node_name, &old.datacenter, &old.address, old.port)
            });
        if !same {
            self.servers = Arc::new(entry);
        }
        !same
    }

    /// Takes in a node. Returns whether what the catalog shows of it changed.
    fn take_node(&mut self, state: &State, id: NodeId) -> bool {
        let old = self.nodes.get(&id).cloned();
        let new = state.node(id);
        if let Some(old) = &old {
            self.node_names.remove(&listed(old));
        }
        match new {
            Some(new) => {
                self.node_names.insert(listed(new));
                self.nodes.insert(id, Arc::clone(new));
            }
            None => {
                self.nodes.remove(&id);
            }
        }
        let changed = match (&old, new) {
            (Some(old), Some(new)) => !looks_alike(old, new),
            (old, new) => old.is_some() || new.is_some(),
        };
        if changed {
            self.nodes_index = self.index;
        }
        changed
    }

    fn take_alloc(&mut self, state: &State, id: AllocId, deltas: &mut BTreeMap<String, Delta>) {
        let old = self.by_alloc.get(&id).cloned().unwrap_or_default();
        let new: Arc<[Arc<Instance>]> =
            published_by(state, id).into_iter().map(|one| self.dated(one, &old)).collect();
        let same = |name: &str| {
            let of = |all: &Arc<[Arc<Instance>]>| -> Vec<Arc<Instance>> {
                all.iter().filter(|one| one.service == name).cloned().collect()
            };
            let (old, new) = (of(&old), of(&new));
            old.len() == new.len() && old.iter().zip(&new).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let names: BTreeSet<&str> =
            old.iter().chain(&*new).map(|one| one.service.as_str()).collect();
        for name in names.into_iter().filter(|name| !same(name)) {
            let delta = deltas.entry(name.to_owned()).or_default();
            delta.allocs.insert(id);
            delta.instances.extend(new.iter().filter(|one| one.service == name).cloned());
        }
        if let Some(first) = old.first() {
            self.forget_alloc(id, first.node);
        }
        self.put_alloc(id, new);
    }

    /// Gives an instance its indexes; one that did not change stays the very same.
    fn dated(&self, mut new: Instance, old: &[Arc<Instance>]) -> Arc<Instance> {
        let before = old.iter().find(|old| old.id == new.id && old.service == new.service);
        new.create_index = before.map_or(self.index, |before| before.create_index);
        if let Some(before) = before {
            new.modify_index = before.modify_index;
            if **before == new {
                return Arc::clone(before);
            }
        }
        new.modify_index = self.index;
        Arc::new(new)
    }

    fn take_service(&mut self, name: &str, delta: Delta) {
        let old = self.services.get(name).cloned();
        let mut all = delta.instances;
        if let Some(old) = &old {
            let kept = old.instances.iter().filter(|one| !delta.allocs.contains(&one.alloc));
            all.extend(kept.cloned());
        }
        if all.is_empty() {
            self.services.remove(name);
            self.folded.remove(&(Arc::from(name.to_lowercase()), Arc::from(name)));
            self.services_index = self.index;
            self.extinction_index = self.index;
            return;
        }
        let key = old.as_ref().map_or_else(|| Arc::from(name), |old| Arc::clone(&old.name));
        let entry = Entry::new(key, self.index, all);
        if old.is_none_or(|old| entry.registrations_differ(&old)) {
            self.services_index = self.index;
        }
        self.put_entry(entry);
    }

    fn put_entry(&mut self, entry: Entry) {
        let lower = entry.name.to_lowercase();
        if *lower != *entry.name {
            self.folded.insert((Arc::from(lower), Arc::clone(&entry.name)));
        }
        self.services.insert(Arc::clone(&entry.name), Arc::new(entry));
    }

    fn put_alloc(&mut self, id: AllocId, published: Arc<[Arc<Instance>]>) {
        if let Some(first) = published.first() {
            self.by_node.entry(first.node).or_default().insert(id);
            self.by_alloc.insert(id, published);
        }
    }

    fn forget_alloc(&mut self, id: AllocId, node: NodeId) {
        self.by_alloc.remove(&id);
        if let Some(allocs) = self.by_node.get_mut(&node) {
            allocs.remove(&id);
            if allocs.is_empty() {
                self.by_node.remove(&node);
            }
        }
    }

    /// Everything it shows, without the indexes that say when it came to be so.
    #[cfg(test)]
    pub(crate) fn contents(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let timeless = |one: &Arc<Instance>| {
            let mut one = Instance::clone(one);
            (one.create_index, one.modify_index) = (0, 0);
            one
        };
        let services: Vec<_> = self
            .services()
            .map(|entry| {
                let all: Vec<_> = entry.instances.iter().map(timeless).collect();
                let serving: Vec<_> = entry.serving.iter().map(|e| (e.ip, e.warning)).collect();
                (entry.name.clone(), all, entry.tags.clone(), serving, entry.distinct)
            })
            .collect();
        let allocs: Vec<(_, Vec<_>)> = self
            .by_alloc
            .iter()
            .map(|(id, all)| (*id, all.iter().map(timeless).collect()))
            .collect();
        (
            services,
            allocs,
            self.folded.clone(),
            self.by_node.clone(),
            self.nodes.iter().map(|(id, node)| (*id, Node::clone(node))).collect::<Vec<_>>(),
            self.node_names.clone(),
        )
    }
}

fn published_by(state: &State, id: AllocId) -> Vec<Instance> {
    let found = state.alloc(id).and_then(|alloc| {
        let version = state.job_version(&alloc.job, alloc.job_version)?;
        Some(instances(alloc, version, state.node(alloc.node)?))
    });
    found.unwrap_or_default()
}

fn listed(node: &Node) -> (Arc<str>, NodeId) {
    (Arc::from(node.name.to_lowercase()), node.id)
}

fn looks_alike(a: &Node, b: &Node) -> bool {
    (&a.name, &a.datacenter, &a.address, &a.meta) == (&b.name, &b.datacenter, &b.address, &b.meta)
        && node_check(a.status) == node_check(b.status)
}

fn as_instance(server: &Server, index: u64) -> Instance {
    Instance {
        id: SERVERS.to_owned(),
        service: SERVERS.to_owned(),
        alloc: AllocId::default(),
        job: Default::default(),
        node: server.id,
        node_name: Arc::from(server.name.as_str()),
        datacenter: server.datacenter.clone(),
        node_address: server.address.clone(),
        address: server.address.clone(),
        port: server.port,
        tags: Vec::new(),
        meta: BTreeMap::new(),
        checks: Vec::new(),
        create_index: index,
        modify_index: index,
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
