//! What a node offers of networks, as attributes that placement goes by.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
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

/// A plugin's file as it was when it was asked: its time of change in nanoseconds, and its length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Seen(PathBuf, u64, u64);

/// What the plugins answered, so that they are asked once and not every half minute, nor at every start of the agent.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    known: BTreeMap<Seen, Option<String>>,
    /// Whether those of an earlier agent were looked for.
    restored: bool,
}

impl Answers {
    /// The file that keeps them. What cannot be read or written there is asked again, and that is all.
    fn file(settings: &Settings) -> PathBuf {
        settings.records.with_file_name("cni-plugins.json")
    }

    fn restore(&mut self, settings: &Settings) {
        if std::mem::replace(&mut self.restored, true) {
            return;
        }
        let known = std::fs::read(Self::file(settings)).ok();
        let known = known
            .and_then(|bytes| serde_json::from_slice::<Vec<(Seen, Option<String>)>>(&bytes).ok());
        self.known = known.unwrap_or_default().into_iter().collect();
    }

    fn keep(&mut self, settings: &Settings, asked: BTreeMap<Seen, Option<String>>) {
        if self.known == asked {
            return;
        }
        self.known = asked;
        let list: Vec<_> = self.known.iter().collect();
        if let Ok(bytes) = serde_json::to_vec(&list) {
            let file = Self::file(settings);
            let fresh = file.with_extension("new");
            let _ = std::fs::write(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, file));
        }
    }
}

/// Looks at the node. Blocks.
pub(crate) fn attributes(settings: &Settings, answers: &mut Answers) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    // Making namespaces takes root's rights over the machine.
    if !nix::unistd::geteuid().is_root() {
        return attributes;
    }
    attributes.insert(ATTRIBUTE_NAMESPACES.to_owned(), "1".to_owned());
    answers.restore(settings);
    let mut plugins = BTreeSet::new();
    let mut asked = BTreeMap::new();
    for seen in programs(&settings.cni_path) {
        let version = match answers.known.get(&seen) {
            Some(version) => version.clone(),
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
    answers.keep(settings, asked);
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
                let changed = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
                let changed = u64::try_from(changed.as_nanos()).ok()?;
                runs.then_some(Seen(path, changed, meta.len()))
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
