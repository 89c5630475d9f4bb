//! Jobs and nodes for tests.

use std::time::Duration;

use model::{
    DriverInfo, Group, Job, JobId, JobType, Network, Node, NodeId, NodeResources, Port, Reschedule,
    Resources, Task, Update, VolumeRequest, seeded_uuid,
};

/// A service with one group `web` of one task `web` with one dynamic port and a rolling update of one at a time.
pub(crate) fn service(id: &str, count: u32) -> Job {
    Job {
        id: JobId::from(id),
        name: id.to_owned(),
        namespace: "default".into(),
        region: "global".into(),
        kind: JobType::Service,
        priority: 50,
        datacenters: vec!["*".into()],
        node_pool: "default".into(),
        task_groups: vec![Group {
            name: "web".into(),
            count,
            tasks: vec![Task {
                name: "web".into(),
                driver: "raw_exec".into(),
                config: [("command".to_owned(), serde_json::json!("a"))].into(),
                resources: Resources { cpu: 100, memory_mb: 100, ..Resources::default() },
                ..Task::default()
            }],
            networks: vec![Network {
                dynamic_ports: vec![Port { label: "http".into(), ..Port::default() }],
                ..Network::default()
            }],
            reschedule_policy: Reschedule::default_for(JobType::Service),
            update: Some(Update {
                min_healthy_time: Duration::from_secs(1),
                healthy_deadline: Duration::from_secs(60),
                progress_deadline: Duration::from_secs(600),
                ..Update::default()
            }),
            ..Group::default()
        }],
        ..Job::default()
    }
}

/// The same as another kind of job.
pub(crate) fn of_kind(id: &str, kind: JobType, count: u32) -> Job {
    let mut job = service(id, count);
    job.kind = kind;
    for group in &mut job.task_groups {
        group.reschedule_policy = Reschedule::default_for(kind);
        if kind.runs_to_completion() {
            group.update = None;
        }
    }
    job
}

/// The same with the host volume `shared`.
pub(crate) fn with_volume(mut job: Job, access_mode: &str) -> Job {
    let volume = VolumeRequest {
        name: "data".into(),
        kind: "host".into(),
        source: "shared".into(),
        access_mode: access_mode.into(),
        ..VolumeRequest::default()
    };
    for group in &mut job.task_groups {
        group.volumes.insert("data".into(), volume.clone());
    }
    job
}

/// A ready node with 4,000 MHz and 8,000 MB, and a volume.
pub(crate) fn node(n: u32) -> Node {
    Node {
        id: NodeId::new(seeded_uuid(&[b"node", &n.to_be_bytes()])),
        name: format!("n{n}"),
        datacenter: "dc1".into(),
        pool: "default".into(),
        address: format!("10.0.0.{n}"),
        drivers: [(
            "raw_exec".to_owned(),
            DriverInfo { detected: true, healthy: true, ..DriverInfo::default() },
        )]
        .into(),
        resources: NodeResources {
            cpu: 4000,
            memory_mb: 8000,
            disk_mb: 100_000,
            min_dynamic_port: 20_000,
            max_dynamic_port: 32_000,
            reserved_ports: vec![22],
            ..NodeResources::default()
        },
        host_volumes: [("shared".to_owned(), model::HostVolume::default())].into(),
        status: model::NodeStatus::Ready,
        ..Node::default()
    }
}
