//! The node's way to the server where both live in one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use model::{AllocId, DeploymentId, DesiredStatus, NodeId};
use node::{AllocReport, Assignment, Upstream, UpstreamError};
use server::Server;
use state::{AllocUpdate, Command, State};
use tokio::sync::watch;

/// What a node must act on when it changes. Its own reports are not among it, so that they do not wake it.
type Wanted = BTreeMap<AllocId, (DesiredStatus, u64, Option<DeploymentId>, bool)>;

/// The server in this process.
pub(crate) struct InProcess {
    server: Server,
    last: Mutex<Wanted>,
    stopping: watch::Sender<bool>,
}

impl InProcess {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, last: Mutex::default(), stopping: watch::Sender::new(false) }
    }

    /// From now on this node is to stop everything that it runs. For an agent that takes its tasks with it.
    pub(crate) fn stop_everything(&self) {
        self.stopping.send_replace(true);
    }

    /// Whether the list differs from the last one that was handed out.
    fn is_news(&self, state: &State, node: NodeId) -> bool {
        let wanted: Wanted = state
            .allocs_on_node(node)
            .map(|alloc| {
                (alloc.id, (alloc.desired, alloc.job_version, alloc.deployment, alloc.canary))
            })
            .collect();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *last != wanted;
        *last = wanted;
        news
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
        let mut stopping = self.stopping.subscribe();
        loop {
            if *stopping.borrow_and_update() {
                if self.last.lock().is_ok_and(|mut last| std::mem::take(&mut *last).is_empty())
                    && after != 0
                {
                    // It was told already.
                    std::future::pending::<()>().await;
                }
                return Ok((
                    self.server.state().index().max(1),
                    stopped(assignments(&self.server.state(), node)?),
                ));
            }
            index.borrow_and_update();
            let state = self.server.state();
            if self.is_news(&state, node) || after == 0 {
                return Ok((state.index().max(1), assignments(&state, node)?));
            }
            tokio::select! {
                changed = index.changed() => {
                    changed.map_err(|_| UpstreamError("the server stopped".to_owned()))?;
                }
                _ = stopping.changed() => {}
            }
        }
    }

    async fn report(&self, _node: NodeId, reports: Vec<AllocReport>) -> Result<(), UpstreamError> {
        let updates = reports.into_iter().map(update).collect();
        let command = Command::UpdateAllocs { updates, at: self.server.now() };
        self.server
            .propose(command)
            .await
            .map(drop)
            .map_err(|error| UpstreamError(error.to_string()))
    }
}

fn stopped(mut assignments: Vec<Assignment>) -> Vec<Assignment> {
    for assignment in &mut assignments {
        let alloc = Arc::make_mut(&mut assignment.alloc);
        if alloc.desired == DesiredStatus::Run {
            alloc.desired = DesiredStatus::Stop;
            alloc.desired_description = "the agent stops and takes its tasks with it".to_owned();
        }
    }
    assignments
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
                // Its job was collected after it ended: there is nothing left to run.
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

fn update(report: AllocReport) -> AllocUpdate {
    AllocUpdate {
        alloc: report.alloc,
        client: report.client,
        client_description: report.client_description,
        tasks: report.tasks,
        checks: report.checks,
        health: report.health,
        deployment: report.deployment,
    }
}
