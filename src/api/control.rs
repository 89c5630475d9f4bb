//! What the API needs of the server behind it. A seam, so that the faces can be tested without Raft and Git.

mod server;

use std::time::Duration;

use async_trait::async_trait;
use model::wire::{
    DrainSpec, GitopsError, JobDispatchRequest, JobDispatchResponse, LoopView, NewJoinToken,
    PeriodicForceResponse, PlanRequest, PlanResponse,
};
use model::{
    AllocId, CommitId, DeploymentId, Eligibility, JobId, NodeId, SchedulerConfig, Timestamp,
};
use state::State;
use tokio::sync::watch;

use crate::refusal::Refusal;

/// How long a read that is to be consistent may wait for the leader's word.
const CONSISTENT: Duration = Duration::from_secs(5);

/// The state with every change that was answered before this was asked for, for a read that is to be consistent.
///
/// # Errors
/// When the cluster has no leader, or it is not heard in time: in Nomad's and Consul's words, after which their clients
/// ask again.
pub(crate) async fn consistent(control: &dyn Control) -> Result<State, Refusal> {
    match tokio::time::timeout(CONSISTENT, control.consistent()).await {
        Ok(Ok(state)) => Ok(state),
        Ok(Err(refusal)) => Err(Refusal::unavailable(format!("No cluster leader: {refusal}"))),
        Err(_) => Err(Refusal::unavailable(format!(
            "No cluster leader: none answered within {CONSISTENT:?}"
        ))),
    }
}

/// Milliseconds since this agent heard a leader, as both dialects tell it.
pub(crate) fn last_contact(raft: &RaftView) -> u128 {
    raft.last_contact.unwrap_or_default().as_millis()
}

/// Where Raft stands, as seen from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftView {
    /// This server's number.
    pub node: u64,
    /// The leader's number; none while there is no leader.
    pub leader: Option<u64>,
    /// What this server is: `leader`, `follower` …
    pub role: String,
    /// Numbers of all that vote.
    pub voters: Vec<u64>,
    /// The current term.
    pub term: u64,
    /// Index of the last entry of the log.
    pub last_log: u64,
    /// Index of the last entry that can never be undone.
    pub committed: u64,
    /// Index of the last entry that was applied.
    pub applied: u64,
    /// How long ago this server heard a leader; zero on the leader itself.
    pub last_contact: Option<Duration>,
    /// Terms that began since this server started.
    pub elections: u64,
    /// How often the leader changed since then.
    pub leader_changes: u64,
    /// How often this server came to lead since then.
    pub won: u64,
}

/// A server that takes part in Raft.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftMember {
    /// Its number.
    pub node: u64,
    /// Where the others reach it; empty for one that is alone.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it leads.
    pub leader: bool,
    /// How long ago it answered the leader; only the leader knows.
    pub last_contact: Option<Duration>,
    /// The last entry that it is known to have; only the leader knows.
    pub matched: Option<u64>,
}

/// How the nodes answer, as the leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeats {
    /// Nodes that are listened to.
    pub listening: usize,
    /// Nodes that were declared lost lately.
    pub declared: usize,
    /// How many may be declared lost together.
    pub allowed: usize,
    /// Nodes whose loss is held.
    pub held: Vec<NodeId>,
    /// What that means, in words.
    pub message: String,
}

/// How this agent follows a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepoPoll {
    /// Its name.
    pub name: String,
    /// Where it is, without credentials.
    pub url: String,
    /// The branch that is followed; empty until it is known.
    pub branch: String,
    /// Last look; zero before the first.
    pub last_poll: Timestamp,
    /// Last look that worked.
    pub last_success: Timestamp,
    /// Next look.
    pub next_poll: Timestamp,
    /// The newest commit that was seen, which may not be desired yet.
    pub seen: Option<CommitId>,
    /// Looks so far.
    pub polls: u64,
    /// Looks that brought something new.
    pub fetches: u64,
    /// What is wrong.
    pub error: Option<GitopsError>,
}

/// The server behind the API.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// The state now.
    fn state(&self) -> State;

    /// The index of the last command applied, for those who wait for a change.
    fn index(&self) -> watch::Receiver<u64>;

    /// Where Raft stands.
    fn raft(&self) -> RaftView;

    /// Who takes part in Raft.
    fn members(&self) -> Vec<RaftMember>;

    /// How the nodes answer; nothing on a server that does not lead.
    fn heartbeats(&self) -> Heartbeats;

    /// The agent's loops and what they do.
    fn loops(&self) -> Vec<LoopView>;

    /// A state that contains every change that was answered before this was asked for.
    async fn consistent(&self) -> Result<State, Refusal>;

    /// Lets another server lead, the one of this number or the best; returns which.
    async fn transfer_leadership(&self, to: Option<u64>) -> Result<u64, Refusal>;

    /// Takes a server out of Raft.
    async fn remove_member(&self, number: u64) -> Result<(), Refusal>;

    /// Says that the nodes whose loss is held are lost indeed; returns how many there are.
    fn approve_losses(&self) -> usize;

    /// How each repository is followed, by name.
    fn repos(&self) -> Vec<RepoPoll>;

    /// The time, by the server's clock.
    fn now(&self) -> Timestamp;

    /// Dispatches a parameterized job; a token that was given before finds the run of then.
    async fn dispatch(
        &self,
        job: JobId,
        request: JobDispatchRequest,
        token: String,
    ) -> Result<JobDispatchResponse, Refusal>;

    /// Starts a periodic job out of turn.
    async fn force_periodic(&self, job: JobId) -> Result<PeriodicForceResponse, Refusal>;

    /// Promotes a deployment's canaries; of all groups if none is named. Returns the index of the change.
    async fn promote(&self, id: DeploymentId, groups: Vec<String>) -> Result<u64, Refusal>;

    /// Fails a deployment. Returns the index of the change.
    async fn fail_deployment(&self, id: DeploymentId) -> Result<u64, Refusal>;

    /// Stops an allocation; what is desired brings another one in its place. Returns the index of the change.
    async fn stop_allocation(&self, id: AllocId) -> Result<u64, Refusal>;

    /// Has a node emptied; `None` ends that. Returns the index of the change.
    async fn drain_node(
        &self,
        id: NodeId,
        drain: Option<DrainSpec>,
        mark_eligible: bool,
    ) -> Result<u64, Refusal>;

    /// Says whether new allocations may come to a node. Returns the index of the change.
    async fn set_eligibility(&self, id: NodeId, eligibility: Eligibility) -> Result<u64, Refusal>;

    /// Removes a node for good; one that answers only with `force`. Returns the index of the change.
    async fn purge_node(&self, id: NodeId, force: bool) -> Result<u64, Refusal>;

    /// Has placement choose like this; with `if_index` only if it last changed then. Returns the index of the change, or
    /// `None` where another came first.
    async fn set_scheduler_config(
        &self,
        config: SchedulerConfig,
        if_index: Option<u64>,
    ) -> Result<Option<u64>, Refusal>;

    /// Lets removals go on that were held; all if no job is named. Returns the index of the change.
    async fn approve(&self, repo: Option<String>, jobs: Vec<JobId>) -> Result<u64, Refusal>;

    /// What would happen.
    async fn plan(&self, request: PlanRequest) -> Result<PlanResponse, Refusal>;

    /// Makes a token that lets machines join until `life` is over.
    async fn make_join_token(&self, life: Duration) -> Result<NewJoinToken, Refusal>;

    /// Takes a join token back. Returns the index of the change.
    async fn revoke_join_token(&self, id: String) -> Result<u64, Refusal>;

    /// Asks the pollers to look now; all of them if none is named.
    async fn check_now(&self, repo: Option<String>) -> Result<(), Refusal>;
}
