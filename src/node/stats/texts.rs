//! Reads what the kernel says of the machine. Texts that are not as expected give zeros.

/// A core's times since the start of the machine, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    user: u64,
    system: u64,
    idle: u64,
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) available: u64,
    pub(crate) free: u64,
}

/// `/proc/stat`: one entry for each core.
pub(crate) fn cpu_times(text: &str) -> Vec<CpuTimes> {
    text.lines()
        .filter(|line| {
            let rest = line.strip_prefix("cpu");
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
        .map(|line| {
            let fields: Vec<u64> =
                line.split_whitespace().skip(1).map(|word| word.parse().unwrap_or(0)).collect();
            let field = |at: usize| fields.get(at).copied().unwrap_or(0);
            CpuTimes {
                user: field(0).saturating_add(field(1)),
                // With interrupts and what the host took away.
                system: [2, 5, 6, 7].into_iter().map(field).fold(0, u64::saturating_add),
                idle: field(3).saturating_add(field(4)),
            }
        })
        .collect()
}

/// Each core's percent of the time between two samples: user, system, idle.
pub(crate) fn cores(before: &[CpuTimes], now: &[CpuTimes]) -> Vec<[f64; 3]> {
    let share = |(before, now): (&CpuTimes, &CpuTimes)| {
        let spent = [
            now.user.saturating_sub(before.user),
            now.system.saturating_sub(before.system),
            now.idle.saturating_sub(before.idle),
        ];
        let all: u64 = spent.iter().sum();
        spent.map(|part| if all == 0 { 0.0 } else { part as f64 / all as f64 * 100.0 })
    };
    before.iter().zip(now).map(share).collect()
}

/// `/proc/meminfo`.
pub(crate) fn memory(text: &str) -> Memory {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or_default()
            .saturating_mul(1024)
    };
    Memory { total: field("MemTotal"), available: field("MemAvailable"), free: field("MemFree") }
}

/// `/proc/uptime`, in whole seconds.
pub(crate) fn uptime(text: &str) -> u64 {
    let first = text.split_whitespace().next().unwrap_or_default();
    first.split('.').next().and_then(|secs| secs.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let before = cpu_times("cpu  1 1 1 1\ncpu0 100 0 50 800 50 0 0 0\ncpu1 0 0 0 0\nintr 1\n");
        let now = cpu_times("cpu  1 1 1 1\ncpu0 150 0 75 825 50 0 0 0\ncpu1 0 0 0 0\nintr 1\n");
        assert_eq!(cores(&before, &now), [[50.0, 25.0, 25.0], [0.0, 0.0, 0.0]]);
        let memory = memory("MemTotal:   100 kB\nMemFree:  10 kB\nMemAvailable:  40 kB\n");
        assert_eq!((memory.total, memory.free, memory.available), (102_400, 10_240, 40_960));
        assert_eq!(uptime("350735.47 234388.90\n"), 350_735);
        assert_eq!((uptime("?"), cpu_times("cpux 1")), (0, Vec::new()));
    }
}
