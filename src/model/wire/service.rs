//! Services, as Nomad's own catalog shows them.

use serde::{Deserialize, Serialize};

use crate::{AllocId, JobId, NodeId};

/// The services of a namespace (a row of `/v1/services`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceList {
    /// The namespace.
    pub namespace: String,
    /// Its services, by name.
    pub services: Vec<ServiceStub>,
}

/// A service with the tags of all its instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceStub {
    /// Name.
    pub service_name: String,
    /// Tags, sorted, each once.
    pub tags: Vec<String>,
}

/// An instance of a service (a row of `/v1/service/:name`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceInstance {
    /// ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// The service.
    pub service_name: String,
    /// Namespace.
    pub namespace: String,
    /// Its node.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// Datacenter.
    pub datacenter: String,
    /// The job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// The allocation.
    #[serde(rename = "AllocID")]
    pub alloc_id: AllocId,
    /// Tags.
    pub tags: Vec<String>,
    /// Address.
    pub address: String,
    /// Port.
    pub port: u16,
    /// `passing`, `warning` or `critical`. Herder's own.
    pub status: String,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
}
