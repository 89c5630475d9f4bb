//! Whatever is asked and whatever is there: the node that the heaps find is the best of all that will do, when each is
//! looked at for itself, and no node is given more than it has. So it is in the passes after the first, which know the nodes
//! from those before.

use model::{Affinity, Constraint, Node, Port, Spread, SpreadTarget};
use proptest::prelude::*;

use super::*;

/// A fleet and what is asked of it, in small numbers, so that nodes are alike and full.
#[derive(Clone, Debug)]
struct Case {
    nodes: Vec<(u8, u8, u8, bool)>,
    cpu: u64,
    memory: u64,
    fixed_port: bool,
    constraint: Option<u8>,
    affinities: Vec<(u8, i8)>,
    spread: Option<Vec<(u8, u8)>>,
    second_spread: bool,
    distinct: Option<u8>,
    empties_first: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Place {
        avoid: Option<u8>,
        only: Option<u8>,
    },
    /// The n-th that was placed no longer counts.
    Leave(u8),
    /// Another job takes room.
    Other(u8),
    /// Another pass begins: of what was placed only so much is there for good.
    Pass(u8),
    /// A node takes something or does not, or is another machine, as the next pass sees.
    Changes(u8, (u8, u8, u8, bool)),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::option::weighted(0.2, 0_u8..12), prop::option::weighted(0.1, 0_u8..12))
            .prop_map(|(avoid, only)| Step::Place { avoid, only }),
        1 => (0_u8..20).prop_map(Step::Leave),
        1 => (0_u8..12).prop_map(Step::Other),
        1 => (0_u8..8).prop_map(Step::Pass),
        1 => (0_u8..12, machine()).prop_map(|(n, machine)| Step::Changes(n, machine)),
    ]
}

/// Rack, class, size, and whether it takes anything.
fn machine() -> impl Strategy<Value = (u8, u8, u8, bool)> {
    (0_u8..3, 0_u8..3, 1_u8..4, prop::bool::weighted(0.9))
}

prop_compose! {
    fn case()(
        nodes in prop::collection::vec(machine(), 1..12),
        cpu in 100_u64..900,
        memory in 100_u64..1500,
        fixed_port in prop::bool::weighted(0.2),
        constraint in prop::option::weighted(0.3, 0_u8..3),
        affinities in prop::collection::vec((0_u8..3, prop_oneof![-100_i8..0, 1_i8..=100]), 0..3),
        spread in prop::option::weighted(0.6, prop::collection::vec((0_u8..4, 0_u8..40), 0..3)),
        second_spread in prop::bool::weighted(0.3),
        distinct in prop::option::weighted(0.3, 0_u8..3),
        empties_first in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) -> Case {
        Case {
            nodes, cpu, memory, fixed_port, constraint, affinities, spread, second_spread, distinct,
            empties_first, steps,
        }
    }
}

fn built(n: u32, (rack, class, size, ready): (u8, u8, u8, bool)) -> Node {
    let mut host = node(n);
    host.meta.insert("rack".into(), format!("r{rack}"));
    host.class = format!("c{class}");
    host.resources.cpu = 1000 * u64::from(size);
    host.resources.memory_mb = 2000;
    if !ready {
        host.eligibility = model::Eligibility::Ineligible;
    }
    host
}

fn job(case: &Case) -> Job {
    let mut job = service("a", 9);
    let group = &mut job.task_groups[0];
    group.tasks[0].resources.cpu = case.cpu;
    group.tasks[0].resources.memory_mb = case.memory;
    if case.fixed_port {
        let port = Port { label: "p".into(), value: 8080, ..Port::default() };
        group.networks[0].reserved_ports = vec![port];
    }
    if let Some(class) = case.constraint {
        job.constraints.push(Constraint {
            attribute: "${node.class}".into(),
            operator: "!=".into(),
            value: format!("c{class}"),
        });
    }
    job.affinities = case
        .affinities
        .iter()
        .map(|(class, weight)| Affinity {
            attribute: "${node.class}".into(),
            value: format!("c{class}"),
            weight: *weight,
            ..Affinity::default()
        })
        .collect();
    if let Some(targets) = &case.spread {
        let target = |(rack, percent): &(u8, u8)| SpreadTarget {
            value: format!("r{rack}"),
            percent: *percent,
        };
        job.spreads.push(Spread {
            attribute: "${meta.rack}".into(),
            weight: 70,
            targets: targets.iter().map(target).collect(),
        });
    }
    if case.second_spread {
        job.spreads.push(Spread { attribute: "${node.unique.name}".into(), ..Spread::default() });
    }
    match case.distinct {
        Some(0) => job
            .constraints
            .push(Constraint { operator: "distinct_hosts".into(), ..Constraint::default() }),
        Some(limit) => job.constraints.push(Constraint {
            attribute: "${meta.rack}".into(),
            operator: "distinct_property".into(),
            value: limit.to_string(),
        }),
        None => {}
    }
    job
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_best_of_all_is_found(case in case()) {
        let nodes: Vec<Node> = (0..).zip(&case.nodes).map(|(n, of)| built(n, *of)).collect();
        let mut state = state_of(nodes.clone());
        let mut fleet = Fleet::of(&state);
        if case.empties_first {
            fleet.pass.config.algorithm = model::PlacementAlgorithm::Spread;
        }
        let (job, other) = (job(&case), service("other", 1));
        let group: Arc<str> = Arc::from("web");
        let mut candidates = Candidates::new(&job, &job.task_groups[0]);
        let mut others = Candidates::new(&other, &other.task_groups[0]);
        let mut presence = Presence::default();
        let mut placed: Vec<(NodeId, AllocResources)> = Vec::new();
        for (ordinal, step) in case.steps.iter().enumerate() {
            let node_of = |n: u8| nodes.get(usize::from(n)).map(|node| node.id);
            let avoid: Vec<NodeId>;
            let mut request = Request {
                id: alloc_id("a", 0, "web", 1, ordinal as u32),
                index: ordinal as u32,
                group_name: &group,
                desired: 9,
                avoid: &[],
                only: None,
            };
            match step {
                Step::Leave(n) => {
                    if !placed.is_empty() {
                        let (node, _) = placed.remove(usize::from(*n) % placed.len());
                        presence.leave(node, &group);
                    }
                    continue;
                }
                Step::Pass(kept) => {
                    placed.truncate(usize::from(*kept));
                    carry_out(&mut state, ordinal, &placed);
                    (presence, placed) = (Presence::default(), Vec::new());
                    candidates = Candidates::new(&job, &job.task_groups[0]);
                    others = Candidates::new(&other, &other.task_groups[0]);
                    fleet.rest();
                    fleet.begin(&state);
                    if case.empties_first {
                        fleet.pass.config.algorithm = model::PlacementAlgorithm::Spread;
                    }
                    continue;
                }
                Step::Changes(n, machine) => {
                    if let Some(id) = node_of(*n) {
                        let host = built(u32::from(*n), *machine);
                        let (eligibility, at) = (host.eligibility, model::Timestamp::from_secs(2));
                        let joins = state::Command::RegisterNode { node: Box::new(host), at };
                        state.apply(state.index() + 1, &joins);
                        let says = state::Command::SetEligibility { node: id, eligibility, at };
                        state.apply(state.index() + 1, &says);
                    }
                    continue;
                }
                Step::Other(n) => {
                    request.only = node_of(*n);
                    let _ = fleet.place(&others, &Presence::default(), &request);
                    continue;
                }
                Step::Place { avoid: penalised, only } => {
                    avoid = penalised.and_then(node_of).into_iter().collect();
                    request.avoid = &avoid;
                    request.only = only.and_then(node_of);
                }
            }
            let expected = anew(&mut fleet, &job, &presence, &request);
            let found = fleet.place(&candidates, &presence, &request);
            match (&found, expected) {
                (Ok(spot), Some((node, total))) => {
                    prop_assert_eq!(spot.node, node);
                    prop_assert_eq!(spot.score.total, total);
                    presence.enter(spot.node, &group);
                    placed.push((spot.node, spot.resources.clone()));
                }
                (Err(failure), None) => {
                    let counted: u32 =
                        failure.filtered.values().chain(failure.exhausted.values()).sum();
                    prop_assert_eq!(counted, failure.nodes_evaluated, "each node has its reason");
                }
                (found, expected) => {
                    let found = found.as_ref().map(|spot| spot.node);
                    prop_assert!(false, "found {found:?}, and {expected:?} is best");
                }
            }
            for at in 0..nodes.len() {
                let (host, load) =
                    fleet.columns.nodes.get(at).zip(fleet.columns.load(at)).expect("is there");
                // One that came back as another machine may bear more than it has now.
                let there = state.load(host.id).map(|load| load.cpu).unwrap_or_default();
                prop_assert!(load.cpu <= host.resources.cpu.max(there));
                prop_assert!(load.memory_mb <= host.resources.memory_mb);
                prop_assert!(load.ports.taken.is_sorted_by(|a, b| a < b), "each port once");
            }
        }
    }
}

/// The state with what was placed there for good.
fn carry_out(state: &mut State, pass: usize, placed: &[(NodeId, AllocResources)]) {
    let place = (0..).zip(placed).map(|(n, (node, resources))| Allocation {
        id: alloc_id("placed", pass as u64, "web", 1, n),
        node: *node,
        resources: resources.clone(),
        ..Allocation::default()
    });
    let plan =
        state::Plan { basis: state.index(), place: place.collect(), ..state::Plan::default() };
    let applied = state.apply(state.index() + 1, &state::Command::ApplyPlan(Box::new(plan)));
    assert_eq!(applied.rejection, None);
}

/// The best node and its score when everything is worked out anew and each node is looked at for itself.
fn anew(
    fleet: &mut Fleet,
    job: &Job,
    presence: &Presence,
    request: &Request<'_>,
) -> Option<(NodeId, f64)> {
    fleet.fill();
    let asked = Arc::new(Asked::of(job, &job.task_groups[0]));
    let mut ranking = Ranking::of(&fleet.columns, &asked, fleet.pass.config.algorithm);
    let mut own = Own::new(1, &fleet.columns, &asked, &ranking, request.desired);
    own.catch_up(&fleet.columns, &mut ranking, presence, request.group_name);
    own.avoided = fleet.numbers(request.avoid);
    let all: Vec<usize> = match request.only {
        Some(only) => fleet.columns.find(only).into_iter().collect(),
        None => ranking.feasible().collect(),
    };
    let at = scan(&fleet.columns, &ranking, &own, &asked, request, all.into_iter())?.at;
    let standing = own.standing(&fleet.columns, &ranking, at);
    Some((*fleet.columns.ids.get(at)?, standing.total()))
}
