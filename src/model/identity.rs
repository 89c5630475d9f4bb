//! Who a task is to others, and what it may be told: Vault, Consul, identities, secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{nanos, nullable};

/// A task's access to the secret store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Vault {
    /// Policies; the older way.
    #[serde(with = "nullable")]
    pub policies: Vec<String>,
    /// Role.
    pub role: String,
    /// Namespace.
    pub namespace: String,
    /// Cluster; `default` by default.
    pub cluster: String,
    /// Whether the token is in the environment.
    pub env: bool,
    /// Whether the token is kept out of `secrets/`.
    pub disable_file: bool,
    /// What a new token leads to: `restart`, `noop` or `signal`.
    pub change_mode: String,
    /// The signal of `signal`.
    pub change_signal: String,
    /// Whether the token may run out.
    pub allow_token_expiration: bool,
}

/// A group's or task's Consul. There is one catalog here; kept for the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Consul {
    /// Namespace.
    pub namespace: String,
    /// Cluster; `default` by default.
    pub cluster: String,
    /// Partition.
    pub partition: String,
}

/// A token that says which task its bearer is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WorkloadIdentity {
    /// Name; empty or `default` for the task's own.
    pub name: String,
    /// For whom it is meant.
    #[serde(with = "nullable")]
    pub audience: Vec<String>,
    /// What a new token leads to: empty (nothing), `restart` or `signal`.
    pub change_mode: String,
    /// The signal of `signal`.
    pub change_signal: String,
    /// Whether it is in the environment.
    pub env: bool,
    /// Whether it is in `secrets/`.
    pub file: bool,
    /// Where, instead.
    pub filepath: String,
    /// The service it speaks for.
    pub service_name: String,
    /// How long it is good; zero for ever.
    #[serde(rename = "TTL", with = "nanos")]
    pub ttl: Duration,
    /// Claims beside the usual ones.
    #[serde(with = "nullable")]
    pub extra_claims: Vec<String>,
}

/// A secret that a task reads as `${secret.<name>.<key>}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Secret {
    /// Its name in the task.
    pub name: String,
    /// Who keeps it.
    pub provider: String,
    /// Where it is kept.
    pub path: String,
    /// The provider's settings.
    #[serde(with = "nullable")]
    pub config: BTreeMap<String, serde_json::Value>,
    /// The provider's environment.
    #[serde(with = "nullable")]
    pub env: BTreeMap<String, String>,
}
