//! Where the values of a job came from, for people and as JSON.

use jobfile::{Explained, Parsed};
use serde::Serialize;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    #[serde(rename = "JobID")]
    job: &'a str,
    path: &'a str,
    value: &'a str,
    from: &'a str,
    default: bool,
}

/// Prints what somebody said; with `--verbose` what nobody said, too.
pub(super) fn show(parsed: &Parsed, connection: &Connection) -> Result<(), Failure> {
    let all = connection.verbose();
    let shown: Vec<&Explained> =
        parsed.explained.iter().filter(|found| all || !found.is_default).collect();
    if connection.json() {
        let lines: Vec<_> = shown.iter().map(|found| line(found)).collect();
        return Ok(output::json(&lines)?);
    }
    for (position, job) in parsed.jobs.iter().enumerate() {
        if position > 0 {
            anstream::println!();
        }
        if parsed.jobs.len() > 1 {
            anstream::println!("{}", output::styled(output::BOLD, format!("job \"{}\"", job.id)));
        }
        let of_job = shown.iter().filter(|found| found.job == job.id.as_str());
        output::table(
            &["Value of", "Is", "From"],
            of_job.map(|found| vec![found.path.clone(), found.value.clone(), found.from.clone()]),
        );
    }
    if !all {
        let defaults = parsed.explained.len() - shown.len();
        anstream::eprintln!("{defaults} more values are defaults; -verbose shows them");
    }
    Ok(())
}

fn line(found: &Explained) -> Line<'_> {
    Line {
        job: &found.job,
        path: &found.path,
        value: &found.value,
        from: &found.from,
        default: found.is_default,
    }
}
