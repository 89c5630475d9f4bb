//! A cluster to place in.

use std::collections::BTreeMap;
use std::sync::Arc;

use evaluator::{Fleet, evaluate, evaluate_with};
use model::{
    Affinity, AllocHealth, AllocReport, AllocResources, Allocation, BlobId, ClientStatus, CommitId,
    Constraint, DriverInfo, Eligibility, EvalTrigger, Group, Job, JobId, Network, Node, NodeId,
    NodeResources, NodeStatus, Port, PortAssignment, Resources, Spread, Task, TaskEvent,
    TaskRunState, TaskState, Timestamp, seeded_uuid,
};
use state::{Command, FileOutcome, JobSubmission, Plan, State, TakeRevision};

use crate::meter::{Meter, timed};

/// What a group asks for.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    Plain,
    Constraint,
    Affinity,
    Spread,
    /// A constraint, a dynamic port and a spread.
    Everything,
    /// As in Nomad's benchmark.
    Nomad {
        spread: bool,
        racks: u32,
    },
}

#[derive(Clone)]
pub(crate) struct Cluster {
    state: State,
    dirty: BTreeMap<JobId, EvalTrigger>,
    now: Timestamp,
}

impl Cluster {
    /// Nodes in racks, of four classes, each with room for thousands.
    pub(crate) fn new(nodes: u32, racks: u32) -> Self {
        Self::of(nodes, racks, (400_000, 800_000, 4_000_000))
    }

    /// As in Nomad's benchmark.
    pub(crate) fn nomad(nodes: u32, racks: u32) -> Self {
        Self::of(nodes, racks, (32_000, 32_000, 100_000))
    }

    fn of(nodes: u32, racks: u32, room: (u64, u64, u64)) -> Self {
        let mut cluster = Self {
            state: State::default(),
            dirty: BTreeMap::new(),
            now: Timestamp::from_secs(1_000_000),
        };
        for command in registrations(nodes, racks, room, cluster.now) {
            cluster.apply(&command);
        }
        cluster
    }

    fn apply(&mut self, command: &Command) {
        let applied = self.state.apply(self.state.index() + 1, command);
        assert_eq!(applied.rejection, None);
    }

    /// The same with so many allocations of other jobs.
    pub(crate) fn with_running(mut self, allocations: u32) -> Self {
        let nodes: Vec<NodeId> = self.state.nodes().map(|node| node.id).collect();
        let group: Arc<str> = Arc::from("web");
        let mut made = 0;
        while made < allocations {
            let some = (allocations - made).min(50_000);
            let of = |n: u32| {
                let at = nodes.get(n as usize % nodes.len()).copied().unwrap_or_default();
                let port = 20_000 + (n / nodes.len() as u32) as u16;
                Allocation {
                    id: model::AllocId::new(seeded_uuid(&[b"there", &n.to_be_bytes()])),
                    job: JobId::from(format!("there-{}", n / 1_000)),
                    group: Arc::clone(&group),
                    node: at,
                    resources: AllocResources {
                        cpu: 20,
                        memory_mb: 40,
                        disk_mb: 10,
                        ports: vec![PortAssignment { value: port, ..PortAssignment::default() }],
                        ..AllocResources::default()
                    },
                    ..Allocation::default()
                }
            };
            let place = (made..made + some).map(of).collect();
            let plan = Plan { basis: self.state.index(), at: self.now, place, ..Plan::default() };
            self.apply(&Command::ApplyPlan(Box::new(plan)));
            made += some;
        }
        self
    }

    /// Adds jobs that ask for the same.
    pub(crate) fn register(&mut self, name: &str, jobs: u32, count: u32, ask: Ask) {
        self.apply(&revision(name, jobs, count, ask, self.now));
        let ids = self.state.jobs().map(|record| record.id.clone());
        self.dirty = ids.map(|id| (id, EvalTrigger::JobRegister)).collect();
    }

    pub(crate) fn evaluate(&self) -> Plan {
        evaluate(&self.state, &self.dirty, self.now)
    }

    /// Microseconds for each placement of a pass that makes so many: the mean of as many passes as a fifth of a second
    /// takes, since the kernel counts in ticks of milliseconds. Letting go of the plan is part of it.
    pub(crate) fn measure(&self, placements: u32) -> f64 {
        Self::measured(placements, || self.evaluate())
    }

    /// The same where the passes know the nodes from the one before.
    pub(crate) fn measure_later(&self, placements: u32) -> f64 {
        let mut fleet = Fleet::default();
        evaluate_with(&mut fleet, &self.state, &self.dirty, self.now);
        Self::measured(placements, || evaluate_with(&mut fleet, &self.state, &self.dirty, self.now))
    }

    /// Evaluates the jobs one by one and applies each plan: the median of the microseconds that a pass takes, where each
    /// begins anew, where the nodes are kept, and where they are and one of them changes before each pass. So many of
    /// each.
    pub(crate) fn one_by_one(mut self, passes: usize) -> [f64; 3] {
        let nodes: Vec<NodeId> = self.state.nodes().map(|node| node.id).collect();
        let mut jobs = std::mem::take(&mut self.dirty).into_keys();
        let mut fleet = Fleet::default();
        [0, 1, 2].map(|way| {
            let mut took: Vec<f64> = Vec::with_capacity(passes);
            for n in 0..passes {
                if way == 2 {
                    // One takes nothing any more, and then does again.
                    let node = nodes.get(n / 2 * 7 % nodes.len()).copied().unwrap_or_default();
                    let takes = [Eligibility::Ineligible, Eligibility::Eligible];
                    let eligibility = takes.get(n % 2).copied().unwrap_or_default();
                    let at = self.now;
                    self.apply(&Command::SetEligibility { node, eligibility, at });
                }
                let job = jobs.next().map(|id| (id, EvalTrigger::JobRegister));
                let one = job.into_iter().collect();
                let (ms, plan) = timed(|| match way {
                    0 => evaluate(&self.state, &one, self.now),
                    _ => evaluate_with(&mut fleet, &self.state, &one, self.now),
                });
                took.push(ms * 1e3);
                assert_eq!(plan.place.len(), 1, "it is placed");
                self.apply(&Command::ApplyPlan(Box::new(plan)));
            }
            took.sort_by(f64::total_cmp);
            took.get(passes / 2).copied().unwrap_or_default()
        })
    }

    fn measured(placements: u32, mut pass: impl FnMut() -> Plan) -> f64 {
        let (meter, mut passes) = (Meter::start(), 0);
        loop {
            let plan = pass();
            assert_eq!(plan.place.len(), placements as usize, "all are placed");
            drop(plan);
            passes += 1;
            let took = meter.ms();
            if took >= 200.0 {
                return took * 1e3 / f64::from(passes) / f64::from(placements);
            }
        }
    }

    /// Places all that is missing.
    pub(crate) fn place_all(&mut self) {
        let all = std::mem::take(&mut self.dirty);
        let ids: Vec<JobId> = all.keys().cloned().collect();
        // As many in one command as the leader puts into one.
        for some in ids.chunks(2) {
            let jobs = some.iter().map(|id| (id.clone(), EvalTrigger::JobRegister)).collect();
            let plan = evaluate(&self.state, &jobs, self.now);
            self.commit(&Command::ApplyPlan(Box::new(plan)));
        }
        self.dirty = all;
    }

    /// Each node says that what it was given runs, with the events that a start makes.
    pub(crate) fn run_all(&mut self) {
        let event = |kind: &str, message: &str| TaskEvent {
            kind: kind.into(),
            time: self.now,
            message: message.into(),
            ..TaskEvent::default()
        };
        let task = TaskState {
            state: TaskRunState::Running,
            started_at: self.now,
            events: vec![
                event("Received", "Task received by client"),
                event("Task Setup", "Building Task Directory"),
                event("Started", "Task started by client"),
            ],
            ..TaskState::default()
        };
        let nodes: Vec<NodeId> = self.state.nodes().map(|node| node.id).collect();
        for node in nodes {
            let there = self.state.allocs_on_node(node);
            let updates = there.map(|alloc| AllocReport {
                alloc: alloc.id,
                client: ClientStatus::Running,
                client_description: "Tasks are running".to_owned(),
                tasks: [("web".to_owned(), task.clone())].into(),
                health: Some(AllocHealth { healthy: true, at: self.now, ..AllocHealth::default() }),
                deployment: alloc.deployment,
                ..AllocReport::default()
            });
            let updates = updates.collect();
            self.commit(&Command::UpdateAllocs { updates, at: self.now });
        }
    }

    /// As a server applies it that has it from the log.
    fn commit(&mut self, command: &Command) {
        let bytes = command.to_bytes().expect("has bytes");
        self.apply(&Command::from_bytes(&bytes).expect("is read"));
    }

    /// What it takes to hand on and apply what a pass decided: bytes for each placement, and microseconds of writing,
    /// reading and applying.
    pub(crate) fn hand_on(&self) -> (usize, [f64; 3]) {
        let command = Command::ApplyPlan(Box::new(self.evaluate()));
        let Command::ApplyPlan(plan) = &command else { return (0, [0.0; 3]) };
        let each = |ms: f64| ms * 1e3 / 10.0 / plan.place.len() as f64;
        let bytes = command.to_bytes().expect("has bytes");
        let mut took = [0.0; 3];
        for _ in 0..10 {
            let meter = Meter::start();
            drop(command.to_bytes());
            took[0] += meter.ms();
            let meter = Meter::start();
            drop(Command::from_bytes(&bytes));
            took[1] += meter.ms();
            let mut state = self.state.clone();
            let meter = Meter::start();
            drop(state.apply(state.index() + 1, &command));
            took[2] += meter.ms();
        }
        (bytes.len() / plan.place.len(), took.map(each))
    }

    pub(crate) fn allocations(&self) -> usize {
        self.state.allocs().count()
    }

    /// A rack's nodes die; how many jobs and allocations that concerns.
    pub(crate) fn lose_rack(&mut self, rack: u32, trigger: EvalTrigger) -> (usize, usize) {
        let name = format!("r{rack}");
        let nodes: Vec<NodeId> = self
            .state
            .nodes()
            .filter(|node| node.meta.get("rack") == Some(&name))
            .map(|node| node.id)
            .collect();
        let (mut jobs, mut lost) = (BTreeMap::new(), 0);
        for node in nodes {
            let there = self.state.allocs_on_node(node);
            for alloc in there {
                jobs.insert(alloc.job.clone(), trigger);
                lost += 1;
            }
            let at = self.now;
            self.apply(&Command::SetNodeStatus { node, status: NodeStatus::Down, at });
        }
        let concerned = jobs.len();
        self.dirty = jobs;
        (concerned, lost)
    }
}

/// Nodes as they register.
pub(crate) fn registrations(
    nodes: u32,
    racks: u32,
    room: (u64, u64, u64),
    at: Timestamp,
) -> impl Iterator<Item = Command> {
    let node = move |n| Box::new(node(n, racks, room));
    (0..nodes).map(move |n| Command::RegisterNode { node: node(n), at })
}

/// A revision that brings jobs that ask for the same.
pub(crate) fn revision(name: &str, jobs: u32, count: u32, ask: Ask, at: Timestamp) -> Command {
    let files = (0..jobs).map(|n| {
        let job = job(&format!("{name}-{n}"), count, ask);
        let path = format!("{}.hcl", job.id);
        let submission = JobSubmission { job: Arc::new(job) };
        let outcome =
            FileOutcome::Job { blob: BlobId::default(), submission, problems: Vec::new() };
        (path, outcome)
    });
    Command::TakeRevision(Box::new(TakeRevision {
        repo: name.into(),
        branch: "main".into(),
        commit: CommitId::from(format!("{:040}", 1)),
        files: files.collect(),
        at,
        ..TakeRevision::default()
    }))
}

fn node(n: u32, racks: u32, (cpu, memory_mb, disk_mb): (u64, u64, u64)) -> Node {
    let healthy = DriverInfo { detected: true, healthy: true, ..DriverInfo::default() };
    let attribute = |key: u32| (format!("attribute.{key}"), format!("value {key}"));
    Node {
        id: NodeId::new(seeded_uuid(&[b"node", &n.to_be_bytes()])),
        name: format!("node-{n}"),
        datacenter: format!("dc{}", n % 4),
        pool: "default".into(),
        class: format!("class-{}", n % 4),
        address: format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256),
        attributes: (0..40)
            .map(attribute)
            .chain([
                ("kernel.name".to_owned(), "linux".to_owned()),
                ("unique.hostname".to_owned(), format!("node-{n}")),
            ])
            .collect(),
        meta: [("rack".to_owned(), format!("r{}", n % racks))].into(),
        drivers: [("docker".to_owned(), healthy)].into(),
        resources: NodeResources {
            cpu,
            memory_mb,
            disk_mb,
            min_dynamic_port: 20_000,
            max_dynamic_port: 32_000,
            ..NodeResources::default()
        },
        status: NodeStatus::Ready,
        ..Node::default()
    }
}

fn job(id: &str, count: u32, ask: Ask) -> Job {
    let constraint = |attribute: &str, operator: &str, value: &str| Constraint {
        attribute: attribute.into(),
        operator: operator.into(),
        value: value.into(),
    };
    let mut job = Job {
        id: JobId::from(id),
        name: id.to_owned(),
        datacenters: vec!["*".into()],
        node_pool: "default".into(),
        priority: 50,
        task_groups: vec![Group {
            name: "web".into(),
            count,
            tasks: vec![Task {
                name: "web".into(),
                driver: "docker".into(),
                resources: Resources { cpu: 20, memory_mb: 40, ..Resources::default() },
                ..Task::default()
            }],
            ..Group::default()
        }],
        ..Job::default()
    };
    let group = &mut job.task_groups[0];
    group.ephemeral_disk.size_mb = 10;
    let over_racks = Spread { attribute: "${meta.rack}".into(), ..Spread::default() };
    let not_every_class = constraint("${node.class}", "!=", "class-3");
    match ask {
        Ask::Plain => {}
        Ask::Constraint => group.constraints.push(not_every_class),
        Ask::Affinity => group.affinities.push(Affinity {
            attribute: "${node.class}".into(),
            value: "class-1".into(),
            ..Affinity::default()
        }),
        Ask::Spread => group.spreads.push(over_racks),
        Ask::Everything => {
            group.constraints.push(not_every_class);
            group.constraints.push(constraint("${attr.kernel.name}", "=", "linux"));
            group.spreads.push(over_racks);
            group.networks.push(Network {
                dynamic_ports: vec![Port { label: "http".into(), ..Port::default() }],
                ..Network::default()
            });
        }
        Ask::Nomad { spread, racks } => {
            let half: Vec<String> = (0..racks / 2).map(|rack| format!("r{rack}")).collect();
            group.constraints.push(constraint("${meta.rack}", "set_contains_any", &half.join(",")));
            group.tasks[0].resources.cpu = 6_000;
            group.tasks[0].resources.memory_mb = 6_000;
            if spread {
                group.spreads.push(over_racks);
            }
        }
    }
    job
}
