//! The data directory: ours alone, and told to others by `agent.json`.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

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
}

/// Makes the directory, for its owner only: it holds a mirror of the repository and the tasks' secrets.
pub(crate) fn prepare(dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("creating the data directory {}", dir.display()))
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
