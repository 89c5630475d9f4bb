//! Which allocations had better be somewhere else (`gitops { improve {} }`).
//!
//! Says which are to move and why; the rest is what a node that is emptied has done to its allocations. A job is left
//! alone unless all of it is there and well, so that a move never comes on top of anything else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{
    AllocId, Allocation, ClientStatus, DeploymentStatus, Group, Improve, JobId, JobType, NodeId,
    Timestamp,
};
use state::{JobRecord, State};

use crate::place::{Better, Candidates, Fleet, Presence, Request};
use crate::reconcile::Scene;
use crate::rollout::current_deployment;

/// What a job's budget is for. Allocations that moved have to be known for as long.
pub const BUDGET_PERIOD: Duration = Duration::from_secs(3_600);
/// How long an allocation stays at least before a better node counts.
const SETTLING: Duration = Duration::from_secs(3_600);
/// How long a move may go without a replacement before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nodes with allocations of a group that are looked at in one go. Where there are more, the next look goes on.
const SITES: usize = 64;
/// Looks at a node for an allocation in one go, over all jobs: less than a second's work.
const LOOKS: usize = 5_000_000;

/// An allocation that is to move.
#[derive(Clone, Debug, PartialEq)]
pub struct Improvement {
    /// Which.
    pub alloc: AllocId,
    /// Its name.
    pub name: String,
    /// Its job.
    pub job: JobId,
    /// Why, in words: `node n2 is better by 0.41`.
    pub reason: String,
    /// By how much the score of the other node is higher; nothing where it may not stay where it is.
    pub gain: Option<f64>,
}

/// Whether any job asks for it.
pub fn improves(state: &State) -> bool {
    asking(state).next().is_some()
}

/// What is to be moved now, within the jobs' budgets. What is on its way counts as moved.
pub fn improvements(state: &State, now: Timestamp) -> Vec<Improvement> {
    look(state, now, true)
}

/// What would be moved, once all is well that is not yet.
pub(crate) fn foreseen(state: &State, now: Timestamp) -> Vec<Improvement> {
    look(state, now, false)
}

/// What was to move for a better node, and stays: for a while there was none for it any more.
pub fn given_up(state: &State, now: Timestamp) -> Vec<AllocId> {
    let mut stay = Vec::new();
    for (record, _) in asking(state) {
        let live = || state.allocs_of_job(&record.id).filter(|alloc| !alloc.terminal());
        let late = live().filter(|alloc| {
            !alloc.move_reason().is_empty()
                && alloc.migrate.as_ref().is_some_and(|leaves| now.since(leaves.since) >= PATIENCE)
                && state.node(alloc.node).is_some_and(|node| node.drain.is_none())
        });
        stay.extend(
            late.filter(|alloc| {
                !live().any(|other| {
                    other.id != alloc.id && other.index == alloc.index && other.group == alloc.group
                })
            })
            .map(|alloc| alloc.id),
        );
    }
    stay
}

fn asking(state: &State) -> impl Iterator<Item = (&Arc<JobRecord>, Improve)> {
    state.jobs().filter(|record| !record.stopped).filter_map(|record| {
        let job = record.job().filter(|job| job.kind == JobType::Service)?;
        Some((record, job.gitops.improve?))
    })
}

fn look(state: &State, now: Timestamp, all_is_well: bool) -> Vec<Improvement> {
    let mut jobs: Vec<_> = asking(state).collect();
    if jobs.is_empty() {
        return Vec::new();
    }
    let turn = usize::try_from(now.since(Timestamp::ZERO).as_secs() / 60).unwrap_or_default();
    // Whoever is left out for want of time comes first another time.
    let first = turn % jobs.len();
    jobs.rotate_left(first);
    let mut pass = Look { state, now, turn, fleet: Fleet::of(state), looks: 0, found: Vec::new() };
    for (record, improve) in jobs {
        if pass.looks >= LOOKS {
            break;
        }
        pass.job(record, improve, all_is_well);
    }
    pass.found
}

struct Look<'a> {
    state: &'a State,
    now: Timestamp,
    /// Goes up by one each minute.
    turn: usize,
    fleet: Fleet,
    looks: usize,
    found: Vec<Improvement>,
}

/// A group of a job that is looked at.
struct Site<'a, 'p> {
    group: &'a Group,
    name: Arc<str>,
    candidates: &'p Candidates,
    /// What is to move, and what has been found to.
    leaving: Vec<&'a Allocation>,
    /// How many more may begin to.
    room: usize,
}

impl<'a> Look<'a> {
    fn job(&mut self, record: &'a JobRecord, improve: Improve, all_is_well: bool) {
        let Some(version) = record.current() else { return };
        let mut budget = left(self.state, record, improve, self.now);
        let allocs: Vec<&'a Allocation> = self
            .state
            .allocs_of_job(&record.id)
            .filter(|alloc| !alloc.terminal())
            .map(AsRef::as_ref)
            .collect();
        let scene = Scene {
            state: self.state,
            record,
            version,
            deployment: current_deployment(self.state, record),
            held: false,
            now: self.now,
            compared: RefCell::default(),
            references: RefCell::default(),
        };
        if budget == 0 || (all_is_well && !is_well(&scene, &allocs)) {
            return;
        }
        let mut presence = Presence::default();
        for alloc in &allocs {
            presence.enter(alloc.node, &alloc.group);
        }
        for group in &version.job.task_groups {
            if !may_move(group) {
                continue;
            }
            let of_group = || allocs.iter().copied().filter(|alloc| *alloc.group == *group.name);
            let candidates = Candidates::new(&version.job, group);
            let at_once = group.migrate.as_ref().map_or(1, |migrate| migrate.max_parallel.max(1));
            let leaving: Vec<_> = of_group().filter(|alloc| alloc.migrate.is_some()).collect();
            let mut site = Site {
                group,
                name: group.name.as_str().into(),
                candidates: &candidates,
                room: (at_once as usize).saturating_sub(leaving.len()).min(budget),
                leaving,
            };
            let mut there: Vec<&'a Allocation> = of_group()
                .filter(|alloc| alloc.migrate.is_none() && alloc.client == ClientStatus::Running)
                // What is not of the desired version is about to be replaced anyway.
                .filter(|alloc| alloc.job_version == version.version)
                .collect();
            there.sort_by_key(|alloc| (alloc.index, alloc.id));
            let before = site.room;
            self.misplaced(record, &mut site, &mut presence, &there);
            if !group.is_alone() {
                self.outdone(record, &mut site, &mut presence, &there, improve);
            }
            budget = budget.saturating_sub(before.saturating_sub(site.room));
        }
    }

    /// Those whose node does not meet the constraints any more.
    fn misplaced(
        &mut self,
        record: &JobRecord,
        site: &mut Site<'a, '_>,
        presence: &mut Presence,
        there: &[&'a Allocation],
    ) {
        for alloc in there {
            if site.room == 0 || self.looks >= LOOKS {
                return;
            }
            let node = self.state.node(alloc.node);
            let Some(Err(reason)) = node.map(|node| site.candidates.demands().suits(node)) else {
                continue;
            };
            if let Some((target, _)) = self.better(site, presence, alloc).best {
                let reason =
                    format!("constraint {reason} is not met by node {} any more", alloc.node_name);
                self.found(record, site, presence, alloc, target, reason, None);
            }
        }
    }

    /// Those that another node would be far better for, the greatest gain first.
    fn outdone(
        &mut self,
        record: &JobRecord,
        site: &mut Site<'a, '_>,
        presence: &mut Presence,
        there: &[&'a Allocation],
        improve: Improve,
    ) {
        let enough = f64::from(improve.gain) / 100.0;
        // What is on one node and of one group gains the same.
        let mut nodes: BTreeMap<NodeId, &'a Allocation> = BTreeMap::new();
        for alloc in there {
            let leaves = site.leaving.iter().any(|leaving| leaving.id == alloc.id);
            if !leaves && self.now.since(alloc.created_at) >= SETTLING {
                nodes.entry(alloc.node).or_insert(alloc);
            }
        }
        let mut sites: Vec<&'a Allocation> = nodes.into_values().collect();
        if sites.len() > SITES {
            let first = self.turn.wrapping_mul(SITES) % sites.len();
            sites.rotate_left(first);
            sites.truncate(SITES);
        }
        let mut gains: Vec<(f64, &'a Allocation)> = Vec::new();
        for alloc in sites {
            if site.room == 0 || self.looks >= LOOKS {
                break;
            }
            let gain = self.better(site, presence, alloc).gain();
            gains.extend(gain.filter(|gain| *gain >= enough).map(|gain| (gain, alloc)));
        }
        gains.sort_by(|a, b| {
            b.0.total_cmp(&a.0).then((a.1.index, a.1.id).cmp(&(b.1.index, b.1.id)))
        });
        for (_, alloc) in gains {
            if site.room == 0 {
                return;
            }
            // Those before it have changed what it would gain.
            let better = self.better(site, presence, alloc);
            let Some((gain, (target, _))) = better.gain().zip(better.best) else { continue };
            if gain < enough {
                continue;
            }
            let name = self.state.node(target).map_or("", |node| node.name.as_str());
            let reason = format!("node {name} is better by {gain:.2}");
            self.found(record, site, presence, alloc, target, reason, Some(gain));
        }
    }

    fn better(
        &mut self,
        site: &mut Site<'a, '_>,
        presence: &mut Presence,
        alloc: &'a Allocation,
    ) -> Better {
        self.looks = self.looks.saturating_add(self.fleet.len());
        let request = Request {
            id: alloc.id,
            index: alloc.index,
            group_name: &site.name,
            desired: site.group.count,
            avoid: &[],
            only: None,
        };
        site.leaving.push(alloc);
        let better =
            self.fleet.better(site.candidates, presence, &request, alloc.node, &site.leaving);
        site.leaving.pop();
        better
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of one move")]
    fn found(
        &mut self,
        record: &JobRecord,
        site: &mut Site<'a, '_>,
        presence: &mut Presence,
        alloc: &'a Allocation,
        target: NodeId,
        reason: String,
        gain: Option<f64>,
    ) {
        self.fleet.expect(target, &alloc.resources);
        presence.enter(target, &site.name);
        site.leaving.push(alloc);
        site.room = site.room.saturating_sub(1);
        self.found.push(Improvement {
            alloc: alloc.id,
            name: alloc.name(),
            job: record.id.clone(),
            reason,
            gain,
        });
    }
}

/// How many moves of a job may begin now.
fn left(state: &State, record: &JobRecord, improve: Improve, now: Timestamp) -> usize {
    let begun = state.allocs_of_job(&record.id).filter(|alloc| {
        !alloc.move_reason().is_empty()
            && alloc.migrate.as_ref().is_some_and(|leaves| now.since(leaves.since) < BUDGET_PERIOD)
    });
    (improve.per_hour as usize).saturating_sub(begun.count())
}

/// Whether all of a job is there and serves, and nothing is being done about it.
fn is_well(scene: &Scene<'_>, allocs: &[&Allocation]) -> bool {
    let (state, id) = (scene.state, &scene.record.id);
    let settled = scene.deployment.is_none_or(|deployment| {
        matches!(deployment.status, DeploymentStatus::Successful | DeploymentStatus::Cancelled)
    });
    let rolling = state.deployments_of_job(id).any(|deployment| deployment.status.is_active());
    let job = &scene.version.job;
    let wanted: usize = job.task_groups.iter().map(|group| group.count as usize).sum();
    settled
        && !rolling
        && state.waiting_since(id).is_none()
        && job.starts_by_itself()
        && allocs.len() == wanted
        && allocs.iter().all(|alloc| {
            alloc.job_version == scene.version.version
                && !alloc.canary
                && alloc.migrate.is_none()
                && alloc.disconnected_at.is_none()
                && scene.is_available(alloc)
        })
        && job.task_groups.iter().all(|group| {
            let there = allocs.iter().filter(|alloc| *alloc.group == *group.name);
            there.count() == group.count as usize
        })
}

/// Whether nothing ties a group's allocations to where they are.
fn may_move(group: &Group) -> bool {
    let bound = |volume: &model::VolumeRequest| volume.sticky || volume.writes();
    !group.ephemeral_disk.sticky && !group.volumes.values().any(bound)
}
