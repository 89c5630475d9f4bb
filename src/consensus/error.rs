//! What can go wrong, in words.

use std::io;
use std::path::PathBuf;

/// Why a node's part of the cluster could not be opened, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// Another process has the directory.
    #[error(
        "another agent{} uses `{}`; stop it, or give this one another data directory",
        holder.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The other process, if it said which it is.
        holder: Option<u32>,
    },
    /// Something would be overwritten.
    #[error(
        "`{}` is there already, and a state is restored into an empty directory alone; move it away first",
        path.display()
    )]
    Taken {
        /// What is there.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("could not {what} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The log's file could not be used.
    #[error("the raft log `{}` could not be {what}: {reason}", path.display())]
    Log {
        /// What was tried: `opened`, `read`, `written`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something on disk is not what was written there.
    #[error(
        "`{}` is damaged: {what}; one server of several goes on without its directory and is taken in anew, one that is \
         alone needs a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// Written by another version of Herder.
    #[error(
        "`{}` has format {found}, but this version reads and writes format {supported}; run the version that wrote it, \
         or migrate the directory",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// Ours.
        supported: u64,
    },
    /// The directory is another voter's.
    #[error(
        "`{}` belongs to voter {found}, but this agent is voter {wanted}; two voters must never share one",
        path.display()
    )]
    OtherNode {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: u64,
        /// Who asked.
        wanted: u64,
    },
    /// The options contradict each other.
    #[error("the raft options are not usable: {0}")]
    Options(String),
    /// The node stopped, or did not come up.
    #[error("raft in `{}` stopped: {reason}", dir.display())]
    Stopped {
        /// The directory.
        dir: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something did not happen in time.
    #[error("raft in `{}` did not {what} within {seconds} s", dir.display())]
    Timeout {
        /// The directory.
        dir: PathBuf,
        /// What was awaited.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
}

/// Why a command was not taken, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads; nothing was changed.
    #[error("this server does not lead; {}", leader_words(*leader))]
    NotLeader {
        /// The leader, if known.
        leader: Option<u64>,
    },
    /// The command is larger than the log takes; nothing was changed.
    #[error("the command has {size} bytes, but the log takes {limit} at most; split it")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The command has no encoding; nothing was changed.
    #[error("the command could not be encoded: {0}")]
    Encode(String),
    /// No answer in time. The command may still be applied later.
    #[error(
        "the command was not applied within {seconds} s; it may still be, so look before you repeat it"
    )]
    Timeout {
        /// How long was waited.
        seconds: u64,
    },
    /// The leader changed after the command was taken. It may still be applied.
    #[error(
        "the leader changed while the command was on its way; it may still be applied, so look before you repeat it"
    )]
    Unknown,
    /// The command was applied by the leader, but this node does not see it yet.
    #[error(
        "the command was applied as entry {index}, but this node has not caught up with it within {seconds} s; do not \
         repeat it"
    )]
    Behind {
        /// The entry that holds it.
        index: u64,
        /// How long was waited.
        seconds: u64,
    },
    /// This node takes no commands any more. A command that was on its way may be on disk.
    #[error("raft stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why a read that must see everything before it cannot be answered here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another node leads.
    #[error("this server does not lead; {}", leader_words(*leader))]
    NotLeader {
        /// The leader, if known.
        leader: Option<u64>,
    },
    /// Not enough voters answer.
    #[error("not enough servers answer to be sure that this one still leads: {0}")]
    NoQuorum(String),
    /// No answer in time.
    #[error("this server could not make sure within {seconds} s that it still leads")]
    Timeout {
        /// How long was waited.
        seconds: u64,
    },
    /// This node stopped.
    #[error("raft stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why the membership was not changed, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No leader could be reached; nothing was changed.
    #[error("this server does not lead; {}", leader_words(*leader))]
    NotLeader {
        /// The leader, if known.
        leader: Option<u64>,
    },
    /// It makes no sense, or would endanger the quorum; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// It was begun, but what came of it is not known.
    #[error("the change may still be made, so look at the members before you repeat it")]
    Unknown,
    /// This node stopped.
    #[error("raft stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why a request of another node is not acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It cannot be read.
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    /// It speaks another version.
    #[error("the message has version {found}, but this node speaks version {supported}")]
    Version {
        /// Its version.
        found: u8,
        /// Ours.
        supported: u8,
    },
    /// It is meant for a node of another cluster.
    #[error("the request is for cluster `{wanted}`, but this node belongs to `{ours}`")]
    OtherCluster {
        /// Whom it is for.
        wanted: String,
        /// Who is here.
        ours: String,
    },
    /// It is meant for another node: an address has changed hands.
    #[error("the request is for server {wanted}, but this is server {ours}")]
    OtherNode {
        /// Whom it is for.
        wanted: u64,
        /// Who is here.
        ours: u64,
    },
    /// Only servers may ask this.
    #[error("node {node} is no server and may not ask this")]
    Forbidden {
        /// Who asked.
        node: u64,
    },
    /// Its sender may not put this into the log.
    #[error("{0}")]
    NotAllowed(String),
    /// This node takes no part, it only follows.
    #[error("node {node} is no server, it only follows")]
    NoMember {
        /// This node.
        node: u64,
    },
    /// Something here did not work.
    #[error("{0}")]
    Failed(String),
    /// This node stopped.
    #[error("raft stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

fn leader_words(leader: Option<u64>) -> String {
    match leader {
        Some(leader) => format!("voter {leader} does, ask it"),
        None => "no leader is known, try again in a moment".to_owned(),
    }
}
