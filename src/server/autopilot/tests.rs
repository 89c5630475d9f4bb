use model::seeded_uuid;
use proptest::prelude::*;

use super::*;

fn id(n: u8) -> NodeId {
    NodeId::new(seeded_uuid(&[b"node", &[n]]))
}

/// A cluster of which what autopilot asks for is done at once; time passes in seconds.
#[derive(Clone, Debug, Default)]
struct World {
    options: AutopilotOptions,
    members: Vec<Member>,
    nodes: Vec<Candidate>,
    dead: BTreeSet<NodeId>,
}

impl World {
    fn new(nodes: u8) -> Self {
        let node = |n| Candidate {
            node: id(n),
            role: NodeRole::Auto,
            status: NodeStatus::Ready,
            leaving: false,
            datacenter: "dc1".into(),
            rack: String::new(),
        };
        let first =
            Member { node: id(0), votes: true, leads: true, silent_for: Duration::ZERO, lag: 0 };
        Self { members: vec![first], nodes: (0..nodes).map(node).collect(), ..Self::default() }
    }

    fn voters(&self) -> Vec<NodeId> {
        self.members.iter().filter(|member| member.votes).map(|member| member.node).collect()
    }

    /// Voters that live, in truth, and those that a quorum needs.
    fn quorum(&self) -> (usize, usize) {
        let voters = self.voters();
        let living = voters.iter().filter(|node| !self.dead.contains(node)).count();
        (living, quorum(voters.len()))
    }

    fn act(&mut self, action: Action) {
        let member = |members: &mut Vec<Member>, node| {
            members.iter().position(|member| member.node == node).expect("is a member")
        };
        match action {
            Action::AddLearner(node) => {
                assert!(self.members.iter().all(|member| member.node != node));
                assert!(self.members.iter().all(|member| member.votes), "one at a time");
                self.members.push(Member {
                    node,
                    votes: false,
                    leads: false,
                    silent_for: Duration::ZERO,
                    lag: 10_000,
                });
            }
            Action::Promote(node) => {
                let at = member(&mut self.members, node);
                assert!(self.members[at].lag <= self.options.lag, "it has caught up");
                self.members[at].votes = true;
            }
            Action::Demote(node) => {
                let at = member(&mut self.members, node);
                assert!(!self.members[at].leads, "not the leader");
                self.members[at].votes = false;
            }
            Action::Remove(node) => {
                let at = member(&mut self.members, node);
                assert!(!self.members[at].votes, "only what does not vote");
                self.members.remove(at);
            }
        }
    }

    /// One second: what is dead stays silent, learners catch up, one step is made.
    fn second(&mut self) -> Option<Action> {
        for member in &mut self.members {
            if self.dead.contains(&member.node) {
                member.silent_for += Duration::from_secs(1);
            } else {
                member.silent_for = Duration::ZERO;
                member.lag = member.lag.saturating_sub(4_000);
            }
        }
        for node in &mut self.nodes {
            let dead = self.dead.contains(&node.node);
            node.status = if dead { NodeStatus::Down } else { NodeStatus::Ready };
        }
        let action = next(&self.options, &self.members, &self.nodes);
        let (living, needed) = self.quorum();
        if let Some(action) = action {
            self.act(action);
            let after = self.quorum();
            assert!(living < needed || after.0 >= after.1, "{action:?} dropped the quorum");
        }
        action
    }

    fn settle(&mut self) -> Vec<Action> {
        (0..200).filter_map(|_| self.second()).collect()
    }
}

#[test]
fn one_server_becomes_three() {
    let mut world = World::new(3);
    let actions = world.settle();
    assert_eq!(world.voters().len(), 3);
    assert_eq!(actions.len(), 4, "{actions:?}");
    let mut world = World::new(2);
    assert_eq!(world.settle(), [], "two that vote bear no loss, and two can be lost");
}

#[test]
fn who_is_removed_loses_the_vote_even_without_a_replacement() {
    for dead in [true, false] {
        let mut world = World::new(3);
        world.settle();
        world.nodes.retain(|node| node.node != id(2));
        if dead {
            world.dead.insert(id(2));
        }
        let actions = world.settle();
        assert_eq!(actions, [Action::Demote(id(2)), Action::Remove(id(2))], "dead: {dead}");
    }
    // Of two that answer of three, none can be spared.
    let mut world = World::new(3);
    world.settle();
    world.dead.insert(id(1));
    (0..3).for_each(|_| assert_eq!(world.second(), None));
    world.nodes.retain(|node| node.node != id(2));
    assert!(!world.settle().contains(&Action::Demote(id(2))));
}

#[test]
fn a_dead_voter_is_replaced_after_a_while_and_then_removed() {
    let mut world = World::new(4);
    world.settle();
    let victim = world.voters()[1];
    world.dead.insert(victim);
    for _ in 0..10 {
        assert_eq!(world.second(), None, "it may come back");
    }
    let actions = world.settle();
    assert!(matches!(
        actions[..],
        [Action::AddLearner(_), Action::Promote(_), Action::Demote(a), Action::Remove(b)]
            if a == victim && b == victim
    ));
    assert_eq!(world.voters().len(), 3);
}

#[test]
fn a_dead_voter_without_a_replacement_keeps_its_seat() {
    let mut world = World::new(3);
    world.settle();
    world.dead.insert(world.voters()[2]);
    assert_eq!(world.settle(), []);
    assert_eq!(world.voters().len(), 3);
}

#[test]
fn nothing_is_changed_without_a_quorum() {
    let mut world = World::new(6);
    world.settle();
    for node in world.voters().into_iter().skip(1) {
        world.dead.insert(node);
    }
    world.second();
    world.second();
    world.second();
    assert_eq!(world.settle(), []);
}

#[test]
fn servers_stand_in_different_places() {
    let mut world = World::new(9);
    for (n, node) in world.nodes.iter_mut().enumerate() {
        node.datacenter = format!("dc{}", n / 3);
        node.rack = format!("r{}", n % 3);
    }
    world.settle();
    let places = |world: &World| -> BTreeSet<String> {
        let of = |node: &NodeId| world.nodes.iter().find(|one| one.node == *node);
        world.voters().iter().filter_map(of).map(|one| one.datacenter.clone()).collect()
    };
    assert_eq!(places(&world).len(), 3);
    // What was there before there was another place moves there.
    let mut world = World::new(3);
    world.settle();
    world.nodes.extend(
        World::new(5)
            .nodes
            .drain(3..)
            .map(|node| Candidate { datacenter: format!("dc{:?}", node.node), ..node }),
    );
    world.settle();
    assert_eq!((places(&world).len(), world.voters().len()), (3, 3));
    assert!(world.voters().contains(&id(0)), "the leader stays");
}

#[test]
fn those_that_are_meant_to_be_servers_are() {
    let mut world = World::new(6);
    world.nodes[1].role = NodeRole::Worker;
    world.settle();
    assert!(!world.voters().contains(&id(1)));
    for n in [4, 5] {
        world.nodes[n].role = NodeRole::Server;
    }
    world.settle();
    let voters: BTreeSet<NodeId> = world.voters().into_iter().collect();
    assert_eq!(voters, [id(0), id(4), id(5)].into());
}

#[test]
fn one_that_cannot_get_a_seat_does_not_wait_for_one() {
    let mut world = World::new(4);
    world.options.voters = 5;
    for node in &mut world.nodes {
        node.role = NodeRole::Server;
    }
    // It would stand better than another one, but four are no better than three.
    world.nodes[2].rack = "1".into();
    world.dead.insert(id(2));
    for _ in 0..8 {
        world.second();
    }
    world.nodes[3].leaving = true;
    world.dead.clear();
    world.second();
    world.nodes[3].leaving = false;
    world.settle();
    assert_eq!(world.settle(), [], "it has come to rest");
    assert!(world.members.iter().all(|member| member.votes), "nobody is left waiting");
}

#[test]
fn one_that_is_emptied_gives_its_seat_away() {
    let mut world = World::new(4);
    world.settle();
    let leaving = world.voters()[1];
    world.nodes.iter_mut().find(|one| one.node == leaving).expect("is there").leaving = true;
    world.settle();
    assert_eq!(world.voters().len(), 3);
    assert!(!world.voters().contains(&leaving));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quorums_are_kept_and_it_comes_to_rest(
        nodes in 1_u8..9,
        five in any::<bool>(),
        places in prop::collection::vec((0_u8..3, 0_u8..3, 0_u8..8), 9),
        moves in prop::collection::vec((1_u8..9, any::<bool>(), any::<bool>(), 0_u32..25), 0..30),
    ) {
        let mut world = World::new(nodes);
        world.options.voters = if five { 5 } else { 3 };
        for (node, (dc, rack, role)) in world.nodes.iter_mut().zip(&places) {
            node.datacenter = dc.to_string();
            node.rack = rack.to_string();
            node.role = match role {
                0 => NodeRole::Worker,
                1 => NodeRole::Server,
                _ => NodeRole::Auto,
            };
        }
        for (n, dies, leaves, secs) in moves {
            let n = n % nodes;
            // The leader lives: without it, another one would decide.
            if n > 0 && dies {
                world.dead.insert(id(n));
            } else {
                world.dead.remove(&id(n));
            }
            world.nodes[n as usize].leaving = leaves && n > 0;
            for _ in 0..secs {
                world.second();
            }
        }
        // Then all is well.
        world.dead.clear();
        for node in &mut world.nodes {
            node.leaving = false;
        }
        world.settle();
        prop_assert_eq!(world.settle(), [], "it has come to rest");
        let suited = world.nodes.iter().filter(|one| one.role != NodeRole::Worker);
        let suited = suited.count().clamp(1, world.options.voters);
        let voters = world.voters().len();
        prop_assert!(voters + 1 >= suited && voters <= world.options.voters, "{voters} of {suited}");
        prop_assert!(world.members.iter().all(|member| member.votes), "nobody is left waiting");
    }
}
