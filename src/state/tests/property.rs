//! Whatever comes in whatever order: nothing panics, a snapshot loses nothing, and what is counted can be counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    AllocHealth, AllocId, AllocReport, AllocResources, Allocation, ClientStatus, Deployment,
    DeploymentGroup, DeploymentId, DeploymentStatus, DesiredStatus, Diagnostic, EvalId, Evaluation,
    Job, JobId, Node, NodeId, NodeStatus, PlacementAlgorithm, PortAssignment, SchedulerConfig,
    TaskGrant, Timestamp, seeded_uuid,
};
use proptest::prelude::*;
use state::{
    Applied, Command, DeploymentChange, FileOutcome, Garbage, InPlaceUpdate, JobSubmission,
    NodeLoad, Plan, Revert, State, StopAlloc, TakeRevision,
};

/// A command in small numbers, so that commands meet each other.
#[derive(Clone, Debug)]
enum Step {
    Node(u8),
    NodeStatus(u8, bool),
    Take { repo: u8, stale: bool, partial: bool, abandoned: bool, files: Vec<(u8, u8, u8, u8)> },
    Plan { lag: u8, place: Vec<(u8, u8, u8)>, stop: Vec<u8>, update: Vec<(u8, u8)>, job: u8 },
    Change { deployment: u8, status: u8, promote: bool, stable: (u8, u8), revert: (u8, u8, u8) },
    Report(Vec<(u8, u8, Option<bool>)>),
    Promote(u8),
    Fail(u8),
    Approve(u8, Option<u8>),
    Scheduler { spread: bool, if_index: Option<bool> },
    Collect(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let small = 0_u8..4;
    let alloc = 0_u8..12;
    prop_oneof![
        small.clone().prop_map(Step::Node),
        (small.clone(), any::<bool>()).prop_map(|(node, up)| Step::NodeStatus(node, up)),
        (
            0_u8..2,
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.2),
            prop::bool::weighted(0.2),
            prop::collection::vec((small.clone(), 0_u8..6, small.clone(), 0_u8..3), 0..4)
        )
            .prop_map(|(repo, stale, partial, abandoned, files)| Step::Take {
                repo,
                stale,
                partial,
                abandoned,
                files
            }),
        (
            0_u8..3,
            prop::collection::vec((alloc.clone(), small.clone(), small.clone()), 0..4),
            prop::collection::vec(alloc.clone(), 0..3),
            prop::collection::vec((alloc.clone(), small.clone()), 0..3),
            small.clone()
        )
            .prop_map(|(lag, place, stop, update, job)| Step::Plan {
                lag,
                place,
                stop,
                update,
                job
            }),
        (
            0_u8..16,
            0_u8..6,
            any::<bool>(),
            (small.clone(), small.clone()),
            (small.clone(), small.clone(), small.clone())
        )
            .prop_map(|(deployment, status, promote, stable, revert)| Step::Change {
                deployment,
                status,
                promote,
                stable,
                revert
            }),
        prop::collection::vec((alloc, 0_u8..6, any::<Option<bool>>()), 1..4).prop_map(Step::Report),
        (0_u8..16).prop_map(Step::Promote),
        (0_u8..16).prop_map(Step::Fail),
        (0_u8..2, prop::option::of(small)).prop_map(|(repo, job)| Step::Approve(repo, job)),
        (any::<bool>(), any::<Option<bool>>())
            .prop_map(|(spread, if_index)| Step::Scheduler { spread, if_index }),
        prop::collection::vec(0_u8..16, 0..6).prop_map(Step::Collect),
    ]
}

fn node_id(n: u8) -> NodeId {
    NodeId::new(seeded_uuid(&[b"node", &[n]]))
}

fn alloc_id(n: u8) -> AllocId {
    AllocId::new(seeded_uuid(&[b"alloc", &[n]]))
}

fn deployment_id(n: u8) -> DeploymentId {
    DeploymentId::new(seeded_uuid(&[b"deployment", &[n]]))
}

fn job_id(n: u8) -> JobId {
    format!("j{n}").into()
}

fn job(id: u8, content: u8) -> Arc<Job> {
    Arc::new(Job { id: job_id(id), priority: content.into(), ..Job::default() })
}

fn outcome((_, kind, id, content): (u8, u8, u8, u8)) -> FileOutcome {
    let blob = format!("{id}-{content}").into();
    match kind {
        0..=1 => FileOutcome::Job {
            blob,
            submission: JobSubmission { job: job(id, content) },
            problems: Vec::new(),
        },
        2 => {
            let both = [job(id, content), job((id + 1) % 4, content)];
            let submissions = both.map(|job| JobSubmission { job }).into();
            FileOutcome::declaring(blob, submissions, Vec::new())
        }
        3 => FileOutcome::Broken {
            blob,
            problems: vec![Diagnostic::file_error("syntax", "x", "bad", "mend it")],
        },
        4 => FileOutcome::Removed,
        _ => match content {
            0 => FileOutcome::Forgotten,
            _ => FileOutcome::RemovalHeld,
        },
    }
}

fn plan(state: &State, at: Timestamp) -> Plan {
    Plan { basis: state.index(), at, ..Plan::default() }
}

fn command(state: &State, step: &Step) -> Command {
    let at = Timestamp::from_secs(i64::try_from(state.index()).unwrap_or(0) + 1);
    match step {
        Step::Node(n) => {
            let node = Node { id: node_id(*n), name: format!("n{n}"), ..Node::default() };
            Command::RegisterNode { node: Box::new(node), at }
        }
        Step::NodeStatus(n, up) => {
            let status = if *up { NodeStatus::Ready } else { NodeStatus::Down };
            Command::SetNodeStatus { node: node_id(*n), status, at }
        }
        Step::Take { repo, stale, partial, abandoned, files } => {
            let name = format!("r{repo}");
            let head = state.repo(&name).and_then(|record| record.head.clone());
            let files: BTreeMap<_, _> =
                files.iter().map(|file| (format!("f{}", file.0), outcome(*file))).collect();
            Command::TakeRevision(Box::new(TakeRevision {
                repo: name,
                expected_head: if *stale { Some("other".into()) } else { head },
                commit: format!("c{}", state.index() / 3).into(),
                files,
                partial: *partial,
                abandoned: abandoned.then(|| format!("r{}", 1 - repo)).into_iter().collect(),
                at,
                ..TakeRevision::default()
            }))
        }
        Step::Plan { lag, place, stop, update, job } => {
            let version = |id: &JobId| {
                state.job(id).and_then(|record| Some(record.current()?.version)).unwrap_or(0)
            };
            let group = DeploymentGroup { desired_canaries: 1, ..DeploymentGroup::default() };
            let deployment = Deployment {
                id: deployment_id(*job),
                job: job_id(*job),
                job_version: version(&job_id(*job)),
                groups: [("g".to_owned(), group)].into(),
                ..Deployment::default()
            };
            let place = place.iter().map(|(id, node, owner)| Allocation {
                id: alloc_id(*id),
                job: job_id(*owner),
                job_version: version(&job_id(*owner)),
                group: "g".into(),
                node: node_id(*node),
                deployment: (owner == job).then(|| deployment_id(*job)),
                canary: id % 3 == 0,
                resources: resources(*id),
                ..Allocation::default()
            });
            let stop = stop.iter().map(|id| StopAlloc {
                alloc: alloc_id(*id),
                description: "enough".into(),
                client: (id % 4 == 0).then_some(ClientStatus::Lost),
                next: (id % 2 == 0).then(|| alloc_id(id + 1)),
                evicted_for: (id % 5 == 0).then(|| job_id(1)),
                idle: id % 3 == 0,
            });
            let update = update.iter().map(|(id, version)| InPlaceUpdate {
                alloc: alloc_id(*id),
                job_version: (*version).into(),
                eval: EvalId::default(),
                deployment: Some(deployment_id(*job)),
            });
            let evaluation = Evaluation {
                id: EvalId::new(seeded_uuid(&[b"eval", &[*job]])),
                job: job_id(*job),
                ..Evaluation::default()
            };
            Command::ApplyPlan(Box::new(Plan {
                basis: state.index().saturating_sub((*lag).into()),
                place: place.collect(),
                stop: stop.collect(),
                update: update.collect(),
                deployments: vec![deployment],
                evaluations: vec![evaluation],
                ..plan(state, at)
            }))
        }
        Step::Change { deployment, status, promote, stable, revert } => {
            let statuses = [
                DeploymentStatus::Running,
                DeploymentStatus::Paused,
                DeploymentStatus::Failed,
                DeploymentStatus::Successful,
                DeploymentStatus::Cancelled,
            ];
            let change = DeploymentChange {
                id: deployment_id(*deployment),
                status: statuses.get(usize::from(*status)).copied(),
                description: None,
                promote: promote.then(|| "g".to_owned()).into_iter().collect(),
            };
            let revert =
                Revert { job: job_id(revert.0), from: revert.1.into(), to: revert.2.into() };
            Command::ApplyPlan(Box::new(Plan {
                deployment_changes: vec![change],
                stable: vec![(job_id(stable.0), stable.1.into())],
                reverts: vec![revert],
                ..plan(state, at)
            }))
        }
        Step::Report(reports) => {
            let clients = [
                ClientStatus::Pending,
                ClientStatus::Running,
                ClientStatus::Complete,
                ClientStatus::Failed,
                ClientStatus::Lost,
                ClientStatus::Unknown,
            ];
            let updates = reports.iter().map(|(id, client, healthy)| AllocReport {
                alloc: alloc_id(*id),
                client: clients.get(usize::from(*client)).copied().unwrap_or_default(),
                health: healthy.map(|healthy| AllocHealth { healthy, at, reason: "".into() }),
                deployment: state.alloc(alloc_id(*id)).and_then(|alloc| alloc.deployment),
                ..AllocReport::default()
            });
            Command::UpdateAllocs { updates: updates.collect(), at }
        }
        Step::Promote(n) => {
            Command::Promote { deployment: deployment_id(*n), groups: Vec::new(), at }
        }
        Step::Fail(n) => Command::FailDeployment { deployment: deployment_id(*n), at },
        Step::Approve(repo, job) => Command::ApproveRemovals {
            repo: format!("r{repo}"),
            jobs: job.map(job_id).into_iter().collect(),
            at,
        },
        Step::Scheduler { spread, if_index } => Command::SetSchedulerConfig {
            config: SchedulerConfig {
                algorithm: if *spread {
                    PlacementAlgorithm::Spread
                } else {
                    PlacementAlgorithm::Binpack
                },
                // What a client says of them counts for nothing.
                modify_index: 7,
                ..SchedulerConfig::default()
            },
            if_index: if_index
                .map(|right| state.scheduler_config().modify_index + if right { 0 } else { 1 }),
        },
        Step::Collect(ids) => Command::CollectGarbage(Garbage {
            allocs: ids.iter().map(|id| alloc_id(*id)).collect(),
            evaluations: ids
                .iter()
                .map(|id| EvalId::new(seeded_uuid(&[b"eval", &[*id]])))
                .collect(),
            deployments: ids.iter().map(|id| deployment_id(*id)).collect(),
            jobs: ids.iter().map(|id| job_id(*id)).collect(),
            ..Garbage::default()
        }),
    }
}

fn resources(id: u8) -> AllocResources {
    AllocResources {
        cpu: u64::from(id) + 1,
        memory_mb: 1,
        disk_mb: 2,
        ports: vec![PortAssignment {
            value: u16::from(id % 3),
            host_network: id.is_multiple_of(2).then(|| "lan".into()),
            ..PortAssignment::default()
        }],
        tasks: [("t".to_owned(), TaskGrant { cores: vec![u16::from(id)], ..TaskGrant::default() })]
            .into(),
    }
}

fn bytes(state: &State) -> Vec<u8> {
    state.to_bytes().expect("a state has bytes")
}

/// Everything that is found by something else than its ID.
fn lookups(state: &State) -> impl PartialEq + std::fmt::Debug {
    let jobs: Vec<_> = (0..4)
        .map(|n| {
            let id = job_id(n);
            let allocs: Vec<AllocId> = state.allocs_of_job(&id).map(|alloc| alloc.id).collect();
            let deployments: Vec<DeploymentId> =
                state.deployments_of_job(&id).map(|deployment| deployment.id).collect();
            let evaluations: Vec<EvalId> =
                state.evaluations_of_job(&id).map(|evaluation| evaluation.id).collect();
            (allocs, deployments, evaluations, state.job_status(&id))
        })
        .collect();
    let nodes: Vec<Vec<AllocId>> =
        (0..4).map(|n| state.allocs_on_node(node_id(n)).map(|alloc| alloc.id).collect()).collect();
    let loads: Vec<_> = (0..4).map(|n| state.load(node_id(n)).cloned()).collect();
    let classes: Vec<_> = (0..4).map(|n| state.node_class(node_id(n))).collect();
    let reports: Vec<_> =
        state.revisions().map(|revision| state.revision_report(revision)).collect();
    (jobs, nodes, loads, classes, reports, *state.scheduler_config())
}

/// What holds in every state.
fn check(state: &State) {
    let mut found = state.allocs().count();
    for n in 0..4 {
        found -= state.allocs_of_job(&job_id(n)).count();
    }
    assert_eq!(found, 0, "each allocation is found by its job");
    for n in 0..4 {
        let mut load = NodeLoad::default();
        for alloc in state.allocs_on_node(node_id(n)).filter(|alloc| !alloc.client.is_terminal()) {
            load.hold(&alloc.resources);
        }
        let known = state.load(node_id(n)).map(|load| NodeLoad::clone(load)).unwrap_or_default();
        let numbers = |load: &NodeLoad| (load.allocs, load.cpu, load.memory_mb, load.disk_mb);
        assert_eq!(numbers(&known), numbers(&load), "a load is what is there");
        assert_eq!((known.ports.taken, known.cores), (load.ports.taken, load.cores));
    }
    for deployment in state.deployments().filter(|deployment| deployment.status.is_active()) {
        for (name, group) in &deployment.groups {
            let healthy = state
                .allocs_of_job(&deployment.job)
                .filter(|alloc| alloc.deployment == Some(deployment.id) && *alloc.group == **name)
                .filter(|alloc| alloc.is_healthy() && !alloc.terminal())
                .count();
            assert_eq!(group.healthy as usize, healthy, "healthy is what is there");
        }
    }
    let mut declared: BTreeMap<&JobId, &str> = BTreeMap::new();
    for repo in state.repos() {
        for file in repo.files.values().filter(|file| !file.removal_held) {
            for job in &file.jobs {
                let owner = declared.entry(job).or_insert(&repo.name);
                assert_eq!(*owner, repo.name, "a job belongs to one repository");
            }
        }
    }
    let named = |job: &JobId| {
        let mut files = state.repos().flat_map(|repo| repo.files.values());
        files.any(|file| file.jobs.contains(job))
    };
    for record in state.jobs() {
        assert!(record.stopped || named(&record.id), "what runs is declared, or held");
        let mut numbers = record.versions.iter().map(|version| version.version);
        assert!(numbers.next().is_some(), "there is a version");
        assert!(record.versions.is_sorted_by_key(|version| version.version));
        assert!(record.versions.len() <= state::TRACKED_VERSIONS + 13);
    }
}

/// An allocation that was over.
fn ended(state: &State) -> Vec<AllocId> {
    state.allocs().filter(|alloc| alloc.client.is_terminal()).map(|alloc| alloc.id).collect()
}

fn apply(state: &mut State, step: &Step) -> Applied {
    let command = command(state, step);
    state.apply(state.index() + 1, &command)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_loses_nothing(
        before in prop::collection::vec(step(), 0..60),
        after in prop::collection::vec(step(), 0..30),
    ) {
        let mut state = State::default();
        for step in &before {
            let (was, over) = (bytes(&state), ended(&state));
            let stopped: Vec<AllocId> = state
                .allocs()
                .filter(|alloc| alloc.desired != DesiredStatus::Run)
                .map(|alloc| alloc.id)
                .collect();
            let applied = apply(&mut state, step);
            if applied.rejection.is_some() {
                prop_assert!(applied.events.is_empty(), "{step:?}");
                let mut same = State::from_bytes(&was).expect("it was one");
                // A command that changes nothing, to bring the index up.
                same.apply(state.index(), &Command::CollectGarbage(Garbage::default()));
                prop_assert_eq!(bytes(&same), bytes(&state), "{:?} changes nothing", step);
            }
            check(&state);
            for id in over {
                prop_assert!(state.alloc(id).is_none_or(|alloc| alloc.client.is_terminal()));
            }
            for id in stopped {
                prop_assert!(
                    state.alloc(id).is_none_or(|alloc| alloc.desired != DesiredStatus::Run)
                );
            }
        }
        let mut restored = State::from_bytes(&bytes(&state)).expect("it is one");
        prop_assert_eq!(bytes(&restored), bytes(&state));
        prop_assert_eq!(lookups(&restored), lookups(&state));
        for step in &after {
            prop_assert_eq!(apply(&mut restored, step), apply(&mut state, step));
            prop_assert_eq!(bytes(&restored), bytes(&state));
        }
        prop_assert_eq!(lookups(&restored), lookups(&state));
    }
}
