//! `herder log`: the revisions, which are the audit.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use model::FileChangeKind;
use model::wire::RevisionEntry;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, YELLOW, styled};

/// Flags of `herder log`.
#[derive(Args, Debug)]
pub struct LogArguments {
    /// How many to show
    #[arg(short = 'n', default_value_t = 20, value_name = "NUMBER")]
    count: u32,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &LogArguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let revisions = connection.client()?.revisions(None, Some(arguments.count))?.into_value();
    connection.show(&revisions, || {
        if revisions.is_empty() {
            anstream::eprintln!("no revision was taken in yet");
            return;
        }
        for (position, entry) in revisions.iter().enumerate() {
            if position > 0 {
                anstream::println!();
            }
            print(connection, entry);
        }
    })
}

fn print(connection: &Connection, entry: &RevisionEntry) {
    let revision = &entry.revision;
    let commit =
        if connection.verbose() { revision.commit.as_str() } else { revision.commit.short() };
    let took = entry
        .duration_ms
        .map(|ms| format!(" in {}", output::span(Duration::from_millis(ms))))
        .unwrap_or_default();
    anstream::println!(
        "{} {} {}{took}  {}",
        styled(YELLOW, commit),
        revision.repo,
        output::outcome(entry.outcome),
        revision.subject
    );
    anstream::println!("  {}, {}", revision.author, output::date(revision.seen_at));
    for file in &revision.files {
        let job = file.job.as_ref().map(|job| format!(" {job}")).unwrap_or_default();
        let version =
            file.version.map(|version| format!(" (version {version})")).unwrap_or_default();
        anstream::println!("  {:9}{job}{version}  {}", change(file.change), file.path);
        for problem in file.problems.iter().filter(|problem| problem.is_error()) {
            anstream::println!("    {problem}");
        }
    }
    for job in &entry.jobs {
        if !job.description.is_empty() {
            anstream::println!(
                "  {} {}: {}",
                output::outcome(job.outcome),
                job.job_id,
                job.description
            );
        }
    }
    for note in &revision.notes {
        anstream::println!("  {}: {note}", styled(YELLOW, "note"));
    }
}

fn change(kind: FileChangeKind) -> &'static str {
    match kind {
        FileChangeKind::Added => "added",
        FileChangeKind::Changed => "changed",
        FileChangeKind::Unchanged => "unchanged",
        FileChangeKind::Removed => "removed",
        FileChangeKind::Held => "held",
        FileChangeKind::Broken => "broken",
    }
}
