//! How networks are set up on a node, and what an allocation asks for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::AllocId;

use crate::{NetworkError, PortMapping};

/// The bridge that groups in `bridge` mode are connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSettings {
    /// Its name; at most 15 bytes, as the kernel has it.
    pub name: String,
    /// The addresses that allocations get, such as `172.26.64.0/20`.
    pub subnet: String,
    /// Whether a group reaches itself through its own mapped port.
    pub hairpin: bool,
}

impl Default for BridgeSettings {
    fn default() -> Self {
        Self { name: "herder".into(), subnet: "172.26.64.0/20".into(), hairpin: false }
    }
}

/// How networks are set up on a node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the records are: `<data_dir>/client/networks`.
    pub records: PathBuf,
    /// Where namespaces and address leases are, on a file system that a reboot empties: `/run/herder`.
    pub run_dir: PathBuf,
    /// Tells the namespaces of agents on one machine apart; the node's id.
    pub instance: String,
    /// Where plugins are looked for, in order.
    pub cni_path: Vec<PathBuf>,
    /// Where the configurations of `cni/<name>` are.
    pub cni_config_dir: PathBuf,
    /// The bridge.
    pub bridge: BridgeSettings,
    /// The binary that answers to [`crate::NAMESPACE_ARG`].
    pub program: PathBuf,
}

impl Settings {
    /// The defaults beneath a data directory.
    pub fn new(data_dir: &std::path::Path, instance: impl Into<String>) -> Self {
        Self {
            records: data_dir.join("client").join("networks"),
            run_dir: PathBuf::from("/run/herder"),
            instance: instance.into(),
            cni_path: ["/opt/cni/bin", "/usr/lib/cni"].map(PathBuf::from).to_vec(),
            cni_config_dir: PathBuf::from("/opt/cni/config"),
            bridge: BridgeSettings::default(),
            program: PathBuf::from("/proc/self/exe"),
        }
    }
}

/// What kind of network a group has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing but loopback.
    None,
    /// The node's bridge.
    Bridge,
    /// What a CNI configuration of this name makes.
    Cni(String),
}

impl Mode {
    /// Reads a job file's `mode`; `None` for the node's own network.
    ///
    /// # Errors
    /// When it is no mode, or the name of the configuration cannot be one.
    pub fn parse(mode: &str) -> Result<Option<Self>, NetworkError> {
        match mode {
            "" | "host" => Ok(None),
            "none" => Ok(Some(Self::None)),
            "bridge" => Ok(Some(Self::Bridge)),
            other => {
                let name = other.strip_prefix("cni/").ok_or_else(|| {
                    NetworkError::Asked(format!(
                        "`{other}` is not a network mode; write host, bridge, none or cni/<name>"
                    ))
                })?;
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
                    return Err(NetworkError::Asked(format!(
                        "`{name}` cannot name a CNI configuration; use letters, digits, `-`, `_` and `.`"
                    )));
                }
                Ok(Some(Self::Cni(name.to_owned())))
            }
        }
    }
}

/// The network that an allocation asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose.
    pub alloc: AllocId,
    /// Which.
    pub mode: Mode,
    /// Ports of the node that lead into it.
    pub ports: Vec<PortMapping>,
    /// What plugins are told beside it (`CNI_ARGS`).
    pub args: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read() {
        let read = |mode| Mode::parse(mode).expect("a mode");
        assert_eq!((read(""), read("host")), (None, None));
        assert_eq!((read("none"), read("bridge")), (Some(Mode::None), Some(Mode::Bridge)));
        assert_eq!(read("cni/my-net.v2"), Some(Mode::Cni("my-net.v2".into())));
        for wrong in ["cni/", "cni/../x", "cni/a/b", "cni/.x", "container:x", "cni/a b"] {
            assert!(!Mode::parse(wrong).expect_err("refused").is_recoverable(), "{wrong}");
        }
    }
}
