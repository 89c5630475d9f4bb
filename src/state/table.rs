//! The tables and how they are read.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::{
    AllocId, Allocation, Deployment, DeploymentId, EvalId, Evaluation, JobId, JobStatus,
    JobVersion, Node, NodeId, Revision, SchedulerConfig, Timestamp,
};

use crate::load::NodeLoad;
use crate::record::{ClusterRecord, JobRecord, JoinToken, RemovedNode, RepoRecord};

/// Everything the servers agree on. Cloning it is a snapshot and costs nothing.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(crate) index: u64,
    pub(crate) last_plan: u64,
    pub(crate) last_word: u64,
    pub(crate) given_up: OrdMap<NodeId, Timestamp>,
    pub(crate) nodes: OrdMap<NodeId, Arc<Node>>,
    pub(crate) jobs: OrdMap<JobId, Arc<JobRecord>>,
    pub(crate) live_children: OrdMap<JobId, OrdSet<JobId>>,
    pub(crate) dispatch_tokens: OrdMap<(JobId, String), JobId>,
    pub(crate) allocs: OrdMap<AllocId, Arc<Allocation>>,
    pub(crate) allocs_by_job: OrdMap<JobId, OrdSet<AllocId>>,
    pub(crate) allocs_by_node: OrdMap<NodeId, OrdSet<AllocId>>,
    pub(crate) loads: OrdMap<NodeId, Arc<NodeLoad>>,
    pub(crate) classes: OrdMap<NodeId, u128>,
    pub(crate) deployments: OrdMap<DeploymentId, Arc<Deployment>>,
    pub(crate) deployments_by_job: OrdMap<JobId, OrdSet<(u64, DeploymentId)>>,
    pub(crate) evaluations: OrdMap<EvalId, Arc<Evaluation>>,
    pub(crate) evaluations_by_job: OrdMap<JobId, OrdSet<(u64, EvalId)>>,
    pub(crate) repos: OrdMap<String, Arc<RepoRecord>>,
    pub(crate) revisions: OrdMap<u64, Arc<Revision>>,
    pub(crate) cluster: Option<Arc<ClusterRecord>>,
    pub(crate) join_tokens: OrdMap<String, Arc<JoinToken>>,
    pub(crate) removed_nodes: OrdMap<NodeId, RemovedNode>,
    pub(crate) scheduler: SchedulerConfig,
    pub(crate) indexes: Indexes,
}

/// The index of the last change of each table, for blocking queries over lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexes {
    pub(crate) nodes: u64,
    pub(crate) jobs: u64,
    pub(crate) allocs: u64,
    pub(crate) deployments: u64,
    pub(crate) evaluations: u64,
    pub(crate) revisions: u64,
    pub(crate) scheduler: u64,
}

impl State {
    /// The index of the last command applied.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Index of the last change of any node; at least 1, as for all list indexes (clients take 0 for "never asked").
    pub fn nodes_index(&self) -> u64 {
        self.indexes.nodes.max(1)
    }

    /// Index of the last change of any job.
    pub fn jobs_index(&self) -> u64 {
        self.indexes.jobs.max(1)
    }

    /// Index of the last change of any allocation.
    pub fn allocs_index(&self) -> u64 {
        self.indexes.allocs.max(1)
    }

    /// Index of the last change of any deployment.
    pub fn deployments_index(&self) -> u64 {
        self.indexes.deployments.max(1)
    }

    /// Index of the last evaluation recorded.
    pub fn evaluations_index(&self) -> u64 {
        self.indexes.evaluations.max(1)
    }

    /// Index of the last revision taken in.
    pub fn revisions_index(&self) -> u64 {
        self.indexes.revisions.max(1)
    }

    /// Index of the last change of [`State::scheduler_config`].
    pub fn scheduler_index(&self) -> u64 {
        self.indexes.scheduler.max(1)
    }

    /// All nodes, by ID.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// How many nodes there are.
    pub fn nodes_count(&self) -> usize {
        self.nodes.len()
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// The index at which a leader last said who answers and who does not; 0 before the first.
    pub fn last_word(&self) -> u64 {
        self.last_word
    }

    /// When nodes that were ready were last given up, by ID, whether they are back or not, or removed: those of the last
    /// [`crate::LOSSES_REMEMBERED`] and perhaps some older ones.
    pub fn given_up(&self) -> impl Iterator<Item = (NodeId, Timestamp)> {
        self.given_up.iter().map(|(id, at)| (*id, *at))
    }

    /// All jobs, by ID.
    pub fn jobs(&self) -> impl Iterator<Item = &Arc<JobRecord>> {
        self.jobs.values()
    }

    /// A job.
    pub fn job(&self, id: &JobId) -> Option<&Arc<JobRecord>> {
        self.jobs.get(id)
    }

    /// The children of a job, by ID: what came of its times or dispatches and is still known.
    pub fn children_of_job<'a>(
        &'a self,
        id: &JobId,
    ) -> impl Iterator<Item = &'a Arc<JobRecord>> + use<'a> {
        // All names that begin with the parent's and a slash lie together, before that with the character behind it.
        let (first, end) = (JobId::from(format!("{id}/")), JobId::from(format!("{id}0")));
        let id = id.clone();
        self.jobs
            .range(first..end)
            .map(|(_, record)| record)
            .filter(move |record| record.child().is_some_and(|child| child.parent == id))
    }

    /// The children of a job that are not over, by ID.
    pub fn live_children_of_job<'a>(
        &'a self,
        id: &JobId,
    ) -> impl ExactSizeIterator<Item = &'a JobId> + use<'a> {
        static NONE: std::sync::OnceLock<OrdSet<JobId>> = std::sync::OnceLock::new();
        self.live_children.get(id).unwrap_or_else(|| NONE.get_or_init(OrdSet::new)).iter()
    }

    /// The child that a dispatch with this token made, if it is still known.
    pub fn dispatched_with(&self, parent: &JobId, token: &str) -> Option<&JobId> {
        self.dispatch_tokens.get(&(parent.clone(), token.to_owned()))
    }

    /// A version of a job.
    pub fn job_version(&self, id: &JobId, version: u64) -> Option<&Arc<JobVersion>> {
        self.jobs.get(id)?.version(version)
    }

    /// All allocations, by ID.
    pub fn allocs(&self) -> impl Iterator<Item = &Arc<Allocation>> {
        self.allocs.values()
    }

    /// An allocation.
    pub fn alloc(&self, id: AllocId) -> Option<&Arc<Allocation>> {
        self.allocs.get(&id)
    }

    /// The allocations of a job, by ID.
    pub fn allocs_of_job(&self, id: &JobId) -> impl Iterator<Item = &Arc<Allocation>> {
        self.allocs_by_job.get(id).into_iter().flatten().filter_map(|id| self.allocs.get(id))
    }

    /// The allocations on a node, by ID.
    pub fn allocs_on_node(&self, id: NodeId) -> impl Iterator<Item = &Arc<Allocation>> {
        self.allocs_by_node.get(&id).into_iter().flatten().filter_map(|id| self.allocs.get(id))
    }

    /// All deployments, by ID.
    pub fn deployments(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.deployments.values()
    }

    /// A deployment.
    pub fn deployment(&self, id: DeploymentId) -> Option<&Arc<Deployment>> {
        self.deployments.get(&id)
    }

    /// The deployments of a job, newest first.
    pub fn deployments_of_job(&self, id: &JobId) -> impl Iterator<Item = &Arc<Deployment>> {
        self.deployments_by_job
            .get(id)
            .into_iter()
            .flat_map(|ids| ids.iter().rev())
            .filter_map(|(_, id)| self.deployments.get(id))
    }

    /// The newest deployment of a job.
    pub fn latest_deployment(&self, id: &JobId) -> Option<&Arc<Deployment>> {
        self.deployments_of_job(id).next()
    }

    /// All evaluations, by ID.
    pub fn evaluations(&self) -> impl Iterator<Item = &Arc<Evaluation>> {
        self.evaluations.values()
    }

    /// An evaluation.
    pub fn evaluation(&self, id: EvalId) -> Option<&Arc<Evaluation>> {
        self.evaluations.get(&id)
    }

    /// The evaluations of a job, newest first.
    pub fn evaluations_of_job(&self, id: &JobId) -> impl Iterator<Item = &Arc<Evaluation>> {
        self.evaluations_by_job
            .get(id)
            .into_iter()
            .flat_map(|ids| ids.iter().rev())
            .filter_map(|(_, id)| self.evaluations.get(id))
    }

    /// The state index since which something of a job finds no room; `None` if all of it has some.
    pub fn waiting_since(&self, id: &JobId) -> Option<u64> {
        self.evaluations_of_job(id).next()?.waiting_since
    }

    /// All repositories, by name.
    pub fn repos(&self) -> impl Iterator<Item = &Arc<RepoRecord>> {
        self.repos.values()
    }

    /// A repository.
    pub fn repo(&self, name: &str) -> Option<&Arc<RepoRecord>> {
        self.repos.get(name)
    }

    /// The revisions, newest first.
    pub fn revisions(&self) -> impl Iterator<Item = &Arc<Revision>> {
        self.revisions.values().rev()
    }

    /// What identifies the cluster; nothing until it is founded.
    pub fn cluster(&self) -> Option<&Arc<ClusterRecord>> {
        self.cluster.as_ref()
    }

    /// The secrets that let new nodes join, by ID; some may have expired.
    pub fn join_tokens(&self) -> impl Iterator<Item = &Arc<JoinToken>> {
        self.join_tokens.values()
    }

    /// A secret that lets new nodes join; it may have expired.
    pub fn join_token(&self, id: &str) -> Option<&Arc<JoinToken>> {
        self.join_tokens.get(id)
    }

    /// The nodes that are not let in again, by ID.
    pub fn removed_nodes(&self) -> impl Iterator<Item = &RemovedNode> {
        self.removed_nodes.values()
    }

    /// Whether a node is not let in again, whatever its certificate says.
    pub fn is_removed(&self, id: NodeId) -> bool {
        self.removed_nodes.contains_key(&id)
    }

    /// How placement chooses.
    pub fn scheduler_config(&self) -> &SchedulerConfig {
        &self.scheduler
    }

    /// The nodes that are being emptied, by ID.
    pub fn draining_nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().filter(|node| node.drain.is_some())
    }

    /// A job's status on the wire (nomad.md 2.1).
    pub fn job_status(&self, id: &JobId) -> JobStatus {
        let Some(record) = self.jobs.get(id) else {
            return JobStatus::Dead;
        };
        let version = record.current();
        if version.is_some_and(|version| !version.starts_by_itself()) {
            return if record.stopped { JobStatus::Dead } else { JobStatus::Running };
        }
        let mut any = false;
        for alloc in self.allocs_of_job(id) {
            any = true;
            if !alloc.client.is_terminal() {
                return JobStatus::Running;
            }
        }
        let kind = record.job().map(|job| job.kind).unwrap_or_default();
        match (record.stopped || !record.finished_at.is_zero(), any) {
            (true, _) => JobStatus::Dead,
            (false, true) if kind.runs_to_completion() => JobStatus::Dead,
            (false, _) => JobStatus::Pending,
        }
    }
}
