//! What a revision would do, without doing it. The same functions as the real thing (law 2), on a copy of the state.

use std::collections::BTreeMap;

use model::wire::{FieldChange, JobDiff, PlannedPlacement};
use model::{
    DesiredUpdates, Diagnostic, EvalTrigger, FileChangeKind, Job, JobId, PlacementFailure,
    Timestamp,
};
use state::{Command, Event, Plan, Rejection, State, TakeRevision};

use crate::diff::{changes_of_job, diff_jobs};
use crate::evaluate::{JobReport, Order, evaluate_explained};
use crate::improve::{Improvement, foreseen, improves};
use crate::order::{Waiting, waits};
use crate::place::Fleet;

/// Placements of a group that are shown.
const PLACEMENTS: usize = 20;

/// What a revision would do.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// The first plan after it.
    pub plan: Plan,
    /// Each job that it touches, in the order of their files; then those that are stopped without a file saying so.
    pub jobs: Vec<JobPreview>,
    /// What would be moved to better nodes after it, of all jobs that ask for it, once all of it is well.
    pub moves: Vec<Improvement>,
    /// Why the revision would not be taken in at all.
    pub rejection: Option<Rejection>,
}

/// What a revision would do to a job.
#[derive(Clone, Debug, Default)]
pub struct JobPreview {
    /// The job.
    pub job: JobId,
    /// What the revision does with its file; `None` for a job that is only looked at because of another.
    pub change: Option<FileChangeKind>,
    /// What differs from what is desired now, annotated with what follows.
    pub diff: JobDiff,
    /// Each change of a job that stays, what it makes of allocations and why: those that replace first.
    pub changes: Vec<FieldChange>,
    /// What the first pass does, by group.
    pub updates: BTreeMap<String, DesiredUpdates>,
    /// Why each action, by group.
    pub reasons: BTreeMap<String, Vec<String>>,
    /// Sizes of the batches to come, by group: canaries first.
    pub batches: BTreeMap<String, Vec<u32>>,
    /// What does not fit, by group.
    pub failures: BTreeMap<String, PlacementFailure>,
    /// What it waits for before it does any of this.
    pub waits: Vec<Waiting>,
    /// Where the first pass puts what, by group; at most 20 of each.
    pub placements: BTreeMap<String, Vec<PlannedPlacement>>,
    /// Allocations of other jobs that make room for it, by job.
    pub evicts: BTreeMap<JobId, u32>,
    /// Findings in the file.
    pub warnings: Vec<Diagnostic>,
}

/// What a revision would do: it is applied to a copy of the state, and the jobs that it touches are evaluated there.
pub fn preview(state: &State, revision: &TakeRevision, now: Timestamp) -> Preview {
    let mut after = state.clone();
    let command = Command::TakeRevision(Box::new(revision.clone()));
    let applied = after.apply(state.index() + 1, &command);
    if applied.rejection.is_some() {
        return Preview { rejection: applied.rejection, ..Preview::default() };
    }
    let triggers: BTreeMap<JobId, EvalTrigger> = applied
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Job(id) => {
                let stopped = after.job(id).is_some_and(|record| record.stopped);
                let trigger =
                    if stopped { EvalTrigger::JobDeregister } else { EvalTrigger::JobRegister };
                Some((id.clone(), trigger))
            }
            _ => None,
        })
        .collect();
    let mut fleet = Fleet::default();
    let (plan, mut reports) = evaluate_explained(&mut fleet, &after, &triggers, (now, Order::Kept));
    // Of those that wait it is shown what they do once they start.
    let mut waiting: BTreeMap<JobId, Vec<Waiting>> = BTreeMap::new();
    for id in triggers.keys() {
        let waits = after.job(id).map(|record| waits(&after, record)).unwrap_or_default();
        if !waits.is_empty() {
            waiting.insert(id.clone(), waits);
        }
    }
    let later = waiting.keys().map(|id| (id.clone(), EvalTrigger::JobRegister)).collect();
    reports.extend(evaluate_explained(&mut fleet, &after, &later, (now, Order::Ignored)).1);
    let files = after.revisions().next().map(|revision| revision.files.clone()).unwrap_or_default();
    let mut jobs: Vec<JobPreview> = Vec::new();
    for file in files {
        let Some(id) = file.job else { continue };
        let report = reports.get(&id);
        let mut shown = describe(state, &after, &id, Some(file.change), report);
        shown.warnings = file.problems;
        jobs.push(shown);
    }
    for id in triggers.keys() {
        if !jobs.iter().any(|shown| shown.job == *id) {
            jobs.push(describe(state, &after, id, None, reports.get(id)));
        }
    }
    for shown in &mut jobs {
        shown.waits = waiting.remove(&shown.job).unwrap_or_default();
        add_decisions(shown, &after, &plan);
    }
    let mut moves = Vec::new();
    if improves(&after) {
        after.apply(after.index() + 1, &Command::ApplyPlan(Box::new(plan.clone())));
        moves = foreseen(&after, now);
    }
    Preview { plan, jobs, moves, rejection: None }
}

/// What the plan has of a job: where it goes, and who goes for it.
fn add_decisions(shown: &mut JobPreview, after: &State, plan: &Plan) {
    for alloc in plan.place.iter().filter(|alloc| alloc.job == shown.job) {
        let known = shown.placements.entry(alloc.group.to_string()).or_default();
        if known.len() >= PLACEMENTS {
            continue;
        }
        let explanation = alloc.explanation.as_deref();
        known.push(PlannedPlacement {
            name: alloc.name(),
            node: alloc.node,
            node_name: alloc.node_name.to_string(),
            reason: explanation.map(|why| why.reason.to_string()).unwrap_or_default(),
            score: explanation.and_then(|why| why.score.clone()),
        });
    }
    let evicted = plan.stop.iter().filter(|stop| stop.evicted_for.as_ref() == Some(&shown.job));
    for victim in evicted.filter_map(|stop| after.alloc(stop.alloc)) {
        *shown.evicts.entry(victim.job.clone()).or_default() += 1;
    }
}

fn describe(
    before: &State,
    after: &State,
    id: &JobId,
    change: Option<FileChangeKind>,
    report: Option<&JobReport>,
) -> JobPreview {
    let (old, new) = (desired(before, id), desired(after, id));
    let mut shown =
        JobPreview { job: id.clone(), change, diff: diff_jobs(old, new), ..JobPreview::default() };
    if let (Some(old), Some(new)) = (old, new) {
        shown.changes = changes_of_job(old, new);
    }
    for (name, group) in report.into_iter().flatten() {
        shown.updates.insert(name.clone(), group.updates.clone());
        shown.reasons.insert(name.clone(), group.reasons.clone());
        shown.batches.insert(name.clone(), group.batches.clone());
        if let Some(failure) = &group.failure {
            shown.failures.insert(name.clone(), failure.clone());
        }
    }
    annotate(&mut shown.diff, &shown.updates);
    shown
}

fn desired<'a>(state: &'a State, id: &JobId) -> Option<&'a Job> {
    let record = state.job(id).filter(|record| !record.stopped)?;
    record.job().map(AsRef::as_ref)
}

/// Says in the diff what the first pass does, in Nomad's words.
fn annotate(diff: &mut JobDiff, updates: &BTreeMap<String, DesiredUpdates>) {
    for group in &mut diff.task_groups {
        if let Some(updates) = updates.get(&group.name) {
            group.updates = [
                ("create", updates.place),
                ("destroy", updates.stop),
                ("migrate", updates.migrate),
                ("canary", updates.canary),
                ("in-place update", updates.in_place_update),
                ("create/destroy update", updates.destructive_update),
                ("ignore", updates.ignore),
            ]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), u64::from(count)))
            .collect();
        }
    }
}
