//! `herder operator …`: the servers themselves.

mod debug;
mod raft;
mod scheduler;
mod snapshot;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;

/// `herder operator …`.
#[derive(Subcommand, Debug)]
pub enum OperatorCommand {
    /// Look at Raft, and put it right
    #[command(subcommand)]
    Raft(raft::RaftCommand),
    /// See and change how placement chooses
    #[command(subcommand)]
    Scheduler(scheduler::SchedulerCommand),
    /// Keep the whole state in a file, and bring it back
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
    /// Collect what helps to find out what is wrong, without secrets
    Debug(debug::DebugArguments),
}

/// What is done to a data directory while no agent runs on it. The commands know nothing of its inside.
pub struct Offline {
    /// Makes the server that owns the directory the only voter of what it has; says in words what was done.
    pub recover: fn(data_dir: &Path) -> anyhow::Result<String>,
    /// Puts a state, as a snapshot file holds it, into the directory; says in words what was done.
    pub restore: fn(data_dir: &Path, state: &[u8]) -> anyhow::Result<String>,
}

pub(crate) fn run(command: &OperatorCommand, offline: &Offline) -> Result<ExitCode, Failure> {
    match command {
        OperatorCommand::Raft(command) => raft::run(command, offline),
        OperatorCommand::Scheduler(command) => scheduler::run(command),
        OperatorCommand::Snapshot(command) => snapshot::run(command, offline),
        OperatorCommand::Debug(arguments) => debug::run(arguments),
    }
}
