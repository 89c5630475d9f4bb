//! The difference of two versions of a job, in Nomad's shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The difference of two versions of a job. `Type` is `None`, `Added`, `Deleted` or `Edited` throughout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobDiff {
    /// Kind of difference.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The job's ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Plain fields.
    #[serde(deserialize_with = "null_is_empty")]
    pub fields: Vec<FieldDiff>,
    /// Blocks.
    #[serde(deserialize_with = "null_is_empty")]
    pub objects: Vec<ObjectDiff>,
    /// Groups.
    #[serde(deserialize_with = "null_is_empty")]
    pub task_groups: Vec<TaskGroupDiff>,
}

/// The difference of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskGroupDiff {
    /// Kind of difference.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The group.
    pub name: String,
    /// Plain fields.
    #[serde(deserialize_with = "null_is_empty")]
    pub fields: Vec<FieldDiff>,
    /// Blocks.
    #[serde(deserialize_with = "null_is_empty")]
    pub objects: Vec<ObjectDiff>,
    /// Tasks.
    #[serde(deserialize_with = "null_is_empty")]
    pub tasks: Vec<TaskDiff>,
    /// What a plan does, counted by words such as `create/destroy update`.
    #[serde(deserialize_with = "null_is_empty")]
    pub updates: BTreeMap<String, u64>,
}

/// The difference of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskDiff {
    /// Kind of difference.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The task.
    pub name: String,
    /// Plain fields.
    #[serde(deserialize_with = "null_is_empty")]
    pub fields: Vec<FieldDiff>,
    /// Blocks.
    #[serde(deserialize_with = "null_is_empty")]
    pub objects: Vec<ObjectDiff>,
    /// What it leads to, such as `forces create/destroy update`.
    #[serde(deserialize_with = "null_is_empty")]
    pub annotations: Vec<String>,
}

/// The difference of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ObjectDiff {
    /// Kind of difference.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The block.
    pub name: String,
    /// Plain fields.
    #[serde(deserialize_with = "null_is_empty")]
    pub fields: Vec<FieldDiff>,
    /// Blocks in it.
    #[serde(deserialize_with = "null_is_empty")]
    pub objects: Vec<ObjectDiff>,
}

/// The difference of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FieldDiff {
    /// Kind of difference.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The field.
    pub name: String,
    /// Its old value; empty for a secret.
    pub old: String,
    /// Its new value; empty for a secret.
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
