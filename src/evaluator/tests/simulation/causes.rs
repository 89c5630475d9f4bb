//! Whatever makes a replacement necessary, it goes through the same batches and gate, and each allocation says why.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Job, JobId, JobType, Node, Template};

use crate::cluster::{Cluster, Mode, with};
use crate::samples::{node, of_kind, service};

fn rolling(count: u32, max_parallel: u32) -> Job {
    let mut job = with(service("web", count), Mode::Good, 1);
    let update = job.task_groups[0].update.as_mut().expect("has updates");
    (update.max_parallel, update.min_healthy_time) = (max_parallel, Duration::from_secs(2));
    job
}

fn on_rack(n: u32, rack: &str) -> Node {
    let mut node = node(n);
    if !rack.is_empty() {
        node.meta.insert("rack".into(), rack.into());
    }
    node.attributes.insert("unique.storage.bytesfree".into(), rack.into());
    node
}

/// Why each allocation that runs exists, with how many there are.
fn reasons(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for alloc in cluster.running("web") {
        let reason: &str = &alloc.explanation.as_ref().expect("is explained").reason;
        let why = reason.split_once(": ").map_or(reason, |(_, why)| why);
        *reasons.entry(why.to_owned()).or_default() += 1;
    }
    reasons
}

#[test]
fn every_change_of_what_a_file_comes_to_says_its_first_field() {
    type Edit = fn(&mut Job);
    let edits: [(&str, Edit); 5] = [
        ("task \"web\" config.args[0] changed", |job| {
            let args = serde_json::json!(["x"]);
            job.task_groups[0].tasks[0].config.insert("args".into(), args);
        }),
        // A variable, a secret's value, a local or an included file: the job is what came of it.
        ("task \"web\" env.PASSWORD changed", |job| {
            job.task_groups[0].tasks[0].env.insert("PASSWORD".into(), "other".into());
        }),
        ("task \"web\" config.image changed", |job| {
            let image = serde_json::json!("app@sha256:2");
            job.task_groups[0].tasks[0].config.insert("image".into(), image);
        }),
        // A file of the repository, and nothing else.
        ("task \"web\" template \"local/app.conf\" source_blob changed", |job| {
            job.task_groups[0].tasks[0].templates[0].source_blob = "2".into();
        }),
        ("task \"web\" resources.memory changed", |job| {
            job.task_groups[0].tasks[0].resources.memory_mb += 1;
        }),
    ];
    for (field, edit) in edits {
        let mut cluster = Cluster::new(3);
        let mut job = rolling(4, 1);
        job.task_groups[0].tasks[0].templates.push(Template {
            source: "repo://app.tpl".into(),
            destination: "local/app.conf".into(),
            source_blob: "1".into(),
            ..Template::default()
        });
        cluster.commit(&job);
        cluster.run(12);
        cluster.watch();
        edit(&mut job);
        cluster.commit(&job);
        cluster.run(40);
        assert_eq!(reasons(&cluster), [(field.to_owned(), 4)].into());
        assert!(cluster.lowest[&JobId::from("web")] >= 3, "{field}");
        let told = cluster.state.evaluations_of_job(&"web".into()).count();
        assert!(told > 4, "one pass for each batch");
    }
}

#[test]
fn a_node_that_says_something_else_replaces_what_was_told_the_old() {
    for (count, max_parallel) in [(4, 1), (6, 2), (1, 1)] {
        let mut cluster = Cluster::of((1..=3).map(|n| on_rack(n, "a")));
        let mut job = rolling(count, max_parallel);
        job.task_groups[0].tasks[0].env.insert("RACK".into(), "${meta.rack}".into());
        cluster.commit(&job);
        cluster.run(12);
        let deployments = cluster.state.deployments_of_job(&"web".into()).count();
        cluster.watch();
        // An agent that starts again as it was changes nothing.
        (1..=3).for_each(|n| cluster.join(on_rack(n, "a")));
        cluster.run(5);
        assert_eq!(cluster.placed_of("web", 0), count as usize);
        (1..=3).for_each(|n| cluster.join(on_rack(n, "b")));
        cluster.run(u64::from(8 * count));
        let why = "node attribute meta.rack changed".to_owned();
        assert_eq!(reasons(&cluster), [(why, count as usize)].into());
        assert_eq!(cluster.placed_of("web", 0), 2 * count as usize, "each once");
        assert!(cluster.lowest[&JobId::from("web")] >= (count - max_parallel) as usize);
        assert_eq!(cluster.state.deployments_of_job(&"web".into()).count(), deployments);
        // What was not there at all is another value.
        (1..=3).for_each(|n| cluster.join(on_rack(n, "")));
        cluster.run(u64::from(8 * count));
        assert_eq!(cluster.placed_of("web", 0), 3 * count as usize);
    }
}

#[test]
fn a_replacement_that_does_not_come_up_keeps_the_others_as_they_are() {
    let mut cluster = Cluster::of((1..=3).map(|n| on_rack(n, "a")));
    let mut job = rolling(4, 1);
    job.task_groups[0].tasks[0].env.insert("RACK".into(), "${meta.rack}".into());
    cluster.commit(&job);
    cluster.run(30);
    cluster.stuck = (1..=3).map(|n| node(n).id).collect();
    (1..=3).for_each(|n| cluster.join(on_rack(n, "b")));
    cluster.run(60);
    assert_eq!(cluster.placed_of("web", 0), 5, "one is replaced, and nothing goes on");
    assert_eq!(cluster.serving("web"), 3);
    cluster.stuck.clear();
    cluster.run(60);
    assert_eq!((cluster.placed_of("web", 0), cluster.serving("web")), (8, 4));
}

#[test]
fn what_nobody_names_replaces_nothing() {
    let mut cluster = Cluster::of((1..=3).map(|n| on_rack(n, "a")));
    let mut job = rolling(3, 1);
    let task = &mut job.task_groups[0].tasks[0];
    task.env.insert("HOST".into(), "${node.unique.name} ${attr.unique.storage.bytesfree}".into());
    cluster.commit(&job);
    let mut batch = with(of_kind("once", JobType::Batch, 2), Mode::Finish, 1);
    batch.task_groups[0].tasks[0].env.insert("RACK".into(), "${meta.rack}".into());
    cluster.commit(&batch);
    cluster.run(12);
    (1..=3).for_each(|n| cluster.join(on_rack(n, "b")));
    cluster.run(12);
    assert_eq!((cluster.placed_of("web", 0), cluster.placed_of("once", 0)), (3, 2));
}

#[test]
fn one_on_each_node_follows_its_node() {
    let mut cluster = Cluster::of((1..=3).map(|n| on_rack(n, "a")));
    let mut job = with(of_kind("web", JobType::System, 1), Mode::Good, 1);
    job.task_groups[0].update.as_mut().expect("has updates").min_healthy_time =
        Duration::from_secs(2);
    let data = "rack {{ env \"meta.rack\" }}".to_owned();
    job.task_groups[0].tasks[0].templates.push(Template { data, ..Template::default() });
    cluster.commit(&job);
    cluster.run(12);
    cluster.watch();
    cluster.join(on_rack(2, "b"));
    cluster.run(10);
    assert_eq!(cluster.placed_of("web", 0), 4, "only the one on that node");
    (1..=3).for_each(|n| cluster.join(on_rack(n, "c")));
    cluster.run(30);
    assert_eq!(cluster.placed_of("web", 0), 7);
    assert!(cluster.lowest[&JobId::from("web")] >= 2, "one at a time");
}
