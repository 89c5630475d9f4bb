use std::sync::Arc;

use model::{AllocId, Allocation, Disconnect, Group, Job, seeded_uuid};
use proptest::prelude::*;
use state::{FileOutcome, JobSubmission, Plan, TakeRevision};

use super::*;

fn id(n: u32) -> NodeId {
    NodeId::new(seeded_uuid(&[b"node", &n.to_be_bytes()]))
}

/// A leader, its state, and a time that is told.
struct World {
    state: State,
    beats: Heartbeats,
    now: Duration,
}

const BEGIN: Timestamp = Timestamp::from_secs(1_000_000);

impl World {
    /// Another comes to lead. The one before is cut off and hears nobody; with it comes what it says of that.
    fn deposed(&mut self) -> (Heartbeats, Command) {
        let mut gone = std::mem::replace(&mut self.beats, begin(&self.state, self.now));
        let mut now = self.now;
        loop {
            now += Duration::from_millis(100);
            gone.tick(&self.state, now, BEGIN + now);
            if let Some(word) = gone.word() {
                return (gone, word);
            }
        }
    }

    fn new(nodes: u32) -> Self {
        let mut state = State::default();
        for n in 0..nodes {
            let node = Node { id: id(n), ..Node::default() };
            let command = Command::RegisterNode { node: Box::new(node), at: BEGIN };
            state.apply(state.index() + 1, &command);
        }
        let beats = begin(&state, Duration::ZERO);
        Self { state, beats, now: Duration::ZERO }
    }

    fn at(&self) -> Timestamp {
        BEGIN + self.now
    }

    /// Lets a tenth of a second pass in which these are heard.
    fn step(&mut self, heard: impl Iterator<Item = u32>) -> Vec<(u32, NodeStatus)> {
        for n in heard {
            self.beats.heard(id(n), self.now);
        }
        self.now += Duration::from_millis(100);
        self.beats.tick(&self.state, self.now, self.at());
        let mut changes = Vec::new();
        while let Some(command) = self.beats.word() {
            if let Command::SetNodeStatuses { nodes, .. } = &command {
                for (node, status) in nodes {
                    let n = (0..1_000).find(|n| id(*n) == *node).expect("is known");
                    changes.push((n, *status));
                }
            }
            let applied = self.state.apply(self.state.index() + 1, &command);
            self.beats.answered(&applied);
            for event in &applied.events {
                if let state::Event::Node(node) = event {
                    self.beats.changed(&self.state, *node);
                }
            }
        }
        changes
    }

    fn run(&mut self, tenths: u32, heard: &[u32]) -> Vec<(u32, NodeStatus)> {
        (0..tenths).flat_map(|_| self.step(heard.iter().copied())).collect()
    }

    fn ready(&self) -> usize {
        self.state.nodes().filter(|node| node.status == NodeStatus::Ready).count()
    }
}

fn begin(state: &State, now: Duration) -> Heartbeats {
    Heartbeats::begin(HeartbeatOptions::default(), None, state, now, BEGIN + now)
}

#[test]
fn a_silent_node_is_lost_in_time_and_comes_back_when_heard() {
    let mut world = World::new(4);
    assert!(world.run(80, &[0, 1, 2, 3]).is_empty());
    assert!(world.run(18, &[0, 1, 2]).is_empty(), "not before its time");
    assert_eq!(world.run(3, &[0, 1, 2]), [(3, NodeStatus::Down)]);
    let event = world.state.node(id(3)).and_then(|node| node.events.last()).expect("is told");
    assert_eq!(event.message, "Node is down: not heard of for 2s");
    assert!(world.run(50, &[0, 1, 2]).is_empty(), "it is said once");
    assert_eq!(world.run(1, &[0, 1, 2, 3]), [(3, NodeStatus::Ready)]);
    assert!(world.run(100, &[0, 1, 2, 3]).is_empty());
}

#[test]
fn a_new_leader_holds_its_own_absence_against_nobody() {
    let mut world = World::new(4);
    world.run(80, &[0, 1, 2, 3]);
    world.now += Duration::from_secs(600);
    world.beats = begin(&world.state, world.now);
    assert!(world.run(69, &[0, 1, 2]).is_empty());
    assert_eq!(world.run(2, &[0, 1, 2]), [(3, NodeStatus::Down)]);
}

#[test]
fn a_leader_that_was_held_up_holds_that_against_nobody() {
    let mut world = World::new(4);
    world.run(80, &[0, 1, 2, 3]);
    world.now += Duration::from_secs(30);
    assert!(world.run(10, &[0, 1, 2]).is_empty());
    assert_eq!(world.run(10, &[0, 1, 2]).len(), 1, "but what is really gone is lost");
}

#[test]
fn a_node_that_is_alone_is_never_lost() {
    let mut world = World::new(1);
    assert!(world.run(300, &[]).is_empty());
    let mut world = World::new(2);
    let options = HeartbeatOptions::default();
    world.beats = Heartbeats::begin(options, Some(id(0)), &world.state, Duration::ZERO, BEGIN);
    assert_eq!(world.run(300, &[]), [(1, NodeStatus::Down)], "nor is the leader's own");
    assert!(!world.beats.is_idle(), "the other one may come back");
    assert!(
        Heartbeats::begin(options, Some(id(0)), &World::new(1).state, world.now, BEGIN).is_idle()
    );
}

#[test]
fn a_leader_whose_own_node_was_declared_lost_is_back() {
    let mut world = World::new(2);
    let nodes = vec![(id(0), NodeStatus::Down)];
    let command =
        Command::SetNodeStatuses { nodes, at: BEGIN, reason: String::new(), follows: None };
    world.state.apply(world.state.index() + 1, &command);
    let options = HeartbeatOptions::default();
    world.beats = Heartbeats::begin(options, Some(id(0)), &world.state, Duration::ZERO, BEGIN);
    assert_eq!(world.run(2, &[]), [(0, NodeStatus::Ready)]);
}

#[test]
fn a_new_leader_counts_who_was_given_up_and_is_back() {
    let mut world = World::new(30);
    let all: Vec<u32> = (0..30).collect();
    world.run(80, &all);
    assert_eq!(world.run(40, &all[6..]).len(), 6);
    assert_eq!(world.run(10, &all).len(), 6, "they are back");
    world.beats = begin(&world.state, world.now);
    world.run(80, &all);
    let down = |changes: Vec<(u32, NodeStatus)>| {
        changes.into_iter().filter(|(_, status)| *status == NodeStatus::Down).count()
    };
    assert_eq!(down(world.run(100, &all[..20])), 3, "of nine");
    assert_eq!(world.beats.held(), 7);
    let mut world = World::new(30);
    world.run(80, &all);
    assert_eq!(world.run(40, &all[6..]).len(), 6);
    world.run(10, &all);
    world.now += HeartbeatOptions::default().window;
    world.beats = begin(&world.state, world.now);
    world.run(80, &all);
    assert_eq!(down(world.run(100, &all[..20])), 9, "what is long ago counts no more");
}

#[test]
fn the_word_of_a_leader_that_is_gone_counts_for_nothing() {
    let mut world = World::new(6);
    world.run(80, &[0, 1, 2, 3, 4, 5]);
    let (mut gone, late) = world.deposed();
    assert!(world.run(1, &[0, 1, 2, 3, 4, 5]).is_empty(), "the new one says that it leads");
    let applied = world.state.apply(world.state.index() + 1, &late);
    assert!(matches!(applied.rejection, Some(state::Rejection::Conflict(_))), "{applied:?}");
    assert_eq!(world.ready(), 6);
    assert!(world.run(100, &[0, 1, 2, 3, 4, 5]).is_empty(), "whoever leads goes on");
    // Who finds that another has spoken begins anew, and holds against nobody that it heard nobody.
    gone.answered(&applied);
    assert_eq!(gone.word(), None);
    let since = world.now + Duration::from_secs(60);
    gone.tick(&world.state, since, BEGIN + since);
    let first = gone.word().expect("it says that it leads");
    assert!(
        matches!(&first, Command::SetNodeStatuses { nodes, follows, .. }
            if nodes.is_empty() && *follows == Some(world.state.last_word())),
        "{first:?}"
    );
}

#[test]
fn what_comes_late_and_was_in_time_is_counted_by_the_next_leader() {
    let mut world = World::new(6);
    let all = [0, 1, 2, 3, 4, 5];
    world.run(80, &all);
    let (_, late) = world.deposed();
    // It comes before the new leader has said anything.
    let applied = world.state.apply(world.state.index() + 1, &late);
    assert_eq!(applied.rejection, None);
    for event in &applied.events {
        if let state::Event::Node(node) = event {
            world.beats.changed(&world.state, *node);
        }
    }
    world.run(3, &all);
    assert_eq!(world.ready(), 6, "whoever speaks is back");
    assert!(world.run(200, &[]).is_empty(), "no more are given up in this minute");
    assert_eq!(world.beats.held(), 6);
}

#[test]
fn a_loss_of_many_at_once_is_braked_and_shown() {
    let mut world = World::new(30);
    let all: Vec<u32> = (0..30).collect();
    world.run(80, &all);
    let lost = world.run(600, &all[..10]);
    assert_eq!(lost.len(), 9, "a third");
    let status = world.beats.status();
    assert_eq!((status.held.len(), status.allowed), (11, 9));
    assert!(status.message.contains("20 nodes fell silent at once"), "{}", status.message);
    assert!(world.run(3_000, &all[..10]).is_empty(), "time alone lets nothing go");
    // One of the held comes back.
    let held = world.beats.status().held;
    let one = all.iter().copied().find(|n| held.contains(&id(*n))).expect("is held");
    let mut heard = all[..10].to_vec();
    heard.push(one);
    assert!(world.run(10, &heard).is_empty());
    assert_eq!(world.beats.status().held.len(), 10);
    // An operator says that the rest is gone.
    assert_eq!(world.beats.approve(), 10);
    assert_eq!(world.run(2, &heard).len(), 10);
    assert_eq!(world.ready(), 11);
    let status = world.beats.status();
    assert!(status.held.is_empty() && status.message.is_empty());
}

#[test]
fn when_most_come_back_the_rest_is_lost() {
    let mut world = World::new(30);
    let all: Vec<u32> = (0..30).collect();
    world.run(80, &all);
    world.run(50, &all[..10]);
    assert_eq!(world.beats.status().held.len(), 11);
    let back = world.run(900, &all[..28]);
    assert!(world.beats.status().held.is_empty());
    let down: Vec<u32> =
        back.iter().filter(|(_, status)| *status == NodeStatus::Down).map(|(n, _)| *n).collect();
    assert!(down.iter().all(|n| *n >= 28), "{down:?}");
    assert_eq!(world.ready(), 28);
}

#[test]
fn a_node_whose_allocations_are_waited_for_is_disconnected_first() {
    let mut world = World::new(4);
    let disconnect =
        Disconnect { lost_after: Some(Duration::from_secs(30)), ..Disconnect::default() };
    let group = Group { name: "g".into(), disconnect: Some(disconnect), ..Group::default() };
    let job = Job { id: "a".into(), task_groups: vec![group], ..Job::default() };
    let file = FileOutcome::Job {
        blob: "1".into(),
        submission: JobSubmission { job: Arc::new(job) },
        problems: Vec::new(),
    };
    let taken = TakeRevision { files: [("a".to_owned(), file)].into(), ..TakeRevision::default() };
    world.state.apply(world.state.index() + 1, &Command::TakeRevision(Box::new(taken)));
    let alloc = Allocation {
        id: AllocId::new(seeded_uuid(&[b"a"])),
        job: "a".into(),
        group: "g".into(),
        node: id(3),
        ..Allocation::default()
    };
    let plan = Plan { basis: world.state.index(), place: vec![alloc], ..Plan::default() };
    world.state.apply(world.state.index() + 1, &Command::ApplyPlan(Box::new(plan)));
    world.run(80, &[0, 1, 2, 3]);
    assert_eq!(world.run(25, &[0, 1, 2]), [(3, NodeStatus::Disconnected)]);
    // A new leader knows as well how long it is waited for.
    world.beats = begin(&world.state, world.now);
    assert!(world.run(290, &[0, 1, 2]).is_empty());
    assert_eq!(world.run(10, &[0, 1, 2]), [(3, NodeStatus::Down)]);
}

#[test]
fn nodes_that_come_and_go_are_followed() {
    let mut world = World::new(4);
    world.run(80, &[0, 1, 2, 3]);
    let node = Node { id: id(4), ..Node::default() };
    let (node, at) = (Box::new(node), world.at());
    world.state.apply(world.state.index() + 1, &Command::RegisterNode { node, at });
    world.beats.changed(&world.state, id(4));
    assert!(world.run(60, &[0, 1, 2, 3]).is_empty(), "a new one is granted as much as any");
    assert_eq!(world.run(15, &[0, 1, 2, 3]), [(4, NodeStatus::Down)]);
    let command = Command::RemoveNode { node: id(3), until: at, at };
    world.state.apply(world.state.index() + 1, &command);
    world.beats.resume(&world.state);
    assert!(world.run(60, &[0, 1, 2, 3]).is_empty(), "what was removed is nobody's concern");
}

#[test]
fn healthy_nodes_cost_a_step_nothing() {
    let mut world = World::new(1_000);
    world.run(80, &(0..1_000).collect::<Vec<_>>());
    for n in 0..1_000 {
        world.beats.heard(id(n), world.now);
    }
    let before = world.beats.looks.clone();
    world.step(std::iter::empty());
    let moved = before.difference(&world.beats.looks).count();
    assert!(moved <= 200, "{moved} of 1000 were looked at in a tenth of a second");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever falls silent and comes back when: nobody who speaks is lost, and in no minute more than a third is.
    #[test]
    fn no_storm_and_nobody_wronged(
        count in 2_u32..24,
        moves in prop::collection::vec((0_u32..24, 1_u32..40, any::<bool>()), 1..40),
    ) {
        let mut world = World::new(count);
        let mut speaks = vec![true; count as usize];
        let mut lost: Vec<Duration> = Vec::new();
        let mut said = vec![Duration::ZERO; count as usize];
        let allowed = (count as usize * 33 / 100).max(3);
        world.run(80, &(0..count).collect::<Vec<_>>());
        for (n, tenths, up) in moves {
            speaks[(n % count) as usize] = up;
            // Sometimes many at once.
            if n % 7 == 0 {
                for other in speaks.iter_mut().skip((n % count) as usize) {
                    *other = up;
                }
            }
            for _ in 0..tenths {
                let heard: Vec<u32> = (0..count).filter(|n| speaks[*n as usize]).collect();
                for n in &heard {
                    said[*n as usize] = world.now;
                }
                for (n, status) in world.step(heard.into_iter()) {
                    if status == NodeStatus::Ready {
                        prop_assert!(speaks[n as usize]);
                    } else {
                        let silent = world.now - said[n as usize];
                        prop_assert!(silent >= Duration::from_secs(2), "{n} spoke {silent:?} ago");
                        lost.push(world.now);
                    }
                }
                let window = lost.iter().filter(|at| world.now - **at < Duration::from_secs(60));
                prop_assert!(window.count() <= allowed);
            }
        }
        let all: Vec<u32> = (0..count).collect();
        world.run(20, &all);
        prop_assert_eq!(world.ready(), count as usize, "whoever speaks is ready");
        prop_assert!(world.beats.status().held.is_empty());
    }
}
