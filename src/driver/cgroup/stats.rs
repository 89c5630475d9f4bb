//! What a group used, as the kernel tells it.

use std::fs;
use std::io;

use super::{Cgroup, Version};
use crate::TaskStats;

/// Nanoseconds of one tick of the kernel's coarse clock (`USER_HZ` is 100 on all of Linux).
pub(crate) const TICK: u64 = 10_000_000;

impl Cgroup {
    /// What it used so far and uses now. What cannot be read is 0.
    pub(crate) fn stats(&self) -> io::Result<TaskStats> {
        let text = |controller: &str, file: &str| {
            let path = self.file(controller, file);
            path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
        };
        let number =
            |controller: &str, file: &str| text(controller, file).trim().parse().unwrap_or(0);
        Ok(match self.version {
            Version::V1 => {
                let (cpu, memory) = (text("cpu", "cpu.stat"), text("memory", "memory.stat"));
                TaskStats {
                    cpu_nanos: number("cpuacct", "cpuacct.usage"),
                    system_nanos: field(&text("cpuacct", "cpuacct.stat"), "system") * TICK,
                    throttled_periods: field(&cpu, "nr_throttled"),
                    throttled_nanos: field(&cpu, "throttled_time"),
                    rss_bytes: field(&memory, "total_rss"),
                    memory_bytes: number("memory", "memory.usage_in_bytes"),
                    memory_peak_bytes: number("memory", "memory.max_usage_in_bytes"),
                    processes: number("pids", "pids.current"),
                }
            }
            Version::V2 => {
                let (cpu, memory) = (text("", "cpu.stat"), text("", "memory.stat"));
                TaskStats {
                    cpu_nanos: field(&cpu, "usage_usec") * 1000,
                    system_nanos: field(&cpu, "system_usec") * 1000,
                    throttled_periods: field(&cpu, "nr_throttled"),
                    throttled_nanos: field(&cpu, "throttled_usec") * 1000,
                    rss_bytes: field(&memory, "anon"),
                    memory_bytes: number("", "memory.current"),
                    memory_peak_bytes: number("", "memory.peak"),
                    processes: number("", "pids.current"),
                }
            }
        })
    }

    /// How many of its processes the kernel killed because the group had no memory left.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::V1 => self.file("memory", "memory.oom_control"),
            Version::V2 => self.file("", "memory.events"),
        };
        file.and_then(|file| fs::read_to_string(file).ok())
            .map_or(0, |text| field(&text, "oom_kill"))
    }
}

/// The number behind a name, in lines of `name number`.
fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let dir = tempfile::tempdir().expect("a directory");
        let write =
            |file: &str, text: &str| fs::write(dir.path().join(file), text).expect("written");
        write("cpu.stat", "usage_usec 2500\nsystem_usec 500\nnr_throttled 3\nthrottled_usec 70\n");
        write("memory.current", "4096\n");
        write("memory.stat", "anon 1024\nfile 3072\n");
        write("memory.events", "low 0\noom 1\noom_kill 2\n");
        write("pids.current", "5\n");
        let dirs = [("unified".to_owned(), dir.path().to_owned())].into();
        let group = Cgroup { version: Version::V2, dirs };
        let stats = group.stats().expect("read");
        assert_eq!((stats.cpu_nanos, stats.system_nanos), (2_500_000, 500_000));
        assert_eq!((stats.throttled_periods, stats.throttled_nanos), (3, 70_000));
        assert_eq!((stats.memory_bytes, stats.rss_bytes, stats.processes), (4096, 1024, 5));
        assert_eq!(group.oom_kills(), 2);
        write("cpuacct.usage", "12345\n");
        write("cpuacct.stat", "user 7\nsystem 3\n");
        let dirs = [("cpuacct".to_owned(), dir.path().to_owned())].into();
        let stats = Cgroup { version: Version::V1, dirs }.stats().expect("read");
        assert_eq!((stats.cpu_nanos, stats.system_nanos, stats.rss_bytes), (12_345, 30_000_000, 0));
    }
}
