//! `herder node …`.

mod drain;
pub(crate) mod purge;
mod usage;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use client::Listing;
use model::wire::NodeView;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// `herder node …`.
#[derive(Subcommand, Debug)]
pub enum NodeCommand {
    /// List the nodes, or show one
    Status(StatusArguments),
    /// Empty a node: move its allocations elsewhere
    Drain(drain::DrainArguments),
    /// Say whether new allocations may come to a node
    Eligibility(drain::EligibilityArguments),
    /// Remove a node from the cluster, for good
    Purge(purge::PurgeArguments),
    /// Show whose loss is held because too many fell silent at once
    Lost(purge::LostArguments),
}

/// Flags of `herder node status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// The node's ID or the beginning of it; all nodes without it
    node: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(command: &NodeCommand) -> Result<ExitCode, Failure> {
    match command {
        NodeCommand::Status(arguments) => match &arguments.node {
            Some(node) => one(&arguments.connection, node),
            None => list(&arguments.connection),
        },
        NodeCommand::Drain(arguments) => drain::drain(arguments),
        NodeCommand::Eligibility(arguments) => drain::eligibility(arguments),
        NodeCommand::Purge(arguments) => purge::purge(arguments),
        NodeCommand::Lost(arguments) => purge::lost(arguments),
    }
}

/// How a node is being emptied, or was the last time, in words.
fn drain_words(node: &NodeView) -> String {
    match (&node.drain_strategy, &node.last_drain) {
        (Some(drain), _) if drain.deadline < 0 => "at once".to_owned(),
        (Some(drain), _) if drain.deadline == 0 => "without a deadline".to_owned(),
        (Some(drain), _) => format!("until {}", output::date(drain.force_deadline)),
        (None, Some(last)) => {
            format!("{} {}", last.status.as_str(), output::date(last.updated_at))
        }
        (None, None) => "false".to_owned(),
    }
}

fn list(connection: &Connection) -> Result<ExitCode, Failure> {
    let nodes = connection
        .client()?
        .nodes(&Listing { resources: true, ..Listing::default() })?
        .into_value();
    connection.show(&nodes, || {
        output::table(
            &["ID", "Node Pool", "DC", "Name", "Class", "Drain", "Eligibility", "Status"],
            nodes.iter().map(|node| {
                vec![
                    connection.id(node.id),
                    node.node_pool.clone(),
                    node.datacenter.clone(),
                    node.name.clone(),
                    node.node_class.clone(),
                    node.drain.to_string(),
                    node.scheduling_eligibility.as_str().to_owned(),
                    node.status.as_str().to_owned(),
                ]
            }),
        );
    })
}

fn one(connection: &Connection, prefix: &str) -> Result<ExitCode, Failure> {
    let client = connection.client()?;
    let node = client.node(client.node_id(prefix)?)?.into_value();
    let allocs = client.node_allocations(node.id)?.into_value();
    connection.show(&node, || {
        output::pairs([
            ("ID", node.id.to_string()),
            ("Name", node.name.clone()),
            ("Address", node.address.clone()),
            ("Class", node.node_class.clone()),
            ("DC", node.datacenter.clone()),
            ("Node Pool", node.node_pool.clone()),
            ("Drain", drain_words(&node)),
            ("Eligibility", node.scheduling_eligibility.as_str().to_owned()),
            ("Status", node.status.as_str().to_owned()),
            ("Version", node.version.clone()),
            ("CPU", format!("{} MHz", node.node_resources.cpu.cpu_shares)),
            ("Memory", format!("{} MiB", node.node_resources.memory.memory_mb)),
            ("Disk", format!("{} MiB", node.node_resources.disk.disk_mb)),
        ]);
        usage::allocated(&node, &allocs);
        // Only the agent that was asked can tell, and only of its own machine.
        if let Ok(stats) = client.host_usage(node.id) {
            usage::host(&node, &stats);
        }
        if !node.host_volumes.is_empty() {
            output::heading("Host Volumes");
            output::table(
                &["Name", "Read Only", "Path"],
                node.host_volumes.values().map(|volume| {
                    let read_only = volume.read_only.to_string();
                    vec![volume.name.clone(), read_only, volume.path.clone()]
                }),
            );
        }
        output::heading("Drivers");
        output::table(
            &["Driver", "Detected", "Healthy", "Message"],
            node.drivers.iter().map(|(name, driver)| {
                vec![
                    name.clone(),
                    driver.detected.to_string(),
                    driver.healthy.to_string(),
                    driver.health_description.clone(),
                ]
            }),
        );
        output::heading("Node Events");
        output::table(
            &["Time", "Subsystem", "Message"],
            node.events.iter().rev().map(|event| {
                let time = output::date(event.timestamp);
                vec![time, event.subsystem.clone(), event.message.clone()]
            }),
        );
        if connection.verbose() {
            output::heading("Attributes");
            output::pairs(node.attributes.iter().map(|(key, value)| (key.as_str(), value.clone())));
        }
        output::heading("Allocations");
        let stubs: Vec<_> = allocs.iter().map(|alloc| &alloc.stub).collect();
        crate::alloc::table(connection, &stubs);
    })
}
