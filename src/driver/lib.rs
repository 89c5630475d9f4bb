//! How a task becomes a process or a container, and how the next agent finds it again.
//!
//! The room holds the [`Driver`] trait, which is everything a new driver has to write, the drivers `raw_exec` and
//! `docker`, and the files that a task's output is kept in. Whatever starts here outlives the agent: a task's output is
//! collected and its exit code is kept while no agent is there.
//!
//! What never belongs here: restarts, health, templates, when a task runs (all in `node`), and interpolation. A
//! [`TaskSpec`] arrives fully resolved.

mod cgroup;
mod docker;
mod driver;
mod exec;
mod exit;
mod hardware;
mod isolate;
mod java;
mod logs;
mod raw_exec;
mod settings;
mod shim;

pub use docker::{Cleanup, Docker, DockerOptions, Engine};
pub use driver::{
    Attached, Driver, DriverError, ExecOutput, GroupNetwork, MAX_EXEC_OUTPUT, NetworkHold, Ours,
    Progress, Propagation, TaskDirs, TaskHandle, TaskRoot, TaskSpec, TaskStats, Volume,
};
pub use exec::{Exec, IsolationOptions};
pub use exit::ExitStatus;
pub use hardware::Hardware;
pub use java::Java;
pub use logs::{
    LogChunk, LogCursor, LogError, LogFile, LogFollower, LogGap, LogPosition, LogStart, LogStream,
    LogWriter, log_files, read_logs,
};
pub use raw_exec::{RawExec, RawExecOptions};
pub use shim::{SHIM_ARG, Shims, shim_main};
