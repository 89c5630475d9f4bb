//! A machine that runs allocations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DrainStrategy, HostVolume, LastDrain, NodeDevice, NodeId, Timestamp};

/// Whether a node answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeStatus {
    /// Registered, not ready.
    #[default]
    Initializing,
    /// Answers.
    Ready,
    /// Answers no more.
    Down,
    /// Answers no more, and its allocations may wait for it.
    Disconnected,
}

impl NodeStatus {
    /// The name as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Ready => "ready",
            Self::Down => "down",
            Self::Disconnected => "disconnected",
        }
    }
}

/// Whether new allocations may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Eligibility {
    /// They may.
    #[default]
    Eligible,
    /// They may not.
    Ineligible,
}

impl Eligibility {
    /// The name as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eligible => "eligible",
            Self::Ineligible => "ineligible",
        }
    }
}

/// What a node may be asked to do for the fleet beside running allocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// Whatever is needed: it may become a server.
    #[default]
    Auto,
    /// A server, rather than others.
    Server,
    /// Never a server.
    Worker,
}

impl NodeRole {
    /// The name as configuration and API write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Server => "server",
            Self::Worker => "worker",
        }
    }
}

/// Something that happened to a node, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeEvent {
    /// What it is about: `Cluster`, `Drain`, `Scheduler`.
    pub subsystem: String,
    /// What, for a person.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// What a node can give, after what it keeps for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeResources {
    /// MHz over all cores.
    pub cpu: u64,
    /// Megabytes of memory.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: u64,
    /// Megabytes of disk.
    #[serde(rename = "DiskMB")]
    pub disk_mb: u64,
    /// First dynamic port.
    pub min_dynamic_port: u16,
    /// Last dynamic port.
    pub max_dynamic_port: u16,
    /// Ports that something else holds: never given out, and refused when asked for by number.
    pub reserved_ports: Vec<u16>,
    /// Further addresses of the node, by names that job files use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_networks: Vec<HostNetwork>,
    /// Cores that a task can have for itself alone, by number. Each is an equal share of `cpu`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<u16>,
    /// Devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<NodeDevice>,
}

impl NodeResources {
    /// What a core that a task has for itself alone counts for, in MHz.
    pub fn core_mhz(&self) -> u64 {
        self.cpu / u64::try_from(self.cores.len()).unwrap_or(u64::MAX).max(1)
    }
}

/// An address of a node that ports can be asked for at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostNetwork {
    /// Its name.
    pub name: String,
    /// The address.
    pub address: String,
    /// Ports of it that something else holds.
    pub reserved_ports: Vec<u16>,
}

/// What a node says of one driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverInfo {
    /// Whether it is there.
    pub detected: bool,
    /// Whether it works.
    pub healthy: bool,
    /// Why not, in words.
    #[serde(rename = "HealthDescription")]
    pub description: String,
    /// Attributes it adds to the node's, such as `driver.docker.version`.
    pub attributes: BTreeMap<String, String>,
}

/// A machine that runs allocations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// Its name; the host's by default.
    pub name: String,
    /// Datacenter; `dc1` by default.
    pub datacenter: String,
    /// Node pool; `default` by default.
    pub pool: String,
    /// Class, free text.
    pub class: String,
    /// The address that its services are published with.
    pub address: String,
    /// Where its HTTP API answers.
    pub http_address: String,
    /// Herder's version.
    pub version: String,
    /// `kernel.name`, `cpu.arch`, `driver.docker` …
    pub attributes: BTreeMap<String, String>,
    /// Free metadata.
    pub meta: BTreeMap<String, String>,
    /// Its drivers.
    pub drivers: BTreeMap<String, DriverInfo>,
    /// Directories that it offers, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub host_volumes: BTreeMap<String, HostVolume>,
    /// What it can give.
    pub resources: NodeResources,
    /// Whether it answers.
    pub status: NodeStatus,
    /// Whether new allocations may come.
    pub eligibility: Eligibility,
    /// Where other agents reach it, `host:port`; empty for one that is alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rpc_address: String,
    /// What it may be asked to do for the fleet.
    pub role: NodeRole,
    /// Whether it is being emptied. So it is exactly while [`Node::drain`] says how; both are the state's to keep.
    pub draining: bool,
    /// How it is being emptied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStrategy>,
    /// The last time that it was emptied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_drain: Option<LastDrain>,
    /// What happened to it, oldest first; at most [`Node::EVENTS`] are kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<NodeEvent>,
    /// Last change of status.
    pub status_at: Timestamp,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
}

impl Node {
    /// Events that are kept of a node.
    pub const EVENTS: usize = 10;

    /// Adds an event, and forgets the oldest beyond [`Node::EVENTS`].
    pub fn record(&mut self, subsystem: &str, message: impl Into<String>, at: Timestamp) {
        let event = NodeEvent { subsystem: subsystem.to_owned(), message: message.into(), at };
        self.events.push(event);
        let surplus = self.events.len().saturating_sub(Self::EVENTS);
        self.events.drain(..surplus);
    }

    /// Whether new allocations can be placed on it now.
    pub fn is_ready(&self) -> bool {
        self.status == NodeStatus::Ready
            && self.eligibility == Eligibility::Eligible
            && !self.draining
    }

    /// One of its further addresses, by name.
    pub fn host_network(&self, name: &str) -> Option<&HostNetwork> {
        self.resources.host_networks.iter().find(|network| network.name == name)
    }

    /// What `${…}` refers to on this node: `node.unique.id`, `attr.kernel.name`, `meta.rack` … `None` if it has no
    /// such attribute.
    pub fn attribute(&self, reference: &str) -> Option<std::borrow::Cow<'_, str>> {
        use std::borrow::Cow;
        Some(match reference {
            "node.unique.id" => Cow::Owned(self.id.to_string()),
            "node.unique.name" => Cow::Borrowed(&self.name),
            "node.datacenter" => Cow::Borrowed(&self.datacenter),
            "node.region" => Cow::Borrowed("global"),
            "node.class" => Cow::Borrowed(&self.class),
            "node.pool" => Cow::Borrowed(&self.pool),
            other => {
                let value = match other.split_once('.') {
                    Some(("attr", key)) => self.attributes.get(key),
                    Some(("meta", key)) => self.meta.get(key),
                    _ => None,
                };
                Cow::Borrowed(value?)
            }
        })
    }
}
