//! What must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use evaluator::waits;
use model::{Allocation, ClientStatus, DeploymentStatus, DesiredStatus, JobId, NodeStatus};
use state::{JobRecord, Plan, State};

/// A plan by itself: never more than is asked for, nothing for what is stopped or failed.
pub(crate) fn check_plan(state: &State, plan: &Plan) {
    let mut placed: BTreeMap<(&JobId, &str), (usize, usize)> = BTreeMap::new();
    for alloc in &plan.place {
        let count = placed.entry((&alloc.job, &alloc.group)).or_default();
        if alloc.canary {
            count.1 += 1
        } else {
            count.0 += 1
        }
        assert!(alloc.explanation.is_some(), "each placement is explained");
        assert!(!alloc.origin.commit.as_str().is_empty(), "each allocation knows its commit");
        assert!(state.node(alloc.node).is_some_and(|node| node.is_ready()));
    }
    for record in state.jobs().filter(|record| !waits(state, record).is_empty()) {
        check_held(state, plan, record);
    }
    for ((job, group), (places, canaries)) in placed {
        let record = state.job(job).expect("is known");
        assert!(!record.stopped, "nothing is placed of a stopped job");
        if !waits(state, record).is_empty() {
            continue;
        }
        let job = record.job().expect("has a version");
        let Some(group) = job.group(group) else { panic!("a group that is gone is placed") };
        let nodes = state.nodes().count();
        let wanted = if job.kind.per_node() { nodes } else { group.count as usize };
        assert!(places <= wanted, "{places} placed of {wanted}");
        let most = group.update.as_ref().map_or(0, |update| update.canary as usize);
        assert!(canaries <= most, "{canaries} canaries of {most}");
    }
    for deployment in &plan.deployments {
        let record = state.job(&deployment.job).expect("is known");
        assert!(!record.stopped, "a stopped job gets no deployment");
        let again = state.deployments_of_job(&deployment.job).any(|other| {
            other.job_version == deployment.job_version && other.status != DeploymentStatus::Running
        });
        assert!(!again, "a version is rolled out once");
    }
    let mut ids = BTreeSet::new();
    for alloc in &plan.place {
        assert!(ids.insert(alloc.id), "ids are unique");
        assert!(state.alloc(alloc.id).is_none(), "ids are new");
    }
    let mut stopped = BTreeSet::new();
    for stop in &plan.stop {
        assert!(stopped.insert(stop.alloc), "each is stopped once");
        assert!(state.alloc(stop.alloc).is_some());
        assert!(!stop.description.is_empty(), "each stop has a reason");
    }
    for update in &plan.update {
        assert!(!stopped.contains(&update.alloc), "nothing is both stopped and changed");
    }
}

/// A plan for a job whose desired version waits for others: nothing of that version happens.
fn check_held(state: &State, plan: &Plan, record: &JobRecord) {
    let desired = record.current().expect("has a version").version;
    let own = |job: &JobId, version: u64| *job == record.id && version == desired;
    assert!(plan.place.iter().all(|alloc| !own(&alloc.job, alloc.job_version)), "it is placed");
    assert!(plan.deployments.iter().all(|deployment| deployment.job != record.id));
    assert!(plan.started.iter().all(|(job, version)| !own(job, *version)), "it starts");
    let job_of = |id| state.alloc(id).map(|alloc| &alloc.job);
    for update in plan.update.iter().filter(|update| job_of(update.alloc) == Some(&record.id)) {
        assert!(update.job_version < desired, "it is taken on in place");
    }
    for stop in plan.stop.iter().filter(|stop| job_of(stop.alloc) == Some(&record.id)) {
        let by_choice = stop.description.starts_with("alloc is being updated");
        assert!(!by_choice, "what runs goes on: {}", stop.description);
    }
}

/// A plan and what it was made from: by choice no more is replaced at once than the group allows.
pub(crate) fn check_batches(state: &State, plan: &Plan) {
    let mut chosen: BTreeMap<(&JobId, &str), u32> = BTreeMap::new();
    for stop in &plan.stop {
        let Some(alloc) = state.alloc(stop.alloc).filter(|alloc| !alloc.server_terminal()) else {
            continue;
        };
        let ready = state.node(alloc.node).is_some_and(|node| node.status == NodeStatus::Ready);
        let chosen_freely = stop.description.starts_with("alloc is being updated");
        if alloc.client == ClientStatus::Running && ready && chosen_freely && !alloc.canary {
            *chosen.entry((&alloc.job, &alloc.group)).or_default() += 1;
        }
    }
    for ((job, group), count) in chosen {
        let job = state.job(job).and_then(|record| record.job()).expect("is known");
        let update = job.group(group).and_then(|group| group.update.as_ref());
        let most = update.map_or(u32::MAX, |update| update.max_parallel);
        assert!(count <= most, "{count} replaced at once, {most} may be");
    }
}

/// A state by itself: no node over-committed, no port twice, no writer beside one that is to be alone.
pub(crate) fn check_state(state: &State) {
    for node in state.nodes().filter(|node| node.status == NodeStatus::Ready) {
        let (mut cpu, mut memory, mut disk) = (0, 0, 0);
        let mut ports = BTreeSet::new();
        let mut writers: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for alloc in state.allocs_on_node(node.id).filter(|alloc| !alloc.client.is_terminal()) {
            cpu += alloc.resources.cpu;
            memory += alloc.resources.memory_mb;
            disk += alloc.resources.disk_mb;
            let version = state.job_version(&alloc.job, alloc.job_version);
            let group = version.and_then(|version| version.job.group(&alloc.group));
            for volume in group.into_iter().flat_map(|group| group.volumes.values()) {
                let source = volume.source_of(alloc.index).into_owned();
                assert!(node.host_volumes.contains_key(&source), "{} has no {source}", node.name);
                let count = writers.entry(source).or_default();
                count.0 += u32::from(volume.writes());
                count.1 += u32::from(volume.excludes_writers());
            }
            for port in &alloc.resources.ports {
                assert!(
                    ports.insert((port.host_ip.clone(), port.value)),
                    "port {} is given twice",
                    port.value
                );
                assert!(!node.resources.reserved_ports.contains(&port.value));
            }
        }
        for (source, (all, alone)) in writers {
            assert!(alone == 0 || all == 1, "{all} write to {source} of {}", node.name);
        }
        assert!(cpu <= node.resources.cpu, "{cpu} MHz on {}", node.name);
        assert!(memory <= node.resources.memory_mb, "{memory} MB on {}", node.name);
        assert!(disk <= node.resources.disk_mb);
    }
}

/// A state of which nothing is left to decide: no more of a group than is wanted.
pub(crate) fn check_settled(state: &State) {
    for record in state.jobs() {
        let Some(job) = record.job().filter(|job| !job.kind.per_node()) else { continue };
        if !waits(state, record).is_empty() {
            continue;
        }
        for group in &job.task_groups {
            let live = state
                .allocs_of_job(&record.id)
                .filter(|alloc| *alloc.group == *group.name && !alloc.terminal())
                // These are, or will be, made up for.
                .filter(|alloc| alloc.disconnected_at.is_none() && alloc.migrate.is_none())
                .count();
            let canaries = group.update.as_ref().map_or(0, |update| update.canary as usize);
            assert!(live <= group.count as usize + canaries, "{live} of {}", group.count);
        }
    }
}

/// A step: a plan alone never brings what serves below what the gate allows (law 4). What serves is counted by place:
/// of two copies of one place, as there are when a lost node comes back, one may go.
pub(crate) fn check_step(before: &State, after: &State) {
    for record in after.jobs().filter(|record| !record.stopped) {
        let Some(job) = record.job().filter(|job| !job.kind.per_node()) else { continue };
        for group in &job.task_groups {
            let Some(update) = &group.update else { continue };
            let of_group = |state: &State| -> Vec<_> {
                state
                    .allocs_of_job(&record.id)
                    .filter(|alloc| *alloc.group == *group.name && !alloc.server_terminal())
                    .cloned()
                    .collect()
            };
            let runs = |alloc: &Allocation| {
                let deployment = alloc.deployment.and_then(|id| after.deployment(id));
                // Without a verdict it counts where none was needed for it to serve.
                let healthy = alloc.health.as_ref().map_or_else(
                    || {
                        deployment
                            .is_none_or(|deployment| alloc.create_index < deployment.create_index)
                    },
                    |health| health.healthy,
                );
                // Canaries come on top of what is owed.
                alloc.client == ClientStatus::Running
                    && healthy
                    && !alloc.canary
                    && after.node(alloc.node).is_some_and(|node| node.status == NodeStatus::Ready)
            };
            let (old, new) = (of_group(before), of_group(after));
            // What an operator gave no more time is gone by their doing.
            let driven_out = |alloc: &Allocation| {
                let now = after.alloc(alloc.id);
                // Whoever sets priorities says who goes without.
                now.is_some_and(|now| {
                    now.desired == DesiredStatus::Evict
                        || *now.desired_description
                            == *"alloc is stopped: the time to empty its node is over"
                })
            };
            let served = |all: &[std::sync::Arc<Allocation>],
                          counts: &dyn Fn(&Allocation) -> bool| {
                let places = all.iter().filter(|alloc| counts(alloc)).map(|alloc| alloc.index);
                places.collect::<BTreeSet<_>>().len()
            };
            let serving_before = served(&old, &|alloc| runs(alloc) && !driven_out(alloc));
            let serving = served(&new, &runs);
            let floor = served(&old, &|_| true)
                .min(group.count as usize)
                .saturating_sub(update.max_parallel as usize);
            let shown = |all: &[std::sync::Arc<Allocation>]| -> Vec<String> {
                let one = |alloc: &Allocation| {
                    format!(
                        "{}[{}] v{} on {} {} healthy {:?} moves {}",
                        alloc.id.short(),
                        alloc.index,
                        alloc.job_version,
                        alloc.node_name,
                        alloc.client.as_str(),
                        alloc.health.as_ref().map(|health| health.healthy),
                        alloc.migrate.is_some()
                    )
                };
                all.iter().map(|alloc| one(alloc)).collect()
            };
            assert!(
                serving >= serving_before.min(floor),
                "{}: {serving_before} served, {serving} do now, at least {floor} must: {:#?} became {:#?}",
                record.id,
                shown(&old),
                shown(&new)
            );
        }
    }
}
