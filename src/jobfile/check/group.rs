//! Groups and their networks.

use std::collections::{BTreeSet, HashSet};

use model::{Group, JobType};

use super::{Rules, constraint, keys, policy, service, task};

pub(super) fn check(rules: &Rules<'_>, at: usize, group: &Group) {
    let path = rules.places.group(at);
    if group.name.is_empty() || group.name.contains(['\0', '/', '\\']) || group.name.len() > 256 {
        let message = format!("`{}` cannot be a group's name", group.name);
        rules.error(
            "invalid-name",
            path,
            message,
            "a name has no slashes and at most 256 characters",
        );
    }
    if rules.job.kind == JobType::System && group.count > 1 {
        let message =
            format!("a system job has one allocation per node, this asks for {}", group.count);
        rules.error("invalid-count", &format!("{path}/count"), message, "delete `count`");
    }
    keys(rules, &format!("{path}/meta"), group.meta.keys());
    constraint::check(rules, path, &group.constraints, false);
    policy::check(rules, path, group);
    let ports = network(rules, path, group);
    if group.ephemeral_disk.size_mb < 10 {
        let message =
            format!("the disk must have 10 MB at least, this has {}", group.ephemeral_disk.size_mb);
        rules.error("out-of-range", &format!("{path}/ephemeral_disk/size"), message, "");
    }
    tasks(rules, at, path, group);
    service::check(rules, at, group, &ports);
}

fn tasks(rules: &Rules<'_>, at: usize, path: &str, group: &Group) {
    if !group.tasks.iter().any(model::Task::is_main) && rules.places.is_whole(path) {
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
    let mut names = HashSet::new();
    let mut leader: Option<&str> = None;
    let mut logs = 0_u64;
    for (n, task) in group.tasks.iter().enumerate() {
        let task_path = rules.places.task(at, n);
        if !names.insert(task.name.as_str()) {
            let message = format!("the task `{}` is in this group twice", task.name);
            rules.error("duplicate-name", task_path, message, "give it another name");
        }
        if task.leader
            && let Some(first) = leader.replace(&task.name)
        {
            let message = format!("`{first}` is the leader of this group already");
            rules.error("invalid-value", &format!("{task_path}/leader"), message, "");
        }
        if !task.log_config.disabled {
            let files = u64::from(task.log_config.max_files);
            logs = logs.saturating_add(files.saturating_mul(task.log_config.max_file_size_mb));
        }
        task::check(rules, task_path, group, task);
    }
    if logs >= group.ephemeral_disk.size_mb
        && rules.places.has(&format!("{path}/ephemeral_disk/size"))
    {
        let message = format!(
            "the logs of the tasks may take {logs} MB, the disk has {}",
            group.ephemeral_disk.size_mb
        );
        let help = "make the disk larger, or the logs smaller: logs { max_files, max_file_size }";
        rules.error("disk-too-small", &format!("{path}/ephemeral_disk/size"), message, help);
    }
}

/// Checks the networks and gives the labels of their ports.
fn network<'a>(rules: &Rules<'_>, path: &str, group: &'a Group) -> BTreeSet<&'a str> {
    let mut labels = BTreeSet::new();
    let mut fixed = HashSet::new();
    for (n, network) in group.networks.iter().enumerate() {
        let block = format!("{path}/network.{n}");
        let mode = network.mode.as_str();
        if n == 1 {
            let message = "only the first `network` of a group counts";
            rules.error("duplicate-block", &block, message, "merge them into one");
        }
        let known = matches!(mode, "" | "host" | "bridge" | "none");
        if !known && mode.strip_prefix("cni/").is_none_or(str::is_empty) && !mode.contains("${") {
            let message = format!("`{mode}` is not a network mode");
            let help = "one of host, bridge, none, cni/<name>";
            rules.error("invalid-value", &format!("{block}/mode"), message, help);
        }
        for port in network.ports() {
            let place = format!("{block}/port/{}", port.label);
            if !labels.insert(port.label.as_str()) {
                let message = format!("the port `{}` is in this group twice", port.label);
                rules.error("duplicate-name", &place, message, "give it another label");
            }
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
            if port.label.is_empty() || !port.label.bytes().all(fits) {
                let message = format!("`{}` cannot be a port's label", port.label);
                rules.error("invalid-name", &place, message, "use letters, digits, `_` and `-`");
            }
            if port.value > 0 && !fixed.insert((port.value, port.host_network.as_str())) {
                let message = format!("the static port {} is asked for twice", port.value);
                rules.error("duplicate-port", &place, message, "");
            }
        }
    }
    labels
}
