//! `herder node drain` and `herder node eligibility`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args};
use client::Client;
use model::wire::{AllocationView, DrainSpec, NodeView};
use model::{AllocId, ClientStatus, DesiredStatus, DrainStatus, Eligibility, NodeId};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// How long one question to the agent waits for a change.
const WAIT: Duration = Duration::from_secs(1);

/// Flags of `herder node drain`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("action").required(true).args(["enable", "disable", "monitor"])))]
pub struct DrainArguments {
    /// The node's ID or the beginning of it, or its name
    #[arg(required_unless_present = "own")]
    node: Option<String>,
    /// The node of the agent that is asked
    #[arg(long = "self", conflicts_with = "node")]
    own: bool,
    /// Empty the node: its allocations move, and nothing new comes
    #[arg(long)]
    enable: bool,
    /// End that
    #[arg(long)]
    disable: bool,
    /// Only watch
    #[arg(long)]
    monitor: bool,
    /// How long allocations may take to leave; what is left then is stopped
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = duration)]
    deadline: Duration,
    /// Stop everything at once
    #[arg(long, conflicts_with_all = ["deadline", "no_deadline"])]
    force: bool,
    /// Wait for as long as it takes
    #[arg(long, conflicts_with = "deadline")]
    no_deadline: bool,
    /// Leave allocations of system jobs alone
    #[arg(long)]
    ignore_system: bool,
    /// With -disable: nothing new comes all the same
    #[arg(long, requires = "disable")]
    keep_ineligible: bool,
    /// Return at once instead of watching
    #[arg(long)]
    detach: bool,
    /// Taken as Nomad's flag is: nothing is asked
    #[arg(long, short, hide = true)]
    yes: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder node eligibility`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("action").required(true).args(["enable", "disable"])))]
pub struct EligibilityArguments {
    /// The node's ID or the beginning of it, or its name
    #[arg(required_unless_present = "own")]
    node: Option<String>,
    /// The node of the agent that is asked
    #[arg(long = "self", conflicts_with = "node")]
    own: bool,
    /// New allocations may come
    #[arg(long)]
    enable: bool,
    /// None may; what runs goes on
    #[arg(long)]
    disable: bool,
    #[command(flatten)]
    connection: Connection,
}

fn duration(text: &str) -> Result<Duration, String> {
    match model::parse_duration(text) {
        Ok(span) if !span.is_zero() => Ok(span),
        Ok(_) => Err("a deadline is longer than nothing; see -force and -no-deadline".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The node that is named, or that of the agent that is asked.
fn which(client: &Client, named: Option<&str>) -> Result<NodeId, Failure> {
    let Some(name) = named else {
        let own = client.agent_self()?;
        let id = own.stats.get("client").and_then(|client| client.get("node_id"));
        return id.and_then(|id| id.parse().ok()).ok_or_else(|| {
            anyhow::anyhow!("the agent at {} does not say which node it is", client.address())
                .into()
        });
    };
    Ok(client.node_id(name)?)
}

pub(super) fn drain(arguments: &DrainArguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let client = connection.client()?;
    let id = which(&client, arguments.node.as_deref())?;
    if arguments.disable {
        client.drain_node(id, None, !arguments.keep_ineligible)?;
        anstream::eprintln!("node {id} is not emptied any more");
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.enable {
        let deadline = if arguments.force {
            -1
        } else if arguments.no_deadline {
            0
        } else {
            i64::try_from(arguments.deadline.as_nanos()).unwrap_or(i64::MAX)
        };
        let spec = DrainSpec { deadline, ignore_system_jobs: arguments.ignore_system };
        client.drain_node(id, Some(spec), false)?;
        anstream::eprintln!("node {id} is emptied, and nothing new comes to it");
        if arguments.detach {
            return Ok(ExitCode::SUCCESS);
        }
        anstream::eprintln!("watching; ^C ends that and not the drain");
    }
    watch(connection, &client, id)
}

pub(super) fn eligibility(arguments: &EligibilityArguments) -> Result<ExitCode, Failure> {
    let client = arguments.connection.client()?;
    let id = which(&client, arguments.node.as_deref())?;
    let to = if arguments.enable { Eligibility::Eligible } else { Eligibility::Ineligible };
    client.set_eligibility(id, to)?;
    anstream::eprintln!("node {id} is {} for new allocations", to.as_str());
    Ok(ExitCode::SUCCESS)
}

/// Tells what leaves until the node is empty. Exit code 0 if it is, 1 if somebody ended the drain before.
fn watch(connection: &Connection, client: &Client, id: NodeId) -> Result<ExitCode, Failure> {
    let mut known = BTreeMap::new();
    let mut node = client.node(id)?.into_value();
    loop {
        // First whether it goes on, then what left: so that nothing that left is missed.
        let allocs = client.node_allocations(id)?.into_value();
        for line in news(&allocs, &mut known, connection) {
            anstream::println!("{line}");
        }
        if !node.drain {
            return Ok(ended(&node));
        }
        let newest = allocs.iter().map(|alloc| alloc.stub.modify_index).max().unwrap_or_default();
        let waiting = client.wait(newest.max(node.modify_index), WAIT);
        drop(waiting.node_allocations(id)?);
        node = client.node(id)?.into_value();
    }
}

fn ended(node: &NodeView) -> ExitCode {
    match node.last_drain.as_ref().map(|last| last.status) {
        Some(DrainStatus::Complete) => {
            anstream::println!("{}", output::styled(output::GREEN, "the node is empty"));
            ExitCode::SUCCESS
        }
        Some(DrainStatus::Canceled | DrainStatus::Draining) => {
            anstream::println!("{}", output::styled(output::YELLOW, "the drain was ended"));
            ExitCode::FAILURE
        }
        None => {
            anstream::println!("the node is not being emptied");
            ExitCode::FAILURE
        }
    }
}

type Standing = (DesiredStatus, ClientStatus);

/// What changed since the last look, a line for each allocation that leaves.
fn news(
    allocs: &[AllocationView],
    known: &mut BTreeMap<AllocId, Standing>,
    connection: &Connection,
) -> Vec<String> {
    let first = known.is_empty();
    let mut lines = Vec::new();
    for alloc in allocs {
        let stub = &alloc.stub;
        let standing = (stub.desired_status, stub.client_status);
        let before = known.insert(stub.id, standing);
        let over = stub.client_status.is_terminal();
        if before == Some(standing) || (before.is_none() && over) {
            continue;
        }
        let words = match (stub.desired_status, over) {
            (_, true) => format!("is {}", stub.client_status.as_str()),
            (DesiredStatus::Run, false) if first => "is still here".to_owned(),
            (DesiredStatus::Run, false) => continue,
            (_, false) => "stops".to_owned(),
        };
        lines.push(format!("allocation {} ({}) {words}", connection.id(stub.id), stub.name));
    }
    lines
}
