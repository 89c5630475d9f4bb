//! What one allocation of a group asks of a node, worked out once for all of them.

use model::{Group, Job, LifecycleHook, Network, Spread, Task, VolumeRequest};
use serde::Serialize;

use crate::feasible::{Affinities, Demands, Devices};
use crate::volumes::of_host;

/// What an allocation of a group asks for.
pub(crate) struct Asked {
    pub(crate) demands: Demands,
    pub(crate) affinities: Option<Affinities>,
    pub(crate) devices: Option<Devices>,
    /// The job's spreads and the group's.
    pub(crate) spreads: Vec<Spread>,
    /// Host volumes.
    pub(crate) volumes: Vec<VolumeRequest>,
    pub(crate) network: Option<Network>,
    /// How many dynamic ports at the node's own address, if nothing else is asked for that only a node knows.
    pub(super) only_dynamic: Option<u32>,
    /// MHz, beside what whole cores come to on a node.
    pub(crate) cpu: u64,
    pub(crate) memory_mb: u64,
    pub(crate) disk_mb: u64,
    /// Whole cores, by task.
    pub(crate) cores: Vec<(String, u64)>,
    /// Whether it writes to host volumes, so that others there matter.
    pub(crate) writes: bool,
    /// Whether allocations of the group ask for different things.
    pub(crate) each_its_own: bool,
    /// Equal for all that ask for the same, whatever job they are of.
    pub(super) key: Vec<u8>,
}

/// All that [`Asked::key`] is made of. What only matters to where the job is already, such as limits and shares, is not
/// part of it.
#[derive(Serialize)]
struct Key<'a> {
    place: (&'a [String], &'a str),
    drivers: Vec<&'a str>,
    constraints: Vec<&'a model::Constraint>,
    affinities: Vec<&'a model::Affinity>,
    attributes: Vec<&'a str>,
    /// What is said where a node lacks one of them.
    properties: Vec<&'a str>,
    networks: (&'a Option<Network>, usize),
    volumes: &'a [VolumeRequest],
    devices: Vec<(&'a str, &'a [model::DeviceRequest])>,
    room: (u64, u64, u64, &'a [(String, u64)]),
}

impl Asked {
    pub(crate) fn of(job: &Job, group: &Group) -> Self {
        let mut spreads: Vec<Spread> = group.spreads.clone();
        spreads.extend(job.spreads.iter().cloned());
        spreads.retain(|spread| spread.weight > 0);
        let demands = Demands::of(job, group);
        let (cpu, memory_mb) = at_once(group);
        let cores: Vec<(String, u64)> = group
            .tasks
            .iter()
            .filter(|task| task.resources.cores > 0)
            .map(|task| (task.name.clone(), task.resources.cores))
            .collect();
        let network = group.network().map(std::borrow::Cow::into_owned);
        let mut asked = Self {
            affinities: Affinities::of(job, group),
            devices: Devices::of(group),
            network,
            cpu,
            memory_mb,
            disk_mb: group.ephemeral_disk.size_mb,
            cores,
            writes: of_host(group).any(VolumeRequest::writes),
            each_its_own: of_host(group).any(|volume| volume.per_alloc),
            volumes: of_host(group).cloned().collect(),
            only_dynamic: None,
            key: Vec::new(),
            demands,
            spreads,
        };
        asked.key = asked.make_key(job, group);
        asked.only_dynamic = asked.dynamic_ports();
        asked
    }

    fn dynamic_ports(&self) -> Option<u32> {
        if !self.cores.is_empty() || self.devices.is_some() {
            return None;
        }
        let Some(network) = &self.network else { return Some(0) };
        let plain = network.reserved_ports.is_empty()
            && network.dynamic_ports.iter().all(|port| port.network().is_none());
        plain.then_some(network.dynamic_ports.len() as u32)
    }

    fn make_key(&self, job: &Job, group: &Group) -> Vec<u8> {
        let drivers = group.tasks.iter().map(|task| task.driver.as_str()).collect();
        let of_tasks = group.tasks.iter().flat_map(|task| &task.constraints);
        let plain = |constraint: &&model::Constraint| !constraint.operator.starts_with("distinct_");
        let constraints =
            job.constraints.iter().chain(&group.constraints).chain(of_tasks).filter(plain);
        let properties = self.demands.distinct_properties.iter();
        let key = Key {
            place: (&job.datacenters, &job.node_pool),
            drivers,
            constraints: constraints.collect(),
            affinities: Affinities::listed(job, group).collect(),
            attributes: self.attributes().collect(),
            properties: properties.map(|property| property.text.as_str()).collect(),
            networks: (&self.network, self.spreads.len()),
            volumes: &self.volumes,
            devices: group
                .tasks
                .iter()
                .filter(|task| !task.resources.devices.is_empty())
                .map(|task| (task.name.as_str(), task.resources.devices.as_slice()))
                .collect(),
            room: (self.cpu, self.memory_mb, self.disk_mb, &self.cores),
        };
        serde_json::to_vec(&key).unwrap_or_default()
    }

    /// The attributes whose values divide nodes: those of spreads, then those of `distinct_property`.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &str> {
        let spreads = self.spreads.iter().map(|spread| spread.attribute.as_str());
        let properties = &self.demands.distinct_properties;
        spreads.chain(properties.iter().map(|property| property.attribute.as_str()))
    }

    /// MHz on a node, whole cores included.
    pub(super) fn cpu_on(&self, node: &model::Node) -> u64 {
        if self.cores.is_empty() {
            return self.cpu;
        }
        let all = node.resources.cores.len() as u64;
        self.cpu + self.whole_cores() * (node.resources.cpu / all.max(1))
    }

    /// Whole cores of all tasks.
    pub(super) fn whole_cores(&self) -> u64 {
        self.cores.iter().map(|(_, cores)| cores).sum()
    }
}

/// MHz and megabytes. Tasks that never run at the same time share: the most that runs at once counts (nomad.md 2.6).
fn at_once(group: &Group) -> (u64, u64) {
    let (mut main, mut before, mut after) = ((0, 0), (0, 0), (0, 0));
    for task in &group.tasks {
        let sum = match stage(task) {
            Stage::Main => &mut main,
            Stage::Before => &mut before,
            Stage::After => &mut after,
        };
        if task.resources.cores == 0 {
            sum.0 += task.resources.cpu;
        }
        sum.1 += task.resources.memory_mb + task.resources.secrets_mb;
    }
    (main.0.max(before.0).max(after.0), main.1.max(before.1).max(after.1))
}

enum Stage {
    Before,
    Main,
    After,
}

fn stage(task: &Task) -> Stage {
    match &task.lifecycle {
        None => Stage::Main,
        Some(lifecycle) => match lifecycle.hook {
            LifecycleHook::Prestart if lifecycle.sidecar => Stage::Main,
            LifecycleHook::Prestart => Stage::Before,
            LifecycleHook::Poststart => Stage::Main,
            LifecycleHook::Poststop => Stage::After,
        },
    }
}
