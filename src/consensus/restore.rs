//! When everything is lost but a backup: a new log that begins with a state that was kept elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use openraft::BasicNode;
use state::State;
use tokio::sync::oneshot;

use crate::counters::Counters;
use crate::error::ConsensusError;
use crate::record::log_id;
use crate::seat::take_dir;
use crate::snapshot::Snapshots;
use crate::store::{Change, Store};
use crate::types::{Members, SnapshotMeta, StoredMembers, Vote};

/// The term of what is restored. Nobody else has the log, so no other term matters.
const TERM: u64 = 1;

/// Makes `dir`, which must not hold a log, the sole voter's of a cluster whose state is `state`. Its log goes on behind
/// the entry that the state ends at, so that what clients know of indexes stays true. The agent must not run.
///
/// # Errors
/// When the directory is held by an agent, holds a log already, or cannot be written.
pub fn restore(dir: &Path, node: u64, address: &str, state: &State) -> Result<u64, ConsensusError> {
    let guard = take_dir(dir)?;
    let snapshots = dir.join("snapshots");
    for taken in [dir.join("log.redb"), snapshots.clone()] {
        if taken.try_exists().map_err(|source| ConsensusError::Io {
            what: "look at",
            path: taken.clone(),
            source,
        })? {
            return Err(ConsensusError::Taken { path: taken });
        }
    }
    let damaged = |what: String| ConsensusError::Damaged { path: dir.to_owned(), what };
    let id = log_id(TERM, node, state.index());
    let members = Members::new(
        vec![BTreeSet::from([node])],
        BTreeMap::from([(node, BasicNode { addr: address.to_owned() })]),
    )
    .map_err(|error| damaged(error.to_string()))?;
    let meta = SnapshotMeta {
        last_log_id: Some(id),
        last_membership: StoredMembers::new(Some(id), members),
    };
    // First what the log begins at: without the log, whoever opens the directory is refused it again.
    let (files, _) = Snapshots::open(snapshots, None)?;
    files.write(&meta, state)?;
    let (closed, _open) = oneshot::channel();
    let (store, _) = Store::open(
        dir,
        node,
        guard,
        Arc::new(Counters::default()),
        closed,
        #[cfg(test)]
        Arc::default(),
    )?;
    // As if this server had led, had applied everything and had forgotten the entries.
    let vote = Vote { leader_id: id.leader_id, committed: true };
    store.commit(&[Change::Vote(vote), Change::Purge(id), Change::Committed(id)])?;
    Ok(id.index)
}

#[cfg(test)]
mod tests {
    use model::{Node, NodeId, Timestamp};
    use state::Command;

    use super::*;
    use crate::{Consensus, Options};

    fn register(number: u128) -> Command {
        let node = Node { id: NodeId::new(uuid::Uuid::from_u128(number)), ..Node::default() };
        Command::RegisterNode { node: Box::new(node), at: Timestamp::default() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_log_goes_on_where_the_state_ends() {
        let mut state = State::default();
        for index in 1..=700 {
            state.apply(index, &register(u128::from(index)));
        }
        let dir = tempfile::tempdir().expect("a folder");
        let raft = dir.path().join("raft");
        assert_eq!(restore(&raft, 7, "here:1", &state).expect("it is written"), 700);
        let open = || Consensus::open(Options::new(&raft, 7));
        let consensus = open().await.expect("it opens");
        assert!(consensus.is_leader());
        assert_eq!(
            consensus.state().to_bytes().expect("bytes"),
            state.to_bytes().expect("bytes"),
            "nothing is lost"
        );
        let applied = consensus.propose(register(1_000)).await.expect("it takes writes");
        assert!(applied.index > 700, "{}", applied.index);
        let error = restore(&raft, 7, "here:1", &state).expect_err("an agent holds it");
        assert!(matches!(error, ConsensusError::InUse { .. }), "{error}");
        consensus.close().await;
        let error = restore(&raft, 7, "here:1", &state).expect_err("there is a log");
        assert!(matches!(error, ConsensusError::Taken { .. }), "{error}");
        let again = open().await.expect("it opens again");
        assert_eq!(again.state().nodes_count(), 701);
        again.close().await;
    }
}
