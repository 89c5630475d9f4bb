//! Raft's way to the other agents.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use consensus::{Transport, TransportError};
use rpc::{CallError, Class, Client};

use super::messages::CONSENSUS;

/// Carries what the consensus crate says over the agents' connections.
pub(crate) struct OverRpc(pub(crate) Arc<Client>);

#[async_trait]
impl Transport for OverRpc {
    async fn send(
        &self,
        address: &str,
        bulk: bool,
        request: Bytes,
        limit: Duration,
    ) -> Result<Bytes, TransportError> {
        let class = if bulk { Class::Bulk } else { Class::Control };
        self.0.call(address, class, CONSENSUS, request, limit).await.map_err(|error| match &error {
            CallError::Refused { refused, .. } if !refused.code.may_have_been_carried_out() => {
                TransportError::Refused(error.to_string())
            }
            _ if error.may_have_been_carried_out() => TransportError::NoAnswer(error.to_string()),
            _ => TransportError::Unreachable(error.to_string()),
        })
    }
}
