//! What the log holds. A command carries its own time and ids, so that every replica and every replay reaches the same
//! state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    AllocId, AllocReport, Allocation, BlobId, ClientStatus, CommitId, Dependency, Deployment,
    DeploymentId, DeploymentStatus, Diagnostic, DrainStrategy, Eligibility, EvalId, Evaluation,
    Job, JobId, Node, NodeId, NodeStatus, Payload, SchedulerConfig, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::record::SecretHash;

/// A change of the replicated state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A node says what it is. Its status becomes `ready`.
    RegisterNode {
        /// The node; its indexes and eligibility are the state's to keep.
        node: Box<Node>,
        /// When.
        at: Timestamp,
    },
    /// A node's status changed.
    SetNodeStatus {
        /// Which.
        node: NodeId,
        /// To what.
        status: NodeStatus,
        /// When.
        at: Timestamp,
    },
    /// A leader's word on who answers: the status of many nodes changed, or of none where it only says that it is this
    /// leader now who listens. Nodes that are not known are passed over.
    SetNodeStatuses {
        /// Which, and to what.
        nodes: Vec<(NodeId, NodeStatus)>,
        /// When.
        at: Timestamp,
        /// Why, in words; each node keeps it as an event.
        reason: String,
        /// The last one before it, [`crate::State::last_word`], that whoever says so knew of. If there was one since, it is
        /// refused: only one leader at a time may judge who answers. Nothing where it counts whatever was said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<u64>,
    },
    /// An operator says whether new allocations may come to a node.
    SetEligibility {
        /// Which.
        node: NodeId,
        /// Whether they may.
        eligibility: Eligibility,
        /// When.
        at: Timestamp,
    },
    /// An operator has a node emptied, changes how, or ends it. A node that is being emptied takes nothing new.
    SetDrain {
        /// Which.
        node: NodeId,
        /// How; `None` ends it.
        drain: Option<DrainStrategy>,
        /// When it ends: whether new allocations may come again.
        mark_eligible: bool,
        /// When.
        at: Timestamp,
    },
    /// A node is empty. It takes nothing new until an operator says so.
    FinishDrain {
        /// Which.
        node: NodeId,
        /// When its drain began, so that one that was begun anew meanwhile goes on.
        started_at: Timestamp,
        /// Whether the deadline, or force, drove out what was left.
        forced: bool,
        /// When.
        at: Timestamp,
    },
    /// Allocations are to move to other nodes.
    MarkMigrate {
        /// Which.
        allocs: Vec<AllocId>,
        /// When.
        at: Timestamp,
        /// Why, where it is not that their nodes are emptied; each allocation keeps it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Allocations that were to move for a better node stay. Those that have a replacement already go on.
    UnmarkMigrate {
        /// Which.
        allocs: Vec<AllocId>,
        /// When.
        at: Timestamp,
    },
    /// A node is no part of the cluster any more: what it ran is lost, and it is not let in again.
    RemoveNode {
        /// Which.
        node: NodeId,
        /// When its last certificate ends, and with it the need to remember it.
        until: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// What identifies the cluster, once for ever.
    FoundCluster {
        /// Its identity.
        id: String,
        /// The certificate of its authority, as PEM.
        ca_certificate: String,
        /// When.
        at: Timestamp,
    },
    /// A secret that lets new nodes join; one of the same ID is replaced.
    PutJoinToken {
        /// Its public part.
        id: String,
        /// A hash of its secret part.
        secret_hash: SecretHash,
        /// Until when it counts.
        expires_at: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// A secret lets nobody join any more.
    RevokeJoinToken {
        /// Its public part.
        id: String,
        /// When.
        at: Timestamp,
    },
    /// A repository's new head.
    TakeRevision(Box<TakeRevision>),
    /// What the evaluator decided.
    ApplyPlan(Box<Plan>),
    /// What a node reports of its allocations.
    UpdateAllocs {
        /// The reports.
        updates: Vec<AllocReport>,
        /// When.
        at: Timestamp,
    },
    /// An operator promotes canaries.
    Promote {
        /// The deployment.
        deployment: DeploymentId,
        /// These groups only; all if empty.
        groups: Vec<String>,
        /// When.
        at: Timestamp,
    },
    /// An operator fails a deployment.
    FailDeployment {
        /// The deployment.
        deployment: DeploymentId,
        /// When.
        at: Timestamp,
    },
    /// An operator approves removals that were held.
    ApproveRemovals {
        /// The repository.
        repo: String,
        /// These jobs only; all that are held if empty.
        jobs: Vec<JobId>,
        /// When.
        at: Timestamp,
    },
    /// A periodic job starts, or is started by hand.
    LaunchPeriodic(Launch),
    /// A time of a periodic job is left out.
    SkipPeriodic(Launch),
    /// A parameterized job is dispatched.
    DispatchJob(Box<Dispatch>),
    /// How placement chooses from now on.
    SetSchedulerConfig {
        /// How; its indexes are the state's to keep.
        config: SchedulerConfig,
        /// Only if it last changed at this index; 0 means that nobody ever set it.
        if_index: Option<u64>,
    },
    /// Old records go.
    CollectGarbage(Garbage),
}

/// A time of a periodic job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Launch {
    /// The periodic job.
    pub job: JobId,
    /// Its version whose schedule says so.
    pub version: u64,
    /// The time: as scheduled, or now if it is forced.
    pub run_of: Timestamp,
    /// Whether somebody asked for it, whatever the schedule says.
    pub forced: bool,
    /// When.
    pub at: Timestamp,
}

/// A dispatch of a parameterized job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dispatch {
    /// The parameterized job.
    pub job: JobId,
    /// The child's ID, of the form of [`JobId::dispatch_child`].
    pub child: JobId,
    /// What its tasks are handed.
    pub payload: Payload,
    /// Metadata beside the job's own.
    pub meta: BTreeMap<String, String>,
    /// Another priority than the job's.
    pub priority: Option<u16>,
    /// The same token finds the same child, for as long as that is known. Empty for none.
    pub idempotency_token: String,
    /// When.
    pub at: Timestamp,
}

/// A job that a file declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSubmission {
    /// The job.
    pub job: Arc<Job>,
}

/// What a revision says of one file that it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FileOutcome {
    /// It declares a job.
    Job {
        /// Its content.
        blob: BlobId,
        /// The job.
        submission: JobSubmission,
        /// Warnings.
        problems: Vec<Diagnostic>,
    },
    /// It declares several jobs.
    Jobs {
        /// Its content.
        blob: BlobId,
        /// The jobs.
        submissions: Vec<JobSubmission>,
        /// Warnings.
        problems: Vec<Diagnostic>,
    },
    /// It cannot be used; its jobs keep their last good versions.
    Broken {
        /// Its content.
        blob: BlobId,
        /// What is wrong.
        problems: Vec<Diagnostic>,
    },
    /// It is gone, and its jobs are to stop.
    Removed,
    /// It is gone, but its jobs are kept for the reason in `notes`.
    RemovalHeld,
    /// It is gone and its jobs are declared elsewhere now or named on their own by [`crate::renamed_path`], or it never
    /// had one. A job of which that is not so is held.
    Forgotten,
}

impl FileOutcome {
    /// A file that declares these jobs.
    pub fn declaring(
        blob: BlobId,
        mut submissions: Vec<JobSubmission>,
        problems: Vec<Diagnostic>,
    ) -> Self {
        match (submissions.pop(), submissions.is_empty()) {
            (Some(submission), true) => Self::Job { blob, submission, problems },
            (last, _) => {
                submissions.extend(last);
                Self::Jobs { blob, submissions, problems }
            }
        }
    }

    /// The jobs that the file declares.
    pub fn submissions(&self) -> &[JobSubmission] {
        match self {
            Self::Job { submission, .. } => std::slice::from_ref(submission),
            Self::Jobs { submissions, .. } => submissions,
            Self::Broken { .. } | Self::Removed | Self::RemovalHeld | Self::Forgotten => &[],
        }
    }

    /// What is wrong with the file.
    pub fn problems(&self) -> &[Diagnostic] {
        match self {
            Self::Job { problems, .. }
            | Self::Jobs { problems, .. }
            | Self::Broken { problems, .. } => problems,
            Self::Removed | Self::RemovalHeld | Self::Forgotten => &[],
        }
    }
}

/// What a file was read with beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileReading {
    /// A fingerprint of all of it: values for variables, and the content of other files. Empty where there was nothing.
    /// A file that would be read with something else is read again.
    pub inputs: String,
    /// Paths of the files that it includes and reads, there or not; a folder whose names matter ends in `/`.
    pub reads: BTreeSet<String>,
    /// Which of its jobs start after which others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
}

/// A repository's new head, with the files that differ from the one before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TakeRevision {
    /// The repository's name.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// The head that was desired when this was read; the command is rejected if it is another by now.
    pub expected_head: Option<CommitId>,
    /// The new head.
    pub commit: CommitId,
    /// Author, as `Name <address>`.
    pub author: String,
    /// First line of the message.
    pub subject: String,
    /// The commit's own time.
    pub committed_at: Timestamp,
    /// When a node first saw it.
    pub seen_at: Timestamp,
    /// [`FileReading::inputs`] of the files that are not in `readings`.
    pub inputs: String,
    /// What each file was read with, where that is its own.
    pub readings: BTreeMap<String, FileReading>,
    /// The files that differ, by path. A job that its file no longer declares is named by [`crate::renamed_path`];
    /// unless that is said to be removed, it is held.
    pub files: BTreeMap<String, FileOutcome>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Whether more of the same commit follows. The head moves with the last part, which also says what is gone.
    pub partial: bool,
    /// Repositories that are followed no more. What they declared may be taken over.
    pub abandoned: BTreeSet<String>,
    /// When the command was made.
    pub at: Timestamp,
}

/// An allocation to stop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopAlloc {
    /// Which.
    pub alloc: AllocId,
    /// Why, in words.
    pub description: String,
    /// A status to set at once, such as `lost`.
    pub client: Option<ClientStatus>,
    /// What replaces it.
    pub next: Option<AllocId>,
    /// The job that takes its room, if it is stopped for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evicted_for: Option<JobId>,
    /// Whether an update may stop it because it does not serve. If it has come to serve since, the plan must be made again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
}

/// An allocation that takes on a newer version without a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InPlaceUpdate {
    /// Which.
    pub alloc: AllocId,
    /// The new version.
    pub job_version: u64,
    /// The evaluation.
    pub eval: EvalId,
    /// The deployment it now belongs to; its verdict starts anew.
    pub deployment: Option<DeploymentId>,
}

/// An allocation whose node cannot be reached, and which is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnected {
    /// Which.
    pub alloc: AllocId,
    /// Since when.
    pub since: Timestamp,
}

/// A change of a deployment's standing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeploymentChange {
    /// Which.
    pub id: DeploymentId,
    /// The new status, if it changes.
    pub status: Option<DeploymentStatus>,
    /// The new description, if it changes.
    pub description: Option<String>,
    /// Groups whose canaries are promoted.
    pub promote: Vec<String>,
}

/// A job goes back to an earlier version, which becomes a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revert {
    /// The job.
    pub job: JobId,
    /// The version that failed; nothing happens if another is desired by now.
    pub from: u64,
    /// The version to bring back.
    pub to: u64,
}

/// What the evaluator decided, for one or more jobs. Plain data: printing it is `herder plan`, applying it is a rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// The state index that it was made from.
    pub basis: u64,
    /// When it was made.
    pub at: Timestamp,
    /// Allocations to create.
    #[serde(with = "crate::encoding::placed")]
    pub place: Vec<Allocation>,
    /// Allocations to stop.
    pub stop: Vec<StopAlloc>,
    /// Allocations to change without a restart.
    pub update: Vec<InPlaceUpdate>,
    /// Allocations that are unknown from now on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disconnect: Vec<Disconnected>,
    /// Allocations that came back and stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reconnect: Vec<AllocId>,
    /// Deployments to create.
    pub deployments: Vec<Deployment>,
    /// Deployments that change.
    pub deployment_changes: Vec<DeploymentChange>,
    /// Versions that waited for other jobs, and start now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub started: Vec<(JobId, u64)>,
    /// Versions that a deployment proved good.
    pub stable: Vec<(JobId, u64)>,
    /// Jobs that go back.
    pub reverts: Vec<Revert>,
    /// Children of other jobs that are over: nothing of them runs or will.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finished: Vec<JobId>,
    /// What was looked at, and with which result.
    pub evaluations: Vec<Evaluation>,
    /// For each job looked at, when it must be looked at again even if nothing happens (a deadline, a delay).
    pub wake: BTreeMap<JobId, Timestamp>,
    /// For each job looked at of which something found no room, what it waits for. Not kept: whoever makes the next plan
    /// finds it out again.
    #[serde(skip)]
    pub blocked: BTreeMap<JobId, Vec<Unplaced>>,
}

/// What an allocation that found no room asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unplaced {
    /// MHz.
    pub cpu: u64,
    /// Megabytes of memory.
    pub memory_mb: u64,
    /// Megabytes of disk.
    pub disk_mb: u64,
    /// Classes of nodes ([`crate::State::node_class`]) of which none will ever do.
    pub hopeless: BTreeSet<u128>,
}

impl Plan {
    /// Whether applying it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.place.is_empty()
            && self.stop.is_empty()
            && self.update.is_empty()
            && self.disconnect.is_empty()
            && self.reconnect.is_empty()
            && self.deployments.is_empty()
            && self.deployment_changes.is_empty()
            && self.started.is_empty()
            && self.stable.is_empty()
            && self.reverts.is_empty()
            && self.finished.is_empty()
            && self.evaluations.is_empty()
    }
}

/// Records that nobody needs any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Garbage {
    /// Terminal allocations.
    pub allocs: Vec<AllocId>,
    /// Evaluations.
    pub evaluations: Vec<EvalId>,
    /// Ended deployments.
    pub deployments: Vec<DeploymentId>,
    /// Stopped jobs without allocations.
    pub jobs: Vec<JobId>,
    /// Children that are over; their allocations go with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<JobId>,
    /// Join tokens that have expired.
    pub join_tokens: Vec<String>,
    /// Removed nodes whose certificates have ended.
    pub removed_nodes: Vec<NodeId>,
    /// When the list was made: what has not expired by then is kept. Needed by the last two alone.
    pub at: Timestamp,
}
