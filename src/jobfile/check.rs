//! Rules about the whole job: what Nomad refuses, with the place in the file.
//!
//! One rule differs from Nomad's on purpose: checks may run every 100 ms (Nomad: every second), so that a rolling
//! update need not wait for its health.

mod constraint;
mod group;
mod policy;
mod service;
mod task;

use std::collections::HashSet;

use model::{Job, JobType};

use crate::canonical::Places;
use crate::report::{Fault, Sink};

/// How many allocations a job may ask for, as in Nomad.
const MAX_COUNT: u64 = 50_000;

/// Where findings go: the sink and the places to point at.
#[derive(Clone, Copy)]
struct Rules<'a> {
    job: &'a Job,
    places: &'a Places,
    sink: &'a Sink<'a>,
}

impl Rules<'_> {
    fn error(&self, code: &'static str, path: &str, message: impl Into<String>, help: &str) {
        self.sink.error(Fault::new(code, self.places.at(path), message).help(help));
    }
}

/// Checks the rules.
pub(crate) fn check(job: &Job, places: &Places, sink: &Sink<'_>) {
    let rules = Rules { job, places, sink };
    let id = job.id.as_str();
    if id.is_empty() || id.contains([' ', '\0', '\n', '\t']) || id.len() > 256 {
        let message = format!("`{id}` cannot be a job's ID");
        let help = "an ID has 1 to 256 characters, and neither spaces nor line ends";
        rules.error(
            "invalid-name",
            if places.has("job/id") { "job/id" } else { "job" },
            message,
            help,
        );
    }
    if job.task_groups.is_empty() && places.is_whole("job") {
        let help = "add: group \"name\" { task \"name\" { … } }";
        rules.error("no-groups", "job", format!("the job `{id}` has no group"), help);
    }
    if job.datacenters.is_empty() || job.datacenters.iter().any(String::is_empty) {
        let help = "leave it away for all datacenters";
        rules.error("invalid-value", "job/datacenters", "a datacenter's name is missing", help);
    }
    if places.has("job/update") && matches!(job.kind, JobType::Batch | JobType::Sysbatch) {
        policy::no_update(&rules, "job/update");
    }
    if places.has("job/reschedule") && job.kind.per_node() {
        policy::no_reschedule(&rules, "job/reschedule");
    }
    keys(&rules, "job/meta", job.meta.keys());
    constraint::check(&rules, "job", &job.constraints, false);
    let mut names = HashSet::new();
    for (at, group) in job.task_groups.iter().enumerate() {
        if !names.insert(group.name.as_str()) {
            let message = format!("the group `{}` is in this job twice", group.name);
            rules.error("duplicate-name", places.group(at), message, "give it another name");
        }
        group::check(&rules, at, group);
    }
    let total: u64 = job.task_groups.iter().map(|group| u64::from(group.count)).sum();
    if total > MAX_COUNT {
        let at = job.task_groups.iter().position(|group| u64::from(group.count) * 2 > total);
        let path = at.map_or_else(|| "job".to_owned(), |at| format!("{}/count", places.group(at)));
        let message =
            format!("the job asks for {total} allocations, at most {MAX_COUNT} are allowed");
        rules.error("count-too-large", &path, message, "");
    }
}

/// Keys of `meta` and `env`.
fn keys<'a>(rules: &Rules<'_>, path: &str, keys: impl Iterator<Item = &'a String>) {
    for key in keys {
        if key.is_empty() || key.contains(['\0', '=']) {
            let message = format!("`{key}` cannot be a key here");
            rules.error("invalid-name", path, message, "keys have neither `=` nor zero bytes");
        }
    }
}
