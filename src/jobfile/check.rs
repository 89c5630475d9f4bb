//! Rules about the whole job: what Nomad refuses is an error, with its place in the file; what it would do otherwise than
//! somebody may think is a warning.
//!
//! Where Herder takes what Nomad refuses, the rule says why.

mod connect;
mod constraint;
mod driver;
mod group;
mod health;
pub(crate) mod hint;
mod identity;
mod material;
mod network;
mod placement;
mod plain;
mod policy;
mod reference;
mod resources;
mod schedule;
mod service;
pub(crate) mod status;
mod task;
mod volume;

use std::collections::HashMap;

use model::{Job, JobType};

use crate::canonical::Places;
use crate::report::{Fault, Sink};

/// How many allocations a job may ask for, as in Nomad.
const MAX_COUNT: u64 = 50_000;
/// The longest description of a job, in characters.
const MAX_DESCRIPTION: usize = 1_000;

/// Where findings go: the sink and the places to point at.
#[derive(Clone, Copy)]
struct Rules<'a> {
    job: &'a Job,
    places: &'a Places,
    sink: &'a Sink<'a>,
    known: &'a reference::Known,
}

impl Rules<'_> {
    fn fault(
        &self,
        code: &'static str,
        path: &str,
        message: impl Into<String>,
        help: &str,
    ) -> Fault {
        Fault::new(code, self.places.at(path), message).help(help)
    }

    fn error(&self, code: &'static str, path: &str, message: impl Into<String>, help: &str) {
        self.sink.error(self.fault(code, path, message, help));
    }

    /// An error that another place has to do with.
    fn error_also(
        &self,
        code: &'static str,
        path: &str,
        message: impl Into<String>,
        help: &str,
        (other, what): (String, &str),
    ) {
        let fault = self.fault(code, path, message, help);
        self.sink.error(fault.also(self.places.at(&other), what));
    }

    fn warning(&self, code: &'static str, path: &str, message: impl Into<String>, help: &str) {
        self.sink.warning(self.fault(code, path, message, help));
    }

    /// A warning that is said once in a file for all places of the same kind.
    fn once(
        &self,
        code: &'static str,
        key: &str,
        path: &str,
        message: impl Into<String>,
        help: &str,
    ) {
        self.sink.warning_once(key, self.fault(code, path, message, help));
    }

    fn leaves_folder(&self, place: &str, destination: &str, folder: &str) {
        let message = format!("`{destination}` leads out of {folder}");
        self.error("path-escapes", place, message, "a path starts there and must stay inside");
    }
}

/// Checks the rules.
pub(crate) fn check(job: &Job, places: &Places, sink: &Sink<'_>) {
    let known = reference::Known::default();
    let rules = Rules { job, places, sink, known: &known };
    names(&rules, job);
    if job.task_groups.is_empty() && places.is_whole("job") {
        let help = "add: group \"name\" { task \"name\" { … } }";
        let message = format!("the job `{}` has no group", job.id);
        rules.error("no-groups", "job", message, help);
    }
    if places.has("job/update") && matches!(job.kind, JobType::Batch | JobType::Sysbatch) {
        policy::no_update(&rules, "job/update");
    }
    if places.has("job/reschedule") && job.kind.per_node() {
        policy::no_reschedule(&rules, "job/reschedule");
    }
    policy::promotion(&rules);
    keys(&rules, "job/meta", job.meta.keys());
    constraint::check(&rules, "job", &job.constraints, false);
    placement::affinities(&rules, "job", &job.affinities);
    placement::spreads(&rules, "job", &job.spreads);
    schedule::check(&rules, job);
    user_interface(&rules, job);
    let mut names: HashMap<&str, &str> = HashMap::new();
    for (at, group) in job.task_groups.iter().enumerate() {
        let path = places.group(at);
        if let Some(first) = names.insert(&group.name, path)
            && !group.name.is_empty()
        {
            let message = format!("the group `{}` is in this job twice", group.name);
            let first = (first.to_owned(), "the first is here");
            rules.error_also("duplicate-name", path, message, "give it another name", first);
        }
        group::check(&rules, at, group);
        for (n, task) in group.tasks.iter().enumerate() {
            driver::check(&rules, places.task(at, n), group, task);
        }
    }
    reference::of_job(&rules);
    counts(&rules, job);
}

fn names(rules: &Rules<'_>, job: &Job) {
    let id = job.id.as_str();
    let own = if rules.places.has("job/id") { "job/id" } else { "job" };
    // Spaces at all places, as in Nomad; the rest is what files and addresses could not hold.
    let unlabelled = id.is_empty() && own == "job" && !rules.places.is_labelled("job");
    if unlabelled {
        // It has been reported.
    } else if id.is_empty() || id.contains([' ', '\0', '\n', '\t']) || id.len() > 256 {
        let message = format!("`{id}` cannot be a job's ID");
        let help = "an ID has 1 to 256 characters, and neither spaces nor line ends";
        rules.error("invalid-name", own, message, help);
    }
    if job.name.contains('\0') {
        rules.error("invalid-name", "job/name", "`name` has a zero byte", "");
    }
    if job.datacenters.iter().any(String::is_empty) {
        let help = "leave it away for all datacenters";
        rules.error("invalid-value", "job/datacenters", "a datacenter's name is missing", help);
    }
}

fn user_interface(rules: &Rules<'_>, job: &Job) {
    let text = job.ui.as_ref().and_then(|ui| ui.get("Description")?.as_str());
    let length = text.map_or(0, |text| text.chars().count());
    if length > MAX_DESCRIPTION {
        let message =
            format!("`description` has at most {MAX_DESCRIPTION} characters, this has {length}");
        rules.error("out-of-range", "job/ui/description", message, "");
    }
    let links = job.ui.as_ref().and_then(|ui| ui.get("Links")?.as_array());
    for (n, link) in links.into_iter().flatten().enumerate() {
        let place = format!("job/ui/link.{n}");
        let is_empty =
            |name| link.get(name).and_then(serde_json::Value::as_str).unwrap_or("").is_empty();
        if is_empty("URL") && rules.places.is_whole(&place) {
            rules.warning(
                "no-effect",
                &place,
                "a link without `url` leads nowhere",
                "write url = \"https://…\"",
            );
        }
    }
}

fn counts(rules: &Rules<'_>, job: &Job) {
    let total: u64 = job.task_groups.iter().map(|group| u64::from(group.count)).sum();
    if total > MAX_COUNT {
        let at = job.task_groups.iter().position(|group| u64::from(group.count) * 2 > total);
        let path =
            at.map_or_else(|| "job".to_owned(), |at| format!("{}/count", rules.places.group(at)));
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

/// Whether a path leads out of the folder that holds `start`. What the node fills in cannot be judged.
fn escapes(path: &str, start: &str) -> bool {
    if path.contains("${") {
        return false;
    }
    let mut depth = i32::from(!start.is_empty());
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::escapes;

    #[test]
    fn paths_stay_in_their_folder() {
        for inside in ["", "local/a", "../alloc/x", "a/../../b", "/etc/x", "${X}/../../../y"] {
            assert!(!escapes(inside, "task"), "{inside}");
        }
        for outside in ["../../x", "a/../../../b", "/../../etc"] {
            assert!(escapes(outside, "task"), "{outside}");
        }
        assert!(escapes("../x", ""));
    }
}
