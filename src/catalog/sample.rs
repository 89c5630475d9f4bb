//! Small states that the tests of this room are about.

use std::sync::Arc;

use model::{
    AllocId, AllocReport, AllocResources, Allocation, ClientStatus, Group, Job, JobVersion, Node,
    NodeId, NodeStatus, PortAssignment, Service, Task, TaskRunState, TaskState, seeded_uuid,
};
use state::{Command, FileOutcome, JobSubmission, Plan, State, StopAlloc, TakeRevision};

pub(crate) fn node_id(number: u8) -> NodeId {
    NodeId::new(seeded_uuid(&[b"node", &[number]]))
}

pub(crate) fn alloc_id(number: u32) -> AllocId {
    AllocId::new(seeded_uuid(&[b"alloc", &number.to_be_bytes()]))
}

pub(crate) fn node(number: u8) -> Node {
    Node {
        id: node_id(number),
        name: format!("n{number}"),
        datacenter: "dc1".into(),
        address: format!("10.0.0.{number}"),
        status: NodeStatus::Ready,
        ..Node::default()
    }
}

pub(crate) fn running() -> TaskState {
    TaskState { state: TaskRunState::Running, ..TaskState::default() }
}

/// Allocation `number` of `job` on node `node`, running.
pub(crate) fn alloc(number: u32, node: u8) -> Allocation {
    Allocation {
        id: alloc_id(number),
        job: "job".into(),
        group: "app".into(),
        node: node_id(node),
        node_name: format!("n{node}").into(),
        client: ClientStatus::Running,
        tasks: [("main".to_owned(), running())].into_iter().collect(),
        resources: AllocResources {
            ports: vec![PortAssignment {
                label: "http".into(),
                value: 20_000 + u16::try_from(number).expect("small"),
                to: 80,
                host_ip: "".into(),
                host_network: None,
            }],
            ..AllocResources::default()
        },
        ..Allocation::default()
    }
}

pub(crate) fn job(id: &str, services: Vec<Service>) -> Job {
    Job {
        id: id.into(),
        name: id.into(),
        task_groups: vec![Group {
            name: "app".into(),
            services,
            tasks: vec![Task { name: "main".into(), ..Task::default() }],
            ..Group::default()
        }],
        ..Job::default()
    }
}

pub(crate) fn service(name: &str, tags: &[&str]) -> Service {
    Service {
        name: name.into(),
        port_label: "http".into(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..Service::default()
    }
}

pub(crate) fn version_with(services: Vec<Service>) -> JobVersion {
    JobVersion { job: Arc::new(job("job", services)), ..JobVersion::default() }
}

pub(crate) fn version(name: &str) -> JobVersion {
    version_with(vec![service(name, &[])])
}

/// A state that is built by commands, as the log would.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) state: State,
    head: Option<String>,
}

impl World {
    pub(crate) fn apply(&mut self, command: &Command) -> state::Applied {
        let index = self.state.index() + 1;
        self.state.apply(index, command)
    }

    pub(crate) fn add_node(&mut self, node: Node) -> state::Applied {
        self.apply(&Command::RegisterNode { node: Box::new(node), at: Default::default() })
    }

    pub(crate) fn add_job(&mut self, job: Job) -> state::Applied {
        let next = format!("{:040x}", self.state.index() + 1);
        let path = format!("{}.nomad", job.id);
        let outcome = FileOutcome::Job {
            blob: format!("{:040x}", self.state.index() + 1).into(),
            submission: JobSubmission { job: Arc::new(job) },
            problems: Vec::new(),
        };
        let command = Command::TakeRevision(Box::new(TakeRevision {
            repo: "r".into(),
            expected_head: self.head.clone().map(Into::into),
            commit: next.clone().into(),
            files: [(path, outcome)].into(),
            ..TakeRevision::default()
        }));
        self.head = Some(next);
        let applied = self.apply(&command);
        assert_eq!(applied.rejection, None);
        applied
    }

    pub(crate) fn place(&mut self, allocs: Vec<Allocation>) -> state::Applied {
        let basis = self.state.index();
        self.apply(&Command::ApplyPlan(Box::new(Plan { basis, place: allocs, ..Plan::default() })))
    }

    pub(crate) fn stop(&mut self, alloc: AllocId) -> state::Applied {
        let stop = StopAlloc { alloc, ..StopAlloc::default() };
        let basis = self.state.index();
        self.apply(&Command::ApplyPlan(Box::new(Plan {
            basis,
            stop: vec![stop],
            ..Plan::default()
        })))
    }

    pub(crate) fn report(&mut self, update: AllocReport) -> state::Applied {
        self.apply(&Command::UpdateAllocs { updates: vec![update], at: Default::default() })
    }

    /// Two nodes; `web` on both, tagged `v1`.
    pub(crate) fn small() -> Self {
        let mut world = Self::default();
        world.add_node(node(1));
        world.add_node(node(2));
        world.add_job(job("job", vec![service("web", &["v1", "Prod.EU"])]));
        world.place(vec![alloc(1, 1), alloc(2, 2)]);
        world
    }
}
