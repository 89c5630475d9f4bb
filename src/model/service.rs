//! What a group publishes in the catalog, and how its health is checked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::WorkloadIdentity;
use crate::{nanos, nullable};

/// A name in the catalog with a port and checks. `provider = "consul"` and `"nomad"` both mean the built-in catalog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    /// The published name.
    pub name: String,
    /// Tags.
    #[serde(with = "nullable")]
    pub tags: Vec<String>,
    /// Tags while the allocation is a canary; empty means `tags`.
    #[serde(with = "nullable")]
    pub canary_tags: Vec<String>,
    /// Whether tags may be changed in the catalog itself.
    pub enable_tag_override: bool,
    /// A port label of the group, or a number.
    pub port_label: String,
    /// `auto`, `host`, `driver`, `alloc` or `alloc_ipv6`.
    pub address_mode: String,
    /// An address to publish instead of the node's.
    pub address: String,
    /// Checks.
    #[serde(with = "nullable")]
    pub checks: Vec<Check>,
    /// What the checks start from, as Nomad writes it. Each check holds what came of it.
    pub check_restart: Option<Value>,
    /// The mesh, as Nomad writes it.
    pub connect: Option<Value>,
    /// Published metadata.
    #[serde(with = "nullable")]
    pub meta: BTreeMap<String, String>,
    /// Metadata while the allocation is a canary.
    #[serde(with = "nullable")]
    pub canary_meta: BTreeMap<String, String>,
    /// Addresses by name.
    #[serde(with = "nullable")]
    pub tagged_addresses: BTreeMap<String, String>,
    /// The task that script checks run in, for a group's service.
    pub task_name: String,
    /// How checks count for deployments.
    pub on_update: OnUpdate,
    /// The identity it is registered with.
    pub identity: Option<WorkloadIdentity>,
    /// How much of the traffic it takes.
    pub weights: Option<Weights>,
    /// Kept for the wire: `consul` or `nomad`.
    pub provider: String,
    /// Kept for the wire.
    pub cluster: String,
    /// Kept for the wire.
    pub kind: String,
}

impl Service {
    /// Leaves out of its checks what only spells out a default.
    pub(crate) fn leave_meaning(&mut self) {
        for check in &mut self.checks {
            if check.method == "GET" {
                check.method.clear();
            }
            if check.protocol == "http" {
                check.protocol.clear();
            }
        }
    }
}

/// How much of the traffic an instance takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Weights {
    /// While its checks pass.
    pub passing: i64,
    /// While one of its checks warns.
    pub warning: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
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
    /// script: command.
    pub command: String,
    /// script: arguments.
    #[serde(with = "nullable")]
    pub args: Vec<String>,
    /// http: path and query.
    pub path: String,
    /// http: `http` or `https`; empty for `http`.
    pub protocol: String,
    /// Port label or number; empty for the service's.
    pub port_label: String,
    /// Whether the mesh lets it through.
    pub expose: bool,
    /// Which address it is sent to; empty for the service's.
    pub address_mode: String,
    /// Kept for the wire.
    pub advertise: String,
    /// Time between runs.
    #[serde(with = "nanos")]
    pub interval: Duration,
    /// Time a run may take.
    #[serde(with = "nanos")]
    pub timeout: Duration,
    /// Status before the first result: empty (critical), `passing`, `warning` or `critical`.
    pub initial_status: String,
    /// What people should know of it.
    pub notes: String,
    /// https: the name that the certificate must have.
    #[serde(rename = "TLSServerName")]
    pub tls_server_name: String,
    /// https: accept any certificate.
    #[serde(rename = "TLSSkipVerify")]
    pub tls_skip_verify: bool,
    /// http: headers.
    #[serde(with = "nullable")]
    pub header: BTreeMap<String, Vec<String>>,
    /// http: method; empty for `GET`.
    pub method: String,
    /// Restart of the task when it stays critical.
    pub check_restart: Option<CheckRestart>,
    /// grpc: the service that is asked about.
    #[serde(rename = "GRPCService")]
    pub grpc_service: String,
    /// grpc: over TLS.
    #[serde(rename = "GRPCUseTLS")]
    pub grpc_use_tls: bool,
    /// script: the task it runs in.
    pub task_name: String,
    /// Passing results in a row before it counts as passing.
    pub success_before_passing: u32,
    /// Failing results in a row before it counts as critical.
    pub failures_before_critical: u32,
    /// Failing results in a row before it counts as a warning.
    pub failures_before_warning: u32,
    /// http: body.
    pub body: String,
    /// How it counts for deployments.
    pub on_update: OnUpdate,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: CheckType::Http,
            command: String::new(),
            args: Vec::new(),
            path: String::new(),
            protocol: String::new(),
            port_label: String::new(),
            expose: false,
            address_mode: String::new(),
            advertise: String::new(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            initial_status: String::new(),
            notes: String::new(),
            tls_server_name: String::new(),
            tls_skip_verify: false,
            header: BTreeMap::new(),
            method: String::new(),
            check_restart: None,
            grpc_service: String::new(),
            grpc_use_tls: false,
            task_name: String::new(),
            success_before_passing: 0,
            failures_before_critical: 0,
            failures_before_warning: 0,
            body: String::new(),
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
