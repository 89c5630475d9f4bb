//! What keeps a process apart from its node: its own root, processes, network and names, a user with no privileges, and
//! a list of what it may ask of the kernel. All of it runs in the shim, which has one thread and may fork.
//!
//! ```text
//! shim ──fork──▶ holder: first of its own processes, mounts the root, then only collects orphans
//!   └───spawn──▶ task:   joins the holder's namespaces, gives its privileges up, becomes the command
//! ```
//!
//! A command that runs beside the task later (a script check) goes the same way as the task. The holder keeps everything
//! alive between the two; when it ends, the kernel ends all that is left inside. It ends by itself once neither the shim nor
//! anything inside is left.

mod enter;
mod holder;
mod place;
mod privileges;
mod program;
mod root;
mod seccomp;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroup, Limits};
use crate::shim::Proc;

pub(crate) use enter::{Entrance, join_processes, work_dir};
pub(crate) use holder::hold;
pub(crate) use privileges::{ALLOWED_BY_DEFAULT, is_capability};

/// A path of the node, as it appears in the task's root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bind {
    /// On the node. Links are followed: it is the node's owner who names it.
    pub(crate) source: PathBuf,
    /// From the task's root. No link is followed: the task may have put one there.
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
    /// Left out where the node does not have it.
    pub(crate) optional: bool,
    /// Whether what the node mounts there later appears, too.
    pub(crate) follows: bool,
    /// Whether the target is one of the node's own files, whose links lead to where they do within the root.
    pub(crate) over: bool,
}

/// How a task is kept apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Isolation {
    /// The directory of the node that becomes the task's root.
    pub(crate) root: PathBuf,
    pub(crate) binds: Vec<Bind>,
    /// Stands for the group's network; the node's when there is none.
    pub(crate) network: Option<PathBuf>,
    /// Empty for the node's.
    pub(crate) hostname: String,
    pub(crate) own_processes: bool,
    pub(crate) own_ipc: bool,
    /// What it may do beside what every user may.
    pub(crate) capabilities: Vec<String>,
    /// Files beneath `/dev` that it finds there beside those that all do.
    #[serde(default)]
    pub(crate) devices: Vec<PathBuf>,
    pub(crate) group: GroupPlan,
}

/// The control group that a task gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupPlan {
    /// The group that all agents of this machine make theirs in.
    pub(crate) parent: String,
    /// This agent's.
    pub(crate) instance: String,
    pub(crate) name: String,
    pub(crate) limits: Limits,
}

/// What finds the surroundings of a running task again, and what a command in them may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Isolated {
    pub(crate) holder: Proc,
    pub(crate) cgroup: Cgroup,
    pub(crate) own_processes: bool,
    pub(crate) capabilities: Vec<String>,
}
