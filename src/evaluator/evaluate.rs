//! The pass over each job, and its record.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    Allocation, Deployment, DeploymentGroup, DeploymentId, DeploymentStatus, DesiredStatus, EvalId,
    EvalStatus, EvalTrigger, Evaluation, JobId, JobVersion, PlacementFailure, Timestamp,
    seeded_uuid,
};
use state::{Command, DeploymentChange, JobRecord, Plan, State};

use crate::execute::{GroupReport, Output, Pass};
use crate::order::{self, Waiting};
use crate::place::{Fleet, Presence};
use crate::reconcile::{GroupWork, Phase, Scene};
use crate::rollout::{Transitions, current_deployment, transitions};

/// One pass over these jobs from one snapshot. Pure: equal inputs give equal plans. IDs follow from job, version and the
/// state's index.
pub fn evaluate(state: &State, jobs: &BTreeMap<JobId, EvalTrigger>, now: Timestamp) -> Plan {
    evaluate_with(&mut Fleet::default(), state, jobs, now)
}

/// The same, faster where nodes have been looked at before: what passes over other states have learned of them is brought
/// up to date, and not found out anew. The plan does not depend on it.
pub fn evaluate_with(
    fleet: &mut Fleet,
    state: &State,
    jobs: &BTreeMap<JobId, EvalTrigger>,
    now: Timestamp,
) -> Plan {
    evaluate_explained(fleet, state, jobs, (now, Order::Kept)).0
}

/// Whether jobs wait for those that they are after.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Kept,
    /// To see what they do once they start.
    Ignored,
}

/// What became of a job's groups.
pub(crate) type JobReport = BTreeMap<String, GroupReport>;

/// The same, with what people want to know beside the plan.
pub(crate) fn evaluate_explained(
    fleet: &mut Fleet,
    state: &State,
    jobs: &BTreeMap<JobId, EvalTrigger>,
    (now, kept): (Timestamp, Order),
) -> (Plan, BTreeMap<JobId, JobReport>) {
    let mut plan = Plan { basis: state.index(), at: now, ..Plan::default() };
    let mut reports = BTreeMap::new();
    fleet.begin(state);
    let mut order: Vec<_> =
        jobs.iter().filter_map(|(id, trigger)| Some((state.job(id)?, *trigger))).collect();
    // Where room is short, the more important job gets it; of equal ones, whoever has waited longer.
    order.sort_by_cached_key(|(record, _)| {
        let priority = record.job().map_or(0, |job| job.priority);
        let since = state.waiting_since(&record.id).unwrap_or(u64::MAX);
        (std::cmp::Reverse(priority), since, record.id.clone())
    });
    let mut settled = 0;
    let mut evicted: BTreeSet<&JobId> = BTreeSet::new();
    for (record, trigger) in order {
        for stop in plan.stop.get(settled..).unwrap_or_default() {
            if stop.evicted_for.is_some() {
                evicted.extend(state.alloc(stop.alloc).map(|alloc| &alloc.job));
            }
        }
        settled = plan.stop.len();
        // What it has just lost is not in this state. The plan wakes it again.
        if evicted.contains(&record.id) {
            continue;
        }
        let report = evaluate_job(state, record, trigger, (now, kept), fleet, &mut plan);
        reports.insert(record.id.clone(), report);
    }
    fleet.rest();
    (plan, reports)
}

fn evaluate_job(
    state: &State,
    record: &JobRecord,
    trigger: EvalTrigger,
    (now, kept): (Timestamp, Order),
    fleet: &mut Fleet,
    plan: &mut Plan,
) -> JobReport {
    let Some(desired) = record.current() else { return JobReport::new() };
    if !record.finished_at.is_zero() {
        return JobReport::new();
    }
    let waits = if kept == Order::Kept { order::waits(state, record) } else { Vec::new() };
    let eval = EvalId::new(seeded_uuid(&[
        b"evaluation",
        record.id.as_str().as_bytes(),
        &desired.version.to_be_bytes(),
        &state.index().to_be_bytes(),
    ]));
    let Transitions { changes, revert, mut wake } = transitions(state, record, now);
    let acted = !changes.is_empty() || revert.is_some();
    let notes = changes.iter().filter_map(|change| change.description.clone()).collect();
    // What follows sees the deployments as they will be.
    let revised = revise(state, &changes, now);
    let state = revised.as_ref().unwrap_or(state);
    plan.deployment_changes.extend(changes);
    let starts = waits.is_empty() && order::may_wait(record);
    if starts {
        plan.started.push((record.id.clone(), desired.version));
    }
    let goes_on = (!waits.is_empty()).then(|| order::without_what_waits(record));
    let record = goes_on.as_ref().unwrap_or(record);
    let Some(version) = record.current() else { return JobReport::new() };
    let scene = Scene {
        state,
        record,
        version,
        deployment: current_deployment(state, record).filter(|_| !record.stopped),
        held: !waits.is_empty(),
        now,
        compared: RefCell::default(),
        references: RefCell::default(),
    };
    let acted = acted || starts;
    let mut entry = Entry { eval, trigger, desired, waits, acted, notes, deployment: None };
    if let Some(revert) = revert {
        // The version that comes back brings the next pass with it.
        entry.deployment = scene.deployment.map(|deployment| deployment.id);
        plan.reverts.push(revert);
        entry.record(&scene, &JobReport::new(), plan);
        return JobReport::new();
    }
    let mut presence = Presence::default();
    for alloc in state.allocs_of_job(&record.id).filter(|alloc| !alloc.client.is_terminal()) {
        match alloc.desired {
            DesiredStatus::Run => presence.enter(alloc.node, &alloc.group),
            DesiredStatus::Evict => presence.close(alloc.node),
            DesiredStatus::Stop => {}
        }
    }
    let mark = (version.job.all_at_once && !record.stopped).then(|| fleet.mark());
    let mut pass = Pass {
        scene: &scene,
        fleet,
        presence,
        candidates: BTreeMap::new(),
        eval,
        ordinal: 0,
        out: Output::default(),
    };
    let works = reconcile_groups(&scene, &mut pass);
    let created = new_deployment(&scene, &works);
    let driven =
        created.as_ref().map(|deployment| (deployment.id, &deployment.groups)).or_else(|| {
            scene
                .deployment
                .filter(|deployment| deployment.status.is_active())
                .map(|deployment| (deployment.id, &deployment.groups))
        });
    for work in &works {
        pass.clear(work);
    }
    let mut report = JobReport::new();
    for work in &works {
        let deployment =
            driven.filter(|(_, groups)| groups.contains_key(&*work.name)).map(|(id, _)| id);
        let group = pass.carry_out(work, deployment);
        if group.failure.is_some() {
            let candidates = pass.candidates(version, &work.name);
            plan.blocked
                .entry(record.id.clone())
                .or_default()
                .push(pass.fleet.unplaced(&candidates));
        }
        report.insert(work.name.to_string(), group);
        wake = wake.into_iter().chain(work.wake).min();
    }
    let mut out = pass.out;
    if let Some(mark) = mark {
        if report.values().any(|group| group.failure.is_some()) {
            fleet.back(mark);
            out.take_back();
        } else {
            fleet.go_on();
        }
    }
    entry.acted |= !out.is_empty() || created.is_some();
    entry.deployment = driven.map(|(id, _)| id);
    if let Some(deployment) = finished(&scene, &report) {
        entry.acted = true;
        plan.deployment_changes.push(DeploymentChange {
            id: deployment.id,
            status: Some(DeploymentStatus::Successful),
            description: Some("Deployment completed successfully".to_owned()),
            promote: Vec::new(),
        });
        plan.stable.push((record.id.clone(), version.version));
    }
    plan.place.extend(out.place);
    plan.stop.extend(out.stop);
    plan.update.extend(out.update);
    plan.disconnect.extend(out.disconnect);
    plan.reconnect.extend(out.reconnect);
    plan.deployments.extend(created);
    if version.child.is_some() && wake.is_none() && is_over(&scene, &works, &report) {
        plan.finished.push(record.id.clone());
    }
    if let Some(wake) = wake.filter(|wake| *wake > now) {
        plan.wake.insert(record.id.clone(), wake);
    }
    entry.record(&scene, &report, plan);
    report
}

/// The state with the deployments changed; `None` if they do not change.
fn revise(state: &State, changes: &[DeploymentChange], now: Timestamp) -> Option<State> {
    if changes.is_empty() {
        return None;
    }
    let mut revised = state.clone();
    let plan = Plan {
        basis: state.index(),
        at: now,
        deployment_changes: changes.to_vec(),
        ..Plan::default()
    };
    revised.apply(state.index(), &Command::ApplyPlan(Box::new(plan)));
    Some(revised)
}

/// What is to be done with each group: those of the desired version in file order, then those that are gone.
fn reconcile_groups<'a>(scene: &Scene<'a>, pass: &mut Pass<'a, '_>) -> Vec<GroupWork<'a>> {
    let mut by_group: BTreeMap<&str, Vec<&Allocation>> = BTreeMap::new();
    for alloc in scene.state.allocs_of_job(&scene.record.id) {
        by_group.entry(&alloc.group).or_default().push(alloc);
    }
    let mut works = Vec::new();
    let starts = scene.version.starts_by_itself();
    if !scene.record.stopped && starts {
        for group in &scene.version.job.task_groups {
            let allocs = by_group.remove(group.name.as_str()).unwrap_or_default();
            let candidates = pass.candidates(scene.version, &group.name);
            let feasible = if scene.version.job.kind.per_node() {
                pass.fleet.feasible(&candidates)
            } else {
                Vec::new()
            };
            works.push(scene.reconcile(group, &allocs, &candidates, &feasible));
        }
    }
    let why = if scene.record.stopped {
        match scene.record.stop_reason.as_str() {
            "" => "alloc not needed as job is stopped".to_owned(),
            reason => format!("alloc not needed as job is stopped: {reason}"),
        }
    } else if starts {
        "alloc not needed due to job update".to_owned()
    } else {
        "alloc not needed: the job waits to be started".to_owned()
    };
    for (name, allocs) in by_group {
        works.push(scene.remove(name, &allocs, &why));
    }
    works
}

/// The deployment of a version that has none yet and needs one.
fn new_deployment(scene: &Scene<'_>, works: &[GroupWork<'_>]) -> Option<Deployment> {
    let (record, version) = (scene.record, scene.version);
    if record.stopped || scene.held || scene.deployment.is_some() || version.stable {
        return None;
    }
    let something = works.iter().any(|work| {
        !(work.wants.is_empty() && work.in_place.is_empty() && work.destructive.is_empty())
    });
    let groups: BTreeMap<String, DeploymentGroup> = works
        .iter()
        .filter_map(|work| {
            let group = work.group?;
            let update = group.rollout().filter(|_| work.desired > 0)?;
            let canaries = work.wants.iter().filter(|want| want.canary).count() as u32;
            let part = DeploymentGroup {
                auto_revert: update.auto_revert,
                auto_promote: update.auto_promote,
                desired_canaries: match scene.phase(group, canaries > 0) {
                    Phase::Canarying(wanted) => wanted,
                    Phase::Free | Phase::Rolling | Phase::Held => 0,
                },
                desired_total: work.desired,
                progress_deadline: update.progress_deadline,
                ..DeploymentGroup::default()
            };
            Some((group.name.clone(), part))
        })
        .collect();
    if groups.is_empty() || !something {
        return None;
    }
    let waits: Vec<_> = groups.values().filter(|group| group.desired_canaries > 0).collect();
    let description = if waits.is_empty() {
        "Deployment is running"
    } else if waits.iter().all(|group| group.auto_promote) {
        "Deployment is running pending automatic promotion"
    } else {
        "Deployment is running but requires manual promotion"
    };
    Some(Deployment {
        id: DeploymentId::new(seeded_uuid(&[
            b"deployment",
            record.id.as_str().as_bytes(),
            &version.version.to_be_bytes(),
            &version.create_index.to_be_bytes(),
        ])),
        job: record.id.clone(),
        job_version: version.version,
        commit: version.origin.commit.clone(),
        status: DeploymentStatus::Running,
        description: description.to_owned(),
        groups,
        reverts: version.reverts_to.and_then(|_| version.version.checked_sub(1)),
        created_at: scene.now,
        ..Deployment::default()
    })
}

/// The running deployment, if nothing of it is left to do and all of it is healthy.
fn finished<'a>(scene: &Scene<'a>, report: &JobReport) -> Option<&'a Arc<Deployment>> {
    scene.deployment.filter(|deployment| {
        deployment.status == DeploymentStatus::Running
            && !deployment.needs_promotion()
            && deployment
                .groups
                .keys()
                .all(|group| report.get(group).is_some_and(|report| report.done))
    })
}

/// Whether nothing of a job runs, and nothing of it will.
fn is_over(scene: &Scene<'_>, works: &[GroupWork<'_>], report: &JobReport) -> bool {
    works.iter().all(|work| work.wants.is_empty() && work.destructive.is_empty())
        && report.values().all(|group| group.failure.is_none())
        && scene.state.allocs_of_job(&scene.record.id).all(|alloc| alloc.client.is_terminal())
}

/// What is recorded of a pass.
struct Entry<'a> {
    eval: EvalId,
    trigger: EvalTrigger,
    /// The desired version, also while it waits.
    desired: &'a JobVersion,
    /// What it waits for.
    waits: Vec<Waiting>,
    /// Whether the pass changes anything.
    acted: bool,
    /// What became of deployments, in words.
    notes: Vec<String>,
    deployment: Option<DeploymentId>,
}

impl Entry<'_> {
    /// Records the pass, unless it neither did anything nor learned anything new.
    fn record(&self, scene: &Scene<'_>, report: &JobReport, plan: &mut Plan) {
        let failures: BTreeMap<String, PlacementFailure> = report
            .iter()
            .filter_map(|(name, group)| Some((name.clone(), group.failure.clone()?)))
            .collect();
        let status = if failures.is_empty() { EvalStatus::Complete } else { EvalStatus::Blocked };
        let last = scene.state.evaluations_of_job(&scene.record.id).next();
        // Who waits for room goes on to do so while it makes some itself: nobody else comes before it meanwhile.
        let queued = report.values().any(|group| group.waits)
            && scene.state.waiting_since(&scene.record.id).is_some();
        // A pass that is still blocked, or not any more, is news once.
        let news = match last {
            Some(last) if status == EvalStatus::Complete => {
                last.status == EvalStatus::Blocked && !queued
            }
            Some(last) => last.failures != failures || last.job_version != self.desired.version,
            None => status == EvalStatus::Blocked,
        };
        // So is what is waited for.
        let waits = order::in_words(&self.waits);
        let waits_anew = !waits.is_empty()
            && last.is_none_or(|last| {
                last.job_version != self.desired.version || !last.description.starts_with(&waits)
            });
        if !self.acted && !news && !waits_anew && (scene.held || !first_look(scene)) {
            return;
        }
        let waiting_since = (status == EvalStatus::Blocked || queued).then(|| {
            scene.state.waiting_since(&scene.record.id).unwrap_or_else(|| scene.state.index())
        });
        plan.evaluations.push(Evaluation {
            waiting_since,
            id: self.eval,
            job: scene.record.id.clone(),
            job_version: self.desired.version,
            kind: self.desired.job.kind,
            priority: self.desired.job.priority,
            trigger: self.trigger,
            status,
            description: describe(waits, &self.notes, report),
            deployment: self.deployment,
            updates: report
                .iter()
                .map(|(name, group)| (name.clone(), group.updates.clone()))
                .collect(),
            failures,
            created_at: scene.now,
            ..Evaluation::default()
        });
    }
}

/// Whether nothing yet says that the version was looked at. One that asks for nothing, such as a count of zero, is
/// recorded for that once.
fn first_look(scene: &Scene<'_>) -> bool {
    let (id, version) = (&scene.record.id, scene.version);
    !scene.record.stopped
        && !version.stable
        && scene.deployment.is_none()
        && scene.state.evaluations_of_job(id).all(|known| known.job_version != version.version)
        && scene.state.allocs_of_job(id).all(|alloc| alloc.job_version != version.version)
}

fn describe(waits: String, notes: &[String], report: &JobReport) -> String {
    let mut words: Vec<String> =
        Some(waits).filter(|words| !words.is_empty()).into_iter().collect();
    words.extend_from_slice(notes);
    for (name, group) in report {
        if let Some(failure) = &group.failure {
            let mut causes: Vec<String> = failure
                .filtered
                .iter()
                .map(|(what, nodes)| format!("{what} excludes {nodes}"))
                .chain(
                    failure
                        .exhausted
                        .iter()
                        .map(|(what, nodes)| format!("{what} exhausted on {nodes}")),
                )
                .collect();
            causes.insert(0, format!("of {} nodes", failure.nodes_evaluated));
            words.push(format!(
                "group \"{name}\": {} not placed ({})",
                failure.unplaced,
                causes.join(", ")
            ));
        }
    }
    words.join("; ")
}
