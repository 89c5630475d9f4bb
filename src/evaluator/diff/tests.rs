use model::Job;
use model::wire::{ChangeClass, DiffType, FieldDiff, JobDiff, ObjectDiff};
use serde_json::{Value, json};

use super::class::{TABLE, row};
use super::schema::{Kind, kind};
use super::*;
use crate::samples::service;

const FULL: &str = include_str!("golden/full.json");

fn full() -> Job {
    serde_json::from_str(FULL).expect("is a job")
}

fn edited(edit: impl Fn(&mut Job)) -> JobDiff {
    let old = service("a", 2);
    let mut new = old.clone();
    edit(&mut new);
    diff_jobs(Some(&old), Some(&new))
}

fn object<'a>(objects: &'a [ObjectDiff], name: &str) -> &'a ObjectDiff {
    objects.iter().find(|object| object.name == name).expect("is shown")
}

fn said(fields: &[FieldDiff]) -> Vec<(&str, DiffType, &str, &str)> {
    fields.iter().map(|f| (f.name.as_str(), f.kind, f.old.as_str(), f.new.as_str())).collect()
}

#[test]
fn equal_jobs_do_not_differ() {
    for job in [service("a", 2), full()] {
        let diff = diff_jobs(Some(&job), Some(&job));
        assert_eq!(diff.kind, DiffType::None);
        assert!(diff.fields.is_empty() && diff.objects.is_empty());
    }
}

#[test]
fn fields_blocks_groups_and_tasks_are_told_apart() {
    let diff = edited(|job| {
        job.priority = 70;
        job.meta.insert("team".into(), "x".into());
        job.task_groups[0].count = 3;
        let task = &mut job.task_groups[0].tasks[0];
        task.config.insert("args".into(), json!(["-v", 1]));
        task.resources.cpu = 200;
    });
    assert_eq!(diff.kind, DiffType::Edited);
    assert_eq!(
        said(&diff.fields),
        [("Meta[team]", DiffType::Added, "", "x"), ("Priority", DiffType::Edited, "50", "70")]
    );
    let group = &diff.task_groups[0];
    assert_eq!(group.fields[0].name, "Count");
    assert_eq!(group.fields[0].annotations, ["forces create"]);
    let task = &group.tasks[0];
    assert_eq!(task.kind, DiffType::Edited);
    assert_eq!(task.annotations, ["forces create/destroy update"]);
    assert_eq!(
        said(&object(&task.objects, "Config").fields),
        [
            ("args[0]", DiffType::Added, "", "-v"),
            ("args[1]", DiffType::Added, "", "1"),
            ("command", DiffType::None, "a", "a"),
        ]
    );
    let resources = object(&task.objects, "Resources");
    assert_eq!(said(&resources.fields)[0], ("CPU", DiffType::Edited, "100", "200"));
}

#[test]
fn whole_jobs_come_and_go() {
    let job = service("a", 1);
    assert_eq!(diff_jobs(None, Some(&job)).kind, DiffType::Added);
    let gone = diff_jobs(Some(&job), None);
    assert_eq!(gone.kind, DiffType::Deleted);
    let task = &gone.task_groups[0].tasks[0];
    assert_eq!(
        (task.kind, task.annotations.as_slice()),
        (DiffType::Deleted, &["forces destroy".to_owned()][..])
    );
}

#[test]
fn ports_and_constraints_are_blocks() {
    let diff = edited(|job| {
        job.task_groups[0].networks[0].dynamic_ports[0].to = 80;
        job.constraints.push(model::Constraint {
            attribute: "${attr.kernel.name}".into(),
            value: "linux".into(),
            operator: "=".into(),
        });
    });
    assert_eq!(diff.objects[0].name, "Constraint");
    assert_eq!(diff.objects[0].kind, DiffType::Added);
    let network = &diff.task_groups[0].objects[0];
    assert_eq!((network.name.as_str(), network.kind), ("Network", DiffType::Edited));
    assert_eq!(network.annotations, ["forces create/destroy update"]);
    assert_eq!(network.objects[0].name, "Dynamic Port");
}

#[test]
fn one_more_in_the_middle_is_one_more() {
    let old = full();
    let mut new = old.clone();
    let task = &mut new.task_groups[0].tasks[0];
    let mut more = task.templates[0].clone();
    more.destination = "other".into();
    task.templates.insert(0, more);
    let diff = diff_jobs(Some(&old), Some(&new));
    let task = &diff.task_groups[0].tasks[0];
    let kinds: Vec<_> =
        task.objects.iter().map(|object| (object.name.as_str(), object.kind)).collect();
    // The one that stays says where the new one is.
    assert_eq!(kinds, [("Template", DiffType::Added), ("Template", DiffType::None)]);

    let mut between = service("a", 2);
    between.task_groups[0].tasks[0].config.insert("args".into(), json!(["a", "b"]));
    let mut after = between.clone();
    after.task_groups[0].tasks[0].config.insert("args".into(), json!(["a", "x", "b"]));
    let diff = diff_jobs(Some(&between), Some(&after));
    let config = object(&diff.task_groups[0].tasks[0].objects, "Config");
    assert_eq!(
        said(&config.fields)[..3],
        [
            ("args[0]", DiffType::None, "a", "a"),
            ("args[1]", DiffType::Added, "", "x"),
            ("args[2]", DiffType::None, "b", "b"),
        ]
    );
}

#[test]
fn another_order_shows_where_it_means_something() {
    let swap = |edit: fn(&mut Job)| {
        let mut old = full();
        // Two of each, then exchanged.
        let task = &mut old.task_groups[0].tasks[0];
        let mut second = task.templates[0].clone();
        second.destination = "second".into();
        task.templates.push(second);
        task.env.insert("a".into(), "b".into());
        old.datacenters.push("second".into());
        let mut new = old.clone();
        edit(&mut new);
        diff_jobs(Some(&old), Some(&new)).kind
    };
    assert_eq!(swap(|job| job.task_groups[0].tasks[0].templates.reverse()), DiffType::Edited);
    assert_eq!(swap(|job| job.datacenters.reverse()), DiffType::None);
}

#[test]
fn types_that_read_alike_are_told_apart() {
    let mut old = service("a", 1);
    old.task_groups[0].tasks[0].config.insert("port".into(), json!(80));
    let mut new = old.clone();
    new.task_groups[0].tasks[0].config.insert("port".into(), json!("80"));
    let diff = diff_jobs(Some(&old), Some(&new));
    let config = object(&diff.task_groups[0].tasks[0].objects, "Config");
    assert!(said(&config.fields).contains(&("port", DiffType::Edited, "80", "\"80\"")));
}

#[test]
fn an_empty_value_of_the_environment_is_a_value() {
    let diff = edited(|job| {
        job.task_groups[0].tasks[0].env.insert("A".into(), String::new());
    });
    let task = &diff.task_groups[0].tasks[0];
    assert_eq!(said(&task.fields), [("Env[A]", DiffType::Added, "", "")]);
}

#[test]
fn what_groups_inherit_is_told_once() {
    let update =
        |parallel: u32| model::Update { max_parallel: parallel, ..model::Update::default() };
    let mut old = service("a", 1);
    old.update = Some(update(1));
    let mut new = old.clone();
    new.update = Some(update(2));
    let own = diff_jobs(Some(&old), Some(&new));
    assert_eq!(own.objects[0].name, "Update");
    new.task_groups[0].update.as_mut().expect("has one").max_parallel = 2;
    let inherited = diff_jobs(Some(&old), Some(&new));
    assert!(inherited.objects.is_empty());
    assert_eq!(inherited.task_groups[0].objects[0].name, "Update");
}

#[test]
fn secrets_stay_secret() {
    let mut old = full();
    let task = &mut old.task_groups[0].tasks[0];
    task.env.insert("DB_PASSWORD".into(), "hunter1".into());
    task.env.insert("URL".into(), "postgres://u:hunter1@db/x".into());
    task.env.insert("DSN".into(), "Server=x;Password=hunter1;A=b".into());
    task.config.insert("auth".into(), json!({ "username": "hunter1", "password": "hunter1" }));
    task.config.insert(
        "args".into(),
        json!([
            "--api-key=hunter1",
            "--token",
            "hunter1",
            "-v",
            "-e",
            "PASSWORD=hunter1",
            "-u",
            "a:hunter1"
        ]),
    );
    task.config.insert("environment".into(), json!([{ "name": "a", "SECRET": "hunter1" }]));
    task.templates[0].data = "listen 80\npassword = hunter1\n".into();
    task.artifacts[0].source = Some("https://u:hunter1@host/x".into());
    task.artifacts[0].headers.insert("Authorization".into(), "Bearer hunter1".into());
    task.artifacts[0]
        .options
        .insert("sshkey".into(), "-----BEGIN OPENSSH PRIVATE KEY-----hunter1".into());
    task.secrets[0].config.insert("role".into(), json!("hunter1"));
    task.secrets[0].env.insert("ROLE".into(), "hunter1".into());
    task.actions[0].args = vec!["--password".into(), "hunter1".into()];
    let service = &mut old.task_groups[0].services[0];
    service.checks[0].header.insert("Authorization".into(), vec!["Basic hunter1".into()]);
    service.checks[0].args = vec!["-H".into(), "X-Token: hunter1".into()];
    service.tags.push("traefik.basicauth.users=a:hunter1".into());
    old.meta.insert("apiKey".into(), "hunter1".into());
    let new: Job = serde_json::from_str(
        &serde_json::to_string(&old).expect("writes").replace("hunter1", "hunter2"),
    )
    .expect("reads");
    for diff in [
        diff_jobs(Some(&old), Some(&new)),
        diff_jobs(None, Some(&new)),
        diff_jobs(Some(&old), None),
    ] {
        let text = serde_json::to_string_pretty(&diff).expect("writes");
        let leak = text.lines().find(|line| line.contains("hunter"));
        assert_eq!(leak, None);
    }
    for change in changes(&old, &new, &old.task_groups[0].name) {
        assert!(!change.path.contains("hunter"), "{}", change.path);
    }
    let diff = diff_jobs(Some(&old), Some(&new));
    let task = &diff.task_groups[0].tasks[0];
    let field = |name: &str| task.fields.iter().find(|field| field.name == name).cloned();
    let password = field("Env[DB_PASSWORD]").expect("is shown");
    assert_eq!((password.old.as_str(), password.new.as_str()), ("<hidden>", "<changed>"));
    let url = field("Env[URL]").expect("is shown");
    assert_eq!((url.old.as_str(), url.kind), ("postgres://u:<hidden>@db/x", DiffType::Edited));
}

/// All places of a job, as the table of classes names them.
fn places(job: &Value) -> BTreeSet<(&'static str, Vec<String>)> {
    fn walk(value: &Value, path: &mut Vec<String>, out: &mut BTreeSet<Vec<String>>) {
        let Value::Object(map) = value else { return };
        for (key, value) in map {
            path.push(key.clone());
            match kind(key, Some(value), None) {
                Kind::Field | Kind::Texts { .. } => drop(out.insert(path.clone())),
                Kind::Map | Kind::Free => {
                    for key in value.as_object().into_iter().flat_map(|map| map.keys()) {
                        path.push(key.clone());
                        out.insert(path.clone());
                        path.pop();
                    }
                }
                Kind::Blocks(_) => {
                    out.insert(path.clone());
                    let list = value.as_array().into_iter().flatten();
                    let named = value.as_object().into_iter().flat_map(|map| map.values());
                    list.chain(named).for_each(|value| walk(value, path, out));
                }
                Kind::Block => {
                    out.insert(path.clone());
                    walk(value, path, out);
                }
            }
            path.pop();
        }
    }
    let mut all = BTreeSet::new();
    let mut take = |scope: &'static str, value: &Value, without: &[&str]| {
        let mut map = value.as_object().cloned().expect("an object");
        without.iter().for_each(|key| drop(map.remove(*key)));
        let mut out = BTreeSet::new();
        walk(&Value::Object(map), &mut Vec::new(), &mut out);
        all.extend(out.into_iter().map(|path| (scope, path)));
    };
    let group = &job["TaskGroups"][0];
    take("job", job, &["TaskGroups", "ID"]);
    take("group", group, &["Tasks", "Name"]);
    take("task", &group["Tasks"][0], &["Name"]);
    all
}

/// Whoever adds a field to a job says in the table what its change does to what runs.
#[test]
fn every_field_is_classed() {
    let mut job = full();
    job.gitops.restart_on_meta = true;
    job.gitops.improve = Some(model::Improve::default());
    let written = serde_json::to_value(&job).expect("writes");
    let mut used = BTreeSet::from([row("group", ["Tasks"].into_iter()).0]);
    for (scope, path) in places(&written) {
        let (at, _) = row(scope, path.iter().map(String::as_str));
        assert!(at < TABLE.len(), "{scope}/{} has no row in the table", path.join("/"));
        used.insert(at);
    }
    // Settings of drivers have any names.
    let named: BTreeSet<usize> = ["image", "command", "args"]
        .into_iter()
        .map(|name| row("task", ["Config", name].into_iter()).0)
        .collect();
    for (at, row) in TABLE.iter().enumerate() {
        assert!(used.contains(&at) || named.contains(&at), "no field is at {}", row.0);
    }
}

/// Each field of Nomad's job, changed alone, shows, and does what its row says.
#[test]
fn every_field_shows_and_does_what_its_row_says() {
    let old = full();
    let written = serde_json::to_value(&old).expect("writes");
    let original: Value = serde_json::from_str(FULL).expect("is JSON");
    let group = old.task_groups[0].name.clone();
    let mut paths = Vec::new();
    leaves(&written, &mut String::new(), &mut paths);
    let mut seen = 0;
    for pointer in paths {
        assert!(original.pointer(&pointer).is_some() || written.pointer(&pointer).is_some());
        let mut changed = written.clone();
        let leaf = changed.pointer_mut(&pointer).expect("is there");
        *leaf = match leaf {
            Value::String(text) => json!(format!("{text}-2")),
            Value::Bool(is) => json!(!*is),
            Value::Number(number) => json!(number.as_i64().unwrap_or(0) + 1),
            _ => continue,
        };
        // Words of a fixed set do not read as anything else.
        let Ok(new) = serde_json::from_value::<Job>(changed) else { continue };
        let whole = pointer == "/ID"
            || pointer == "/TaskGroups/0/Name"
            || pointer == "/TaskGroups/0/Tasks/0/Name"
            // The key of a map of blocks is the name.
            || pointer.ends_with("/key/Name")
            || pointer.ends_with("/CreateIndex")
            || pointer.ends_with("/ModifyIndex");
        if whole || new == old {
            continue;
        }
        seen += 1;
        let diff = diff_jobs(Some(&old), Some(&new));
        assert_eq!(diff.kind, DiffType::Edited, "{pointer}");
        let made = changes(&old, &new, &group);
        assert!(!made.is_empty(), "{pointer}");
        assert!(made.iter().all(|change| !change.reason.is_empty()), "{pointer}");
    }
    assert!(seen > 250, "{seen}");
}

fn leaves(value: &Value, path: &mut String, out: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                path.push('/');
                path.push_str(key);
                leaves(value, path, out);
                path.truncate(length);
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                path.push('/');
                path.push_str(&at.to_string());
                leaves(value, path, out);
                path.truncate(length);
            }
        }
        Value::Null => {}
        _ => out.push(path.clone()),
    }
}

#[test]
fn changes_are_listed_with_their_reasons() {
    let old = service("a", 1);
    let mut new = old.clone();
    new.priority = 80;
    let group = &mut new.task_groups[0];
    group.count = 2;
    let task = &mut group.tasks[0];
    task.driver = "docker".into();
    task.config = [("image".to_owned(), json!("redis:7"))].into();
    task.kill_timeout = std::time::Duration::from_secs(9);
    let lines: Vec<String> = changes(&old, &new, "web")
        .iter()
        .map(|change| format!("{:?} {}: {}", change.class, change.path, change.reason))
        .collect();
    assert_eq!(
        lines,
        [
            "Destructive group \"web\" task \"web\" driver: another driver cannot take over a running task",
            "Destructive group \"web\" task \"web\" config.image: a running container cannot change its image",
            "Destructive group \"web\" task \"web\" config.command: a running process cannot change its command",
            "InPlace group \"web\" count: allocations come or go, and the others stay",
            "InPlace group \"web\" task \"web\" kill_timeout: read when a task is stopped next",
            "InPlace priority: read when the next allocation is placed",
        ]
    );
}

#[test]
fn a_service_in_a_mesh_cannot_change_its_port() {
    let mut old = service("a", 1);
    old.task_groups[0].services.push(model::Service {
        name: "api".into(),
        port_label: "80".into(),
        ..model::Service::default()
    });
    for (connect, class) in
        [(None, ChangeClass::InPlace), (Some(json!({ "Native": true })), ChangeClass::Destructive)]
    {
        old.task_groups[0].services[0].connect = connect;
        let mut new = old.clone();
        new.task_groups[0].services[0].port_label = "81".into();
        let made = changes(&old, &new, "web");
        assert_eq!(made[0].class, class);
        assert_eq!(made[0].path, "group \"web\" service \"api\" port");
    }
}
