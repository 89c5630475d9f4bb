//! What the kernel says of processes.

use std::collections::BTreeMap;
use std::fs;

/// A process, in KiB and pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Its share of what it shares, and all that is its own.
    pub(crate) share: u64,
    /// What would come back if it ended.
    pub(crate) own: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    /// Processor time so far, in milliseconds.
    pub(crate) cpu: u64,
}

impl Cost {
    pub(crate) fn of(pid: u32) -> Self {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (memory, status, stat) = (read("smaps_rollup"), read("status"), read("stat"));
        let line = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 =
            fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Self {
            share: line(&memory, "Pss:"),
            own: line(&memory, "Private_Clean:") + line(&memory, "Private_Dirty:"),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))
                .map_or(0, |open| open.count() as u64),
            threads: line(&status, "Threads:"),
            cpu: ticks * 10,
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            share: self.share + other.share,
            own: self.own + other.own,
            descriptors: self.descriptors + other.descriptors,
            threads: self.threads + other.threads,
            cpu: self.cpu + other.cpu,
        }
    }
}

/// The helpers beneath a data directory, by what they are: the one beside a task, and the one that holds its surroundings.
pub(crate) fn helpers(data_dir: &str) -> BTreeMap<String, Vec<u32>> {
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&read("cmdline")).into_owned();
        if arguments.contains(driver::SHIM_ARG) && arguments.contains(data_dir) {
            let name = String::from_utf8_lossy(&read("comm")).trim().to_owned();
            found.entry(name).or_default().push(pid);
        }
    }
    found
}
