//! Rolling updates: batches, the gate, failure and going back.

use std::time::Duration;

use evaluator::evaluate;
use model::{ClientStatus, DeploymentStatus, EvalTrigger, Job, JobId, Port};
use state::Command;

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{node, service};

fn rolling(count: u32, max_parallel: u32, auto_revert: bool) -> Job {
    let mut job = service("web", count);
    let update = job.task_groups[0].update.as_mut().expect("has updates");
    update.max_parallel = max_parallel;
    update.auto_revert = auto_revert;
    job
}

#[test]
fn a_first_version_is_placed_whole_and_proven() {
    let mut cluster = Cluster::new(3);
    cluster.commit(&rolling(4, 1, false));
    cluster.run(10);
    assert_eq!(cluster.serving("web"), 4);
    let deployment = cluster.deployment("web");
    assert_eq!(deployment.status, DeploymentStatus::Successful);
    assert_eq!(deployment.description, "Deployment completed successfully");
    let record = cluster.state.job(&JobId::from("web")).expect("is known");
    assert!(record.current().expect("has a version").stable);
    assert_eq!(cluster.state.evaluations().count(), 2, "one to place, one to conclude");
}

#[test]
fn good_versions_never_cost_more_than_a_batch() {
    for count in 1..=5u32 {
        for max_parallel in 1..=3 {
            for tight in [false, true] {
                let nodes = (1..=count).map(|n| {
                    let mut node = node(n);
                    if tight {
                        node.resources.cpu = 150;
                    }
                    node
                });
                let mut cluster = Cluster::of(nodes);
                let job = rolling(count, max_parallel, true);
                cluster.commit(&with(job.clone(), Mode::Good, 1));
                cluster.run(10);
                assert_eq!(cluster.serving("web"), count as usize);
                cluster.watch();
                cluster.commit(&with(job, Mode::Good, 2));
                cluster.run(60);
                let context = format!("count {count}, {max_parallel} at a time, tight {tight}");
                assert_eq!(cluster.versions("web"), vec![1; count as usize], "{context}");
                assert_eq!(cluster.serving("web"), count as usize, "{context}");
                let floor = count.saturating_sub(max_parallel) as usize;
                assert!(cluster.lowest[&JobId::from("web")] >= floor, "{context}");
                assert_eq!(cluster.deployment("web").status, DeploymentStatus::Successful);
            }
        }
    }
}

#[test]
fn a_static_port_on_the_only_node_is_handed_over() {
    let mut cluster = Cluster::new(1);
    let mut job = rolling(1, 1, false);
    job.task_groups[0].networks[0].reserved_ports =
        vec![Port { label: "fixed".into(), value: 8080, ..Port::default() }];
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(15);
    assert_eq!(cluster.versions("web"), [1]);
    let alloc = &cluster.running("web")[0];
    assert_eq!(alloc.port("fixed").map(|port| port.value), Some(8080));
    assert!(alloc.previous.is_some(), "it knows what it replaces");
    let blocked = cluster.state.evaluations().any(|evaluation| !evaluation.failures.is_empty());
    assert!(!blocked, "waiting for the old one is no failure");
}

#[test]
fn a_bad_version_stops_after_its_first_batch_and_goes_back() {
    for mode in [Mode::Crash, Mode::Sick] {
        for max_parallel in [1, 2] {
            let mut cluster = Cluster::new(4);
            let job = rolling(6, max_parallel, true);
            cluster.commit(&with(job.clone(), Mode::Good, 1));
            cluster.run(10);
            cluster.watch();
            cluster.commit(&with(job, mode, 2));
            cluster.run(60);
            assert_eq!(cluster.placed_of("web", 1), max_parallel as usize, "{mode:?}");
            assert_eq!(cluster.versions("web"), vec![2; 6], "{mode:?}");
            assert_eq!(cluster.serving("web"), 6);
            assert!(cluster.lowest[&JobId::from("web")] >= 6 - max_parallel as usize);
            let web = JobId::from("web");
            let record = cluster.state.job(&web).expect("is known");
            assert_eq!(record.current().expect("has a version").reverts_to, Some(0));
            let deployments: Vec<_> = cluster.state.deployments_of_job(&web).collect();
            assert_eq!(deployments[0].status, DeploymentStatus::Successful);
            assert_eq!(deployments[0].reverts, Some(1));
            let failed = deployments[1];
            assert_eq!(failed.status, DeploymentStatus::Failed);
            let start = "Failed due to unhealthy allocations - rolling back to job version 0: ";
            assert!(failed.description.starts_with(start), "{}", failed.description);
            let reason =
                if mode == Mode::Crash { "exited with 1" } else { "check \"alive\" is critical" };
            assert!(failed.description.ends_with(reason), "{}", failed.description);
        }
    }
}

#[test]
fn a_first_version_that_fails_has_nothing_to_go_back_to() {
    let mut cluster = Cluster::new(2);
    cluster.commit(&with(rolling(2, 1, true), Mode::Sick, 1));
    cluster.run(30);
    let deployment = cluster.deployment("web");
    assert_eq!(deployment.status, DeploymentStatus::Failed);
    assert!(deployment.description.contains("no stable job version to auto revert to"));
    assert_eq!(cluster.state.job(&JobId::from("web")).expect("is known").versions.len(), 1);
}

#[test]
fn without_going_back_it_fails_at_its_deadline_and_stays() {
    let mut cluster = Cluster::new(3);
    let mut job = rolling(3, 1, false);
    let update = job.task_groups[0].update.as_mut().expect("has updates");
    update.progress_deadline = Duration::from_secs(30);
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    cluster.commit(&with(job, Mode::Sick, 2));
    cluster.run(20);
    assert_eq!(cluster.deployment("web").status, DeploymentStatus::Running);
    cluster.run(20);
    let deployment = cluster.deployment("web");
    assert_eq!(deployment.status, DeploymentStatus::Failed);
    assert!(deployment.description.starts_with("Failed due to progress deadline: group \"web\""));
    assert_eq!(cluster.versions("web"), [0, 0, 1], "nothing more of it starts");
    // What is lost comes back as it was.
    let lost = cluster
        .running("web")
        .iter()
        .find(|alloc| alloc.job_version == 0)
        .map(|alloc| alloc.node)
        .expect("an old one runs");
    let n = (1..=3).find(|n| node(*n).id == lost).expect("is a node");
    let there = cluster.running("web").iter().filter(|alloc| alloc.node == lost).count();
    cluster.node_down(n);
    cluster.run(10);
    assert_eq!(cluster.running("web").len(), 3, "{there} were lost");
    assert_eq!(cluster.versions("web"), [0, 0, 1]);
}

#[test]
fn a_zero_deadline_fails_on_the_first_unhealthy_allocation() {
    let mut cluster = Cluster::new(3);
    let mut job = rolling(3, 1, false);
    job.task_groups[0].update.as_mut().expect("has updates").progress_deadline = Duration::ZERO;
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    assert_eq!(cluster.deployment("web").status, DeploymentStatus::Successful);
    cluster.commit(&with(job, Mode::Sick, 2));
    cluster.run(12);
    assert_eq!(cluster.deployment("web").status, DeploymentStatus::Failed);
}

#[test]
fn a_newer_version_overtakes() {
    let mut cluster = Cluster::new(4);
    let job = rolling(4, 1, false);
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    cluster.watch();
    cluster.commit(&with(job.clone(), Mode::Sick, 2));
    cluster.run(10);
    cluster.commit(&with(job, Mode::Good, 3));
    cluster.run(60);
    assert_eq!(cluster.versions("web"), [2, 2, 2, 2]);
    assert_eq!(cluster.placed_of("web", 1), 1);
    assert!(cluster.lowest[&JobId::from("web")] >= 3);
    let overtaken = cluster.state.deployments().find(|deployment| deployment.job_version == 1);
    let overtaken = overtaken.expect("is kept");
    assert_eq!(overtaken.status, DeploymentStatus::Cancelled);
    assert_eq!(overtaken.description, "Cancelled due to newer version of job");
}

#[test]
fn what_an_operator_fails_goes_back_too() {
    let mut cluster = Cluster::new(3);
    let job = rolling(3, 1, true);
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(2);
    let (deployment, at) = (cluster.deployment("web").id, cluster.now);
    cluster.must_apply(&Command::FailDeployment { deployment, at });
    cluster.run(30);
    assert_eq!(cluster.versions("web"), [2, 2, 2]);
    let record = cluster.state.job(&JobId::from("web")).expect("is known");
    assert_eq!(record.current().expect("has a version").reverts_to, Some(0));
}

#[test]
fn changes_that_a_task_does_not_see_are_in_place() {
    let mut cluster = Cluster::new(3);
    let job = rolling(3, 1, false);
    cluster.commit(&job);
    cluster.run(10);
    let before: Vec<_> = cluster.running("web").iter().map(|alloc| alloc.id).collect();
    cluster.watch();
    let mut edited = job;
    edited.meta.insert("owner".into(), "b".into());
    edited.task_groups[0].tasks[0].kill_timeout = Duration::from_secs(20);
    cluster.commit(&edited);
    cluster.run(10);
    let after: Vec<_> = cluster.running("web").iter().map(|alloc| alloc.id).collect();
    assert_eq!(before, after);
    assert_eq!(cluster.versions("web"), [1, 1, 1]);
    assert_eq!(cluster.lowest[&JobId::from("web")], 3);
    assert_eq!(cluster.deployment("web").status, DeploymentStatus::Successful);
}

#[test]
fn a_constraint_that_is_not_met_any_more_moves_the_allocation() {
    let mut cluster = Cluster::new(2);
    let mut job = rolling(1, 1, false);
    cluster.commit(&job);
    cluster.run(10);
    let node_id = cluster.running("web")[0].node;
    job.constraints.push(model::Constraint {
        attribute: "${node.unique.id}".into(),
        value: node_id.to_string(),
        operator: "!=".into(),
    });
    cluster.commit(&job);
    cluster.run(15);
    assert_ne!(cluster.running("web")[0].node, node_id);
    assert_eq!(cluster.running("web").len(), 1);
}

#[test]
fn failures_within_a_deployment_are_tried_again_when_it_does_not_go_back() {
    let mut cluster = Cluster::new(3);
    let job = rolling(1, 1, false);
    cluster.commit(&with(job, Mode::Crash, 1));
    cluster.run(100);
    // At 2 s, 34 s and 96 s: thirty seconds, then sixty.
    assert_eq!(cluster.placed_of("web", 0), 3);
    assert_eq!(cluster.deployment("web").status, DeploymentStatus::Running);
    let newest =
        cluster.state.allocs().max_by_key(|alloc| alloc.create_index).expect("there are some");
    let waits: Vec<u64> =
        newest.reschedules.iter().map(|event| event.delay / 1_000_000_000).collect();
    assert_eq!(waits, [30, 60]);
    assert_eq!(newest.client, ClientStatus::Failed);
}

#[test]
fn a_bad_version_after_a_bad_version_stops_after_its_first_batch_too() {
    let mut cluster = Cluster::new(4);
    let job = rolling(6, 2, false);
    cluster.commit(&with(job.clone(), Mode::Sick, 1));
    cluster.run(10);
    // Nothing serves, so that traffic holds nothing back; only the gate does.
    cluster.commit(&with(job.clone(), Mode::Sick, 2));
    cluster.run(40);
    assert_eq!(cluster.placed_of("web", 1), 2);
    cluster.commit(&with(job, Mode::Good, 3));
    cluster.run(60);
    assert_eq!(cluster.versions("web"), [2; 6]);
}

#[test]
fn what_is_missing_for_another_reason_counts_as_missing() {
    let mut cluster = Cluster::new(3);
    let mut job = rolling(3, 1, false);
    job.constraints.push(model::Constraint {
        operator: "distinct_hosts".into(),
        ..model::Constraint::default()
    });
    let lost_after = Some(std::time::Duration::from_secs(600));
    job.task_groups[0].disconnect =
        Some(model::Disconnect { lost_after, ..model::Disconnect::default() });
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    // One instance cannot be reached, and its replacement has no node to go to.
    let (node, at) = (node(1).id, cluster.now);
    let status = model::NodeStatus::Disconnected;
    cluster.must_apply(&Command::SetNodeStatus { node, status, at });
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(20);
    assert_eq!(cluster.versions("web"), [0, 0, 0], "a second one would be one too many");
    cluster.node_up(1);
    cluster.run(40);
    assert_eq!(cluster.versions("web"), [1, 1, 1]);
}

#[test]
fn a_place_whose_first_replacement_was_lost_is_missing_still() {
    let mut cluster = Cluster::new(2);
    let mut job = rolling(2, 1, false);
    // One on each node, so that the old one goes first.
    job.task_groups[0].networks[0].reserved_ports =
        vec![Port { label: "fixed".into(), value: 8080, ..Port::default() }];
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(10);
    let first = cluster.running("web").into_iter().find(|alloc| alloc.index == 0);
    let at = first.expect("both run").node;
    cluster.stuck.insert(at);
    cluster.commit(&with(job, Mode::Good, 2));
    cluster.run(8);
    assert_eq!(cluster.versions("web"), [0, 1], "the second one does not come up");
    let n = (0..2).find(|n| node(*n).id == at).expect("is one of them");
    cluster.node_down(n);
    cluster.run(30);
    assert_eq!(cluster.serving("web"), 1, "the other one is not stopped as well");
    cluster.stuck.clear();
    cluster.node_up(n);
    cluster.run(40);
    assert_eq!(cluster.versions("web"), [1, 1]);
}

/// It may have come to serve when the plan is carried out.
#[test]
fn a_plan_says_what_an_update_stops_because_it_does_not_serve() {
    let mut cluster = Cluster::new(3);
    let stops = |cluster: &Cluster| -> Vec<(u64, bool)> {
        let jobs = [(JobId::from("web"), EvalTrigger::JobRegister)].into();
        let plan = evaluate(&cluster.state, &jobs, cluster.now);
        let version = |id| cluster.state.alloc(id).expect("is there").job_version;
        plan.stop.iter().map(|stop| (version(stop.alloc), stop.idle)).collect()
    };
    cluster.commit(&with(rolling(3, 1, false), Mode::Good, 1));
    cluster.run(10);
    cluster.stuck = cluster.state.nodes().map(|node| node.id).collect();
    cluster.commit(&with(rolling(3, 1, false), Mode::Good, 2));
    assert_eq!(stops(&cluster), [(0, false)], "it serves");
    cluster.run(2);
    cluster.commit(&with(rolling(3, 1, false), Mode::Good, 3));
    assert_eq!(stops(&cluster), [(1, true)], "that one did not come up");
}
