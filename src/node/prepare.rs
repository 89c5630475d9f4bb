//! What a task finds when it starts beside its directories. One stage after the other, each in a file of its own; the
//! first that fails keeps the task from starting, under the name that Nomad gives that event.

pub(crate) mod artifacts;

use std::collections::BTreeMap;
use std::sync::Arc;

use driver::{GroupNetwork, Progress, TaskDirs, Volume};
use model::{Allocation, Group, Job, Task};

use crate::runner::Shared;

/// A task that is about to start. Every stage reads it; none changes it.
#[expect(dead_code, reason = "stages read what they need of it")]
pub(crate) struct Preparing<'a> {
    pub shared: &'a Arc<Shared>,
    pub alloc: &'a Arc<Allocation>,
    pub job: &'a Job,
    pub group: &'a Group,
    pub task: &'a Task,
    pub dirs: &'a TaskDirs,
    /// The task's environment so far, which references are resolved with.
    pub env: &'a BTreeMap<String, String>,
    /// Who hears what is being done.
    pub progress: &'a Progress,
}

/// What the stages bring to the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Prepared {
    /// Environment over the task's own, as templates write it.
    pub env: BTreeMap<String, String>,
    /// Directories of the node.
    pub volumes: Vec<Volume>,
    /// The group's own network.
    pub network: Option<GroupNetwork>,
}

/// Why a task cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unprepared {
    /// The event, in Nomad's words: `Setup Failure`, `Failed Artifact Download` …
    pub kind: &'static str,
    /// What happened, to what, and what to do.
    pub message: String,
    /// Whether another attempt may work.
    pub recoverable: bool,
}

/// Runs the stages in their order.
///
/// # Errors
/// What the first stage that failed says.
pub(crate) async fn prepare(task: &Preparing<'_>) -> Result<Prepared, Unprepared> {
    // In this order: payload, volumes, network, artifacts, templates.
    let prepared = Prepared::default();
    artifacts::fetch_all(task).await?;
    Ok(prepared)
}
