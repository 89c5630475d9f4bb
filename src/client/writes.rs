//! Changes, and plans, which change nothing but are asked for in the same way.

use model::wire::{
    ApproveRequest, ChangeResponse, CheckRequest, DeploymentUpdateResponse, DrainSpec,
    JobDispatchRequest, JobDispatchResponse, JoinTokenRequest, JoinTokenStub, NewJoinToken,
    NodeDrainRequest, NodeEligibilityRequest, NodeUpdateResponse, PeriodicForceResponse,
    PlanRequest, PlanResponse,
};
use model::{DeploymentId, Eligibility, JobId, NodeId};
use serde::Serialize;

use crate::error::ClientError;
use crate::transport::{Answer, Client, escape};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Promotion<'a> {
    #[serde(rename = "DeploymentID")]
    deployment_id: DeploymentId,
    all: bool,
    groups: &'a [String],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    #[serde(rename = "DeploymentID")]
    deployment_id: DeploymentId,
}

impl Client {
    /// Promotes a deployment's canaries; those of all groups if none is named.
    ///
    /// # Errors
    /// For this and all further changes: when the agent cannot be reached or refuses.
    pub fn promote(
        &self,
        id: DeploymentId,
        groups: &[String],
    ) -> Result<DeploymentUpdateResponse, ClientError> {
        let body = Promotion { deployment_id: id, all: groups.is_empty(), groups };
        self.post(&format!("/deployment/promote/{id}"), &body).map(Answer::into_value)
    }

    /// Fails a deployment.
    pub fn fail_deployment(
        &self,
        id: DeploymentId,
    ) -> Result<DeploymentUpdateResponse, ClientError> {
        let body = Failure { deployment_id: id };
        self.post(&format!("/deployment/fail/{id}"), &body).map(Answer::into_value)
    }

    /// Starts a run of a parameterized job; a token that was given before finds the run of then.
    pub fn dispatch_job(
        &self,
        id: &str,
        request: &JobDispatchRequest,
        token: Option<&str>,
    ) -> Result<JobDispatchResponse, ClientError> {
        let query = token.map(|token| format!("?idempotency_token={}", escape(token)));
        let path = format!("/job/{}/dispatch{}", escape(id), query.unwrap_or_default());
        self.post(&path, request).map(Answer::into_value)
    }

    /// Starts a periodic job out of turn.
    pub fn force_periodic(&self, id: &str) -> Result<PeriodicForceResponse, ClientError> {
        self.post(&format!("/job/{}/periodic/force", escape(id)), &()).map(Answer::into_value)
    }

    /// Makes a token that lets machines join; `ttl` as in `1h`, an hour if empty.
    pub fn make_join_token(&self, ttl: &str) -> Result<NewJoinToken, ClientError> {
        let body = JoinTokenRequest { ttl: ttl.to_owned() };
        self.post("/operator/join-tokens", &body).map(Answer::into_value)
    }

    /// The tokens that let machines join, without their secrets.
    pub fn join_tokens(&self) -> Result<Vec<JoinTokenStub>, ClientError> {
        self.get("/operator/join-tokens", &[]).map(Answer::into_value)
    }

    /// Takes a join token back.
    pub fn revoke_join_token(&self, id: &str) -> Result<ChangeResponse, ClientError> {
        self.delete(&format!("/operator/join-token/{}", escape(id))).map(Answer::into_value)
    }

    /// Has a node emptied; `None` ends that, and with `mark_eligible` new allocations may come again.
    pub fn drain_node(
        &self,
        id: NodeId,
        drain: Option<DrainSpec>,
        mark_eligible: bool,
    ) -> Result<NodeUpdateResponse, ClientError> {
        let body = NodeDrainRequest { drain_spec: drain, mark_eligible };
        self.post(&format!("/node/{id}/drain"), &body).map(Answer::into_value)
    }

    /// Says whether new allocations may come to a node.
    pub fn set_eligibility(
        &self,
        id: NodeId,
        eligibility: Eligibility,
    ) -> Result<NodeUpdateResponse, ClientError> {
        let body = NodeEligibilityRequest { eligibility: Some(eligibility) };
        self.post(&format!("/node/{id}/eligibility"), &body).map(Answer::into_value)
    }

    /// Removes a node from the cluster, for good; one that answers only with `force`.
    pub fn purge_node(&self, id: NodeId, force: bool) -> Result<NodeUpdateResponse, ClientError> {
        self.post(&format!("/node/{id}/purge?force={force}"), &()).map(Answer::into_value)
    }

    /// What would happen.
    pub fn plan(&self, request: &PlanRequest) -> Result<PlanResponse, ClientError> {
        self.post("/gitops/plan", request).map(Answer::into_value)
    }

    /// Asks the agent to look at its repositories now; at one if named.
    pub fn check_now(&self, repo: Option<&str>) -> Result<ChangeResponse, ClientError> {
        let body = CheckRequest { repo: repo.map(str::to_owned) };
        self.post("/gitops/check", &body).map(Answer::into_value)
    }

    /// Lets held removals go on; all if no job is named.
    pub fn approve_removals(
        &self,
        repo: Option<&str>,
        jobs: Vec<JobId>,
    ) -> Result<ChangeResponse, ClientError> {
        let body = ApproveRequest { repo: repo.map(str::to_owned), jobs };
        self.post("/gitops/approve", &body).map(Answer::into_value)
    }
}
