//! `raw_exec`: a process on the node, without isolation.

mod config;

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::DriverInfo;
use serde_json::Value;

use crate::shim::{CommandSpec, Kind, Plan, Processes, Setup, Shims};
use crate::{DriverError, TaskSpec};

const NAME: &str = "raw_exec";

/// How `raw_exec` is set up on a node.
#[derive(Clone, Debug)]
pub struct RawExecOptions {
    /// Whether the node offers it. Off by default: a job file could run anything as the agent's user.
    pub enabled: bool,
    /// What starts the processes beside the tasks. One agent's drivers best share one.
    pub shims: Shims,
    /// The directory that `command = "herder"` is looked for in, after the task's PATH.
    pub own_dir: Option<PathBuf>,
    /// The agent's own credentials: environment variables that no task gets, beside those that look like secrets.
    pub denied: Vec<String>,
    /// Where the states of this agent's tasks are kept, which no task has a way to. Several agents may run on one machine.
    pub root: PathBuf,
}

impl RawExecOptions {
    /// The defaults of an agent that keeps the states of its tasks in `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let Setup { shims, own_dir, root } = Setup::new(root.into());
        Self { enabled: false, shims, own_dir, denied: Vec::new(), root }
    }
}

/// The driver `raw_exec`.
pub type RawExec = Processes<Plain>;

/// Processes as they are.
#[derive(Debug)]
pub struct Plain {
    enabled: bool,
    denied: Vec<String>,
}

impl RawExec {
    /// A driver with these options.
    pub fn new(options: RawExecOptions) -> Self {
        let RawExecOptions { enabled, shims, own_dir, denied, root } = options;
        Self::of(Plain { enabled, denied }, Setup { shims, own_dir, root })
    }
}

const DISABLED: &str = "disabled in the node's configuration";

impl Kind for Plain {
    const NAME: &'static str = NAME;

    fn info(&self) -> DriverInfo {
        if !self.enabled {
            return DriverInfo { description: DISABLED.to_owned(), ..DriverInfo::default() };
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

    fn plan(&self, spec: &TaskSpec) -> Result<Plan, DriverError> {
        if !self.enabled {
            return Err(DriverError::Unavailable { driver: NAME, problem: DISABLED.to_owned() });
        }
        let (config, problems) = config::parse(&spec.driver_config);
        if !problems.is_empty() {
            return Err(DriverError::Config { driver: NAME, problem: problems.join("; ") });
        }
        if let Some(volume) = spec.volumes.first() {
            return Err(DriverError::StartNever(format!(
                "the driver raw_exec has no file system of its own to mount {} in; use exec or docker",
                volume.target
            )));
        }
        let task_dir = spec.dirs.task_dir.clone();
        Ok(Plan {
            command: CommandSpec {
                env: config.environment(&self.denied, &spec.env),
                cwd: config.work_dir(&task_dir),
                task_dir,
                user: spec.user.clone(),
                oom_score_adj: config.oom_score_adj,
                command: config.command,
                args: config.args,
                cores: spec.hardware.own_cores(),
                ..CommandSpec::default()
            },
            isolation: None,
        })
    }
}
