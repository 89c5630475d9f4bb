//! Devices that a node has beside processor, memory and disk, and what of them is given away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Devices of one make that a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeDevice {
    /// Who makes it, such as `nvidia`.
    pub vendor: String,
    /// What it is, such as `gpu`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The model.
    pub name: String,
    /// What `${device.attr.…}` refers to, as text: a number, a number with a unit (`11 GiB`), `true`, or words.
    pub attributes: BTreeMap<String, String>,
    /// The single ones.
    pub instances: Vec<DeviceInstance>,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceInstance {
    /// What tells it from the others of its make on its node.
    #[serde(rename = "ID")]
    pub id: String,
    /// Whether it works.
    pub healthy: bool,
    /// Its file, such as `/dev/nvidia0`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// What a task has for itself alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskGrant {
    /// Cores, by number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<u16>,
    /// Devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceGrant>,
}

/// Devices of one make that a task has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceGrant {
    /// As [`NodeDevice::vendor`].
    pub vendor: String,
    /// As [`NodeDevice::kind`].
    #[serde(rename = "Type")]
    pub kind: String,
    /// As [`NodeDevice::name`].
    pub name: String,
    /// As [`DeviceInstance::id`].
    #[serde(rename = "DeviceIDs")]
    pub ids: Vec<String>,
}

impl NodeDevice {
    /// Whether a request for `type`, `vendor/type` or `vendor/type/name` means devices of this make.
    pub fn is(&self, asked: &str) -> bool {
        let mut parts = asked.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), None, _) => kind == self.kind,
            (Some(vendor), Some(kind), None) => vendor == self.vendor && kind == self.kind,
            (Some(vendor), Some(kind), Some(name)) => {
                vendor == self.vendor && kind == self.kind && name == self.name
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_as_much_as_it_wants() {
        let device = NodeDevice {
            vendor: "nvidia".into(),
            kind: "gpu".into(),
            name: "1080ti/x".into(),
            ..NodeDevice::default()
        };
        for (asked, means) in [
            ("gpu", true),
            ("nvidia/gpu", true),
            ("nvidia/gpu/1080ti/x", true),
            ("nvidia/gpu/1080ti", false),
            ("amd/gpu", false),
            ("nvidia", false),
            ("", false),
        ] {
            assert_eq!(device.is(asked), means, "{asked}");
        }
    }
}
