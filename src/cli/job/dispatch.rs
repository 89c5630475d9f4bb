//! `herder job dispatch` and `herder job periodic force`: runs that somebody asks for. Exit code 0: placed; 2: not all of it
//! has room yet; 1: error.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use client::Client;
use model::wire::{EvaluationView, JobDispatchRequest};
use model::{JobId, Payload};
use serde::Serialize;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// How long a new run may take to be looked at before that is said.
const FIRST_LOOK: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// The exit code of a run that has no room yet.
const NO_ROOM: u8 = 2;

/// Flags of `herder job dispatch`.
#[derive(Args, Debug)]
#[command(after_help = "\
The payload goes to the file that the tasks' `dispatch_payload` names. Metadata is what the job's `parameterized` asks for.

Exit code: 0 placed, 2 not all of it has room yet, 1 error.")]
pub struct DispatchArguments {
    /// The parameterized job
    job: String,
    /// A file with the payload; `-` for standard input
    input: Option<PathBuf>,
    /// Metadata, as KEY=VALUE; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    meta: Vec<(String, String)>,
    /// Return at once, without waiting for what comes of it
    #[arg(long)]
    detach: bool,
    /// A part of the new job's name
    #[arg(long, value_name = "TEXT")]
    id_prefix_template: Option<String>,
    /// The same token finds the same run, and starts no other
    #[arg(long, value_name = "TOKEN")]
    idempotency_token: Option<String>,
    /// Another priority than the job's, 1 to 100
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    priority: Option<u16>,
    #[command(flatten)]
    connection: Connection,
}

/// `herder job periodic …`.
#[derive(Subcommand, Debug)]
pub enum PeriodicCommand {
    /// Start a periodic job now, whatever its schedule says and whatever of it still runs
    Force(ForceArguments),
}

/// Flags of `herder job periodic force`.
#[derive(Args, Debug)]
pub struct ForceArguments {
    /// The periodic job
    job: String,
    /// Return at once, without waiting for what comes of it
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn dispatch(arguments: &DispatchArguments) -> Result<ExitCode, Failure> {
    let payload = match &arguments.input {
        Some(path) if path.as_os_str() == "-" => read(std::io::stdin().lock(), "standard input")?,
        Some(path) => {
            let name = path.display().to_string();
            read(File::open(path).with_context(|| format!("opening {name}"))?, &name)?
        }
        None => Payload::default(),
    };
    let mut meta = BTreeMap::new();
    for (key, value) in &arguments.meta {
        if meta.insert(key.clone(), value.clone()).is_some() {
            return Err(anyhow!("the metadata `{key}` is given twice").into());
        }
    }
    let request = JobDispatchRequest {
        payload,
        meta: (!meta.is_empty()).then_some(meta),
        id_prefix_template: arguments.id_prefix_template.clone().unwrap_or_default(),
        priority: arguments.priority.unwrap_or_default(),
    };
    let client = arguments.connection.client()?;
    let id = client.job_id(&arguments.job)?;
    let token = arguments.idempotency_token.as_deref();
    let answer = client.dispatch_job(id.as_str(), &request, token)?;
    let run =
        Run { what: "Dispatched Job ID", job: &answer.dispatched_job_id, eval: &answer.eval_id };
    run.report(&arguments.connection, &client, &answer, arguments.detach)
}

pub(super) fn periodic(command: &PeriodicCommand) -> Result<ExitCode, Failure> {
    let PeriodicCommand::Force(arguments) = command;
    let client = arguments.connection.client()?;
    let id = client.job_id(&arguments.job)?;
    let answer = client.force_periodic(id.as_str())?;
    let run = Run { what: "Started Job ID", job: &answer.job_id, eval: &answer.eval_id };
    run.report(&arguments.connection, &client, &answer, arguments.detach)
}

/// A run that was started.
struct Run<'a> {
    what: &'static str,
    job: &'a JobId,
    eval: &'a str,
}

impl Run<'_> {
    fn report<T: Serialize>(
        &self,
        connection: &Connection,
        client: &Client,
        answer: &T,
        detach: bool,
    ) -> Result<ExitCode, Failure> {
        connection.show(answer, || {
            output::pairs([
                (self.what, self.job.to_string()),
                ("Evaluation ID", self.eval.to_owned()),
            ]);
        })?;
        if detach {
            return Ok(ExitCode::SUCCESS);
        }
        let evaluation = self.first_look(client)?;
        let allocs = client.job_allocations(self.job.as_str())?.into_value();
        if !connection.json() {
            output::heading("Allocations");
            let stubs: Vec<_> = allocs.iter().collect();
            crate::alloc::table(connection, &stubs);
            for (group, metric) in &evaluation.failed_tg_allocs {
                for line in crate::plan::failure_lines(group, metric) {
                    anstream::println!("{line}");
                }
            }
        }
        let placed = evaluation.failed_tg_allocs.is_empty();
        Ok(if placed { ExitCode::SUCCESS } else { ExitCode::from(NO_ROOM) })
    }

    fn first_look(&self, client: &Client) -> Result<EvaluationView, Failure> {
        let begun = Instant::now();
        loop {
            let evaluations = client.job_evaluations(self.job.as_str())?.into_value();
            if let Some(newest) = evaluations.into_iter().next() {
                return Ok(newest);
            }
            if begun.elapsed() > FIRST_LOOK {
                let job = self.job;
                let words = format!(
                    "job `{job}` was made, and not looked at for {} s; `herder job status {job}` shows it",
                    FIRST_LOOK.as_secs()
                );
                return Err(anyhow!(words).into());
            }
            std::thread::sleep(POLL);
        }
    }
}

/// At most as much as a payload can have, and one byte more to know that it is too much.
fn read(from: impl Read, name: &str) -> anyhow::Result<Payload> {
    let mut bytes = Vec::new();
    let most = Payload::LIMIT as u64 + 1;
    from.take(most).read_to_end(&mut bytes).with_context(|| format!("reading {name}"))?;
    if bytes.len() > Payload::LIMIT {
        return Err(anyhow!(
            "{name} has more than {} bytes, which is the most that a payload can have",
            Payload::LIMIT
        ));
    }
    Ok(bytes.into())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_bounded() {
        let most = vec![7; Payload::LIMIT];
        assert_eq!(read(&most[..], "x").expect("fits").len(), Payload::LIMIT);
        let error = read(&[most, vec![7]].concat()[..], "the file").expect_err("too much");
        assert!(error.to_string().starts_with("the file has more than 16384 bytes"), "{error}");
    }

    #[test]
    fn metadata_has_a_key() {
        assert_eq!(key_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(key_value("a="), Ok(("a".to_owned(), String::new())));
        assert!(key_value("a").is_err() && key_value("=b").is_err());
    }
}
