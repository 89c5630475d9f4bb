//! The agent itself, and small answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::empty_is_none;
use crate::EvalId;

/// `/v1/agent/self`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentSelf {
    /// Its settings, without secrets.
    pub config: BTreeMap<String, serde_json::Value>,
    /// Itself as a member.
    pub member: AgentMember,
    /// Figures by part: `nomad`, `raft`, `client`.
    pub stats: BTreeMap<String, BTreeMap<String, String>>,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentMember {
    /// Name.
    pub name: String,
    /// Address.
    pub addr: String,
    /// Port of its RPC.
    pub port: u16,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// `alive`, `failed` or `left`.
    pub status: String,
}

/// `/v1/agent/members`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentMembers {
    /// The server that answers.
    pub server_name: String,
    /// Its region.
    pub server_region: String,
    /// Its datacenter.
    #[serde(rename = "ServerDC")]
    pub server_dc: String,
    /// The servers.
    pub members: Vec<AgentMember>,
    /// The agents that are no servers. Herder's own: Nomad lists servers alone.
    pub workers: Vec<AgentMember>,
}

/// `/v1/agent/health`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentHealth {
    /// The server in the agent.
    pub server: Option<HealthLine>,
    /// The client in the agent.
    pub client: Option<HealthLine>,
}

/// Whether a part works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthLine {
    /// Whether it does.
    pub ok: bool,
    /// Why not, or `ok`.
    pub message: String,
}

/// A namespace (a row of `/v1/namespaces`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Namespace {
    /// Name.
    pub name: String,
    /// Description.
    pub description: String,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change.
    pub modify_index: u64,
}

/// The answer to a change of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentUpdateResponse {
    /// Always empty: the evaluator sees the change by itself.
    #[serde(rename = "EvalID", with = "empty_is_none")]
    pub eval_id: Option<EvalId>,
    /// Always 0.
    pub eval_create_index: u64,
    /// State index of the change.
    pub deployment_modify_index: u64,
    /// The version that a failed deployment goes back to, when that is known at once.
    pub reverted_job_version: Option<u64>,
    /// State index of the change.
    pub index: u64,
}
