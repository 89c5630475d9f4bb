//! A job as its file means it: after variables, inheritance and defaults. Serialises as Nomad's API JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::identity::Consul;
use crate::network::Network;
use crate::placement::{Affinity, Constraint, Spread};
use crate::policy::{Disconnect, Migrate, Reschedule, Restart, Update};
use crate::service::Service;
use crate::storage::{EphemeralDisk, VolumeRequest};
use crate::task::Task;
use crate::timing::{Parameterized, Periodic, Scaling};
use crate::{JobId, SpecHash, nullable, optional_nanos};

/// What kind of work a job is, which decides how its allocations are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobType {
    /// Runs for ever; `count` allocations are kept alive.
    #[default]
    Service,
    /// Runs to completion.
    Batch,
    /// One allocation on each feasible node, kept alive.
    System,
    /// One allocation on each feasible node, run to completion.
    Sysbatch,
}

impl JobType {
    /// The name as job files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
            Self::System => "system",
            Self::Sysbatch => "sysbatch",
        }
    }

    /// Whether a finished task is the end (batch, sysbatch) and not a fault.
    pub const fn runs_to_completion(self) -> bool {
        matches!(self, Self::Batch | Self::Sysbatch)
    }

    /// Whether placement is one per node.
    pub const fn per_node(self) -> bool {
        matches!(self, Self::System | Self::Sysbatch)
    }
}

/// A job: the unit that one file declares and one deployment rolls out. Its JSON is the canonical form of a job, in
/// the order and with the nulls of Nomad's API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Job {
    /// `global` unless the file says otherwise.
    pub region: String,
    /// `default` unless the file says otherwise.
    pub namespace: String,
    /// The job's ID; its label in the file unless `id` is set.
    #[serde(rename = "ID")]
    pub id: JobId,
    /// Display name; the ID by default.
    pub name: String,
    /// The kind of work.
    #[serde(rename = "Type")]
    pub kind: JobType,
    /// 1–100, default 50; higher is placed first.
    pub priority: u16,
    /// Place all or none.
    pub all_at_once: bool,
    /// Globs of datacenters that may run it; `["*"]` by default.
    #[serde(with = "nullable")]
    pub datacenters: Vec<String>,
    /// The node pool; `default` by default.
    pub node_pool: String,
    /// Constraints for all groups.
    #[serde(with = "nullable")]
    pub constraints: Vec<Constraint>,
    /// Affinities for all groups.
    #[serde(with = "nullable")]
    pub affinities: Vec<Affinity>,
    /// The groups, in file order.
    #[serde(with = "nullable")]
    pub task_groups: Vec<Group>,
    /// What groups start from; each group holds what came of it.
    pub update: Option<Update>,
    /// Several regions, as Nomad writes it. Kept for the wire.
    pub multiregion: Option<Value>,
    /// Spreads for all groups.
    #[serde(with = "nullable")]
    pub spreads: Vec<Spread>,
    /// Starts at set times.
    pub periodic: Option<Periodic>,
    /// Starts when it is dispatched.
    pub parameterized_job: Option<Parameterized>,
    /// What groups start from, as Nomad writes it: only what the file sets. Each group holds what came of it.
    pub reschedule: Option<Value>,
    /// As `reschedule`.
    pub migrate: Option<Value>,
    /// Free metadata, inherited by groups and tasks.
    #[serde(with = "nullable")]
    pub meta: BTreeMap<String, String>,
    /// What a user interface shows of it, as Nomad writes it.
    #[serde(rename = "UI")]
    pub ui: Option<Value>,
    /// What Herder adds to a job.
    #[serde(skip_serializing_if = "GitopsBlock::is_default")]
    pub gitops: GitopsBlock,
}

impl Job {
    /// Whether it runs because a file declares it. Periodic and parameterized jobs wait until something starts them.
    pub const fn starts_by_itself(&self) -> bool {
        self.periodic.is_none() && self.parameterized_job.is_none()
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.task_groups.iter().find(|group| group.name == name)
    }

    /// The identity of a version: a hash of the canonical JSON, in which what has no order stands in one order and
    /// defaults that Nomad keeps as they are written are left out. Object keys are ordered by the field order of these types and by `BTreeMap`, so that equal jobs give equal bytes.
    pub fn spec_hash(&self) -> SpecHash {
        let mut job = self.clone();
        job.leave_meaning();
        // As much as most jobs need.
        let mut bytes = Vec::with_capacity(8 << 10);
        if serde_json::to_writer(&mut bytes, &job).is_err() {
            bytes.clear();
        }
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
        let digest = Sha256::digest(&bytes);
        SpecHash::from(
            digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect::<String>(),
        )
    }

    /// Brings into one order what means the same in any, and into one form what Nomad leaves in two. Downloads,
    /// templates and checks keep their order: they follow each other.
    fn leave_meaning(&mut self) {
        // Each group holds what came of these.
        (self.update, self.reschedule, self.migrate) = (None, None, None);
        self.datacenters.sort();
        self.gitops.after.sort();
        self.gitops.after.dedup();
        Constraint::leave_meaning(&mut self.constraints);
        self.task_groups.sort_by(|a, b| a.name.cmp(&b.name));
        for group in &mut self.task_groups {
            Constraint::leave_meaning(&mut group.constraints);
            group.services.iter_mut().for_each(Service::leave_meaning);
            for network in &mut group.networks {
                network.reserved_ports.sort_by(|a, b| a.label.cmp(&b.label));
                network.dynamic_ports.sort_by(|a, b| a.label.cmp(&b.label));
            }
            group.tasks.sort_by(|a, b| a.name.cmp(&b.name));
            for task in &mut group.tasks {
                Constraint::leave_meaning(&mut task.constraints);
                task.services.iter_mut().for_each(Service::leave_meaning);
            }
        }
    }
}

/// Settings that only Herder knows (`gitops {}` in a job).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GitopsBlock {
    /// Whether a change of `meta` alone replaces allocations, as Nomad does. Off by default.
    pub restart_on_meta: bool,
    /// Jobs of the same repository that must be well before a version of this one starts. Without an order.
    #[serde(with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobId>,
    /// Whether placements that could be better are moved, and how many. Off where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub improve: Option<Improve>,
}

impl GitopsBlock {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Moves of allocations to nodes that suit them better (`improve {}` in `gitops`). Services only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Improve {
    /// The most moves of the job that begin within an hour.
    pub per_hour: u32,
    /// By how many hundredths of a score another node must be better.
    pub gain: u32,
}

impl Default for Improve {
    fn default() -> Self {
        Self { per_hour: 4, gain: 25 }
    }
}

/// Tasks that are placed together on one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Group {
    /// Name, unique in the job.
    pub name: String,
    /// How many allocations; 1 by default.
    pub count: u32,
    /// Constraints beside the job's.
    #[serde(with = "nullable")]
    pub constraints: Vec<Constraint>,
    /// Affinities beside the job's.
    #[serde(with = "nullable")]
    pub affinities: Vec<Affinity>,
    /// The tasks, in file order.
    #[serde(with = "nullable")]
    pub tasks: Vec<Task>,
    /// Spreads beside the job's.
    #[serde(with = "nullable")]
    pub spreads: Vec<Spread>,
    /// Volumes by name.
    #[serde(with = "nullable")]
    pub volumes: BTreeMap<String, VolumeRequest>,
    /// Restarts on the node, for tasks that set none of their own.
    pub restart_policy: Restart,
    /// What happens when the node does not answer.
    pub disconnect: Option<Disconnect>,
    /// Replacement after restarts are used up. System jobs have none.
    pub reschedule_policy: Option<Reschedule>,
    /// Shared disk.
    pub ephemeral_disk: EphemeralDisk,
    /// Rolling updates, where the type of job has them; see [`Group::rollout`].
    pub update: Option<Update>,
    /// Moves off draining nodes.
    pub migrate: Option<Migrate>,
    /// Networks; only the first is used for placement, as in Nomad.
    #[serde(with = "nullable")]
    pub networks: Vec<Network>,
    /// Metadata of the group alone.
    #[serde(with = "nullable")]
    pub meta: BTreeMap<String, String>,
    /// Services of the whole group.
    #[serde(with = "nullable")]
    pub services: Vec<Service>,
    /// Wait between leaving the catalog and being told to stop.
    #[serde(with = "optional_nanos")]
    pub shutdown_delay: Option<Duration>,
    /// How long it may run; batch jobs only.
    #[serde(with = "optional_nanos")]
    pub max_run_duration: Option<Duration>,
    /// Kept for the wire; given up by Nomad.
    #[serde(with = "optional_nanos")]
    pub stop_after_client_disconnect: Option<Duration>,
    /// Kept for the wire; given up by Nomad.
    #[serde(with = "optional_nanos")]
    pub max_client_disconnect: Option<Duration>,
    /// Bounds of the count for those who change it from outside.
    pub scaling: Option<Scaling>,
    /// Kept for the wire: there is one catalog here.
    pub consul: Option<Consul>,
    /// Kept for the wire; given up by Nomad.
    pub prevent_reschedule_on_lost: Option<bool>,
}

impl Group {
    /// The task of this name.
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// All services: the group's, then each task's with the task's name.
    pub fn all_services(&self) -> impl Iterator<Item = (Option<&Task>, &Service)> {
        self.services.iter().map(|service| (None, service)).chain(
            self.tasks
                .iter()
                .flat_map(|task| task.services.iter().map(move |service| (Some(task), service))),
        )
    }

    /// What happens when its node does not answer, in whichever way it is written.
    pub fn disconnection(&self) -> Option<Cow<'_, Disconnect>> {
        if let Some(disconnect) = &self.disconnect {
            return Some(Cow::Borrowed(disconnect));
        }
        let (lost_after, stop_on_client_after) =
            (self.max_client_disconnect, self.stop_after_client_disconnect);
        let replace = !self.prevent_reschedule_on_lost.unwrap_or(false);
        if lost_after.is_none() && stop_on_client_after.is_none() && replace {
            return None;
        }
        let older =
            Disconnect { lost_after, stop_on_client_after, replace, ..Disconnect::default() };
        Some(Cow::Owned(older))
    }

    /// Whether no two of it may ever run at once: one is wanted, and it is not replaced while it may still run.
    pub fn is_alone(&self) -> bool {
        self.count == 1 && self.disconnection().is_some_and(|disconnect| !disconnect.replace)
    }

    /// How it is rolled out, batch by batch; nothing where all is replaced at once (`max_parallel = 0`) or the type of
    /// job has no updates.
    pub fn rollout(&self) -> Option<&Update> {
        self.update.as_ref().filter(|update| update.max_parallel > 0)
    }

    /// The network that placement uses: the group's first, with the ports that its tasks ask for in the older way.
    pub fn network(&self) -> Option<Cow<'_, Network>> {
        let older = || self.tasks.iter().flat_map(|task| &task.resources.networks);
        let mut network = match self.networks.first() {
            Some(network) => Cow::Borrowed(network),
            None => Cow::Owned(older().next()?.clone()),
        };
        let of_group = usize::from(self.networks.is_empty());
        for more in older().skip(of_group) {
            let all = network.to_mut();
            all.reserved_ports.extend(more.reserved_ports.iter().cloned());
            all.dynamic_ports.extend(more.dynamic_ports.iter().cloned());
        }
        Some(network)
    }
}
