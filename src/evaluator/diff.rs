//! What differs between two versions of a job, in the shape of Nomad's plan (nomad.md section 4).
//!
//! Values that look like secrets never appear: a diff shows that they changed (law 7).

mod secret;
mod tree;

use std::collections::BTreeMap;

use model::{Group, Job, Task};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What happened to a part of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiffType {
    /// Nothing.
    #[default]
    None,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// It changed.
    Edited,
}

impl DiffType {
    fn of(old: bool, new: bool, same: bool) -> Self {
        match (old, new) {
            (false, true) => Self::Added,
            (true, false) => Self::Deleted,
            _ if same => Self::None,
            _ => Self::Edited,
        }
    }
}

/// A field with a plain value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FieldDiff {
    /// What happened.
    #[serde(rename = "Type")]
    pub kind: DiffType,
    /// Its name; entries of maps as `Env[KEY]`.
    pub name: String,
    /// The value before; empty if there was none.
    pub old: String,
    /// The value after; empty if there is none.
    pub new: String,
    /// What the change leads to: `forces create` …
    pub annotations: Vec<String>,
}

/// A block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ObjectDiff {
    /// What happened.
    #[serde(rename = "Type")]
    pub kind: DiffType,
    /// Its name.
    pub name: String,
    /// Its fields; in an edited block the others too, for context.
    pub fields: Vec<FieldDiff>,
    /// Blocks in it.
    pub objects: Vec<ObjectDiff>,
}

/// A task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskDiff {
    /// What happened.
    #[serde(rename = "Type")]
    pub kind: DiffType,
    /// Its name.
    pub name: String,
    /// Fields that changed.
    pub fields: Vec<FieldDiff>,
    /// Blocks that changed.
    pub objects: Vec<ObjectDiff>,
    /// What the change leads to: `forces create/destroy update` …
    pub annotations: Vec<String>,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskGroupDiff {
    /// What happened.
    #[serde(rename = "Type")]
    pub kind: DiffType,
    /// Its name.
    pub name: String,
    /// Fields that changed.
    pub fields: Vec<FieldDiff>,
    /// Blocks that changed.
    pub objects: Vec<ObjectDiff>,
    /// Its tasks that changed.
    pub tasks: Vec<TaskDiff>,
    /// What the next pass does: `create`, `destroy`, `canary`, `in-place update`, `create/destroy update`, `ignore`,
    /// each with a number.
    pub updates: BTreeMap<String, u64>,
}

/// A job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobDiff {
    /// What happened.
    #[serde(rename = "Type")]
    pub kind: DiffType,
    /// Its ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Fields that changed.
    pub fields: Vec<FieldDiff>,
    /// Blocks that changed.
    pub objects: Vec<ObjectDiff>,
    /// All its groups, changed or not.
    pub task_groups: Vec<TaskGroupDiff>,
}

/// What differs between two versions of a job; `None` stands for a job that is not there.
pub fn diff_jobs(old: Option<&Job>, new: Option<&Job>) -> JobDiff {
    let (fields, objects) = tree::parts(json(old).as_ref(), json(new).as_ref(), &["TaskGroups"]);
    let groups = |job: Option<&Job>| -> Vec<String> {
        job.into_iter().flat_map(|job| &job.task_groups).map(|group| group.name.clone()).collect()
    };
    let task_groups = in_order(groups(old), groups(new))
        .into_iter()
        .map(|name| {
            diff_groups(
                &name,
                old.and_then(|job| job.group(&name)),
                new.and_then(|job| job.group(&name)),
            )
        })
        .collect::<Vec<_>>();
    let same = fields.is_empty()
        && objects.is_empty()
        && task_groups.iter().all(|group| group.kind == DiffType::None);
    JobDiff {
        kind: DiffType::of(old.is_some(), new.is_some(), same),
        id: new.or(old).map(|job| job.id.to_string()).unwrap_or_default(),
        fields,
        objects,
        task_groups,
    }
}

fn diff_groups(name: &str, old: Option<&Group>, new: Option<&Group>) -> TaskGroupDiff {
    let (fields, objects) = tree::parts(json(old).as_ref(), json(new).as_ref(), &["Tasks"]);
    let names = |group: Option<&Group>| -> Vec<String> {
        group.into_iter().flat_map(|group| &group.tasks).map(|task| task.name.clone()).collect()
    };
    let tasks: Vec<_> = in_order(names(old), names(new))
        .into_iter()
        .map(|name| {
            diff_tasks(
                &name,
                old.and_then(|group| group.task(&name)),
                new.and_then(|group| group.task(&name)),
            )
        })
        .filter(|task| task.kind != DiffType::None)
        .collect();
    let same = fields.is_empty() && objects.is_empty() && tasks.is_empty();
    TaskGroupDiff {
        kind: DiffType::of(old.is_some(), new.is_some(), same),
        name: name.to_owned(),
        fields,
        objects,
        tasks,
        updates: BTreeMap::new(),
    }
}

fn diff_tasks(name: &str, old: Option<&Task>, new: Option<&Task>) -> TaskDiff {
    let (fields, objects) = tree::parts(json(old).as_ref(), json(new).as_ref(), &[]);
    let same = fields.is_empty() && objects.is_empty();
    TaskDiff {
        kind: DiffType::of(old.is_some(), new.is_some(), same),
        name: name.to_owned(),
        fields,
        objects,
        annotations: Vec::new(),
    }
}

fn json<T: Serialize>(value: Option<&T>) -> Option<Value> {
    value.and_then(|value| serde_json::to_value(value).ok())
}

/// The new ones in their order, then those that are gone.
fn in_order(old: Vec<String>, new: Vec<String>) -> Vec<String> {
    let gone = old.into_iter().filter(|name| !new.contains(name)).collect::<Vec<_>>();
    new.into_iter().chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::service;

    #[test]
    fn equal_jobs_do_not_differ() {
        let job = service("a", 2);
        let diff = diff_jobs(Some(&job), Some(&job));
        assert_eq!(diff.kind, DiffType::None);
        assert!(diff.fields.is_empty() && diff.objects.is_empty());
    }

    #[test]
    fn fields_blocks_groups_and_tasks_are_told_apart() {
        let old = service("a", 2);
        let mut new = old.clone();
        new.priority = 70;
        new.meta.insert("team".into(), "x".into());
        new.task_groups[0].count = 3;
        new.task_groups[0].tasks[0].config.insert("args".into(), serde_json::json!(["-v", 1]));
        new.task_groups[0].tasks[0].resources.cpu = 200;
        let diff = diff_jobs(Some(&old), Some(&new));
        assert_eq!(diff.kind, DiffType::Edited);
        let fields: Vec<_> = diff
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.old.as_str(), field.new.as_str()))
            .collect();
        assert_eq!(fields, [("Meta[team]", "", "x"), ("Priority", "50", "70")]);
        let group = &diff.task_groups[0];
        assert_eq!(group.fields[0].name, "Count");
        let task = &group.tasks[0];
        assert_eq!(task.kind, DiffType::Edited);
        let config = task.objects.iter().find(|object| object.name == "Config").expect("config");
        let names: Vec<_> =
            config.fields.iter().map(|field| (field.name.as_str(), field.kind)).collect();
        assert_eq!(
            names,
            [
                ("args[0]", DiffType::Added),
                ("args[1]", DiffType::Added),
                ("command", DiffType::None)
            ]
        );
        let resources =
            task.objects.iter().find(|object| object.name == "Resources").expect("resources");
        assert_eq!(resources.fields[0].name, "CPU");
        assert_eq!(resources.fields[0].kind, DiffType::Edited);
    }

    #[test]
    fn whole_jobs_come_and_go() {
        let job = service("a", 1);
        assert_eq!(diff_jobs(None, Some(&job)).kind, DiffType::Added);
        let gone = diff_jobs(Some(&job), None);
        assert_eq!(gone.kind, DiffType::Deleted);
        assert_eq!(gone.task_groups[0].tasks[0].kind, DiffType::Deleted);
    }

    #[test]
    fn ports_and_constraints_are_blocks() {
        let old = service("a", 1);
        let mut new = old.clone();
        new.task_groups[0].networks[0].dynamic_ports[0].to = 80;
        new.constraints.push(model::Constraint {
            attribute: "${attr.kernel.name}".into(),
            value: "linux".into(),
            operator: "=".into(),
        });
        let diff = diff_jobs(Some(&old), Some(&new));
        assert_eq!(diff.objects[0].name, "Constraint");
        assert_eq!(diff.objects[0].kind, DiffType::Added);
        let network = &diff.task_groups[0].objects[0];
        assert_eq!((network.name.as_str(), network.kind), ("Network", DiffType::Edited));
        assert_eq!(network.objects[0].name, "Dynamic Port");
    }

    #[test]
    fn secrets_stay_secret() {
        let mut old = service("a", 1);
        let task = &mut old.task_groups[0].tasks[0];
        task.env.insert("DB_PASSWORD".into(), "hunter1".into());
        task.env.insert("URL".into(), "postgres://u:hunter1@db/x".into());
        task.config.insert(
            "auth".into(),
            serde_json::json!({ "username": "hunter1", "password": "hunter1" }),
        );
        task.config.insert(
            "args".into(),
            serde_json::json!(["--api-key=hunter1", "--token", "hunter1", "-v"]),
        );
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
            let text = serde_json::to_string(&diff).expect("writes");
            assert!(!text.contains("hunter"), "{text}");
        }
        let diff = diff_jobs(Some(&old), Some(&new));
        let task = &diff.task_groups[0].tasks[0];
        let field = |name: &str| task.fields.iter().find(|field| field.name == name).cloned();
        let password = field("Env[DB_PASSWORD]").expect("is shown");
        assert_eq!((password.old.as_str(), password.new.as_str()), ("<hidden>", "<changed>"));
        let url = field("Env[URL]").expect("is shown");
        assert_eq!(url.old, "postgres://u:<hidden>@db/x");
        assert_eq!(url.kind, DiffType::Edited);
    }
}
