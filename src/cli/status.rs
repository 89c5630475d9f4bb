//! `herder status`: what is followed, what runs, and what is wrong, on one screen.

use std::process::ExitCode;

use clap::Args;
use client::Listing;
use model::JobStatus;
use model::wire::RepoView;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, BOLD, GREEN, RED, YELLOW, styled};

/// Flags of `herder status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// Show this job instead
    job: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &StatusArguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    if let Some(job) = &arguments.job {
        return crate::job::show(connection, job);
    }
    let client = connection.client()?;
    let gitops = client.gitops_status(None)?.into_value();
    let jobs = client.jobs(&Listing::default())?.into_value();
    let deployments = client.deployments(&Listing::default())?.into_value();
    let all = serde_json::json!({ "Repos": gitops.repos, "Jobs": jobs });
    connection.show(&all, || {
        for repo in &gitops.repos {
            describe(repo);
        }
        if gitops.repos.is_empty() {
            anstream::println!("no repository is followed; start the agent with --repo");
        }
        output::heading("Jobs");
        if jobs.is_empty() {
            anstream::println!("none");
        } else {
            // What is over of periodic and parameterized jobs is theirs to list.
            let now: Vec<_> = jobs
                .iter()
                .filter(|job| job.parent_id.is_empty() || job.status != JobStatus::Dead)
                .cloned()
                .collect();
            crate::job::table(&now);
        }
        let mut active: Vec<_> =
            deployments.iter().filter(|deployment| deployment.status.is_active()).collect();
        active.sort_by_key(|deployment| &deployment.job_id);
        if !active.is_empty() {
            output::heading("Rollouts");
            output::table(
                &["Deployment", "Job", "Version", "Healthy", "Description"],
                active.iter().map(|deployment| {
                    let groups = deployment.task_groups.values();
                    let healthy: u32 = groups.clone().map(|group| group.healthy_allocs).sum();
                    let desired: u32 = groups.map(|group| group.desired_total).sum();
                    vec![
                        connection.id(deployment.id),
                        deployment.job_id.to_string(),
                        deployment.job_version.to_string(),
                        format!("{healthy}/{desired}"),
                        deployment.status_description.clone(),
                    ]
                }),
            );
        }
    })
}

fn describe(repo: &RepoView) {
    anstream::println!("{} {} ({})", styled(BOLD, &repo.name), repo.url, repo.branch);
    match &repo.head {
        Some(head) => {
            anstream::println!("  head    {} {} ({})", head.short(), repo.subject, repo.author);
        }
        None => anstream::println!("  head    none yet"),
    }
    let state = match &repo.error {
        Some(error) => styled(RED, format!("{}: {}", error.kind, error.message)),
        None => styled(GREEN, "in sync with the remote"),
    };
    let polled = if repo.last_success.is_zero() {
        String::new()
    } else {
        format!(", read {}", output::ago(repo.last_success))
    };
    anstream::println!("  remote  {state}{polled}");
    anstream::println!("  files   {}", repo.files);
    for broken in &repo.broken {
        let job = match broken.jobs.as_slice() {
            [] => String::new(),
            [job] => format!(", job `{job}` keeps running as it was"),
            jobs => format!(", its {} jobs keep running as they were", jobs.len()),
        };
        for problem in broken.problems.iter().filter(|problem| problem.is_error()) {
            anstream::println!("  {} {problem}{job}", styled(RED, "broken "));
        }
    }
    for held in &repo.held {
        let job = held.job.as_ref().map(ToString::to_string).unwrap_or_default();
        anstream::println!(
            "  {} {} is gone, job `{job}` keeps running; `herder hold approve {job}` stops it",
            styled(YELLOW, "held   "),
            held.path
        );
    }
}
