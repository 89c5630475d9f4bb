//! What an operator may choose, and how it becomes the engine's configuration.

use std::path::PathBuf;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use crate::error::ConsensusError;

/// How to open a node's part of the cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the log and the snapshots live, `<data_dir>/raft`. Created if missing; one agent at a time.
    pub dir: PathBuf,
    /// This node's number among the voters. A directory belongs to the number that created it.
    pub node: u64,
    /// Where the other voters reach this node; empty as long as there are none.
    pub address: String,
    /// How often a leader tells its followers that it is there.
    pub heartbeat: Duration,
    /// A follower that hears nothing for this long, up to twice as long, stands for election.
    pub election_timeout: Duration,
    /// A snapshot is written each time that this many entries were added.
    pub snapshot_after: u64,
    /// Entries that stay in the log behind a snapshot, for followers that lag a little and to fall back to the snapshot
    /// before. At least `snapshot_after` keeps the fallback whole.
    pub keep_entries: u64,
}

impl Options {
    /// The defaults for a directory and a node.
    pub fn new(dir: impl Into<PathBuf>, node: u64) -> Self {
        Self {
            dir: dir.into(),
            node,
            address: String::new(),
            heartbeat: Duration::from_millis(250),
            election_timeout: Duration::from_millis(1_000),
            snapshot_after: 8_192,
            keep_entries: 10_240,
        }
    }

    /// The engine's configuration; an error if the numbers contradict each other.
    pub(crate) fn config(&self) -> Result<Config, ConsensusError> {
        let millis = |name: &'static str, value: Duration| {
            u64::try_from(value.as_millis()).ok().filter(|millis| *millis > 0).ok_or_else(|| {
                ConsensusError::Options(format!("{name} must be between 1 ms and a few minutes"))
            })
        };
        let election = millis("election_timeout", self.election_timeout)?;
        if self.snapshot_after == 0 {
            return Err(ConsensusError::Options("snapshot_after must be at least 1".to_owned()));
        }
        let config = Config {
            cluster_name: "herder".to_owned(),
            heartbeat_interval: millis("heartbeat", self.heartbeat)?,
            election_timeout_min: election,
            election_timeout_max: election.saturating_mul(2),
            install_snapshot_timeout: 60_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_after),
            max_in_snapshot_log_to_keep: self.keep_entries,
            purge_batch_size: 1_024.min(self.snapshot_after),
            replication_lag_threshold: self.snapshot_after.saturating_add(self.keep_entries),
            enable_pre_vote: Some(true),
            // A restarted leader asks for votes again: the committed mark on disk may be a little behind.
            enable_leader_restore: Some(false),
            ..Config::default()
        };
        config.validate().map_err(|error| ConsensusError::Options(error.to_string()))
    }
}
