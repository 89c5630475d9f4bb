//! What a node offers of networks, as attributes that placement goes by.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::keep::Turn;
use crate::{NetworkError, Settings, cni};

/// The attribute of a node where groups can have a network of loopback alone.
pub const ATTRIBUTE_NAMESPACES: &str = "network.namespaces";

/// The attribute of a node where groups can be in `bridge` mode; its value is the bridge's name.
pub const ATTRIBUTE_BRIDGE: &str = "network.bridge";

/// The attribute of a node where groups can be in mode `cni/<name>`.
pub fn cni_attribute(name: &str) -> String {
    format!("network.cni.{name}")
}

/// What `bridge` mode needs.
const BRIDGE_PLUGINS: [&str; 4] = ["bridge", "host-local", "firewall", "portmap"];

/// The most programs of a folder that are asked.
const MAX_PLUGINS: usize = 64;

/// A plugin's file as it was when it was asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen(PathBuf, Option<std::time::SystemTime>, u64);

/// What the plugins answered, so that they are asked once and not every half minute.
#[derive(Debug, Default)]
pub(crate) struct Answers(BTreeMap<Seen, Option<String>>);

/// Looks at the node. Blocks.
pub(crate) fn attributes(settings: &Settings, answers: &mut Answers) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    // Making namespaces takes root's rights over the machine.
    if !nix::unistd::geteuid().is_root() {
        return attributes;
    }
    attributes.insert(ATTRIBUTE_NAMESPACES.to_owned(), "1".to_owned());
    let mut plugins = BTreeSet::new();
    let mut asked = BTreeMap::new();
    for seen in programs(&settings.cni_path) {
        let version = match answers.0.remove(&seen) {
            Some(version) => version,
            None => version(settings, &seen.0),
        };
        let name = seen.0.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if let Some(version) = &version
            && plugins.insert(name.clone())
        {
            attributes.insert(format!("plugins.cni.version.{name}"), version.clone());
        }
        asked.insert(seen, version);
    }
    answers.0 = asked;
    let has_iptables =
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
            .iter()
            .any(|dir| Path::new(dir).join("iptables").exists());
    if has_iptables && BRIDGE_PLUGINS.iter().all(|plugin| plugins.contains(*plugin)) {
        attributes.insert(ATTRIBUTE_BRIDGE.to_owned(), settings.bridge.name.clone());
    }
    for chain in cni::configurations(&settings.cni_config_dir) {
        if (0..chain.plugins.len()).all(|at| plugins.contains(chain.kind(at))) {
            attributes.insert(cni_attribute(&chain.name), "1".to_owned());
        }
    }
    attributes
}

fn programs(path: &[PathBuf]) -> Vec<Seen> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    for dir in path {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        let mut files: Vec<Seen> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let meta = std::fs::metadata(&path).ok()?;
                let runs = meta.is_file() && meta.permissions().mode() & 0o111 != 0;
                runs.then(|| Seen(path, meta.modified().ok(), meta.len()))
            })
            .collect();
        files.sort();
        found.extend(files);
    }
    found.truncate(MAX_PLUGINS);
    found
}

/// The newest version of the protocol that a plugin speaks; `None` when it is no plugin.
fn version(settings: &Settings, file: &Path) -> Option<String> {
    let ask = || -> Result<Value, NetworkError> {
        let kind = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        std::fs::create_dir_all(&settings.records)
            .map_err(|error| NetworkError::system("make", &settings.records, error))?;
        let mut turn = Turn::take(settings.records.join(format!("version-{kind}.turn")))?;
        let path = [file.parent().unwrap_or_else(|| Path::new("/")).to_owned()];
        let about =
            cni::Call { container: "version", namespace: Path::new(""), args: "", path: &path };
        let answer = cni::call(
            &mut turn,
            cni::Command::Version,
            kind,
            &about,
            &json!({"cniVersion": "0.4.0"}),
        );
        turn.end();
        answer
    };
    let answer = ask().ok()?;
    let spoken = answer.get("supportedVersions")?.as_array()?;
    spoken.last()?.as_str().map(str::to_owned)
}
