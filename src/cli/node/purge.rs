//! `herder node purge`, `herder server remove` and `herder node lost`.

use std::process::ExitCode;

use clap::Args;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// Flags of `herder node purge` and `herder server remove`.
#[derive(Args, Debug)]
pub struct PurgeArguments {
    /// The node's ID or the beginning of it, or its name
    node: String,
    /// Remove it although it answers; its tasks may go on beside their replacements
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder node lost`.
#[derive(Args, Debug)]
pub struct LostArguments {
    /// They are lost indeed: replace what ran on them
    #[arg(long)]
    approve: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn purge(arguments: &PurgeArguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let client = connection.client()?;
    let node = client.node(client.node_id(&arguments.node)?)?.into_value();
    let done = client.purge_node(node.id, arguments.force)?;
    connection.show(&done, || {
        anstream::eprintln!(
            "node {} ({}) is no part of the cluster any more: it is let in no more, and loses its vote if it had one",
            node.name,
            connection.id(node.id)
        );
    })
}

pub(super) fn lost(arguments: &LostArguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let client = connection.client()?;
    if arguments.approve {
        let done = client.approve_losses()?;
        return connection.show(&done, || match done.approved {
            0 => anstream::eprintln!("no loss is held"),
            count => anstream::eprintln!("{count} nodes are lost; what ran there is replaced"),
        });
    }
    let found = client.lost_nodes()?;
    connection.show(&found, || {
        output::pairs([
            ("Listening", found.listening.to_string()),
            ("Lost lately", found.declared.to_string()),
            ("Allowed", found.allowed.to_string()),
            ("Held", found.held.len().to_string()),
        ]);
        if found.held.is_empty() {
            return;
        }
        anstream::println!("\n{}", found.message);
        output::heading("Held");
        let rows = found.held.iter().map(|node| vec![connection.id(node.id), node.name.clone()]);
        output::table(&["ID", "Name"], rows);
        anstream::eprintln!("if they are lost indeed: herder node lost -approve");
    })
}
