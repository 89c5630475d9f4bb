mod best;

use std::collections::BTreeMap;

use model::{AllocResources, JobId, JobType, LifecycleHook, Node, PortAssignment, Task};

use super::*;
use crate::samples::{node, service};

fn fleet(nodes: impl IntoIterator<Item = Node>) -> Fleet {
    Fleet::of(&state_of(nodes))
}

fn state_of(nodes: impl IntoIterator<Item = Node>) -> State {
    let mut state = State::default();
    for (at, node) in nodes.into_iter().enumerate() {
        let command = state::Command::RegisterNode {
            node: Box::new(node),
            at: model::Timestamp::from_secs(1),
        };
        state.apply(at as u64 + 1, &command);
    }
    state
}

/// Places `count` allocations one after the other.
fn place_all(
    fleet: &mut Fleet,
    job: &model::Job,
    count: u32,
) -> Vec<Result<Spot, PlacementFailure>> {
    let group = &job.task_groups[0];
    let name: Arc<str> = Arc::from(group.name.as_str());
    let candidates = Candidates::new(job, group);
    let mut presence = Presence::default();
    (0..count)
        .map(|ordinal| {
            let request = Request {
                id: alloc_id(job.id.as_str(), 0, &name, 1, ordinal),
                index: ordinal,
                group_name: &name,
                desired: count,
                avoid: &[],
                only: None,
            };
            let spot = fleet.place(&candidates, &presence, &request);
            if let Ok(spot) = &spot {
                presence.enter(spot.node, &name);
            }
            spot
        })
        .collect()
}

#[test]
fn a_full_fleet_says_what_is_exhausted() {
    let mut fleet = fleet([node(1), node(2)]);
    let mut job = service("a", 3);
    job.task_groups[0].tasks[0].resources.memory_mb = 5000;
    let spots = place_all(&mut fleet, &job, 3);
    assert!(spots[0].is_ok() && spots[1].is_ok());
    let failure = spots[2].as_ref().err().expect("there is no room for a third");
    assert_eq!(failure.nodes_evaluated, 2);
    assert_eq!(failure.exhausted["memory"], 2);
    assert_eq!(failure.unplaced, 1);
}

#[test]
fn instances_stay_apart_and_are_explained() {
    let mut fleet = fleet([node(1), node(2), node(3)]);
    let spots = place_all(&mut fleet, &service("a", 3), 3);
    let mut nodes: Vec<NodeId> = spots.iter().flatten().map(|spot| spot.node).collect();
    nodes.sort();
    nodes.dedup();
    assert_eq!(nodes.len(), 3, "anti-affinity spreads them");
    let last = spots[2].as_ref().expect("is placed");
    assert!(last.score.parts.get(model::ScorePart::Binpack).is_some());
    assert!(last.score.parts.get(model::ScorePart::JobAntiAffinity).is_none());
    let best = last.best.as_ref().expect("others are named");
    assert_eq!(best.len(), 3);
    assert_eq!(best[0].node, spots[0].as_ref().expect("is placed").node);
    assert!(best.is_sorted_by(|a, b| a.total >= b.total));
}

#[test]
fn static_ports_are_given_once_per_node() {
    let mut fleet = fleet([node(1), node(2)]);
    let mut job = service("a", 3);
    job.task_groups[0].networks[0].reserved_ports =
        vec![model::Port { label: "fixed".into(), value: 8080, ..model::Port::default() }];
    let spots = place_all(&mut fleet, &job, 3);
    let failure = spots[2].as_ref().err().expect("both nodes give 8080 away");
    assert_eq!(failure.exhausted["network: port 8080 is taken"], 2);
    let ports = &spots[0].as_ref().expect("is placed").resources.ports;
    assert_eq!((&*ports[0].label, ports[0].value), ("fixed", 8080));
    assert!((20_000..=32_000).contains(&ports[1].value));
}

#[test]
fn distinct_constraints_hold_within_a_plan() {
    let racks = (1..=4).map(|n| {
        let mut node = node(n);
        node.meta.insert("rack".into(), format!("r{}", n % 2));
        node
    });
    let mut fleet = fleet(racks);
    let mut job = service("a", 4);
    job.constraints.push(model::Constraint {
        attribute: "${meta.rack}".into(),
        value: "1".into(),
        operator: "distinct_property".into(),
    });
    let spots = place_all(&mut fleet, &job, 3);
    assert_eq!(spots.iter().flatten().count(), 2, "two racks, one each");

    let mut job = service("b", 4);
    job.constraints.push(model::Constraint {
        operator: "distinct_hosts".into(),
        ..model::Constraint::default()
    });
    let spots = place_all(&mut fleet, &job, 5);
    assert_eq!(spots.iter().flatten().count(), 4, "four nodes, one each");
    let failure = spots[4].as_ref().err().expect("no node is left");
    assert_eq!(failure.filtered["distinct_hosts"], 4);
}

#[test]
fn tasks_that_never_overlap_share_their_room() {
    let task = |cpu, hook, sidecar| Task {
        resources: model::Resources { cpu, memory_mb: 10, ..model::Resources::default() },
        lifecycle: Some(model::Lifecycle { hook, sidecar }),
        ..Task::default()
    };
    let mut job = service("a", 1);
    job.task_groups[0].tasks.extend([
        task(500, LifecycleHook::Prestart, false),
        task(50, LifecycleHook::Prestart, true),
        task(70, LifecycleHook::Poststop, false),
    ]);
    let cpu = |job: &Job| Asked::of(job, &job.task_groups[0]).cpu;
    assert_eq!(cpu(&job), 500);
    job.task_groups[0].tasks[0].resources.cpu = 1000;
    assert_eq!(cpu(&job), 1050);
}

#[test]
fn what_is_told_to_stop_holds_its_room_until_it_is_over() {
    let mut state = State::default();
    let host = node(1);
    let register = state::Command::RegisterNode {
        node: Box::new(host.clone()),
        at: model::Timestamp::from_secs(1),
    };
    state.apply(1, &register);
    let alloc = |client, port| Allocation {
        id: alloc_id("x", 0, "web", 1, u32::from(port)),
        job: JobId::from("x"),
        group: Arc::from("web"),
        node: host.id,
        desired: model::DesiredStatus::Stop,
        client,
        resources: AllocResources {
            cpu: 3000,
            ports: vec![PortAssignment { value: port, ..PortAssignment::default() }],
            ..AllocResources::default()
        },
        ..Allocation::default()
    };
    let stopping = alloc(model::ClientStatus::Running, 1000);
    let over = alloc(model::ClientStatus::Complete, 1001);
    let plan =
        state::Plan { basis: 1, place: vec![stopping.clone(), over], ..state::Plan::default() };
    state.apply(2, &state::Command::ApplyPlan(Box::new(plan)));
    let mut fleet = Fleet::of(&state);
    let mut job = crate::samples::of_kind("a", JobType::Service, 1);
    job.task_groups[0].tasks[0].resources.cpu = 2000;
    job.task_groups[0].networks[0].reserved_ports =
        vec![model::Port { label: "p".into(), value: 1001, ..model::Port::default() }];
    let spots = place_all(&mut fleet, &job, 1);
    assert_eq!(spots[0].as_ref().err().expect("is full").exhausted["cpu"], 1);
    let candidates = Candidates::new(&job, &job.task_groups[0]);
    assert!(fleet.fits_after(&candidates, 0, &stopping));
}

#[test]
fn a_volume_for_one_writer_is_given_once_per_node() {
    let mut fleet = fleet([node(1), node(2)]);
    let job = crate::samples::with_volume(service("a", 3), "single-node-single-writer");
    let spots = place_all(&mut fleet, &job, 3);
    assert!(spots[0].is_ok() && spots[1].is_ok());
    let failure = spots[2].as_ref().err().expect("each node has its writer");
    assert_eq!(failure.exhausted["host volume shared has a writer"], 2);
}

#[test]
fn cores_are_given_to_one_task_each() {
    let mut host = node(1);
    host.resources.cores = vec![0, 1, 2, 3];
    let mut fleet = fleet([host]);
    let mut job = service("a", 3);
    job.task_groups[0].tasks[0].resources =
        model::Resources { cpu: 0, cores: 2, memory_mb: 10, ..model::Resources::default() };
    let spots = place_all(&mut fleet, &job, 3);
    let cores = |n: usize| {
        let resources = &spots[n].as_ref().expect("is placed").resources;
        (resources.tasks["web"].cores.clone(), resources.cpu)
    };
    assert_eq!((cores(0), cores(1)), ((vec![0, 1], 2000), (vec![2, 3], 2000)));
    let failure = spots[2].as_ref().err().expect("no core is left");
    assert!(failure.exhausted.contains_key("cpu") || failure.exhausted.contains_key("cores"));
}

#[test]
fn the_spread_algorithm_takes_the_emptiest() {
    let mut state = State::default();
    for n in 1..=3 {
        let mut host = node(n);
        host.resources.cpu = 4000 * u64::from(n);
        let at = model::Timestamp::from_secs(1);
        state.apply(n.into(), &state::Command::RegisterNode { node: Box::new(host), at });
    }
    for (algorithm, cpu) in
        [(model::PlacementAlgorithm::Binpack, 4000), (model::PlacementAlgorithm::Spread, 12_000)]
    {
        let mut fleet = Fleet::of(&state);
        fleet.pass.config.algorithm = algorithm;
        let spots = place_all(&mut fleet, &service("a", 1), 1);
        let chosen = state.node(spots[0].as_ref().expect("is placed").node).expect("is known");
        assert_eq!(chosen.resources.cpu, cpu);
    }
}

#[test]
fn affinities_draw_and_repel() {
    let nodes = (1..=4).map(|n| {
        let mut host = node(n);
        host.class = if n == 3 { "big".into() } else { "small".into() };
        host
    });
    let nodes: Vec<Node> = nodes.collect();
    let affinity = |weight| model::Affinity {
        attribute: "${node.class}".into(),
        value: "big".into(),
        weight,
        ..model::Affinity::default()
    };
    let mut job = service("a", 2);
    job.affinities = vec![affinity(80)];
    let spots = place_all(&mut fleet(nodes.clone()), &job, 1);
    let spot = spots[0].as_ref().expect("is placed");
    assert_eq!(spot.node, nodes[2].id);
    assert_eq!(spot.score.parts.get(model::ScorePart::NodeAffinity), Some(1.0));
    job.affinities = vec![affinity(-80)];
    let spots = place_all(&mut fleet(nodes.clone()), &job, 3);
    assert!(spots.iter().flatten().all(|spot| spot.node != nodes[2].id));
}

#[test]
fn spreads_fill_racks_evenly_or_by_target() {
    let racks = |n: u32| {
        let mut host = node(n);
        // Ten nodes in r0, two in r1, one in r2.
        host.meta.insert(
            "rack".into(),
            ["r0", "r1", "r2"][usize::from(n > 10) + usize::from(n > 12)].into(),
        );
        host
    };
    let nodes: Vec<Node> = (1..=13).map(racks).collect();
    let count = |spots: &[Result<Spot, PlacementFailure>]| {
        let mut counts = BTreeMap::new();
        for spot in spots.iter().flatten() {
            let host = nodes.iter().find(|node| node.id == spot.node).expect("is known");
            *counts.entry(host.meta["rack"].clone()).or_insert(0) += 1;
        }
        counts.into_values().collect::<Vec<i32>>()
    };
    let mut job = service("a", 12);
    job.spreads =
        vec![model::Spread { attribute: "${meta.rack}".into(), ..model::Spread::default() }];
    assert_eq!(count(&place_all(&mut fleet(nodes.clone()), &job, 12)), [4, 4, 4]);
    let target = |value: &str, percent| model::SpreadTarget { value: value.into(), percent };
    job.spreads[0].targets = vec![target("r0", 50), target("r1", 25)];
    assert_eq!(count(&place_all(&mut fleet(nodes.clone()), &job, 12)), [6, 3, 3]);
}

#[test]
fn what_is_taken_back_is_free_again() {
    let mut fleet = fleet((1..=3).map(node));
    let mut job = service("a", 9);
    job.task_groups[0].tasks[0].resources.cpu = 300;
    let told = |spots: Vec<Result<Spot, PlacementFailure>>| {
        let told = spots.into_iter().map(|spot| match spot {
            Ok(spot) => (Some(spot.node), spot.resources, spot.score, None),
            Err(failure) => {
                (None, AllocResources::default(), model::NodeScore::default(), Some(failure))
            }
        });
        told.collect::<Vec<_>>()
    };
    place_all(&mut fleet, &service("before", 2), 2);
    let mark = fleet.mark();
    let first = told(place_all(&mut fleet, &job, 99));
    assert!(first.last().is_some_and(|(node, ..)| node.is_none()), "all is full");
    fleet.back(mark);
    let mark = fleet.mark();
    assert_eq!(told(place_all(&mut fleet, &job, 99)), first, "all that was taken was there again");
    fleet.go_on();
    drop(mark);
    assert!(place_all(&mut fleet, &job, 1)[0].is_err(), "what was not taken back is gone");
}

#[test]
fn each_job_is_told_of_the_limit_that_it_set() {
    let mut fleet = fleet((1..=2).map(node));
    for limit in ["2", "3"] {
        let mut job = service(limit, 1);
        job.constraints.push(model::Constraint {
            attribute: "${meta.nowhere}".into(),
            operator: "distinct_property".into(),
            value: limit.into(),
        });
        let failure = place_all(&mut fleet, &job, 1).remove(0).err().expect("no node has it");
        let reasons: Vec<&String> = failure.filtered.keys().collect();
        assert_eq!(reasons, [&job.constraints[0].to_string()]);
    }
}
