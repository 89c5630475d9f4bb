//! What a container uses, out of the daemon's answer. What a daemon leaves out is 0.

use serde_json::Value;

use crate::TaskStats;

/// Reads `GET /containers/<id>/stats`; `None` for a container that does not run, of which everything is 0.
pub(super) fn read(value: &Value) -> Option<TaskStats> {
    let number = |pointer: &str| value.pointer(pointer).and_then(whole).unwrap_or(0);
    let stats = TaskStats {
        cpu_nanos: number("/cpu_stats/cpu_usage/total_usage"),
        system_nanos: number("/cpu_stats/cpu_usage/usage_in_kernelmode"),
        throttled_periods: number("/cpu_stats/throttling_data/throttled_periods"),
        throttled_nanos: number("/cpu_stats/throttling_data/throttled_time"),
        // Of the first kind of control groups, else of the second.
        rss_bytes: number("/memory_stats/stats/rss").max(number("/memory_stats/stats/anon")),
        memory_bytes: number("/memory_stats/usage"),
        memory_peak_bytes: number("/memory_stats/max_usage"),
        processes: number("/pids_stats/current"),
    };
    let is_nothing = stats.cpu_nanos == 0 && stats.memory_bytes == 0 && stats.processes == 0;
    (!is_nothing).then_some(stats)
}

/// A number that is not negative; some are written with a fraction.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        value.as_f64().filter(|n| (0.0..1e18).contains(n)).map(|n| n as u64)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_both_kinds_of_control_groups() {
        let first = json!({
            "cpu_stats": {
                "cpu_usage": {"total_usage": 500, "usage_in_kernelmode": 200, "percpu_usage": [1]},
                "throttling_data": {"periods": 9, "throttled_periods": 2, "throttled_time": 77},
            },
            "memory_stats": {"usage": 4096, "max_usage": 8192, "stats": {"rss": 1024}},
            "pids_stats": {"current": 3}, "new": {"word": "x"},
        });
        let stats = read(&first).expect("it runs");
        assert_eq!((stats.cpu_nanos, stats.system_nanos), (500, 200));
        assert_eq!((stats.throttled_periods, stats.throttled_nanos), (2, 77));
        assert_eq!((stats.rss_bytes, stats.memory_bytes), (1024, 4096));
        assert_eq!((stats.memory_peak_bytes, stats.processes), (8192, 3));
        let second = json!({
            "cpu_stats": {"cpu_usage": {"total_usage": 5e2}},
            "memory_stats": {"usage": 4096, "stats": {"anon": 2048}}, "pids_stats": {},
        });
        let stats = read(&second).expect("it runs");
        assert_eq!((stats.cpu_nanos, stats.rss_bytes, stats.memory_peak_bytes), (500, 2048, 0));
    }

    #[test]
    fn a_container_that_ended_uses_nothing() {
        let value = json!({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}});
        assert_eq!(read(&value), None);
        assert_eq!(read(&Value::Null), None);
    }
}
