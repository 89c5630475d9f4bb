//! What the processes of a task use that has no control group of its own, summed up.

use std::fs;
use std::io;

use super::process;
use super::record::ShimRecord;
use crate::TaskStats;
use crate::cgroup::TICK;

/// The page size of every machine that is supported by default; read from the kernel where it differs.
fn page_size() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

/// The task and what it started. Processor time of what has ended is counted once its parent has collected it.
pub(super) fn stats(record: &ShimRecord) -> io::Result<TaskStats> {
    let page = page_size();
    let mut sum = TaskStats::default();
    for process in process::family(record)? {
        let Ok(text) = fs::read_to_string(format!("/proc/{}/stat", process.pid)) else { continue };
        let Some((_, tail)) = text.rsplit_once(')') else { continue };
        let fields: Vec<u64> =
            tail.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or(0);
        // Fields 14 to 17 and 24 of proc(5), counted from the state, which is the third.
        sum.system_nanos += (field(12) + field(14)) * TICK;
        sum.cpu_nanos += (field(11) + field(12) + field(13) + field(14)) * TICK;
        sum.rss_bytes += field(21) * page;
        sum.processes += 1;
    }
    sum.memory_bytes = sum.rss_bytes;
    Ok(sum)
}
