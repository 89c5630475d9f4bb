//! The driver of every kind of process. What tells the kinds apart is a [`Kind`]; all the rest is here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use model::{AllocId, DriverInfo};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::process::{self, Proc};
use super::record::{CommandSpec, Plan, ShimRecord, ShimSpec, StateDir};
use super::zygote::Shims;
use super::{KILL_LIMIT, agent, command, record, tree};
use crate::{
    Attached, Driver, DriverError, ExecOutput, ExitStatus, Ours, TaskDirs, TaskHandle, TaskRoot,
    TaskSpec, TaskStats, exit,
};

/// What every driver of processes is set up with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// What starts the shims.
    pub(crate) shims: Shims,
    /// The directory that `command = "herder"` is looked for in, after the task's PATH.
    pub(crate) own_dir: Option<PathBuf>,
    /// Where the states of tasks are kept.
    pub(crate) root: PathBuf,
}

impl Setup {
    pub(crate) fn new(root: PathBuf) -> Self {
        let own_dir =
            std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_path_buf()));
        Self { shims: Shims::default(), own_dir, root }
    }
}

/// What tells one driver of processes from another.
pub trait Kind: Send + Sync + 'static {
    /// The name that job files use.
    const NAME: &'static str;

    /// Whether it works here. May block for a moment.
    fn info(&self) -> DriverInfo;

    /// What is wrong with the settings, each in words.
    fn validate(&self, config: &BTreeMap<String, Value>) -> Vec<String>;

    /// What is to run, and how it is kept apart. Looks at no disk but the task's.
    ///
    /// # Errors
    /// When the settings are wrong, or the driver is off.
    fn plan(&self, spec: &TaskSpec) -> Result<Plan, DriverError>;

    /// Where the task finds its directories.
    fn paths_in_task(&self, dirs: &TaskDirs) -> [PathBuf; 3] {
        [dirs.alloc_dir.clone(), dirs.local.clone(), dirs.secrets.clone()]
    }

    /// What tasks see as `/`.
    fn root(&self) -> TaskRoot {
        TaskRoot::Node
    }

    /// Removes what nobody uses any more. Called now and then; may block for a moment.
    fn tidy(&self) {}
}

/// A driver of processes. Dropping it leaves its tasks alone.
#[derive(Debug)]
pub struct Processes<K> {
    pub(crate) kind: Arc<K>,
    setup: Setup,
}

/// One run of a task: what a handle holds. Never the environment: it is read from the running task where it is needed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    #[serde(flatten)]
    pub(super) record: ShimRecord,
    state_dir: PathBuf,
}

impl<K: Kind> Processes<K> {
    pub(crate) fn of(kind: K, setup: Setup) -> Self {
        Self { kind: Arc::new(kind), setup }
    }

    fn shim_spec(&self, spec: &TaskSpec, mut plan: Plan) -> ShimSpec {
        plan.command.own_dir.clone_from(&self.setup.own_dir);
        ShimSpec {
            driver: K::NAME.to_owned(),
            task_id: TaskHandle::id(spec.alloc, &spec.task),
            task: spec.task.clone(),
            logs: spec.dirs.logs.clone(),
            log: spec.log.clone(),
            command: plan.command,
            isolation: plan.isolation,
        }
    }

    fn run_of(&self, handle: &TaskHandle) -> Result<Run, DriverError> {
        let wrong =
            |problem: String| DriverError::Handle { task_id: handle.task_id.clone(), problem };
        if handle.driver != K::NAME {
            return Err(wrong(format!("it is of the driver {}", handle.driver)));
        }
        Run::deserialize(&handle.state).map_err(|error| wrong(error.to_string()))
    }
}

impl Run {
    fn handle(self) -> TaskHandle {
        TaskHandle {
            driver: self.record.driver.clone(),
            task_id: self.record.task_id.clone(),
            state: serde_json::to_value(self).unwrap_or_default(),
        }
    }

    pub(super) fn dir(&self) -> StateDir {
        StateDir::at(self.state_dir.clone())
    }

    /// Whether the processes are of this boot; pids and ticks of another one mean nothing.
    pub(super) fn is_this_boot(&self) -> bool {
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
impl<K: Kind> Driver for Processes<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    async fn fingerprint(&self) -> DriverInfo {
        let kind = self.kind.clone();
        let looked = blocking("look for what the driver needs", move || {
            kind.tidy();
            Ok(kind.info())
        });
        looked.await.unwrap_or_else(|error| DriverInfo {
            description: error.to_string(),
            ..DriverInfo::default()
        })
    }

    fn validate(&self, config: &BTreeMap<String, Value>) -> Vec<String> {
        self.kind.validate(config)
    }

    fn paths_in_task(&self, dirs: &TaskDirs) -> [PathBuf; 3] {
        self.kind.paths_in_task(dirs)
    }

    fn root(&self) -> TaskRoot {
        self.kind.root()
    }

    async fn start(&self, spec: &TaskSpec) -> Result<TaskHandle, DriverError> {
        let plan = self.kind.plan(spec)?;
        let message = self.shim_spec(spec, plan);
        let dir = StateDir::at(spec.dirs.state.clone());
        let shims = self.setup.shims.clone();
        let record = blocking("start the task's shim", {
            let dir = dir.clone();
            move || agent::start(&shims, &dir, &message)
        })
        .await?;
        Ok(Run { record, state_dir: dir.path().to_owned() }.handle())
    }

    async fn reattach(&self, handle: &TaskHandle) -> Result<Attached, DriverError> {
        let run = self.run_of(handle)?;
        blocking("look for the task", move || {
            // The shim writes the end before it ends: a shim that is gone has left a record, or was killed.
            if run.is_this_boot() && run.record.shim.is_alive() {
                return Ok(Attached::Running);
            }
            let exit = run.dir().exit(run.record.shim).map_err(|error| {
                let doing = format!("read how task {} ended", run.record.task_id);
                DriverError::failed(doing, error)
            })?;
            Ok(match exit {
                Some(status) => Attached::Exited(status),
                None if run.task_runs() => Attached::Running,
                None => Attached::Gone,
            })
        })
        .await
    }

    async fn wait(&self, handle: &TaskHandle) -> Result<ExitStatus, DriverError> {
        let run = self.run_of(handle)?;
        agent::wait(&run).await
    }

    async fn signal(&self, handle: &TaskHandle, signal: &str) -> Result<(), DriverError> {
        let run = self.run_of(handle)?;
        let number =
            exit::parse_signal(signal).ok_or_else(|| DriverError::Signal(signal.to_owned()))?;
        let failed =
            |error| DriverError::failed(format!("send {number} to {}", handle.task_id), error);
        if run.is_this_boot() && run.record.task.signal(number).map_err(failed)? {
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
        let run = self.run_of(handle)?;
        // A job file cannot make a task immortal: what is no signal, or cannot be sent, is no reason not to kill.
        let number = exit::parse_signal(signal).unwrap_or(nix::sys::signal::Signal::SIGINT);
        if run.is_this_boot() {
            if let Err(error) = run.record.task.signal_group(number) {
                tracing::warn!(task = handle.task_id, %number, %error, "a signal was not sent");
            }
            if let Ok(status) = tokio::time::timeout(timeout, agent::wait(&run)).await {
                return status;
            }
        }
        let killing = run.clone();
        blocking("kill the task", move || Ok(killing.kill())).await?;
        let status = tokio::time::timeout(KILL_LIMIT, agent::wait(&run)).await;
        status.unwrap_or_else(|_| {
            let doing = format!("killing task {}", handle.task_id);
            Err(DriverError::Timeout { doing, limit: KILL_LIMIT })
        })
    }

    async fn destroy(&self, handle: &TaskHandle) -> Result<(), DriverError> {
        let run = self.run_of(handle)?;
        let task_id = handle.task_id.clone();
        let killing = run.clone();
        let gone = blocking("kill the task", move || Ok(killing.kill())).await?;
        let ended = tokio::time::timeout(KILL_LIMIT, agent::wait(&run)).await;
        if !gone || ended.is_err() {
            return Err(DriverError::Timeout {
                doing: format!("killing task {task_id}"),
                limit: KILL_LIMIT,
            });
        }
        blocking("remove the task's state", move || {
            let dir = run.dir();
            // A later run of the task may have the directory by now.
            let failed =
                |error| DriverError::failed(format!("remove {}", dir.path().display()), error);
            match dir.record().map_err(failed)? {
                Some(record) if record.shim != run.record.shim => Ok(()),
                _ => {
                    if let Some(isolated) = &run.record.isolated {
                        isolated.cgroup.remove().map_err(failed)?;
                    }
                    dir.remove().map_err(failed)
                }
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
        let run = self.run_of(handle)?;
        let (command, args) = (command.to_owned(), args.to_vec());
        let own_dir = self.setup.own_dir.clone();
        let spec = blocking("read the task's environment", move || {
            let env = process::environment(run.record.task.pid);
            // Looked at afterwards: if it runs still, what was read was its own.
            if !run.task_runs() {
                return Err(DriverError::NotRunning(run.record.task_id));
            }
            let ShimRecord { cwd, task_dir, user, isolated, .. } = run.record;
            Ok(CommandSpec {
                command,
                args,
                env,
                cwd,
                task_dir,
                user,
                oom_score_adj: None,
                cores: Vec::new(),
                own_dir,
                isolated,
            })
        })
        .await?;
        command::run(self.setup.shims.program(), &spec, timeout).await
    }

    async fn stats(&self, handle: &TaskHandle) -> Result<Option<TaskStats>, DriverError> {
        let run = self.run_of(handle)?;
        let failed =
            |error| DriverError::failed(format!("read what task {} uses", handle.task_id), error);
        let task_id = handle.task_id.clone();
        let look = move || {
            if !run.task_runs() {
                return Ok(None);
            }
            match &run.record.isolated {
                Some(isolated) => isolated.cgroup.stats().map(Some),
                None => tree::stats(&run.record).map(Some),
            }
        };
        tokio::task::spawn_blocking(look)
            .await
            .map_err(|error| DriverError::failed(format!("look at task {task_id}"), error))?
            .map_err(failed)
    }

    async fn set_cores(&self, handle: &TaskHandle, cores: &[u16]) -> Result<(), DriverError> {
        let run = self.run_of(handle)?;
        let doing = format!("change the cores of task {}", handle.task_id);
        let cores = cores.to_vec();
        blocking("change a task's cores", move || match &run.record.isolated {
            Some(isolated) if run.task_runs() => {
                isolated.cgroup.run_on(&cores).map_err(|error| DriverError::failed(doing, error))
            }
            _ => Ok(()),
        })
        .await
    }

    async fn list_ours(&self) -> Result<Vec<Ours>, DriverError> {
        let setup = self.setup.clone();
        let failed = |error| DriverError::failed("look through the processes", error);
        blocking("look through the processes", move || list(&setup, K::NAME).map_err(failed)).await
    }
}

/// What runs, ran, or is being started, as the states below `root` tell, of one driver. Nothing that a task says of itself
/// counts. Blocks.
fn list(setup: &Setup, driver: &str) -> std::io::Result<Vec<Ours>> {
    let states = record::states(&setup.root)?;
    // Looked at after the states: a shim is started in a state that is there.
    let shims = if states.is_empty() { BTreeMap::new() } else { process::shims()? };
    let mut ours = Vec::new();
    for (alloc, task, dir) in states {
        let shim = shims.get(&dir).copied();
        let found = ours_in(alloc, task, dir.clone(), shim, driver)?;
        if found.is_none() && shim.is_none() {
            setup.shims.remove_unbegun(&StateDir::at(dir))?;
        }
        ours.extend(found);
    }
    Ok(ours)
}

/// The run in a state directory. A shim that has written nothing yet is about to start its task, or to give up.
fn ours_in(
    alloc: AllocId,
    task: String,
    state_dir: PathBuf,
    shim: Option<Proc>,
    driver: &str,
) -> std::io::Result<Option<Ours>> {
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
    if record.driver != driver || record.task_id != TaskHandle::id(alloc, &task) {
        return Ok(None);
    }
    let run = Run { record, state_dir };
    let running = run.task_runs();
    Ok(Some(Ours { handle: run.handle(), alloc, task, running }))
}
