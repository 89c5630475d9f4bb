//! The binary: reads the arguments and hands over to the room that does the work.

mod example_server;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Keeps a fleet of machines equal to a Git repository of job files.
#[derive(Parser)]
#[command(
    name = "herder",
    version,
    about,
    propagate_version = true,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an agent: keep this machine equal to a repository of job files
    Agent(Box<agent::AgentArguments>),
    /// Serve a page with its version and a health endpoint, for the examples
    ExampleServer(example_server::ExampleServerArguments),
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> ExitCode {
    // The helper that stays with each task starts from this binary. It must stay small: nothing runs before it.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == driver::SHIM_ARG => return driver::shim_main(arguments),
        Some(first) if first == network::NAMESPACE_ARG => {
            return network::namespace_main(arguments);
        }
        // It locks itself in before it asks the network for anything.
        Some(first) if first == artifact::FETCH_ARG => return artifact::fetch_main(),
        _ => {}
    }
    let matches =
        Arguments::command().get_matches_from(cli::normalised_arguments(std::env::args_os()));
    let parsed = match Arguments::from_arg_matches(&matches) {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    match parsed.command {
        Command::Agent(arguments) => report(agent::run(&arguments)),
        Command::ExampleServer(arguments) => report(example_server::run(&arguments)),
        Command::Client(command) => {
            let offline = cli::Offline { recover: agent::recover, restore: agent::restore };
            cli::run(command, &mut Arguments::command(), &offline)
        }
    }
}

fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::print_error(&error);
            ExitCode::FAILURE
        }
    }
}
