//! Groups that run once on each feasible node: system and sysbatch (nomad.md 2.9).

use std::collections::BTreeMap;

use model::{Allocation, ClientStatus, Group, JobType, NodeId};

use super::fate::Fate;
use super::reschedule::{self, Next};
use super::{Gate, GroupWork, Phase, Replaced, Scene, Want};
use crate::compare::Change;
use crate::place::Candidates;

pub(super) fn reconcile<'a>(
    scene: &Scene<'a>,
    group: &'a Group,
    allocs: &[&'a Allocation],
    candidates: &Candidates,
    feasible: &[NodeId],
) -> GroupWork<'a> {
    if group.count == 0 {
        return scene.remove(&group.name, allocs, "alloc not needed due to job update");
    }
    let mut work = GroupWork::new(&group.name, Some(group));
    work.desired = feasible.len() as u32;
    let mut past: BTreeMap<NodeId, &'a Allocation> = BTreeMap::new();
    let kept = sort_out(scene, allocs, candidates, &mut past, &mut work);

    // Those that cannot be reached, or have not said yet what became of them, are left as they are.
    let reached = kept
        .values()
        .filter(|alloc| scene.fate(alloc) == Fate::Here && alloc.client != ClientStatus::Unknown);
    let changes: BTreeMap<_, _> =
        reached.map(|alloc| (alloc.id, scene.change(alloc, candidates))).collect();
    let phase =
        scene.phase(group, changes.values().any(|change| matches!(change, Change::Destructive(_))));
    work.gate = match (&phase, group.rollout()) {
        (Phase::Held | Phase::Canarying(_), _) => Gate::Shut,
        (_, None) => Gate::Open,
        (_, Some(update)) => scene.batch_gate(update.max_parallel, kept.values().copied()),
    };
    let must_replace =
        |alloc: &Allocation| matches!(changes.get(&alloc.id), Some(Change::Destructive(_)));
    if kept.values().any(|alloc| must_replace(alloc)) {
        // A node that is not ready cannot prove anything and holds nothing up.
        let ready =
            |alloc: &Allocation| scene.state.node(alloc.node).is_some_and(|node| node.is_ready());
        let stays = kept.values().copied().filter(|alloc| ready(alloc) && !must_replace(alloc));
        scene.wait_for_unjudged(group, stays, &mut work);
    }
    let policy = reschedule::policy(scene.version.job.kind, group);
    for (node, &alloc) in &kept {
        let ready = scene.state.node(*node).is_some_and(|node| node.is_ready());
        let is_feasible = feasible.binary_search(node).is_ok();
        match changes.get(&alloc.id) {
            // Nothing new starts on a node that takes nothing, or that the new version does not suit: what is outdated
            // there only goes.
            Some(Change::Destructive(_)) if !ready || !suits(scene, candidates, *node) => {
                work.stop(alloc, "alloc not needed due to job update");
                continue;
            }
            Some(Change::Destructive(field)) if work.gate != Gate::Shut => {
                work.destructive.push(Replaced { alloc, field: field.clone(), index: 0 });
            }
            _ if scene.has_failed(alloc) => {
                replace_failed(scene, alloc, policy.as_ref(), is_feasible, &mut work);
            }
            Some(Change::InPlace(field))
                if work.gate != Gate::Shut && !alloc.client.is_terminal() =>
            {
                work.in_place.push((alloc, field.clone()));
            }
            _ => work.ignored += 1,
        }
        work.kept += 1;
        work.available += u32::from(scene.is_available(alloc));
        // A node that is not ready cannot prove anything and holds nothing up.
        work.proven &= !ready || scene.is_proven(alloc);
    }
    work.destructive
        .sort_by_key(|replaced| (scene.is_available(replaced.alloc), replaced.alloc.node));
    for node in feasible.iter().filter(|node| !kept.contains_key(node)) {
        let version = match phase {
            Phase::Held => scene.record.stable().unwrap_or(scene.version),
            Phase::Free | Phase::Rolling | Phase::Canarying(_) => scene.version,
        };
        let previous = past.get(node).filter(|alloc| alloc.next.is_none()).copied();
        work.wants.push(Want {
            index: 0,
            version,
            canary: false,
            previous: previous.map(|alloc| (alloc, false)),
            rescheduled: None,
            moves: false,
            reason: "one on each feasible node".to_owned(),
            only: Some(*node),
        });
    }
    work
}

fn suits(scene: &Scene<'_>, candidates: &Candidates, node: NodeId) -> bool {
    scene.state.node(node).is_some_and(|node| candidates.demands().suits(node).is_ok())
}

/// What is kept, by node. What is on nodes that are gone or out of bounds is stopped.
fn sort_out<'a>(
    scene: &Scene<'a>,
    allocs: &[&'a Allocation],
    candidates: &Candidates,
    past: &mut BTreeMap<NodeId, &'a Allocation>,
    work: &mut GroupWork<'a>,
) -> BTreeMap<NodeId, &'a Allocation> {
    let sysbatch = scene.version.job.kind == JobType::Sysbatch;
    let mut kept: BTreeMap<NodeId, &'a Allocation> = BTreeMap::new();
    for &alloc in allocs {
        let fate = scene.fate(alloc);
        let outside = scene
            .state
            .node(alloc.node)
            .is_some_and(|node| candidates.demands().located(node).is_err());
        if fate == Fate::Lost {
            work.stop_lost(alloc);
        } else if alloc.server_terminal() {
            work.stopping |= !alloc.client.is_terminal();
            work.wait_for(alloc, fate);
            note_past(past, alloc);
        } else if alloc.client == ClientStatus::Lost
            || (alloc.client.is_terminal() && alloc.next.is_some())
            || (sysbatch
                && alloc.client.is_terminal()
                && alloc.job_version != scene.version.version)
        {
            note_past(past, alloc);
        } else if outside || scene.is_stale_canary(alloc) {
            if !alloc.client.is_terminal() {
                work.stop(alloc, "alloc not needed due to job update");
                work.stopping = true;
            }
        } else if alloc.migrate.is_some() && !alloc.client.is_terminal() {
            work.stop(alloc, "alloc is stopped: its node is emptied");
            work.stopping = true;
        } else {
            work.wait_for(alloc, fate);
            if fate == Fate::Here
                && alloc.disconnected_at.is_some()
                && alloc.client != ClientStatus::Unknown
            {
                work.back.push(alloc);
            }
            let newer = |other: &Allocation| {
                (alloc.create_index, alloc.id) > (other.create_index, other.id)
            };
            // One is enough on a node: the newest stays.
            if let Some(other) = kept.get(&alloc.node).copied() {
                let surplus = if newer(other) { other } else { alloc };
                work.stop(surplus, "alloc not needed: another one runs on its node");
                if surplus.id == alloc.id {
                    continue;
                }
            }
            kept.insert(alloc.node, alloc);
        }
    }
    kept
}

/// Of those that are over on a node, the newest is the one that another takes the place of.
fn note_past<'a>(past: &mut BTreeMap<NodeId, &'a Allocation>, alloc: &'a Allocation) {
    let age = |alloc: &Allocation| (alloc.create_index, alloc.id);
    let newest = past.entry(alloc.node).or_insert(alloc);
    if age(newest) < age(alloc) {
        *newest = alloc;
    }
}

fn replace_failed<'a>(
    scene: &Scene<'a>,
    alloc: &'a Allocation,
    policy: Option<&model::Reschedule>,
    feasible: bool,
    work: &mut GroupWork<'a>,
) {
    match reschedule::next(policy, alloc) {
        Next::At(at, delay) if at <= scene.now && feasible => work.wants.push(Want {
            index: 0,
            version: if work.gate == Gate::Shut { scene.own_version(alloc) } else { scene.version },
            canary: false,
            previous: Some((alloc, true)),
            rescheduled: Some(delay),
            moves: false,
            reason: format!("replaces {}, which failed", alloc.id.short()),
            only: Some(alloc.node),
        }),
        Next::At(at, _) if at > scene.now => {
            work.wake_at(at);
            work.ignored += 1;
        }
        Next::At(..) | Next::Never => work.ignored += 1,
    }
}

#[cfg(test)]
mod tests {
    use model::{AllocId, seeded_uuid};

    use super::*;

    #[test]
    fn the_newest_on_a_node_is_the_one_that_another_takes_the_place_of() {
        let alloc = |n: u8, create_index| Allocation {
            id: AllocId::new(seeded_uuid(&[&[n]])),
            create_index,
            ..Allocation::default()
        };
        let all = [alloc(1, 3), alloc(2, 9), alloc(3, 5)];
        for first in 0..all.len() {
            let mut past = BTreeMap::new();
            all.iter().cycle().skip(first).take(3).for_each(|one| note_past(&mut past, one));
            let newest: Vec<u64> = past.values().map(|alloc| alloc.create_index).collect();
            assert_eq!(newest, [9]);
        }
    }
}
