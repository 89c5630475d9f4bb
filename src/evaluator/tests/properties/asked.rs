//! Jobs and nodes of every kind that placement and rollouts tell apart.

use std::time::Duration;

use model::{
    Affinity, Constraint, DelayFunction, DeviceInstance, DeviceRequest, Disconnect, HostVolume,
    Job, JobType, Migrate, Node, NodeDevice, Port, Reconcile, Reschedule, Spread,
};
use proptest::prelude::*;

use crate::samples::{node, of_kind, with_volume};

/// One job of each type, and a second service.
pub(crate) const KINDS: [(&str, JobType); 5] = [
    ("svc", JobType::Service),
    ("bat", JobType::Batch),
    ("all", JobType::System),
    ("once", JobType::Sysbatch),
    ("web", JobType::Service),
];
pub(crate) const NODES: u32 = 5;
pub(crate) const RACK: &str = "${meta.rack}";

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    cpu: u64,
    memory_mb: u64,
    /// None where it says nothing of its rack.
    rack: Option<u32>,
    class: &'static str,
    cores: u16,
    devices: usize,
    volume: bool,
}

pub(crate) fn machine() -> impl Strategy<Value = Machine> {
    (
        prop_oneof![Just(1000u64), Just(4000)],
        prop_oneof![Just(1000u64), Just(8000)],
        proptest::option::weighted(0.9, 0..3u32),
        prop_oneof![Just("small"), Just("large")],
        prop_oneof![Just(0u16), Just(4)],
        0..3usize,
        proptest::bool::weighted(0.8),
    )
        .prop_map(|(cpu, memory_mb, rack, class, cores, devices, volume)| Machine {
            cpu,
            memory_mb,
            rack,
            class,
            cores,
            devices,
            volume,
        })
}

impl Machine {
    pub(crate) fn build(&self, n: u32) -> Node {
        let mut node = node(n);
        let resources = &mut node.resources;
        (resources.cpu, resources.memory_mb) = (self.cpu, self.memory_mb);
        resources.cores = (0..self.cores).collect();
        if self.devices > 0 {
            // One of them is broken.
            let instance = |at: usize| DeviceInstance {
                id: format!("gpu-{at}"),
                healthy: at > 0,
                ..DeviceInstance::default()
            };
            resources.devices = vec![NodeDevice {
                vendor: "acme".into(),
                kind: "gpu".into(),
                name: "one".into(),
                instances: (0..=self.devices).map(instance).collect(),
                ..NodeDevice::default()
            }];
        }
        node.class = self.class.into();
        if let Some(rack) = self.rack {
            node.meta.insert("rack".into(), rack.to_string());
        }
        if !self.volume {
            node.host_volumes.clear();
        } else {
            node.host_volumes.insert("shared".into(), HostVolume::default());
        }
        node
    }
}

/// What a job asks for.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) counts: Vec<u32>,
    pub(crate) priority: u16,
    pub(crate) demand: Demand,
    pub(crate) rollout: Rollout,
    /// What the job's tasks see: another value replaces what runs.
    pub(crate) content: u32,
    /// What they do not see.
    pub(crate) kill_timeout: u64,
    pub(crate) all_at_once: bool,
}

/// What the first group needs of a node.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    cpu: u64,
    cores: u64,
    devices: u64,
    fixed_port: bool,
    volume: &'static str,
    sticky: bool,
    pub(crate) constraint: Option<Constraint>,
    prefers: u8,
}

/// How the first group changes, fails and moves.
#[derive(Clone, Debug)]
pub(crate) struct Rollout {
    max_parallel: u32,
    canary: u32,
    auto_promote: bool,
    auto_revert: bool,
    reschedule: u8,
    disconnect: u8,
    migrates: bool,
}

pub(crate) fn constraint() -> impl Strategy<Value = Constraint> {
    let made = |attribute: &str, operator: &str, value: &str| Constraint {
        attribute: attribute.into(),
        operator: operator.into(),
        value: value.into(),
    };
    prop_oneof![
        Just(made(RACK, "=", "1")),
        Just(made(RACK, "!=", "1")),
        Just(made(RACK, "is_set", "")),
        Just(made(RACK, ">", "0")),
        Just(made("${node.class}", "=", "large")),
        Just(made("", "distinct_hosts", "true")),
        Just(made(RACK, "distinct_property", "1")),
        Just(made(RACK, "distinct_property", "2")),
    ]
}

fn demand() -> impl Strategy<Value = Demand> {
    let volume = prop_oneof![
        4 => Just(""),
        1 => Just("single-node-writer"),
        1 => Just("single-node-multi-writer"),
        1 => Just("single-node-reader-only"),
    ];
    (
        prop_oneof![3 => Just(100u64), 2 => Just(600), 1 => Just(2000)],
        prop_oneof![3 => Just(0u64), 1 => Just(1), 1 => Just(3)],
        prop_oneof![3 => Just(0u64), 1 => Just(1)],
        proptest::bool::weighted(0.3),
        volume,
        proptest::bool::weighted(0.2),
        proptest::option::weighted(0.5, constraint()),
        0..4u8,
    )
        .prop_map(|(cpu, cores, devices, fixed_port, volume, sticky, constraint, prefers)| {
            Demand { cpu, cores, devices, fixed_port, volume, sticky, constraint, prefers }
        })
}

fn rollout() -> impl Strategy<Value = Rollout> {
    (0..4u32, 0..3u32, any::<bool>(), any::<bool>(), 0..3u8, 0..6u8, any::<bool>()).prop_map(
        |(max_parallel, canary, auto_promote, auto_revert, reschedule, disconnect, migrates)| {
            Rollout {
                max_parallel,
                canary,
                auto_promote,
                auto_revert,
                reschedule,
                disconnect,
                migrates,
            }
        },
    )
}

pub(crate) fn spec() -> impl Strategy<Value = Spec> {
    (
        proptest::collection::vec(0..5u32, 1..3),
        prop_oneof![Just(20u16), Just(50), Just(90)],
        demand(),
        rollout(),
        0..4u32,
        5..7u64,
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(counts, priority, demand, rollout, content, kill_timeout, all_at_once)| {
            Spec { counts, priority, demand, rollout, content, kill_timeout, all_at_once }
        })
}

impl Spec {
    /// The job of this name and type. Its second group, if it has one, is a plain one.
    pub(crate) fn build(&self, id: &str, kind: JobType) -> Job {
        let count = |at: usize| {
            let count = self.counts.get(at).copied().unwrap_or_default();
            if kind.per_node() { count.min(1) } else { count }
        };
        let mut job = of_kind(id, kind, count(0));
        job.priority = self.priority;
        job.all_at_once = self.all_at_once;
        let mut second = job.task_groups[0].clone();
        self.rollout.put(&mut job, kind);
        if !self.demand.volume.is_empty() {
            job = with_volume(job, self.demand.volume);
        }
        self.demand.put(&mut job, kind);
        if self.counts.len() > 1 {
            "db".clone_into(&mut second.name);
            second.count = count(1);
            job.task_groups.push(second);
        }
        for group in &mut job.task_groups {
            group.tasks[0].env.insert("CONTENT".into(), self.content.to_string());
            group.tasks[0].kill_timeout = Duration::from_secs(self.kill_timeout);
        }
        job
    }
}

impl Demand {
    fn put(&self, job: &mut Job, kind: JobType) {
        // What is distinct is so over the job or the group by turns.
        let over_job = self.cpu > 100;
        let group = &mut job.task_groups[0];
        let resources = &mut group.tasks[0].resources;
        resources.cpu = self.cpu;
        if self.cores > 0 {
            (resources.cpu, resources.cores) = (0, self.cores);
        }
        if self.devices > 0 {
            resources.devices = vec![DeviceRequest {
                name: "gpu".into(),
                count: self.devices,
                ..DeviceRequest::default()
            }];
        }
        if self.fixed_port {
            let port = Port { label: "fixed".into(), value: 9000, ..Port::default() };
            group.networks[0].reserved_ports = vec![port];
        }
        group.ephemeral_disk.sticky = self.sticky;
        if !kind.per_node() {
            if self.prefers & 1 > 0 {
                let (attribute, value) = (RACK.to_owned(), "2".to_owned());
                group.affinities = vec![Affinity { attribute, value, ..Affinity::default() }];
            }
            if self.prefers & 2 > 0 {
                let attribute = "${node.class}".to_owned();
                group.spreads = vec![Spread { attribute, ..Spread::default() }];
            }
        }
        match &self.constraint {
            Some(constraint) if over_job => job.constraints = vec![constraint.clone()],
            Some(constraint) => group.constraints = vec![constraint.clone()],
            None => {}
        }
    }
}

impl Rollout {
    fn put(&self, job: &mut Job, kind: JobType) {
        let group = &mut job.task_groups[0];
        if let Some(update) = &mut group.update {
            update.max_parallel = self.max_parallel;
            update.auto_revert = self.auto_revert;
            update.canary = if kind.per_node() { 0 } else { self.canary };
            update.auto_promote = self.auto_promote && update.canary > 0;
        }
        if kind.per_node() {
            return;
        }
        match self.reschedule {
            0 => {}
            1 => {
                group.reschedule_policy = Some(Reschedule {
                    attempts: 2,
                    interval: Duration::from_secs(600),
                    delay: Duration::from_secs(5),
                    delay_function: DelayFunction::Constant,
                    max_delay: Duration::ZERO,
                    unlimited: false,
                });
            }
            _ => group.reschedule_policy = None,
        }
        let lost_after = Some(Duration::from_secs(60));
        group.disconnect = match self.disconnect {
            0 => Some(Disconnect { lost_after, ..Disconnect::default() }),
            1 => Some(Disconnect { lost_after, replace: false, ..Disconnect::default() }),
            2 => Some(Disconnect { replace: false, ..Disconnect::default() }),
            3 => {
                let reconcile = Reconcile::KeepOriginal;
                Some(Disconnect { lost_after, reconcile, ..Disconnect::default() })
            }
            _ => None,
        };
        if kind == JobType::Service && self.migrates {
            group.migrate = Some(Migrate { max_parallel: 1, ..Migrate::default() });
        }
    }
}
