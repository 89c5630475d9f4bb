//! The commands, and who carries them out.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::connection::Connection;
use crate::failure::{Failure, print_error};
use crate::{
    alloc, deployment, explain, fmt, hold, init, job, node, operator, plan, revision_log, server,
    service, status, tls, token, validate,
};

/// Everything but `herder agent`.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Write an example job file
    Init(init::InitArguments),
    /// Bring HCL files into the canonical style
    Fmt(fmt::FmtArguments),
    /// Say what is wrong with job files
    Validate(validate::ValidateArguments),
    /// Show exactly what a change would do
    Plan(plan::PlanArguments),
    /// Show repositories, jobs and what is wrong
    Status(status::StatusArguments),
    /// Say why something runs where it does, what it waits for, and why not elsewhere
    Explain(explain::ExplainArguments),
    /// Look at jobs
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Look at allocations and their logs
    #[command(subcommand)]
    Alloc(alloc::AllocCommand),
    /// Watch, promote and fail deployments
    #[command(subcommand)]
    Deployment(deployment::DeploymentCommand),
    /// Look at the catalog
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// Look at nodes
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Look at servers, and remove one
    #[command(subcommand)]
    Server(server::ServerCommand),
    /// Raft, snapshots and what helps when something is wrong
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// Make, list and revoke what lets machines join
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Make an authority of your own and certificates, without an agent
    #[command(subcommand)]
    Tls(tls::TlsCommand),
    /// See and approve changes that wait for approval
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    /// Show the revisions: who, what, outcome, how long
    Log(revision_log::LogArguments),
    /// Show a task's output (same as `alloc logs`)
    Logs(alloc::LogsArguments),
    /// Show the versions of this program and of the agent
    Version(VersionArguments),
    /// Print completions for a shell
    Completions(CompletionsArguments),
}

/// Flags of `herder version`.
#[derive(Args, Debug)]
pub struct VersionArguments {
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder completions`.
#[derive(Args, Debug)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Carries out a command. `program` is the whole command line's definition, for completions; `offline` is who changes data
/// directories.
pub fn run(command: Command, program: &mut clap::Command, offline: &operator::Offline) -> ExitCode {
    let result = match command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Fmt(arguments) => fmt::run(&arguments),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Job(command) => job::run(&command),
        Command::Alloc(command) => alloc::run(&command),
        Command::Deployment(command) => deployment::run(&command),
        Command::Service(command) => service::run(&command),
        Command::Node(command) => node::run(&command),
        Command::Server(command) => server::run(&command),
        Command::Operator(command) => operator::run(&command, offline),
        Command::Token(command) => token::run(&command),
        Command::Tls(command) => tls::run(&command),
        Command::Hold(command) => hold::run(&command),
        Command::Log(arguments) => revision_log::run(&arguments),
        Command::Logs(arguments) => alloc::logs(&arguments),
        Command::Version(arguments) => version(&arguments),
        Command::Completions(arguments) => {
            let name = program.get_name().to_owned();
            clap_complete::generate(arguments.shell, program, name, &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|failure| {
        print_error(&failure.error);
        ExitCode::from(failure.code)
    })
}

fn version(arguments: &VersionArguments) -> Result<ExitCode, Failure> {
    let ours = env!("CARGO_PKG_VERSION");
    let agent = arguments
        .connection
        .client()
        .and_then(|client| Ok(client.agent_self()?))
        .ok()
        .and_then(|agent| agent.member.tags.get("version").cloned());
    let value = serde_json::json!({ "Version": ours, "Agent": agent });
    arguments.connection.show(&value, || {
        anstream::println!("herder {ours}");
        match &agent {
            Some(agent) => anstream::println!("agent  {agent}"),
            None => anstream::eprintln!("no agent answers at this address"),
        }
    })
}
