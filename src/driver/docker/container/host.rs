//! What a container may use of the node.

use std::collections::HashMap;

use bollard::models::{
    DeviceMapping, HostConfig, HostConfigCgroupnsModeEnum as Cgroupns, HostConfigLogConfig, Mount,
    ResourcesUlimits,
};

use model::format_cpuset;

use super::Joins;
use crate::TaskSpec;
use crate::docker::DockerOptions;
use crate::docker::config::{Access, Config};

/// What the daemon keeps of the output at most: it has to bridge the time in which no agent is there to take it.
const MAX_LOG_MB: u64 = 20;

pub(super) fn config(
    spec: &TaskSpec,
    config: &Config,
    options: &DockerOptions,
    mounts: Vec<Mount>,
) -> HostConfig {
    let network = &config.network;
    let joins = Joins::of(spec, config);
    // Names are the business of the container whose network it is; ours are in files that are mounted.
    let own = |list: &[String]| (!list.is_empty() && joins == Joins::Own).then(|| list.to_vec());
    let dns = spec.dns.clone().unwrap_or_default();
    let first = |task: &[String], group: &[String]| own(if task.is_empty() { group } else { task });
    HostConfig {
        mounts: Some(mounts),
        network_mode: match joins {
            Joins::Own => network.mode.clone(),
            Joins::Container(container) => Some(format!("container:{container}")),
            Joins::Namespace(file) => Some(format!("ns:{file}")),
        },
        extra_hosts: own(&network.extra_hosts),
        dns: first(&network.dns_servers, &dns.servers),
        dns_search: first(&network.dns_searches, &dns.searches),
        dns_options: first(&network.dns_options, &dns.options),
        init: config.init,
        readonly_rootfs: Some(config.readonly_rootfs),
        storage_opt: (!config.storage_opt.is_empty())
            .then(|| config.storage_opt.clone().into_iter().collect()),
        log_config: Some(log_config(spec)),
        ..walls(spec, &config.access, limits(spec, config, options))
    }
}

fn walls(spec: &TaskSpec, access: &Access, host: HostConfig) -> HostConfig {
    let filled = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let device = |device: &crate::docker::config::Device| DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    };
    // What the task was given, where it is on the node; what its file maps elsewhere comes with it.
    let given = spec.hardware.devices.iter().map(|path| DeviceMapping {
        path_on_host: Some(path.display().to_string()),
        path_in_container: Some(path.display().to_string()),
        cgroup_permissions: Some("rwm".to_owned()),
    });
    let devices: Vec<DeviceMapping> = access.devices.iter().map(device).chain(given).collect();
    HostConfig {
        privileged: Some(access.privileged),
        cap_add: filled(&access.cap_add),
        cap_drop: filled(&access.cap_drop),
        devices: (!devices.is_empty()).then_some(devices),
        security_opt: filled(&access.security_opt),
        pid_mode: access.pid_mode.clone(),
        ipc_mode: access.ipc_mode.clone(),
        uts_mode: access.uts_mode.clone(),
        userns_mode: access.userns_mode.clone(),
        cgroupns_mode: access.cgroupns.as_deref().map(|mode| match mode {
            "host" => Cgroupns::HOST,
            _ => Cgroupns::PRIVATE,
        }),
        runtime: access.runtime.clone(),
        oom_score_adj: access.oom_score_adj,
        group_add: filled(&access.group_add),
        ..host
    }
}

fn limits(spec: &TaskSpec, config: &Config, options: &DockerOptions) -> HostConfig {
    let bytes = |mb: u64| i64::try_from(mb.saturating_mul(1024 * 1024)).unwrap_or(i64::MAX);
    let (resources, limits) = (&spec.resources, &config.limits);
    let soft = bytes(resources.memory_mb);
    // -1 asks for no limit at all.
    let limit = u64::try_from(resources.memory_max_mb).ok().map(|most| {
        // The older way to say the same.
        let most = if most == 0 { limits.memory_mb.unwrap_or(0) } else { most };
        bytes(most.max(resources.memory_mb))
    });
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let quota = limits.quota(resources.cpu, options.total_compute, processors);
    let ulimit = |(name, soft, hard): &(String, i64, i64)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(*soft),
        hard: Some(*hard),
    };
    HostConfig {
        // Docker refuses less than 2.
        cpu_shares: Some(i64::try_from(resources.cpu.max(2)).unwrap_or(i64::MAX)),
        cpu_period: quota.map(|_| limits.cpu_period),
        cpu_quota: quota,
        cpuset_cpus: match &limits.cpuset {
            // A file that names cores knows why, unless the task has some of its own.
            Some(cores) if !spec.hardware.alone => Some(cores.clone()),
            _ => (!spec.hardware.cores.is_empty())
                .then(|| format_cpuset(spec.hardware.cores.iter().copied())),
        },
        memory: limit,
        memory_reservation: limit.is_none_or(|limit| soft < limit).then_some(soft),
        // As much as memory means: no swap on top.
        memory_swap: limit,
        memory_swappiness: limits.swappiness,
        pids_limit: limits.pids,
        ulimits: Some(limits.ulimits.iter().map(ulimit).collect()),
        sysctls: Some(limits.sysctl.clone().into_iter().collect()),
        shm_size: limits.shm_size,
        ..HostConfig::default()
    }
}

fn log_config(spec: &TaskSpec) -> HostConfigLogConfig {
    if spec.log.disabled {
        return HostConfigLogConfig { typ: Some("none".to_owned()), config: None };
    }
    let size = spec.log.max_file_size_mb.clamp(1, MAX_LOG_MB / 2);
    let config =
        HashMap::from([("max-size".into(), format!("{size}m")), ("max-file".into(), "2".into())]);
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(config) }
}
