//! A node is the same node for as long as its data directory lives.

use std::path::Path;

use anyhow::Context as _;
use model::NodeId;
use uuid::Uuid;

use crate::directory::write_atomically;

/// The node's ID; made up the first time.
pub(crate) fn node_id(data_dir: &Path) -> anyhow::Result<NodeId> {
    let path = data_dir.join("node-id");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().with_context(|| format!("{} is damaged", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = NodeId::new(Uuid::new_v4());
            write_atomically(&path, format!("{id}\n").as_bytes())?;
            Ok(id)
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
