//! Groups: names, counts, tasks, and what bounds their counts.

use std::collections::HashMap;

use model::{Group, JobType, format_duration};

use super::{
    Rules, constraint, keys, network, placement, policy, reference, service, task, volume,
};

/// The smallest disk, in megabytes.
const MIN_DISK: u64 = 10;

pub(super) fn check(rules: &Rules<'_>, at: usize, group: &Group) {
    let path = rules.places.group(at);
    let is_bad =
        group.name.is_empty() || group.name.contains(['\0', '/', '\\']) || group.name.len() > 256;
    if is_bad && rules.places.is_labelled(path) {
        let message = format!("`{}` cannot be a group's name", group.name);
        let help = "a name has 1 to 256 characters, and no slashes";
        rules.error("invalid-name", path, message, help);
    }
    if rules.job.kind == JobType::System && group.count > 1 {
        let message =
            format!("a system job has one allocation per node, this asks for {}", group.count);
        rules.error("invalid-count", &format!("{path}/count"), message, "delete `count`");
    }
    keys(rules, &format!("{path}/meta"), group.meta.keys());
    constraint::check(rules, path, &group.constraints, false);
    placement::affinities(rules, path, &group.affinities);
    placement::spreads(rules, path, &group.spreads);
    policy::check(rules, path, group);
    network::check(rules, at, group);
    volume::check(rules, path, group);
    scaling(rules, path, group);
    run_duration(rules, path, group);
    if group.ephemeral_disk.size_mb < MIN_DISK {
        let size = group.ephemeral_disk.size_mb;
        let message = format!("the disk must have {MIN_DISK} MB at least, this has {size}");
        rules.error("out-of-range", &format!("{path}/ephemeral_disk/size"), message, "");
    }
    tasks(rules, at, path, group);
    service::check(rules, at, group);
    reference::check(rules, at, group);
}

fn tasks(rules: &Rules<'_>, at: usize, path: &str, group: &Group) {
    // The task of a gateway is added by whoever runs it.
    let is_gateway = |service: &model::Service| {
        service
            .connect
            .as_ref()
            .and_then(|connect| connect.get("Gateway"))
            .is_some_and(|of| !of.is_null())
    };
    let has_main = group.tasks.iter().any(model::Task::is_main)
        || (group.tasks.is_empty() && group.services.iter().any(is_gateway));
    if !has_main && rules.places.is_whole(path) {
        let (message, help) = if group.tasks.is_empty() {
            (format!("the group `{}` has no task", group.name), "add: task \"name\" { driver = … }")
        } else {
            (
                format!("the group `{}` has no main task", group.name),
                "one task must have no `lifecycle`",
            )
        };
        rules.error("no-tasks", path, message, help);
    }
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut leader: Option<(&str, &str)> = None;
    for (n, task) in group.tasks.iter().enumerate() {
        let task_path = rules.places.task(at, n);
        if let Some(first) = names.insert(&task.name, task_path)
            && !task.name.is_empty()
        {
            let message = format!("the task `{}` is in this group twice", task.name);
            let first = (first.to_owned(), "the first is here");
            rules.error_also("duplicate-name", task_path, message, "give it another name", first);
        }
        if task.leader {
            if let Some((first, first_path)) = leader {
                let message = format!("`{first}` is the leader of this group already");
                let first = (format!("{first_path}/leader"), "this one leads");
                let help = "when the leader ends, the others are stopped: only one task can be it";
                rules.error_also(
                    "invalid-value",
                    &format!("{task_path}/leader"),
                    message,
                    help,
                    first,
                );
            } else {
                leader = Some((&task.name, task_path));
            }
        }
        let logs =
            u64::from(task.log_config.max_files).saturating_mul(task.log_config.max_file_size_mb);
        let disk = group.ephemeral_disk.size_mb;
        // Each task for itself, as in Nomad: the disk need not hold the logs of all.
        if !task.log_config.disabled && logs >= disk && disk >= MIN_DISK {
            let message = format!(
                "the logs of the task `{}` may take {logs} MB, the group's disk has {disk}",
                task.name
            );
            let help = "make the disk larger: ephemeral_disk { size = … }; or the logs smaller: logs { max_files, max_file_size }";
            let place = if rules.places.has(&format!("{task_path}/logs")) {
                format!("{task_path}/logs")
            } else {
                format!("{path}/ephemeral_disk/size")
            };
            rules.error("disk-too-small", &place, message, help);
        }
        task::check(rules, task_path, group, task);
    }
}

fn scaling(rules: &Rules<'_>, path: &str, group: &Group) {
    let Some(scaling) = &group.scaling else { return };
    let block = format!("{path}/scaling");
    let Some(max) = scaling.max else {
        if rules.places.is_whole(&block) {
            let help = "how many allocations there may be at most";
            rules.error("missing-attribute", &block, "`scaling` needs `max`", help);
        }
        return;
    };
    if scaling.kind != "horizontal" {
        let message = format!("`type` of a group's `scaling` cannot be `{}`", scaling.kind);
        let help = "it is horizontal; `scaling` of a task is for its `cpu` and `mem`";
        rules.error("invalid-scaling", &format!("{block}/type"), message, help);
    }
    let (min, count) = (scaling.min.unwrap_or(0), i64::from(group.count));
    if min > max {
        let message = format!("`min` ({min}) must not be more than `max` ({max})");
        rules.error("invalid-scaling", &format!("{block}/min"), message, "");
    } else if !(min..=max).contains(&count) {
        let message = format!("`count` ({count}) must be within `min` ({min}) and `max` ({max})");
        let own = format!("{path}/count");
        let place = if rules.places.has(&own) { own } else { format!("{block}/max") };
        let bounds = (block, "the bounds are here");
        rules.error_also("invalid-scaling", &place, message, "change one of them", bounds);
    }
}

fn run_duration(rules: &Rules<'_>, path: &str, group: &Group) {
    let Some(longest) = group.max_run_duration else { return };
    let place = format!("{path}/max_run_duration");
    if !rules.job.kind.runs_to_completion() {
        let message = format!("a {} job has no `max_run_duration`", rules.job.kind.as_str());
        rules.error(
            "invalid-value",
            &place,
            message,
            "only batch and sysbatch jobs end: delete it",
        );
    } else if longest.is_zero() {
        let message = format!("`max_run_duration` must be more than {}", format_duration(longest));
        rules.error("out-of-range", &place, message, "delete it for no limit");
    }
}
