//! The whole surface that a driver offers to the node.
//!
//! # Rules for whoever writes a driver
//!
//! * **A task outlives the agent.** After [`Driver::start`] returned, the task runs, its output is kept and its exit
//!   code is remembered whether or not an agent is there. Dropping the driver stops nothing.
//! * **The handle is all that is kept.** [`TaskHandle::state`] is stored by the node and given back to another process,
//!   perhaps of a newer version. It holds what finds the task again and never a secret.
//! * **Nothing is touched that is not ours.** Before a signal, a kill or a removal the driver proves that the process or
//!   container is the one of the handle: start time and boot for processes, labels for containers.
//! * **Nothing blocks the runtime.** Each method may be called from many tasks at once. Work that can block on a disk or
//!   a fork runs on a blocking thread. Dropping a returned future is allowed at any await.
//! * **Only [`Driver::wait`] may take for ever**, because a task may run for ever. Everything else has a limit of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{AllocId, Dns, DriverInfo, JobId, LogConfig, PortAssignment, Resources};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ExitStatus, Hardware};

/// What [`Driver::exec`] keeps of a command's output, in bytes; the rest is read and dropped.
pub const MAX_EXEC_OUTPUT: usize = 4096;

/// Where a task's files are on the node. All absolute; the node has made them before [`Driver::start`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskDirs {
    /// The allocation's shared directory, `alloc/`.
    pub alloc_dir: PathBuf,
    /// The task's own directory, `<task>/`. Beside `alloc_dir` in the allocation's root.
    pub task_dir: PathBuf,
    /// `<task>/local`.
    pub local: PathBuf,
    /// `<task>/secrets`.
    pub secrets: PathBuf,
    /// Where `<task>.stdout.N` and `<task>.stderr.N` are written.
    pub logs: PathBuf,
    /// What a driver keeps to find the task again: `<allocation>/<task>` beneath a place that no task, download, template
    /// or volume has a way to. What lies here is believed. The driver makes it.
    pub state: PathBuf,
}

/// Whether mounts that appear on one side later are seen on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Never.
    #[default]
    Private,
    /// What the node mounts below it later appears in the task.
    HostToTask,
    /// Both ways. Gives the task a say in the node's mounts.
    Bidirectional,
}

/// A directory of the node that the task is to see. The node decided that it may; the driver only mounts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The path on the node. Absolute.
    pub source: PathBuf,
    /// The path in the task; relative ones are from the task's directory.
    pub target: String,
    /// Whether the task may only read.
    pub read_only: bool,
    /// What becomes of later mounts.
    pub propagation: Propagation,
}

/// The network that all tasks of an allocation share, apart from the node's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupNetwork {
    /// A file that stands for the namespace, to be joined with `setns`.
    pub namespace: PathBuf,
    /// The container that holds the namespace, for drivers whose daemon joins containers only.
    pub container: Option<String>,
    /// The host name in it; the driver's choice when empty.
    pub hostname: String,
    /// Address of the allocation in it; empty without one.
    pub address: String,
}

/// A group's network that tasks of a driver can join through a container only.
#[derive(Clone, Debug)]
pub struct NetworkHold {
    /// The allocation.
    pub alloc: AllocId,
    /// Its job.
    pub job: JobId,
    /// Its group.
    pub group: String,
    /// The file that stands for the namespace.
    pub namespace: PathBuf,
    /// The host name that the tasks share; the driver's choice when empty.
    pub hostname: String,
    /// Name resolution, where it is not the node's.
    pub dns: Option<Dns>,
}

/// Takes in what a driver is doing for a task, as events of the task: a kind in Nomad's words, such as `Driver`, and a
/// message. Cheap; what it says is lost if nobody listens.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(&'static str, String) + Send + Sync>>);

impl Progress {
    /// Tells `listener`.
    pub fn to(listener: impl Fn(&'static str, String) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Says what is being done.
    pub fn say(&self, kind: &'static str, message: impl Into<String>) {
        if let Some(listener) = &self.0 {
            listener(kind, message.into());
        }
    }
}

/// What a task uses now. All from its start, or at this moment; what a driver cannot tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskStats {
    /// Processor time, in nanoseconds.
    pub cpu_nanos: u64,
    /// Of it, in the kernel.
    pub system_nanos: u64,
    /// Times that it was held back because it used more than its share.
    pub throttled_periods: u64,
    /// How long it was held back, in nanoseconds.
    pub throttled_nanos: u64,
    /// Memory that nobody could take from it, in bytes.
    pub rss_bytes: u64,
    /// Memory with what the kernel keeps of files for it, in bytes.
    pub memory_bytes: u64,
    /// The most memory it ever used, in bytes.
    pub memory_peak_bytes: u64,
    /// Its processes.
    pub processes: u64,
}

/// What a task sees as `/`. It decides to whom the task's directories on the node must be open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskRoot {
    /// The node's own root: the task's user walks the whole way to its directories.
    #[default]
    Node,
    /// The task's directory, entered by somebody who may: its user needs only what is inside.
    TaskDir,
    /// An image's: `local`, `secrets` and `alloc` are mounted one by one, for users that the node does not know.
    Image,
}

/// A task, ready to run: every reference is resolved.
#[derive(Clone)]
pub struct TaskSpec {
    /// The allocation.
    pub alloc: AllocId,
    /// Its job.
    pub job: JobId,
    /// Its group.
    pub group: String,
    /// The task's name.
    pub task: String,
    /// The driver's own settings, as [`Driver::validate`] accepts them.
    pub driver_config: BTreeMap<String, Value>,
    /// The environment. May hold secrets.
    pub env: BTreeMap<String, String>,
    /// Its directories.
    pub dirs: TaskDirs,
    /// User to run as; the driver's default when empty.
    pub user: String,
    /// What it may use.
    pub resources: Resources,
    /// What of the node's hardware it is given.
    pub hardware: Hardware,
    /// The allocation's ports.
    pub ports: Vec<PortAssignment>,
    /// Signal that asks it to end; the driver's default when empty.
    pub kill_signal: String,
    /// Rotation of its output.
    pub log: LogConfig,
    /// Marks for drivers that can carry them; ours (`herder.*`) are added by the driver.
    pub labels: BTreeMap<String, String>,
    /// Directories of the node that it sees beside its own.
    pub volumes: Vec<Volume>,
    /// The group's own network; `None` for the node's.
    pub network: Option<GroupNetwork>,
    /// Name resolution, where it is not the node's.
    pub dns: Option<Dns>,
    /// Who hears what is being done for it.
    pub progress: Progress,
}

/// Without what may be secret: the environment and the driver's settings.
impl std::fmt::Debug for TaskSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskSpec")
            .field("alloc", &self.alloc)
            .field("job", &self.job)
            .field("task", &self.task)
            .field("dirs", &self.dirs)
            .finish_non_exhaustive()
    }
}

/// What finds a started task again. The node stores it before it reports the task as running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskHandle {
    /// The driver's name.
    pub driver: String,
    /// `<allocation>/<task>`, for messages.
    pub task_id: String,
    /// The driver's own.
    pub state: Value,
}

impl TaskHandle {
    /// How [`Self::task_id`] is written.
    pub fn id(alloc: AllocId, task: &str) -> String {
        format!("{alloc}/{task}")
    }
}

/// What became of a task while no agent was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// It runs; call [`Driver::wait`].
    Running,
    /// It ended.
    Exited(ExitStatus),
    /// Neither it nor its end can be found: the machine was restarted, or somebody removed it.
    Gone,
}

/// What a command in a task said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code; 128 + n for one that signal n ended, 127 for one that is not there.
    pub exit_code: i32,
    /// The first [`MAX_EXEC_OUTPUT`] bytes of stdout and stderr, mixed as they came. Not always UTF-8.
    pub output: Vec<u8>,
}

/// Something that runs and carries our mark, whether or not the node remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    /// Good for [`Driver::stop`] and [`Driver::destroy`].
    pub handle: TaskHandle,
    /// The allocation that its mark names.
    pub alloc: AllocId,
    /// The task that its mark names.
    pub task: String,
    /// Whether it runs now.
    pub running: bool,
}

/// Why a driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The settings cannot be meant; another attempt fails the same way.
    #[error("the {driver} settings are wrong: {problem}")]
    Config {
        /// The driver.
        driver: &'static str,
        /// Every problem, in words.
        problem: String,
    },
    /// The driver cannot work on this node now.
    #[error("the {driver} driver is not available: {problem}")]
    Unavailable {
        /// The driver.
        driver: &'static str,
        /// Why.
        problem: String,
    },
    /// The task could not be started, and another attempt may succeed.
    #[error("{0}")]
    Start(String),
    /// The task cannot be started this way, however often it is tried.
    #[error("{0}")]
    StartNever(String),
    /// Something in its place is not what the handle means; it is left alone.
    #[error("{what} is not the one of task {task_id}; it is left alone")]
    NotOurs {
        /// The process or container.
        what: String,
        /// The task.
        task_id: String,
    },
    /// The task does not run.
    #[error("task {0} is not running")]
    NotRunning(String),
    /// The handle's state was not written by this driver.
    #[error("the handle of task {task_id} cannot be read: {problem}")]
    Handle {
        /// The task.
        task_id: String,
        /// Why.
        problem: String,
    },
    /// No signal of that name.
    #[error("`{0}` is not a signal; write a name such as \"SIGTERM\" or \"SIGHUP\"")]
    Signal(String),
    /// It took longer than allowed.
    #[error("{doing} took longer than {}", model::format_duration(*.limit))]
    Timeout {
        /// What was done.
        doing: String,
        /// How long it may take.
        limit: Duration,
    },
    /// The system or the daemon refused.
    #[error("{doing}: {problem}")]
    Failed {
        /// What was tried, and on what.
        doing: String,
        /// What it said.
        problem: String,
    },
}

impl DriverError {
    /// Whether another attempt may succeed. A task whose start can never succeed is not restarted.
    pub const fn is_recoverable(&self) -> bool {
        !matches!(self, Self::Config { .. } | Self::StartNever(_) | Self::Signal(_))
    }

    pub(crate) fn failed(doing: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::Failed { doing: doing.into(), problem: problem.to_string() }
    }
}

/// A way to run tasks.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The name that job files use.
    fn name(&self) -> &'static str;

    /// Whether the driver works here and what it adds to the node's attributes. Cheap enough for every 30 seconds;
    /// never fails, and takes at most a few seconds when a daemon does not answer.
    async fn fingerprint(&self) -> DriverInfo;

    /// What is wrong with a task's settings, each in words; empty when nothing is. Looks at nothing but `config`.
    fn validate(&self, config: &BTreeMap<String, Value>) -> Vec<String>;

    /// The task's own view of `alloc_dir`, `local` and `secrets`, for its environment. The node's paths unless the driver
    /// gives the task another root.
    fn paths_in_task(&self, dirs: &TaskDirs) -> [PathBuf; 3] {
        [dirs.alloc_dir.clone(), dirs.local.clone(), dirs.secrets.clone()]
    }

    /// What tasks see as `/`.
    fn root(&self) -> TaskRoot {
        TaskRoot::Node
    }

    /// Starts the task and returns once it runs. What an attempt that was cut short left behind is found and replaced or
    /// taken over, so that no task runs twice.
    async fn start(&self, spec: &TaskSpec) -> Result<TaskHandle, DriverError>;

    /// Finds a task that another agent started, and takes up what this driver does for it in the agent.
    async fn reattach(&self, handle: &TaskHandle) -> Result<Attached, DriverError>;

    /// Waits for the task's end. May be dropped and called again, also after the end and by several callers.
    async fn wait(&self, handle: &TaskHandle) -> Result<ExitStatus, DriverError>;

    /// Sends a signal, such as `SIGHUP`, to the task's main process.
    async fn signal(&self, handle: &TaskHandle, signal: &str) -> Result<(), DriverError>;

    /// Asks the task to end with `signal` (the driver's default when empty or not a signal here), waits for `timeout`,
    /// then kills it with everything it started, whatever became of the asking. Of a task that already ended it returns the end.
    async fn stop(
        &self,
        handle: &TaskHandle,
        signal: &str,
        timeout: Duration,
    ) -> Result<ExitStatus, DriverError>;

    /// Removes what is left, killing it if need be; the logs stay. Of what is already gone it succeeds.
    async fn destroy(&self, handle: &TaskHandle) -> Result<(), DriverError>;

    /// Runs a command with the task's environment, user and directory, or in its container. Kills it at `timeout`.
    async fn exec(
        &self,
        handle: &TaskHandle,
        command: &str,
        args: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, DriverError>;

    /// What the task uses now; `None` where the driver cannot tell, or the task does not run.
    async fn stats(&self, _handle: &TaskHandle) -> Result<Option<TaskStats>, DriverError> {
        Ok(None)
    }

    /// Has a task that has no cores of its own run on these from now on. Where the driver cannot, it runs on.
    async fn set_cores(&self, _handle: &TaskHandle, _cores: &[u16]) -> Result<(), DriverError> {
        Ok(())
    }

    /// Whether tasks join a group's network through a container that this driver keeps in it.
    fn joins_by_container(&self) -> bool {
        false
    }

    /// Sees to it that a container is in the network, and says which. Cheap when it is there. The namespace outlives the
    /// container: one that ended is replaced by another in the same namespace.
    async fn hold_network(&self, _hold: &NetworkHold) -> Result<String, DriverError> {
        let problem = "it keeps no container in a group's network".to_owned();
        Err(DriverError::Unavailable { driver: self.name(), problem })
    }

    /// Removes the container of an allocation's network; of what is gone already it succeeds.
    async fn let_network_go(&self, _alloc: AllocId) -> Result<(), DriverError> {
        Ok(())
    }

    /// The allocations that [`Self::hold_network`] keeps a container for.
    async fn held_networks(&self) -> Result<Vec<AllocId>, DriverError> {
        Ok(Vec::new())
    }

    /// Everything on this machine that carries our mark, whether or not the node remembers it. What an agent began to
    /// start and did not live to see is waited for. A list that cannot be had whole is an error and never a shorter one.
    async fn list_ours(&self) -> Result<Vec<Ours>, DriverError>;
}
