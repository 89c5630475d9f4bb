//! Nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DrainMetadata, DrainStrategyView, NodeEventView};
use crate::{Eligibility, NodeId, NodeRole, NodeStatus, Timestamp};

/// A row of `/v1/nodes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeListStub {
    /// Address.
    pub address: String,
    /// ID.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Datacenter.
    pub datacenter: String,
    /// Name.
    pub name: String,
    /// Pool.
    pub node_pool: String,
    /// Class.
    pub node_class: String,
    /// Herder's version.
    pub version: String,
    /// Whether it is being emptied.
    pub drain: bool,
    /// Whether new allocations may come.
    pub scheduling_eligibility: Eligibility,
    /// Whether it answers.
    pub status: NodeStatus,
    /// Always empty.
    pub status_description: String,
    /// Drivers.
    pub drivers: BTreeMap<String, DriverView>,
    /// The last time that it was emptied.
    pub last_drain: Option<DrainMetadata>,
    /// What it can give, with `?resources=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_resources: Option<NodeResourcesView>,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
}

/// A node (`/v1/node/:id`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeView {
    /// ID.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Datacenter.
    pub datacenter: String,
    /// Pool.
    pub node_pool: String,
    /// Name.
    pub name: String,
    /// Address. Herder's own; Nomad has it in lists only.
    pub address: String,
    /// Where its HTTP API answers.
    #[serde(rename = "HTTPAddr")]
    pub http_addr: String,
    /// Whether that API speaks TLS.
    #[serde(rename = "TLSEnabled")]
    pub tls_enabled: bool,
    /// Attributes.
    pub attributes: BTreeMap<String, String>,
    /// What it can give.
    pub node_resources: NodeResourcesView,
    /// Metadata.
    pub meta: BTreeMap<String, String>,
    /// Class.
    pub node_class: String,
    /// Herder's version. Herder's own.
    pub version: String,
    /// What it may be asked to do for the fleet. Herder's own.
    pub role: NodeRole,
    /// Whether it is being emptied.
    pub drain: bool,
    /// How.
    pub drain_strategy: Option<DrainStrategyView>,
    /// The last time that it was emptied.
    pub last_drain: Option<DrainMetadata>,
    /// What happened to it, oldest first; only the newest are kept.
    pub events: Vec<NodeEventView>,
    /// Whether new allocations may come.
    pub scheduling_eligibility: Eligibility,
    /// Whether it answers.
    pub status: NodeStatus,
    /// Always empty.
    pub status_description: String,
    /// Last change of status, in seconds since the epoch.
    pub status_updated_at: i64,
    /// Drivers.
    pub drivers: BTreeMap<String, DriverView>,
    /// Directories that it offers, by name.
    pub host_volumes: BTreeMap<String, HostVolumeView>,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
}

/// A directory that a node offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostVolumeView {
    /// Its name.
    pub name: String,
    /// Where it is on the node.
    pub path: String,
    /// Whether nothing may be written.
    pub read_only: bool,
}

/// What a node says of one driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverView {
    /// Attributes that it adds.
    pub attributes: BTreeMap<String, String>,
    /// Whether it is there.
    pub detected: bool,
    /// Whether it works.
    pub healthy: bool,
    /// Why not.
    pub health_description: String,
    /// When that was seen.
    #[serde(with = "super::rfc3339")]
    pub update_time: Timestamp,
}

/// What a node can give.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeResourcesView {
    /// Processor.
    pub cpu: NodeCpu,
    /// Memory.
    pub memory: NodeMemory,
    /// Disk.
    pub disk: NodeDisk,
    /// First dynamic port.
    pub min_dynamic_port: u16,
    /// Last dynamic port.
    pub max_dynamic_port: u16,
    /// Ports that something else holds. Herder's own.
    pub reserved_ports: Vec<u16>,
    /// Devices.
    pub devices: Vec<NodeDeviceView>,
}

/// Processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeCpu {
    /// MHz over all cores.
    pub cpu_shares: u64,
    /// How many cores a task can have for itself alone.
    pub total_cpu_cores: u16,
    /// Which, by number.
    pub reservable_cpu_cores: Vec<u16>,
}

/// Devices of one make.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeDeviceView {
    /// Who makes it.
    pub vendor: String,
    /// What it is.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The model.
    pub name: String,
    /// The single ones.
    pub instances: Vec<DeviceInstanceView>,
    /// What `${device.attr.…}` refers to.
    pub attributes: BTreeMap<String, DeviceAttribute>,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceInstanceView {
    /// What tells it from the others.
    #[serde(rename = "ID")]
    pub id: String,
    /// Whether it works.
    pub healthy: bool,
    /// Always empty.
    pub health_description: String,
    /// Its file. Herder's own.
    pub path: String,
}

/// A value with its kind: one of the first four is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceAttribute {
    /// A fraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub float: Option<f64>,
    /// A whole number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int: Option<i64>,
    /// Words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string: Option<String>,
    /// True or false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bool: Option<bool>,
    /// A number's unit, such as `GiB`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
}

impl DeviceAttribute {
    /// What a text means.
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
        let unit = unit.trim().to_owned();
        let float = number.parse().ok().filter(|float: &f64| float.is_finite());
        match (text.parse(), number.parse(), float) {
            (Ok(is), _, _) => Self { bool: Some(is), ..Self::default() },
            (_, Ok(int), _) if !unit.contains(' ') => {
                Self { int: Some(int), unit, ..Self::default() }
            }
            (_, Err(_), Some(float)) if !unit.contains(' ') => {
                Self { float: Some(float), unit, ..Self::default() }
            }
            _ => Self { string: Some(text.to_owned()), ..Self::default() },
        }
    }
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeMemory {
    /// Megabytes.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: u64,
}

/// Disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeDisk {
    /// Megabytes.
    #[serde(rename = "DiskMB")]
    pub disk_mb: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_what_they_look_like() {
        for (text, json) in [
            ("11 GiB", r#"{"Int":11,"Unit":"GiB"}"#),
            ("-3", r#"{"Int":-3}"#),
            ("1.5 GHz", r#"{"Float":1.5,"Unit":"GHz"}"#),
            ("true", r#"{"Bool":true}"#),
            ("a b", r#"{"String":"a b"}"#),
            ("3 blind mice", r#"{"String":"3 blind mice"}"#),
            ("NaN", r#"{"String":"NaN"}"#),
            ("", r#"{"String":""}"#),
        ] {
            let written = serde_json::to_string(&DeviceAttribute::of(text)).expect("is written");
            assert_eq!(written, json, "{text}");
        }
    }
}
