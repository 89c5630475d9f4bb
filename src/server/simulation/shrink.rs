//! Makes a schedule that fails smaller, as long as it breaks the same rule: first fewer actions, then fewer nodes and
//! servers, then simpler versions and shorter times.

use super::jobs::{Mode, Silent, Spec};
use super::schedule::{Action, Schedule};

/// Shrinks as far as `tries` runs allow. `fails` says whether a schedule still breaks the rule.
pub(super) fn shrink(
    mut best: Schedule,
    mut tries: usize,
    mut fails: impl FnMut(&Schedule) -> bool,
) -> Schedule {
    let mut attempt = |best: &mut Schedule, candidate: Schedule, tries: &mut usize| {
        if *tries == 0 || candidate == *best {
            return false;
        }
        *tries -= 1;
        let is_smaller = fails(&candidate);
        if is_smaller {
            *best = candidate;
        }
        is_smaller
    };
    loop {
        let before = best.clone();
        // Chunks of the actions, from half of them down to single ones.
        let mut size = best.actions.len().div_ceil(2).max(1);
        loop {
            let mut from = 0;
            while from < best.actions.len() {
                let mut candidate = best.clone();
                let to = (from + size).min(candidate.actions.len());
                candidate.actions.drain(from..to);
                if !attempt(&mut best, candidate, &mut tries) {
                    from += size;
                }
            }
            if size == 1 {
                break;
            }
            size = size.div_ceil(2);
        }
        for nodes in 1..best.nodes {
            let candidate = Schedule { nodes, ..best.clone() };
            if attempt(&mut best, candidate, &mut tries) {
                break;
            }
        }
        for servers in [1, 3] {
            let candidate = Schedule { servers, ..best.clone() };
            if servers < best.servers && attempt(&mut best, candidate, &mut tries) {
                break;
            }
        }
        for at in 0..best.actions.len() {
            for simpler in simpler(&best.actions[at].1) {
                let mut candidate = best.clone();
                candidate.actions[at].1 = simpler;
                attempt(&mut best, candidate, &mut tries);
            }
        }
        if best == before || tries == 0 {
            return best;
        }
    }
}

/// Actions that are a little simpler.
fn simpler(action: &Action) -> Vec<Action> {
    match action {
        Action::Push(job, spec) => {
            specs(spec).into_iter().map(|spec| Action::Push(*job, spec)).collect()
        }
        Action::Reboot(node, span) => vec![Action::Restart(*node, *span)],
        Action::Die(node) => vec![Action::Cut(*node, 600_000)],
        Action::Join(node) => vec![Action::Die(*node)],
        Action::Drain(node, Some(_), ignore) => vec![Action::Drain(*node, None, *ignore)],
        Action::Down(server, _) | Action::Isolate(server, _) => {
            vec![Action::HandOver, Action::Down(*server, 10_000)]
        }
        _ => Vec::new(),
    }
}

fn specs(spec: &Spec) -> Vec<Spec> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Spec)| {
        let mut simpler = spec.clone();
        change(&mut simpler);
        if simpler != *spec {
            all.push(simpler);
        }
    };
    with(&|spec| spec.second = 0);
    with(&|spec| spec.count = 1);
    with(&|spec| spec.count = 2);
    with(&|spec| spec.size = 1);
    with(&|spec| spec.canary = 0);
    with(&|spec| spec.mode = Mode::Good);
    with(&|spec| spec.silent = Silent::Lost);
    with(&|spec| spec.port = false);
    with(&|spec| spec.rack = None);
    with(&|spec| spec.spread = false);
    with(&|spec| spec.sticky = false);
    with(&|spec| spec.slow = false);
    with(&|spec| spec.all_at_once = false);
    with(&|spec| spec.auto_revert = false);
    with(&|spec| spec.auto_promote = false);
    with(&|spec| spec.priority = 0);
    with(&|spec| spec.parallel = 1);
    with(&|spec| spec.moves = 1);
    with(&|spec| spec.progress = 60);
    all
}
