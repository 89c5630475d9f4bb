//! What a job is when nothing is said: Nomad's table of defaults, row by row (nomad.md 1.1, all three passes). The
//! place of each row is a pointer into the canonical JSON of the job that stands above it.

mod group;
mod job;
mod task;

use jobfile::{Inputs, Source, parse};
use serde_json::Value;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// The canonical JSON of a job that is `type` and has `inside` in it.
fn canonical(kind: &str, inside: &str) -> Value {
    let text = format!("job \"j\" {{\n  type = \"{kind}\"\n{inside}\n}}\n");
    let parsed = parse(Source { path: "j.nomad.hcl", bytes: text.as_bytes() }, &Inputs::default());
    assert!(!parsed.has_errors(), "{text}\n{:#?}", parsed.diagnostics);
    serde_json::to_value(&parsed.jobs[0]).expect("serialises")
}

/// A job with one task, and something in its group and task.
fn job(kind: &str, group: &str, task: &str) -> Value {
    canonical(
        kind,
        &format!(
            "group \"g\" {{\n{group}\ntask \"t\" {{\ndriver = \"docker\"\nconfig {{\nimage = \"i:1\"\n}}\n{task}\n}}\n}}"
        ),
    )
}

fn holds(job: &Value, rows: &[(&str, Value)]) {
    for (place, expected) in rows {
        let found = job.pointer(place).unwrap_or_else(|| panic!("there is no {place} in {job:#}"));
        assert_eq!(found, expected, "{place}");
    }
}

const GROUP: &str = "/TaskGroups/0";
const TASK: &str = "/TaskGroups/0/Tasks/0";

fn at<'a>(base: &str, rows: &'a [(&'a str, Value)]) -> Vec<(String, Value)> {
    rows.iter().map(|(name, value)| (format!("{base}/{name}"), value.clone())).collect()
}

fn holds_at(job: &Value, base: &str, rows: &[(&str, Value)]) {
    let rows = at(base, rows);
    let rows: Vec<(&str, Value)> =
        rows.iter().map(|(place, value)| (place.as_str(), value.clone())).collect();
    holds(job, &rows);
}
