//! What operators ask of nodes.

use std::time::Duration;

use model::wire::DrainSpec;
use model::{DrainStrategy, Eligibility, NodeId, NodeStatus};
use state::Command;

use crate::members::HAND_OVER;
use crate::request::ServerError;
use crate::server::Server;

impl Server {
    /// Has a node emptied, or changes how; `None` ends that, and with `mark_eligible` new allocations may come again.
    /// Returns the state's index.
    pub async fn drain_node(
        &self,
        node: NodeId,
        spec: Option<DrainSpec>,
        mark_eligible: bool,
    ) -> Result<u64, ServerError> {
        let at = self.now();
        let drain = spec.map(|spec| {
            let span = u64::try_from(spec.deadline).ok().filter(|span| *span > 0);
            DrainStrategy {
                deadline: span.map(|span| at + Duration::from_nanos(span)),
                force: spec.deadline < 0,
                ignore_system: spec.ignore_system_jobs,
                started_at: at,
            }
        });
        self.propose(Command::SetDrain { node, drain, mark_eligible, at }).await
    }

    /// Says whether new allocations may come to a node. Returns the state's index.
    pub async fn set_eligibility(
        &self,
        node: NodeId,
        eligibility: Eligibility,
    ) -> Result<u64, ServerError> {
        self.propose(Command::SetEligibility { node, eligibility, at: self.now() }).await
    }

    /// Removes a node from the cluster: what it ran is lost and replaced, and its certificate lets it in no more. One
    /// that answers is removed only with `force`, as its tasks may go on. Returns the state's index.
    pub async fn purge_node(&self, id: NodeId, force: bool) -> Result<u64, ServerError> {
        let state = self.state();
        if let Some(node) = state.node(id).filter(|node| node.status == NodeStatus::Ready && !force)
        {
            return Err(ServerError::Conflict(format!(
                "node {} answers: empty it with `herder node drain -enable {}` and stop its agent first, or remove it \
                 with -force, and its tasks may go on beside their replacements",
                node.name,
                id.short()
            )));
        }
        if self.leading_node(&state) == Some(id) {
            return Err(ServerError::Conflict(HAND_OVER.to_owned()));
        }
        let at = self.now();
        let until = self.certificates_end(at);
        self.propose(Command::RemoveNode { node: id, until, at }).await
    }
}
