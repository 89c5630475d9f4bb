//! `herder job …`.

mod dispatch;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use client::{Client, Listing};
use model::wire::{DeploymentView, JobListStub, JobView, SummaryChildren};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, BOLD, styled};
use crate::{convert, inspect};

/// Runs of a job that are listed.
const CHILDREN_SHOWN: usize = 50;

/// `herder job …`.
#[derive(Subcommand, Debug)]
pub enum JobCommand {
    /// List the jobs, or show one
    Status(StatusArguments),
    /// Start a parameterized job
    Dispatch(Box<dispatch::DispatchArguments>),
    /// Start a periodic job out of turn
    #[command(subcommand)]
    Periodic(dispatch::PeriodicCommand),
    /// Show a job's versions: when, from which commit, and what changed
    History(HistoryArguments),
    /// Print the canonical form of a job, from a file or from the agent
    Inspect(Box<inspect::InspectArguments>),
    /// Write a job file in another language: HCL, YAML or JSON
    Convert(convert::ConvertArguments),
}

/// Flags of `herder job status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// The job; all jobs without it
    job: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `herder job history`.
#[derive(Args, Debug)]
pub struct HistoryArguments {
    /// The job
    job: String,
    /// Show what changed from version to version
    #[arg(long, short)]
    patch: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(command: &JobCommand) -> Result<ExitCode, Failure> {
    match command {
        JobCommand::Status(arguments) => match &arguments.job {
            Some(job) => show(&arguments.connection, job),
            None => list(&arguments.connection),
        },
        JobCommand::Dispatch(arguments) => dispatch::dispatch(arguments),
        JobCommand::Periodic(command) => dispatch::periodic(command),
        JobCommand::History(arguments) => history(arguments),
        JobCommand::Inspect(arguments) => inspect::run(arguments),
        JobCommand::Convert(arguments) => convert::run(arguments),
    }
}

pub(crate) fn list(connection: &Connection) -> Result<ExitCode, Failure> {
    let jobs = connection.client()?.jobs(&Listing::default())?.into_value();
    connection.show(&jobs, || {
        if jobs.is_empty() {
            anstream::eprintln!("no jobs");
            return;
        }
        table(&jobs);
    })
}

/// A job's type, and how it comes to run where it does not do so by itself.
fn kind(job: &JobListStub) -> String {
    let how = match (job.periodic, job.parameterized_job) {
        (true, _) => "/periodic",
        (false, true) => "/parameterized",
        (false, false) => "",
    };
    format!("{}{how}", job.kind.as_str())
}

pub(crate) fn table(jobs: &[model::wire::JobListStub]) {
    output::table(
        &["ID", "Type", "Priority", "Status", "Running", "Version", "Commit", "Submit Date"],
        jobs.iter().map(|job| {
            let groups = &job.job_summary.summary;
            let running: u32 = groups.values().map(|group| group.running).sum();
            let waiting: u32 = groups.values().map(|group| group.queued + group.starting).sum();
            let status =
                if job.stop { "dead (stopped)".to_owned() } else { job.status.as_str().to_owned() };
            let running =
                if waiting > 0 { format!("{running} (+{waiting})") } else { running.to_string() };
            vec![
                job.id.to_string(),
                kind(job),
                job.priority.to_string(),
                status,
                running,
                job.version.to_string(),
                job.origin.commit.short().to_owned(),
                output::date(job.submit_time),
            ]
        }),
    );
}

pub(crate) fn show(connection: &Connection, job: &str) -> Result<ExitCode, Failure> {
    let client = connection.client()?;
    let job = find(&client, job)?;
    let id = job.job.id.clone();
    let summary = client.job_summary(id.as_str())?.into_value();
    let allocs = client.job_allocations(id.as_str())?.into_value();
    let deployment = client.job_deployment(id.as_str())?.into_value();
    let evaluations = client.job_evaluations(id.as_str())?.into_value();
    let is_parent = waits(&job) || summary.children != SummaryChildren::default();
    let children = if is_parent { children(&client, &job)? } else { Vec::new() };
    let all = serde_json::json!({
        "Job": job, "Summary": summary, "Children": children, "Allocations": allocs,
        "LatestDeployment": deployment,
    });
    connection.show(&all, || {
        describe(&job);
        if is_parent {
            show_children(&job, &summary.children, &children);
        }
        if waits(&job) && allocs.is_empty() {
            return;
        }
        output::heading("Summary");
        output::table(
            &["Task Group", "Queued", "Starting", "Running", "Failed", "Complete", "Lost"],
            summary.summary.iter().map(|(name, group)| {
                let counts = [
                    group.queued,
                    group.starting,
                    group.running,
                    group.failed,
                    group.complete,
                    group.lost,
                ];
                std::iter::once(name.clone()).chain(counts.map(|count| count.to_string())).collect()
            }),
        );
        // What waits for room says why, first thing.
        if let Some(blocked) =
            evaluations.first().filter(|newest| !newest.failed_tg_allocs.is_empty())
        {
            output::heading("Placement failures");
            for (group, metric) in &blocked.failed_tg_allocs {
                for line in crate::plan::failure_lines(group, metric) {
                    anstream::println!("{line}");
                }
            }
        }
        if let Some(deployment) = &deployment {
            output::heading("Latest Deployment");
            crate::deployment::describe(connection, deployment);
        }
        output::heading("Allocations");
        let stubs: Vec<_> = allocs.iter().collect();
        crate::alloc::table(connection, &stubs);
    })
}

/// Whether a job does not run by itself.
fn waits(job: &JobView) -> bool {
    job.parent_id.is_empty() && !job.job.starts_by_itself()
}

/// What came of a job's times or dispatches, newest first.
fn children(client: &Client, job: &JobView) -> Result<Vec<JobListStub>, Failure> {
    let id = &job.job.id;
    let prefix = format!("{id}/");
    let mut all = client.jobs(&Listing { prefix, ..Listing::default() })?.into_value();
    all.retain(|child| child.parent_id == id.as_str());
    all.sort_by_key(|child| std::cmp::Reverse(child.create_index));
    Ok(all)
}

fn show_children(job: &JobView, counts: &SummaryChildren, children: &[JobListStub]) {
    output::heading("Children Job Summary");
    let row = [counts.pending, counts.running, counts.dead].map(|count| count.to_string());
    output::table(&["Pending", "Running", "Dead"], [row.to_vec()]);
    output::heading(match job.job.parameterized_job {
        Some(_) => "Dispatched Jobs",
        None => "Previously Launched Jobs",
    });
    if children.is_empty() {
        anstream::println!("none");
        return;
    }
    output::table(
        &["ID", "Status", "Submit Date"],
        children.iter().take(CHILDREN_SHOWN).map(|child| {
            let status = child.status.as_str();
            let status = if child.stop { format!("{status} (stopped)") } else { status.to_owned() };
            vec![child.id.to_string(), status, output::date(child.submit_time)]
        }),
    );
    if let Some(more) = children.len().checked_sub(CHILDREN_SHOWN).filter(|more| *more > 0) {
        anstream::println!("and {more} older ones");
    }
}

/// The job of this name, or the only one whose name begins so.
fn find(client: &Client, name: &str) -> Result<JobView, Failure> {
    match client.job(name) {
        Err(error) if error.is_not_found() => {
            let mut matches = client
                .jobs(&Listing { prefix: name.to_owned(), ..Listing::default() })?
                .into_value();
            client::without_runs(&mut matches);
            match matches.as_slice() {
                [only] => Ok(client.job(only.id.as_str())?.into_value()),
                [] => {
                    Err(anyhow::anyhow!("there is no job `{name}`; `herder job status` lists all")
                        .into())
                }
                several => {
                    let names: Vec<_> = several.iter().map(|job| job.id.to_string()).collect();
                    Err(anyhow::anyhow!(
                        "`{name}` is the beginning of several jobs: {}",
                        names.join(", ")
                    )
                    .into())
                }
            }
        }
        other => Ok(other?.into_value()),
    }
}

fn describe(job: &JobView) {
    let spec = &job.job;
    let status =
        if job.stop { "dead (stopped)".to_owned() } else { job.status.as_str().to_owned() };
    let version = match job.reverts_to {
        Some(to) => format!("{} (went back to version {to})", job.version),
        None => job.version.to_string(),
    };
    output::pairs([
        ("ID", spec.id.to_string()),
        ("Name", spec.name.clone()),
        ("Submit Date", output::date(job.submit_time)),
        ("Type", spec.kind.as_str().to_owned()),
        ("Priority", spec.priority.to_string()),
        ("Datacenters", spec.datacenters.join(",")),
        ("Node Pool", spec.node_pool.clone()),
        ("Status", status),
        ("Reason", job.status_description.clone()),
        ("Parent", job.parent_id.clone()),
        ("Periodic", yes(spec.periodic.is_some())),
        ("Parameterized", yes(waits(job) && spec.parameterized_job.is_some())),
        ("Next Periodic Launch", next_launch(job)),
        ("Version", version),
        ("Repository", job.origin.repo.clone()),
        ("Commit", job.origin.commit.to_string()),
        ("File", job.origin.path.clone()),
    ]);
}

/// Empty, and so not shown, where it is not so.
fn yes(so: bool) -> String {
    if so { "true".to_owned() } else { String::new() }
}

fn next_launch(job: &JobView) -> String {
    match (&job.job.periodic, job.next_periodic_launch) {
        (_, Some(at)) => output::launch(at),
        (Some(periodic), None) if !periodic.enabled => "none: it is switched off".to_owned(),
        (Some(_), None) if !job.stop => "none".to_owned(),
        _ => String::new(),
    }
}

fn history(arguments: &HistoryArguments) -> Result<ExitCode, Failure> {
    let client = arguments.connection.client()?;
    let job = find(&client, &arguments.job)?;
    let versions = client.job_versions(job.job.id.as_str(), arguments.patch)?.into_value();
    arguments.connection.show(&versions, || {
        let diffs = versions.diffs.as_deref().unwrap_or_default();
        for (position, version) in versions.versions.iter().enumerate() {
            if position > 0 {
                anstream::println!();
            }
            let note = match (version.stable, version.reverts_to) {
                (_, Some(to)) => format!("goes back to version {to}"),
                (true, None) => "stable".to_owned(),
                (false, None) => String::new(),
            };
            anstream::println!("{}", styled(BOLD, format!("Version {}", version.version)));
            output::pairs([
                ("Commit", version.origin.commit.to_string()),
                ("File", version.origin.path.clone()),
                ("Submit Date", output::date(version.submit_time)),
                ("Note", note),
            ]);
            if let Some(diff) = diffs.get(position) {
                for line in crate::plan::diff_lines(diff, arguments.connection.verbose()) {
                    anstream::println!("{line}");
                }
            }
        }
    })
}

/// The newest deployment of a job, for those who watch.
pub(crate) fn latest_deployment(
    client: &Client,
    job: &str,
) -> Result<Option<DeploymentView>, Failure> {
    let job = find(client, job)?;
    Ok(client.job_deployment(job.job.id.as_str())?.into_value())
}
