//! The data directory: ours alone, and told to others by `agent.json`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

/// Where an agent can be reached, for scripts and tests that let it choose its ports.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) struct AgentFile<'a> {
    pub(crate) pid: u32,
    pub(crate) version: &'a str,
    pub(crate) name: &'a str,
    pub(crate) node_id: String,
    pub(crate) http: String,
    pub(crate) catalog: String,
    pub(crate) dns: String,
    /// Where other agents reach it; empty for one that is alone.
    pub(crate) rpc: String,
    /// Where HTTP speaks TLS: what callers on this machine need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsFile>,
}

/// How to speak TLS with an agent on the same machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TlsFile {
    /// Whether the API speaks it.
    pub(crate) http: bool,
    /// Whether the catalog does.
    pub(crate) catalog: bool,
    /// The authority's certificate.
    pub(crate) ca_file: PathBuf,
    /// The agent's own certificate and key, for where callers must show one.
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    /// A name that the agent's certificate is for.
    pub(crate) server_name: Option<String>,
}

/// Folders that are the agent's alone: the log, the mirrors, what the node remembers.
const OURS: [&str; 4] = ["raft", "git", "client", "tls"];

/// Makes the directory. Others may pass through it, because a task that runs as another user has to reach its own
/// files; they cannot list it, and what is the agent's alone is closed to them.
pub(crate) fn prepare(dir: &Path) -> anyhow::Result<()> {
    // What is there already keeps the mode that its owner gave it.
    let make = |path: &Path, mode: u32| match path.is_dir() {
        true => Ok(()),
        false => fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
            .with_context(|| format!("creating the data directory {}", path.display())),
    };
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    make(dir, 0o711)?;
    OURS.iter().try_for_each(|name| make(&dir.join(name), 0o700))
}

/// What whoever may read everything shows to the agent: it lies where only the agent's user can read. Made where there is
/// none.
pub(crate) fn owner_key(dir: &Path) -> anyhow::Result<String> {
    let path = dir.join("owner.key");
    match fs::read_to_string(&path) {
        Ok(key) if key.len() == 64 => return Ok(key),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("reading {}", path.display()));
        }
        _ => {}
    }
    let mut random = [0_u8; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("reading /dev/urandom")?;
    let key = random.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    write_atomically(&path, key.as_bytes())?;
    Ok(key)
}

/// Writes a file so that a reader sees the old one or the new one, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file: File = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

impl AgentFile<'_> {
    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        write_atomically(&dir.join("agent.json"), &serde_json::to_vec_pretty(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_pass_through_but_see_nothing_of_ours() {
        let base = tempfile::tempdir().expect("a directory");
        let dir = base.path().join("deep").join("data");
        prepare(&dir).expect("prepared");
        prepare(&dir).expect("prepared again");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o711);
        for name in OURS {
            assert_eq!(mode(&dir.join(name)), 0o700, "{name}");
        }
        let key = owner_key(&dir).expect("made");
        assert_eq!(owner_key(&dir).expect("read"), key);
        assert_eq!((key.len(), mode(&dir.join("owner.key"))), (64, 0o600));
    }
}
