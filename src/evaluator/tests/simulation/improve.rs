//! Allocations that move because another node suits them better.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evaluator::{given_up, improvements};
use model::{
    Affinity, AllocId, Allocation, Constraint, Eligibility, Improve, Job, JobId, Migrate, Node,
    NodeId, Timestamp,
};
use proptest::prelude::*;
use state::Command;

use crate::cluster::Cluster;
use crate::samples::{node, service};

const HOUR: u64 = 60;

fn improving(mut job: Job, per_hour: u32, gain: u32) -> Job {
    job.gitops.improve = Some(Improve { per_hour, gain });
    migrating(job, 1)
}

fn migrating(mut job: Job, max_parallel: u32) -> Job {
    job.task_groups[0].migrate = Some(Migrate {
        max_parallel,
        min_healthy_time: Duration::from_secs(2),
        ..Migrate::default()
    });
    job
}

/// One that would rather be in zone b.
fn drawn(mut job: Job) -> Job {
    job.affinities.push(Affinity {
        attribute: "${meta.zone}".into(),
        operator: "=".into(),
        value: "b".into(),
        weight: 100,
    });
    job
}

fn bound(mut job: Job) -> Job {
    job.constraints.push(Constraint {
        attribute: "${meta.rack}".into(),
        operator: "=".into(),
        value: "r1".into(),
    });
    job
}

fn with_meta(n: u32, key: &str, value: &str) -> Node {
    let mut node = node(n);
    node.meta.insert(key.into(), value.into());
    node
}

/// A move: when it was begun, of which allocation, why.
type Begun = (Timestamp, AllocId, String);

impl Cluster {
    /// What the leader says each minute.
    fn improve(&mut self) -> Vec<Begun> {
        let at = self.now;
        let stays = given_up(&self.state, at);
        if !stays.is_empty() {
            self.must_apply(&Command::UnmarkMigrate { allocs: stays, at });
        }
        let mut begun = Vec::new();
        for found in improvements(&self.state, at) {
            begun.push((at, found.alloc, found.reason.clone()));
            let (allocs, reason) = (vec![found.alloc], found.reason);
            self.must_apply(&Command::MarkMigrate { allocs, at, reason });
        }
        begun
    }

    fn minutes(&mut self, minutes: u64) -> Vec<Begun> {
        let mut begun = Vec::new();
        for _ in 0..minutes {
            begun.extend(self.improve());
            // A move takes seconds; nothing happens in the rest of the minute.
            let moves = |alloc: &Arc<Allocation>| alloc.migrate.is_some() && !alloc.terminal();
            let busy = if self.state.allocs().any(moves) { 15 } else { 2 };
            self.run(busy);
            self.now = self.now + Duration::from_secs(60 - busy);
        }
        begun
    }

    fn nodes_of(&self, job: &str) -> BTreeMap<u32, NodeId> {
        self.running(job).iter().map(|alloc| (alloc.index, alloc.node)).collect()
    }
}

#[test]
fn a_far_better_node_is_taken_within_the_budget() {
    let mut cluster = Cluster::new(4);
    cluster.commit(&improving(drawn(service("web", 4)), 2, 25));
    assert_eq!(cluster.minutes(2 * HOUR), []);
    for n in 5..=8 {
        cluster.join(with_meta(n, "zone", "b"));
    }
    cluster.watch();
    let begun = cluster.minutes(10 * HOUR);
    assert_eq!(begun.len(), 4, "{begun:#?}");
    for (at, _, reason) in &begun {
        assert!(reason.contains("is better by"), "{reason}");
        let hour = Duration::from_secs(3_600);
        let with = begun.iter().filter(|(other, ..)| at >= other && at.since(*other) < hour);
        assert!(with.count() <= 2, "{begun:#?}");
    }
    assert_eq!(cluster.lowest[&JobId::from("web")], 4, "replacements come first");
    let there = cluster.running("web");
    assert!(there.iter().all(|alloc| (5..=8).any(|n| alloc.node == node(n).id)), "{there:#?}");
    for alloc in there {
        let why = alloc.explanation.as_ref().expect("is explained").reason.to_string();
        assert!(why.starts_with("moves ") && why.contains("is better by"), "{why}");
        let old = cluster.state.alloc(alloc.previous.expect("moved")).expect("is kept");
        let words = &old.desired_description;
        assert!(words.starts_with("alloc was moved to another node: node n"), "{words}");
    }
}

#[test]
fn what_is_not_asked_for_does_not_happen() {
    let mut cluster = Cluster::of([with_meta(1, "rack", "r1"), with_meta(2, "rack", "r1")]);
    cluster.commit(&migrating(bound(drawn(service("web", 4))), 1));
    cluster.minutes(2 * HOUR);
    let before = cluster.nodes_of("web");
    let mut better = with_meta(5, "zone", "b");
    better.meta.insert("rack".into(), "r1".into());
    cluster.join(better);
    cluster.join(with_meta(1, "rack", "r2"));
    assert_eq!(cluster.minutes(3 * HOUR), []);
    assert_eq!(cluster.nodes_of("web"), before);
}

#[test]
fn one_whose_node_will_not_do_any_more_goes_at_once() {
    let mut cluster = Cluster::of((1..=3).map(|n| with_meta(n, "rack", "r1")));
    cluster.commit(&improving(bound(service("web", 3)), 4, 25));
    cluster.minutes(2);
    let victim = cluster.running("web")[0].clone();
    let n = (1..=3).find(|n| node(*n).id == victim.node).expect("is one of them");
    cluster.join(with_meta(n, "rack", "r2"));
    cluster.watch();
    let begun = cluster.minutes(5);
    let on_it = cluster.running("web").iter().filter(|alloc| alloc.node == victim.node).count();
    assert_eq!(on_it, 0);
    assert_eq!(cluster.lowest[&JobId::from("web")], 3);
    let words = format!("constraint ${{meta.rack}} = r1 is not met by node n{n} any more");
    assert!(!begun.is_empty() && begun.iter().all(|(_, _, reason)| *reason == words), "{begun:?}");
}

#[test]
fn where_no_other_node_will_do_it_stays() {
    let mut cluster = Cluster::of([with_meta(1, "rack", "r1"), node(2)]);
    cluster.commit(&improving(bound(service("web", 2)), 4, 25));
    cluster.minutes(2);
    cluster.join(with_meta(1, "rack", "r2"));
    assert_eq!(cluster.minutes(3), []);
    assert_eq!(cluster.serving("web"), 2);
}

#[test]
fn a_mark_that_nothing_comes_of_is_taken_back() {
    let mut cluster = Cluster::new(3);
    cluster.commit(&improving(service("web", 2), 4, 25));
    cluster.minutes(5);
    let before = cluster.nodes_of("web");
    let (allocs, at) = (vec![cluster.running("web")[0].id], cluster.now);
    // By the time that it is placed, no node is better.
    let reason = "node n9 is better by 0.50".to_owned();
    cluster.must_apply(&Command::MarkMigrate { allocs, at, reason });
    cluster.minutes(3);
    assert_eq!(cluster.nodes_of("web"), before);
    assert!(cluster.running("web").iter().all(|alloc| alloc.migrate.is_none()));
    assert_eq!(cluster.state.waiting_since(&"web".into()), None, "and nobody waits for room");
}

#[test]
fn nothing_moves_while_something_is_missing() {
    let mut cluster = Cluster::new(2);
    let mut job = improving(drawn(service("web", 3)), 10, 25);
    let mut large = job.task_groups[0].clone();
    large.name = "large".into();
    large.tasks[0].resources.memory_mb = 30_000;
    job.task_groups.push(large);
    cluster.commit(&job);
    cluster.minutes(2 * HOUR);
    cluster.join(with_meta(5, "zone", "b"));
    assert_eq!(cluster.minutes(HOUR), []);
    assert_eq!(cluster.serving("web"), 3);
    job.task_groups.pop();
    cluster.commit(&job);
    assert_ne!(cluster.minutes(HOUR), [], "now all is there");
    assert_eq!(cluster.serving("web"), 3);
}

#[test]
fn a_plan_says_what_the_block_would_move() {
    let mut cluster = Cluster::new(2);
    let mut job = migrating(drawn(service("web", 2)), 1);
    cluster.commit(&job);
    cluster.minutes(2 * HOUR);
    cluster.join(with_meta(5, "zone", "b"));
    cluster.minutes(1);
    let shown = |cluster: &Cluster, job: &Job| {
        let revision = cluster.revision([Cluster::file(job)].into());
        evaluator::preview(&cluster.state, &revision, cluster.now)
    };
    assert_eq!(shown(&cluster, &job).moves, []);
    job.gitops.improve = Some(Improve::default());
    let preview = shown(&cluster, &job);
    assert_eq!(preview.moves.len(), 1, "{:?}", preview.moves);
    assert!(preview.moves[0].reason.starts_with("node n5 is better by 0."));
    assert!(preview.plan.place.is_empty() && preview.plan.stop.is_empty(), "it is in place");
    cluster.commit(&job);
    let begun = cluster.minutes(5);
    assert_eq!(begun[0].2, preview.moves[0].reason);
}

/// A job of the property: count, hundreds of megabytes and of MHz, which nodes were open when it came, and whether it
/// goes after an hour.
type Came = (u32, u32, u32, u32, bool);

fn came() -> impl Strategy<Value = Vec<Came>> {
    prop::collection::vec((1_u32..4, 2_u32..30, 1_u32..15, 1_u32..16, any::<bool>()), 2..6)
}

/// Runs jobs through ten hours, in the first of which some go. The number of moves.
fn ten_hours(jobs: &[Came]) -> usize {
    let sized = |n: u32| {
        let mut node = node(n);
        node.resources.memory_mb = u64::from(4 + 2 * n) * 1_000;
        node.resources.cpu = u64::from(9 - n) * 1_000;
        node
    };
    let mut cluster = Cluster::of((1..=4).map(sized));
    let name = |at: usize| format!("j{at}");
    let open = |cluster: &mut Cluster, nodes: u32| {
        for n in 1..=4 {
            let (node, at) = (node(n).id, cluster.now);
            let eligibility = if nodes >> (n - 1) & 1 == 1 {
                Eligibility::Eligible
            } else {
                Eligibility::Ineligible
            };
            cluster.must_apply(&Command::SetEligibility { node, eligibility, at });
        }
    };
    for (at, (count, memory, cpu, nodes, _)) in jobs.iter().enumerate() {
        open(&mut cluster, *nodes);
        let mut job = improving(service(&name(at), *count), 6, 3);
        let resources = &mut job.task_groups[0].tasks[0].resources;
        resources.memory_mb = u64::from(*memory) * 100;
        resources.cpu = u64::from(*cpu) * 100;
        if at % 2 == 1 {
            job = drawn(job);
        }
        cluster.commit(&job);
        cluster.run(20);
    }
    open(&mut cluster, 15);
    cluster.join({
        let mut node = sized(3);
        node.meta.insert("zone".into(), "b".into());
        node
    });
    cluster.run(20);
    let mut moves = cluster.minutes(HOUR).len();
    for (at, (.., goes)) in jobs.iter().enumerate() {
        if *goes {
            cluster.remove(&name(at));
        }
    }
    let mut been: BTreeMap<(usize, u32), Vec<NodeId>> = BTreeMap::new();
    let mut last = 0;
    for minute in 0..10 * HOUR {
        let begun = cluster.minutes(1).len();
        moves += begun;
        last = if begun == 0 { last } else { minute };
        for at in 0..jobs.len() {
            for (index, node) in cluster.nodes_of(&name(at)) {
                let course = been.entry((at, index)).or_default();
                if course.last() != Some(&node) {
                    assert!(!course.contains(&node), "back again: {course:?}");
                    course.push(node);
                }
            }
        }
    }
    assert!(last < 8 * HOUR, "it never comes to rest: {been:?}");
    moves
}

#[test]
fn what_was_placed_when_there_was_no_choice_moves_once_there_is() {
    let jobs = [(3, 10, 8, 1, false), (2, 12, 5, 3, true), (3, 6, 4, 3, false)];
    assert!(ten_hours(&jobs) >= 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_goes_to_and_fro(jobs in came()) {
        ten_hours(&jobs);
    }
}
