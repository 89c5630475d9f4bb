//! `java`: a Java program, kept apart as `exec` keeps its tasks.

mod config;
mod version;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::SystemTime;

use model::DriverInfo;
use serde_json::Value;

use crate::exec::{IsolationOptions, environment, isolation};
use crate::shim::{CommandSpec, Kind, Plan, Processes};
use crate::{DriverError, TaskDirs, TaskRoot, TaskSpec, isolate};
use version::Version;

const NAME: &str = "java";

/// The driver `java`.
pub type Java = Processes<Machine>;

/// What the program `java` said of itself, and the file that it was then.
type Known = Option<(PathBuf, Option<SystemTime>, Result<Version, String>)>;

/// The node's Java, for tasks that are kept apart.
#[derive(Debug)]
pub struct Machine {
    options: IsolationOptions,
    known: Mutex<Known>,
}

impl Java {
    /// A driver with these options.
    pub fn new(options: IsolationOptions) -> Self {
        let setup = options.setup();
        Self::of(Machine { options, known: Mutex::default() }, setup)
    }
}

impl Machine {
    /// The node's Java. It is asked once for as long as its file stays the same: asking takes it half a second.
    fn version(&self) -> Result<Version, String> {
        let Some(program) = program() else {
            return Err("there is no `java` in the agent's PATH".to_owned());
        };
        let changed = std::fs::metadata(&program).and_then(|meta| meta.modified()).ok();
        let Ok(mut known) = self.known.lock() else {
            return Err("nobody knows: a look at it broke off".to_owned());
        };
        if let Some((path, at, version)) = &*known
            && (path, at) == (&program, &changed)
        {
            return version.clone();
        }
        let version = ask(&program);
        *known = Some((program, changed, version.clone()));
        version
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("java")).find(|program| program.is_file())
}

fn ask(program: &Path) -> Result<Version, String> {
    let output = Command::new(program)
        .arg("-version")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    Version::parse(&String::from_utf8_lossy(&output.stderr))
        .ok_or_else(|| format!("{} -version says nothing of a version", program.display()))
}

impl Kind for Machine {
    const NAME: &'static str = NAME;

    fn info(&self) -> DriverInfo {
        match self.options.usable().and_then(|_| self.version()) {
            Ok(version) => DriverInfo {
                detected: true,
                healthy: true,
                description: "healthy".to_owned(),
                attributes: BTreeMap::from([
                    ("driver.java".to_owned(), "1".to_owned()),
                    ("driver.java.version".to_owned(), version.version),
                    ("driver.java.runtime".to_owned(), version.runtime),
                    ("driver.java.vm".to_owned(), version.machine),
                ]),
            },
            Err(description) => DriverInfo { description, ..DriverInfo::default() },
        }
    }

    fn validate(&self, config: &BTreeMap<String, Value>) -> Vec<String> {
        config::parse(config, &self.options).1
    }

    fn plan(&self, spec: &TaskSpec) -> Result<Plan, DriverError> {
        let unavailable = |problem| DriverError::Unavailable { driver: NAME, problem };
        self.options.usable().map_err(unavailable)?;
        let program = program()
            .ok_or_else(|| unavailable("there is no `java` in the agent's PATH".to_owned()))?;
        let (config, problems) = config::parse(&spec.driver_config, &self.options);
        if !problems.is_empty() {
            return Err(DriverError::Config { driver: NAME, problem: problems.join("; ") });
        }
        let user = self.options.user(&spec.user).map_err(DriverError::StartNever)?;
        Ok(Plan {
            command: CommandSpec {
                env: environment(std::env::vars_os(), &user, spec),
                cwd: isolate::work_dir(config.asked.work_dir.as_deref()),
                task_dir: spec.dirs.task_dir.clone(),
                user,
                command: program.to_string_lossy().into_owned(),
                args: config.arguments(),
                ..CommandSpec::default()
            },
            isolation: Some(isolation(&self.options, &config.asked, spec)?),
        })
    }

    fn paths_in_task(&self, _: &TaskDirs) -> [PathBuf; 3] {
        ["/alloc", "/local", "/secrets"].map(PathBuf::from)
    }

    fn root(&self) -> TaskRoot {
        TaskRoot::TaskDir
    }
}
