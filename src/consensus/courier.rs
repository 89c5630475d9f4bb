//! A way into the log without a copy of the state, for whoever speaks for many nodes at once.

use std::sync::Arc;
use std::time::Duration;

use state::{Applied, Command};

use crate::error::ProposeError;
use crate::network::{CallError, Caller};
use crate::transport::Transport;
use crate::types::Proposal;
use crate::wire::{Reply, Request};

/// Takes commands to a server that leads. Unlike [`crate::Consensus::propose`] it asks once, and what it returns is not
/// seen in any state here.
#[derive(Debug)]
pub struct Courier(Caller);

impl Courier {
    /// In the name of a node of a cluster.
    pub fn new(cluster: String, node: u64, transport: Arc<dyn Transport>) -> Self {
        Self(Caller { transport: Some(transport), cluster, node })
    }

    /// Puts a command into the log by the server at `address`.
    ///
    /// # Errors
    /// When it does not lead, cannot be reached, or does not answer within `limit`.
    pub async fn propose(
        &self,
        address: &str,
        command: Command,
        limit: Duration,
    ) -> Result<Applied, ProposeError> {
        let proposal = Proposal::new(command)?;
        let wait_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let body = Request::Propose { command: proposal.encoded().to_vec(), wait_ms };
        match self.0.call(None, address, false, body, limit).await {
            Ok(Reply::Proposed { index, rejection }) => {
                Ok(Applied { index, events: Vec::new(), rejection: rejection.map(Into::into) })
            }
            Ok(Reply::NotTaken { leader }) => {
                Err(ProposeError::NotLeader { leader: leader.map(|leader| leader.node) })
            }
            Err(CallError::NotDone(reason)) => {
                tracing::debug!(%reason, "a command could not be handed over");
                Err(ProposeError::NotLeader { leader: None })
            }
            Ok(_) | Err(CallError::Unknown(_)) => Err(ProposeError::Unknown),
        }
    }
}
