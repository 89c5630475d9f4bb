//! Allocations.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::wire::{
    AllocDeploymentStatus, AllocListStub, AllocMetric, AllocatedCpu, AllocatedMemory,
    AllocatedResources, AllocatedShared, AllocatedTask, AllocationView, NetworkPort,
    NetworkResource, RescheduleTracker, RescheduleView, ResourceTotals, TaskEventView,
    TaskStateView,
};
use model::{Allocation, Explanation, Group, TaskEvent, TaskState};
use state::State;

use super::evaluation::failure_metric;
use super::job::{job_view, namespace};

pub(crate) fn alloc_stub(state: &State, alloc: &Allocation, resources: bool) -> AllocListStub {
    let record = state.job(&alloc.job);
    let version = record.and_then(|record| record.version(alloc.job_version));
    let kind = version.map(|version| version.job.kind).or_else(|| Some(record?.job()?.kind));
    let group = version.and_then(|version| version.job.group(&alloc.group));
    let verdict = alloc.health.as_ref();
    AllocListStub {
        id: alloc.id,
        eval_id: alloc.eval,
        name: alloc.name(),
        namespace: namespace(state, &alloc.job).to_owned(),
        node_id: alloc.node,
        node_name: alloc.node_name.to_string(),
        job_id: alloc.job.clone(),
        job_type: kind.unwrap_or_default(),
        job_version: alloc.job_version,
        task_group: alloc.group.to_string(),
        allocated_resources: resources.then(|| allocated(alloc, group)),
        desired_status: alloc.desired,
        desired_description: alloc.desired_description.to_string(),
        client_status: alloc.client,
        client_description: alloc.client_description.to_string(),
        task_states: alloc
            .tasks
            .iter()
            .map(|(name, task)| (name.clone(), task_state(task)))
            .collect(),
        deployment_status: (verdict.is_some() || alloc.canary).then(|| AllocDeploymentStatus {
            healthy: verdict.map(|verdict| verdict.healthy),
            timestamp: verdict.map(|verdict| verdict.at).unwrap_or_default(),
            canary: alloc.canary,
            reason: verdict.map(|verdict| verdict.reason.to_string()).unwrap_or_default(),
        }),
        deployment_id: alloc.deployment,
        previous_allocation: alloc.previous,
        next_allocation: alloc.next,
        reschedule_tracker: (!alloc.reschedules.is_empty()).then(|| RescheduleTracker {
            events: alloc
                .reschedules
                .iter()
                .map(|event| RescheduleView {
                    reschedule_time: event.at,
                    prev_alloc_id: event.previous,
                    prev_node_id: event.node,
                    delay: event.delay,
                })
                .collect(),
        }),
        origin: Arc::clone(&alloc.origin),
        create_index: alloc.create_index,
        modify_index: alloc.modify_index,
        create_time: alloc.created_at,
        modify_time: alloc.modified_at,
    }
}

pub(crate) fn alloc_view(state: &State, alloc: &Allocation) -> AllocationView {
    let record = state.job(&alloc.job);
    let version = record.and_then(|record| record.version(alloc.job_version));
    let group = version.and_then(|version| version.job.group(&alloc.group));
    let networks = networks(alloc, group);
    AllocationView {
        stub: alloc_stub(state, alloc, true),
        index: alloc.index,
        job: record.zip(version).map(|(record, version)| job_view(state, record, version)),
        resources: ResourceTotals {
            cpu: alloc.resources.cpu,
            memory_mb: alloc.resources.memory_mb,
            memory_max_mb: 0,
            disk_mb: alloc.resources.disk_mb,
            networks: networks.clone(),
        },
        task_resources: tasks(group, |task| ResourceTotals {
            cpu: task.resources.cpu,
            memory_mb: task.resources.memory_mb,
            memory_max_mb: task.resources.memory_max_mb,
            ..ResourceTotals::default()
        }),
        shared_resources: ResourceTotals {
            disk_mb: alloc.resources.disk_mb,
            networks,
            ..ResourceTotals::default()
        },
        metrics: alloc.explanation.as_deref().map(metric).unwrap_or_default(),
        checks: alloc.checks.iter().map(|(key, check)| (key.clone(), check.clone())).collect(),
    }
}

fn metric(explanation: &Explanation) -> AllocMetric {
    AllocMetric {
        score_meta_data: explanation.all_scores().cloned().collect(),
        reason: explanation.reason.to_string(),
        coalesced_failures: 0,
        ..failure_metric(&explanation.filtered)
    }
}

fn tasks<T>(group: Option<&Group>, shape: impl Fn(&model::Task) -> T) -> BTreeMap<String, T> {
    let tasks = group.map(|group| group.tasks.as_slice()).unwrap_or_default();
    tasks.iter().map(|task| (task.name.clone(), shape(task))).collect()
}

fn allocated(alloc: &Allocation, group: Option<&Group>) -> AllocatedResources {
    AllocatedResources {
        tasks: tasks(group, |task| {
            let grant = alloc.resources.tasks.get(&task.name).cloned().unwrap_or_default();
            AllocatedTask {
                cpu: AllocatedCpu { cpu_shares: task.resources.cpu, reserved_cores: grant.cores },
                memory: AllocatedMemory {
                    memory_mb: task.resources.memory_mb,
                    memory_max_mb: task.resources.memory_max_mb,
                },
                devices: grant.devices,
            }
        }),
        shared: AllocatedShared {
            networks: networks(alloc, group),
            disk_mb: alloc.resources.disk_mb,
            ports: alloc.resources.ports.clone(),
        },
    }
}

/// The group's network with the ports that were given: a port that the file fixes is reserved, any other dynamic.
fn networks(alloc: &Allocation, group: Option<&Group>) -> Vec<NetworkResource> {
    let asked = group.and_then(Group::network);
    if asked.is_none() && alloc.resources.ports.is_empty() {
        return Vec::new();
    }
    let fixed = |label: &str| {
        asked
            .as_ref()
            .is_some_and(|network| network.reserved_ports.iter().any(|port| port.label == label))
    };
    let host_network = |label: &str| {
        let mut ports = asked.iter().flat_map(|network| network.ports());
        let network = ports.find(|port| port.label == label).map(|port| port.host_network.as_str());
        network.filter(|name| !name.is_empty()).unwrap_or("default").to_owned()
    };
    let (reserved, dynamic) = alloc
        .resources
        .ports
        .iter()
        .map(|port| NetworkPort {
            label: port.label.to_string(),
            value: port.value,
            to: port.to,
            host_network: host_network(&port.label),
        })
        .partition(|port| fixed(&port.label));
    let mode = asked.as_ref().map(|network| network.mode.as_str()).filter(|mode| !mode.is_empty());
    vec![NetworkResource {
        mode: mode.unwrap_or("host").to_owned(),
        ip: alloc.resources.ports.first().map(|port| port.host_ip.to_string()).unwrap_or_default(),
        dynamic_ports: dynamic,
        reserved_ports: reserved,
    }]
}

fn task_state(task: &TaskState) -> TaskStateView {
    let restarted = task.restarts > 0;
    TaskStateView {
        state: task.state,
        failed: task.failed,
        restarts: task.restarts,
        last_restart: if restarted { task.started_at } else { Default::default() },
        started_at: task.started_at,
        finished_at: task.finished_at,
        events: task.events.iter().map(task_event).collect(),
    }
}

fn task_event(event: &TaskEvent) -> TaskEventView {
    let number = |name: &str, value: Option<i32>| value.map(|n| (name.to_owned(), n.to_string()));
    TaskEventView {
        kind: event.kind.to_string(),
        time: event.time,
        message: event.message.to_string(),
        display_message: event.message.to_string(),
        details: number("exit_code", event.exit_code)
            .into_iter()
            .chain(number("signal", event.signal))
            .chain(event.oom_killed.then(|| ("oom_killed".to_owned(), "true".to_owned())))
            .collect(),
        exit_code: event.exit_code.unwrap_or_default(),
        signal: event.signal.unwrap_or_default(),
    }
}
