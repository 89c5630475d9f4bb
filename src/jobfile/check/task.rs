//! Tasks.

use std::collections::HashSet;

use model::{Group, JobType, Task, format_duration};

use super::{
    Rules, constraint, identity, keys, material, placement, plain, policy, resources, volume,
};
use crate::suggest::nearest;

/// Drivers that are met in job files. Nodes may have others.
const DRIVERS: [&str; 8] =
    ["docker", "exec", "raw_exec", "java", "qemu", "podman", "containerd-driver", "exec2"];

pub(super) fn check(rules: &Rules<'_>, path: &str, group: &Group, task: &Task) {
    let name = task.name.as_str();
    // The name is a directory's, beside the `alloc` that tasks share.
    let is_path = name.contains(['/', '\\', '\0']) || matches!(name, "" | "." | ".." | "alloc");
    if (is_path || name.len() > 128) && rules.places.is_labelled(path) {
        let message = format!("`{name}` cannot be a task's name");
        let help = "a name has 1 to 128 characters and no slashes, and is not `alloc`";
        rules.error("invalid-name", path, message, help);
    }
    driver(rules, path, task);
    keys(rules, &format!("{path}/env"), task.env.keys());
    keys(rules, &format!("{path}/meta"), task.meta.keys());
    constraint::check(rules, path, &task.constraints, true);
    placement::affinities(rules, path, &task.affinities);
    if let Some(restart) = &task.restart_policy
        && rules.places.has(&format!("{path}/restart"))
    {
        policy::check_restart(rules, &format!("{path}/restart"), restart);
    }
    resources::check(rules, path, task);
    volume::mounts(rules, path, group, task);
    material::artifacts(rules, path, task);
    material::templates(rules, path, task);
    identity::check(rules, path, task);
    actions(rules, path, task);
    scaling(rules, path, task);
    kill_timeout(rules, path, group, task);
    plain::check(rules, path, task);
}

fn driver(rules: &Rules<'_>, path: &str, task: &Task) {
    let place = format!("{path}/driver");
    let driver = task.driver.as_str();
    if driver.is_empty() {
        if rules.places.is_whole(path) {
            rules.error("missing-attribute", &place, "`driver` is empty", "for example \"docker\"");
        }
        return;
    }
    if driver.contains("${") {
        return;
    }
    if !DRIVERS.contains(&driver)
        && let Some(meant) = nearest(&driver.replace('-', "_"), DRIVERS)
    {
        let message = format!("no driver is known as `{driver}`");
        rules.warning("unknown-driver", &place, message, &format!("did you mean `{meant}`?"));
    }
    // What most people forget first, and what only the driver would say, when the task starts.
    if !rules.places.is_whole(path) || !rules.places.is_whole(&format!("{path}/config")) {
        return;
    }
    let needs = match driver {
        "docker" | "podman" => ("image", "config { image = \"…\" }"),
        "exec" | "raw_exec" => ("command", "config { command = \"…\" }"),
        _ => return,
    };
    if !task.config.contains_key(needs.0) {
        let own = format!("{path}/config");
        let place = if rules.places.has(&own) { own } else { path.to_owned() };
        let message = format!("the driver `{driver}` needs `{}`", needs.0);
        let help = format!("write {}, on lines of their own", needs.1);
        rules.sink.strict_warning(rules.fault("missing-config", &place, message, &help));
    }
}

fn actions(rules: &Rules<'_>, path: &str, task: &Task) {
    let mut names = HashSet::new();
    for (n, action) in task.actions.iter().enumerate() {
        let place = format!("{path}/action.{n}");
        let name = action.name.as_str();
        let fits = (1..=128).contains(&name.chars().count())
            && !name.contains(|c: char| c.is_whitespace() || c == '\0');
        if !fits && rules.places.is_labelled(&place) {
            let message = format!("`{name}` cannot be an action's name");
            rules.error("invalid-name", &place, message, "1 to 128 characters, without spaces");
        }
        if !names.insert(name) && !name.is_empty() {
            let message = format!("the action `{name}` is in this task twice");
            rules.error("duplicate-name", &place, message, "give it another name");
        }
    }
}

fn scaling(rules: &Rules<'_>, path: &str, task: &Task) {
    let mut kinds = HashSet::new();
    for (n, scaling) in task.scaling_policies.iter().enumerate() {
        let place = format!("{path}/scaling.{n}");
        let kind = scaling.kind.as_str();
        if !["vertical_cpu", "vertical_mem"].contains(&kind) && rules.places.is_labelled(&place) {
            let message = "a task's `scaling` is labelled `cpu` or `mem`";
            let help = "leave out `type`, which is vertical_cpu or vertical_mem by the label";
            rules.error("invalid-scaling", &place, message, help);
        } else if !kinds.insert(kind) {
            let message = format!("`scaling` of the type {kind} is in this task twice");
            rules.error("duplicate-block", &place, message, "make one block of them");
        }
    }
}

fn kill_timeout(rules: &Rules<'_>, path: &str, group: &Group, task: &Task) {
    if let Some(update) = &group.update
        && rules.job.kind == JobType::Service
        && !update.progress_deadline.is_zero()
        && task.kill_timeout > update.progress_deadline
        && rules.places.has(&format!("{path}/kill_timeout"))
    {
        let message = format!(
            "`kill_timeout` ({}) must not be longer than the progress deadline ({})",
            format_duration(task.kill_timeout),
            format_duration(update.progress_deadline)
        );
        let help = "shorten it, or lengthen update { progress_deadline = … }";
        rules.error("out-of-range", &format!("{path}/kill_timeout"), message, help);
    }
}
