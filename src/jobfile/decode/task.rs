//! `task {}`.

use std::time::Duration;

use model::{Group, Lifecycle, LifecycleHook, LogConfig, Resources, Task};

use super::job::Inherited;
use super::reader::Reader;
use super::{constraint, policy, service};

/// Reads a task of `group`.
pub(super) fn read(reader: &Reader<'_>, name: &str, group: &Group, job: &Inherited) -> Task {
    reader.missing("driver", "say what runs it: driver = \"docker\", \"exec\" or \"raw_exec\"");
    let mut restart = group.restart_policy.clone();
    let has_restart = policy::restart(reader, &mut restart);
    let config = reader.open_map("config");
    Task {
        name: name.to_owned(),
        driver: reader.text("driver").unwrap_or_default(),
        user: reader.text("user").unwrap_or_default(),
        config: config.into_iter().map(|(key, value)| (key, value.to_json())).collect(),
        env: reader.text_map("env"),
        meta: reader.text_map("meta"),
        services: service::all(reader, job, &group.name, Some(name)),
        constraints: constraint::all(reader),
        resources: resources(reader),
        restart_policy: has_restart.then_some(restart),
        lifecycle: lifecycle(reader),
        kill_timeout: reader.duration("kill_timeout").unwrap_or(Duration::from_secs(5)),
        kill_signal: reader.text("kill_signal").unwrap_or_default(),
        shutdown_delay: reader.duration("shutdown_delay").unwrap_or_default(),
        leader: reader.flag("leader").unwrap_or_default(),
        log_config: logs(reader),
        ..Task::default()
    }
}

fn resources(parent: &Reader<'_>) -> Resources {
    let default = Resources::default();
    let Some(reader) = parent.block("resources") else { return default };
    Resources {
        cpu: reader.whole("cpu", 1..=i64::MAX).unwrap_or(default.cpu),
        memory_mb: reader.whole("memory", 1..=i64::MAX).unwrap_or(default.memory_mb),
        // -1 is Nomad's word for no limit, which is what 0 says.
        memory_max_mb: reader
            .whole::<i64>("memory_max", -1..=i64::MAX)
            .unwrap_or(default.memory_max_mb),
        ..default
    }
}

fn logs(parent: &Reader<'_>) -> LogConfig {
    let default = LogConfig::default();
    let Some(reader) = parent.block("logs") else { return default };
    LogConfig {
        max_files: reader.whole("max_files", 1..=1000).unwrap_or(default.max_files),
        max_file_size_mb: reader
            .whole("max_file_size", 1..=i64::MAX)
            .unwrap_or(default.max_file_size_mb),
        disabled: reader
            .flag("disabled")
            .or_else(|| reader.flag("enabled").map(|enabled| !enabled))
            .unwrap_or(default.disabled),
        ..default
    }
}

fn lifecycle(parent: &Reader<'_>) -> Option<Lifecycle> {
    let reader = parent.block("lifecycle")?;
    let hooks = [
        ("prestart", LifecycleHook::Prestart),
        ("poststart", LifecycleHook::Poststart),
        ("poststop", LifecycleHook::Poststop),
    ];
    reader.missing("hook", "one of prestart, poststart, poststop");
    Some(Lifecycle {
        hook: reader.choice("hook", &hooks).unwrap_or(LifecycleHook::Prestart),
        sidecar: reader.flag("sidecar").unwrap_or_default(),
    })
}
