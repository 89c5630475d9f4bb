//! `herder deployment …`: rollouts.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use client::Listing;
use model::wire::{DeploymentGroupView, DeploymentView};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::{output, watch};

/// `herder deployment …`.
#[derive(Subcommand, Debug)]
pub enum DeploymentCommand {
    /// List the deployments, or show or watch one
    Status(StatusArguments),
    /// List the deployments
    List(ListArguments),
    /// Promote canaries: replace the rest
    Promote(PromoteArguments),
    /// Fail a deployment; with `auto_revert` the job goes back
    Fail(FailArguments),
}

/// Flags of `herder deployment status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// The deployment's ID or the beginning of it, or a job; all deployments without it
    deployment: Option<String>,
    /// Watch it until it ends
    #[arg(long, short)]
    monitor: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder deployment list`.
#[derive(Args, Debug)]
pub struct ListArguments {
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder deployment promote`.
#[derive(Args, Debug)]
pub struct PromoteArguments {
    /// The deployment's ID or the beginning of it, or a job
    deployment: String,
    /// Only this group; may be given several times
    #[arg(long)]
    group: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder deployment fail`.
#[derive(Args, Debug)]
pub struct FailArguments {
    /// The deployment's ID or the beginning of it, or a job
    deployment: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(command: &DeploymentCommand) -> Result<ExitCode, Failure> {
    match command {
        DeploymentCommand::List(arguments) => list(&arguments.connection),
        DeploymentCommand::Status(arguments) => match &arguments.deployment {
            None => list(&arguments.connection),
            Some(deployment) => {
                if arguments.monitor {
                    watch::catch_up(&arguments.connection.client()?);
                }
                let found = find(&arguments.connection, deployment)?;
                if arguments.monitor {
                    return watch::deployment(&arguments.connection, found);
                }
                arguments.connection.show(&found, || describe(&arguments.connection, &found))
            }
        },
        DeploymentCommand::Promote(arguments) => {
            let found = find(&arguments.connection, &arguments.deployment)?;
            arguments.connection.client()?.promote(found.id, &arguments.group)?;
            anstream::eprintln!(
                "deployment {} of job `{}` is promoted",
                found.id.short(),
                found.job_id
            );
            Ok(ExitCode::SUCCESS)
        }
        DeploymentCommand::Fail(arguments) => {
            let found = find(&arguments.connection, &arguments.deployment)?;
            arguments.connection.client()?.fail_deployment(found.id)?;
            anstream::eprintln!(
                "deployment {} of job `{}` is marked as failed",
                found.id.short(),
                found.job_id
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A deployment by the beginning of its ID, or the newest one of a job.
fn find(connection: &Connection, name: &str) -> Result<DeploymentView, Failure> {
    let client = connection.client()?;
    let by_id = client.deployment_by_prefix(name);
    match by_id {
        Err(error) if error.is_not_found() => match crate::job::latest_deployment(&client, name) {
            Ok(Some(deployment)) => Ok(deployment),
            _ => Err(error.into()),
        },
        other => Ok(other?),
    }
}

fn list(connection: &Connection) -> Result<ExitCode, Failure> {
    let mut deployments = connection.client()?.deployments(&Listing::default())?.into_value();
    deployments.sort_by_key(|deployment| std::cmp::Reverse(deployment.create_index));
    connection.show(&deployments, || {
        if deployments.is_empty() {
            anstream::eprintln!("no deployments");
            return;
        }
        output::table(
            &["ID", "Job ID", "Job Version", "Commit", "Status", "Description"],
            deployments.iter().map(|deployment| {
                vec![
                    connection.id(deployment.id),
                    deployment.job_id.to_string(),
                    deployment.job_version.to_string(),
                    deployment.commit.short().to_owned(),
                    output::deployment_status(deployment.status),
                    deployment.status_description.clone(),
                ]
            }),
        );
    })
}

/// Prints a deployment and its groups.
pub(crate) fn describe(connection: &Connection, deployment: &DeploymentView) {
    output::pairs([
        ("ID", connection.id(deployment.id)),
        ("Job ID", deployment.job_id.to_string()),
        ("Job Version", deployment.job_version.to_string()),
        ("Commit", deployment.commit.to_string()),
        ("Status", output::deployment_status(deployment.status)),
        ("Description", deployment.status_description.clone()),
    ]);
    output::heading("Deployed");
    let canaries = deployment.task_groups.values().any(|group| group.desired_canaries > 0);
    let mut header = vec!["Task Group", "Auto Revert"];
    if canaries {
        header.extend(["Promoted", "Canaries"]);
    }
    header.extend(["Desired", "Placed", "Healthy", "Unhealthy", "Progress Deadline"]);
    let row = |(name, group): (&String, &DeploymentGroupView)| {
        let mut row = vec![name.clone(), group.auto_revert.to_string()];
        if canaries {
            row.extend([group.promoted.to_string(), group.desired_canaries.to_string()]);
        }
        row.extend(
            [
                group.desired_total,
                group.placed_allocs,
                group.healthy_allocs,
                group.unhealthy_allocs,
            ]
            .map(|count| count.to_string()),
        );
        row.push(output::date(group.require_progress_by));
        row
    };
    output::table(&header, deployment.task_groups.iter().map(row));
}
