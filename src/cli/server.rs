//! `herder server …`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::wire::AgentMember;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::node::purge::{PurgeArguments, purge};
use crate::output;

/// `herder server …`.
#[derive(Subcommand, Debug)]
pub enum ServerCommand {
    /// List the servers
    Members(MembersArguments),
    /// Remove a server's node from the cluster, for good (same as `node purge`)
    Remove(PurgeArguments),
}

/// Flags of `herder server members`.
#[derive(Args, Debug)]
pub struct MembersArguments {
    /// List the agents that are no servers, too
    #[arg(long)]
    workers: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(command: &ServerCommand) -> Result<ExitCode, Failure> {
    match command {
        ServerCommand::Members(arguments) => members(arguments),
        ServerCommand::Remove(arguments) => purge(arguments),
    }
}

fn members(arguments: &MembersArguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let found = connection.client()?.members()?;
    connection.show(&found, || {
        let workers = found.workers.iter().filter(|_| arguments.workers);
        let mut header =
            vec!["Name", "Address", "Port", "Status", "Leader", "Role", "Build", "Datacenter"];
        if connection.verbose() {
            header.extend(["Node ID", "Number"]);
        }
        let all = found.members.iter().chain(workers);
        output::table(&header, all.map(|member| row(member, connection.verbose())));
    })
}

fn row(member: &AgentMember, verbose: bool) -> Vec<String> {
    let tag = |name: &str| member.tags.get(name).cloned().unwrap_or_default();
    let role = match (tag("role").as_str(), tag("voter").as_str()) {
        ("worker", _) => "worker",
        (_, "true") => "voter",
        _ => "learner",
    };
    let leader = if role == "worker" { String::new() } else { tag("leader") };
    let mut cells = vec![
        member.name.clone(),
        member.addr.clone(),
        member.port.to_string(),
        member.status.clone(),
        leader,
        role.to_owned(),
        tag("build"),
        tag("dc"),
    ];
    if verbose {
        cells.extend([tag("id"), tag("number")]);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_each_is_to_the_cluster() {
        let member = |tags: &[(&str, &str)]| AgentMember {
            name: "a".to_owned(),
            addr: "10.0.0.1".to_owned(),
            port: 4647,
            status: "alive".to_owned(),
            tags: tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        };
        let roles = |tags: &[(&str, &str)]| {
            let row = row(&member(tags), false);
            (row[4].clone(), row[5].clone())
        };
        let told = |leader: &str, role: &str| (leader.to_owned(), role.to_owned());
        assert_eq!(
            roles(&[("role", "nomad"), ("leader", "true"), ("voter", "true")]),
            told("true", "voter")
        );
        assert_eq!(
            roles(&[("role", "nomad"), ("leader", "false"), ("voter", "false")]),
            told("false", "learner")
        );
        assert_eq!(roles(&[("role", "worker")]), told("", "worker"));
    }
}
