//! What a group waits for.

use model::wire::{GateView, Verdict, WaitKind, WaitView};
use model::{DeploymentStatus, EvalStatus, Evaluation, Timestamp};

use super::{Look, gate};
use crate::reconcile::Want;
use crate::reconcile::reschedule::{self, Next};

/// Allocations that failed and are named one by one.
const MOST_NAMED: usize = 20;

/// All that it waits for, in the order in which a pass would come to it.
pub(super) fn of(look: &Look<'_>, gate: Option<&GateView>) -> Vec<WaitView> {
    let mut waits = Vec::new();
    let scene = &look.scene;
    waits.extend(crate::order::waits(scene.state, scene.record).into_iter().map(|waiting| {
        wait(WaitKind::Order, format!("it comes after job {}: {}", waiting.on, waiting.why))
    }));
    // What waits for other jobs does nothing else until they are settled.
    if !waits.is_empty() {
        return waits;
    }
    missing(look, &mut waits);
    failed(look, &mut waits);
    rollout(look, gate, &mut waits);
    waits
}

fn wait(kind: WaitKind, description: String) -> WaitView {
    WaitView { kind, description, ..WaitView::default() }
}

/// What is to be placed and is not.
fn missing(look: &Look<'_>, waits: &mut Vec<WaitView>) {
    let work = &look.work;
    let behind = |want: &&Want<'_>| work.stopping && is_alone(look, want);
    let late = work.wants.iter().filter(behind).count();
    if late > 0 {
        let words = "another one may start once what it takes the place of is over";
        waits.push(wait(WaitKind::Stopping, words.to_owned()));
    }
    let last = look.scene.state.evaluations_of_job(&look.scene.record.id).next();
    let last = last.filter(|last| last.job_version == look.scene.version.version);
    let refused = last.is_some_and(|last| last.failures.contains_key(&look.group.name));
    let others =
        last.filter(|last| look.scene.version.job.all_at_once && !last.failures.is_empty());
    let rest = work.wants.iter().filter(|want| !behind(want));
    let (mut without, mut about) = (0_u32, 0_u32);
    for want in rest {
        let would = match want.only {
            Some(only) => look.nodes.iter().find(|node| node.node == only),
            None => look.nodes.first(),
        };
        let fits = would.is_some_and(|node| node.verdict == Verdict::Fits);
        if fits && !refused { about += 1 } else { without += 1 }
    }
    if without > 0 {
        let count = |verdict| look.nodes.iter().filter(|node| node.verdict == verdict).count();
        let description = format!(
            "{} no node: of {} nodes {} must not have it and {} no room",
            things(without, "finds", "find"),
            look.nodes.len(),
            count(Verdict::Filtered),
            match count(Verdict::Exhausted) {
                1 => "1 has".to_owned(),
                many => format!("{many} have"),
            },
        );
        let since = blocked_since(look);
        waits.push(WaitView { since, ..wait(WaitKind::Room, description) });
    }
    if about > 0 {
        let description = match others.and_then(|last| last.failures.keys().next()) {
            Some(group) => format!(
                "{} for group \"{group}\", which finds no room: all of the job is placed at once",
                things(about, "waits", "wait")
            ),
            None => format!("{} placed with the next pass", things(about, "is", "are")),
        };
        let kind = if others.is_some() { WaitKind::Room } else { WaitKind::Pass };
        waits.push(wait(kind, description));
    }
}

fn things(count: u32, one: &str, many: &str) -> String {
    if count == 1 { format!("1 allocation {one}") } else { format!("{count} allocations {many}") }
}

/// Whether it may only start when what was told to stop is over, as [`crate::execute`] has it.
fn is_alone(look: &Look<'_>, want: &Want<'_>) -> bool {
    let own = want.version.job.group(&look.group.name);
    look.group.is_alone() || own.is_some_and(model::Group::is_alone)
}

/// When the passes began that found no place for something of the job, as far as they are on record.
fn blocked_since(look: &Look<'_>) -> Option<Timestamp> {
    let passes = look.scene.state.evaluations_of_job(&look.scene.record.id);
    let blocked =
        passes.take_while(|pass: &&std::sync::Arc<Evaluation>| pass.status == EvalStatus::Blocked);
    blocked.last().map(|pass| pass.created_at)
}

/// What failed and is not replaced yet.
fn failed(look: &Look<'_>, waits: &mut Vec<WaitView>) {
    let scene = &look.scene;
    let policy = reschedule::policy(scene.version.job.kind, look.group);
    let open = look.allocs.iter().filter(|alloc| {
        !alloc.server_terminal() && alloc.next.is_none() && scene.has_failed(alloc)
    });
    let mut more = 0;
    for (n, alloc) in open.enumerate() {
        if n >= MOST_NAMED {
            more += 1;
            continue;
        }
        let (id, node) = (alloc.id.short(), &alloc.node_name);
        match reschedule::next(policy.as_ref(), alloc) {
            Next::At(at, delay) if at > scene.now => waits.push(WaitView {
                since: Some(reschedule::failed_at(alloc)),
                until: Some(at),
                ..wait(
                    WaitKind::Reschedule,
                    format!(
                        "{id} failed on node {node} and is replaced after {}",
                        model::format_duration(delay)
                    ),
                )
            }),
            // It is among what is missing.
            Next::At(..) => {}
            Next::Never => waits.push(wait(
                WaitKind::Retries,
                format!("{id} failed on node {node} and is not tried again"),
            )),
        }
    }
    if more > 0 {
        waits.push(wait(WaitKind::Reschedule, format!("{more} more failed")));
    }
}

/// What the rollout waits for.
fn rollout(look: &Look<'_>, gate: Option<&GateView>, waits: &mut Vec<WaitView>) {
    let outdated = gate.map(|gate| {
        let words = format!("{} of {} may be replaced now", gate.now, gate.outdated);
        format!("{words}: {}", gate.reason)
    });
    let Some(deployment) =
        look.scene.deployment.filter(|deployment| deployment.groups.contains_key(&look.group.name))
    else {
        waits.extend(outdated.map(|words| wait(WaitKind::Gate, words)));
        return;
    };
    let short = look.placed().count() + look.work.wants.len() < look.work.desired as usize;
    match deployment.status {
        DeploymentStatus::Paused => waits.push(wait(
            WaitKind::Deployment,
            outdated.unwrap_or_else(|| format!("deployment {} is paused", deployment.id.short())),
        )),
        DeploymentStatus::Failed if short || outdated.is_some() => {
            let words = format!(
                "nothing of version {} starts: deployment {} failed: {}",
                deployment.job_version,
                deployment.id.short(),
                deployment.description
            );
            waits.push(wait(WaitKind::Deployment, outdated.unwrap_or(words)));
        }
        DeploymentStatus::Running => {
            if let Some(words) = gate::canaries(look, deployment) {
                waits.push(wait(WaitKind::Promotion, words));
            } else if let Some(words) = outdated {
                waits.push(wait(WaitKind::Gate, words));
            } else if let Some(part) = deployment.groups.get(&look.group.name)
                && part.healthy < part.placed
            {
                let words = format!("{} of {} are healthy", part.healthy, part.placed);
                let until = part.require_progress_by;
                waits.push(WaitView { until, ..wait(WaitKind::Gate, words) });
            }
        }
        DeploymentStatus::Failed | DeploymentStatus::Successful | DeploymentStatus::Cancelled => {
            waits.extend(outdated.map(|words| wait(WaitKind::Gate, words)));
        }
    }
}
