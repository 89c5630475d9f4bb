//! What a task that is kept apart finds around it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Asked, IsolationOptions};
use crate::cgroup::Limits;
use crate::isolate::{Bind, GroupPlan, Isolation};
use crate::{DriverError, Propagation, TaskSpec};

/// Variables of the agent that mean the same within a task's root. Nothing else of the agent's is a task's business.
const SHARED: [&str; 4] = ["LANG", "PATH", "TERM", "TZ"];

/// Files in the allocation's `network` directory that take the place of the node's own.
const NETWORK_FILES: [(&str, &str); 3] =
    [("resolv.conf", "etc/resolv.conf"), ("hosts", "etc/hosts"), ("hostname", "etc/hostname")];

/// The task's variables over the few that it shares with the agent.
pub(crate) fn environment(
    host: impl IntoIterator<Item = (OsString, OsString)>,
    user: &str,
    spec: &TaskSpec,
) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = host
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| SHARED.contains(&name.as_str()) || name.starts_with("LC_"))
        .collect();
    env.insert("HOME".to_owned(), "/local".to_owned());
    env.insert("USER".to_owned(), user.to_owned());
    env.extend(spec.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    env
}

/// The walls around a task.
///
/// # Errors
/// When a volume wants to be mounted in a way that is not offered.
pub(crate) fn isolation(
    options: &IsolationOptions,
    asked: &Asked,
    spec: &TaskSpec,
) -> Result<Isolation, DriverError> {
    let network = spec.network.as_ref();
    Ok(Isolation {
        root: spec.dirs.task_dir.clone(),
        binds: binds(options, spec)?,
        network: network.map(|network| network.namespace.clone()),
        hostname: network.map(|network| network.hostname.clone()).unwrap_or_default(),
        own_processes: !asked.host_pid,
        own_ipc: !asked.host_ipc,
        capabilities: asked.capabilities.clone(),
        devices: spec.hardware.devices.clone(),
        group: GroupPlan {
            parent: options.cgroup_parent.clone(),
            instance: options.instance.clone(),
            name: format!("{}.{}", spec.alloc, group_name(&spec.task)),
            limits: limits(options, spec),
        },
    })
}

/// A task's name as a part of a control group's.
fn group_name(task: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    task.chars().map(safe).take(64).collect()
}

fn limits(options: &IsolationOptions, spec: &TaskSpec) -> Limits {
    let bytes = |mb: u64| mb.saturating_mul(1024 * 1024);
    let resources = &spec.resources;
    let (soft, most) = (resources.memory_mb, resources.memory_max_mb);
    // -1 asks for no limit at all.
    let hard = u64::try_from(most).ok().map(|most| most.max(soft));
    Limits {
        cpu_shares: resources.cpu,
        memory: hard.map(bytes),
        memory_soft: hard.is_none_or(|hard| soft < hard).then(|| bytes(soft)),
        processes: (options.max_processes > 0).then_some(options.max_processes),
        cores: spec.hardware.cores.clone(),
    }
}

fn binds(options: &IsolationOptions, spec: &TaskSpec) -> Result<Vec<Bind>, DriverError> {
    let mut binds: Vec<Bind> = options
        .lent
        .iter()
        .map(|(source, target)| Bind {
            source: source.clone(),
            target: target.clone(),
            read_only: true,
            optional: true,
            ..Bind::default()
        })
        .collect();
    let alloc = &spec.dirs.alloc_dir;
    let own = |source: &Path, target: &str, read_only| Bind {
        source: source.to_owned(),
        target: PathBuf::from(target),
        read_only,
        ..Bind::default()
    };
    binds.push(own(alloc, "alloc", false));
    // What a task said is not the task's to change.
    binds.push(own(&spec.dirs.logs, "alloc/logs", true));
    if let Some(root) = alloc.parent().filter(|_| spec.network.is_some()) {
        binds.extend(NETWORK_FILES.iter().map(|(file, target)| Bind {
            optional: true,
            over: true,
            ..own(&root.join("network").join(file), target, true)
        }));
    }
    for volume in &spec.volumes {
        if volume.propagation == Propagation::Bidirectional {
            return Err(DriverError::StartNever(format!(
                "{}: a volume that gives the task a say in the node's mounts (`propagation_mode = \"bidirectional\"`) \
                 is not offered by this driver",
                volume.target
            )));
        }
        binds.push(Bind {
            follows: volume.propagation == Propagation::HostToTask,
            ..own(&volume.source, &volume.target, volume.read_only)
        });
    }
    Ok(binds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups_are_plain() {
        assert_eq!(group_name("we b/../x"), "we_b_.._x");
        assert_eq!(group_name(&"x".repeat(200)).len(), 64);
    }
}
