//! One service.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::{CheckStatus, Instance};

/// A service with its instances. Never changed once made; a change makes a new one.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: Arc<str>,
    /// State index of the last change of its instances, their checks or their nodes.
    pub index: u64,
    /// Its instances, by node name and ID.
    pub instances: Vec<Arc<Instance>>,
    /// The tags of all its instances, sorted.
    pub tags: Vec<String>,
    /// What DNS can send clients to: the instances that are not critical.
    pub(crate) serving: Vec<Endpoint>,
    /// Whether all of `serving` have different addresses, so that nobody needs to look for doubles.
    pub(crate) distinct: bool,
}

/// Where an instance is reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Endpoint {
    /// The address, unless it is a host name.
    pub(crate) ip: Option<IpAddr>,
    /// Whether a warning stands.
    pub(crate) warning: bool,
    /// The instance.
    pub(crate) instance: Arc<Instance>,
}

impl Default for Entry {
    fn default() -> Self {
        Self::new(Arc::from(""), 0, Vec::new())
    }
}

impl Entry {
    pub(super) fn new(name: Arc<str>, index: u64, mut instances: Vec<Arc<Instance>>) -> Self {
        instances.sort_by(|a, b| (&a.node_name, &a.id).cmp(&(&b.node_name, &b.id)));
        let tags: BTreeSet<&String> = instances.iter().flat_map(|one| &one.tags).collect();
        let tags = tags.into_iter().cloned().collect();
        let serving: Vec<Endpoint> = instances
            .iter()
            .filter_map(|instance| {
                let status = instance.status();
                (status != CheckStatus::Critical).then(|| Endpoint {
                    ip: instance.address.parse().ok(),
                    warning: status == CheckStatus::Warning,
                    instance: Arc::clone(instance),
                })
            })
            .collect();
        let mut seen = HashSet::with_capacity(serving.len());
        let distinct = serving.iter().all(|endpoint| endpoint.ip.is_some_and(|ip| seen.insert(ip)));
        Self { name, index, instances, tags, serving, distinct }
    }

    /// Whether an instance came or went or has other tags than in `older`.
    pub(super) fn registrations_differ(&self, older: &Self) -> bool {
        self.instances.len() != older.instances.len()
            || self.instances.iter().zip(&older.instances).any(|(new, old)| {
                !Arc::ptr_eq(new, old) && (new.id != old.id || new.tags != old.tags)
            })
    }
}
