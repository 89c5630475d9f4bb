//! What an operator may choose, and how it becomes the engine's configuration.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use tokio::sync::watch;

use crate::error::ConsensusError;
use crate::network::Caller;
use crate::transport::Transport;

/// What a new directory becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// A cluster of this one voter.
    #[default]
    Bootstrap,
    /// Nothing yet: it waits until the leader of a cluster adds it.
    Join,
}

/// Where a node that is no member gets the state from.
#[derive(Clone, Debug)]
pub struct Following {
    /// Where its copy lives, `<data_dir>/replica`. Created if missing; one agent at a time.
    pub dir: PathBuf,
    /// The servers as this node knows them; those that the cluster names are tried too.
    pub servers: watch::Receiver<Vec<String>>,
}

/// How to open a node's part of the cluster.
#[derive(Clone)]
pub struct Options {
    /// Where the log and the snapshots live, `<data_dir>/raft`. Created if missing; one agent at a time.
    pub dir: PathBuf,
    /// This node's number among the voters. A directory belongs to the number that created it.
    pub node: u64,
    /// Where the other voters reach this node; empty as long as there are none.
    pub address: String,
    /// The cluster's name. Nodes of different clusters refuse each other.
    pub cluster: String,
    /// What a new directory becomes. Says nothing about one that is in use.
    pub start: Start,
    /// The way to the other nodes; without one this node is alone.
    pub transport: Option<Arc<dyn Transport>>,
    /// Where to follow from while this node is no member: before it is added, and after it was removed.
    pub following: Option<Following>,
    /// How often a leader tells its followers that it is there.
    pub heartbeat: Duration,
    /// A follower that hears nothing for this long, up to a fifth longer, stands for election. The default lets a write
    /// wait a little less than half a second for a new leader, and forgives two lost heartbeats; one that was busy for a
    /// moment is not replaced, because a quorum has to have missed it.
    pub election_timeout: Duration,
    /// How long a command or a read may take before whoever asked is told that it did not work out.
    pub patience: Duration,
    /// A snapshot is written each time that this many entries were added.
    pub snapshot_after: u64,
    /// Entries that stay in the log behind a snapshot, for followers that lag a little and to fall back to the snapshot
    /// before. At least `snapshot_after` keeps the fallback whole.
    pub keep_entries: u64,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("node", &self.node)
            .field("address", &self.address)
            .field("cluster", &self.cluster)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// How to follow a cluster without taking part.
#[derive(Clone, Debug)]
pub struct FollowOptions {
    /// How this node would take part, if it should ([`crate::Consensus::become_member`]). Its cluster, number, address and
    /// transport are those of following too.
    pub member: Options,
    /// Where it gets the state from.
    pub following: Following,
}

impl FollowOptions {
    /// The defaults for a data directory: the copy lives in `<data_dir>/replica`, and `<data_dir>/raft` is made when the
    /// node becomes a member.
    pub fn new(
        data_dir: impl Into<PathBuf>,
        node: u64,
        servers: watch::Receiver<Vec<String>>,
        transport: Arc<dyn Transport>,
    ) -> Self {
        let data_dir = data_dir.into();
        let mut member = Options::new(data_dir.join("raft"), node);
        member.transport = Some(transport);
        Self { member, following: Following { dir: data_dir.join("replica"), servers } }
    }

    pub(crate) fn into_options(self) -> Options {
        Options { start: Start::Join, following: Some(self.following), ..self.member }
    }
}

impl Options {
    /// The defaults for a directory and a node.
    pub fn new(dir: impl Into<PathBuf>, node: u64) -> Self {
        Self {
            dir: dir.into(),
            node,
            address: String::new(),
            cluster: "herder".to_owned(),
            start: Start::Bootstrap,
            transport: None,
            following: None,
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_millis(400),
            patience: Duration::from_secs(10),
            snapshot_after: 8_192,
            keep_entries: 10_240,
        }
    }

    /// Whoever speaks in this node's name.
    pub(crate) fn caller(&self) -> Caller {
        Caller { transport: self.transport.clone(), cluster: self.cluster.clone(), node: self.node }
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
        // A follower of the engine refuses every candidate for its longest timeout after it heard the leader, and waits
        // a random timeout more before it stands itself: the silence before an election is the sum of both. The shortest
        // is also how long a candidate waits for a vote, which is a write to another's disk.
        let (shortest, longest) = (election * 2 / 5, election * 3 / 5);
        let config = Config {
            cluster_name: self.cluster.clone(),
            heartbeat_interval: millis("heartbeat", self.heartbeat)?,
            election_timeout_min: shortest,
            election_timeout_max: longest,
            install_snapshot_timeout: 60_000,
            // Entries are cut by their size where the log is read.
            max_payload_entries: 1_024,
            // One that comes back must not wait long for what it missed.
            backoff: "50ms 100ms 200ms ..500ms".to_owned(),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_after),
            max_in_snapshot_log_to_keep: self.keep_entries,
            purge_batch_size: 1_024.min(self.snapshot_after),
            replication_lag_threshold: self.snapshot_after.saturating_add(self.keep_entries),
            // A leader that hears no quorum falls silent for a while, so that the others can elect one that does.
            quorum_loss_probe_interval: Some(longest.saturating_mul(3)),
            enable_pre_vote: Some(true),
            // A restarted leader asks for votes again: the committed mark on disk may be a little behind.
            enable_leader_restore: Some(false),
            ..Config::default()
        };
        config.validate().map_err(|error| ConsensusError::Options(error.to_string()))
    }
}
