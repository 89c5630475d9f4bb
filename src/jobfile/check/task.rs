//! Tasks.

use model::{Group, JobType, Task, format_duration};

use super::{Rules, constraint, keys, policy};

pub(super) fn check(rules: &Rules<'_>, path: &str, group: &Group, task: &Task) {
    let name = task.name.as_str();
    // The name is a directory's, beside the `alloc` that tasks share.
    let is_path = name.contains(['/', '\\', '\0']) || matches!(name, "" | "." | ".." | "alloc");
    if is_path || name.len() > 128 {
        let message = format!("`{name}` cannot be a task's name");
        let help = "a name has no slashes, at most 128 characters, and is not `alloc`";
        rules.error("invalid-name", path, message, help);
    }
    if task.driver.is_empty() && rules.places.has(&format!("{path}/driver")) {
        rules.error("missing-attribute", &format!("{path}/driver"), "`driver` is empty", "");
    }
    keys(rules, &format!("{path}/env"), task.env.keys());
    keys(rules, &format!("{path}/meta"), task.meta.keys());
    constraint::check(rules, path, &task.constraints, true);
    if let Some(restart) = &task.restart_policy {
        policy::check_restart(rules, &format!("{path}/restart"), restart);
    }
    let resources = &task.resources;
    let memory = format!("{path}/resources/memory");
    if resources.memory_mb < 10 {
        let message =
            format!("a task needs 10 MB of memory at least, this has {}", resources.memory_mb);
        rules.error("out-of-range", &memory, message, "");
    }
    if resources.memory_max_mb > 0 && resources.memory_max_mb.cast_unsigned() < resources.memory_mb
    {
        let message = format!(
            "`memory_max` ({}) must not be less than `memory` ({})",
            resources.memory_max_mb, resources.memory_mb
        );
        rules.error("out-of-range", &format!("{path}/resources/memory_max"), message, "");
    }
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
        rules.error("out-of-range", &format!("{path}/kill_timeout"), message, "");
    }
}
