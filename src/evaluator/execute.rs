//! Turns what is to be done with a group into plan entries: finds room for what is missing, and lets the gate decide
//! how many replacements go through now.
//!
//! A replacement is stop and start in one plan, so that nothing stops for which there is no room. Where the old one
//! itself holds the room or the fixed port, it is stopped alone, within the same limits, and its successor is placed
//! once it is over: a node never holds both.

mod target;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use model::{
    Allocation, DeploymentId, DesiredUpdates, EvalId, Explanation, JobVersion, NodeId,
    PlacementFailure,
};
use state::{Disconnected, InPlaceUpdate, StopAlloc};

use crate::batches::{Ahead, sizes};
use crate::emptied::{BEING_UPDATED, went_first};
use crate::place::{Candidates, Claim, Eviction, Fleet, Presence, Request, Spot, alloc_id};
use crate::reconcile::moving::moved;
use crate::reconcile::{Gate, GroupWork, Replaced, Scene, Stop, Want, reschedule};
use target::Target;

/// What a job's pass adds to the plan.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) place: Vec<Allocation>,
    pub(crate) stop: Vec<StopAlloc>,
    pub(crate) update: Vec<InPlaceUpdate>,
    pub(crate) disconnect: Vec<Disconnected>,
    pub(crate) reconnect: Vec<model::AllocId>,
    /// Where each stopped allocation is in `stop`.
    stopped: BTreeMap<model::AllocId, usize>,
    /// Entries of `stop` that stand whether or not anything could be placed.
    unconditional: usize,
}

/// What became of a group, for the evaluation and for people.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupReport {
    pub(crate) updates: DesiredUpdates,
    pub(crate) reasons: Vec<String>,
    pub(crate) batches: Vec<u32>,
    pub(crate) failure: Option<PlacementFailure>,
    /// Whether something waits for what the job itself has told to stop.
    pub(crate) waits: bool,
    /// Whether nothing is left to do and everything is proven.
    pub(crate) done: bool,
}

/// One pass over one job, as it fills the plan.
pub(crate) struct Pass<'a, 'f> {
    pub(crate) scene: &'f Scene<'a>,
    pub(crate) fleet: &'f mut Fleet,
    pub(crate) presence: Presence,
    pub(crate) candidates: BTreeMap<(u64, String), Rc<Candidates>>,
    pub(crate) eval: EvalId,
    pub(crate) ordinal: u32,
    pub(crate) out: Output,
}

/// A group's counters while it is carried out.
#[derive(Default)]
struct Tally {
    updates: DesiredUpdates,
    reasons: BTreeMap<String, u32>,
    failure: Option<PlacementFailure>,
    /// Gaps that were filled.
    filled: u32,
    /// Gaps that wait for something to end.
    waiting: u32,
    /// Gaps without room that an update of ours has made.
    owed: u32,
    /// What was to move for a better node, and stays: there is none any more.
    stays: u32,
}

impl Tally {
    fn because(&mut self, action: &str, reason: &str) {
        *self.reasons.entry(format!("{action}: {reason}")).or_default() += 1;
    }

    fn failed(&mut self, failure: PlacementFailure) {
        match &mut self.failure {
            Some(known) => known.unplaced += failure.unplaced,
            None => self.failure = Some(failure),
        }
    }
}

impl<'a> Pass<'a, '_> {
    /// The nodes that may run a group of a version.
    pub(crate) fn candidates(&mut self, version: &JobVersion, group: &str) -> Rc<Candidates> {
        let entry = self.candidates.entry((version.version, group.to_owned()));
        Rc::clone(entry.or_insert_with(|| {
            let none = model::Group::default();
            let group = version.job.group(group).unwrap_or(&none);
            Rc::new(Candidates::new(&version.job, group))
        }))
    }

    /// Stops what must go whatever else happens. Comes before anything of the job is placed.
    pub(crate) fn clear(&mut self, work: &GroupWork<'a>) {
        for Stop { alloc, description, client } in &work.stops {
            self.leave(alloc);
            self.stop(alloc, description, *client);
        }
        self.out.unconditional = self.out.stop.len();
        let unknown = work.unknown.iter();
        self.out
            .disconnect
            .extend(unknown.map(|(alloc, since)| Disconnected { alloc: alloc.id, since: *since }));
        self.out.reconnect.extend(work.back.iter().map(|alloc| alloc.id));
    }

    /// Carries a group's work out as far as room and gate allow.
    pub(crate) fn carry_out(
        &mut self,
        work: &GroupWork<'a>,
        deployment: Option<DeploymentId>,
    ) -> GroupReport {
        let mut tally = Tally::default();
        tally.updates.ignore = work.ignored;
        for Stop { alloc, description, .. } in &work.stops {
            if !alloc.server_terminal() {
                tally.updates.stop += 1;
                tally.because("stop", description);
            }
        }
        for (alloc, field) in &work.in_place {
            self.out.update.push(InPlaceUpdate {
                alloc: alloc.id,
                job_version: self.scene.version.version,
                eval: self.eval,
                deployment,
            });
            tally.updates.in_place_update += 1;
            tally.because("update in place", &format!("{field} changed"));
        }
        self.fill(work, deployment, &mut tally);
        self.replace(work, deployment, &mut tally);

        let idle = work.stops.is_empty()
            && work.in_place.is_empty()
            && work.wants.len() == tally.stays as usize
            && work.destructive.is_empty();
        let ahead = Ahead {
            fresh: tally.updates.place,
            canaries: tally.updates.canary,
            replaced: work.destructive.len() as u32,
            max_parallel: work
                .group
                .and_then(model::Group::rollout)
                .map(|update| update.max_parallel),
        };
        GroupReport {
            updates: tally.updates,
            reasons: tally
                .reasons
                .into_iter()
                .map(|(reason, times)| match times {
                    1 => reason,
                    _ => format!("{reason} ({times} times)"),
                })
                .collect(),
            batches: sizes(ahead),
            failure: tally.failure,
            waits: tally.waiting > 0,
            done: idle && work.proven && work.kept >= work.desired,
        }
    }

    /// Places what is missing.
    fn fill(&mut self, work: &GroupWork<'a>, deployment: Option<DeploymentId>, tally: &mut Tally) {
        // Once a version found no room anywhere, the next of it will find none either.
        let mut full: Option<u64> = None;
        for want in &work.wants {
            // What comes back as it was may be alone where what is desired is not, or the other way round.
            let alone = work.group.is_some_and(model::Group::is_alone)
                || want.version.job.group(&work.name).is_some_and(model::Group::is_alone);
            if alone && work.stopping {
                // Where no two may run at once, the one before must be over first.
                tally.waiting += u32::from(want.rescheduled.is_none() && !want.canary);
                continue;
            }
            let only = match self.target(work, want) {
                Target::Stay => {
                    tally.stays += 1;
                    tally.updates.ignore += 1;
                    continue;
                }
                Target::Node(node) => Some(node),
                Target::Any => want.only,
            };
            let anywhere = only.is_none() && !self.is_bound(work, want);
            let spot = if anywhere && full == Some(want.version.version) {
                Err(PlacementFailure { unplaced: 1, ..PlacementFailure::default() })
            } else {
                self.find(work, want, only)
            };
            if spot.is_err() {
                self.evict(work, want, &mut tally.updates, &mut tally.reasons);
            }
            let gap = want.rescheduled.is_none() && !want.canary;
            match spot {
                Ok(_) if alone && self.runs_on(want) => {
                    tally.waiting += u32::from(gap);
                    if let Some((previous, _)) = want.previous {
                        self.stop(previous, "alloc is stopped: it moves to another node", None);
                        tally.updates.stop += 1;
                        tally.because("stop", &want.reason);
                    }
                }
                Ok(spot) => {
                    tally.filled += u32::from(gap);
                    if want.moves {
                        tally.updates.migrate += 1;
                    } else if want.canary {
                        tally.updates.canary += 1;
                    } else {
                        tally.updates.place += 1;
                    }
                    let action = match (want.moves, want.canary) {
                        (true, _) => "move",
                        (false, true) => "canary",
                        (false, false) => "create",
                    };
                    tally.because(action, &want.reason);
                    self.put(work, want, spot, deployment);
                }
                Err(failure) => {
                    if anywhere {
                        full = Some(want.version.version);
                    }
                    if work.stopping {
                        tally.waiting += u32::from(gap);
                    } else {
                        tally.owed += u32::from(gap && self.is_emptied(want));
                        tally.failed(failure);
                    }
                }
            }
        }
    }

    /// Replaces what must be replaced, as far as the gate lets it through.
    fn replace(
        &mut self,
        work: &GroupWork<'a>,
        deployment: Option<DeploymentId>,
        tally: &mut Tally,
    ) {
        let slots = (work.kept + tally.filled + tally.waiting + tally.owed).min(work.desired);
        let (mut room, mut spare) = match work.gate {
            Gate::Open => (u32::MAX, u32::MAX),
            Gate::Shut => (0, 0),
            Gate::Batch { room, max_parallel } => (
                room.saturating_sub(tally.filled + tally.waiting + tally.owed),
                // Law 4: no more may be missing than `max_parallel`, for whatever reason.
                work.available.saturating_sub(slots.saturating_sub(max_parallel)),
            ),
        };
        for Replaced { alloc, field, index } in &work.destructive {
            let reason = format!("{field} changed");
            tally.because("replace", &reason);
            let serves = self.scene.is_available(alloc);
            if room == 0 || (serves && spare == 0) {
                tally.updates.ignore += 1;
                continue;
            }
            let want = Want {
                index: *index,
                version: self.scene.version,
                canary: false,
                previous: Some((alloc, true)),
                rescheduled: None,
                moves: false,
                reason: format!("replaces {}: {reason}", alloc.id.short()),
                only: self.scene.version.job.kind.per_node().then_some(alloc.node),
            };
            self.leave(alloc);
            let alone = work.group.is_some_and(model::Group::is_alone);
            match self.find(work, &want, want.only) {
                Ok(_) if alone && !alloc.client.is_terminal() => {
                    self.stop(alloc, &format!("{BEING_UPDATED}: {reason}"), None);
                }
                Ok(spot) => self.put(work, &want, spot, deployment),
                Err(_) if self.makes_room(work, alloc, *index) => {
                    self.stop(alloc, &format!("{BEING_UPDATED}: {reason}"), None);
                }
                Err(failure) => {
                    self.enter(alloc);
                    tally.updates.ignore += 1;
                    tally.failed(failure);
                    continue;
                }
            }
            if let Some(stop) = self.stop_of(alloc).filter(|_| !serves) {
                stop.idle = matches!(work.gate, Gate::Batch { .. });
            }
            tally.updates.destructive_update += 1;
            room = room.saturating_sub(1);
            spare = spare.saturating_sub(u32::from(serves));
        }
    }

    fn find(
        &mut self,
        work: &GroupWork<'a>,
        want: &Want<'a>,
        only: Option<NodeId>,
    ) -> Result<Spot, PlacementFailure> {
        let candidates = self.candidates(want.version, &work.name);
        let Some(group) = want.version.job.group(&work.name) else {
            return Err(PlacementFailure { unplaced: 1, ..PlacementFailure::default() });
        };
        let avoid = avoided(want);
        let mut request = Request {
            id: self.next_id(want.version, &work.name),
            index: want.index,
            group_name: &work.name,
            desired: work.desired,
            avoid: &avoid,
            only,
        };
        if let (Some((previous, _)), None) = (want.previous, only)
            && let Some(bond) = bond(group)
        {
            request.only = Some(previous.node);
            match self.fleet.place(&candidates, &self.presence, &request) {
                Ok(spot) => return Ok(spot),
                Err(mut failure) if bond == Bond::Volume => {
                    let reason = format!("sticky host volume is on node {}", previous.node_name);
                    failure.nodes_evaluated = self.fleet.ready();
                    failure.filtered.insert(reason, failure.nodes_evaluated.saturating_sub(1));
                    return Err(failure);
                }
                // Its data is there: the place that it leaves is worth the wait.
                Err(failure) if self.makes_room(work, previous, want.index) => return Err(failure),
                Err(_) => request.only = None,
            }
        }
        self.fleet.place(&candidates, &self.presence, &request)
    }

    /// Lets less important jobs make room, where the type of job may ask for it. What is placed there comes with the pass
    /// after they have gone.
    fn evict(
        &mut self,
        work: &GroupWork<'a>,
        want: &Want<'a>,
        updates: &mut DesiredUpdates,
        reasons: &mut BTreeMap<String, u32>,
    ) {
        let (scene, job) = (self.scene, &want.version.job);
        if !scene.state.scheduler_config().preemption.allows(job.kind) {
            return;
        }
        let candidates = self.candidates(want.version, &work.name);
        let avoid = avoided(want);
        let request = Request {
            id: self.next_id(want.version, &work.name),
            index: want.index,
            group_name: &work.name,
            desired: work.desired,
            avoid: &avoid,
            only: want.only,
        };
        let claim = Claim { job: &scene.record.id, priority: job.priority };
        let eviction = self.fleet.make_room(&candidates, &self.presence, &request, &claim);
        let Eviction::Of(victims) = eviction else { return };
        for victim in victims {
            let words = format!(
                "alloc was evicted: job {} of priority {} needs its room",
                scene.record.id, job.priority
            );
            let reason = format!("evict: {} of job {}", victim.name(), victim.job);
            *reasons.entry(reason).or_default() += 1;
            updates.preemptions += 1;
            self.out.stop.push(StopAlloc {
                alloc: victim.id,
                description: words,
                evicted_for: Some(scene.record.id.clone()),
                ..StopAlloc::default()
            });
        }
    }

    /// Whether what it takes the place of may run still.
    fn runs_on(&self, want: &Want<'a>) -> bool {
        want.previous.is_some_and(|(previous, _)| {
            let stop = self.out.stopped.get(&previous.id).and_then(|at| self.out.stop.get(*at));
            let lost = stop.is_some_and(|stop| stop.client == Some(model::ClientStatus::Lost));
            !previous.client.is_terminal() && !lost
        })
    }

    /// Whether its place was emptied by an update of ours.
    fn is_emptied(&self, want: &Want<'a>) -> bool {
        went_first(self.scene.state, want.previous.map(|(alloc, _)| alloc))
    }

    /// Whether where it may go depends on more than its version.
    fn is_bound(&self, work: &GroupWork<'a>, want: &Want<'a>) -> bool {
        want.version.job.group(&work.name).is_some_and(|group| {
            (want.previous.is_some() && bond(group).is_some())
                || group.volumes.values().any(|volume| volume.per_alloc)
        })
    }

    fn put(
        &mut self,
        work: &GroupWork<'a>,
        want: &Want<'a>,
        spot: Spot,
        deployment: Option<DeploymentId>,
    ) {
        let scene = self.scene;
        let id = self.next_id(want.version, &work.name);
        self.ordinal += 1;
        self.presence.enter(spot.node, &work.name);
        let mut alloc = Allocation {
            id,
            index: want.index,
            job: scene.record.id.clone(),
            job_version: want.version.version,
            group: Arc::clone(&work.name),
            node: spot.node,
            node_name: spot.node_name,
            eval: self.eval,
            // Only the desired version is being rolled out.
            deployment: deployment.filter(|_| want.version.version == scene.version.version),
            canary: want.canary,
            origin: Arc::clone(&want.version.origin),
            node_inputs: scene.node_inputs(want.version, &work.name, spot.node),
            resources: spot.resources,
            explanation: Some(Arc::new(Explanation {
                reason: want.reason.as_str().into(),
                filtered: spot.refused,
                score: Some(spot.score),
                best: spot.best,
            })),
            created_at: scene.now,
            modified_at: scene.now,
            ..Allocation::default()
        };
        if let Some((previous, stop)) = want.previous {
            alloc.previous = Some(previous.id);
            if let Some(delay) = want.rescheduled {
                let policy =
                    work.group.and_then(|group| reschedule::policy(scene.version.job.kind, group));
                alloc.reschedules =
                    reschedule::chain(policy.as_ref(), previous, delay, scene.now).into();
            } else if previous.job_version == want.version.version {
                // A lost one takes its history along: moving is no fresh start.
                alloc.reschedules.clone_from(&previous.reschedules);
            }
            if stop {
                let description = if want.rescheduled.is_some() && want.moves {
                    "alloc was not healthy in time for what it was to take the place of".into()
                } else if want.rescheduled.is_some() {
                    "alloc was rescheduled because it failed".into()
                } else if want.moves {
                    moved(previous)
                } else {
                    "alloc is being updated due to job update".into()
                };
                let at = self.stop(previous, &description, None);
                if let Some(stop) = self.out.stop.get_mut(at) {
                    stop.next = Some(id);
                }
            }
        }
        self.out.place.push(alloc);
    }

    /// Whether the replacement would fit on the node once the old one is over.
    fn makes_room(&mut self, work: &GroupWork<'a>, alloc: &Allocation, index: u32) -> bool {
        let candidates = self.candidates(self.scene.version, &work.name);
        !alloc.client.is_terminal()
            && work.group.is_some()
            && self.fleet.fits_after(&candidates, index, alloc)
    }

    /// Adds an entry unless there is one; returns where it is.
    fn stop(
        &mut self,
        alloc: &Allocation,
        description: &str,
        client: Option<model::ClientStatus>,
    ) -> usize {
        let at = *self.out.stopped.entry(alloc.id).or_insert(self.out.stop.len());
        if at == self.out.stop.len() {
            self.fleet.stops(alloc.id);
            self.out.stop.push(StopAlloc {
                alloc: alloc.id,
                description: description.to_owned(),
                client,
                ..StopAlloc::default()
            });
        }
        at
    }

    fn stop_of(&mut self, alloc: &Allocation) -> Option<&mut StopAlloc> {
        self.out.stopped.get(&alloc.id).and_then(|at| self.out.stop.get_mut(*at))
    }

    fn leave(&mut self, alloc: &Allocation) {
        if !alloc.terminal() {
            self.presence.leave(alloc.node, &alloc.group);
        }
    }

    fn enter(&mut self, alloc: &Allocation) {
        if !alloc.terminal() {
            self.presence.enter(alloc.node, &alloc.group);
        }
    }

    fn next_id(&self, version: &JobVersion, group: &str) -> model::AllocId {
        alloc_id(
            self.scene.record.id.as_str(),
            version.version,
            group,
            self.scene.state.index(),
            self.ordinal,
        )
    }
}

/// The nodes where what a failed one replaces, and what that one replaced, have failed.
fn avoided(want: &Want<'_>) -> Vec<NodeId> {
    let (Some((previous, _)), Some(_)) = (want.previous, want.rescheduled) else {
        return Vec::new();
    };
    previous.reschedules.iter().map(|event| event.node).chain([previous.node]).collect()
}

/// What ties a replacement to the node of what it replaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bond {
    /// A sticky volume: it goes nowhere else.
    Volume,
    /// A sticky disk: it had better go there.
    Disk,
}

pub(crate) fn bond(group: &model::Group) -> Option<Bond> {
    if crate::volumes::of_host(group).any(|volume| volume.sticky) {
        return Some(Bond::Volume);
    }
    group.ephemeral_disk.sticky.then_some(Bond::Disk)
}

impl Output {
    /// Takes back all that depends on a placement (`all_at_once`).
    pub(crate) fn take_back(&mut self) {
        self.place.clear();
        self.stop.truncate(self.unconditional);
        for stop in &mut self.stop {
            stop.next = None;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.place.is_empty()
            && self.stop.is_empty()
            && self.update.is_empty()
            && self.disconnect.is_empty()
            && self.reconnect.is_empty()
    }
}
