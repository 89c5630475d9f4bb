//! Where something is placed: the node has all of it, for it alone, and meets what is asked.

use std::collections::{BTreeMap, BTreeSet};

use model::{Allocation, Constraint, Node};
use proptest::prelude::*;
use state::{Command, State};

use crate::world::{Now, world};

/// The state with a plan applied, and what the plan placed.
fn placed(mut now: Now) -> (Now, Vec<Allocation>) {
    let plan = now.plan();
    let placed = plan.place.clone();
    assert!(now.apply(&Command::ApplyPlan(Box::new(plan))));
    (now, placed)
}

/// All that holds room on a node: what its node has not reported over, stopped or not.
fn held<'a>(state: &'a State, node: &Node) -> Vec<&'a Allocation> {
    let all = state.allocs_on_node(node.id).map(AsRef::as_ref);
    all.filter(|alloc: &&Allocation| !alloc.client.is_terminal()).collect()
}

fn group<'a>(state: &'a State, alloc: &Allocation) -> Option<&'a model::Group> {
    state.job_version(&alloc.job, alloc.job_version)?.job.group(&alloc.group)
}

/// What the job and the group of an allocation ask: what is distinct over the job, and what over the group.
fn asks(state: &State, alloc: &Allocation) -> Vec<(bool, Constraint)> {
    let version = state.job_version(&alloc.job, alloc.job_version).expect("is known");
    let of_job = version.job.constraints.iter().map(|one| (true, one.clone()));
    let group = version.job.group(&alloc.group).expect("is known");
    of_job.chain(group.constraints.iter().map(|one| (false, one.clone()))).collect()
}

/// The constraints that are asked for here, in their plain meaning.
fn meets(node: &Node, constraint: &Constraint) -> bool {
    let name = constraint.attribute.trim_start_matches("${").trim_end_matches('}');
    let value = node.attribute(name);
    let value = value.as_deref();
    match constraint.operator.as_str() {
        "=" => value == Some(&constraint.value),
        "!=" => value != Some(&constraint.value),
        "is_set" | "distinct_property" => value.is_some(),
        ">" => value.is_some_and(|value| {
            value.parse::<i64>().expect("a number") > constraint.value.parse().expect("a number")
        }),
        "distinct_hosts" => true,
        other => panic!("{other} is not asked for"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_node_is_over_committed(world in world()) {
        let (now, placed) = placed(world.build());
        let nodes: BTreeSet<_> = placed.iter().map(|alloc| alloc.node).collect();
        for id in nodes {
            let node = now.state.node(id).expect("is known");
            prop_assert!(node.is_ready(), "{} takes nothing", node.name);
            let held = held(&now.state, node);
            let sum = |of: fn(&Allocation) -> u64| held.iter().map(|alloc| of(alloc)).sum::<u64>();
            let has = &node.resources;
            prop_assert!(sum(|alloc| alloc.resources.cpu) <= has.cpu, "MHz on {}", node.name);
            prop_assert!(sum(|alloc| alloc.resources.memory_mb) <= has.memory_mb);
            prop_assert!(sum(|alloc| alloc.resources.disk_mb) <= has.disk_mb);
            let (mut cores, mut devices) = (BTreeSet::new(), BTreeSet::new());
            for grant in held.iter().flat_map(|alloc| alloc.resources.tasks.values()) {
                for core in &grant.cores {
                    prop_assert!(cores.insert(*core), "core {core} is given twice");
                }
                for device in &grant.devices {
                    for one in &device.ids {
                        let name = (&device.vendor, &device.kind, &device.name, one);
                        prop_assert!(devices.insert(name), "{:?} is given twice", name);
                    }
                }
            }
        }
        for alloc in &placed {
            let node = now.state.node(alloc.node).expect("is known");
            let group = group(&now.state, alloc).expect("is known");
            for task in &group.tasks {
                let grant = alloc.resources.tasks.get(&task.name).cloned().unwrap_or_default();
                prop_assert_eq!(grant.cores.len() as u64, task.resources.cores);
                let there = &node.resources.cores;
                prop_assert!(grant.cores.iter().all(|core| there.contains(core)));
                let asked: u64 = task.resources.devices.iter().map(|device| device.count).sum();
                let given = grant.devices.iter().flat_map(|device| &device.ids);
                let works = given.filter(|id| {
                    let all = node.resources.devices.iter().flat_map(|make| &make.instances);
                    all.into_iter().any(|one| one.id == **id && one.healthy)
                });
                prop_assert_eq!(works.count() as u64, asked);
            }
        }
    }

    #[test]
    fn a_port_and_a_volume_for_one_writer_are_given_once(world in world()) {
        let (now, placed) = placed(world.build());
        for alloc in &placed {
            let node = now.state.node(alloc.node).expect("is known");
            let others = held(&now.state, node);
            let others = || others.iter().filter(|other| other.id != alloc.id);
            let mut own = BTreeSet::new();
            for port in &alloc.resources.ports {
                prop_assert!(own.insert((&port.host_ip, port.value)));
                prop_assert!(!node.resources.reserved_ports.contains(&port.value));
                let twice = others().flat_map(|other| &other.resources.ports).any(|other| {
                    (&other.host_ip, other.value) == (&port.host_ip, port.value)
                });
                prop_assert!(!twice, "port {} is given twice", port.value);
            }
            let group = group(&now.state, alloc).expect("is known");
            let network = group.network().expect("has a network");
            for fixed in &network.reserved_ports {
                prop_assert_eq!(alloc.port(&fixed.label).map(|port| port.value), Some(fixed.value));
            }
            for volume in group.volumes.values() {
                let source = volume.source_of(alloc.index).into_owned();
                prop_assert!(node.host_volumes.contains_key(&source));
                let writers = others().flat_map(|other| {
                    let group = self::group(&now.state, other);
                    let all = group.into_iter().flat_map(|group| group.volumes.values());
                    all.map(|volume| (volume.source_of(other.index).into_owned(), volume))
                });
                for (_, other) in writers.filter(|(known, other)| *known == source && other.writes()) {
                    let clash = volume.writes() && (volume.excludes_writers() || other.excludes_writers());
                    prop_assert!(!clash, "two write to {} of {}", source, node.name);
                }
            }
        }
    }

    #[test]
    fn what_is_asked_of_a_node_holds_where_something_is_placed(world in world()) {
        let (now, placed) = placed(world.build());
        for alloc in &placed {
            let node = now.state.node(alloc.node).expect("is known");
            for (over_job, constraint) in asks(&now.state, alloc) {
                prop_assert!(meets(node, &constraint), "{} on {:?}", constraint, node);
                let of_job = now.state.allocs_of_job(&alloc.job).filter(|other| {
                    !other.terminal() && (over_job || other.group == alloc.group)
                });
                if constraint.operator == "distinct_hosts" {
                    let there = of_job.filter(|other| other.node == alloc.node).count();
                    prop_assert_eq!(there, 1, "{} share {}", alloc.job, node.name);
                } else if constraint.operator == "distinct_property" {
                    let mut shared: BTreeMap<String, u32> = BTreeMap::new();
                    for other in of_job {
                        let at = now.state.node(other.node);
                        let rack = at.and_then(|node| node.meta.get("rack").cloned());
                        *shared.entry(rack.unwrap_or_default()).or_default() += 1;
                    }
                    let there = shared.get(node.meta.get("rack").expect("is set"));
                    let limit: u32 = constraint.value.parse().expect("a number");
                    prop_assert!(there.is_some_and(|there| *there <= limit), "{:?}", shared);
                }
            }
        }
    }
}
