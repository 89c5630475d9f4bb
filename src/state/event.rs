//! What came of a command.

use model::{AllocId, CommitId, DeploymentId, EvalId, JobId, NodeId};

/// Something that changed. Events name what to look at; the state says what it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node's registration, status or eligibility.
    Node(NodeId),
    /// What is desired of a job.
    Job(JobId),
    /// An allocation.
    Alloc {
        /// Which.
        id: AllocId,
        /// Its node.
        node: NodeId,
        /// Its job.
        job: JobId,
        /// Whether something changed that the evaluator must look at: a client status, a verdict, an end.
        evaluate: bool,
    },
    /// A deployment.
    Deployment {
        /// Which.
        id: DeploymentId,
        /// Its job.
        job: JobId,
    },
    /// What identifies the cluster, or who may join it or may not.
    Cluster,
    /// How placement chooses.
    Scheduler,
    /// An evaluation was recorded.
    Evaluation(EvalId),
    /// A repository took in a revision.
    Revision {
        /// The repository.
        repo: String,
        /// The commit.
        commit: CommitId,
    },
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The plan did not see a later plan, or a later version of its job.
    #[error(
        "the plan was made from state {basis}, but what it is about changed at {newer}; it must be made again"
    )]
    StalePlan {
        /// What it was made from.
        basis: u64,
        /// Where it changed.
        newer: u64,
    },
    /// The revision does not follow the one that is desired.
    #[error(
        "the revision was read while {expected} was desired, but now {found} is; it must be read again"
    )]
    StaleRevision {
        /// What was desired when it was read.
        expected: String,
        /// What is desired now.
        found: String,
    },
    /// Something that the command names is not there.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// The command does not fit where its subject stands.
    #[error("{0}")]
    Conflict(String),
}

/// What came of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The state's index after it.
    pub index: u64,
    /// What changed.
    pub events: Vec<Event>,
    /// Why nothing changed, if so.
    pub rejection: Option<Rejection>,
}
