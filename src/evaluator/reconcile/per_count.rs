//! Groups of which `count` allocations are wanted, wherever they fit: service and batch.

use std::collections::{BTreeMap, BTreeSet};

use model::{AllocId, Allocation, ClientStatus, Group, JobType};

use super::fate::Fate;
use super::moving::{settle_moving, settle_returned};
use super::reschedule::{self, Next};
use super::{Gate, GroupWork, Phase, Replaced, Scene, Want};
use crate::compare::Change;
use crate::emptied::BEING_UPDATED;
use crate::place::Candidates;

/// The allocations of a group, sorted out.
#[derive(Default)]
pub(super) struct Sorted<'a> {
    /// To be kept, or replaced by choice. Canaries that are not promoted are apart.
    pub(super) mains: Vec<&'a Allocation>,
    canaries: Vec<&'a Allocation>,
    /// Those of the mains whose node cannot be reached: they are left as they are.
    away: BTreeSet<AllocId>,
    /// To be made up for, in this order.
    pub(super) gaps: Vec<Gap<'a>>,
    /// Back from a node that could not be reached.
    pub(super) returned: Vec<&'a Allocation>,
    /// On a node that is back and has not said yet what became of them.
    unheard: Vec<&'a Allocation>,
    /// To move to another node.
    pub(super) moving: Vec<&'a Allocation>,
    /// Over or about to be: what fills a gap may replace one of them.
    past: Vec<&'a Allocation>,
}

/// An allocation that another one takes the name of.
pub(super) struct Gap<'a> {
    pub(super) alloc: &'a Allocation,
    /// Whether it is stopped once there is a place for the other one.
    pub(super) stop: bool,
    /// Whether it goes on until the other one stands.
    pub(super) moves: bool,
    pub(super) reason: String,
}

pub(super) fn reconcile<'a>(
    scene: &Scene<'a>,
    group: &'a Group,
    allocs: &[&'a Allocation],
    candidates: &Candidates,
) -> GroupWork<'a> {
    if group.count == 0 {
        return scene.remove(&group.name, allocs, "alloc not needed due to job update");
    }
    let mut work = GroupWork::new(&group.name, Some(group));
    let mut sorted = sort_out(scene, allocs, &mut work);
    settle_returned(scene, group, &mut sorted, &mut work);
    remove_surplus(scene, group, &mut sorted.mains, &mut work);
    settle_moving(scene, group, &mut sorted, &mut work);

    let reached = sorted.mains.iter().filter(|alloc| !sorted.away.contains(&alloc.id));
    let changes: BTreeMap<_, _> =
        reached.map(|alloc| (alloc.id, scene.change(alloc, candidates))).collect();
    let must_replace =
        |alloc: &Allocation| matches!(changes.get(&alloc.id), Some(Change::Destructive(_)));
    let phase = scene.phase(group, sorted.mains.iter().any(|alloc| must_replace(alloc)));
    work.gate = match (&phase, group.rollout()) {
        (Phase::Held | Phase::Canarying(_), _) => Gate::Shut,
        (_, None) => Gate::Open,
        (_, Some(update)) => scene.batch_gate(update.max_parallel, sorted.mains.iter().copied()),
    };
    let batches = matches!(phase, Phase::Free | Phase::Rolling);
    if batches && sorted.mains.iter().any(|alloc| must_replace(alloc)) {
        let stays = sorted.mains.iter().copied().filter(|alloc| !must_replace(alloc));
        scene.wait_for_unjudged(group, stays, &mut work);
    }
    let mut names: BTreeSet<u32> = sorted.mains.iter().map(|alloc| alloc.index).collect();

    let policy = reschedule::policy(scene.version.job.kind, group);
    for alloc in &sorted.mains {
        work.available += u32::from(scene.is_available(alloc));
        work.proven &= scene.is_proven(alloc);
        match changes.get(&alloc.id) {
            Some(Change::Destructive(field)) if batches => {
                work.destructive.push(Replaced { alloc, field: field.clone(), index: alloc.index });
            }
            _ if scene.has_failed(alloc) => {
                let version = match changes.get(&alloc.id) {
                    Some(Change::Destructive(_)) => scene.own_version(alloc),
                    // What failed with the version that is held is started again as it was.
                    _ => scene.version,
                };
                let due = reschedule::next(policy.as_ref(), alloc);
                replace_failed(scene, alloc, due, version, false, &mut work);
            }
            Some(Change::InPlace(field))
                if !matches!(phase, Phase::Held) && !alloc.client.is_terminal() =>
            {
                work.in_place.push((alloc, field.clone()));
            }
            _ => work.ignored += 1,
        }
    }
    work.kept = sorted.mains.len() as u32;
    // What does not serve anyway goes first: replacing it costs no traffic.
    work.destructive.sort_by_key(|replaced| {
        (scene.is_available(replaced.alloc), replaced.alloc.index, replaced.alloc.id)
    });
    rename(&sorted.mains, &mut names, &mut work);

    fill_gaps(scene, group, &sorted, candidates, &phase, &mut names, &mut work);
    if let Phase::Canarying(wanted) = phase {
        canaries(scene, group, &sorted, wanted, &changes, &mut work);
    }
    work
}

fn sort_out<'a>(
    scene: &Scene<'a>,
    allocs: &[&'a Allocation],
    work: &mut GroupWork<'a>,
) -> Sorted<'a> {
    let batch = scene.version.job.kind == JobType::Batch;
    let mut sorted = Sorted::default();
    let mut absent: Vec<&'a Allocation> = Vec::new();
    for &alloc in allocs {
        let fate = scene.fate(alloc);
        let gone = fate == Fate::Lost;
        if alloc.server_terminal() {
            if gone {
                work.stop_lost(alloc);
            } else {
                work.stopping |= !alloc.client.is_terminal();
                work.wait_for(alloc, fate);
            }
            sorted.past.push(alloc);
        } else if alloc.client.is_terminal() && alloc.next.is_some() {
            sorted.past.push(alloc);
        } else if batch
            && alloc.client == ClientStatus::Complete
            && alloc.job_version != scene.version.version
        {
            // Done for an older version; a new version runs anew.
            sorted.past.push(alloc);
        } else if scene.is_stale_canary(alloc) {
            if gone {
                work.stop_lost(alloc);
            } else {
                work.stop(alloc, "alloc not needed: its deployment is over");
                work.stopping |= !alloc.client.is_terminal();
            }
        } else if gone || alloc.client == ClientStatus::Lost {
            work.stop_lost(alloc);
            if !alloc.canary {
                sorted.gaps.push(Gap {
                    alloc,
                    stop: true,
                    moves: false,
                    reason: format!(
                        "replaces {}, lost with node {}",
                        alloc.id.short(),
                        alloc.node_name
                    ),
                });
            }
        } else if alloc.canary {
            let replaced = matches!(fate, Fate::Away { replace: true, .. });
            if !alloc.client.is_terminal() && (alloc.migrate.is_some() || replaced) {
                // It comes on top of what is owed: another one takes its place at once.
                work.stop(alloc, "alloc not needed: another canary takes its place");
                work.stopping = true;
            } else {
                work.wait_for(alloc, fate);
                sorted.canaries.push(alloc);
            }
        } else if fate != Fate::Here {
            work.wait_for(alloc, fate);
            if matches!(fate, Fate::Away { replace: true, .. }) {
                absent.push(alloc);
            } else {
                sorted.away.insert(alloc.id);
                sorted.mains.push(alloc);
            }
        } else if alloc.client == ClientStatus::Unknown {
            // Its node is back and has not said yet what became of it.
            sorted.unheard.push(alloc);
        } else if alloc.disconnected_at.is_some() {
            sorted.returned.push(alloc);
        } else if alloc.migrate.is_some() && !alloc.client.is_terminal() {
            sorted.moving.push(alloc);
        } else {
            sorted.mains.push(alloc);
        }
    }
    let mut names: BTreeSet<u32> = sorted.mains.iter().map(|alloc| alloc.index).collect();
    for alloc in std::mem::take(&mut sorted.unheard) {
        // Whether another one stands in for it or not, nothing happens until it is heard of.
        if names.insert(alloc.index) {
            sorted.away.insert(alloc.id);
            sorted.mains.push(alloc);
        } else {
            work.ignored += 1;
        }
    }
    names.extend(sorted.gaps.iter().map(|gap| gap.alloc.index));
    for alloc in absent {
        if names.insert(alloc.index) {
            sorted.gaps.push(Gap {
                alloc,
                stop: false,
                moves: false,
                reason: format!(
                    "stands in for {} while node {} cannot be reached",
                    alloc.id.short(),
                    alloc.node_name
                ),
            });
        } else {
            work.ignored += 1;
        }
    }
    sorted
}

/// Scaled down, or promoted: what is too much goes. First what shares its name with a newer one, then what does not
/// serve, then the highest names.
fn remove_surplus<'a>(
    scene: &Scene<'a>,
    group: &Group,
    mains: &mut Vec<&'a Allocation>,
    work: &mut GroupWork<'a>,
) {
    let surplus = mains.len().saturating_sub(group.count as usize);
    if surplus == 0 {
        return;
    }
    let mut newest: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for alloc in mains.iter() {
        let age = (alloc.job_version, alloc.create_index);
        newest.entry(alloc.index).and_modify(|known| *known = age.max(*known)).or_insert(age);
    }
    let mut order = mains.clone();
    order.sort_by_key(|alloc| {
        let shadowed = newest
            .get(&alloc.index)
            .is_some_and(|newest| *newest > (alloc.job_version, alloc.create_index));
        (
            !shadowed,
            scene.is_available(alloc),
            std::cmp::Reverse(alloc.index),
            alloc.job_version,
            alloc.id,
        )
    });
    for alloc in order.into_iter().take(surplus) {
        work.stop(alloc, "alloc not needed due to job update");
        work.stopping |= !alloc.client.is_terminal();
        mains.retain(|kept| kept.id != alloc.id);
    }
}

/// Canaries share the names of what they were to replace. Where both stay, as when the count went up meanwhile, the next
/// replacement takes a free name.
fn rename(mains: &[&Allocation], names: &mut BTreeSet<u32>, work: &mut GroupWork<'_>) {
    let replaced: BTreeSet<_> = work.destructive.iter().map(|replaced| replaced.alloc.id).collect();
    let mut claimed: BTreeSet<u32> = mains
        .iter()
        .filter(|alloc| !replaced.contains(&alloc.id))
        .map(|alloc| alloc.index)
        .collect();
    for replaced in &mut work.destructive {
        if !claimed.insert(replaced.index) {
            replaced.index = (0..).find(|index| !names.contains(index)).unwrap_or(u32::MAX);
            names.insert(replaced.index);
            claimed.insert(replaced.index);
        }
    }
}

/// Replaces a failed one when its time has come. It keeps its name until then.
fn replace_failed<'a>(
    scene: &Scene<'a>,
    alloc: &'a Allocation,
    due: Next,
    version: &'a std::sync::Arc<model::JobVersion>,
    canary: bool,
    work: &mut GroupWork<'a>,
) {
    match due {
        Next::At(at, delay) if at <= scene.now => work.wants.push(Want {
            index: alloc.index,
            version,
            canary,
            previous: Some((alloc, true)),
            rescheduled: Some(delay),
            moves: false,
            reason: format!("replaces {}, which failed", alloc.id.short()),
            only: None,
        }),
        Next::At(at, _) => {
            work.wake_at(at);
            work.ignored += 1;
        }
        Next::Never => work.ignored += 1,
    }
}

/// Brings the group up to its count: lost ones and those that leave first, under their names, then the lowest free
/// names.
fn fill_gaps<'a>(
    scene: &Scene<'a>,
    group: &'a Group,
    sorted: &Sorted<'a>,
    candidates: &Candidates,
    phase: &Phase,
    names: &mut BTreeSet<u32>,
    work: &mut GroupWork<'a>,
) {
    let mut missing = (group.count as usize).saturating_sub(sorted.mains.len());
    // Where fewer are wanted than there were, one that goes on until it has moved comes before one that is gone.
    let holds = |gap: &&Gap<'_>| gap.moves && !gap.stop && !names.contains(&gap.alloc.index);
    let mut held = sorted.gaps.iter().filter(holds).count();
    let unproven_allowed = !matches!(phase, Phase::Held | Phase::Canarying(_));
    for Gap { alloc, stop, moves, reason } in &sorted.gaps {
        let alloc = *alloc;
        // Another one stands in for it already, or makes up for the one that did.
        if names.contains(&alloc.index) {
            if *moves {
                work.available += u32::from(scene.is_available(alloc));
                work.ignored += 1;
            }
            continue;
        }
        let serves = *moves && !*stop;
        if missing == 0 {
            // One that does not serve has nobody to wait for either.
            if *moves && !work.stops.iter().any(|stop| stop.alloc.id == alloc.id) {
                work.stop(alloc, "alloc not needed due to job update");
                work.stopping = true;
            }
            continue;
        }
        if serves {
            held = held.saturating_sub(1);
        } else if missing <= held {
            continue;
        }
        let replaced = matches!(scene.change(alloc, candidates), Change::Destructive(_));
        // An older version that was lost comes back as it was, unless the gate has room for the new one.
        let version = match &mut work.gate {
            _ if !replaced => scene.version,
            Gate::Open => scene.version,
            Gate::Batch { room, .. } if *room > 0 => {
                *room -= 1;
                scene.version
            }
            Gate::Batch { .. } | Gate::Shut => scene.own_version(alloc),
        };
        missing -= 1;
        names.insert(alloc.index);
        if !*stop {
            // It holds its place until the other one does.
            work.kept += 1;
            work.available += u32::from(scene.is_available(alloc));
        }
        work.wants.push(Want {
            index: alloc.index,
            version,
            canary: false,
            previous: Some((alloc, *stop)),
            rescheduled: None,
            moves: *moves,
            reason: reason.clone(),
            only: None,
        });
    }
    // Places that an update of ours has emptied come first: the gate counts them.
    let emptied = sorted.past.iter().filter(|alloc| {
        alloc.next.is_none()
            && !alloc.canary
            && alloc.index < group.count
            && alloc.desired_description.starts_with(BEING_UPDATED)
    });
    let emptied: BTreeSet<u32> = emptied.map(|alloc| alloc.index).collect();
    for index in emptied.into_iter().chain(0..) {
        if missing == 0 {
            break;
        }
        if !names.insert(index) {
            // A name beyond the count never ends the search: there are finitely many in use.
            continue;
        }
        missing -= 1;
        let previous = sorted
            .past
            .iter()
            .filter(|alloc| alloc.index == index && alloc.next.is_none() && !alloc.canary)
            .max_by_key(|alloc| (alloc.create_index, alloc.id));
        let version = match previous {
            _ if unproven_allowed => scene.version,
            Some(alloc) => scene.own_version(alloc),
            // Nothing of a version that waits or failed is started anew.
            None => continue,
        };
        work.wants.push(Want {
            index,
            version,
            canary: false,
            previous: previous.map(|alloc| (*alloc, false)),
            rescheduled: None,
            moves: false,
            reason: previous.map_or_else(
                || "new".to_owned(),
                |alloc| {
                    let why = match &*alloc.desired_description {
                        "" => alloc.client.as_str(),
                        words => words,
                    };
                    format!("replaces {}: {why}", alloc.id.short())
                },
            ),
            only: None,
        });
    }
}

/// Places the canaries that are missing. They share the names of what they are to replace.
fn canaries<'a>(
    scene: &Scene<'a>,
    group: &'a Group,
    sorted: &Sorted<'a>,
    wanted: u32,
    changes: &BTreeMap<model::AllocId, Change>,
    work: &mut GroupWork<'a>,
) {
    let policy = reschedule::policy(scene.version.job.kind, group);
    for alloc in &sorted.canaries {
        if scene.has_failed(alloc) {
            let due = reschedule::next(policy.as_ref(), alloc);
            replace_failed(scene, alloc, due, scene.version, true, work);
        } else {
            work.ignored += 1;
        }
    }
    let missing = (wanted as usize).saturating_sub(sorted.canaries.len());
    let held: BTreeSet<u32> = sorted.canaries.iter().map(|alloc| alloc.index).collect();
    let mut replaced: Vec<_> = sorted
        .mains
        .iter()
        .filter_map(|alloc| match changes.get(&alloc.id) {
            Some(Change::Destructive(field)) => Some((alloc.index, field.as_str())),
            _ => None,
        })
        .collect();
    replaced.sort_unstable();
    let field = replaced.first().map_or("new version", |(_, field)| field).to_owned();
    let names = replaced
        .iter()
        .map(|(index, _)| *index)
        .chain(group.count..)
        .filter(|index| !held.contains(index));
    for index in names.take(missing) {
        work.wants.push(Want {
            index,
            version: scene.version,
            canary: true,
            previous: None,
            rescheduled: None,
            moves: false,
            reason: format!("canary: {field} changed"),
            only: None,
        });
    }
}
