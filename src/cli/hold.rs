//! `herder hold …`: changes that wait for somebody's approval.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// `herder hold …`.
#[derive(Subcommand, Debug)]
pub enum HoldCommand {
    /// List what waits
    List(ListArguments),
    /// Let it go on: the jobs whose files are gone stop
    Approve(ApproveArguments),
}

/// Flags of `herder hold list`.
#[derive(Args, Debug)]
pub struct ListArguments {
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder hold approve`.
#[derive(Args, Debug)]
pub struct ApproveArguments {
    /// Only these jobs; all that wait without any
    jobs: Vec<String>,
    /// The repository, where there are several
    #[arg(long)]
    repo: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(command: &HoldCommand) -> Result<ExitCode, Failure> {
    match command {
        HoldCommand::List(arguments) => list(&arguments.connection),
        HoldCommand::Approve(arguments) => {
            let jobs = arguments.jobs.iter().map(|job| job.as_str().into()).collect();
            arguments.connection.client()?.approve_removals(arguments.repo.as_deref(), jobs)?;
            anstream::eprintln!("approved; the jobs stop now");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list(connection: &Connection) -> Result<ExitCode, Failure> {
    let status = connection.client()?.gitops_status(None)?.into_value();
    let held: Vec<_> = status
        .repos
        .iter()
        .flat_map(|repo| repo.held.iter().map(|held| (&repo.name, held)))
        .collect();
    let json: Vec<_> = held.iter().map(|(_, held)| held).collect();
    connection.show(&json, || {
        if held.is_empty() {
            anstream::eprintln!("nothing waits for approval");
            return;
        }
        output::table(
            &["Repository", "Job", "File that is gone"],
            held.iter().map(|(repo, held)| {
                let job = held.job.as_ref().map(ToString::to_string).unwrap_or_default();
                vec![(*repo).clone(), job, held.path.clone()]
            }),
        );
    })
}
