//! Differences of many shapes, kept as JSON in `fixtures/plans`, from which the CLI's golden files are made. Run with
//! `UPDATE_GOLDEN=1` to write them anew.

use std::path::Path;
use std::time::Duration;

use model::wire::JobDiff;
use model::{
    Artifact, Check, Constraint, Group, Job, Network, Port, Service, Task, Template, VolumeMount,
    VolumeRequest,
};
use serde_json::json;

use super::diff_jobs;

/// A job like those that people write.
fn redis() -> Job {
    let task = Task {
        name: "redis".into(),
        driver: "docker".into(),
        config: [
            ("image".to_owned(), json!("redis:2.8")),
            ("port_map".to_owned(), json!([{ "db": 6379 }])),
        ]
        .into(),
        env: [("LOG_LEVEL".to_owned(), "info".to_owned())].into(),
        ..Task::default()
    };
    let group = Group {
        name: "cache".into(),
        count: 3,
        tasks: vec![task],
        networks: vec![Network {
            dynamic_ports: vec![Port { label: "db".into(), to: 6379, ..Port::default() }],
            ..Network::default()
        }],
        services: vec![Service {
            name: "redis".into(),
            provider: "nomad".into(),
            port_label: "db".into(),
            tags: vec!["global".into(), "cache".into()],
            checks: vec![Check {
                name: "alive".into(),
                port_label: "db".into(),
                ..Check::default()
            }],
            ..Service::default()
        }],
        update: Some(model::Update::default()),
        ..Group::default()
    };
    Job {
        id: "example".into(),
        name: "example".into(),
        namespace: "default".into(),
        region: "global".into(),
        node_pool: "default".into(),
        priority: 50,
        datacenters: vec!["dc1".into()],
        task_groups: vec![group],
        ..Job::default()
    }
}

fn edited(edit: impl Fn(&mut Job)) -> JobDiff {
    between(|_| {}, edit)
}

fn between(before: impl Fn(&mut Job), after: impl Fn(&mut Job)) -> JobDiff {
    let mut old = redis();
    before(&mut old);
    let mut new = old.clone();
    after(&mut new);
    diff_jobs(Some(&old), Some(&new))
}

fn task(job: &mut Job) -> &mut Task {
    &mut job.task_groups[0].tasks[0]
}

fn shapes() -> Vec<(&'static str, JobDiff)> {
    let mut all = vec![];
    let mut config = edited(|job| drop(task(job).config.insert("image".into(), json!("redis:7"))));
    config.task_groups[0].updates = [("create/destroy update".to_owned(), 3)].into();
    all.push(("config", config));
    all.push((
        "nested-config",
        between(
            |job| {
                task(job).config.insert("args".into(), json!(["--port", "6379", "--save", "60"]));
                task(job).config.insert(
                    "mount".into(),
                    json!([
                        { "type": "bind", "source": "a", "target": "/a" },
                        { "type": "bind", "source": "b", "target": "/b" },
                    ]),
                );
            },
            |job| {
                task(job)
                    .config
                    .insert("args".into(), json!(["--port", "6380", "--verbose", "--save", "60"]));
                task(job).config.insert(
                    "mount".into(),
                    json!([
                        { "type": "volume", "source": "c", "target": "/c" },
                        { "type": "bind", "source": "a", "target": "/a", "readonly": true },
                    ]),
                );
            },
        ),
    ));
    all.push((
        "tasks",
        between(
            |job| {
                job.task_groups[0].tasks.push(Task { name: "old".into(), ..Task::default() });
            },
            |job| {
                job.task_groups[0].tasks.pop();
                job.task_groups[0].tasks.push(Task {
                    name: "exporter".into(),
                    driver: "docker".into(),
                    ..Task::default()
                });
            },
        ),
    ));
    all.push((
        "groups",
        edited(|job| {
            let mut other = job.task_groups[0].clone();
            other.name = "cache-2".into();
            job.task_groups = vec![other];
        }),
    ));
    let mut count = edited(|job| job.task_groups[0].count = 5);
    count.task_groups[0].updates =
        [("create".to_owned(), 2), ("in-place update".to_owned(), 3)].into();
    all.push(("count", count));
    all.push((
        "network",
        edited(|job| {
            let network = &mut job.task_groups[0].networks[0];
            network.mode = "bridge".into();
            network.dynamic_ports[0].to = 6380;
            network.dynamic_ports.push(Port { label: "metrics".into(), ..Port::default() });
            network.reserved_ports.push(Port {
                label: "admin".into(),
                value: 8080,
                ..Port::default()
            });
        }),
    ));
    all.push((
        "service",
        edited(|job| {
            let service = &mut job.task_groups[0].services[0];
            service.tags = vec!["global".into(), "primary".into()];
            service.checks[0].interval = Duration::from_secs(30);
            service.checks[0].header.insert("Host".into(), vec!["redis".into()]);
            service.checks.push(Check {
                name: "ready".into(),
                path: "/ready".into(),
                ..Check::default()
            });
        }),
    ));
    all.push((
        "env-meta",
        between(
            |job| drop(task(job).env.insert("GONE".into(), "1".into())),
            |job| {
                job.meta.insert("team".into(), "storage".into());
                job.task_groups[0].meta.insert("tier".into(), "1".into());
                let env = &mut task(job).env;
                env.remove("GONE");
                env.insert("LOG_LEVEL".into(), "debug".into());
                env.insert("EMPTY".into(), String::new());
                env.insert("BANNER".into(), "a \"quoted\"\tword".into());
                env.insert("LONG".into(), "0123456789".repeat(30));
            },
        ),
    ));
    let page = |port: u16, extra: &str| {
        let lines: String = (1..=12).map(|n| format!("# line {n}\n")).collect();
        format!("server {{\n  listen {port};\n{extra}{lines}}}\n")
    };
    all.push((
        "template",
        between(
            |job| {
                task(job).templates.push(Template {
                    data: page(80, ""),
                    destination: "local/site.conf".into(),
                    ..Template::default()
                });
            },
            |job| {
                task(job).templates[0].data = page(8080, "  gzip on;\n");
                task(job).templates.push(Template {
                    data: page(81, ""),
                    destination: "local/other.conf".into(),
                    change_mode: "noop".into(),
                    ..Template::default()
                });
            },
        ),
    ));
    let constraint = |value: &str| Constraint {
        attribute: "${attr.kernel.name}".into(),
        value: value.into(),
        operator: "=".into(),
    };
    all.push((
        "constraint",
        between(
            |job| {
                job.constraints.push(constraint("linux"));
                job.datacenters.push("dc2".into());
            },
            |job| {
                job.constraints = vec![constraint("windows")];
                job.datacenters = vec!["dc3".into(), "dc1".into()];
            },
        ),
    ));
    all.push((
        "secrets",
        between(
            |job| {
                let task = task(job);
                task.env.insert("DB_PASSWORD".into(), "hunter1".into());
                task.env.insert("URL".into(), "postgres://app:hunter1@db/app".into());
                task.config
                    .insert("auth".into(), json!({ "username": "me", "password": "hunter1" }));
                task.config.insert("args".into(), json!(["--token", "hunter1", "-v"]));
                task.templates.push(Template {
                    data: "[db]\npassword = hunter1\n".into(),
                    destination: "secrets/db.ini".into(),
                    ..Template::default()
                });
            },
            |job| {
                let text = serde_json::to_string(job).expect("writes");
                *job = serde_json::from_str(&text.replace("hunter1", "hunter2")).expect("reads");
            },
        ),
    ));
    all.push((
        "volumes",
        edited(|job| {
            job.task_groups[0].volumes.insert(
                "data".into(),
                VolumeRequest {
                    name: "data".into(),
                    kind: "host".into(),
                    source: "redis".into(),
                    ..VolumeRequest::default()
                },
            );
            let task = task(job);
            task.volume_mounts.push(VolumeMount {
                volume: Some("data".into()),
                destination: Some("/data".into()),
                ..VolumeMount::default()
            });
            task.artifacts.push(Artifact {
                source: Some("https://example.org/a.tar.gz".into()),
                ..Artifact::default()
            });
            task.kill_timeout = Duration::from_secs(30);
            job.task_groups[0].update.as_mut().expect("has one").max_parallel = 2;
        }),
    ));
    let mut new = diff_jobs(None, Some(&redis()));
    new.task_groups[0].updates = [("create".to_owned(), 3)].into();
    all.push(("new-job", new));
    all.push(("gone-job", diff_jobs(Some(&redis()), None)));
    all
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the files are kept for the tests of another room")]
fn shapes_are_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/plans");
    for (name, diff) in shapes() {
        let path = folder.join(format!("{name}.json"));
        let written = serde_json::to_string_pretty(&diff).expect("writes") + "\n";
        assert!(!written.contains("hunter"), "{name}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &written).expect("writes");
        }
        let kept = std::fs::read_to_string(&path).expect("is kept");
        assert_eq!(serde_json::from_str::<JobDiff>(&kept).expect("reads"), diff, "{name}");
    }
}
