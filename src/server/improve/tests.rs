use evaluator::evaluate;
use model::{
    AllocHealth, AllocReport, ClientStatus, DriverInfo, EvalTrigger, Group, Improve, Job, Node,
    NodeId, NodeResources, Task, seeded_uuid,
};
use state::{FileOutcome, JobSubmission, Plan, TakeRevision};

use super::*;

fn node(n: u8, datacenter: &str) -> Node {
    let driver = DriverInfo { detected: true, healthy: true, ..DriverInfo::default() };
    Node {
        id: NodeId::new(seeded_uuid(&[b"node", &[n]])),
        name: format!("n{n}"),
        datacenter: datacenter.into(),
        pool: "default".into(),
        drivers: [("raw_exec".to_owned(), driver)].into(),
        resources: NodeResources {
            cpu: 4_000,
            memory_mb: 8_000,
            disk_mb: 100_000,
            ..NodeResources::default()
        },
        ..Node::default()
    }
}

fn job(improve: Option<Improve>) -> Job {
    let task = Task { name: "t".into(), driver: "raw_exec".into(), ..Task::default() };
    let group = Group { name: "g".into(), count: 3, tasks: vec![task], ..Group::default() };
    let mut job = Job {
        id: "web".into(),
        datacenters: vec!["dc1".into()],
        node_pool: "default".into(),
        task_groups: vec![group],
        ..Job::default()
    };
    job.gitops.improve = improve;
    job
}

fn apply(state: &mut State, command: &Command) {
    let applied = state.apply(state.index() + 1, command);
    assert_eq!(applied.rejection, None, "{command:?}");
}

fn plan(state: &State, at: Timestamp) -> Plan {
    evaluate(state, &[("web".into(), EvalTrigger::JobRegister)].into(), at)
}

/// Three of a job, well, on a node that lies elsewhere since.
fn misplaced(improve: Option<Improve>, at: Timestamp) -> State {
    let mut state = State::default();
    apply(&mut state, &Command::RegisterNode { node: Box::new(node(1, "dc1")), at });
    let submission = JobSubmission { job: Arc::new(job(improve)) };
    let file = FileOutcome::Job { blob: "1".into(), submission, problems: Vec::new() };
    let files = [("web.hcl".to_owned(), file)].into();
    let taken = TakeRevision { commit: "c".into(), files, ..TakeRevision::default() };
    apply(&mut state, &Command::TakeRevision(Box::new(taken)));
    for _ in 0..3 {
        let plan = plan(&state, at);
        apply(&mut state, &Command::ApplyPlan(Box::new(plan)));
        let updates = state.allocs().map(|alloc| AllocReport {
            alloc: alloc.id,
            client: ClientStatus::Running,
            deployment: alloc.deployment,
            health: alloc.deployment.map(|_| AllocHealth { healthy: true, at, reason: "".into() }),
            ..AllocReport::default()
        });
        let updates = updates.collect();
        apply(&mut state, &Command::UpdateAllocs { updates, at });
    }
    for node in [node(1, "dc2"), node(2, "dc1")] {
        apply(&mut state, &Command::RegisterNode { node: Box::new(node), at });
    }
    state
}

#[test]
fn one_at_a_time_is_said_to_move_and_why() {
    let at = Timestamp::from_secs(1_000_000);
    assert_eq!(step(&misplaced(None, at), at), [], "off by default");
    let mut state = misplaced(Some(Improve { per_hour: 2, gain: 25 }), at);
    let commands = step(&state, at);
    let [Command::MarkMigrate { allocs, reason, .. }] = commands.as_slice() else {
        panic!("one move: {commands:?}");
    };
    assert_eq!(allocs.len(), 1);
    assert_eq!(reason, "constraint datacenter dc1 is not met by node n1 any more");
    apply(&mut state, &commands[0]);
    assert_eq!(step(&state, at), [], "it waits for the first one");

    let late = at + Duration::from_secs(90);
    let stays = Command::UnmarkMigrate { allocs: allocs.clone(), at: late };
    assert_eq!(step(&state, late), [stays], "nobody found a place for it");

    let plan = plan(&state, late);
    assert_eq!(plan.place.len(), 1);
    let moved = plan.place[0].clone();
    assert_eq!((&*moved.node_name, moved.previous), ("n2", Some(allocs[0])));
    apply(&mut state, &Command::ApplyPlan(Box::new(plan)));
    assert_eq!(step(&state, late), [], "its replacement is on the way");
}

#[test]
fn a_plan_names_what_would_move() {
    let found = |n: u32, job: &str| Improvement {
        name: format!("{job}.g[{n}]"),
        job: job.into(),
        reason: "node n2 is better by 0.41".to_owned(),
        gain: Some(0.41),
        alloc: Default::default(),
    };
    assert_eq!(notes(&[]), Vec::<String>::new());
    let many: Vec<_> = (0..7).map(|n| found(n, "web")).chain([found(0, "db")]).collect();
    let lines = notes(&many);
    assert_eq!(lines[0], "job db would move 1 allocation: db.g[0] (node n2 is better by 0.41)");
    assert!(lines[1].starts_with("job web would move 7 allocations: web.g[0] (node n2"));
    assert!(lines[1].ends_with("web.g[4] (node n2 is better by 0.41), 2 more"), "{}", lines[1]);
}
