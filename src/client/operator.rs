//! The servers themselves.

use std::io::Read;
use std::time::Duration;

use model::wire::{
    LeadershipTransfer, LoopView, LossesApproved, LostNodes, RaftConfiguration,
    SchedulerConfigChange, SchedulerConfigResponse, SchedulerConfigUpdated,
};

use crate::error::ClientError;
use crate::transport::{Answer, Client, escape};

/// How long a snapshot may take to be made; it is sent as it is once it is.
const SNAPSHOT: Duration = Duration::from_secs(600);

impl Client {
    /// Who takes part in Raft.
    ///
    /// # Errors
    /// For this and all others here: when the agent cannot be reached or refuses.
    pub fn raft_configuration(&self) -> Result<RaftConfiguration, ClientError> {
        self.get("/operator/raft/configuration", &[]).map(Answer::into_value)
    }

    /// Lets another server lead: the one whose node, number or address is named, or the best.
    pub fn transfer_leadership(&self, to: Option<&str>) -> Result<LeadershipTransfer, ClientError> {
        let query = to.map(named).unwrap_or_default();
        self.post(&format!("/operator/raft/transfer-leadership{query}"), &())
            .map(Answer::into_value)
    }

    /// Takes a server out of Raft; it is named by its node, number or address.
    pub fn remove_peer(&self, server: &str) -> Result<(), ClientError> {
        let path = format!("/operator/raft/peer{}", named(server));
        self.delete::<serde_json::Value>(&path).map(drop)
    }

    /// How the nodes answer, and whose loss is held.
    pub fn lost_nodes(&self) -> Result<LostNodes, ClientError> {
        self.get("/operator/lost-nodes", &[]).map(Answer::into_value)
    }

    /// Says that the nodes whose loss is held are lost indeed.
    pub fn approve_losses(&self) -> Result<LossesApproved, ClientError> {
        self.post("/operator/lost-nodes/approve", &()).map(Answer::into_value)
    }

    /// How placement chooses.
    pub fn scheduler_config(&self) -> Result<SchedulerConfigResponse, ClientError> {
        self.get("/operator/scheduler/configuration", &[]).map(Answer::into_value)
    }

    /// Changes how placement chooses; with `if_index` only if it last changed then.
    pub fn set_scheduler_config(
        &self,
        change: &SchedulerConfigChange,
        if_index: Option<u64>,
    ) -> Result<SchedulerConfigUpdated, ClientError> {
        let query = if_index.map(|index| format!("?cas={index}")).unwrap_or_default();
        self.post(&format!("/operator/scheduler/configuration{query}"), change)
            .map(Answer::into_value)
    }

    /// The agent's loops.
    pub fn loops(&self) -> Result<Vec<LoopView>, ClientError> {
        self.get("/agent/loops", &[]).map(Answer::into_value)
    }

    /// The whole state as a snapshot file. `owner_key` is what `owner.key` in the agent's data directory holds.
    pub fn snapshot(&self, owner_key: &str) -> Result<Box<dyn Read + Send + Sync>, ClientError> {
        let client = self.clone().with_timeout(SNAPSHOT);
        let key = Some(("x-herder-owner-key", owner_key));
        let response = client.open_with("/operator/snapshot", &[], key)?;
        Ok(Box::new(response.into_body().into_reader()))
    }

    /// What a path below `/v1` answers, as it is; for bundles that only pass it on.
    pub fn raw(&self, path: &str) -> Result<String, ClientError> {
        self.text(path, &[])
    }
}

/// A server as a query. An address is host and port; all else is an ID.
fn named(server: &str) -> String {
    let key = if server.contains(':') { "address" } else { "id" };
    format!("?{key}={}", escape(server))
}
