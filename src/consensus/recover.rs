//! When a quorum is lost for good: one server goes on alone with what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use openraft::BasicNode;
use tokio::sync::oneshot;

use crate::counters::Counters;
use crate::error::ConsensusError;
use crate::record::{encode_entry, log_id};
use crate::seat::take_dir;
use crate::snapshot::Snapshots;
use crate::store::{Change, Store};
use crate::types::{Entry, Members, Payload, Vote};

/// What a recovery found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The last entry that this server had.
    pub last: Option<u64>,
    /// The last of them that it knew to be committed.
    pub committed: Option<u64>,
    /// The entry that makes it the sole voter.
    pub entry: u64,
}

/// Makes the server that owns `dir` the sole voter of everything that it has, committed or not: nothing that it knew to
/// be committed is lost. The agent must not run. Choose the server whose log reaches furthest.
///
/// What only the lost servers had is gone, so use this only when a quorum will never come back. The others must not be
/// started again with their directories: together they would still be a quorum, and there would be two clusters. Empty
/// their directories and let them join.
pub fn recover(dir: &Path, node: u64, address: &str) -> Result<Recovered, ConsensusError> {
    let guard = take_dir(dir)?;
    let path = dir.join("log.redb");
    let damaged = |what: String| ConsensusError::Damaged { path: path.clone(), what };
    let exists = path.try_exists().map_err(|source| ConsensusError::Io {
        what: "look at",
        path: path.clone(),
        source,
    })?;
    if !exists {
        return Err(damaged("there is no raft log to recover from".to_owned()));
    }
    let (closed, _open) = oneshot::channel();
    let (store, loaded) = Store::open(
        dir,
        node,
        guard,
        Arc::new(Counters::default()),
        closed,
        #[cfg(test)]
        Arc::default(),
    )?;
    // Without the snapshot that the log begins at there is nothing to go on from.
    let (_, restored) = Snapshots::open(dir.join("snapshots"), loaded.purged.as_ref())?;
    let snapshot = restored.and_then(|restored| restored.meta.last_log_id);
    let last = loaded.last.max(snapshot);
    if snapshot > loaded.last {
        return Err(damaged("the snapshot is newer than the log".to_owned()));
    }
    let known = last.map_or(0, |id| id.leader_id.term);
    let term = loaded.vote.map_or(known, |vote| vote.leader_id.term.max(known)) + 1;
    let id = log_id(term, node, last.map_or(0, |id| id.index + 1));
    let members = Members::new(
        vec![BTreeSet::from([node])],
        BTreeMap::from([(node, BasicNode { addr: address.to_owned() })]),
    )
    .map_err(|error| damaged(error.to_string()))?;
    let entry = Entry { log_id: id, payload: Payload::Membership(members) };
    let bytes = encode_entry(&entry).map_err(|error| damaged(error.to_string()))?;
    // As if this server had been elected in a new term and had written this one entry.
    let vote = Vote { leader_id: id.leader_id, committed: true };
    store.commit(&[Change::Vote(vote), Change::Append { index: id.index, bytes }])?;
    Ok(Recovered {
        last: last.map(|id| id.index),
        committed: loaded.committed.map(|id| id.index),
        entry: id.index,
    })
}
