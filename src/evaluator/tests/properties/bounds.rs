//! Upper bounds: nothing for what is stopped, and never more than is asked for.

use std::collections::{BTreeMap, BTreeSet};

use model::{Allocation, DeploymentStatus, DesiredUpdates, JobId};
use proptest::prelude::*;
use state::{JobRecord, Plan, State};

use crate::world::{Now, world};

/// What a plan places of a group: canaries, and others.
fn placed<'a>(plan: &'a Plan, job: &'a JobId, group: &'a str) -> (u32, u32) {
    let of_group = plan.place.iter().filter(|alloc| alloc.job == *job && *alloc.group == *group);
    of_group.fold((0, 0), |(canaries, others), alloc| match alloc.canary {
        true => (canaries + 1, others),
        false => (canaries, others + 1),
    })
}

fn of_group<'a>(
    state: &'a State,
    job: &'a JobId,
    group: &'a str,
) -> impl Iterator<Item = &'a Allocation> {
    let all = state.allocs_of_job(job).map(AsRef::as_ref);
    all.filter(move |alloc: &&Allocation| *alloc.group == *group)
}

/// What the plan says of each group of each job that it acts on.
fn updates(plan: &Plan) -> impl Iterator<Item = (&JobId, &str, &DesiredUpdates)> {
    plan.evaluations.iter().flat_map(|evaluation| {
        let groups = evaluation.updates.iter();
        groups.map(|(group, updates)| (&evaluation.job, group.as_str(), updates))
    })
}

/// How many of a group are wanted: for what runs everywhere, one on each node.
fn wanted(state: &State, record: &JobRecord, group: &str) -> (u32, u32) {
    let Some(job) = record.job().filter(|_| !record.stopped) else { return (0, 0) };
    let Some(group) = job.group(group) else { return (0, 0) };
    let canaries = group.update.as_ref().map_or(0, |update| update.canary);
    match job.kind.per_node() {
        true => (group.count.min(1) * state.nodes_count() as u32, 0),
        false => (group.count, canaries),
    }
}

/// The plan places, moves, replaces, evicts nothing for this job.
fn nothing_starts(plan: &Plan, job: &JobId) -> Result<(), TestCaseError> {
    prop_assert!(plan.place.iter().all(|alloc| alloc.job != *job));
    prop_assert!(plan.stop.iter().all(|stop| stop.evicted_for.as_ref() != Some(job)));
    prop_assert!(plan.deployments.iter().all(|deployment| deployment.job != *job));
    for (_, _, updates) in updates(plan).filter(|(of, ..)| *of == job) {
        let begun = updates.place + updates.canary + updates.destructive_update;
        prop_assert_eq!(begun + updates.migrate + updates.preemptions, 0, "{:?}", updates);
    }
    Ok(())
}

fn stops(plan: &Plan) -> BTreeSet<model::AllocId> {
    plan.stop.iter().map(|stop| stop.alloc).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stopped_job_only_stops(world in world(), stopped in 0..5usize) {
        let mut now = world.build();
        let ids: Vec<JobId> = now.state.jobs().map(|record| record.id.clone()).collect();
        let id = &ids[stopped % ids.len()];
        let gone = now.revision(format!("{id}.hcl"), state::FileOutcome::Removed);
        now.apply(&state::Command::TakeRevision(Box::new(gone)));
        let plan = now.plan();
        let stopping = stops(&plan);
        // Who has just lost something to a more important job is looked at in the next pass.
        let evicted = plan.stop.iter().filter(|stop| stop.evicted_for.is_some());
        let evicted: BTreeSet<&JobId> =
            evicted.filter_map(|stop| Some(&now.state.alloc(stop.alloc)?.job)).collect();
        for record in now.state.jobs().filter(|record| record.stopped) {
            nothing_starts(&plan, &record.id)?;
            if evicted.contains(&record.id) {
                continue;
            }
            for alloc in now.state.allocs_of_job(&record.id).filter(|alloc| !alloc.terminal()) {
                prop_assert!(stopping.contains(&alloc.id), "{} goes on", alloc.name());
            }
            for deployment in now.state.deployments_of_job(&record.id) {
                let ended = plan.deployment_changes.iter().any(|change| {
                    change.id == deployment.id && change.status == Some(DeploymentStatus::Cancelled)
                });
                prop_assert_eq!(ended, deployment.status.is_active());
            }
        }
    }

    #[test]
    fn a_group_of_none_only_stops(world in world()) {
        let now = world.build();
        let plan = now.plan();
        let stopping = stops(&plan);
        // What is about to go back to another version is looked at in the next pass.
        let mut later: BTreeSet<_> = plan.reverts.iter().map(|revert| &revert.job).collect();
        // So is who has just lost something to a more important job.
        let evicted = plan.stop.iter().filter(|stop| stop.evicted_for.is_some());
        later.extend(evicted.filter_map(|stop| Some(&now.state.alloc(stop.alloc)?.job)));
        for record in now.state.jobs().filter(|record| !later.contains(&record.id)) {
            let groups = record.job().into_iter().flat_map(|job| &job.task_groups);
            for group in groups.filter(|group| group.count == 0) {
                prop_assert_eq!(placed(&plan, &record.id, &group.name), (0, 0));
                let alive = of_group(&now.state, &record.id, &group.name);
                for alloc in alive.filter(|alloc| !alloc.terminal()) {
                    prop_assert!(stopping.contains(&alloc.id), "{} goes on", alloc.name());
                }
            }
            let gone = now.state.allocs_of_job(&record.id).filter(|alloc| {
                let job = record.job().expect("has a version");
                job.group(&alloc.group).is_none() && !alloc.terminal()
            });
            for alloc in gone {
                prop_assert!(stopping.contains(&alloc.id), "{} goes on", alloc.name());
            }
        }
        for (job, group, updates) in updates(&plan) {
            let record = now.state.job(job).expect("is known");
            if wanted(&now.state, record, group).0 == 0 {
                let begun = updates.place + updates.canary + updates.destructive_update;
                prop_assert_eq!(begun + updates.migrate + updates.preemptions, 0);
            }
        }
    }

    #[test]
    fn a_version_is_rolled_out_once(world in world()) {
        let now = world.build();
        let plan = now.plan();
        let mut seen = BTreeSet::new();
        for deployment in &plan.deployments {
            prop_assert!(seen.insert(&deployment.job), "one for each job");
            let record = now.state.job(&deployment.job).expect("is known");
            prop_assert!(!record.stopped);
            let version = record.current().expect("has a version");
            prop_assert_eq!(deployment.job_version, version.version);
            // Neither one that failed, nor one that ended or goes on, is followed by another of its version.
            let again = now.state.deployments_of_job(&deployment.job).find(|known| {
                known.job_version == version.version && known.create_index >= version.create_index
            });
            prop_assert!(again.is_none(), "{:?}", again);
        }
    }

    #[test]
    fn no_more_is_placed_than_is_asked_for(world in world()) {
        let now = world.build();
        let plan = now.plan();
        let mut groups: BTreeMap<(&JobId, &str), ()> = BTreeMap::new();
        for alloc in &plan.place {
            groups.insert((&alloc.job, &alloc.group), ());
        }
        for (job, group) in groups.into_keys() {
            let record = now.state.job(job).expect("is known");
            let (count, most) = wanted(&now.state, record, group);
            let (canaries, others) = placed(&plan, job, group);
            prop_assert!(others <= count, "{others} of {count}");
            prop_assert!(canaries <= most, "{canaries} canaries of {most}");
            prop_assert!(canaries + others <= count + most);
        }
        for record in now.state.jobs().filter(|record| record.versions.len() == 1) {
            let job = record.job().expect("has a version");
            let names = job.task_groups.iter().map(|group| &group.name);
            let all: u32 = names.map(|name| wanted(&now.state, record, name).0).sum();
            let of_job = plan.place.iter().filter(|alloc| alloc.job == record.id);
            prop_assert!(of_job.count() as u32 <= all, "a new job has no canaries");
        }
        for (job, group, updates) in updates(&plan) {
            let (count, most) = wanted(&now.state, now.state.job(job).expect("is known"), group);
            prop_assert!(updates.place <= count);
            prop_assert!(updates.canary <= most);
            prop_assert!(updates.destructive_update <= count);
            let begun = updates.place + updates.canary + updates.destructive_update;
            prop_assert!(begun <= count + most, "{:?} of {} and {}", updates, count, most);
        }
    }

    #[test]
    fn canaries_stay_within_their_number(world in world()) {
        let mut now = world.build();
        let plan = now.plan();
        let begun: Vec<_> = plan.place.iter().filter(|alloc| alloc.canary).cloned().collect();
        now.apply(&state::Command::ApplyPlan(Box::new(plan)));
        for canary in &begun {
            let record = now.state.job(&canary.job).expect("is known");
            let (_, most) = wanted(&now.state, record, &canary.group);
            let there = of_group(&now.state, &canary.job, &canary.group)
                .filter(|alloc| alloc.canary && alloc.deployment == canary.deployment)
                .filter(|alloc| !alloc.server_terminal() && alloc.next.is_none());
            let there = there.count() as u32;
            prop_assert!(there <= most, "{there} canaries of {most}");
        }
    }

    #[test]
    fn no_more_is_touched_than_there_is(world in world()) {
        let now = world.build();
        let plan = now.plan();
        for (job, group, updates) in updates(&plan) {
            let existing = of_group(&now.state, job, group).count() as u32;
            prop_assert!(updates.in_place_update <= existing);
            prop_assert!(updates.destructive_update <= existing);
            prop_assert!(updates.migrate <= existing);
            prop_assert!(updates.ignore <= existing, "{:?} of {}", updates, existing);
            prop_assert!(updates.stop <= existing, "{:?} of {}", updates, existing);
        }
        touches_once(&now, &plan)?;
    }
}

/// Each allocation is stopped, changed, given up or taken back once, and for a reason.
fn touches_once(now: &Now, plan: &Plan) -> Result<(), TestCaseError> {
    let mut stopped = BTreeSet::new();
    for stop in &plan.stop {
        prop_assert!(stopped.insert(stop.alloc), "each is stopped once");
        prop_assert!(now.state.alloc(stop.alloc).is_some());
        prop_assert!(!stop.description.is_empty(), "each stop has a reason");
    }
    let mut changed = BTreeSet::new();
    for update in &plan.update {
        prop_assert!(changed.insert(update.alloc) && !stopped.contains(&update.alloc));
        let alloc = now.state.alloc(update.alloc).expect("is known");
        prop_assert!(!alloc.terminal(), "what is over does not change");
    }
    let mut back = BTreeSet::new();
    for id in &plan.reconnect {
        let alloc = now.state.alloc(*id).expect("is known");
        // It may have to go in the same plan, as one too many or to be replaced.
        prop_assert!(back.insert(*id));
        prop_assert!(!alloc.server_terminal() && alloc.disconnected_at.is_some());
    }
    let mut away = BTreeSet::new();
    for gone in &plan.disconnect {
        prop_assert!(away.insert(gone.alloc) && !back.contains(&gone.alloc));
        let alloc = now.state.alloc(gone.alloc).expect("is known");
        prop_assert!(!alloc.client.is_terminal());
    }
    let mut born = BTreeSet::new();
    for alloc in &plan.place {
        prop_assert!(born.insert(alloc.id), "ids are unique");
        prop_assert!(now.state.alloc(alloc.id).is_none(), "ids are new");
        prop_assert!(alloc.explanation.is_some(), "each placement is explained");
    }
    Ok(())
}
