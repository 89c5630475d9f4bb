//! `herder service …`: the catalog.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, Subcommand};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// `herder service …`.
#[derive(Subcommand, Debug)]
pub enum ServiceCommand {
    /// List the services
    List(ListArguments),
    /// Show a service's instances
    Info(InfoArguments),
}

/// Flags of `herder service list`.
#[derive(Args, Debug)]
pub struct ListArguments {
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder service info`.
#[derive(Args, Debug)]
pub struct InfoArguments {
    /// The service
    name: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(command: &ServiceCommand) -> Result<ExitCode, Failure> {
    match command {
        ServiceCommand::List(arguments) => list(&arguments.connection),
        ServiceCommand::Info(arguments) => info(&arguments.connection, &arguments.name),
    }
}

fn list(connection: &Connection) -> Result<ExitCode, Failure> {
    let namespaces = connection.client()?.services()?.into_value();
    connection.show(&namespaces, || {
        let services: Vec<_> =
            namespaces.iter().flat_map(|namespace| &namespace.services).collect();
        if services.is_empty() {
            anstream::eprintln!("no services");
            return;
        }
        output::table(
            &["Service", "Tags"],
            services
                .iter()
                .map(|service| vec![service.service_name.clone(), service.tags.join(",")]),
        );
    })
}

fn info(connection: &Connection, name: &str) -> Result<ExitCode, Failure> {
    let instances = connection.client()?.service(name)?.into_value();
    if instances.is_empty() {
        return Err(anyhow!("no instance of service `{name}` is in the catalog").into());
    }
    connection.show(&instances, || {
        output::table(
            &["Address", "Status", "Tags", "Job", "Alloc", "Node"],
            instances.iter().map(|instance| {
                let address = if instance.address.contains(':') {
                    format!("[{}]:{}", instance.address, instance.port)
                } else {
                    format!("{}:{}", instance.address, instance.port)
                };
                vec![
                    address,
                    output::check_status(&instance.status),
                    instance.tags.join(","),
                    instance.job_id.to_string(),
                    connection.id(instance.alloc_id),
                    connection.id(instance.node_id),
                ]
            }),
        );
    })
}
