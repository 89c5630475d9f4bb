//! Nodes that die, are cut off, come back and are emptied.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{
    AllocId, ClientStatus, Disconnect, DrainStrategy, Job, JobId, JobType, Migrate, NodeId,
    NodeStatus, Reconcile,
};
use proptest::prelude::*;
use state::Command;

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{node, of_kind, service};

const NODES: u32 = 4;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn disconnecting(mut job: Job, disconnect: Disconnect) -> Job {
    job.task_groups[0].disconnect = Some(disconnect);
    job
}

/// One that never runs twice.
fn alone(id: &str) -> Job {
    disconnecting(service(id, 1), Disconnect { replace: false, ..Disconnect::default() })
}

fn waiting(id: &str, count: u32, lost_after: u64, reconcile: Reconcile) -> Job {
    let lost_after = Some(secs(lost_after));
    disconnecting(service(id, count), Disconnect { lost_after, reconcile, ..Disconnect::default() })
}

fn migrating(mut job: Job, max_parallel: u32) -> Job {
    let migrate = Migrate {
        max_parallel,
        min_healthy_time: secs(2),
        healthy_deadline: secs(15),
        ..Migrate::default()
    };
    job.task_groups[0].migrate = Some(migrate);
    job
}

impl Cluster {
    fn set(&mut self, n: u32, status: NodeStatus) {
        let nodes = vec![(node(n).id, status)];
        let at = self.now;
        self.must_apply(&Command::SetNodeStatuses {
            nodes,
            at,
            reason: "a test".into(),
            follows: None,
        });
    }

    /// Nobody hears the node any more; what it runs goes on. What the servers make of it is as the tracker does it.
    fn cut_off(&mut self, n: u32) {
        let id = node(n).id;
        self.cut.insert(id);
        let waits = self.state.allocs_on_node(id).filter(|alloc| !alloc.terminal()).any(|alloc| {
            let version = self.state.job_version(&alloc.job, alloc.job_version);
            let group = version.and_then(|version| version.job.group(&alloc.group));
            let policy = group.and_then(model::Group::disconnection);
            policy.is_some_and(|policy| policy.lost_after.is_some())
        });
        self.set(n, if waits { NodeStatus::Disconnected } else { NodeStatus::Down });
    }

    /// The machine is gone with all that it ran.
    fn die(&mut self, n: u32) {
        self.cut_off(n);
        let ran: BTreeSet<AllocId> =
            self.state.allocs_on_node(node(n).id).map(|alloc| alloc.id).collect();
        self.truth.retain(|id| !ran.contains(id));
    }

    fn come_back(&mut self, n: u32) {
        self.cut.remove(&node(n).id);
        self.set(n, NodeStatus::Ready);
    }

    fn drain(&mut self, n: u32, deadline: Option<u64>) {
        let (node, at) = (node(n).id, self.now);
        let deadline = deadline.map(|after| at + secs(after));
        let drain = Some(DrainStrategy { deadline, started_at: at, ..DrainStrategy::default() });
        self.must_apply(&Command::SetDrain { node, drain, mark_eligible: false, at });
    }

    fn undrain(&mut self, n: u32) {
        let (node, at) = (node(n).id, self.now);
        self.must_apply(&Command::SetDrain { node, drain: None, mark_eligible: true, at });
    }

    /// Marks what is to leave: one of a group at a time; what only runs to its end and what runs everywhere last.
    fn mark(&mut self) {
        let mut marks = Vec::new();
        for draining in self.state.draining_nodes() {
            let over = draining.drain.as_ref().is_some_and(|drain| drain.is_over(self.now));
            let on_it: Vec<_> =
                self.state.allocs_on_node(draining.id).filter(|alloc| !alloc.terminal()).collect();
            let kind =
                |id: &JobId| self.state.job(id).and_then(|record| record.job()).map(|job| job.kind);
            let others = on_it.iter().any(|alloc| kind(&alloc.job) != Some(JobType::System));
            for alloc in on_it.iter().filter(|alloc| alloc.migrate.is_none()) {
                let moving = self
                    .state
                    .allocs_of_job(&alloc.job)
                    .any(|other| other.migrate.is_some() && !other.terminal())
                    || marks.iter().any(|(job, _)| *job == alloc.job);
                let due = match kind(&alloc.job) {
                    Some(JobType::Service) => over || !moving,
                    Some(JobType::System) => over || !others,
                    _ => over,
                };
                if due {
                    marks.push((alloc.job.clone(), alloc.id));
                }
            }
        }
        if !marks.is_empty() {
            let allocs = marks.into_iter().map(|(_, id)| id).collect();
            let at = self.now;
            self.must_apply(&Command::MarkMigrate { allocs, at, reason: String::new() });
        }
    }

    /// Lets time pass in which nodes are emptied.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.mark();
            self.run(1);
            let twice = self.truth.iter().filter_map(|id| self.state.alloc(*id));
            let twice: Vec<_> = twice.filter(|alloc| alloc.job.as_str() == "one").collect();
            assert!(twice.len() <= 1, "S3: {twice:#?}");
        }
    }

    fn client(&self, id: AllocId) -> ClientStatus {
        self.state.alloc(id).expect("is known").client
    }

    fn on(&self, job: &str, n: u32) -> usize {
        self.running(job).iter().filter(|alloc| alloc.node == node(n).id).count()
    }
}

#[test]
fn a_dead_node_costs_its_allocations_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.commit(&service("web", 6));
    cluster.pass(10);
    cluster.die(1);
    cluster.pass(6);
    assert_eq!(cluster.serving("web"), 6);
    assert_eq!(cluster.on("web", 1), 0);
}

#[test]
fn what_is_waited_for_is_unknown_and_stood_in_for() {
    for (reconcile, keeps) in [(Reconcile::KeepOriginal, true), (Reconcile::KeepReplacement, false)]
    {
        let mut cluster = Cluster::new(3);
        cluster.commit(&waiting("far", 3, 60, reconcile));
        cluster.pass(10);
        let original = cluster.running("far").first().expect("runs").clone();
        let n = (1..=3).find(|n| node(*n).id == original.node).expect("is a node");
        cluster.cut_off(n);
        cluster.pass(5);
        assert_eq!(cluster.client(original.id), ClientStatus::Unknown);
        assert_eq!(cluster.serving("far"), 3, "another one stands in");
        cluster.come_back(n);
        cluster.pass(5);
        assert_eq!(cluster.serving("far"), 3);
        assert_eq!(cluster.running("far").len(), 3);
        let kept = cluster.state.alloc(original.id).expect("is known");
        assert_eq!(!kept.server_terminal(), keeps, "{reconcile:?}");
        assert!(kept.server_terminal() || kept.disconnected_at.is_none());
    }
}

#[test]
fn what_is_waited_for_too_long_is_lost() {
    let mut cluster = Cluster::new(2);
    let mut job = waiting("far", 2, 20, Reconcile::BestScore);
    job.task_groups[0].disconnect.as_mut().expect("is set").replace = false;
    cluster.commit(&job);
    cluster.pass(10);
    cluster.die(1);
    cluster.pass(10);
    let before = cluster.running("far").len();
    assert_eq!(before, 2, "nothing stands in for it meanwhile");
    cluster.pass(15);
    assert_eq!((cluster.serving("far"), cluster.on("far", 2)), (2, 2));
}

#[test]
fn one_that_is_alone_waits_for_its_node() {
    let mut cluster = Cluster::new(3);
    cluster.commit(&alone("one"));
    cluster.pass(10);
    let original = cluster.running("one").first().expect("runs").clone();
    let n = (1..=3).find(|n| node(*n).id == original.node).expect("is a node");
    cluster.cut_off(n);
    cluster.pass(200);
    assert_eq!(cluster.client(original.id), ClientStatus::Unknown);
    assert_eq!(cluster.placed_of("one", 0), 1);
    cluster.come_back(n);
    cluster.pass(3);
    assert_eq!(cluster.client(original.id), ClientStatus::Running);
    // It moves and is updated without ever being there twice.
    cluster.drain(n, None);
    cluster.pass(15);
    assert_eq!((cluster.serving("one"), cluster.on("one", n)), (1, 0));
    cluster.commit(&with(alone("one"), Mode::Good, 2));
    cluster.pass(20);
    assert_eq!(cluster.versions("one"), [1]);
    assert_eq!(cluster.serving("one"), 1);
}

#[test]
fn a_node_that_fences_itself_is_given_the_time_to() {
    let mut cluster = Cluster::new(2);
    let stop_on_client_after = Some(secs(10));
    let policy = Disconnect { stop_on_client_after, ..Disconnect::default() };
    cluster.commit(&disconnecting(service("web", 2), policy));
    cluster.pass(10);
    let n = if cluster.on("web", 1) > 0 { 1 } else { 2 };
    let there = cluster.on("web", n);
    cluster.cut_off(n);
    cluster.pass(14);
    assert_eq!(cluster.serving("web"), 2 - there, "it may run still");
    cluster.pass(8);
    assert_eq!(cluster.serving("web"), 2);
}

#[test]
fn a_node_is_emptied_without_a_gap() {
    let mut cluster = Cluster::new(3);
    cluster.commit(&migrating(service("web", 6), 1));
    cluster.commit(&of_kind("all", JobType::System, 1));
    cluster.commit(&with(of_kind("bat", JobType::Batch, 3), Mode::Good, 1));
    cluster.pass(15);
    assert_eq!(cluster.serving("web"), 6);
    let n = (1..=3).max_by_key(|n| cluster.on("bat", *n)).expect("some node");
    assert!(cluster.on("bat", n) > 0);
    cluster.watch();
    cluster.drain(n, Some(60));
    cluster.pass(40);
    assert_eq!(cluster.on("web", n), 0);
    assert_eq!(cluster.lowest[&JobId::from("web")], 6, "each served until its replacement did");
    assert!(cluster.on("bat", n) > 0, "what runs to its end is let run");
    assert_eq!(cluster.on("all", n), 1, "what runs everywhere is last");
    cluster.pass(30);
    assert_eq!((cluster.on("bat", n), cluster.on("all", n)), (0, 0), "the time is over");
    assert_eq!(cluster.running("bat").len(), 3);
    cluster.undrain(n);
    cluster.pass(5);
    assert_eq!(cluster.on("all", n), 1);
}

#[test]
fn a_move_that_does_not_get_healthy_is_tried_elsewhere() {
    let mut cluster = Cluster::new(3);
    let mut job = migrating(service("web", 1), 1);
    let migrate = job.task_groups[0].migrate.as_mut().expect("a policy");
    migrate.healthy_deadline = secs(20);
    cluster.commit(&job);
    cluster.pass(15);
    let first = cluster.running("web")[0].clone();
    let others: Vec<NodeId> = (1..=3).map(|n| node(n).id).filter(|n| *n != first.node).collect();
    let n = (1..=3).find(|n| node(*n).id == first.node).expect("one of them");
    cluster.stuck.extend(&others);
    cluster.watch();
    cluster.drain(n, Some(600));
    cluster.pass(15);
    assert_eq!(cluster.running("web").len(), 2, "it stays until its replacement stands");
    // Nowhere does it start: attempts follow each other, no faster than the deadline says.
    cluster.pass(90);
    let attempts = cluster.placed.len() - 1;
    assert!((4..=6).contains(&attempts), "{attempts} attempts");
    let waiting: Vec<NodeId> = cluster.running("web").iter().map(|alloc| alloc.node).collect();
    assert_eq!(waiting.len(), 2);
    let tried = *waiting.iter().find(|node| **node != first.node).expect("an attempt");
    let other = *others.iter().find(|node| **node != tried).expect("another");
    cluster.stuck.remove(&other);
    cluster.pass(30);
    let running = cluster.running("web");
    assert_eq!(running.len(), 1, "{running:#?}");
    assert_eq!((running[0].node, running[0].client), (other, ClientStatus::Running));
    assert_eq!(cluster.lowest[&JobId::from("web")], 1, "it served all the time");
}

#[test]
fn what_finds_no_room_elsewhere_stays_until_the_time_is_over() {
    let mut cluster = Cluster::new(2);
    let mut job = migrating(service("web", 4), 1);
    job.task_groups[0].tasks[0].resources.cpu = 2000;
    cluster.commit(&job);
    cluster.pass(10);
    cluster.drain(1, Some(30));
    cluster.pass(20);
    assert_eq!((cluster.serving("web"), cluster.on("web", 1)), (4, 2));
    cluster.pass(15);
    assert_eq!((cluster.serving("web"), cluster.on("web", 1)), (2, 0));
    cluster.undrain(1);
    cluster.pass(10);
    assert_eq!(cluster.serving("web"), 4);
}

#[derive(Clone, Debug)]
enum Step {
    Die(u32),
    Cut(u32),
    Return(u32),
    Drain(u32, Option<u64>),
    Undrain(u32),
    Edit(usize, u32),
    Remove(usize),
    Crash(usize),
    /// Nothing gets started there any more, though the node answers.
    Stick(u32),
    /// What is to be started there is, from now on.
    Unstick(u32),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 1..=NODES;
    prop_oneof![
        1 => n.clone().prop_map(Step::Die),
        2 => n.clone().prop_map(Step::Cut),
        3 => n.clone().prop_map(Step::Return),
        2 => (n.clone(), prop::option::of(1_u64..40)).prop_map(|(n, time)| Step::Drain(n, time)),
        2 => n.prop_map(Step::Undrain),
        2 => (0_usize..5, 0_u32..3).prop_map(|(job, content)| Step::Edit(job, content)),
        1 => (0_usize..5).prop_map(Step::Remove),
        1 => (0_usize..9).prop_map(Step::Crash),
        1 => (1..=NODES).prop_map(Step::Stick),
        1 => (1..=NODES).prop_map(Step::Unstick),
        5 => (1_u64..30).prop_map(Step::Wait),
    ]
}

const JOBS: [&str; 5] = ["web", "one", "far", "all", "bat"];

fn job(at: usize, content: u32) -> Job {
    let strategies = [Reconcile::BestScore, Reconcile::KeepOriginal, Reconcile::KeepReplacement];
    let job = match at {
        0 => migrating(service("web", 2 + content), 1),
        1 => alone("one"),
        2 => waiting("far", 3, 20, strategies[content as usize % 3]),
        3 => of_kind("all", JobType::System, 1),
        _ => of_kind("bat", JobType::Batch, 2),
    };
    with(job, Mode::Good, content)
}

/// Does the steps, mends everything, and ends with everything removed. Each plan on the way is checked by the laws.
fn hold(steps: Vec<Step>) {
    let mut cluster = Cluster::new(NODES);
    for at in 0..JOBS.len() {
        cluster.commit(&job(at, 0));
    }
    cluster.pass(5);
    let mut removed: BTreeSet<&str> = BTreeSet::new();
    for step in steps {
        match step {
            Step::Die(n) => cluster.die(n),
            Step::Cut(n) => cluster.cut_off(n),
            Step::Return(n) => cluster.come_back(n),
            Step::Drain(n, time) => cluster.drain(n, time),
            Step::Undrain(n) => cluster.undrain(n),
            Step::Edit(at, content) => {
                removed.remove(JOBS[at]);
                cluster.commit(&job(at, content));
            }
            Step::Remove(at) => {
                if removed.insert(JOBS[at]) {
                    cluster.remove(JOBS[at]);
                }
            }
            Step::Crash(at) => {
                let running: Vec<_> = JOBS.iter().flat_map(|job| cluster.running(job)).collect();
                let victim = running.get(at % running.len().max(1));
                if let Some(alloc) = victim.filter(|alloc| !cluster.cut.contains(&alloc.node)) {
                    cluster.truth.remove(&alloc.id);
                    cluster.crash(alloc.id);
                }
            }
            Step::Stick(n) => drop(cluster.stuck.insert(node(n).id)),
            Step::Unstick(n) => drop(cluster.stuck.remove(&node(n).id)),
            Step::Wait(time) => cluster.pass(time),
        }
    }
    cluster.stuck.clear();
    for n in 1..=NODES {
        cluster.come_back(n);
        cluster.undrain(n);
    }
    for at in 0..JOBS.len() {
        cluster.commit(&job(at, 1));
    }
    cluster.pass(200);
    for (name, wanted) in JOBS.iter().zip([3, 1, 3, NODES as usize, 2]) {
        let running = cluster.running(name);
        assert_eq!(running.len(), wanted, "{}: {:#?}", name, running);
        assert!(running.iter().all(|alloc| alloc.client == ClientStatus::Running));
        assert!(running.iter().all(|alloc| alloc.disconnected_at.is_none()));
    }
    for name in JOBS {
        cluster.remove(name);
    }
    cluster.pass(10);
    for name in JOBS {
        assert!(cluster.running(name).is_empty(), "S5: {}", name);
    }
    assert!(cluster.truth.is_empty(), "nothing is left anywhere");
}

/// Courses of events in which something was stopped that still served.
#[test]
fn what_serves_is_not_given_up_for_what_does_not_yet() {
    use Step::{Crash, Cut, Die, Drain, Edit, Return, Wait};
    // The one that is back is well, its stand-in of a new version is not judged yet.
    hold(vec![Edit(2, 2), Wait(7), Cut(3), Wait(5)]);
    hold(vec![Cut(2), Edit(2, 1), Wait(1), Return(2), Cut(3), Wait(1)]);
    // Two copies of one place, of which one goes.
    hold(vec![Crash(3), Die(2), Wait(1), Die(1)]);
    // The stand-in was never judged by the deployment that placed it, which is over.
    hold(vec![Edit(2, 1), Die(3), Edit(2, 0), Wait(2), Die(1), Wait(5)]);
    // What is lost for good has a stand-in already, and another one waits for room to move to.
    let gone = [Cut(1), Die(3), Wait(20), Die(2), Wait(1), Crash(3), Drain(4, None), Wait(19)];
    hold(gone.to_vec());
    // Scaled down while one is to move and one is lost.
    hold(vec![Edit(0, 2), Wait(5), Drain(2, None), Edit(0, 1), Die(1), Wait(1)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_while_nodes_come_and_go(steps in prop::collection::vec(step(), 1..30)) {
        hold(steps);
    }
}

#[test]
fn one_that_is_alone_and_cut_off_is_not_forgotten_with_its_job() {
    let mut cluster = Cluster::new(2);
    let mut job = service("web", 1);
    job.task_groups[0].disconnect = Some(Disconnect { replace: false, ..Disconnect::default() });
    cluster.commit(&job);
    cluster.run(10);
    let first = cluster.running("web")[0].clone();
    let n = (1..=2).find(|n| node(*n).id == first.node).expect("is one of them");
    cluster.cut.insert(first.node);
    cluster.node_down(n);
    cluster.run(2);
    cluster.remove("web");
    cluster.run(5);
    cluster.commit(&job);
    cluster.run(10);
    assert!(cluster.running("web").is_empty(), "it may run still");
    cluster.cut.remove(&first.node);
    cluster.node_up(n);
    cluster.run(15);
    assert_eq!(cluster.serving("web"), 1);
    assert_ne!(cluster.running("web")[0].id, first.id);
}
