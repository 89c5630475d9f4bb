//! Restarts, signals and stops.

use std::process::ExitCode;

use clap::Args;

use crate::connection::Connection;
use crate::failure::Failure;

/// Flags of `herder alloc restart`.
#[derive(Args, Debug)]
pub struct RestartArguments {
    /// The allocation's ID or the beginning of it
    alloc: String,
    /// The task; all that run without it
    task: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder alloc signal`.
#[derive(Args, Debug)]
pub struct SignalArguments {
    /// The allocation's ID or the beginning of it
    alloc: String,
    /// The task; all that run without it
    task: Option<String>,
    /// The signal
    #[arg(short, default_value = "SIGKILL", value_name = "SIGNAL")]
    signal: String,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder alloc stop`.
#[derive(Args, Debug)]
pub struct StopArguments {
    /// The allocation's ID or the beginning of it
    alloc: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn restart(arguments: &RestartArguments) -> Result<ExitCode, Failure> {
    let client = arguments.connection.client()?;
    let id = client.alloc_id(&arguments.alloc)?;
    client.restart_allocation(id, arguments.task.as_deref())?;
    let text = || anstream::println!("allocation {} is being restarted", id.short());
    arguments.connection.show(&serde_json::json!({ "ID": id }), text)
}

pub(crate) fn signal(arguments: &SignalArguments) -> Result<ExitCode, Failure> {
    let client = arguments.connection.client()?;
    let id = client.alloc_id(&arguments.alloc)?;
    client.signal_allocation(id, arguments.task.as_deref(), &arguments.signal)?;
    let text = || anstream::println!("{} was sent to allocation {}", arguments.signal, id.short());
    arguments.connection.show(&serde_json::json!({ "ID": id }), text)
}

pub(crate) fn stop(arguments: &StopArguments) -> Result<ExitCode, Failure> {
    let client = arguments.connection.client()?;
    let id = client.alloc_id(&arguments.alloc)?;
    let answer = client.stop_allocation(id)?;
    arguments.connection.show(&answer, || {
        anstream::println!(
            "allocation {} is told to stop; its job brings another one if it wants it",
            id.short()
        );
    })
}
