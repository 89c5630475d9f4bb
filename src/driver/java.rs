//! `java`: a Java program, kept apart as `exec` keeps its tasks.

mod config;
mod version;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use model::DriverInfo;
use serde_json::Value;

use crate::exec::{IsolationOptions, environment, isolation};
use crate::shim::{CommandSpec, Kind, Plan, Processes};
use crate::{DriverError, TaskDirs, TaskRoot, TaskSpec, isolate};
use version::Version;

const NAME: &str = "java";

/// How long Java may take to say what it is.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// The most that is read of what it says, in bytes.
const MOST_SAID: u64 = 16 * 1024;

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
    /// The node's Java, looked at once for as long as its file stays the same.
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
        let version = beside(&program).map_or_else(|| ask(&program), Ok);
        *known = Some((program, changed, version.clone()));
        version
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("java")).find(|program| program.is_file())
}

/// What lies beside the program says what it is. Running it takes a good part of a second, which an agent that starts does
/// not have.
fn beside(program: &Path) -> Option<Version> {
    let home = std::fs::canonicalize(program).ok()?.parent()?.parent()?.to_owned();
    let mut text = String::new();
    let file = std::fs::File::open(home.join("release")).ok()?;
    file.take(MOST_SAID).read_to_string(&mut text).ok()?;
    Version::of_release(&text)
}

/// Has the program say itself what it is.
fn ask(program: &Path) -> Result<Version, String> {
    let failed = |error: std::io::Error| format!("{} cannot be run: {error}", program.display());
    let mut child = Command::new(program)
        .arg("-version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let deadline = Instant::now() + ASK_LIMIT;
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() >= deadline {
            let _ = child.kill().and_then(|()| child.wait());
            return Err(format!("{} -version does not end", program.display()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(MOST_SAID).read_to_string(&mut said).map_err(failed)?;
    }
    Version::parse(&said)
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
                cores: spec.hardware.own_cores(),
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
