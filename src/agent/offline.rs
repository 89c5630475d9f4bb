//! What is done to a data directory while no agent runs on it.

use std::path::Path;

use anyhow::{Context as _, bail};
use state::State;

use crate::directory;
use crate::fleet::{ALONE, standing_of};

/// Makes the server that owns `data_dir` the only voter of what it has, after a quorum was lost for good. Says in words
/// what was found and done.
///
/// # Errors
/// When an agent runs on the directory, it is no server's, or it is damaged.
pub fn recover(data_dir: &Path) -> anyhow::Result<String> {
    let raft = data_dir.join("raft");
    if !raft.join("log.redb").exists() {
        bail!(
            "{} holds no server's log: recover on a machine that was a server, the one whose log reaches furthest",
            data_dir.display()
        );
    }
    let standing = standing_of(data_dir)?;
    let number = standing.as_ref().map_or(ALONE, |standing| standing.number);
    // Its address is put right by the server itself when it leads.
    let done = consensus::recover(&raft, number, "")?;
    let index = |at: Option<u64>| at.map_or_else(|| "nothing".to_owned(), |at| at.to_string());
    Ok(format!(
        "server {number} is the only voter now. Its log reaches {}, of which it knew {} to be committed; all of it \
         counts. Start its agent as always. The other servers must not be started again with what they have: empty \
         their data directories and let them join with a new token.",
        index(done.last),
        index(done.committed)
    ))
}

/// Puts a state that was kept in a snapshot file into a data directory without a log, whose agent becomes the only
/// server. Says in words what was done.
///
/// # Errors
/// When an agent runs on the directory, there is a log already, or the state cannot be read.
pub fn restore(data_dir: &Path, state: &[u8]) -> anyhow::Result<String> {
    let state = State::from_bytes(state)?;
    let standing = standing_of(data_dir)?;
    let cluster = state.cluster().map(|cluster| cluster.id.clone());
    let (number, state, next) = match standing {
        Some(standing) if cluster == Some(standing.cluster.clone()) => (
            standing.number,
            state.long_after(),
            "the cluster is the same, and machines that belong to it go on: start the agent as always",
        ),
        Some(standing) => bail!(
            "{} belongs to cluster {}, but the snapshot is of {}; restore into an empty directory",
            data_dir.display(),
            standing.cluster,
            cluster.as_deref().unwrap_or("an agent that was alone")
        ),
        // Keys are in no snapshot, so whoever has none founds a cluster anew.
        None => (
            ALONE,
            state.of_no_cluster(),
            "start the agent with --bootstrap: it founds a new cluster with keys of its own, which all other machines \
             join with empty data directories",
        ),
    };
    directory::prepare(data_dir)?;
    let index = consensus::restore(&data_dir.join("raft"), number, "", &state)
        .with_context(|| format!("restoring into {}", data_dir.display()))?;
    Ok(format!(
        "{} holds the state up to entry {index}: {} jobs, {} allocations, {} nodes. Next: {next}.",
        data_dir.display(),
        state.jobs().count(),
        state.allocs().count(),
        state.nodes_count(),
    ))
}
