//! A service instance, as the catalog publishes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{AllocId, CheckStatus, NodeId};

/// One instance of a service. A view: made from an allocation, its job and its node.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// `_nomad-task-<alloc>-<task or group>-<service>-<port label>`, as Nomad names them in Consul.
    pub id: String,
    /// The service.
    pub service: String,
    /// The allocation behind it.
    pub alloc: AllocId,
    /// The job's ID, for the wire.
    pub job: crate::JobId,
    /// Its node.
    pub node: NodeId,
    /// The node's name.
    pub node_name: Arc<str>,
    /// The node's datacenter.
    pub datacenter: String,
    /// The node's address.
    pub node_address: String,
    /// Address to connect to.
    pub address: String,
    /// Port to connect to; 0 for a service without one.
    pub port: u16,
    /// Tags.
    pub tags: Vec<String>,
    /// Metadata.
    pub meta: BTreeMap<String, String>,
    /// Its checks.
    pub checks: Vec<InstanceCheck>,
    /// State index at which it entered the catalog or last changed.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
}

/// One check of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceCheck {
    /// ID, unique on the node.
    pub id: String,
    /// Name.
    pub name: String,
    /// `http`, `tcp`, `script`.
    pub kind: &'static str,
    /// Status.
    pub status: CheckStatus,
    /// What it saw.
    pub output: String,
}

impl Instance {
    /// The worst of its checks; passing when it has none.
    pub fn status(&self) -> CheckStatus {
        self.checks.iter().map(|check| check.status).max().unwrap_or(CheckStatus::Passing)
    }

    /// The key of a check in [`crate::Allocation::checks`]: stable for an allocation, whatever the check's name. `place`
    /// is the service's and the check's position in [`crate::Group::all_services`].
    pub fn check_key(place: (usize, usize)) -> String {
        format!("{}.{}", place.0, place.1)
    }
}
