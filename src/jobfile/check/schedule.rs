//! When a job runs: periodic and parameterized jobs, and what a dispatch brings.

use model::{Group, Job, JobType};

use super::{Rules, escapes};
use crate::schedule::translate;
use crate::suggest::did_you_mean;

pub(super) fn check(rules: &Rules<'_>, job: &Job) {
    for (name, is_there) in
        [("periodic", job.periodic.is_some()), ("parameterized", job.parameterized_job.is_some())]
    {
        if is_there && !matches!(job.kind, JobType::Batch | JobType::Sysbatch) {
            let message = format!("a {} job cannot be {name}", job.kind.as_str());
            let path = format!("job/{name}");
            let help = "such a job runs to its end each time: write type = \"batch\" or \"sysbatch\" in the job";
            rules.error("invalid-schedule", &path, message, help);
        }
    }
    if job.periodic.is_some() && job.parameterized_job.is_some() {
        // Nomad takes it: each dispatch makes a job that is periodic in turn, and that no file says how to stop.
        let message = "a job is periodic or parameterized, not both";
        let help = "make two jobs of it: one that runs at its times, and one that is dispatched";
        rules.error("invalid-schedule", "job/parameterized", message, help);
    }
    if let Some(parent) = job.id.parent() {
        let message = format!("`{}` is a name for what runs of a job `{parent}`", job.id);
        let help = "give the job another name";
        rules.error("invalid-schedule", "job/id", message, help);
    }
    periodic(rules, job);
    parameterized(rules, job);
    for (at, group) in job.task_groups.iter().enumerate() {
        payload(rules, at, group, job.parameterized_job.is_some());
    }
}

fn periodic(rules: &Rules<'_>, job: &Job) {
    let Some(periodic) = &job.periodic else { return };
    if !periodic.enabled {
        return;
    }
    if periodic.spec.is_empty() && periodic.specs.is_empty() {
        if rules.places.is_whole("job/periodic") {
            let help = "write crons = [\"0 3 * * *\"]";
            let message = "a periodic job needs `crons`: when it starts";
            rules.error("missing-attribute", "job/periodic", message, help);
        }
        return;
    }
    if !periodic.spec.is_empty() && !periodic.specs.is_empty() {
        let message = "`cron` and `crons` exclude each other";
        rules.error("invalid-schedule", "job/periodic/cron", message, "keep `crons`");
    }
    let all = [("cron", std::slice::from_ref(&periodic.spec)), ("crons", &periodic.specs)];
    for (name, specs) in all {
        for spec in specs.iter().filter(|spec| name == "crons" || !spec.is_empty()) {
            if let Err(why) = translate(spec) {
                let message = format!("`{spec}` is not a cron expression: {why}");
                let help = "minute, hour, day, month, day of the week: \"0 3 * * 1-5\" is 3:00 from Monday to Friday";
                rules.error("invalid-schedule", &format!("job/periodic/{name}"), message, help);
            }
        }
    }
    let zone = periodic.time_zone.as_str();
    // Nomad takes these three beside the names of the database.
    if !matches!(zone, "" | "UTC" | "Local") && jiff::tz::TimeZone::get(zone).is_err() {
        let names: Vec<String> =
            jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        // Without a database nothing can be said about names.
        if !names.is_empty() {
            let help = did_you_mean(zone, names.iter().map(String::as_str))
                .unwrap_or_else(|| "for example \"Europe/Berlin\"".to_owned());
            let message = format!("there is no time zone `{zone}`");
            rules.error("invalid-schedule", "job/periodic/time_zone", message, &help);
        }
    }
}

fn parameterized(rules: &Rules<'_>, job: &Job) {
    let Some(parameterized) = &job.parameterized_job else { return };
    for key in &parameterized.meta_required {
        if parameterized.meta_optional.contains(key) {
            let message = format!("`{key}` is in `meta_required` and in `meta_optional`");
            let path = "job/parameterized/meta_optional";
            rules.error("invalid-schedule", path, message, "a key is one or the other");
        }
    }
}

fn payload(rules: &Rules<'_>, at: usize, group: &Group, is_parameterized: bool) {
    for (n, task) in group.tasks.iter().enumerate() {
        let Some(payload) = &task.dispatch_payload else { continue };
        let path = format!("{}/dispatch_payload", rules.places.task(at, n));
        if payload.file.is_empty() {
            let message = "`dispatch_payload` without `file` has no effect";
            let help = "say which file the payload is written to, from the task's `local/`";
            rules.warning("no-effect", &path, message, help);
        } else if escapes(&payload.file, "") {
            rules.leaves_folder(&format!("{path}/file"), &payload.file, "the task's `local/`");
        }
        if !is_parameterized {
            let message = "`dispatch_payload` has no effect in a job that is not parameterized";
            let help = "add parameterized {} to the job, or delete it";
            rules.warning("no-effect", &path, message, help);
        }
    }
}
