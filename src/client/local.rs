//! What an allocation's own node answers and does.

use std::io::Read;

use model::wire::{AllocFileInfo, AllocResourceUsage, AllocStopResponse, HostStats};
use model::{AllocId, NodeId};
use serde::{Deserialize, Serialize};

use crate::error::ClientError;
use crate::transport::{Answer, Client};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Restart<'a> {
    task_name: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Signal<'a> {
    task: &'a str,
    signal: &'a str,
}

/// An answer of which nothing is read.
#[derive(Debug, Default, Deserialize)]
struct Done {}

impl Client {
    /// What an allocation's tasks use.
    ///
    /// # Errors
    /// For this and all others here: when the agent cannot be reached, refuses, or knows no such thing.
    pub fn allocation_usage(&self, id: AllocId) -> Result<AllocResourceUsage, ClientError> {
        self.get(&format!("/client/allocation/{id}/stats"), &[]).map(Answer::into_value)
    }

    /// What the agent's machine uses, if it is that node.
    pub fn host_usage(&self, node: NodeId) -> Result<HostStats, ClientError> {
        self.get("/client/stats", &[("node_id", &node.to_string())]).map(Answer::into_value)
    }

    /// Starts an allocation's tasks again that run; the one that is named, or all.
    pub fn restart_allocation(&self, id: AllocId, task: Option<&str>) -> Result<(), ClientError> {
        let body = Restart { task_name: task.unwrap_or_default() };
        let done = self.post::<_, Done>(&format!("/client/allocation/{id}/restart"), &body);
        done.map(drop)
    }

    /// Sends a signal to an allocation's tasks that run; to the one that is named, or to all.
    pub fn signal_allocation(
        &self,
        id: AllocId,
        task: Option<&str>,
        signal: &str,
    ) -> Result<(), ClientError> {
        let body = Signal { task: task.unwrap_or_default(), signal };
        let done = self.post::<_, Done>(&format!("/client/allocation/{id}/signal"), &body);
        done.map(drop)
    }

    /// Stops an allocation; what is desired brings another one in its place.
    pub fn stop_allocation(&self, id: AllocId) -> Result<AllocStopResponse, ClientError> {
        let path = format!("/allocation/{id}/stop");
        self.post(&path, &serde_json::json!({})).map(Answer::into_value)
    }

    /// What a directory of an allocation holds.
    pub fn files(&self, id: AllocId, path: &str) -> Result<Vec<AllocFileInfo>, ClientError> {
        self.get(&format!("/client/fs/ls/{id}"), &[("path", path)]).map(Answer::into_value)
    }

    /// What a path in an allocation is.
    pub fn file_info(&self, id: AllocId, path: &str) -> Result<AllocFileInfo, ClientError> {
        self.get(&format!("/client/fs/stat/{id}"), &[("path", path)]).map(Answer::into_value)
    }

    /// A file of an allocation.
    pub fn file(
        &self,
        id: AllocId,
        path: &str,
    ) -> Result<Box<dyn Read + Send + Sync>, ClientError> {
        let query = [("path", path.to_owned())];
        let response = self.open(&format!("/client/fs/cat/{id}"), &query)?;
        Ok(Box::new(response.into_body().into_reader()))
    }
}
