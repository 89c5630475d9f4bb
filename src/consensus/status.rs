//! Where a node stands, as plain data.

use std::fmt;
use std::time::Duration;

use openraft::{RaftMetrics, ServerState};

use crate::types::Types;

/// What a node is to the cluster at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes commands.
    Leader,
    /// It follows a leader, or waits for one.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It follows without a vote.
    Learner,
    /// It takes no part; it gets what was applied from a server.
    Replica,
    /// It stopped; see the log of the agent for why.
    Stopped,
}

impl Role {
    /// The name as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Replica => "replica",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the log's file was asked to do since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageStatus {
    /// Transactions.
    pub commits: u64,
    /// Entries in them.
    pub entries: u64,
    /// Flushes to the disk, those at opening included.
    pub fsyncs: u64,
}

/// Where a node stands. Indexes are positions in the log; `None` before there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftStatus {
    /// This node.
    pub node: u64,
    /// What it is at the moment.
    pub role: Role,
    /// The leader, if known.
    pub leader: Option<u64>,
    /// The election it knows of.
    pub term: u64,
    /// Last entry it has.
    pub last_log: Option<u64>,
    /// Last entry that can never be undone.
    pub committed: Option<u64>,
    /// Last entry that its state contains.
    pub applied: Option<u64>,
    /// Last entry in its newest snapshot.
    pub snapshot: Option<u64>,
    /// Last entry that is only in a snapshot any more.
    pub purged: Option<u64>,
    /// The nodes with a vote.
    pub voters: Vec<u64>,
    /// The nodes without.
    pub learners: Vec<u64>,
    /// What the disk did.
    pub storage: StorageStatus,
    /// How long ago a leader was heard here; zero on the leader. `None` where nobody measures it.
    pub last_contact: Option<Duration>,
    /// What changed in the leadership.
    pub elections: ElectionStatus,
}

/// What this node saw of the leadership since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElectionStatus {
    /// Terms that began: each is an election, decided or not.
    pub terms: u64,
    /// How often another node came to lead than the one before.
    pub leaders: u64,
    /// How often it was this node.
    pub won: u64,
}

impl RaftStatus {
    /// What a node that was closed says.
    pub(crate) fn closed(node: u64) -> Self {
        Self {
            node,
            role: Role::Stopped,
            leader: None,
            term: 0,
            last_log: None,
            committed: None,
            applied: None,
            snapshot: None,
            purged: None,
            voters: Vec::new(),
            learners: Vec::new(),
            storage: StorageStatus::default(),
            last_contact: None,
            elections: ElectionStatus::default(),
        }
    }

    pub(crate) fn new(metrics: &RaftMetrics<Types>, storage: StorageStatus) -> Self {
        let index = |id: &Option<crate::types::LogId>| id.as_ref().map(|id| id.index);
        let role = match (&metrics.running_state, metrics.state) {
            (Err(_), _) | (_, ServerState::Shutdown) => Role::Stopped,
            (_, ServerState::Leader) => Role::Leader,
            (_, ServerState::Follower) => Role::Follower,
            (_, ServerState::Candidate) => Role::Candidate,
            (_, ServerState::Learner) => Role::Learner,
        };
        let membership = metrics.membership_config.membership();
        Self {
            node: metrics.id,
            role,
            leader: metrics.current_leader,
            term: metrics.current_term,
            last_log: metrics.last_log_index,
            committed: index(&metrics.local_committed),
            applied: index(&metrics.last_applied),
            snapshot: index(&metrics.snapshot),
            purged: index(&metrics.purged),
            voters: membership.voter_ids().collect(),
            learners: membership.learner_ids().collect(),
            storage,
            last_contact: None,
            elections: ElectionStatus::default(),
        }
    }
}
