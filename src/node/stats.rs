//! What tasks and the machine use. Shares of the processor come from two samples; the last one is kept.

mod texts;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driver::TaskStats;
use model::{AllocId, Timestamp};

use crate::runner::Shared;
use crate::usage::DiskUse;
pub(crate) use texts::{CpuTimes, Memory};

/// How long a driver may take to say what a task uses.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time between two samples where there is none yet, or only an old one.
const APART: Duration = Duration::from_millis(200);

/// From when on a sample says nothing about now.
const OLD: Duration = Duration::from_secs(120);

/// A share of the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuUse {
    /// Percent of one core: 200 is two cores in full use.
    pub percent: f64,
    /// Of it, in the kernel.
    pub system_percent: f64,
    /// The same in MHz.
    pub ticks: f64,
}

/// What a task uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TaskUsage {
    /// As its driver says it.
    pub stats: TaskStats,
    /// Its share of the processor lately.
    pub cpu: CpuUse,
    /// When this was looked at.
    pub at: Timestamp,
}

/// What an allocation uses: those of its tasks that run and whose drivers can tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AllocUsage {
    /// By task.
    pub tasks: BTreeMap<String, TaskUsage>,
    /// When this was looked at.
    pub at: Timestamp,
}

/// What the machine uses. Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostUsage {
    /// All memory.
    pub memory_total: u64,
    /// What can be had without swapping.
    pub memory_available: u64,
    /// What nobody uses for anything.
    pub memory_free: u64,
    /// Each core's percent in use: user, system, idle.
    pub cores: Vec<[f64; 3]>,
    /// The disk that allocations lie on.
    pub disk: DiskUse,
    /// Seconds since the machine was started.
    pub uptime: u64,
    /// When this was looked at.
    pub at: Timestamp,
}

/// The last samples.
#[derive(Default)]
pub(crate) struct Samples {
    tasks: Mutex<BTreeMap<(AllocId, String), (Timestamp, TaskStats)>>,
    host: Mutex<Option<(Timestamp, Vec<CpuTimes>)>>,
}

/// The share that follows from two samples; nothing where a counter went back, as after a restart.
fn cpu_use(before: (Timestamp, TaskStats), now: (Timestamp, TaskStats), mhz: f64) -> CpuUse {
    let span = now.0.since(before.0).as_nanos() as f64;
    let share = |now: u64, before: u64| match now.checked_sub(before) {
        Some(used) if span > 0.0 => used as f64 / span * 100.0,
        _ => 0.0,
    };
    let percent = share(now.1.cpu_nanos, before.1.cpu_nanos);
    let system_percent = share(now.1.system_nanos, before.1.system_nanos).min(percent);
    CpuUse { percent, system_percent, ticks: percent / 100.0 * mhz }
}

/// What an allocation uses now; `None` where this node has no such allocation.
pub(crate) async fn usage(shared: &Shared, alloc: AllocId) -> Option<AllocUsage> {
    let known = shared.ledger.get(alloc)?;
    shared.samples.forget_unless(|alloc| shared.ledger.get(alloc).is_some());
    let mhz = shared.mhz_of_a_core();
    let tasks = known.tasks.into_iter().filter_map(|(name, task)| Some((name, task.handle?)));
    let looks = tasks.map(|(name, handle)| async move {
        let driver = shared.drivers.get(&handle.driver)?;
        let look = async || {
            let stats = tokio::time::timeout(PATIENCE, driver.stats(&handle)).await;
            Some((shared.now(), stats.ok()?.ok()??))
        };
        let mut sample = look().await?;
        let key = (alloc, name.clone());
        let fresh = |before: &(Timestamp, TaskStats)| {
            let age = sample.0.since(before.0);
            age >= APART / 2 && age < OLD && before.1.cpu_nanos <= sample.1.cpu_nanos
        };
        let before = shared.samples.tasks().get(&key).copied().filter(fresh);
        let before = match before {
            Some(before) => before,
            None => {
                let first = sample;
                tokio::time::sleep(APART).await;
                sample = look().await?;
                first
            }
        };
        shared.samples.tasks().insert(key, sample);
        let usage = TaskUsage { stats: sample.1, cpu: cpu_use(before, sample, mhz), at: sample.0 };
        Some((name, usage))
    });
    let tasks = futures_util::future::join_all(looks).await.into_iter().flatten().collect();
    Some(AllocUsage { tasks, at: shared.now() })
}

/// What the machine uses now.
pub(crate) async fn host(shared: &Arc<Shared>) -> HostUsage {
    let look = || async {
        let read = tokio::task::spawn_blocking(|| {
            let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
            (text("/proc/stat"), text("/proc/meminfo"), text("/proc/uptime"))
        });
        (shared.now(), read.await.unwrap_or_default())
    };
    let (mut at, mut texts) = look().await;
    let before = shared.samples.host().clone().filter(|(then, _)| {
        let age = at.since(*then);
        age >= APART / 2 && age < OLD
    });
    let before = match before {
        Some((_, before)) => before,
        None => {
            let first = texts::cpu_times(&texts.0);
            tokio::time::sleep(APART).await;
            (at, texts) = look().await;
            first
        }
    };
    let times = texts::cpu_times(&texts.0);
    let cores = texts::cores(&before, &times);
    *shared.samples.host() = Some((at, times));
    let Memory { total, available, free } = texts::memory(&texts.1);
    HostUsage {
        memory_total: total,
        memory_available: available,
        memory_free: free,
        cores,
        disk: shared.disk_use().await,
        uptime: texts::uptime(&texts.2),
        at,
    }
}

impl Samples {
    fn tasks(&self) -> MutexGuard<'_, BTreeMap<(AllocId, String), (Timestamp, TaskStats)>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn host(&self) -> MutexGuard<'_, Option<(Timestamp, Vec<CpuTimes>)>> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_unless(&self, known: impl Fn(AllocId) -> bool) {
        self.tasks().retain(|(alloc, _), _| known(*alloc));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_from_two_samples() {
        let at = |secs: i64, cpu_nanos, system_nanos| {
            let stats = TaskStats { cpu_nanos, system_nanos, ..TaskStats::default() };
            (Timestamp::from_secs(secs), stats)
        };
        let second = 1_000_000_000;
        let used = cpu_use(at(10, second, 0), at(12, 2 * second, second / 2), 2000.0);
        assert_eq!((used.percent, used.system_percent, used.ticks), (50.0, 25.0, 1000.0));
        assert_eq!(cpu_use(at(10, second, 0), at(12, 0, 0), 2000.0), CpuUse::default());
        assert_eq!(cpu_use(at(10, 0, 0), at(10, second, 0), 2000.0), CpuUse::default());
    }
}
