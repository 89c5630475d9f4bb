//! What a file says on how much its container may use.

use std::collections::BTreeMap;

use crate::docker::DockerOptions;
use crate::settings::Settings;

/// Limits beside those of the task's resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::docker) struct Limits {
    /// Whether the share of CPU time is also the most that the task gets.
    pub(in crate::docker) cpu_hard: bool,
    /// In microseconds.
    pub(in crate::docker) cpu_period: i64,
    pub(in crate::docker) cpuset: Option<String>,
    /// Megabytes above the task's `memory`.
    pub(in crate::docker) memory_mb: Option<u64>,
    pub(in crate::docker) swappiness: Option<i64>,
    pub(in crate::docker) pids: Option<i64>,
    /// Name, soft and hard limit.
    pub(in crate::docker) ulimits: Vec<(String, i64, i64)>,
    pub(in crate::docker) sysctl: BTreeMap<String, String>,
    pub(in crate::docker) shm_size: Option<i64>,
}

pub(super) fn limits(s: &mut Settings<'_>, options: &DockerOptions) -> Limits {
    let cpu_period = s.integer("cpu_cfs_period").filter(|period| *period != 0).unwrap_or(100_000);
    if !(1_000..=1_000_000).contains(&cpu_period) {
        s.problem("`cpu_cfs_period` is from 1000 to 1000000 microseconds");
    }
    let cpu_hard = s.flag("cpu_hard_limit").unwrap_or(false);
    let cpuset = s.text("cpuset_cpus").filter(|set| !set.is_empty());
    if cpuset
        .as_ref()
        .is_some_and(|set| set.chars().any(|c| !c.is_ascii_digit() && !"-,".contains(c)))
    {
        s.problem("`cpuset_cpus` is a list such as \"0-3\" or \"0,2\"");
    }
    let memory = s.integer("memory_hard_limit").filter(|megabytes| *megabytes != 0);
    if memory.is_some_and(|megabytes| megabytes < 0) {
        s.problem("`memory_hard_limit` is a number of megabytes");
    }
    let swappiness = s.integer("memory_swappiness");
    if swappiness.is_some_and(|value| !(0..=100).contains(&value)) {
        s.problem("`memory_swappiness` is a number from 0 to 100");
    }
    Limits {
        cpu_hard,
        cpu_period,
        cpuset,
        memory_mb: memory.and_then(|megabytes| u64::try_from(megabytes).ok()),
        swappiness,
        pids: pids(s, options),
        ulimits: ulimits(s),
        sysctl: s.map("sysctl"),
        shm_size: s.integer("shm_size"),
    }
}

/// The file's limit of processes, which the node's is above.
fn pids(s: &mut Settings<'_>, options: &DockerOptions) -> Option<i64> {
    let asked = s.integer("pids_limit").filter(|limit| *limit > 0);
    let most = (options.pids_limit > 0).then_some(options.pids_limit);
    if let (Some(asked), Some(most)) = (asked, most)
        && asked > most
    {
        s.problem(format!("`pids_limit` may be up to {most} on this node"));
    }
    asked.or(most)
}

fn ulimits(s: &mut Settings<'_>) -> Vec<(String, i64, i64)> {
    let mut limits = Vec::new();
    for (name, text) in s.map("ulimit") {
        let mut parts = text.splitn(2, ':').map(|part| part.trim().parse::<i64>());
        match (parts.next(), parts.next()) {
            (Some(Ok(soft)), None) => limits.push((name, soft, soft)),
            (Some(Ok(soft)), Some(Ok(hard))) => limits.push((name, soft, hard)),
            _ => s.problem(format!("`ulimit`: `{text}` for {name} is not `soft` or `soft:hard`")),
        }
    }
    limits
}

impl Limits {
    /// Microseconds of CPU time in each period for a share of `cpu` MHz of a node of `total` MHz and so many processors;
    /// `None` without a hard limit.
    pub(in crate::docker) fn quota(&self, cpu: u64, total: u64, processors: u64) -> Option<i64> {
        if !self.cpu_hard || total == 0 {
            return None;
        }
        let period = u128::try_from(self.cpu_period).unwrap_or(100_000);
        let quota = u128::from(cpu) * period * u128::from(processors) / u128::from(total);
        // The kernel takes no less.
        Some(i64::try_from(quota).unwrap_or(i64::MAX).max(1_000))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value, options: &DockerOptions) -> (Limits, Vec<String>) {
        let values = serde_json::from_value(value).expect("a map");
        let mut settings = Settings::new(&values);
        let limits = limits(&mut settings, options);
        (limits, settings.finish())
    }

    #[test]
    fn a_share_becomes_a_quota() {
        let limits = read(json!({"cpu_hard_limit": true}), &DockerOptions::new("i")).0;
        // Half of a node of four processors is two of them.
        assert_eq!(limits.quota(4_000, 8_000, 4), Some(200_000));
        assert_eq!(limits.quota(1, 8_000, 4), Some(1_000));
        assert_eq!(limits.quota(1, 0, 4), None);
        assert_eq!(Limits::default().quota(4_000, 8_000, 4), None);
    }

    #[test]
    fn the_nodes_limit_of_processes_holds() {
        let node = DockerOptions { pids_limit: 100, ..DockerOptions::new("i") };
        assert_eq!(read(json!({}), &node).0.pids, Some(100));
        assert_eq!(read(json!({"pids_limit": 0}), &node).0.pids, Some(100));
        assert_eq!(read(json!({"pids_limit": 50}), &node).0.pids, Some(50));
        assert_eq!(
            read(json!({"pids_limit": 101}), &node).1,
            ["`pids_limit` may be up to 100 on this node"]
        );
        assert_eq!(read(json!({"pids_limit": -1}), &DockerOptions::new("i")).0.pids, Some(4096));
        let lax = DockerOptions { pids_limit: 0, ..DockerOptions::new("i") };
        assert_eq!(read(json!({"pids_limit": -1}), &lax).0.pids, None);
    }

    #[test]
    fn says_what_is_out_of_range() {
        let value = json!({
            "cpu_cfs_period": 5, "cpuset_cpus": "all", "memory_hard_limit": -1,
            "memory_swappiness": 101,
        });
        assert_eq!(read(value, &DockerOptions::new("i")).1.len(), 4);
    }
}
