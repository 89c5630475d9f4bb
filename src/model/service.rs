//! What a group publishes in the catalog, and how its health is checked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nanos;

/// A name in the catalog with a port and checks. `provider = "consul"` and `"nomad"` both mean the built-in catalog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    /// The published name.
    pub name: String,
    /// Kept for the wire: `consul` or `nomad`.
    pub provider: String,
    /// A port label of the group, or a number.
    pub port_label: String,
    /// `auto`, `host`, `driver` or `alloc`.
    pub address_mode: String,
    /// An address to publish instead of the node's.
    pub address: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Tags while the allocation is a canary; empty means `tags`.
    pub canary_tags: Vec<String>,
    /// Published metadata.
    pub meta: BTreeMap<String, String>,
    /// The task that script checks run in, for a group's service.
    pub task_name: String,
    /// Checks.
    pub checks: Vec<Check>,
    /// How checks count for deployments.
    pub on_update: OnUpdate,
}

/// The kinds of check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckType {
    /// A request that must be answered with 2xx.
    #[default]
    Http,
    /// A connection that must open.
    Tcp,
    /// A command in the task: exit 0 passing, 1 warning, else critical.
    Script,
    /// A gRPC health request. Not run yet.
    Grpc,
}

impl CheckType {
    /// The name as job files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Script => "script",
            Self::Grpc => "grpc",
        }
    }
}

/// How a check counts for a deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUpdate {
    /// It must pass.
    #[default]
    RequireHealthy,
    /// A warning is good enough.
    IgnoreWarnings,
    /// It does not count.
    Ignore,
}

/// A health check, run on the node of the allocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Check {
    /// Name; `service: "<name>" check` by default.
    pub name: String,
    /// Kind.
    #[serde(rename = "Type")]
    pub kind: CheckType,
    /// Time between runs.
    #[serde(with = "nanos")]
    pub interval: Duration,
    /// Time a run may take.
    #[serde(with = "nanos")]
    pub timeout: Duration,
    /// http: path and query.
    pub path: String,
    /// http: method, `GET` by default.
    pub method: String,
    /// http: `http` or `https`.
    pub protocol: String,
    /// Port label or number; the service's by default.
    pub port_label: String,
    /// http: body.
    pub body: String,
    /// http: headers.
    pub header: BTreeMap<String, Vec<String>>,
    /// script: command.
    pub command: String,
    /// script: arguments.
    pub args: Vec<String>,
    /// script: the task it runs in.
    pub task_name: String,
    /// https: accept any certificate.
    #[serde(rename = "TLSSkipVerify")]
    pub tls_skip_verify: bool,
    /// Status before the first result: empty (critical), `passing`, `warning` or `critical`.
    pub initial_status: String,
    /// Passing results in a row before it counts as passing.
    pub success_before_passing: u32,
    /// Failing results in a row before it counts as critical.
    pub failures_before_critical: u32,
    /// Restart of the task when it stays critical.
    pub check_restart: Option<CheckRestart>,
    /// How it counts for deployments.
    pub on_update: OnUpdate,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: CheckType::Http,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            path: String::new(),
            method: String::new(),
            protocol: String::new(),
            port_label: String::new(),
            body: String::new(),
            header: BTreeMap::new(),
            command: String::new(),
            args: Vec::new(),
            task_name: String::new(),
            tls_skip_verify: false,
            initial_status: String::new(),
            success_before_passing: 0,
            failures_before_critical: 0,
            check_restart: None,
            on_update: OnUpdate::RequireHealthy,
        }
    }
}

/// Restart of a task whose check stays critical.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckRestart {
    /// Critical results in a row that cause a restart; 0 turns it off.
    pub limit: u32,
    /// Wait after a (re)start before results count.
    #[serde(with = "nanos")]
    pub grace: Duration,
    /// Whether a warning counts as good.
    pub ignore_warnings: bool,
}

impl Default for CheckRestart {
    fn default() -> Self {
        Self { limit: 0, grace: Duration::from_secs(1), ignore_warnings: false }
    }
}
