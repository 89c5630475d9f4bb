//! `raw_exec`: a process on the node, without isolation.
//!
//! The agent starts a shim, which starts the task; the two talk once, over the shim's standard streams. After that
//! they share only the task's state directory, so that any later agent stands where the first one did.

mod agent;
mod command;
mod config;
mod launch;
mod process;
mod record;
mod shim;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use model::DriverInfo;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Attached, Driver, DriverError, ExecOutput, ExitStatus, Ours, TaskHandle, TaskSpec, exit,
};
use record::{CommandSpec, ShimRecord, ShimSpec, StateDir};

pub(crate) use process::Proc;
pub use shim::{SHIM_ARG, shim_main};

const NAME: &str = "raw_exec";

/// How long a killed task may take to be gone. Longer than it takes unless it hangs in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// How `raw_exec` is set up on a node.
#[derive(Clone, Debug)]
pub struct RawExecOptions {
    /// Whether the node offers it. Off by default: a job file could run anything as the agent's user.
    pub enabled: bool,
    /// The program that is called with [`SHIM_ARG`]. By default the running binary itself, also when its file was replaced.
    pub shim: PathBuf,
    /// The directory that `command = "herder"` is looked for in, after the task's PATH.
    pub own_dir: Option<PathBuf>,
    /// The agent's own credentials: environment variables that no task gets, beside those that look like secrets.
    pub denied: Vec<String>,
    /// Only tasks whose directories are below it are listed as ours: several agents may run on one machine.
    pub root: PathBuf,
}

impl RawExecOptions {
    /// The defaults of an agent that keeps its allocations below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let own_dir =
            std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_path_buf()));
        Self {
            enabled: false,
            shim: "/proc/self/exe".into(),
            own_dir,
            denied: Vec::new(),
            root: root.into(),
        }
    }
}

/// The driver. Dropping it leaves its tasks alone.
#[derive(Debug)]
pub struct RawExec {
    options: RawExecOptions,
    /// Shims that this process started and has to collect.
    children: Arc<Mutex<Vec<std::process::Child>>>,
}

/// What a handle holds. Never the environment: it is read from the running task where it is needed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    #[serde(flatten)]
    record: ShimRecord,
    state_dir: PathBuf,
    task_dir: PathBuf,
}

impl RawExec {
    /// A driver with these options.
    pub fn new(options: RawExecOptions) -> Self {
        Self { options, children: Arc::default() }
    }

    /// Collects the shims of this process that have ended, so that none stays behind as a zombie.
    fn collect(&self) {
        if let Ok(mut children) = self.children.lock() {
            children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        }
    }

    fn shim_spec(&self, spec: &TaskSpec, config: config::Config) -> ShimSpec {
        // What is not UTF-8 in the agent's environment cannot be meant for a task.
        let host = std::env::vars_os().filter_map(|(name, value)| {
            let name =
                name.into_string().ok().filter(|name| !self.options.denied.contains(name))?;
            Some((name, value.into_string().ok()?))
        });
        let task_dir = spec.dirs.task_dir.clone();
        ShimSpec {
            task_id: TaskHandle::id(spec.alloc, &spec.task),
            task: spec.task.clone(),
            logs: spec.dirs.logs.clone(),
            log: spec.log.clone(),
            command: CommandSpec {
                env: config.environment(host, &spec.env),
                cwd: launch::work_dir(&task_dir, config.work_dir.as_deref()),
                task_dir,
                user: spec.user.clone(),
                oom_score_adj: config.oom_score_adj,
                own_dir: self.options.own_dir.clone(),
                command: config.command,
                args: config.args,
            },
        }
    }
}

impl State {
    fn of(handle: &TaskHandle) -> Result<Self, DriverError> {
        let wrong =
            |problem: String| DriverError::Handle { task_id: handle.task_id.clone(), problem };
        if handle.driver != NAME {
            return Err(wrong(format!("it is of the driver {}", handle.driver)));
        }
        Self::deserialize(&handle.state).map_err(|error| wrong(error.to_string()))
    }

    fn handle(self) -> TaskHandle {
        TaskHandle {
            driver: NAME.to_owned(),
            task_id: self.record.task_id.clone(),
            state: serde_json::to_value(self).unwrap_or_default(),
        }
    }

    fn dir(&self) -> StateDir {
        StateDir::at(self.state_dir.clone())
    }

    /// Whether the processes are of this boot; pids and ticks of another one mean nothing.
    fn is_this_boot(&self) -> bool {
        self.record.boot_id == process::boot_id()
    }

    fn task_runs(&self) -> bool {
        self.is_this_boot() && self.record.task.is_alive()
    }

    /// Kills everything of this run and waits until it is gone. Blocks.
    fn kill(&self) -> bool {
        !self.is_this_boot()
            || process::kill_all(|| process::members(&self.record, &self.state_dir), KILL_LIMIT)
    }
}

/// Runs what may block on a thread for that.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, DriverError> + Send + 'static,
) -> Result<T, DriverError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(DriverError::failed(doing, error)))
}

#[async_trait]
impl Driver for RawExec {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn fingerprint(&self) -> DriverInfo {
        self.collect();
        if !self.options.enabled {
            let description = "disabled in the node's configuration".to_owned();
            return DriverInfo { description, ..DriverInfo::default() };
        }
        DriverInfo {
            detected: true,
            healthy: true,
            description: "healthy".to_owned(),
            attributes: BTreeMap::from([("driver.raw_exec".to_owned(), "1".to_owned())]),
        }
    }

    fn validate(&self, config: &BTreeMap<String, Value>) -> Vec<String> {
        config::parse(config).1
    }

    async fn start(&self, spec: &TaskSpec) -> Result<TaskHandle, DriverError> {
        self.collect();
        if !self.options.enabled {
            let problem = "disabled in the node's configuration".to_owned();
            return Err(DriverError::Unavailable { driver: NAME, problem });
        }
        let (config, problems) = config::parse(&spec.driver_config);
        if !problems.is_empty() {
            return Err(DriverError::Config { driver: NAME, problem: problems.join("; ") });
        }
        let message = self.shim_spec(spec, config);
        let task_dir = message.command.task_dir.clone();
        let dir = StateDir::of_task(&task_dir);
        let program = self.options.shim.clone();
        let children = self.children.clone();
        let record = blocking("start the task's shim", {
            let dir = dir.clone();
            move || {
                let (record, child) = agent::start(&program, &dir, &message)?;
                // Here and not by whoever waits, who may have given up by now.
                if let Ok(mut children) = children.lock() {
                    children.push(child);
                }
                Ok(record)
            }
        })
        .await?;
        Ok(State { record, state_dir: dir.path().to_owned(), task_dir }.handle())
    }

    async fn reattach(&self, handle: &TaskHandle) -> Result<Attached, DriverError> {
        let state = State::of(handle)?;
        blocking("look for the task", move || {
            // The shim writes the end before it ends: a shim that is gone has left a record, or was killed.
            if state.is_this_boot() && state.record.shim.is_alive() {
                return Ok(Attached::Running);
            }
            let exit = state.dir().exit(state.record.shim).map_err(|error| {
                let doing = format!("read how task {} ended", state.record.task_id);
                DriverError::failed(doing, error)
            })?;
            Ok(match exit {
                Some(status) => Attached::Exited(status),
                None if state.task_runs() => Attached::Running,
                None => Attached::Gone,
            })
        })
        .await
    }

    async fn wait(&self, handle: &TaskHandle) -> Result<ExitStatus, DriverError> {
        let state = State::of(handle)?;
        let status = agent::wait(&state).await;
        self.collect();
        status
    }

    async fn signal(&self, handle: &TaskHandle, signal: &str) -> Result<(), DriverError> {
        let state = State::of(handle)?;
        let number =
            exit::parse_signal(signal).ok_or_else(|| DriverError::Signal(signal.to_owned()))?;
        let failed =
            |error| DriverError::failed(format!("send {number} to {}", handle.task_id), error);
        if state.is_this_boot() && state.record.task.signal(number).map_err(failed)? {
            return Ok(());
        }
        Err(DriverError::NotRunning(handle.task_id.clone()))
    }

    async fn stop(
        &self,
        handle: &TaskHandle,
        signal: &str,
        timeout: Duration,
    ) -> Result<ExitStatus, DriverError> {
        let state = State::of(handle)?;
        // A job file cannot make a task immortal: what is no signal, or cannot be sent, is no reason not to kill.
        let number = exit::parse_signal(signal).unwrap_or(nix::sys::signal::Signal::SIGINT);
        if state.is_this_boot() {
            if let Err(error) = state.record.task.signal_group(number) {
                tracing::warn!(task = handle.task_id, %number, %error, "a signal was not sent");
            }
            if let Ok(status) = tokio::time::timeout(timeout, agent::wait(&state)).await {
                self.collect();
                return status;
            }
        }
        let killing = state.clone();
        blocking("kill the task", move || Ok(killing.kill())).await?;
        let status = tokio::time::timeout(KILL_LIMIT, agent::wait(&state)).await;
        self.collect();
        status.unwrap_or_else(|_| {
            let doing = format!("killing task {}", handle.task_id);
            Err(DriverError::Timeout { doing, limit: KILL_LIMIT })
        })
    }

    async fn destroy(&self, handle: &TaskHandle) -> Result<(), DriverError> {
        let state = State::of(handle)?;
        let task_id = handle.task_id.clone();
        let killing = state.clone();
        let gone = blocking("kill the task", move || Ok(killing.kill())).await?;
        let ended = tokio::time::timeout(KILL_LIMIT, agent::wait(&state)).await;
        self.collect();
        if !gone || ended.is_err() {
            return Err(DriverError::Timeout {
                doing: format!("killing task {task_id}"),
                limit: KILL_LIMIT,
            });
        }
        blocking("remove the task's state", move || {
            let dir = state.dir();
            // A later run of the task may have the directory by now.
            let failed =
                |error| DriverError::failed(format!("remove {}", dir.path().display()), error);
            match dir.record().map_err(failed)? {
                Some(record) if record.shim != state.record.shim => Ok(()),
                _ => dir.remove().map_err(failed),
            }
        })
        .await
    }

    async fn exec(
        &self,
        handle: &TaskHandle,
        command: &str,
        args: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, DriverError> {
        let state = State::of(handle)?;
        let (command, args) = (command.to_owned(), args.to_vec());
        let own_dir = self.options.own_dir.clone();
        let spec = blocking("read the task's environment", move || {
            let env = process::environment(state.record.task.pid);
            // Looked at afterwards: if it runs still, what was read was its own.
            if !state.task_runs() {
                return Err(DriverError::NotRunning(state.record.task_id));
            }
            let State { task_dir, record: ShimRecord { cwd, user, .. }, .. } = state;
            Ok(CommandSpec {
                command,
                args,
                env,
                cwd,
                task_dir,
                user,
                oom_score_adj: None,
                own_dir,
            })
        })
        .await?;
        command::run(&self.options.shim, &spec, timeout).await
    }

    async fn list_ours(&self) -> Result<Vec<Ours>, DriverError> {
        let root = self.options.root.clone();
        let failed = |error| DriverError::failed("look through the processes", error);
        blocking("look through the processes", move || list(&root).map_err(failed)).await
    }
}

/// Shims, tasks whose shim is gone, and ends that were written down, below `root`. Blocks.
fn list(root: &Path) -> std::io::Result<Vec<Ours>> {
    let mut found: BTreeMap<PathBuf, Option<Proc>> =
        record::state_dirs(root)?.into_iter().map(|dir| (dir, None)).collect();
    for stat in process::all()? {
        let (dir, shim) = match process::arguments(stat.proc.pid).as_slice() {
            [_, first, mode, dir] if first == SHIM_ARG.as_bytes() && mode == b"run" => {
                (String::from_utf8(dir.clone()).ok(), Some(stat.proc))
            }
            _ => (process::marked_leader(&stat), None),
        };
        if let Some(dir) = dir.map(PathBuf::from).filter(|dir| dir.starts_with(root)) {
            let known = found.entry(dir).or_default();
            *known = known.or(shim);
        }
    }
    let mut ours = Vec::new();
    for (dir, shim) in found {
        ours.extend(ours_in(dir, shim)?);
    }
    Ok(ours)
}

/// The run in a state directory. A shim that has written nothing yet is about to start its task, or to give up.
fn ours_in(state_dir: PathBuf, shim: Option<Proc>) -> std::io::Result<Option<Ours>> {
    let dir = StateDir::at(state_dir.clone());
    let deadline = Instant::now() + agent::START_LIMIT;
    let record = loop {
        let awaited = shim.is_some_and(Proc::is_alive);
        match dir.record()? {
            Some(record) => break record,
            None if !awaited => return Ok(None),
            None if Instant::now() >= deadline => {
                // Whoever started it has given it up by now, or is dead.
                let rest = || {
                    let shim = shim.into_iter().filter(|shim| shim.is_alive());
                    Ok(shim.chain(process::marked(&state_dir)?).collect())
                };
                process::kill_all(rest, KILL_LIMIT);
                return Ok(None);
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let Some((alloc, task)) = record.task_id.split_once('/') else { return Ok(None) };
    let (Ok(alloc), task) = (alloc.parse(), task.to_owned()) else { return Ok(None) };
    let Some(task_dir) = state_dir.parent().map(Path::to_owned) else { return Ok(None) };
    let state = State { record, state_dir, task_dir };
    let running = state.task_runs();
    Ok(Some(Ours { handle: state.handle(), alloc, task, running }))
}
