//! Which allocations of a group must go, come or change (nomad.md 2.3). Says *what*; `execute` finds room and lets the
//! gate decide how many of the replacements go through now.

mod fate;
pub(crate) mod moving;
mod per_count;
mod per_node;
pub(crate) mod reschedule;
mod standing;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{
    Allocation, ClientStatus, Deployment, DeploymentStatus, Group, JobVersion, NodeId, Timestamp,
};
use state::{JobRecord, State};

use crate::compare::{Change, compare};
use crate::node_inputs;
use crate::place::Candidates;

/// What a pass over one job looks at.
pub(crate) struct Scene<'a> {
    pub(crate) state: &'a State,
    pub(crate) record: &'a JobRecord,
    /// The desired version.
    pub(crate) version: &'a Arc<JobVersion>,
    /// The deployment of the desired version.
    pub(crate) deployment: Option<&'a Arc<Deployment>>,
    /// Whether a newer version waits, so that nothing begins of one that is not proven.
    pub(crate) held: bool,
    pub(crate) now: Timestamp,
    /// What each older version and group compared to, so that many allocations of one version ask once.
    pub(crate) compared: RefCell<BTreeMap<(u64, Arc<str>), Change>>,
    /// What each version's groups take from their nodes.
    pub(crate) references: node_inputs::Known,
}

/// An allocation to stop.
pub(crate) struct Stop<'a> {
    pub(crate) alloc: &'a Allocation,
    pub(crate) description: String,
    pub(crate) client: Option<ClientStatus>,
}

/// An allocation to replace by choice.
pub(crate) struct Replaced<'a> {
    pub(crate) alloc: &'a Allocation,
    /// The field that makes it necessary.
    pub(crate) field: String,
    /// The name of its successor: its own, unless another one has that too.
    pub(crate) index: u32,
}

/// An allocation that is missing.
pub(crate) struct Want<'a> {
    pub(crate) index: u32,
    /// The version to run: usually the desired one, an older one where the desired one is not proven.
    pub(crate) version: &'a Arc<JobVersion>,
    pub(crate) canary: bool,
    /// What it replaces, and whether that one must be stopped once a place is found.
    pub(crate) previous: Option<(&'a Allocation, bool)>,
    /// For a failed one: the wait before this replacement.
    pub(crate) rescheduled: Option<Duration>,
    /// Whether what it replaces is to move.
    pub(crate) moves: bool,
    pub(crate) reason: String,
    pub(crate) only: Option<NodeId>,
}

/// How many replacements the gate lets through now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// All: the group has no rolling updates.
    Open,
    /// None: the deployment waits or is over.
    Shut,
    /// Some (law 4).
    Batch {
        /// Replacements that may be unproven at once, less those that are.
        room: u32,
        /// Instances that may be missing because of us.
        max_parallel: u32,
    },
}

/// What is to be done with a group.
pub(crate) struct GroupWork<'a> {
    pub(crate) name: Arc<str>,
    /// As desired; `None` when the group or the job is to go.
    pub(crate) group: Option<&'a Group>,
    pub(crate) stops: Vec<Stop<'a>>,
    pub(crate) in_place: Vec<(&'a Allocation, String)>,
    /// Unknown from now on, and since when they cannot be reached.
    pub(crate) unknown: Vec<(&'a Allocation, Timestamp)>,
    /// Back, and kept.
    pub(crate) back: Vec<&'a Allocation>,
    pub(crate) wants: Vec<Want<'a>>,
    /// To be replaced, in the order in which the gate lets them through.
    pub(crate) destructive: Vec<Replaced<'a>>,
    pub(crate) gate: Gate,
    /// Left as they are.
    pub(crate) ignored: u32,
    /// Kept allocations that serve now.
    pub(crate) available: u32,
    /// Kept allocations, whatever their standing.
    pub(crate) kept: u32,
    /// Allocations wanted.
    pub(crate) desired: u32,
    /// Whether something that was told to stop still holds its room.
    pub(crate) stopping: bool,
    /// Whether every kept allocation is healthy in the deployment.
    pub(crate) proven: bool,
    /// When a wait is over.
    pub(crate) wake: Option<Timestamp>,
}

impl<'a> GroupWork<'a> {
    pub(crate) fn new(name: &str, group: Option<&'a Group>) -> Self {
        Self {
            name: Arc::from(name),
            group,
            stops: Vec::new(),
            in_place: Vec::new(),
            unknown: Vec::new(),
            back: Vec::new(),
            wants: Vec::new(),
            destructive: Vec::new(),
            gate: Gate::Shut,
            ignored: 0,
            available: 0,
            kept: 0,
            desired: group.map_or(0, |group| group.count),
            stopping: false,
            proven: true,
            wake: None,
        }
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn stop(&mut self, alloc: &'a Allocation, description: impl Into<String>) {
        self.stops.push(Stop { alloc, description: description.into(), client: None });
    }

    fn stop_lost(&mut self, alloc: &'a Allocation) {
        self.stops.push(Stop {
            alloc,
            description: format!("alloc is lost since its node {} is down", alloc.node_name),
            client: Some(ClientStatus::Lost),
        });
    }
}

/// Where a group's rollout stands.
pub(crate) enum Phase {
    /// Nothing is being rolled out, or the group has no rolling updates.
    Free,
    /// Batches go through the gate.
    Rolling,
    /// Canaries run and wait for promotion.
    Canarying(u32),
    /// The deployment is paused or failed: nothing new of its version starts.
    Held,
}

impl<'a> Scene<'a> {
    /// Reconciles one group of the desired version.
    pub(crate) fn reconcile(
        &self,
        group: &'a Group,
        allocs: &[&'a Allocation],
        candidates: &Candidates,
        feasible: &[NodeId],
    ) -> GroupWork<'a> {
        if self.version.job.kind.per_node() {
            per_node::reconcile(self, group, allocs, candidates, feasible)
        } else {
            per_count::reconcile(self, group, allocs, candidates)
        }
    }

    /// Stops all of a group that is desired no more.
    pub(crate) fn remove(
        &self,
        name: &str,
        allocs: &[&'a Allocation],
        description: &str,
    ) -> GroupWork<'a> {
        let mut work = GroupWork::new(name, None);
        for alloc in allocs.iter().filter(|alloc| !alloc.client.is_terminal()) {
            // What may run still although nobody hears of it is not lost: the job may come back meanwhile.
            let fate = self.fate(alloc);
            if fate == fate::Fate::Lost {
                work.stop_lost(alloc);
            } else if alloc.server_terminal() {
                work.stopping = true;
                work.wait_for(alloc, fate);
            } else {
                work.stop(alloc, description);
            }
        }
        work
    }

    /// What the desired version makes of an allocation. A constraint that its node does not meet any more moves it, and
    /// a value of its node that it was started with and that is another one now replaces it.
    pub(crate) fn change(&self, alloc: &Allocation, candidates: &Candidates) -> Change {
        if alloc.job_version == self.version.version {
            return self.changed_input(alloc).map_or(Change::None, Change::Destructive);
        }
        let Some(old) = self.record.version(alloc.job_version) else {
            return Change::Destructive(format!("version {} is forgotten", alloc.job_version));
        };
        let change = if old.hash == self.version.hash {
            Change::None
        } else {
            let key = (alloc.job_version, alloc.group.clone());
            let mut compared = self.compared.borrow_mut();
            compared
                .entry(key)
                .or_insert_with(|| compare(&old.job, &self.version.job, &alloc.group))
                .clone()
        };
        if matches!(change, Change::Destructive(_)) {
            return change;
        }
        if let Some(Err(reason)) =
            self.state.node(alloc.node).map(|node| candidates.demands().suits(node))
        {
            return Change::Destructive(format!("constraint {reason}"));
        }
        if let Some(input) = self.changed_input(alloc) {
            return Change::Destructive(input);
        }
        match change {
            Change::None => Change::InPlace(format!(
                "version {} says the same as version {}",
                self.version.version, alloc.job_version
            )),
            other => other,
        }
    }

    /// The phase of a group of which `destructive` says whether anything must be replaced.
    pub(crate) fn phase(&self, group: &Group, destructive: bool) -> Phase {
        if self.held && !self.version.stable {
            return Phase::Held;
        }
        let Some(update) = group.rollout() else { return Phase::Free };
        let Some(deployment) = self.deployment else {
            if self.version.stable {
                return Phase::Free;
            }
            // It is about to be created.
            // Where no two may ever run at once, a canary has no room beside what it is to replace.
            let beside = !self.version.job.kind.per_node() && !group.is_alone();
            return match update.canary {
                canaries if canaries > 0 && destructive && beside => Phase::Canarying(canaries),
                _ => Phase::Rolling,
            };
        };
        let Some(part) = deployment.groups.get(&group.name) else { return Phase::Free };
        match deployment.status {
            DeploymentStatus::Successful | DeploymentStatus::Cancelled => Phase::Free,
            DeploymentStatus::Paused | DeploymentStatus::Failed => Phase::Held,
            DeploymentStatus::Running if part.desired_canaries > 0 && !part.promoted => {
                Phase::Canarying(part.desired_canaries)
            }
            DeploymentStatus::Running => Phase::Rolling,
        }
    }

    /// The version that an allocation runs; the last proven one, or the desired one, when its own is forgotten.
    pub(crate) fn own_version(&self, alloc: &Allocation) -> &'a Arc<JobVersion> {
        self.record
            .version(alloc.job_version)
            .or_else(|| self.record.stable())
            .filter(|version| version.job.group(&alloc.group).is_some())
            .unwrap_or(self.version)
    }
}
