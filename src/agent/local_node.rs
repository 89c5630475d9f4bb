//! The API's way to the node of this agent: what it uses, its files, and what it is told to do.

use std::collections::BTreeMap;
use std::io::SeekFrom;
use std::sync::Arc;

use api::{FilePieces, LocalError, LocalFigure, LocalNode};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use model::wire::{
    AllocFileInfo, AllocResourceUsage, CpuStats, HostCpu, HostDisk, HostMemory, HostStats,
    MemoryStats, ResourceUsage, TaskResourceUsage,
};
use model::{AllocId, ClientStatus};
use node::{
    AllocUsage, DiskUse, FileError, FileInfo, HostUsage, NodeRuntime, OrderError, TaskUsage,
};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

/// The node of this agent.
pub(crate) struct OwnNode {
    pub(crate) runtime: Arc<NodeRuntime>,
    /// Where its allocations lie, for those who ask about the disk.
    pub(crate) alloc_dir: String,
    /// What a full core counts for, in MHz.
    pub(crate) mhz: f64,
}

#[async_trait]
impl LocalNode for OwnNode {
    async fn usage(&self, alloc: AllocId) -> Result<AllocResourceUsage, LocalError> {
        let usage = self.runtime.usage(alloc).await;
        usage.map(alloc_usage).ok_or_else(|| {
            LocalError::NotFound(format!("allocation {} is not on this node", alloc.short()))
        })
    }

    async fn host(&self) -> HostStats {
        host_stats(&self.runtime.host_usage().await, &self.alloc_dir, self.mhz)
    }

    async fn figures(&self) -> Vec<LocalFigure> {
        let facts = self.runtime.facts();
        let host = self.runtime.host_usage().await;
        let looks = facts.running.iter().map(|(alloc, job, group)| async move {
            Some((*alloc, job.to_string(), group.clone(), self.runtime.usage(*alloc).await?))
        });
        let usages: Vec<_> =
            futures_util::future::join_all(looks).await.into_iter().flatten().collect();
        let mut figures = node_figures(&facts, &host, &self.alloc_dir);
        figures.extend(alloc_figures(&usages));
        figures
    }

    async fn restart(&self, alloc: AllocId, task: Option<String>) -> Result<(), LocalError> {
        self.runtime.restart(alloc, task).await.map_err(of_order)
    }

    async fn signal(
        &self,
        alloc: AllocId,
        task: Option<String>,
        signal: String,
    ) -> Result<(), LocalError> {
        self.runtime.signal(alloc, task, signal).await.map_err(of_order)
    }

    async fn collect(&self, alloc: Option<AllocId>) -> Result<(), LocalError> {
        match alloc {
            Some(alloc) => self.runtime.collect(alloc).await.map_err(of_order),
            None => {
                let removed = self.runtime.collect_all().await;
                tracing::info!(
                    removed,
                    "files of allocations that are over were removed on request"
                );
                Ok(())
            }
        }
    }

    async fn list(&self, alloc: AllocId, path: &str) -> Result<Vec<AllocFileInfo>, LocalError> {
        let files = self.runtime.list_files(alloc, path).await.map_err(of_file)?;
        Ok(files.into_iter().map(file_info).collect())
    }

    async fn stat(&self, alloc: AllocId, path: &str) -> Result<AllocFileInfo, LocalError> {
        self.runtime.stat_file(alloc, path).await.map(file_info).map_err(of_file)
    }

    async fn read(
        &self,
        alloc: AllocId,
        path: &str,
        offset: u64,
        limit: Option<u64>,
    ) -> Result<FilePieces, LocalError> {
        let file = self.runtime.open_file(alloc, path).await.map_err(of_file)?;
        let mut file = tokio::fs::File::from_std(file);
        let failed = |error: std::io::Error| LocalError::Failed(error.to_string());
        let end = file.metadata().await.map_err(failed)?.len();
        file.seek(SeekFrom::Start(offset)).await.map_err(failed)?;
        // What is written from now on is left out, so that a log that grows has an end.
        let left = end.saturating_sub(offset);
        let limit = limit.map_or(left, |limit| limit.min(left));
        Ok(ReaderStream::new(file.take(limit)).boxed())
    }
}

fn of_order(error: OrderError) -> LocalError {
    match error {
        OrderError::NotFound(words) => LocalError::NotFound(words),
        OrderError::Refused(words) => LocalError::Invalid(words),
        OrderError::Failed(words) => LocalError::Failed(words),
    }
}

fn of_file(error: FileError) -> LocalError {
    match error {
        FileError::NotFound(words) => LocalError::NotFound(words),
        FileError::Hidden(words) => LocalError::Forbidden(words),
        FileError::Refused(words) => LocalError::Invalid(words),
        FileError::Failed(words) => LocalError::Failed(words),
    }
}

fn file_info(file: FileInfo) -> AllocFileInfo {
    AllocFileInfo {
        file_mode: mode_text(file.mode),
        name: file.name,
        is_dir: file.is_dir,
        size: file.size,
        mod_time: file.modified,
    }
}

/// A mode as Go writes it: `-rw-r--r--`, `drwxr-xr-x`, `Lrwxrwxrwx`.
fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => "d",
        0o120_000 => "L",
        0o010_000 => "p",
        0o140_000 => "S",
        0o020_000 => "Dc",
        0o060_000 => "D",
        _ => "",
    };
    let mut text = kind.to_owned();
    for (bit, letter) in [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')] {
        if mode & bit != 0 {
            text.push(letter);
        }
    }
    if text.is_empty() {
        text.push('-');
    }
    for (at, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode & (0o400 >> at) == 0 { '-' } else { letter });
    }
    text
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

fn resource_usage(usage: &TaskUsage) -> ResourceUsage {
    let TaskUsage { stats, cpu, .. } = usage;
    ResourceUsage {
        memory_stats: MemoryStats {
            rss: stats.rss_bytes,
            cache: stats.memory_bytes.saturating_sub(stats.rss_bytes),
            usage: stats.memory_bytes,
            max_usage: stats.memory_peak_bytes,
            measured: names(&["RSS", "Cache", "Usage", "Max Usage"]),
            ..MemoryStats::default()
        },
        cpu_stats: CpuStats {
            system_mode: cpu.system_percent,
            user_mode: cpu.percent - cpu.system_percent,
            total_ticks: cpu.ticks,
            throttled_periods: stats.throttled_periods,
            throttled_time: stats.throttled_nanos,
            percent: cpu.percent,
            measured: names(&[
                "System Mode",
                "User Mode",
                "Percent",
                "Throttled Periods",
                "Throttled Time",
            ]),
        },
    }
}

fn alloc_usage(usage: AllocUsage) -> AllocResourceUsage {
    let mut total = ResourceUsage::default();
    let tasks: BTreeMap<_, _> = usage
        .tasks
        .into_iter()
        .map(|(name, task)| {
            let used = resource_usage(&task);
            let (memory, cpu) = (&mut total.memory_stats, &mut total.cpu_stats);
            memory.rss += used.memory_stats.rss;
            memory.cache += used.memory_stats.cache;
            memory.usage += used.memory_stats.usage;
            memory.max_usage += used.memory_stats.max_usage;
            memory.measured.clone_from(&used.memory_stats.measured);
            cpu.system_mode += used.cpu_stats.system_mode;
            cpu.user_mode += used.cpu_stats.user_mode;
            cpu.total_ticks += used.cpu_stats.total_ticks;
            cpu.percent += used.cpu_stats.percent;
            cpu.throttled_periods += used.cpu_stats.throttled_periods;
            cpu.throttled_time += used.cpu_stats.throttled_time;
            cpu.measured.clone_from(&used.cpu_stats.measured);
            let processes = task.stats.processes;
            (name, TaskResourceUsage { resource_usage: used, timestamp: task.at, processes })
        })
        .collect();
    AllocResourceUsage { resource_usage: total, tasks, timestamp: usage.at }
}

fn host_stats(host: &HostUsage, dir: &str, mhz: f64) -> HostStats {
    let core = |(n, [user, system, idle]): (usize, &[f64; 3])| HostCpu {
        cpu: format!("cpu{n}"),
        user: *user,
        system: *system,
        idle: *idle,
        total_percent: user + system,
    };
    let cpu: Vec<_> = host.cores.iter().enumerate().map(core).collect();
    HostStats {
        memory: HostMemory {
            total: host.memory_total,
            available: host.memory_available,
            used: host.memory_total.saturating_sub(host.memory_available),
            free: host.memory_free,
        },
        cpu_ticks_consumed: cpu.iter().map(|core| core.total_percent).sum::<f64>() / 100.0 * mhz,
        cpu,
        disk_stats: vec![disk(host.disk, dir)],
        alloc_dir_stats: disk(host.disk, dir),
        uptime: host.uptime,
        timestamp: host.at,
    }
}

fn disk(disk: DiskUse, dir: &str) -> HostDisk {
    HostDisk {
        device: String::new(),
        mountpoint: dir.to_owned(),
        size: disk.total,
        used: disk.used,
        available: disk.total.saturating_sub(disk.used),
        used_percent: disk.space_percent(),
        inodes_used_percent: disk.inode_percent(),
    }
}

/// Counts become floats here: metrics have no other number.
const fn number(count: u64) -> f64 {
    count as f64
}

fn node_figures(facts: &node::Facts, host: &HostUsage, dir: &str) -> Vec<LocalFigure> {
    let mut all = Vec::new();
    let mut add = |name, help, labels, value, counter| {
        all.push(LocalFigure { name, help, labels, value, counter });
    };
    for (status, name, help) in [
        (ClientStatus::Pending, "nomad_client_allocs_pending", "Allocations that have not started"),
        (ClientStatus::Running, "nomad_client_allocs_running", "Allocations that run"),
        (
            ClientStatus::Complete,
            "nomad_client_allocs_complete",
            "Allocations that ended well and are still known",
        ),
        (
            ClientStatus::Failed,
            "nomad_client_allocs_failed",
            "Allocations that failed and are still known",
        ),
    ] {
        let count = facts.by_status.get(&status).copied().unwrap_or_default();
        add(name, help, Vec::new(), number(count), false);
    }
    for (name, help, count) in [
        (
            "nomad_client_allocs_restart",
            "Restarts of tasks since the agent's start",
            facts.restarts,
        ),
        (
            "nomad_client_allocs_oom_killed",
            "Tasks ended for want of memory since the agent's start",
            facts.ooms,
        ),
        (
            "herder_client_gc_removed",
            "Allocations whose files were removed to free disk space",
            facts.collected,
        ),
    ] {
        add(name, help, Vec::new(), number(count), true);
    }
    let pressed = f64::from(u8::from(facts.pressed));
    add(
        "herder_client_gc_disk_pressure",
        "Whether the disk is too full and nothing is left to remove",
        Vec::new(),
        pressed,
        false,
    );
    let used = host.memory_total.saturating_sub(host.memory_available);
    for (name, help, bytes) in [
        ("nomad_client_host_memory_total", "Bytes of memory", host.memory_total),
        (
            "nomad_client_host_memory_available",
            "Bytes of memory that can be had",
            host.memory_available,
        ),
        ("nomad_client_host_memory_used", "Bytes of memory that cannot be had", used),
        ("nomad_client_host_memory_free", "Bytes of memory that nobody uses", host.memory_free),
        ("nomad_client_uptime", "Seconds since the machine was started", host.uptime),
    ] {
        add(name, help, Vec::new(), number(bytes), false);
    }
    let at = || vec![("disk", dir.to_owned())];
    let seen = disk(host.disk, dir);
    for (name, help, value) in [
        ("nomad_client_host_disk_size", "Bytes of the allocations' disk", number(seen.size)),
        ("nomad_client_host_disk_used", "Bytes of it in use", number(seen.used)),
        ("nomad_client_host_disk_available", "Bytes of it that can be had", number(seen.available)),
        ("nomad_client_host_disk_used_percent", "Percent of it in use", seen.used_percent),
        (
            "nomad_client_host_disk_inodes_percent",
            "Percent of its inodes in use",
            seen.inodes_used_percent,
        ),
    ] {
        add(name, help, at(), value, false);
    }
    for (name, help, part) in [
        ("nomad_client_host_cpu_user", "Percent of a core in programs", 0),
        ("nomad_client_host_cpu_system", "Percent of a core in the kernel", 1),
        ("nomad_client_host_cpu_idle", "Percent of a core idle", 2),
    ] {
        for (n, core) in host.cores.iter().enumerate() {
            let value = core.get(part).copied().unwrap_or_default();
            add(name, help, vec![("cpu", format!("cpu{n}"))], value, false);
        }
    }
    all
}

fn alloc_figures(usages: &[(AllocId, String, String, AllocUsage)]) -> Vec<LocalFigure> {
    type Value = fn(&TaskUsage) -> f64;
    const FIGURES: [(&str, &str, Value); 6] = [
        ("nomad_client_allocs_cpu_total_percent", "Percent of one core", |task| task.cpu.percent),
        ("nomad_client_allocs_cpu_total_ticks", "MHz", |task| task.cpu.ticks),
        ("nomad_client_allocs_cpu_throttled_time", "Nanoseconds held back", |task| {
            number(task.stats.throttled_nanos)
        }),
        ("nomad_client_allocs_memory_rss", "Bytes that nobody could take away", |task| {
            number(task.stats.rss_bytes)
        }),
        ("nomad_client_allocs_memory_usage", "Bytes with what the kernel keeps", |task| {
            number(task.stats.memory_bytes)
        }),
        ("nomad_client_allocs_memory_max_usage", "The most bytes there ever were", |task| {
            number(task.stats.memory_peak_bytes)
        }),
    ];
    let mut all = Vec::new();
    for (name, help, value) in FIGURES {
        for (alloc, job, group, usage) in usages {
            for (task, used) in &usage.tasks {
                let labels = vec![
                    ("alloc_id", alloc.to_string()),
                    ("job", job.clone()),
                    ("task_group", group.clone()),
                    ("task", task.clone()),
                ];
                all.push(LocalFigure { name, help, labels, value: value(used), counter: false });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_go_writes_them() {
        for (mode, text) in [
            (0o100_644, "-rw-r--r--"),
            (0o040_755, "drwxr-xr-x"),
            (0o041_777, "dtrwxrwxrwx"),
            (0o104_755, "urwxr-xr-x"),
            (0o120_777, "Lrwxrwxrwx"),
        ] {
            assert_eq!(mode_text(mode), text, "{mode:o}");
        }
    }

    #[test]
    fn an_allocation_uses_what_its_tasks_use() {
        let task = |percent, rss_bytes| TaskUsage {
            stats: driver::TaskStats { rss_bytes, ..Default::default() },
            cpu: node::CpuUse { percent, system_percent: percent / 2.0, ticks: percent },
            ..TaskUsage::default()
        };
        let tasks = [("a".to_owned(), task(50.0, 10)), ("b".to_owned(), task(25.0, 5))].into();
        let usage = alloc_usage(AllocUsage { tasks, ..AllocUsage::default() });
        let total = &usage.resource_usage;
        assert_eq!((total.cpu_stats.percent, total.memory_stats.rss), (75.0, 15));
        assert_eq!(usage.tasks["a"].resource_usage.cpu_stats.user_mode, 25.0);
    }
}
