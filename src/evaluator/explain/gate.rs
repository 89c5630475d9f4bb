//! How many of a group may be replaced now, and why no more (law 4).

use model::wire::GateView;
use model::{Allocation, Deployment, DeploymentStatus};

use super::Look;
use crate::compare::Change;
use crate::reconcile::Gate;

/// The gate over what is outdated; `None` when nothing is.
pub(super) fn view(look: &Look<'_>) -> Option<GateView> {
    let scene = &look.scene;
    let replaced = |alloc: &&Allocation| {
        let change = scene.change(alloc, &look.candidates);
        matches!(change, Change::Destructive(_)) && !alloc.terminal()
    };
    let outdated = look.placed().filter(replaced).count() as u32;
    if outdated == 0 {
        return None;
    }
    let now = passing(look);
    Some(GateView { outdated, now, reason: reason(look, now) })
}

/// How many the gate lets through, counted as a pass does once it has placed what is missing.
fn passing(look: &Look<'_>) -> u32 {
    let work = &look.work;
    let all = work.destructive.len() as u32;
    let (mut room, mut spare) = match work.gate {
        Gate::Open => return all,
        Gate::Shut => return 0,
        Gate::Batch { room, max_parallel } => {
            let gaps = work.wants.iter().filter(|want| want.rescheduled.is_none() && !want.canary);
            let gaps = gaps.count() as u32;
            let slots = (work.kept + gaps).min(work.desired);
            let least = slots.saturating_sub(max_parallel);
            (room.saturating_sub(gaps), work.available.saturating_sub(least))
        }
    };
    let mut passing = 0;
    for replaced in &work.destructive {
        let serves = look.scene.is_available(replaced.alloc);
        if room == 0 || (serves && spare == 0) {
            continue;
        }
        passing += 1;
        room -= 1;
        spare = spare.saturating_sub(u32::from(serves));
    }
    passing
}

fn reason(look: &Look<'_>, now: u32) -> String {
    let (scene, work) = (&look.scene, &look.work);
    let max_parallel = match work.gate {
        Gate::Open => return "all at once: the group has no rolling updates".to_owned(),
        Gate::Shut => return shut(look, scene.deployment.map(AsRef::as_ref)),
        Gate::Batch { max_parallel, .. } => max_parallel,
    };
    if now > 0 {
        return format!("max_parallel is {max_parallel}");
    }
    let of_rollout = look.allocs.iter().filter(|alloc| {
        scene.in_deployment(alloc) && !alloc.server_terminal() && alloc.next.is_none()
    });
    let of_rollout: Vec<_> = of_rollout.collect();
    let bad = of_rollout.iter().find(|alloc| alloc.is_unhealthy() || scene.has_failed(alloc));
    if let Some(bad) = bad {
        let why = bad.health.as_ref().map_or("", |health| health.reason.as_str());
        let why = if why.is_empty() { "it failed" } else { why };
        return format!("{} on node {} is not healthy: {why}", bad.id.short(), bad.node_name);
    }
    let unproven = of_rollout.iter().filter(|alloc| !alloc.is_healthy()).count();
    if unproven > 0 {
        return format!("max_parallel is {max_parallel}, and {unproven} must prove healthy first");
    }
    format!(
        "max_parallel is {max_parallel}, and {} of {} serve",
        work.available,
        work.desired.max(work.kept)
    )
}

fn shut(look: &Look<'_>, deployment: Option<&Deployment>) -> String {
    let Some(deployment) = deployment else {
        return "canaries of the new version come first".to_owned();
    };
    let id = deployment.id.short();
    match deployment.status {
        DeploymentStatus::Paused => format!("deployment {id} is paused"),
        DeploymentStatus::Failed => format!("deployment {id} failed: {}", deployment.description),
        _ => canaries(look, deployment).unwrap_or_else(|| format!("deployment {id} waits")),
    }
}

/// What a group's canaries wait for, if they are not promoted.
pub(super) fn canaries(look: &Look<'_>, deployment: &Deployment) -> Option<String> {
    let part = deployment.groups.get(&look.group.name)?;
    if part.desired_canaries == 0 || part.promoted {
        return None;
    }
    let healthy = look.placed().filter(|alloc| alloc.canary && alloc.is_healthy()).count();
    let stand = format!("{healthy} of {} canaries are healthy", part.desired_canaries);
    Some(if healthy < part.desired_canaries as usize {
        stand
    } else if part.auto_promote {
        format!("{stand}, and all groups' are promoted together")
    } else {
        format!("{stand}; `herder deployment promote {}` goes on", deployment.id.short())
    })
}
