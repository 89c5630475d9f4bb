use std::collections::BTreeSet;
use std::time::Duration;

use evaluator::evaluate;
use model::{
    AllocReport, DrainStatus, DrainStrategy, DriverInfo, Eligibility, EvalTrigger, Job, Migrate,
    Node, NodeId, NodeResources, Task, seeded_uuid,
};
use proptest::prelude::*;
use state::{FileOutcome, JobSubmission, TakeRevision};

use super::*;

/// Nodes, jobs, the evaluator and the drainer, a second at a time.
struct World {
    state: State,
    now: Timestamp,
}

fn id(n: u8) -> NodeId {
    NodeId::new(seeded_uuid(&[b"node", &[n]]))
}

fn job(id: &str, kind: JobType, count: u32, max_parallel: u32) -> Job {
    let migrate = (kind == JobType::Service).then(|| Migrate {
        max_parallel,
        min_healthy_time: Duration::from_secs(2),
        ..Migrate::default()
    });
    let task = Task { name: "t".into(), driver: "raw_exec".into(), ..Task::default() };
    let group = Group { name: "g".into(), count, tasks: vec![task], migrate, ..Group::default() };
    Job {
        id: id.into(),
        kind,
        datacenters: vec!["*".into()],
        node_pool: "default".into(),
        task_groups: vec![group],
        ..Job::default()
    }
}

impl World {
    fn new(nodes: u8, jobs: &[Job]) -> Self {
        let mut world = Self { state: State::default(), now: Timestamp::from_secs(1_000_000) };
        for n in 0..nodes {
            let driver = DriverInfo { detected: true, healthy: true, ..DriverInfo::default() };
            let node = Node {
                id: id(n),
                name: format!("n{n}"),
                datacenter: "dc1".into(),
                pool: "default".into(),
                drivers: [("raw_exec".to_owned(), driver)].into(),
                resources: NodeResources {
                    cpu: 4_000,
                    memory_mb: 8_000,
                    disk_mb: 100_000,
                    ..NodeResources::default()
                },
                ..Node::default()
            };
            world.apply(&Command::RegisterNode { node: Box::new(node), at: world.now });
        }
        let file = |job: &Job| FileOutcome::Job {
            blob: "1".into(),
            submission: JobSubmission { job: Arc::new(job.clone()) },
            problems: Vec::new(),
        };
        let files = jobs.iter().map(|job| (job.id.to_string(), file(job))).collect();
        let taken = TakeRevision { commit: "c".into(), files, ..TakeRevision::default() };
        world.apply(&Command::TakeRevision(Box::new(taken)));
        world.pass(5);
        world
    }

    fn apply(&mut self, command: &Command) {
        let applied = self.state.apply(self.state.index() + 1, command);
        assert_eq!(applied.rejection, None, "{command:?}");
    }

    fn pass(&mut self, secs: u32) {
        for _ in 0..secs {
            for command in step(&self.state, self.now).commands {
                self.apply(&command);
            }
            let jobs = self.state.jobs().map(|job| (job.id.clone(), EvalTrigger::NodeUpdate));
            let plan = evaluate(&self.state, &jobs.collect(), self.now);
            if !plan.is_empty() {
                self.apply(&Command::ApplyPlan(Box::new(plan)));
            }
            self.now = self.now + Duration::from_secs(1);
            let updates: Vec<AllocReport> = self
                .state
                .allocs()
                .filter_map(|alloc| {
                    let client = match (alloc.server_terminal(), alloc.client) {
                        (true, ClientStatus::Pending | ClientStatus::Running) => {
                            ClientStatus::Complete
                        }
                        (false, ClientStatus::Pending) => ClientStatus::Running,
                        _ => return None,
                    };
                    Some(AllocReport { alloc: alloc.id, client, ..AllocReport::default() })
                })
                .collect();
            if !updates.is_empty() {
                self.apply(&Command::UpdateAllocs { updates, at: self.now });
            }
        }
    }

    fn drain(&mut self, n: u8, deadline: Option<u64>, ignore_system: bool) {
        let at = self.now;
        let drain = Some(DrainStrategy {
            deadline: deadline.map(|secs| at + Duration::from_secs(secs)),
            ignore_system,
            started_at: at,
            ..DrainStrategy::default()
        });
        self.apply(&Command::SetDrain { node: id(n), drain, mark_eligible: false, at });
    }

    fn running(&self, job: &str) -> usize {
        let job = JobId::from(job);
        let allocs = self.state.allocs_of_job(&job);
        allocs.filter(|alloc| !alloc.terminal() && alloc.client == ClientStatus::Running).count()
    }

    fn serves(&self, n: usize, count: u32) -> bool {
        self.running(&format!("s{n}")) >= count as usize
    }

    fn on(&self, n: u8, job: &str) -> usize {
        let allocs = self.state.allocs_on_node(id(n));
        allocs.filter(|alloc| alloc.job.as_str() == job && !alloc.client.is_terminal()).count()
    }

    fn node(&self, n: u8) -> &Node {
        self.state.node(id(n)).expect("is there")
    }
}

#[test]
fn services_first_then_what_runs_everywhere_and_it_is_told() {
    let jobs = [job("web", JobType::Service, 6, 2), job("all", JobType::System, 1, 1)];
    let mut world = World::new(3, &jobs);
    let before = world.on(0, "web");
    assert!(before > 0);
    world.drain(0, Some(3_600), false);
    while world.on(0, "web") > 0 {
        assert_eq!(world.on(0, "all"), 1, "last");
        assert!(world.running("web") >= 6);
        world.pass(1);
    }
    world.pass(4);
    assert_eq!(world.on(0, "all"), 0);
    let node = world.node(0);
    assert_eq!((node.draining, node.eligibility), (false, Eligibility::Ineligible));
    let event = node.events.last().expect("is told");
    assert_eq!(event.message, "Node drain complete");
    let last = node.last_drain.as_ref().expect("is known");
    assert_eq!(last.status, DrainStatus::Complete);
}

#[test]
fn what_runs_to_its_end_is_let_run_until_the_deadline() {
    let mut world = World::new(2, &[job("bat", JobType::Batch, 4, 1)]);
    let n = if world.on(0, "bat") > 0 { 0 } else { 1 };
    let there = world.on(n, "bat");
    world.drain(n, Some(60), false);
    world.pass(50);
    assert_eq!(world.on(n, "bat"), there);
    assert_eq!(
        step(&world.state, world.now).wake.map(|at| at.since(world.now).as_secs()),
        Some(10)
    );
    world.pass(15);
    assert_eq!((world.on(n, "bat"), world.running("bat")), (0, 4));
    let event = world.node(n).events.last().expect("is told");
    assert_eq!(event.message, "Node drain complete: the rest was stopped at the deadline");
}

#[test]
fn what_runs_everywhere_may_stay() {
    let mut world = World::new(2, &[job("all", JobType::System, 1, 1)]);
    world.drain(0, None, true);
    world.pass(3);
    assert_eq!(world.on(0, "all"), 1);
    assert!(!world.node(0).draining, "there is nothing else to wait for");
}

#[test]
fn no_more_than_max_parallel_are_on_their_way() {
    let mut world = World::new(3, &[job("web", JobType::Service, 9, 2)]);
    for n in [0, 1] {
        world.drain(n, None, false);
    }
    for _ in 0..60 {
        let web = JobId::from("web");
        let allocs = world.state.allocs_of_job(&web);
        let leaving = allocs.filter(|alloc| alloc.migrate.is_some() && !alloc.terminal()).count();
        assert!(leaving <= 2, "{leaving}");
        assert!(world.running("web") >= 9);
        world.pass(1);
    }
    assert_eq!((world.on(2, "web"), world.on(0, "web")), (9, 0));
}

#[test]
fn force_leaves_no_time() {
    let jobs = [job("web", JobType::Service, 6, 1), job("bat", JobType::Batch, 2, 1)];
    let mut world = World::new(3, &jobs);
    let at = world.now;
    let drain = Some(DrainStrategy { force: true, started_at: at, ..DrainStrategy::default() });
    world.apply(&Command::SetDrain { node: id(0), drain, mark_eligible: false, at });
    world.pass(3);
    assert_eq!(world.on(0, "web") + world.on(0, "bat"), 0);
    assert!(!world.node(0).draining);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// However many nodes are emptied when: services never fall below what `migrate` allows, and each drain ends.
    #[test]
    fn nodes_are_emptied_without_a_gap(
        counts in prop::collection::vec((1_u32..8, 1_u32..3), 1..4),
        drains in prop::collection::vec((0_u8..5, 0_u32..12), 1..6),
    ) {
        let mut jobs: Vec<Job> = counts
            .iter()
            .enumerate()
            .map(|(n, (count, at_once))| job(&format!("s{n}"), JobType::Service, *count, *at_once))
            .collect();
        jobs.push(job("all", JobType::System, 1, 1));
        let mut world = World::new(6, &jobs);
        let mut drained = BTreeSet::new();
        for (n, wait) in drains {
            world.drain(n, None, false);
            drained.insert(n);
            for _ in 0..wait {
                world.pass(1);
                for (n, (count, _)) in counts.iter().enumerate() {
                    prop_assert!(world.serves(n, *count));
                }
            }
        }
        for _ in 0..200 {
            world.pass(1);
            for (n, (count, _)) in counts.iter().enumerate() {
                prop_assert!(world.serves(n, *count));
            }
        }
        for n in drained {
            prop_assert!(!world.node(n).draining);
            prop_assert_eq!(world.state.allocs_on_node(id(n)).filter(|a| !a.terminal()).count(), 0);
        }
    }
}
