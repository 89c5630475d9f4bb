//! The node's way to the server where both live in one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use model::{AllocId, Allocation, ClientStatus, DeploymentId, DesiredStatus, NodeId};
use node::{AllocReport, Assignment, Upstream, UpstreamError};
use server::{Server, ServerError};
use state::{Command, Plan, State, StopAlloc};

/// What a node must act on when it changes. Its own reports are not among it, so that they do not wake it.
/// That one is unknown is: its node, which can be reached after all, is to say what became of it.
type Wanted = BTreeMap<AllocId, (DesiredStatus, u64, Option<DeploymentId>, bool, bool)>;

/// A log that goes on so far behind where it was is another one: it was restored from a backup, and what the node said
/// since may be forgotten.
const LEAP: u64 = 1 << 31;

/// The server in this process.
pub(crate) struct InProcess {
    server: Server,
    last: Mutex<Wanted>,
}

impl InProcess {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, last: Mutex::default() }
    }

    /// Tells the node to stop everything that it runs, for an agent that takes its tasks with it. The log says so too:
    /// what was stopped on purpose neither failed nor finished, and is started again by the next agent at once.
    pub(crate) async fn stop_everything(&self, node: NodeId) -> Result<(), ServerError> {
        let state = self.server.state();
        let stop: Vec<StopAlloc> = state
            .allocs_on_node(node)
            .filter(|alloc| !alloc.terminal())
            .map(|alloc| StopAlloc {
                alloc: alloc.id,
                description: "the agent stopped and took its tasks with it".to_owned(),
                ..StopAlloc::default()
            })
            .collect();
        if stop.is_empty() {
            return Ok(());
        }
        let at = self.server.now();
        let plan = Plan { basis: state.index(), at, stop, ..Plan::default() };
        self.server.propose(Command::ApplyPlan(Box::new(plan))).await.map(drop)
    }

    /// Whether the list differs from the last one that was handed out.
    fn is_news(&self, state: &State, node: NodeId) -> bool {
        let wanted: Wanted = state
            .allocs_on_node(node)
            .map(|alloc| {
                let unknown = alloc.client == ClientStatus::Unknown;
                let Allocation { desired, job_version, deployment, canary, .. } = **alloc;
                (alloc.id, (desired, job_version, deployment, canary, unknown))
            })
            .collect();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *last != wanted;
        *last = wanted;
        news
    }

    /// The last list was not handed out after all.
    fn forget(&self) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[async_trait]
impl Upstream for InProcess {
    async fn assignments(
        &self,
        node: NodeId,
        after: u64,
    ) -> Result<(u64, Vec<Assignment>), UpstreamError> {
        let mut index = self.server.index();
        loop {
            index.borrow_and_update();
            let state = self.server.state();
            let leapt = state.index().saturating_sub(after) > LEAP;
            if self.is_news(&state, node) || after == 0 || leapt {
                let list = assignments(&state, node).inspect_err(|_| self.forget())?;
                return Ok((state.index().max(1), list));
            }
            index.changed().await.map_err(|_| UpstreamError("the server stopped".to_owned()))?;
        }
    }

    async fn report(&self, _node: NodeId, reports: Vec<AllocReport>) -> Result<(), UpstreamError> {
        let command = Command::UpdateAllocs { updates: reports, at: self.server.now() };
        self.server
            .propose(command)
            .await
            .map(drop)
            .map_err(|error| UpstreamError(error.to_string()))
    }
}

fn assignments(state: &State, node: NodeId) -> Result<Vec<Assignment>, UpstreamError> {
    state
        .allocs_on_node(node)
        .filter_map(|alloc| {
            let version = state.job_version(&alloc.job, alloc.job_version);
            match version {
                Some(version) => {
                    Some(Ok(Assignment { alloc: Arc::clone(alloc), version: Arc::clone(version) }))
                }
                // States of earlier versions of Herder may lack those of what is over.
                None if alloc.client.is_terminal() => None,
                None => Some(Err(UpstreamError(format!(
                    "version {} of job `{}` is not in the state, but allocation {} runs it",
                    alloc.job_version,
                    alloc.job,
                    alloc.id.short()
                )))),
            }
        })
        .collect()
}
