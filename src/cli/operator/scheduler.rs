//! `herder operator scheduler …`: how placement chooses.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, Subcommand, ValueEnum};
use model::PlacementAlgorithm;
use model::wire::{PreemptionChange, SchedulerConfigChange};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// `herder operator scheduler …`.
#[derive(Subcommand, Debug)]
pub enum SchedulerCommand {
    /// Show how placement chooses
    GetConfig(GetArguments),
    /// Change how placement chooses; what is not named stays as it is
    SetConfig(SetArguments),
}

/// Flags of `herder operator scheduler get-config`.
#[derive(Args, Debug)]
pub struct GetArguments {
    #[command(flatten)]
    connection: Connection,
}

/// How the better node is found.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Algorithm {
    /// The fuller one
    Binpack,
    /// The emptier one
    Spread,
}

/// Flags of `herder operator scheduler set-config`.
#[derive(Args, Debug)]
pub struct SetArguments {
    /// Which node is the better one: the fuller or the emptier
    #[arg(long, value_enum)]
    scheduler_algorithm: Option<Algorithm>,
    /// Whether tasks may use up to their memory_max
    #[arg(long, value_name = "BOOL")]
    memory_oversubscription: Option<bool>,
    /// Whether system jobs take the room of less important ones
    #[arg(long, value_name = "BOOL")]
    preempt_system_scheduler: Option<bool>,
    /// Whether service jobs do
    #[arg(long, value_name = "BOOL")]
    preempt_service_scheduler: Option<bool>,
    /// Whether batch jobs do
    #[arg(long, value_name = "BOOL")]
    preempt_batch_scheduler: Option<bool>,
    /// Whether sysbatch jobs do
    #[arg(long, value_name = "BOOL")]
    preempt_sysbatch_scheduler: Option<bool>,
    /// Change it only if it last changed at this index, as get-config shows it
    #[arg(long, value_name = "INDEX")]
    check_index: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(command: &SchedulerCommand) -> Result<ExitCode, Failure> {
    match command {
        SchedulerCommand::GetConfig(arguments) => get(&arguments.connection),
        SchedulerCommand::SetConfig(arguments) => set(arguments),
    }
}

fn get(connection: &Connection) -> Result<ExitCode, Failure> {
    let found = connection.client()?.scheduler_config()?;
    connection.show(&found, || {
        let config = found.scheduler_config.config;
        let algorithm = match config.algorithm {
            PlacementAlgorithm::Binpack => "binpack",
            PlacementAlgorithm::Spread => "spread",
        };
        output::pairs([
            ("Scheduler Algorithm", algorithm.to_owned()),
            ("Memory Oversubscription", config.memory_oversubscription.to_string()),
            ("Preemption System Scheduler", config.preemption.system.to_string()),
            ("Preemption Service Scheduler", config.preemption.service.to_string()),
            ("Preemption Batch Scheduler", config.preemption.batch.to_string()),
            ("Preemption SysBatch Scheduler", config.preemption.sysbatch.to_string()),
            ("Modify Index", config.modify_index.to_string()),
        ]);
    })
}

fn set(arguments: &SetArguments) -> Result<ExitCode, Failure> {
    let change = SchedulerConfigChange {
        scheduler_algorithm: arguments.scheduler_algorithm.map(|algorithm| {
            match algorithm {
                Algorithm::Binpack => "binpack",
                Algorithm::Spread => "spread",
            }
            .to_owned()
        }),
        memory_oversubscription_enabled: arguments.memory_oversubscription,
        preemption_config: PreemptionChange {
            system: arguments.preempt_system_scheduler,
            sysbatch: arguments.preempt_sysbatch_scheduler,
            batch: arguments.preempt_batch_scheduler,
            service: arguments.preempt_service_scheduler,
        },
        ..SchedulerConfigChange::default()
    };
    if change == SchedulerConfigChange::default() {
        return Err(anyhow!(
            "nothing to change: name at least one setting, such as -scheduler-algorithm spread"
        )
        .into());
    }
    let connection = &arguments.connection;
    let done = connection.client()?.set_scheduler_config(&change, arguments.check_index)?;
    if !done.updated {
        return Err(anyhow!(
            "the scheduler configuration changed meanwhile; look at it with `herder operator scheduler get-config` and \
             use its index"
        )
        .into());
    }
    connection.show(&done, || anstream::eprintln!("scheduler configuration updated"))
}
