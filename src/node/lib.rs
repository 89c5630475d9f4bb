//! Runs the allocations of one node: task lifecycle, restarts, health checks, the deployment's verdict, and finding
//! everything again after the agent was restarted or killed.
//!
//! ```text
//!  Upstream::assignments ──▶ runtime ──watch──▶ runner (one per allocation) ──▶ driver
//!                                                 │  lifecycle · restart · health · check   (pure)
//!                                                 │  record: what must survive, written before each act
//!  Upstream::report ◀──batch── reports ◀──────────┘
//! ```
//!
//! A runner owns its allocation's state. It asks the pure machines what follows from what happened, writes the record,
//! and only then acts. Nothing here waits for a server: with every server dead, tasks run on and checks go on.
//!
//! What never belongs here: placement, how a process or container is made (`driver`), what a service looks like to the
//! catalog (`catalog`), and any decision about another node.

mod audit;
mod check;
mod contact;
mod dirs;
#[cfg(test)]
mod fake;
mod files;
mod fingerprint;
mod garbage;
mod hardware;
mod health;
mod inquiry;
mod ledger;
mod lifecycle;
mod networks;
mod options;
mod orders;
mod prepare;
mod record;
mod reports;
mod repository;
mod restart;
mod runner;
mod runtime;
mod shipping;
mod stats;
mod task_env;
mod upstream;
mod usage;

pub use contact::Contact;
pub use dirs::DirError;
pub use files::{FileError, FileInfo};
pub use fingerprint::{
    DeviceSettings, HostNetworkSettings, NodeSettings, adopt_node_id, find_devices, fingerprint,
    load_or_create_node_id, total_compute,
};
pub use garbage::GarbageLimits;
pub use inquiry::{Facts, WhyNoLogs};
pub use model::AllocReport;
pub use options::{Clock, Options, system_clock};
pub use orders::OrderError;
pub use record::RecordError;
pub use repository::RepositoryFiles;
pub use runtime::{NodeError, NodeRuntime};
pub use shipping::{
    Facility, LogReceiver, LogSource, LogSources, OtlpOptions, Shipping, SyslogAddress,
    SyslogOptions,
};
pub use stats::{AllocUsage, CpuUse, HostUsage, TaskUsage};
pub use upstream::{Assignment, Upstream, UpstreamError};
pub use usage::{DiskUse, disk_use};
