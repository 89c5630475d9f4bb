//! Reads.

use model::wire::{
    AgentHealth, AgentMembers, AgentSelf, AllocListStub, AllocationExplained, AllocationView,
    DeploymentView, EvaluationView, GitopsStatus, JobExplanation, JobListStub, JobSummary,
    JobVersions, JobView, NodeListStub, NodeView, RevisionEntry, ServiceInstance, ServiceList,
};
use model::{AllocId, DeploymentId, EvalId, NodeId};
use serde::de::DeserializeOwned;

use crate::error::ClientError;
use crate::transport::{Answer, Client, Listing, escape};

type Read<T> = Result<Answer<T>, ClientError>;

/// What a log's offset counts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogOrigin {
    /// The oldest byte that is kept.
    #[default]
    Start,
    /// The newest, backwards.
    End,
}

impl Client {
    /// All jobs.
    ///
    /// # Errors
    /// For this and all further reads: when the agent cannot be reached, refuses, or knows no such thing.
    pub fn jobs(&self, listing: &Listing) -> Read<Vec<JobListStub>> {
        self.list("/jobs", listing)
    }

    /// A job in its desired version.
    pub fn job(&self, id: &str) -> Read<JobView> {
        self.get(&format!("/job/{}", escape(id)), &[])
    }

    /// A job's allocations.
    pub fn job_allocations(&self, id: &str) -> Read<Vec<AllocListStub>> {
        self.get(&format!("/job/{}/allocations", escape(id)), &[])
    }

    /// A job's evaluations, newest first.
    pub fn job_evaluations(&self, id: &str) -> Read<Vec<EvaluationView>> {
        self.get(&format!("/job/{}/evaluations", escape(id)), &[])
    }

    /// A job's deployments, newest first.
    pub fn job_deployments(&self, id: &str) -> Read<Vec<DeploymentView>> {
        self.get(&format!("/job/{}/deployments", escape(id)), &[])
    }

    /// A job's newest deployment, if it ever had one.
    pub fn job_deployment(&self, id: &str) -> Read<Option<DeploymentView>> {
        self.get(&format!("/job/{}/deployment", escape(id)), &[])
    }

    /// A job's allocations, counted.
    pub fn job_summary(&self, id: &str) -> Read<JobSummary> {
        self.get(&format!("/job/{}/summary", escape(id)), &[])
    }

    /// A job's versions, newest first, with their differences if asked for.
    pub fn job_versions(&self, id: &str, diffs: bool) -> Read<JobVersions> {
        let diffs = if diffs { "true" } else { "false" };
        self.get(&format!("/job/{}/versions", escape(id)), &[("diffs", diffs)])
    }

    /// All allocations.
    pub fn allocations(&self, listing: &Listing) -> Read<Vec<AllocListStub>> {
        self.list("/allocations", listing)
    }

    /// An allocation.
    pub fn allocation(&self, id: AllocId) -> Read<AllocationView> {
        self.get(&format!("/allocation/{id}"), &[])
    }

    /// All nodes.
    pub fn nodes(&self, listing: &Listing) -> Read<Vec<NodeListStub>> {
        self.list("/nodes", listing)
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Read<NodeView> {
        self.get(&format!("/node/{id}"), &[])
    }

    /// A node's allocations.
    pub fn node_allocations(&self, id: NodeId) -> Read<Vec<AllocationView>> {
        self.get(&format!("/node/{id}/allocations"), &[])
    }

    /// All evaluations.
    pub fn evaluations(&self, listing: &Listing) -> Read<Vec<EvaluationView>> {
        self.list("/evaluations", listing)
    }

    /// An evaluation.
    pub fn evaluation(&self, id: EvalId) -> Read<EvaluationView> {
        self.get(&format!("/evaluation/{id}"), &[])
    }

    /// The allocations that an evaluation placed.
    pub fn evaluation_allocations(&self, id: EvalId) -> Read<Vec<AllocListStub>> {
        self.get(&format!("/evaluation/{id}/allocations"), &[])
    }

    /// All deployments.
    pub fn deployments(&self, listing: &Listing) -> Read<Vec<DeploymentView>> {
        self.list("/deployments", listing)
    }

    /// A deployment.
    pub fn deployment(&self, id: DeploymentId) -> Read<DeploymentView> {
        self.get(&format!("/deployment/{id}"), &[])
    }

    /// The allocations of a deployment.
    pub fn deployment_allocations(&self, id: DeploymentId) -> Read<Vec<AllocListStub>> {
        self.get(&format!("/deployment/allocations/{id}"), &[])
    }

    /// All services.
    pub fn services(&self) -> Read<Vec<ServiceList>> {
        self.get("/services", &[])
    }

    /// A service's instances; none for a service that is not there.
    pub fn service(&self, name: &str) -> Read<Vec<ServiceInstance>> {
        self.get(&format!("/service/{}", escape(name)), &[])
    }

    /// The leader's RPC address.
    pub fn leader(&self) -> Result<String, ClientError> {
        self.get("/status/leader", &[]).map(Answer::into_value)
    }

    /// The servers' RPC addresses.
    pub fn peers(&self) -> Result<Vec<String>, ClientError> {
        self.get("/status/peers", &[]).map(Answer::into_value)
    }

    /// The agent itself.
    pub fn agent_self(&self) -> Result<AgentSelf, ClientError> {
        self.get("/agent/self", &[]).map(Answer::into_value)
    }

    /// Whether the agent works. An agent that does not is an error in its own words.
    pub fn agent_health(&self) -> Result<AgentHealth, ClientError> {
        self.get("/agent/health", &[]).map(Answer::into_value)
    }

    /// The members of the cluster.
    pub fn members(&self) -> Result<AgentMembers, ClientError> {
        self.get("/agent/members", &[]).map(Answer::into_value)
    }

    /// All metrics in the OpenMetrics text format.
    pub fn metrics(&self) -> Result<String, ClientError> {
        self.text("/metrics", &[("format", "prometheus")])
    }

    /// The repositories and how they are followed; one if named.
    pub fn gitops_status(&self, repo: Option<&str>) -> Read<GitopsStatus> {
        let query: Vec<_> = repo.map(|repo| ("repo", repo)).into_iter().collect();
        self.get("/gitops/status", &query)
    }

    /// The newest revisions, newest first; 50 unless a limit is named.
    pub fn revisions(&self, repo: Option<&str>, limit: Option<u32>) -> Read<Vec<RevisionEntry>> {
        let limit = limit.map(|limit| limit.to_string());
        let mut query = Vec::new();
        query.extend(repo.map(|repo| ("repo", repo)));
        query.extend(limit.as_deref().map(|limit| ("limit", limit)));
        self.get("/gitops/revisions", &query)
    }

    /// Why a job runs as it does, what it waits for, and what each node would say to one more; all groups unless one is
    /// named.
    pub fn explain_job(&self, job: &str, group: Option<&str>) -> Read<JobExplanation> {
        let query: Vec<_> = group.map(|group| ("group", group)).into_iter().collect();
        self.get(&format!("/gitops/explain/job/{}", escape(job)), &query)
    }

    /// Why an allocation is where it is, and whether it would be put there once more.
    pub fn explain_allocation(&self, id: AllocId) -> Read<AllocationExplained> {
        self.get(&format!("/gitops/explain/allocation/{id}"), &[])
    }

    fn list<T: DeserializeOwned>(&self, path: &str, listing: &Listing) -> Read<Vec<T>> {
        let mut query = Vec::new();
        if !listing.prefix.is_empty() {
            query.push(("prefix", listing.prefix.as_str()));
        }
        if listing.resources {
            query.push(("resources", "true"));
        }
        self.get(path, &query)
    }
}
