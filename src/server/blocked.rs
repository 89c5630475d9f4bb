//! Jobs of which something found no room, by what they wait for. When room comes on a node, those that it could help are
//! found without going through the others.

use std::collections::{BTreeMap, BTreeSet};

use model::{JobId, NodeId};
use state::{State, Unplaced};

/// Jobs that wait for room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocked {
    waits: BTreeMap<JobId, Vec<Unplaced>>,
    /// By the MHz that the least demanding group of each asks for.
    by_cpu: BTreeSet<(u64, JobId)>,
}

fn least_cpu(waits: &[Unplaced]) -> u64 {
    waits.iter().map(|unplaced| unplaced.cpu).min().unwrap_or_default()
}

impl Blocked {
    /// Notes what a job waits for; nothing, if it waits no more.
    pub(crate) fn set(&mut self, job: &JobId, waits: Option<Vec<Unplaced>>) {
        if let Some(before) = self.waits.remove(job) {
            self.by_cpu.remove(&(least_cpu(&before), job.clone()));
        }
        if let Some(waits) = waits {
            self.by_cpu.insert((least_cpu(&waits), job.clone()));
            self.waits.insert(job.clone(), waits);
        }
    }

    /// All jobs that wait.
    pub(crate) fn all(&self) -> impl Iterator<Item = &JobId> {
        self.waits.keys()
    }

    /// The jobs of which something may fit on a node as it is now.
    pub(crate) fn helped_by(&self, state: &State, node: NodeId) -> Vec<JobId> {
        let Some(host) = state.node(node).filter(|host| host.is_ready()) else { return Vec::new() };
        let (all, load) = (&host.resources, state.load(node));
        let free = |all: u64, used: fn(&state::NodeLoad) -> u64| {
            all.saturating_sub(load.map_or(0, |load| used(load)))
        };
        let cpu = free(all.cpu, |load| load.cpu);
        let memory_mb = free(all.memory_mb, |load| load.memory_mb);
        let disk_mb = free(all.disk_mb, |load| load.disk_mb);
        let class = state.node_class(node).unwrap_or_default();
        let fits = |unplaced: &Unplaced| {
            unplaced.cpu <= cpu
                && unplaced.memory_mb <= memory_mb
                && unplaced.disk_mb <= disk_mb
                && !unplaced.hopeless.contains(&class)
        };
        self.by_cpu
            .iter()
            .take_while(|(least, _)| *least <= cpu)
            .filter(|(_, job)| self.waits.get(job).is_some_and(|waits| waits.iter().any(fits)))
            .map(|(_, job)| job.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use model::{Node, NodeResources, NodeStatus, Timestamp, seeded_uuid};
    use state::Command;

    use super::*;

    fn node(n: u8, cpu: u64, class: &str) -> Node {
        Node {
            id: NodeId::new(seeded_uuid(&[&[n]])),
            class: class.into(),
            resources: NodeResources {
                cpu,
                memory_mb: 100,
                disk_mb: 100,
                ..NodeResources::default()
            },
            status: NodeStatus::Ready,
            ..Node::default()
        }
    }

    fn asks(cpu: u64, memory_mb: u64) -> Vec<Unplaced> {
        vec![Unplaced { cpu, memory_mb, ..Unplaced::default() }]
    }

    #[test]
    fn only_those_are_woken_that_may_fit() {
        let mut state = State::default();
        let (small, big) = (node(1, 100, "small"), node(2, 1000, "big"));
        for (index, host) in [(1, &small), (2, &big)] {
            let node = Box::new(host.clone());
            state.apply(index, &Command::RegisterNode { node, at: Timestamp::from_secs(1) });
        }
        let mut blocked = Blocked::default();
        let jobs = ["a", "b", "c", "d"].map(JobId::from);
        blocked.set(&jobs[0], Some(asks(50, 50)));
        blocked.set(&jobs[1], Some(asks(500, 50)));
        blocked.set(&jobs[2], Some(asks(50, 500)));
        let hopeless = state.node_class(small.id).into_iter().collect();
        let only_big = Unplaced { cpu: 10, hopeless, ..Unplaced::default() };
        blocked.set(&jobs[3], Some(vec![only_big]));
        let helped = |blocked: &Blocked, node: &Node| {
            let mut helped = blocked.helped_by(&state, node.id);
            helped.sort();
            helped.iter().map(|job| job.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(helped(&blocked, &small), ["a"]);
        assert_eq!(helped(&blocked, &big), ["a", "b", "d"]);
        blocked.set(&jobs[0], None);
        blocked.set(&jobs[1], Some(asks(2000, 1)));
        assert_eq!(helped(&blocked, &big), ["d"]);
        assert_eq!(blocked.all().count(), 3);
        assert!(blocked.helped_by(&state, NodeId::default()).is_empty());
    }
}
