//! `herder explain`: why something runs where it does, why now, and why not elsewhere or not at all.

mod render;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use client::{Client, ClientError};
use model::NodeScore;
use model::wire::{AllocationExplained, JobExplanation};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;
use render::Style;

/// Flags of `herder explain`.
#[derive(Args, Debug)]
#[command(after_help = "\
What is said of now is what each node would answer to one more allocation of the group; nothing is placed by asking. \
With -verbose each node is listed, without it they are counted by what they say.

Exit code: 0 nothing of it waits, 1 something waits or finds no room, 255 error. \
For an allocation that is about its group.")]
pub struct ExplainArguments {
    /// A job's ID, or the beginning of an allocation's
    #[arg(value_name = "JOB|ALLOC")]
    target: String,
    /// Only this group of the job
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

enum Told {
    Job(Box<JobExplanation>),
    Allocation(Box<AllocationExplained>),
}

pub(crate) fn run(arguments: &ExplainArguments) -> Result<ExitCode, Failure> {
    explain(arguments).map_err(|failure| failure.with_code(255))
}

fn explain(arguments: &ExplainArguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let client = connection.client()?;
    let width = match output::width() {
        Some(width) => width,
        None if connection.verbose() => usize::MAX,
        None => render::WIDTH,
    };
    let style = Style { verbose: connection.verbose(), width, now: output::now() };
    let waits = match ask(&client, &arguments.target, arguments.group.as_deref())? {
        Told::Job(told) => {
            connection.show(&told, || print(&render::job(&told, &style)))?;
            told.waits()
        }
        Told::Allocation(_) if arguments.group.is_some() => {
            let words = format!("{} is an allocation; -group goes with a job", arguments.target);
            return Err(anyhow::anyhow!(words).into());
        }
        Told::Allocation(told) => {
            connection.show(&told, || print(&render::allocation(&told, &style)))?;
            told.group.as_ref().is_some_and(|group| !group.waits.is_empty())
        }
    };
    Ok(if waits { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn print(lines: &[String]) {
    for line in lines {
        anstream::println!("{line}");
    }
}

/// A job of this name; else an allocation whose ID begins so; else the job whose name does.
fn ask(client: &Client, target: &str, group: Option<&str>) -> Result<Told, ClientError> {
    let job =
        |id: &str| client.explain_job(id, group).map(|told| Told::Job(Box::new(told.into_value())));
    match client.job(target) {
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
        Ok(_) => return job(target),
    }
    if target.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        match client.alloc_id(target) {
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
            Ok(id) => {
                let told = client.explain_allocation(id)?;
                return Ok(Told::Allocation(Box::new(told.into_value())));
            }
        }
    }
    match client.job_id(target) {
        Err(error) if error.is_not_found() => Err(ClientError::NotFound {
            text: format!("there is no job and no allocation `{target}`"),
        }),
        found => job(found?.as_str()),
    }
}

/// A number of nodes in words.
pub(crate) fn nodes(count: u32) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

/// What a score is made up of.
pub(crate) fn parts(score: &NodeScore) -> String {
    let parts: Vec<_> =
        score.parts.iter().map(|(name, part)| format!("{name} {part:.3}")).collect();
    parts.join(", ")
}

/// Nodes that will not do or have no room, by what says so; what most of them say comes first.
pub(crate) fn refusals(
    filtered: &BTreeMap<String, u32>,
    exhausted: &BTreeMap<String, u32>,
) -> Vec<String> {
    let filtered = filtered.iter().map(|(reason, count)| (*count, refusal(reason)));
    let exhausted = exhausted.iter().map(|(reason, count)| (*count, shortage(reason)));
    let mut all: Vec<_> = filtered.chain(exhausted).collect();
    all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    all.into_iter().map(|(count, words)| format!("{}: {words}", nodes(count))).collect()
}

fn refusal(reason: &str) -> String {
    if reason.contains("${") || reason.starts_with("distinct_") {
        format!("constraint {reason}")
    } else {
        reason.to_owned()
    }
}

fn shortage(reason: &str) -> String {
    match reason {
        "cpu" | "memory" | "disk" | "cores" => format!("{reason} exhausted"),
        words => words.to_owned(),
    }
}
