//! What is said about why is what happens.

use std::time::Duration;

use evaluator::{evaluate, explain, explain_allocation, explain_job};
use model::wire::{GroupExplanation, Verdict, WaitKind};
use model::{
    Affinity, AllocId, Constraint, DeploymentId, DesiredStatus, EvalTrigger, JobId, JobType, Spread,
};
use state::Command;

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{node, of_kind, service};

fn told(cluster: &Cluster, job: &str) -> GroupExplanation {
    let mut groups = explain(&cluster.state, &JobId::from(job), None, cluster.now);
    assert_eq!(groups.len(), 1);
    groups.remove(0)
}

fn kinds(group: &GroupExplanation) -> Vec<WaitKind> {
    group.waits.iter().map(|wait| wait.kind).collect()
}

fn racked(n: u32, rack: &str) -> model::Node {
    let mut node = node(n);
    node.meta.insert("rack".into(), rack.into());
    node
}

fn on_rack(rack: &str) -> Constraint {
    Constraint { attribute: "${meta.rack}".into(), value: rack.into(), operator: "=".into() }
}

#[test]
fn the_node_that_is_named_first_is_the_one_that_is_chosen() {
    let mut cluster = Cluster::of((1..=9).map(|n| racked(n, ["r1", "r2", "r3"][n as usize % 3])));
    for n in 0..12_u64 {
        let id = format!("job{n}");
        let mut job = service(&id, 1 + (n % 2) as u32);
        job.task_groups[0].tasks[0].resources.cpu = 300 + 170 * n;
        if n % 3 == 1 {
            let attribute = "${meta.rack}".to_owned();
            job.task_groups[0].spreads.push(Spread { attribute, ..Spread::default() });
        }
        if n % 4 == 2 {
            let rack = on_rack("r2");
            job.task_groups[0].affinities.push(Affinity {
                attribute: rack.attribute,
                value: rack.value,
                operator: rack.operator,
                weight: 80,
            });
        }
        let revision = cluster.revision([Cluster::file(&job)].into());
        cluster.must_apply(&Command::TakeRevision(Box::new(revision)));
        let group = told(&cluster, &id);
        assert_eq!(kinds(&group), [WaitKind::Pass], "{:?}", group.waits);
        let jobs = [(JobId::from(id.as_str()), EvalTrigger::JobRegister)].into();
        let plan = evaluate(&cluster.state, &jobs, cluster.now);
        let explanation = plan.place[0].explanation.clone().expect("says why");
        assert_eq!(group.nodes[0].score.as_ref(), explanation.score.as_ref(), "{id}");
        assert_eq!(group.nodes[0].node, plan.place[0].node);
        cluster.run(6);
        // Nothing came or went since: it would be put there again, and for the same reasons.
        let group = told(&cluster, &id);
        assert_eq!((group.placed, group.waits.len()), (group.desired, 0), "{:?}", group.waits);
        let alone = &group.allocations[0];
        if group.desired == 1 {
            let today = alone.today.as_ref().expect("was worked out");
            assert!(today.same, "{id}: {today:?}");
            let score = today.own.score.as_ref().map(|score| score.total);
            assert_eq!(score, alone.score_then, "{id}");
        }
    }
}

#[test]
fn what_cannot_be_placed_says_which_nodes_will_not_do_and_what_they_lack() {
    let mut cluster = Cluster::of([racked(1, "r1"), racked(2, "r1"), racked(3, "r2")]);
    cluster.commit(&{
        let mut filler = service("filler", 1);
        filler.task_groups[0].tasks[0].resources.cpu = 2700;
        filler.task_groups[0].constraints.push(on_rack("r2"));
        filler
    });
    cluster.run(5);
    let mut big = service("big", 2);
    big.task_groups[0].tasks[0].resources.cpu = 1500;
    big.task_groups[0].constraints.push(on_rack("r2"));
    cluster.commit(&big);
    let waiting_since = cluster.now;
    cluster.run(5);
    let group = told(&cluster, "big");
    let nodes: Vec<_> =
        group.nodes.iter().map(|node| (node.name.as_str(), node.verdict, &*node.reason)).collect();
    assert_eq!(
        nodes,
        [
            ("n3", Verdict::Exhausted, "cpu"),
            ("n1", Verdict::Filtered, "${meta.rack} = r2"),
            ("n2", Verdict::Filtered, "${meta.rack} = r2"),
        ]
    );
    assert_eq!(group.filtered["${meta.rack} = r2"], 2);
    assert_eq!(group.exhausted["cpu"], 1);
    let lack = &group.nodes[0].lacks[0];
    assert_eq!((lack.missing(), lack.asked, lack.free, lack.total), (200, 1500, 1300, 4000));
    assert_eq!(kinds(&group), [WaitKind::Room]);
    assert_eq!(
        group.waits[0].description,
        "2 allocations find no node: of 3 nodes 2 must not have it and 1 has no room"
    );
    assert_eq!(group.waits[0].since, Some(waiting_since));
    let whole = explain_job(&cluster.state, &"big".into(), None, cluster.now).expect("is known");
    assert!(whole.waits() && whole.stopped.is_empty());
    assert!(explain_job(&cluster.state, &"none".into(), None, cluster.now).is_none());
    assert!(explain(&cluster.state, &"big".into(), Some("none"), cluster.now).is_empty());
}

#[test]
fn nodes_that_take_nothing_say_what_is_with_them() {
    let mut cluster = Cluster::new(3);
    cluster.commit(&service("web", 1));
    cluster.run(5);
    cluster.node_down(2);
    cluster.must_apply(&Command::SetEligibility {
        node: node(3).id,
        eligibility: model::Eligibility::Ineligible,
        at: cluster.now,
    });
    cluster.run(3);
    let group = told(&cluster, "web");
    assert_eq!((group.filtered["node is down"], group.filtered["node is not eligible"]), (1, 1));
}

#[test]
fn the_gate_says_how_many_and_why() {
    let mut cluster = Cluster::new(4);
    let mut job = service("web", 5);
    job.task_groups[0].update.as_mut().expect("has updates").max_parallel = 2;
    cluster.commit(&with(job.clone(), Mode::Good, 1));
    cluster.run(20);
    assert_eq!(told(&cluster, "web").gate, None);
    cluster.commit(&with(job.clone(), Mode::Good, 2));
    let gate = told(&cluster, "web").gate.expect("something is outdated");
    assert_eq!((gate.outdated, gate.now, &*gate.reason), (5, 2, "max_parallel is 2"));
    cluster.run(1);
    let group = told(&cluster, "web");
    let gate = group.gate.clone().expect("something is outdated");
    assert_eq!((gate.outdated, gate.now), (3, 0));
    assert_eq!(gate.reason, "max_parallel is 2, and 2 must prove healthy first");
    assert_eq!(kinds(&group), [WaitKind::Gate]);
    assert!(group.waits[0].description.starts_with("0 of 3 may be replaced now: max_parallel"));
    cluster.run(30);
    assert_eq!((told(&cluster, "web").gate, told(&cluster, "web").waits), (None, Vec::new()));

    job.task_groups[0].update.as_mut().expect("has updates").canary = 1;
    cluster.commit(&with(job.clone(), Mode::Good, 3));
    cluster.run(10);
    let group = told(&cluster, "web");
    let deployment: DeploymentId = cluster.deployment("web").id;
    assert_eq!(kinds(&group), [WaitKind::Promotion]);
    let words = format!(
        "1 of 1 canaries are healthy; `herder deployment promote {}` goes on",
        deployment.short()
    );
    assert_eq!(group.waits[0].description, words);
    let gate = group.gate.expect("all the others are outdated");
    assert_eq!((gate.outdated, gate.now, gate.reason), (5, 0, words));

    job.task_groups[0].update.as_mut().expect("has updates").canary = 0;
    cluster.commit(&with(job, Mode::Sick, 4));
    cluster.run(80);
    let group = told(&cluster, "web");
    let gate = group.gate.expect("most are outdated");
    assert_eq!(gate.now, 0);
    assert!(gate.reason.contains("healthy") || gate.reason.contains("failed"), "{gate:?}");
}

#[test]
fn what_failed_says_when_it_is_tried_again() {
    let mut cluster = Cluster::new(2);
    let mut job = with(of_kind("once", JobType::Batch, 1), Mode::Crash, 1);
    let policy = job.task_groups[0].reschedule_policy.as_mut().expect("has one");
    policy.unlimited = false;
    policy.attempts = 1;
    policy.delay = Duration::from_secs(30);
    policy.interval = Duration::from_secs(3600);
    cluster.commit(&job);
    cluster.run(10);
    let group = told(&cluster, "once");
    assert_eq!(kinds(&group), [WaitKind::Reschedule]);
    let wait = &group.waits[0];
    let until = wait.until.expect("is known");
    assert!(until > cluster.now && until.since(cluster.now) <= Duration::from_secs(30));
    assert!(wait.description.ends_with("and is replaced after 30s"), "{}", wait.description);
    cluster.run(60);
    let group = told(&cluster, "once");
    assert_eq!(kinds(&group), [WaitKind::Retries]);
    assert!(group.waits[0].description.ends_with("is not tried again"));
}

#[test]
fn a_better_node_that_came_later_is_named() {
    let mut cluster = Cluster::of([racked(1, "r1")]);
    let mut job = service("web", 1);
    let rack = on_rack("r2");
    job.task_groups[0].affinities.push(Affinity {
        attribute: rack.attribute,
        value: rack.value,
        operator: rack.operator,
        weight: 100,
    });
    cluster.commit(&job);
    cluster.run(5);
    cluster.join(racked(2, "r2"));
    cluster.run(3);
    let id: AllocId = cluster.running("web")[0].id;
    let told = explain_allocation(&cluster.state, id, cluster.now).expect("is known");
    let today = told.allocation.today.expect("was worked out");
    assert!(!today.same);
    assert_eq!(today.own.name, "n1");
    assert_eq!(today.best_other.expect("there is one").name, "n2");
    assert_eq!(told.scores.len(), 1);
    assert_eq!((told.allocation.reason.as_str(), told.job_version), ("new", 0));
    assert_eq!(told.evaluation.expect("is on record").triggered_by, EvalTrigger::JobRegister);
    cluster.remove("web");
    cluster.run(5);
    let gone = explain_allocation(&cluster.state, id, cluster.now).expect("is known");
    assert_eq!(gone.allocation.desired, DesiredStatus::Stop);
    assert_eq!(gone.allocation.today, None);
    let whole = explain_job(&cluster.state, &"web".into(), None, cluster.now).expect("is known");
    assert!(whole.stopped.starts_with("the job is stopped") && !whole.waits());
}

#[test]
fn a_job_of_every_node_is_full_where_it_is() {
    let mut cluster = Cluster::new(2);
    cluster.commit(&of_kind("agent", JobType::System, 1));
    cluster.run(10);
    let group = told(&cluster, "agent");
    assert_eq!((group.desired, group.placed, group.nodes_fit), (2, 2, 0));
    assert_eq!(group.filtered["one of it is there"], 2);
    assert!(group.allocations.iter().all(|alloc| alloc.today.as_ref().expect("is there").same));
    assert_eq!(group.waits, []);
}

#[test]
fn long_answers_are_cut_and_say_so() {
    let mut cluster = Cluster::new(1_100);
    cluster.commit(&service("web", 1));
    let group = told(&cluster, "web");
    assert_eq!((group.nodes.len(), group.nodes_left_out, group.nodes_fit), (1_000, 100, 1_100));
    assert_eq!(group.nodes_total, 1_100);
    // Groups share what an answer may hold.
    let mut job = service("many", 0);
    let one = job.task_groups.remove(0);
    job.task_groups =
        (0..40).map(|n| model::Group { name: n.to_string(), ..one.clone() }).collect();
    cluster.commit(&job);
    let groups = explain(&cluster.state, &"many".into(), None, cluster.now);
    assert_eq!((groups.len(), groups[39].nodes.len(), groups[39].nodes_left_out), (40, 25, 1_075));
}
