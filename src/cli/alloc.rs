//! `herder alloc …`: allocations and their output.

mod act;
mod files;
mod usage;

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use client::{Listing, LogOrigin, LogQuery, LogSource};
use model::wire::{AllocListStub, AllocResourceUsage, AllocationView};
use model::{ClientStatus, DesiredStatus, TaskRunState};

use crate::connection::Connection;
use crate::explain;
use crate::failure::Failure;
use crate::job_logs;
use crate::output::{self, BOLD, styled};

/// `herder alloc …`.
#[derive(Subcommand, Debug)]
pub enum AllocCommand {
    /// Show an allocation: its tasks, checks and what happened
    Status(StatusArguments),
    /// Show a task's output
    Logs(LogsArguments),
    /// List a directory of an allocation, or print a file
    Fs(files::FilesArguments),
    /// Start tasks again that run
    Restart(act::RestartArguments),
    /// Send a signal to tasks that run
    Signal(act::SignalArguments),
    /// Stop an allocation; its job brings another one if it wants it
    Stop(act::StopArguments),
}

/// Flags of `herder alloc status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// The allocation's ID or the beginning of it; all allocations without it
    alloc: Option<String>,
    /// Show in detail what its tasks use
    #[arg(long)]
    stats: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder alloc logs`.
#[derive(Args, Debug)]
pub struct LogsArguments {
    /// The allocation's ID or the beginning of it; with --job, a job
    alloc: String,
    /// The task; may be left out where the allocation has only one
    task: Option<String>,
    /// Go on with what is written from now on
    #[arg(long, short)]
    follow: bool,
    /// Standard error instead of standard output
    #[arg(long)]
    stderr: bool,
    /// Begin with the last lines, ten unless -n says how many
    #[arg(long)]
    tail: bool,
    /// Begin this many lines before the end
    #[arg(short = 'n', value_name = "LINES", conflicts_with = "bytes")]
    lines: Option<u32>,
    /// Begin this many bytes before the end
    #[arg(short = 'c', value_name = "BYTES")]
    bytes: Option<u64>,
    /// Show the logs of all allocations of this job that run, each line with the allocation and task it is of
    #[arg(long)]
    job: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(command: &AllocCommand) -> Result<ExitCode, Failure> {
    match command {
        AllocCommand::Status(arguments) => match &arguments.alloc {
            Some(alloc) => show(arguments, alloc),
            None => list(&arguments.connection),
        },
        AllocCommand::Logs(arguments) => logs(arguments),
        AllocCommand::Fs(arguments) => files::files(arguments),
        AllocCommand::Restart(arguments) => act::restart(arguments),
        AllocCommand::Signal(arguments) => act::signal(arguments),
        AllocCommand::Stop(arguments) => act::stop(arguments),
    }
}

fn list(connection: &Connection) -> Result<ExitCode, Failure> {
    let allocs = connection.client()?.allocations(&Listing::default())?.into_value();
    connection.show(&allocs, || {
        let stubs: Vec<_> = allocs.iter().collect();
        table(connection, &stubs);
    })
}

/// Prints allocations, newest first.
pub(crate) fn table(connection: &Connection, allocs: &[&AllocListStub]) {
    if allocs.is_empty() {
        anstream::println!("none");
        return;
    }
    let mut allocs = allocs.to_vec();
    allocs.sort_by(|a, b| b.create_index.cmp(&a.create_index).then_with(|| a.name.cmp(&b.name)));
    output::table(
        &[
            "ID",
            "Node",
            "Task Group",
            "Version",
            "Desired",
            "Status",
            "Health",
            "Created",
            "Modified",
        ],
        allocs.iter().map(|alloc| {
            vec![
                connection.id(alloc.id),
                alloc.node_name.clone(),
                alloc
                    .name
                    .rsplit_once('.')
                    .map_or(alloc.name.as_str(), |(_, name)| name)
                    .to_owned(),
                alloc.job_version.to_string(),
                desired(alloc.desired_status).to_owned(),
                output::client_status(alloc.client_status),
                health(alloc).to_owned(),
                output::ago(alloc.create_time),
                output::ago(alloc.modify_time),
            ]
        }),
    );
}

fn desired(desired: DesiredStatus) -> &'static str {
    match desired {
        DesiredStatus::Run => "run",
        DesiredStatus::Stop => "stop",
        DesiredStatus::Evict => "evict",
    }
}

fn health(alloc: &AllocListStub) -> &'static str {
    match alloc.deployment_status.as_ref().and_then(|status| status.healthy) {
        Some(true) => "healthy",
        Some(false) => "unhealthy",
        None if alloc.deployment_id.is_some() && alloc.client_status == ClientStatus::Running => {
            "waiting"
        }
        None => "",
    }
}

fn show(arguments: &StatusArguments, prefix: &str) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let client = connection.client()?;
    let alloc = client.allocation(client.alloc_id(prefix)?)?.into_value();
    connection.show(&alloc, || {
        let runs = alloc.stub.client_status == ClientStatus::Running;
        // What it uses is an extra: its node may not answer.
        let usage = runs.then(|| client.allocation_usage(alloc.stub.id).ok()).flatten();
        describe(connection, &alloc, usage.as_ref(), arguments.stats);
    })
}

fn describe(
    connection: &Connection,
    alloc: &AllocationView,
    usage: Option<&AllocResourceUsage>,
    in_detail: bool,
) {
    let stub = &alloc.stub;
    let optional = |id: Option<String>| id.map(|id| connection.id(id)).unwrap_or_default();
    let status = stub.deployment_status.as_ref();
    output::pairs([
        ("ID", stub.id.to_string()),
        ("Eval ID", connection.id(stub.eval_id)),
        ("Name", stub.name.clone()),
        ("Node ID", connection.id(stub.node_id)),
        ("Node Name", stub.node_name.clone()),
        ("Job ID", stub.job_id.to_string()),
        ("Job Version", stub.job_version.to_string()),
        ("Commit", stub.origin.commit.to_string()),
        ("File", stub.origin.path.clone()),
        ("Client Status", output::client_status(stub.client_status)),
        ("Client Description", stub.client_description.clone()),
        ("Desired Status", desired(stub.desired_status).to_owned()),
        ("Desired Description", stub.desired_description.clone()),
        ("Created", output::ago(stub.create_time)),
        ("Modified", output::ago(stub.modify_time)),
        ("Deployment ID", optional(stub.deployment_id.map(|id| id.to_string()))),
        ("Deployment Health", health(stub).to_owned()),
        ("Why", status.map(|status| status.reason.clone()).unwrap_or_default()),
        (
            "Canary",
            status.filter(|status| status.canary).map(|_| "true".to_owned()).unwrap_or_default(),
        ),
        ("Replaces", optional(stub.previous_allocation.map(|id| id.to_string()))),
        ("Replacement Alloc ID", optional(stub.next_allocation.map(|id| id.to_string()))),
        ("Placed because", alloc.metrics.reason.clone()),
    ]);
    let ports =
        stub.allocated_resources.as_ref().map(|resources| resources.shared.ports.as_slice());
    if let Some(ports) = ports.filter(|ports| !ports.is_empty()) {
        output::heading("Allocation Addresses");
        output::table(
            &["Label", "Address", "To"],
            ports.iter().map(|port| {
                let to = if port.to == port.value { String::new() } else { port.to.to_string() };
                vec![port.label.to_string(), format!("{}:{}", port.host_ip, port.value), to]
            }),
        );
    }
    if !alloc.checks.is_empty() {
        output::heading("Checks");
        output::table(
            &["Service", "Check", "Status", "Since", "Output"],
            alloc.checks.values().map(|check| {
                vec![
                    check.service.clone(),
                    check.name.clone(),
                    output::check_status(check.status.as_str()),
                    output::ago(check.since),
                    check.output.lines().next().unwrap_or_default().chars().take(200).collect(),
                ]
            }),
        );
    }
    for (name, task) in &stub.task_states {
        let state = match task.state {
            TaskRunState::Pending => "pending",
            TaskRunState::Running => "running",
            TaskRunState::Dead if task.failed => "dead (failed)",
            TaskRunState::Dead => "dead",
        };
        anstream::println!("\n{}", styled(BOLD, format!("Task \"{name}\" is \"{state}\"")));
        output::pairs([
            ("Started At", output::date(task.started_at)),
            ("Finished At", output::date(task.finished_at)),
            ("Total Restarts", task.restarts.to_string()),
        ]);
        usage::of_task(alloc, name, usage);
        if in_detail && let Some(task) = usage.and_then(|usage| usage.tasks.get(name)) {
            usage::in_detail(task);
        }
        output::heading("Recent Events");
        output::table(
            &["Time", "Type", "Description"],
            task.events.iter().rev().map(|event| {
                vec![output::date(event.time), event.kind.clone(), event.display_message.clone()]
            }),
        );
    }
    if connection.verbose() {
        placement(connection, alloc);
    }
}

/// What the scheduler saw when it chose the node.
fn placement(connection: &Connection, alloc: &AllocationView) {
    let metrics = &alloc.metrics;
    if metrics.nodes_evaluated == 0 && metrics.score_meta_data.is_empty() {
        return;
    }
    output::heading("Placement Metrics");
    anstream::println!("{} looked at", explain::nodes(metrics.nodes_evaluated));
    let (filtered, exhausted) = (&metrics.constraint_filtered, &metrics.dimension_exhausted);
    for line in explain::refusals(filtered, exhausted) {
        anstream::println!("  {line}");
    }
    if !metrics.score_meta_data.is_empty() {
        output::table(
            &["Node", "Score", "Parts"],
            metrics.score_meta_data.iter().map(|score| {
                vec![
                    connection.id(score.node),
                    format!("{:.3}", score.total),
                    explain::parts(score),
                ]
            }),
        );
    }
}

/// `herder alloc logs` and `herder logs`.
pub(crate) fn logs(arguments: &LogsArguments) -> Result<ExitCode, Failure> {
    let client = arguments.connection.client()?;
    if arguments.job {
        let query = query(arguments, arguments.task.clone().unwrap_or_default());
        return job_logs::show(&client, &arguments.alloc, &query);
    }
    let alloc = client.allocation(client.alloc_id(&arguments.alloc)?)?.into_value();
    let task = match (&arguments.task, alloc.stub.task_states.len()) {
        (Some(task), _) => task.clone(),
        (None, 1) => alloc.stub.task_states.keys().next().cloned().unwrap_or_default(),
        (None, 0) => {
            return Err(
                anyhow!("allocation {} has not started a task yet", alloc.stub.id.short()).into()
            );
        }
        (None, _) => {
            let names: Vec<_> = alloc.stub.task_states.keys().cloned().collect();
            return Err(anyhow!(
                "the allocation has several tasks, name one of them: {}",
                names.join(", ")
            )
            .into());
        }
    };
    let query = query(arguments, task);
    let mut reader = client.logs(alloc.stub.id, &query)?;
    let mut out = std::io::stdout().lock();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = reader.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        // Whoever reads us may stop before we do.
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What of a log the flags ask for.
fn query(arguments: &LogsArguments, task: String) -> LogQuery {
    let from_end = arguments.bytes.is_some();
    LogQuery {
        task,
        source: if arguments.stderr { LogSource::Stderr } else { LogSource::Stdout },
        follow: arguments.follow,
        origin: if from_end { LogOrigin::End } else { LogOrigin::Start },
        offset: arguments.bytes.unwrap_or(0),
        lines: arguments.lines.or(if arguments.tail && !from_end { Some(10) } else { None }),
    }
}
