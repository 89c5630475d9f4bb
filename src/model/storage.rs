//! Disks and volumes of groups and tasks.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{nanos, nullable};

/// A group's shared disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EphemeralDisk {
    /// Keep with the previous node where possible.
    pub sticky: bool,
    /// Move data to the replacement's node.
    pub migrate: bool,
    /// Megabytes; 300 by default.
    #[serde(rename = "SizeMB")]
    pub size_mb: u64,
}

impl Default for EphemeralDisk {
    fn default() -> Self {
        Self { sticky: false, migrate: false, size_mb: 300 }
    }
}

/// A volume that a group asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeRequest {
    /// The name that `volume_mount` speaks of.
    pub name: String,
    /// `host` or `csi`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The volume's own name.
    pub source: String,
    /// Whether nothing may be written.
    pub read_only: bool,
    /// Whether an allocation keeps its volume when it moves.
    pub sticky: bool,
    /// How many may use it, and how.
    pub access_mode: String,
    /// `file-system` or `block-device`.
    pub attachment_mode: String,
    /// How it is mounted.
    pub mount_options: Option<MountOptions>,
    /// Whether each allocation has one of its own: `source[index]`.
    pub per_alloc: bool,
}

/// How a CSI volume is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountOptions {
    /// Its file system.
    #[serde(rename = "FSType")]
    pub fs_type: String,
    /// Flags of `mount`.
    #[serde(with = "nullable")]
    pub mount_flags: Vec<String>,
}

impl VolumeRequest {
    /// The name of the node's volume for an allocation of this index.
    pub fn source_of(&self, index: u32) -> Cow<'_, str> {
        if self.per_alloc {
            Cow::Owned(format!("{}[{index}]", self.source))
        } else {
            Cow::Borrowed(&self.source)
        }
    }

    /// Whether its tasks may write, as far as the group says.
    pub fn writes(&self) -> bool {
        !self.read_only && !self.access_mode.ends_with("reader-only")
    }

    /// Whether it bears no other writer beside it on its node.
    pub fn excludes_writers(&self) -> bool {
        let single = ["single-node-writer", "single-node-single-writer"];
        self.writes() && single.contains(&self.access_mode.as_str())
    }
}

/// A directory that a node offers to job files under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostVolume {
    /// The directory on the node. Absolute.
    pub path: String,
    /// Whether nothing may be written, whatever a job asks for.
    pub read_only: bool,
    /// Whether job files may have mounts go both ways, which gives a task a say in the node's mounts.
    pub allow_bidirectional: bool,
}

/// Where a task sees a volume of its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeMount {
    /// The volume's name in the group.
    pub volume: Option<String>,
    /// The path in the task.
    pub destination: Option<String>,
    /// Whether nothing may be written.
    pub read_only: bool,
    /// `private`, `host-to-task` or `bidirectional`.
    pub propagation_mode: String,
    /// `z` or `Z` for a label.
    #[serde(rename = "SELinuxLabel")]
    pub selinux_label: String,
}

impl Default for VolumeMount {
    fn default() -> Self {
        Self {
            volume: None,
            destination: None,
            read_only: false,
            propagation_mode: "private".to_owned(),
            selinux_label: String::new(),
        }
    }
}

/// A task that is a CSI plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CsiPlugin {
    /// The plugin's ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// `node`, `controller` or `monolith`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Where the plugin's socket is.
    pub mount_dir: String,
    /// Where volumes are staged.
    pub stage_publish_base_dir: String,
    /// How long it may take to become healthy.
    #[serde(with = "nanos")]
    pub health_timeout: Duration,
}
