//! `herder operator raft …`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use model::wire::RaftServer;

use super::Offline;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// `herder operator raft …`.
#[derive(Subcommand, Debug)]
pub enum RaftCommand {
    /// List the servers that take part
    ListPeers(ListArguments),
    /// Let another server lead
    TransferLeadership(TransferArguments),
    /// Take a server out that will not come back; a node that answers comes back by itself
    RemovePeer(RemoveArguments),
    /// After a quorum was lost for good: make this machine's server the only voter of what it has. Its agent must not
    /// run
    Recover(RecoverArguments),
}

/// Flags of `herder operator raft list-peers`.
#[derive(Args, Debug)]
pub struct ListArguments {
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder operator raft transfer-leadership`.
#[derive(Args, Debug)]
pub struct TransferArguments {
    /// The node's ID or the server's number; the one that is furthest without it
    #[arg(long, value_name = "ID")]
    peer_id: Option<String>,
    /// The server's address instead
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "peer_id")]
    peer_address: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder operator raft remove-peer`.
#[derive(Args, Debug)]
pub struct RemoveArguments {
    /// The node's ID or the server's number
    #[arg(long, value_name = "ID", required_unless_present = "peer_address")]
    peer_id: Option<String>,
    /// The server's address instead
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "peer_id")]
    peer_address: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder operator raft recover`.
#[derive(Args, Debug)]
pub struct RecoverArguments {
    /// The server's data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Print JSON instead of words
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &RaftCommand, offline: &Offline) -> Result<ExitCode, Failure> {
    match command {
        RaftCommand::ListPeers(arguments) => list(&arguments.connection),
        RaftCommand::TransferLeadership(arguments) => {
            let to = arguments.peer_id.as_deref().or(arguments.peer_address.as_deref());
            let connection = &arguments.connection;
            let done = connection.client()?.transfer_leadership(to)?;
            connection.show(&done, || {
                if done.noop {
                    anstream::eprintln!("server {} leads already", done.to.address);
                } else {
                    anstream::eprintln!("server {} leads now", done.to.address);
                }
            })
        }
        RaftCommand::RemovePeer(arguments) => {
            let named = arguments.peer_id.as_deref().or(arguments.peer_address.as_deref());
            let named = named.unwrap_or_default();
            let connection = &arguments.connection;
            connection.client()?.remove_peer(named)?;
            connection.show(&serde_json::json!({ "Removed": named }), || {
                anstream::eprintln!("server {named} takes no part in Raft any more");
            })
        }
        RaftCommand::Recover(arguments) => {
            let words = (offline.recover)(&arguments.data_dir)?;
            super::snapshot::said(&words, arguments.json)
        }
    }
}

fn list(connection: &Connection) -> Result<ExitCode, Failure> {
    let found = connection.client()?.raft_configuration()?;
    connection.show(&found, || {
        output::table(
            &["Node", "ID", "Address", "State", "Voter", "Number", "Last contact", "Index"],
            found.servers.iter().map(|server| row(server, connection)),
        );
    })
}

fn row(server: &RaftServer, connection: &Connection) -> Vec<String> {
    let contact = match server.last_contact {
        _ if server.leader => String::new(),
        Some(nanos) => output::span(Duration::from_millis(nanos / 1_000_000)),
        None => "-".to_owned(),
    };
    vec![
        server.node.clone(),
        connection.id(&server.id),
        server.address.clone(),
        if server.leader { "leader" } else { "follower" }.to_owned(),
        server.voter.to_string(),
        server.number.to_string(),
        contact,
        server.match_index.map_or_else(|| "-".to_owned(), |index| index.to_string()),
    ]
}
