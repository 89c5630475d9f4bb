//! `docker`: a container of a Docker daemon, or of Podman's service.
//!
//! The daemon keeps the container, its exit code and, for a while, its output. What the agent adds is the copying of
//! that output into the task's log files; the next agent goes on where the last one was.

mod api;
mod config;
mod container;
mod daemon;
mod exec;
mod follow;
mod group_network;
mod handle;
mod image;
mod inspect;
mod position;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bollard::query_parameters::StartContainerOptions;
use model::{AllocId, DriverInfo, LogConfig};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{
    Attached, Driver, DriverError, ExecOutput, ExitStatus, NetworkHold, Ours, TaskDirs, TaskHandle,
    TaskRoot, TaskSpec, exit,
};
use api::{Api, Endpoint, encode};
use follow::Follower;
use handle::Handle;
use inspect::State;

const NAME: &str = "docker";

/// The oldest API that is spoken: Docker 20.10.
const OLDEST_API: (u32, u32) = (1, 41);

/// How many images are pulled at once.
const PULLS: usize = 3;

/// How often and how long a container that was killed is looked at for having run out of memory.
const OOM_LOOKS: u32 = 8;
const OOM_PAUSE: Duration = Duration::from_millis(60);

/// How long a killed container may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// How `docker` is set up on a node.
#[derive(Clone, Debug)]
pub struct DockerOptions {
    /// A socket's path, or what `DOCKER_HOST` holds. By default `DOCKER_HOST`, else `/var/run/docker.sock`.
    pub host: Option<String>,
    /// Whether files may ask for `privileged`.
    pub allow_privileged: bool,
    /// Whether files may mount paths of the node and volumes of the daemon.
    pub volumes_enabled: bool,
    /// Capabilities that files may add beside those that Docker grants anyway.
    pub allow_caps: Vec<String>,
    /// Marks this agent's containers, so that agents that share a daemon leave each other's alone. The node's id does.
    pub instance: String,
}

impl DockerOptions {
    /// The defaults, which let a file reach nothing of the node.
    pub fn new(instance: impl Into<String>) -> Self {
        Self {
            host: None,
            allow_privileged: false,
            volumes_enabled: false,
            allow_caps: Vec::new(),
            instance: instance.into(),
        }
    }
}

/// The driver. Dropping it leaves its containers alone and ends the copying of their output.
#[derive(Debug)]
pub struct Docker {
    options: DockerOptions,
    api: Api,
    pulls: Semaphore,
    followers: Mutex<HashMap<String, Follower>>,
}

impl Docker {
    /// A driver with these options. Does not need the daemon to be there yet.
    pub fn new(options: DockerOptions) -> Self {
        let host = options.host.clone().or_else(|| std::env::var("DOCKER_HOST").ok());
        let host = host.filter(|host| !host.is_empty());
        let endpoint = Endpoint::parse(host.as_deref().unwrap_or("/var/run/docker.sock"));
        Self {
            options,
            api: Api { endpoint },
            pulls: Semaphore::new(PULLS),
            followers: Mutex::default(),
        }
    }
}

impl Docker {
    /// The daemon learns that the kernel ran out of memory for a container a moment after it learns that the container
    /// ended. A container that was killed is looked at again before anybody is told that it was just a signal.
    async fn told_from_oom(&self, handle: &Handle, status: ExitStatus) -> ExitStatus {
        if status.signal != Some(Signal::SIGKILL as i32) || status.oom {
            return status;
        }
        for _ in 0..OOM_LOOKS {
            tokio::time::sleep(OOM_PAUSE).await;
            match self.find(handle).await {
                Ok(Some(found)) => match found.state {
                    State::Ended(status) if status.oom => return status,
                    _ => {}
                },
                // It is gone or cannot be seen: what is known is all there is.
                Ok(None) | Err(_) => break,
            }
        }
        status
    }
}

#[async_trait]
impl Driver for Docker {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn fingerprint(&self) -> DriverInfo {
        let version = tokio::time::timeout(Duration::from_secs(3), self.api.get("/version")).await;
        let problem = match version {
            Ok(Ok(Some(version))) => match healthy(&version, &self.options) {
                Ok(attributes) => {
                    return DriverInfo {
                        detected: true,
                        healthy: true,
                        description: "healthy".to_owned(),
                        attributes,
                    };
                }
                Err(problem) => problem,
            },
            Ok(Ok(None)) => format!("what listens at {} is not Docker", self.api.endpoint),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the daemon at {} does not answer", self.api.endpoint),
        };
        let detected = match &self.api.endpoint {
            Endpoint::Unix(path) => path.exists(),
            Endpoint::Tcp(_) => true,
        };
        DriverInfo { detected, description: problem, ..DriverInfo::default() }
    }

    fn validate(&self, config: &BTreeMap<String, Value>) -> Vec<String> {
        let (config, mut problems) = config::parse(config, &self.options);
        if !config.image.is_empty() && !image::is_name(&config.image) {
            problems.push(format!("`image`: `{}` cannot be the name of an image", config.image));
        }
        problems
    }

    fn paths_in_task(&self, _: &TaskDirs) -> [PathBuf; 3] {
        ["/alloc", "/local", "/secrets"].map(PathBuf::from)
    }

    fn root(&self) -> TaskRoot {
        TaskRoot::Image
    }

    async fn start(&self, spec: &TaskSpec) -> Result<TaskHandle, DriverError> {
        let problems = self.validate(&spec.driver_config);
        if !problems.is_empty() {
            return Err(DriverError::Config { driver: NAME, problem: problems.join("; ") });
        }
        let (config, _) = config::parse(&spec.driver_config, &self.options);
        if config.sets_logging {
            tracing::warn!(task = spec.task, "`logging` has no effect: Herder keeps the output");
        }
        image::ensure(&self.api, &self.pulls, &config).await?;
        let name = container::name(spec);
        let (container, runs) = self.create(spec, &config, &name).await?;
        let handle = Handle {
            container,
            name,
            alloc: spec.alloc,
            task: spec.task.clone(),
            logs: spec.dirs.logs.clone(),
            log: spec.log.clone(),
        };
        if !runs {
            let client = self.api.client()?;
            let doing = || format!("starting the container {}", handle.name);
            let start = client.start_container(&handle.container, None::<StartContainerOptions>);
            let started = match self.change(doing, start).await {
                Ok(Ok(()) | Err((304, _))) => Ok(()),
                Ok(Err((_, said))) => Err(not_started(&handle.name, &said)),
                Err(error) => Err(error),
            };
            if let Err(error) = started {
                // Else it would be in the way of the next attempt's ports and name.
                let _ = self.remove(&handle.container).await;
                return Err(error);
            }
        }
        self.follow(&handle);
        Ok(handle.out())
    }

    async fn reattach(&self, handle: &TaskHandle) -> Result<Attached, DriverError> {
        let handle = Handle::of(handle)?;
        Ok(match self.find(&handle).await?.map(|found| found.state) {
            None | Some(State::Created) => Attached::Gone,
            Some(State::Running) => {
                self.follow(&handle);
                Attached::Running
            }
            Some(State::Ended(status)) => {
                // What it said while no agent was there.
                self.follow(&handle);
                self.drain(&handle).await;
                Attached::Exited(status)
            }
        })
    }

    async fn wait(&self, handle: &TaskHandle) -> Result<ExitStatus, DriverError> {
        let handle = Handle::of(handle)?;
        let status = self.end(&handle).await?;
        let status = self.told_from_oom(&handle, status).await;
        self.drain(&handle).await;
        Ok(status)
    }

    async fn signal(&self, handle: &TaskHandle, signal: &str) -> Result<(), DriverError> {
        let number =
            exit::parse_signal(signal).ok_or_else(|| DriverError::Signal(signal.to_owned()))?;
        let handle = Handle::of(handle)?;
        if self.find(&handle).await?.is_some() && self.kill(&handle, number.as_str()).await? {
            return Ok(());
        }
        Err(DriverError::NotRunning(handle.task_id()))
    }

    async fn stop(
        &self,
        handle: &TaskHandle,
        signal: &str,
        timeout: Duration,
    ) -> Result<ExitStatus, DriverError> {
        let handle = Handle::of(handle)?;
        let mut ended = None;
        if let Some(found) = self.find(&handle).await? {
            // What the image's own author chose, where the file chooses nothing.
            let number = exit::parse_signal(signal)
                .or_else(|| exit::parse_signal(&found.stop_signal))
                .map_or("SIGTERM", Signal::as_str);
            if let Err(error) = self.kill(&handle, number).await {
                // No reason not to kill it: a job file cannot make a task immortal.
                tracing::warn!(task = handle.task, signal = number, %error, "a signal was not sent");
            }
            ended = tokio::time::timeout(timeout, self.end(&handle)).await.ok();
            if ended.is_none() {
                self.kill(&handle, "SIGKILL").await?;
            }
        }
        let status = match ended {
            Some(status) => status?,
            None => tokio::time::timeout(KILL_LIMIT, self.end(&handle)).await.map_err(|_| {
                let doing = format!("killing the container {}", handle.name);
                DriverError::Timeout { doing, limit: KILL_LIMIT }
            })??,
        };
        self.drain(&handle).await;
        Ok(status)
    }

    async fn destroy(&self, handle: &TaskHandle) -> Result<(), DriverError> {
        let handle = Handle::of(handle)?;
        if let Some(found) = self.find(&handle).await? {
            if found.state == State::Running {
                self.kill(&handle, "SIGKILL").await?;
                let _ = tokio::time::timeout(KILL_LIMIT, self.end(&handle)).await;
            }
            self.drain(&handle).await;
            self.remove(&handle.container).await?;
        }
        if let Ok(mut followers) = self.followers.lock() {
            followers.remove(&handle.container);
        }
        Ok(())
    }

    async fn exec(
        &self,
        handle: &TaskHandle,
        command: &str,
        args: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, DriverError> {
        let handle = Handle::of(handle)?;
        match self.find(&handle).await?.map(|found| found.state) {
            Some(State::Running) => exec::run(&self.api, &handle, command, args, timeout).await,
            _ => Err(DriverError::NotRunning(handle.task_id())),
        }
    }

    async fn list_ours(&self) -> Result<Vec<Ours>, DriverError> {
        let label = format!("{}={}", container::INSTANCE, self.options.instance);
        let filters = encode(&serde_json::json!({ "label": [label] }).to_string());
        match self.api.get(&format!("/containers/json?all=1&filters={filters}")).await? {
            Some(Value::Array(containers)) => Ok(containers.iter().filter_map(ours).collect()),
            _ => Err(self.api.unavailable("its answer is not a list of containers")),
        }
    }

    fn joins_by_container(&self) -> bool {
        true
    }

    async fn hold_network(&self, hold: &NetworkHold) -> Result<String, DriverError> {
        self.hold(hold).await
    }

    async fn let_network_go(&self, alloc: AllocId) -> Result<(), DriverError> {
        self.let_go(alloc).await
    }

    async fn held_networks(&self) -> Result<Vec<AllocId>, DriverError> {
        self.held().await
    }
}

/// One line of the list.
fn ours(value: &Value) -> Option<Ours> {
    let label = |key| value.get("Labels")?.get(key)?.as_str();
    let alloc: AllocId = label(container::ALLOC)?.parse().ok()?;
    let task = label(container::TASK)?.to_owned();
    let container = value.get("Id")?.as_str()?.to_owned();
    let name = value.pointer("/Names/0").and_then(Value::as_str).unwrap_or_default();
    let name = name.trim_start_matches('/').to_owned();
    let state = value.get("State").and_then(Value::as_str).unwrap_or_default();
    let running = !matches!(state, "created" | "exited" | "dead" | "stopped" | "removing");
    let kept = label(container::LOG).and_then(|text| serde_json::from_str(text).ok());
    let (logs, log) = kept.unwrap_or_else(|| {
        // Of a version that did not say where its output goes: whoever finds it this way can only end it.
        (PathBuf::new(), LogConfig { disabled: true, ..LogConfig::default() })
    });
    let handle = Handle { container, name, alloc, task: task.clone(), logs, log };
    Some(Ours { handle: handle.out(), alloc, task, running })
}

/// The attributes of a daemon that is new enough.
fn healthy(version: &Value, options: &DockerOptions) -> Result<BTreeMap<String, String>, String> {
    let text = |key: &str| version.get(key).and_then(Value::as_str).unwrap_or_default();
    let api = text("ApiVersion");
    let parsed = api.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    if parsed.is_none_or(|version: (u32, u32)| version < OLDEST_API) {
        let (major, minor) = OLDEST_API;
        return Err(format!(
            "the daemon speaks API {api}; {major}.{minor} is needed (Docker 20.10 or newer)"
        ));
    }
    Ok(BTreeMap::from([
        ("driver.docker".to_owned(), "1".to_owned()),
        ("driver.docker.version".to_owned(), text("Version").to_owned()),
        ("driver.docker.privileged.enabled".to_owned(), options.allow_privileged.to_string()),
        ("driver.docker.volumes.enabled".to_owned(), options.volumes_enabled.to_string()),
    ]))
}

/// Why a container did not start, and whether it ever will.
fn not_started(name: &str, said: &str) -> DriverError {
    let message = format!("the container {name} cannot be started: {said}");
    let never = ["executable file not found", "no such file or directory", "permission denied"];
    if never.iter().any(|words| said.contains(words)) {
        return DriverError::StartNever(message);
    }
    DriverError::Start(message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn old_daemons_are_told_so() {
        let options = DockerOptions::new("x");
        let new = json!({"ApiVersion": "1.41", "Version": "20.10.24"});
        let attributes = healthy(&new, &options).expect("new enough");
        assert_eq!(attributes["driver.docker.version"], "20.10.24");
        for api in ["1.40", "1.9", "", "nonsense"] {
            assert!(healthy(&json!({"ApiVersion": api}), &options).is_err(), "{api}");
        }
    }

    #[test]
    fn a_command_that_is_not_in_the_image_is_not_tried_again() {
        let said = "OCI runtime create failed: exec: \"x\": executable file not found in $PATH";
        assert!(!not_started("c", said).is_recoverable());
        assert!(not_started("c", "driver failed: port is already allocated").is_recoverable());
    }
}
