//! What a group asks of the network.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::nullable;

/// A group's network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Network {
    /// `host` (also when empty), `bridge`, `none` or `cni/<name>`.
    pub mode: String,
    /// Kept for the wire; given up by Nomad.
    pub device: String,
    /// Kept for the wire; given up by Nomad.
    #[serde(rename = "CIDR")]
    pub cidr: String,
    /// Kept for the wire; given up by Nomad.
    #[serde(rename = "IP")]
    pub ip: String,
    /// Name resolution inside the network; the node's when there is none.
    #[serde(rename = "DNS")]
    pub dns: Option<Dns>,
    /// Ports fixed by the file.
    #[serde(with = "nullable")]
    pub reserved_ports: Vec<Port>,
    /// Ports chosen from the node's dynamic range.
    #[serde(with = "nullable")]
    pub dynamic_ports: Vec<Port>,
    /// Host name inside the network.
    pub hostname: String,
    /// Kept for the wire; given up by Nomad.
    #[serde(rename = "MBits")]
    pub mbits: Option<i64>,
    /// What CNI plugins are told.
    #[serde(rename = "CNI")]
    pub cni: Option<Cni>,
}

impl Network {
    /// Whether it is apart from the node's own.
    pub fn is_apart(&self) -> bool {
        !matches!(self.mode.as_str(), "" | "host")
    }

    /// Static and dynamic ports, static first.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.reserved_ports.iter().chain(&self.dynamic_ports)
    }
}

/// A port that a group asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    /// Label, unique in the group.
    pub label: String,
    /// The fixed host port; 0 for a dynamic one.
    pub value: u16,
    /// The port inside the task's network; 0 and −1 mean the host port.
    pub to: i32,
    /// The host network; empty or `default` for the node's own.
    pub host_network: String,
    /// Whether several allocations of a node may share a static port.
    pub ignore_collision: bool,
}

impl Port {
    /// The host network that it is a port of; `None` for the node's own address.
    pub fn network(&self) -> Option<&str> {
        Some(self.host_network.as_str()).filter(|name| !matches!(*name, "" | "default"))
    }

    /// The port inside the task's network, where it is another than the host's.
    pub fn inner(&self) -> Option<u16> {
        u16::try_from(self.to).ok().filter(|to| *to > 0)
    }
}

/// Name resolution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Dns {
    /// Name servers.
    #[serde(with = "nullable")]
    pub servers: Vec<String>,
    /// Search domains.
    #[serde(with = "nullable")]
    pub searches: Vec<String>,
    /// Options, as in `resolv.conf`.
    #[serde(with = "nullable")]
    pub options: Vec<String>,
}

/// What CNI plugins are told (`CNI_ARGS`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Cni {
    /// Arguments by name.
    #[serde(with = "nullable")]
    pub args: BTreeMap<String, String>,
}
