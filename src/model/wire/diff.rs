//! The difference of two versions of a job, in Nomad's shape. `evaluator::diff` makes it; the API and the CLI pass it on
//! as it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What happened to a part of a job.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum DiffType {
    /// Nothing; it is shown so that the rest can be understood.
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
    /// From whether it was there, whether it is there, and whether both are the same.
    pub const fn of(old: bool, new: bool, same: bool) -> Self {
        match (old, new) {
            (false, true) => Self::Added,
            (true, false) => Self::Deleted,
            _ if same => Self::None,
            _ => Self::Edited,
        }
    }
}

/// What a change makes of an allocation that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeClass {
    /// Nothing: no allocation takes notice.
    #[default]
    None,
    /// It goes on running and takes the new version's number.
    InPlace,
    /// It is replaced.
    Destructive,
}

impl ChangeClass {
    /// Its place among the others: the gravest first.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Destructive => 0,
            Self::InPlace => 1,
            Self::None => 2,
        }
    }

    /// What a plan says of it, in Nomad's words.
    pub const fn annotation(self) -> Option<&'static str> {
        match self {
            Self::Destructive => Some("forces create/destroy update"),
            Self::InPlace => Some("forces in-place update"),
            Self::None => None,
        }
    }
}

/// One change of a job, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FieldChange {
    /// Where, as in the job file: `group "web" task "app" config.image`. No values, so nothing secret.
    pub path: String,
    /// What it makes of allocations that run.
    pub class: ChangeClass,
    /// Why, in words: `a running container cannot change its image`.
    pub reason: String,
}

/// The difference of two versions of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobDiff {
    /// What happened.
    #[serde(rename = "Type")]
    pub kind: DiffType,
    /// The job's ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Fields that changed.
    #[serde(deserialize_with = "null_is_empty")]
    pub fields: Vec<FieldDiff>,
    /// Blocks that changed.
    #[serde(deserialize_with = "null_is_empty")]
    pub objects: Vec<ObjectDiff>,
    /// All groups, changed or not.
    #[serde(deserialize_with = "null_is_empty")]
    pub task_groups: Vec<TaskGroupDiff>,
}

/// The difference of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskGroupDiff {
    /// What happened.
    #[serde(rename = "Type")]
    pub kind: DiffType,
    /// The group.
    pub name: String,
    /// Fields that changed.
    #[serde(deserialize_with = "null_is_empty")]
    pub fields: Vec<FieldDiff>,
    /// Blocks that changed.
    #[serde(deserialize_with = "null_is_empty")]
    pub objects: Vec<ObjectDiff>,
    /// Tasks that changed.
    #[serde(deserialize_with = "null_is_empty")]
    pub tasks: Vec<TaskDiff>,
    /// What the next pass does: `create`, `destroy`, `migrate`, `canary`, `in-place update`, `create/destroy update`,
    /// `ignore`, each with a number.
    #[serde(deserialize_with = "null_is_empty")]
    pub updates: BTreeMap<String, u64>,
}

/// The difference of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskDiff {
    /// What happened.
    #[serde(rename = "Type")]
    pub kind: DiffType,
    /// The task.
    pub name: String,
    /// Fields that changed.
    #[serde(deserialize_with = "null_is_empty")]
    pub fields: Vec<FieldDiff>,
    /// Blocks that changed.
    #[serde(deserialize_with = "null_is_empty")]
    pub objects: Vec<ObjectDiff>,
    /// What it leads to, such as `forces create/destroy update`.
    #[serde(deserialize_with = "null_is_empty")]
    pub annotations: Vec<String>,
}

/// The difference of a block. An edited block holds its unchanged fields and blocks too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ObjectDiff {
    /// What happened.
    #[serde(rename = "Type")]
    pub kind: DiffType,
    /// The block.
    pub name: String,
    /// Plain fields.
    #[serde(deserialize_with = "null_is_empty")]
    pub fields: Vec<FieldDiff>,
    /// Blocks in it.
    #[serde(deserialize_with = "null_is_empty")]
    pub objects: Vec<ObjectDiff>,
    /// What it leads to. Nomad has no such field here, and its clients pass over it.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<String>,
}

/// The difference of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FieldDiff {
    /// What happened.
    #[serde(rename = "Type")]
    pub kind: DiffType,
    /// The field; entries of maps as `Env[KEY]`, of lists as `args[0]`. The number is the entry's place in the new list,
    /// or in the old one for an entry that is gone.
    pub name: String,
    /// The value before, without what may be secret in it; empty if there was none.
    pub old: String,
    /// The value after, without what may be secret in it; empty if there is none.
    pub new: String,
    /// What it leads to.
    #[serde(deserialize_with = "null_is_empty")]
    pub annotations: Vec<String>,
}

/// Go writes an empty list as null.
fn null_is_empty<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
