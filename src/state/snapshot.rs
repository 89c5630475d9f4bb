//! The state as bytes and back. Indexes are not stored: they follow from the tables.

use std::sync::Arc;

use model::{
    Allocation, Deployment, Evaluation, Node, NodeId, Revision, SchedulerConfig, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::record::{ClusterRecord, JobRecord, JoinToken, RemovedNode, RepoRecord};
use crate::table::{Indexes, State};

/// The format that [`State::to_bytes`] writes. Older ones are still read.
const FORMAT: u32 = 1;
/// More entries than a cluster writes in years; a backup can be restored so far on a million times.
const LONG: u64 = 1 << 32;

/// Why bytes are not a state.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Written by a newer Herder.
    #[error(
        "the snapshot has format {found}, but this version reads formats up to {FORMAT}; upgrade this node"
    )]
    TooNew {
        /// Its format.
        found: u32,
    },
    /// Not MessagePack, or cut short.
    #[error("the snapshot is damaged")]
    Damaged(#[source] rmp_serde::decode::Error),
    /// Could not be written; only possible when memory runs out.
    #[error("the snapshot could not be written")]
    Encode(#[source] rmp_serde::encode::Error),
}

/// Fields are written by name, so that one can be added without a new format.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    format: u32,
    index: u64,
    last_plan: u64,
    #[serde(skip_serializing_if = "is_zero")]
    last_word: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<(NodeId, Timestamp)>,
    nodes: Vec<Arc<Node>>,
    jobs: Vec<Arc<JobRecord>>,
    #[serde(with = "crate::encoding::placed")]
    allocs: Vec<Arc<Allocation>>,
    deployments: Vec<Arc<Deployment>>,
    evaluations: Vec<Arc<Evaluation>>,
    repos: Vec<Arc<RepoRecord>>,
    revisions: Vec<Arc<Revision>>,
    cluster: Option<Arc<ClusterRecord>>,
    join_tokens: Vec<Arc<JoinToken>>,
    removed_nodes: Vec<RemovedNode>,
    scheduler: SchedulerConfig,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl State {
    /// The whole state as bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        let stored = Stored {
            format: FORMAT,
            index: self.index,
            last_plan: self.last_plan,
            last_word: self.last_word,
            given_up: self.given_up().collect(),
            nodes: self.nodes.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            // Those of a job one after the other: they have most in common.
            allocs: self
                .allocs_by_job
                .values()
                .flatten()
                .filter_map(|id| self.allocs.get(id).cloned())
                .collect(),
            deployments: self.deployments.values().cloned().collect(),
            evaluations: self.evaluations.values().cloned().collect(),
            repos: self.repos.values().cloned().collect(),
            revisions: self.revisions.values().cloned().collect(),
            cluster: self.cluster.clone(),
            join_tokens: self.join_tokens.values().cloned().collect(),
            removed_nodes: self.removed_nodes.values().copied().collect(),
            scheduler: self.scheduler,
        };
        rmp_serde::to_vec_named(&stored).map_err(SnapshotError::Encode)
    }

    /// The same, much later. What the cluster went on to do after this state was kept is gone, but copies of it are out
    /// there, on nodes and with clients: none of them may look newer than what comes from here on.
    #[must_use]
    pub fn long_after(mut self) -> Self {
        self.index = self.index.saturating_add(LONG);
        self
    }

    /// The same without what makes it one cluster's: whoever founds another one from it writes down its own authority,
    /// and the tokens of the old one let nobody in.
    #[must_use]
    pub fn of_no_cluster(mut self) -> Self {
        self.cluster = None;
        self.join_tokens = imbl::OrdMap::default();
        self.removed_nodes = imbl::OrdMap::default();
        self
    }

    /// The state that [`State::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let stored: Stored = rmp_serde::from_slice(bytes).map_err(SnapshotError::Damaged)?;
        if stored.format > FORMAT {
            return Err(SnapshotError::TooNew { found: stored.format });
        }
        let mut state = Self {
            index: stored.index,
            last_plan: stored.last_plan,
            last_word: stored.last_word,
            given_up: stored.given_up.into_iter().collect(),
            ..Self::default()
        };
        state.jobs = stored.jobs.into_iter().map(|job| (job.id.clone(), job)).collect();
        for mut alloc in stored.allocs {
            if let Some(alloc) = Arc::get_mut(&mut alloc) {
                state.share(alloc, None);
                state.share_told(alloc);
            }
            state.allocs_by_job.entry(alloc.job.clone()).or_default().insert(alloc.id);
            state.allocs_by_node.entry(alloc.node).or_default().insert(alloc.id);
            state.shift_load(None, Some(&alloc));
            state.allocs.insert(alloc.id, alloc);
        }
        for deployment in stored.deployments {
            state
                .deployments_by_job
                .entry(deployment.job.clone())
                .or_default()
                .insert((deployment.create_index, deployment.id));
            state.deployments.insert(deployment.id, deployment);
        }
        for evaluation in stored.evaluations {
            state
                .evaluations_by_job
                .entry(evaluation.job.clone())
                .or_default()
                .insert((evaluation.create_index, evaluation.id));
            state.evaluations.insert(evaluation.id, evaluation);
        }
        for node in &stored.nodes {
            state.classify(node);
        }
        state.nodes = stored.nodes.into_iter().map(|node| (node.id, node)).collect();
        let records: Vec<_> = state.jobs.values().cloned().collect();
        records.iter().for_each(|record| state.note_child(record));
        state.repos = stored.repos.into_iter().map(|repo| (repo.name.clone(), repo)).collect();
        state.revisions =
            stored.revisions.into_iter().map(|revision| (revision.index, revision)).collect();
        state.cluster = stored.cluster;
        state.join_tokens =
            stored.join_tokens.into_iter().map(|token| (token.id.clone(), token)).collect();
        state.removed_nodes =
            stored.removed_nodes.into_iter().map(|removed| (removed.id, removed)).collect();
        state.scheduler = stored.scheduler;
        // A list index must never go back, or a client that waits would miss a change.
        let index = stored.index;
        state.indexes = Indexes {
            nodes: index,
            jobs: index,
            allocs: index,
            deployments: index,
            evaluations: index,
            revisions: index,
            scheduler: index,
        };
        Ok(state)
    }
}
