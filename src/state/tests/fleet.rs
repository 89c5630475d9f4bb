//! Nodes that come, fall silent, are emptied and removed, and those who may join: whatever comes in whatever order.

use std::collections::BTreeMap;

use model::{
    AllocId, Allocation, DrainStatus, DrainStrategy, Eligibility, Node, NodeId, NodeRole,
    NodeStatus, Timestamp, seeded_uuid,
};
use proptest::prelude::*;
use state::{Command, Disconnected, Garbage, Plan, Rejection, SecretHash, State};

#[derive(Clone, Debug)]
enum Step {
    Register(u8),
    Statuses(BTreeMap<u8, u8>),
    Eligibility(u8, bool),
    Drain { node: u8, on: bool, force: bool, mark: bool },
    Finish { node: u8, stale: bool },
    Place(u8, u8),
    Migrate(Vec<u8>),
    Disconnect(u8),
    Reconnect(u8),
    Remove(u8, u8),
    Found(u8),
    Token(u8, u8),
    Revoke(u8),
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0_u8..4;
    let alloc = 0_u8..6;
    prop_oneof![
        4 => node.clone().prop_map(Step::Register),
        2 => prop::collection::btree_map(0_u8..5, 0_u8..4, 0..4).prop_map(Step::Statuses),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, yes)| Step::Eligibility(node, yes)),
        3 => (node.clone(), any::<[bool; 3]>())
            .prop_map(|(node, [on, force, mark])| Step::Drain { node, on, force, mark }),
        1 => (node.clone(), prop::bool::weighted(0.2))
            .prop_map(|(node, stale)| Step::Finish { node, stale }),
        2 => (alloc.clone(), node.clone()).prop_map(|(alloc, node)| Step::Place(alloc, node)),
        1 => prop::collection::vec(alloc.clone(), 0..4).prop_map(Step::Migrate),
        1 => alloc.clone().prop_map(Step::Disconnect),
        1 => alloc.prop_map(Step::Reconnect),
        1 => (node, 0_u8..20).prop_map(|(node, until)| Step::Remove(node, until)),
        1 => (0_u8..2).prop_map(Step::Found),
        1 => (0_u8..3, 0_u8..20).prop_map(|(id, until)| Step::Token(id, until)),
        1 => (0_u8..3).prop_map(Step::Revoke),
        1 => Just(Step::Collect),
    ]
}

fn node_id(n: u8) -> NodeId {
    NodeId::new(seeded_uuid(&[b"node", &[n]]))
}

fn alloc_id(n: u8) -> AllocId {
    AllocId::new(seeded_uuid(&[b"alloc", &[n]]))
}

const STATUSES: [NodeStatus; 4] =
    [NodeStatus::Initializing, NodeStatus::Ready, NodeStatus::Down, NodeStatus::Disconnected];

fn now(state: &State) -> Timestamp {
    Timestamp::from_secs(i64::try_from(state.index()).unwrap_or(0) + 1)
}

fn later(state: &State, secs: u8) -> Timestamp {
    now(state) + std::time::Duration::from_secs(secs.into())
}

fn command(state: &State, step: &Step) -> Command {
    let at = now(state);
    let plan = Plan { basis: state.index(), at, ..Plan::default() };
    match step {
        Step::Register(n) => {
            // What a node says of itself is not what the state keeps of it.
            let drain = (n % 2 == 0).then(DrainStrategy::default);
            let node = Node {
                id: node_id(*n),
                name: format!("n{n}"),
                rpc_address: format!("10.0.0.{n}:4647"),
                role: NodeRole::Server,
                drain,
                ..Node::default()
            };
            Command::RegisterNode { node: Box::new(node), at }
        }
        Step::Statuses(nodes) => Command::SetNodeStatuses {
            nodes: nodes
                .iter()
                .map(|(n, status)| {
                    (node_id(*n), STATUSES.get(usize::from(*status)).copied().unwrap_or_default())
                })
                .collect(),
            at,
            reason: "not heard of".into(),
            follows: None,
        },
        Step::Eligibility(n, yes) => Command::SetEligibility {
            node: node_id(*n),
            eligibility: if *yes { Eligibility::Eligible } else { Eligibility::Ineligible },
            at,
        },
        Step::Drain { node, on, force, mark } => Command::SetDrain {
            node: node_id(*node),
            drain: on.then(|| DrainStrategy {
                force: *force,
                started_at: at,
                ..DrainStrategy::default()
            }),
            mark_eligible: *mark,
            at,
        },
        Step::Finish { node, stale } => {
            let drain = state.node(node_id(*node)).and_then(|node| node.drain.clone());
            let started_at = if *stale { at } else { drain.unwrap_or_default().started_at };
            Command::FinishDrain { node: node_id(*node), started_at, forced: *stale, at }
        }
        Step::Place(alloc, node) => {
            let place = vec![Allocation {
                id: alloc_id(*alloc),
                job: "a".into(),
                node: node_id(*node),
                ..Allocation::default()
            }];
            Command::ApplyPlan(Box::new(Plan { place, ..plan }))
        }
        Step::Migrate(allocs) => {
            let allocs = allocs.iter().map(|n| alloc_id(*n)).collect();
            Command::MarkMigrate { allocs, at, reason: String::new() }
        }
        Step::Disconnect(alloc) => Command::ApplyPlan(Box::new(Plan {
            disconnect: vec![Disconnected { alloc: alloc_id(*alloc), since: at }],
            ..plan
        })),
        Step::Reconnect(alloc) => {
            Command::ApplyPlan(Box::new(Plan { reconnect: vec![alloc_id(*alloc)], ..plan }))
        }
        Step::Remove(node, secs) => {
            Command::RemoveNode { node: node_id(*node), until: later(state, *secs), at }
        }
        Step::Found(n) => Command::FoundCluster {
            id: n.to_string(),
            ca_certificate: format!("certificate {n}"),
            at,
        },
        Step::Token(id, secs) => Command::PutJoinToken {
            id: id.to_string(),
            secret_hash: SecretHash([*id; 32]),
            expires_at: later(state, *secs),
            at,
        },
        Step::Revoke(id) => Command::RevokeJoinToken { id: id.to_string(), at },
        Step::Collect => Command::CollectGarbage(Garbage {
            join_tokens: (0..3).map(|n| n.to_string()).collect(),
            removed_nodes: (0..4).map(node_id).collect(),
            at,
            ..Garbage::default()
        }),
    }
}

fn apply(state: &mut State, step: &Step) -> Option<Rejection> {
    let command = command(state, step);
    let applied = state.apply(state.index() + 1, &command);
    assert!(applied.rejection.is_none() || applied.events.is_empty(), "{step:?}");
    applied.rejection
}

/// What holds in every state.
fn check(state: &State) {
    for node in state.nodes() {
        assert_eq!(node.draining, node.drain.is_some());
        assert!(!node.draining || node.eligibility == Eligibility::Ineligible, "nothing new comes");
        let last = node.last_drain.as_ref().map(|last| last.status);
        assert_eq!(node.draining, last == Some(DrainStatus::Draining));
        assert!(node.events.len() <= Node::EVENTS);
        assert!(node.events.is_sorted_by_key(|event| event.at));
        assert!(!node.events.is_empty(), "each begins with one");
        assert!(!state.is_removed(node.id), "what was removed is not let in again");
    }
    for alloc in state.allocs().filter(|alloc| alloc.disconnected_at.is_none()) {
        assert_ne!(alloc.client, model::ClientStatus::Unknown, "nobody else says so here");
    }
}

/// What an operator said of each node, and since when its status is what it is.
fn said(state: &State) -> BTreeMap<NodeId, (Eligibility, Option<DrainStrategy>, Timestamp)> {
    let entry = |node: &Node| (node.id, (node.eligibility, node.drain.clone(), node.status_at));
    state.nodes().map(|node| entry(node)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_said_of_nodes_holds(
        before in prop::collection::vec(step(), 0..60),
        after in prop::collection::vec(step(), 0..20),
    ) {
        let mut state = State::default();
        for step in &before {
            let was = state.clone();
            let rejection = apply(&mut state, step);
            check(&state);
            match step {
                Step::Register(n) => {
                    prop_assert_eq!(rejection.is_some(), was.is_removed(node_id(*n)));
                    let Some(old) = was.node(node_id(*n)) else { continue };
                    let new = state.node(node_id(*n)).expect("is there");
                    prop_assert_eq!(old.eligibility, new.eligibility);
                    prop_assert_eq!(&old.drain, &new.drain);
                    prop_assert!(new.events.len() >= old.events.len());
                }
                Step::Statuses(_) => {
                    for (id, (eligibility, drain, _)) in said(&was) {
                        let new = state.node(id).expect("is there");
                        prop_assert_eq!((new.eligibility, &new.drain), (eligibility, &drain));
                        let old = was.node(id).expect("is there");
                        prop_assert_eq!(old.status == new.status, old == new);
                    }
                }
                Step::Found(_) if was.cluster().is_some() => {
                    prop_assert!(rejection.is_some());
                    prop_assert_eq!(was.cluster(), state.cluster());
                }
                Step::Collect => {
                    let at = now(&was);
                    for token in was.join_tokens() {
                        let kept = state.join_token(&token.id).is_some();
                        prop_assert_eq!(kept, token.is_valid(at));
                    }
                    for removed in was.removed_nodes() {
                        prop_assert_eq!(state.is_removed(removed.id), at < removed.until);
                    }
                }
                _ => {}
            }
        }
        let bytes = |state: &State| state.to_bytes().expect("a state has bytes");
        let mut restored = State::from_bytes(&bytes(&state)).expect("it is one");
        for step in &after {
            prop_assert_eq!(apply(&mut restored, step), apply(&mut state, step));
            prop_assert_eq!(bytes(&restored), bytes(&state));
        }
    }
}

#[test]
fn states_and_logs_of_before_are_still_read() {
    /// A node and an allocation as they were first written, by name.
    #[derive(serde::Serialize)]
    struct OldNode {
        id: NodeId,
        name: &'static str,
        status: &'static str,
        draining: bool,
    }
    #[derive(serde::Serialize)]
    enum OldCommand {
        RegisterNode { node: OldNode, at: i64 },
    }
    let node = OldNode { id: node_id(1), name: "n1", status: "ready", draining: false };
    let bytes = rmp_serde::to_vec_named(&OldCommand::RegisterNode { node, at: 5 }).expect("writes");
    let command: Command = rmp_serde::from_slice(&bytes).expect("is read");
    let mut state = State::default();
    assert_eq!(state.apply(1, &command).rejection, None);
    let node = state.node(node_id(1)).expect("is there");
    assert_eq!((node.role, node.rpc_address.as_str()), (NodeRole::Auto, ""));
    #[derive(serde::Serialize)]
    struct OldState {
        format: u32,
        index: u64,
        nodes: Vec<OldNode>,
    }
    let node = OldNode { id: node_id(2), name: "n2", status: "down", draining: false };
    let old = OldState { format: 1, index: 7, nodes: vec![node] };
    let bytes = rmp_serde::to_vec_named(&old).expect("writes");
    let state = State::from_bytes(&bytes).expect("is read");
    assert_eq!(state.node(node_id(2)).map(|node| node.status), Some(NodeStatus::Down));
    assert!(state.cluster().is_none());
}

#[test]
fn a_node_that_is_emptied_is_not_eligible_until_somebody_says_so() {
    let mut state = State::default();
    let apply = |state: &mut State, step: Step| apply(state, &step);
    assert_eq!(apply(&mut state, Step::Register(1)), None);
    let on = Step::Drain { node: 1, on: true, force: false, mark: false };
    assert_eq!(apply(&mut state, on.clone()), None);
    let refused = apply(&mut state, Step::Eligibility(1, true)).expect("is refused");
    assert!(refused.to_string().contains("node drain -disable"), "{refused}");
    assert_eq!(apply(&mut state, Step::Finish { node: 1, stale: false }), None);
    let node = state.node(node_id(1)).expect("is there");
    assert_eq!(node.eligibility, Eligibility::Ineligible);
    let messages: Vec<&str> = node.events.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "Node registered",
            "Node drain strategy set",
            "Node marked as ineligible for scheduling",
            "Node drain complete"
        ]
    );
    assert_eq!(apply(&mut state, on), None);
    let off = Step::Drain { node: 1, on: false, force: false, mark: true };
    assert_eq!(apply(&mut state, off), None);
    let node = state.node(node_id(1)).expect("is there");
    assert!(node.is_ready());
    let last = node.last_drain.as_ref().expect("is known");
    assert_eq!(last.status, DrainStatus::Canceled);
}
