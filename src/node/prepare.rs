//! What a task finds when it starts beside its directories. One stage after the other, each in a file of its own; the
//! first that fails keeps the task from starting, under the name that Nomad gives that event.

pub(crate) mod artifacts;
mod disk;
mod network;
mod payload;
mod templates;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;

use driver::{GroupNetwork, Progress, TaskDirs, Volume};
use model::{Allocation, Group, Job, Task};

use crate::runner::Shared;
pub(crate) use templates::{Changes, rerender};

/// A task that is about to start. Every stage reads it; none changes it.
pub(crate) struct Preparing<'a> {
    pub shared: &'a Arc<Shared>,
    pub alloc: &'a Arc<Allocation>,
    pub job: &'a Job,
    pub group: &'a Group,
    pub task: &'a Task,
    /// What a dispatch handed over.
    pub payload: &'a [u8],
    pub dirs: &'a TaskDirs,
    /// The task's environment so far, which references are resolved with.
    pub env: &'a BTreeMap<String, String>,
    /// Whether it ran before in this allocation.
    pub restarted: bool,
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
    let mut prepared = Prepared::default();
    disk::inherit(task).await?;
    payload::write(task).await?;
    prepared.volumes = volumes::volumes(task).await?;
    network::prepare(task, &mut prepared).await?;
    artifacts::fetch_all(task).await?;
    prepared.env.extend(templates::prepare(task).await?);
    Ok(prepared)
}

impl Unprepared {
    /// What the node itself could not do, as Nomad names it.
    fn setup(message: impl Into<String>, recoverable: bool) -> Self {
        Self { kind: "Setup Failure", message: message.into(), recoverable }
    }
}
