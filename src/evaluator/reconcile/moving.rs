//! Allocations that come back, and allocations that are to move.
//!
//! One that comes back and was stood in for is weighed against the one that stood in (`disconnect { reconcile }`). One
//! that is to move serves until its replacement has stood for as long as `migrate` asks; only when the time of its
//! node's drain is over, it goes whether or not there is one.

use std::time::Duration;

use model::{Allocation, CheckStatus, ClientStatus, Group, Reconcile, Timestamp, UpdateHealth};

use super::per_count::{Gap, Sorted};
use super::{GroupWork, Phase, Scene, Want};

/// Whether a replacement can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    Yes,
    /// Then, if nothing happens to it.
    At(Timestamp),
    No,
}

/// Decides which stay of those that came back and those that stood in for them. Law 4: the one that is to go serves
/// until the one that stays does, or cannot be expected to any more.
pub(super) fn settle_returned<'a>(
    scene: &Scene<'a>,
    group: &Group,
    sorted: &mut Sorted<'a>,
    work: &mut GroupWork<'a>,
) {
    let strategy = group.disconnection().map(|policy| policy.reconcile).unwrap_or_default();
    for original in std::mem::take(&mut sorted.returned) {
        let stand_in = sorted.mains.iter().position(|alloc| alloc.index == original.index);
        let Some((at, other)) = stand_in.and_then(|at| Some((at, *sorted.mains.get(at)?))) else {
            work.back.push(original);
            sorted.mains.push(original);
            continue;
        };
        if !original.client.is_terminal() && original.client != ClientStatus::Running {
            // It starts anew on its node: what it is good for is not known yet.
            work.ignored += 1;
            continue;
        }
        let preferred = keeps_original(strategy, original, other);
        let (stays, goes) = if preferred { (original, other) } else { (other, original) };
        let gap = scene.is_available(goes) && !scene.is_available(stays);
        if gap && scene.awaits_verdict(stays) {
            work.ignored += 1;
            // The stand-in is counted with the mains.
            work.available += u32::from(!preferred);
        } else if preferred != gap {
            work.stop(other, "alloc not needed: the one that it stood in for is back");
            work.stopping |= !other.client.is_terminal();
            sorted.mains.remove(at);
            work.back.push(original);
            sorted.mains.push(original);
        } else {
            work.stop(original, "alloc not needed: another one stood in for it and is kept");
            work.stopping |= !original.client.is_terminal();
        }
    }
}

fn keeps_original(strategy: Reconcile, original: &Allocation, other: &Allocation) -> bool {
    if original.client.is_terminal() || original.job_version < other.job_version {
        return false;
    }
    let other_runs = other.client == ClientStatus::Running;
    let best = |alloc: &Allocation| {
        let score = alloc.explanation.as_ref().and_then(|explanation| explanation.score.as_ref());
        score.map_or(f64::MIN, |score| score.total)
    };
    let starts = (started(original), started(other));
    match strategy {
        _ if !other_runs => true,
        Reconcile::KeepOriginal => true,
        Reconcile::KeepReplacement => false,
        Reconcile::LongestRunning if starts != (None, None) => match starts {
            (Some(first), Some(second)) => first < second,
            (first, _) => first.is_some(),
        },
        Reconcile::BestScore | Reconcile::LongestRunning => best(other) <= best(original),
    }
}

/// When the first of its tasks started.
fn started(alloc: &Allocation) -> Option<Timestamp> {
    alloc.tasks.values().map(|task| task.started_at).filter(|at| !at.is_zero()).min()
}

/// Lets those go that are to move and whose replacements stand; says which replacements are missing.
pub(super) fn settle_moving<'a>(
    scene: &Scene<'a>,
    group: &Group,
    sorted: &mut Sorted<'a>,
    work: &mut GroupWork<'a>,
) {
    let mut moving = std::mem::take(&mut sorted.moving);
    moving.sort_by_key(|alloc| (alloc.index, alloc.id));
    // Law 4: though its own replacement stands, others may not serve yet.
    let serve = |allocs: &[&Allocation]| {
        allocs.iter().filter(|alloc| scene.is_available(alloc)).count() as u32
    };
    let mut serving = serve(&sorted.mains) + serve(&moving);
    let at_once = group.rollout().map_or_else(
        || group.migrate.as_ref().map_or(1, |migrate| migrate.max_parallel),
        |update| update.max_parallel,
    );
    let floor = group.count.saturating_sub(at_once);
    for alloc in moving {
        let serves = scene.is_available(alloc);
        let drain = scene.state.node(alloc.node).and_then(|node| node.drain.as_ref());
        let over = drain.is_some_and(|drain| drain.is_over(scene.now));
        if let Some(deadline) = drain.and_then(|drain| drain.deadline).filter(|_| !over) {
            work.wake_at(deadline);
        }
        let successor = sorted.mains.iter().find(|other| other.index == alloc.index).copied();
        let Some(successor) = successor else {
            if over {
                work.stop(alloc, "alloc is stopped: the time to empty its node is over");
                work.stopping = true;
                serving -= u32::from(serves);
            }
            sorted.gaps.push(Gap {
                alloc,
                stop: over || alloc.client != ClientStatus::Running,
                moves: true,
                reason: match alloc.move_reason() {
                    "" => format!("moves {} off node {}", alloc.id.short(), alloc.node_name),
                    why => format!("moves {}: {why}", alloc.id.short()),
                },
            });
            continue;
        };
        let policy = group.migrate.clone().unwrap_or_default();
        match stands(scene, successor, policy.health_check, policy.min_healthy_time) {
            Stands::Yes if !serves || serving > floor => {
                work.stop(alloc, moved(alloc));
                work.stopping = true;
                serving -= u32::from(serves);
            }
            _ if over => {
                work.stop(alloc, "alloc is stopped: the time to empty its node is over");
                work.stopping = true;
                serving -= u32::from(serves);
            }
            standing => {
                match (standing, settles_by(scene, group, successor)) {
                    (Stands::At(at), _) => work.wake_at(at),
                    // Nothing is lost by another attempt while the one that moves serves.
                    (Stands::No, Some(late)) if late <= scene.now && serves => {
                        work.wants.push(retry(scene, alloc, successor));
                    }
                    (Stands::No, Some(late)) if late > scene.now => work.wake_at(late),
                    _ => {}
                }
                work.ignored += 1;
                // It serves in place of its replacement.
                let both = scene.is_available(successor);
                work.available += u32::from(serves && !both);
            }
        }
    }
}

/// Why one stops that was to move, once its replacement stands.
pub(crate) fn moved(alloc: &Allocation) -> String {
    match alloc.move_reason() {
        "" => "alloc was moved to another node".to_owned(),
        why => format!("alloc was moved to another node: {why}"),
    }
}

/// When a replacement that does not stand yet has had its time (`healthy_deadline`). Nothing for one that a rollout is
/// to judge, that is over or to be replaced anyway, or that could not be started anew now.
fn settles_by(scene: &Scene<'_>, group: &Group, successor: &Allocation) -> Option<Timestamp> {
    let own = successor.job_version == scene.version.version;
    let free = matches!(scene.phase(group, false), Phase::Free | Phase::Rolling);
    let judged = !scene.awaits_verdict(successor) && !successor.client.is_terminal();
    let deadline = group.migrate.clone().unwrap_or_default().healthy_deadline;
    (own && free && judged).then(|| successor.created_at + deadline)
}

/// Another attempt at a move, somewhere else. The one that failed goes once there is a place for it.
fn retry<'a>(scene: &Scene<'a>, moving: &Allocation, failed: &'a Allocation) -> Want<'a> {
    Want {
        index: failed.index,
        version: scene.version,
        canary: false,
        previous: Some((failed, true)),
        rescheduled: Some(Duration::ZERO),
        moves: true,
        reason: format!(
            "moves {} off node {}: {} was not healthy in time on node {}",
            moving.id.short(),
            moving.node_name,
            failed.id.short(),
            failed.node_name
        ),
        only: None,
    }
}

/// Whether a replacement has been well for as long as is asked of one that takes over.
pub(super) fn stands(
    scene: &Scene<'_>,
    alloc: &Allocation,
    health_check: UpdateHealth,
    min_healthy_time: Duration,
) -> Stands {
    // One that a rollout has to judge is not relied on before it did.
    if !scene.is_available(alloc) {
        return Stands::No;
    }
    if alloc.is_healthy() {
        return Stands::Yes;
    }
    let started = alloc.tasks.values().map(|task| task.started_at).max().unwrap_or_default();
    let mut since = if started.is_zero() { alloc.modified_at } else { started };
    if health_check == UpdateHealth::Checks {
        let own = scene.own_version(alloc).job.group(&alloc.group);
        let services = own.into_iter().flat_map(Group::all_services);
        let declared: usize = services.map(|(_, service)| service.checks.len()).sum();
        // One that was not run yet says nothing.
        if alloc.checks.len() < declared {
            return Stands::No;
        }
        for check in alloc.checks.values() {
            if check.status != CheckStatus::Passing {
                return Stands::No;
            }
            since = since.max(check.since);
        }
    }
    let at = since + min_healthy_time;
    if at <= scene.now { Stands::Yes } else { Stands::At(at) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Explanation, NodeScore, TaskState};

    use super::*;

    fn running(score: f64, started_at: i64) -> Allocation {
        let score = Some(NodeScore { total: score, ..NodeScore::default() });
        let started_at = Timestamp::from_secs(started_at);
        let task = TaskState { started_at, ..TaskState::default() };
        Allocation {
            client: ClientStatus::Running,
            explanation: Some(Arc::new(Explanation { score, ..Explanation::default() })),
            tasks: [("t".to_owned(), task)].into_iter().collect(),
            ..Allocation::default()
        }
    }

    #[test]
    fn each_strategy_keeps_what_it_says() {
        let original = running(0.5, 10);
        let keeps = |strategy, other: &Allocation| keeps_original(strategy, &original, other);
        assert!(keeps(Reconcile::KeepOriginal, &running(0.9, 1)));
        assert!(!keeps(Reconcile::KeepReplacement, &running(0.1, 20)));
        assert!(keeps(Reconcile::BestScore, &running(0.4, 1)));
        assert!(keeps(Reconcile::BestScore, &running(0.5, 1)));
        assert!(!keeps(Reconcile::BestScore, &running(0.6, 20)));
        assert!(keeps(Reconcile::LongestRunning, &running(0.9, 20)));
        assert!(!keeps(Reconcile::LongestRunning, &running(0.1, 10)), "equal: the newer one");
        assert!(keeps(Reconcile::LongestRunning, &running(0.9, 0)), "that one did not start");
        let pending = Allocation { client: ClientStatus::Pending, ..running(0.9, 0) };
        for strategy in [Reconcile::BestScore, Reconcile::KeepReplacement] {
            assert!(keeps(strategy, &pending), "what runs is not given up for what does not");
        }
        let newer = Allocation { job_version: 1, ..running(0.1, 20) };
        assert!(!keeps(Reconcile::KeepOriginal, &newer), "nor is a newer version for an older one");
        let failed = Allocation { client: ClientStatus::Failed, ..running(0.9, 1) };
        assert!(!keeps_original(Reconcile::KeepOriginal, &failed, &running(0.1, 20)));
    }
}
