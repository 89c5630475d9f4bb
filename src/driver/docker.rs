//! `docker`: a container of a Docker daemon, or of Podman's service.
//!
//! The daemon keeps the container, its exit code and, for a while, its output. What the agent adds is the copying of
//! that output into the task's log files; the next agent goes on where the last one was.

mod about;
mod api;
mod config;
mod container;
mod daemon;
mod engine;
mod exec;
mod follow;
mod group_network;
mod handle;
mod image;
mod inspect;
mod options;
mod position;
mod staging;
mod stats;
mod volumes;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::ContainerUpdateBody;
use bollard::query_parameters::StartContainerOptions;
use model::{AllocId, DriverInfo, LogConfig};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    Attached, Driver, DriverError, ExecOutput, ExitStatus, NetworkHold, Ours, TaskDirs, TaskHandle,
    TaskRoot, TaskSpec, TaskStats, exit,
};
use api::{Api, Endpoint, encode};
use follow::Follower;
use handle::Handle;
use image::Images;
use inspect::State;
use staging::Staging;

pub use engine::Engine;
pub use options::{Cleanup, DockerOptions};

/// How often and how long a container that was killed is looked at for having run out of memory.
const OOM_LOOKS: u32 = 8;
const OOM_PAUSE: Duration = Duration::from_millis(60);

/// How long a killed container may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// How long each thing that the daemon is asked about itself may take.
const ABOUT_LIMIT: Duration = Duration::from_secs(3);

/// The driver. Dropping it leaves its containers alone and ends the copying of their output.
#[derive(Debug)]
pub struct Docker {
    options: DockerOptions,
    api: Api,
    images: Arc<Images>,
    staging: Staging,
    followers: Mutex<HashMap<String, Follower>>,
}

impl Docker {
    /// A driver with these options. Does not need the daemon to be there yet.
    pub fn new(options: DockerOptions) -> Self {
        let host = options.host.clone().filter(|host| !host.is_empty());
        let host = host.unwrap_or_else(|| options.engine.endpoint());
        let api = Api { engine: options.engine, endpoint: Endpoint::parse(&host) };
        let staging = Staging::new(&format!("{}-{}", options.engine.name(), options.instance));
        staging.clear();
        Self {
            staging,
            images: Arc::new(Images::new(api.clone(), &options)),
            options,
            api,
            followers: Mutex::default(),
        }
    }

    fn handle(&self, handle: &TaskHandle) -> Result<Handle, DriverError> {
        Handle::of(self.options.engine, handle)
    }

    /// What the daemon says of itself, in words where it does not.
    async fn describe(&self) -> Result<BTreeMap<String, String>, String> {
        let version = match tokio::time::timeout(ABOUT_LIMIT, self.api.get("/version")).await {
            Ok(Ok(Some(version))) => version,
            Ok(Ok(None)) => {
                let name = self.options.engine.name();
                return Err(format!("what listens at {} is not {name}", self.api.endpoint));
            }
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("the daemon at {} does not answer", self.api.endpoint)),
        };
        // Nice to know, and no reason to be unwell.
        let more = async |path| match tokio::time::timeout(ABOUT_LIMIT, self.api.get(path)).await {
            Ok(Ok(Some(value))) => value,
            _ => Value::Null,
        };
        let (info, bridge) = tokio::join!(more("/info"), more("/networks/bridge"));
        about::attributes(&version, &info, &bridge, &self.options)
    }

    /// Starts a container that was created.
    async fn run(&self, handle: &Handle) -> Result<(), DriverError> {
        let client = self.api.client()?;
        let doing = || format!("starting the container {}", handle.name);
        let start = client.start_container(&handle.container, None::<StartContainerOptions>);
        let started = match self.change(doing, start).await {
            Ok(Ok(()) | Err((304, _))) => Ok(()),
            Ok(Err((_, said))) => Err(not_started(&handle.name, &said)),
            Err(error) => Err(error),
        };
        if started.is_err() {
            // Else it would be in the way of the next attempt's ports and name.
            let _ = self.remove(&handle.container).await;
        }
        started
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
        self.options.engine.name()
    }

    async fn fingerprint(&self) -> DriverInfo {
        match self.describe().await {
            Ok(attributes) => {
                // The node looks every 30 s, which is as often as images need to be looked at.
                let images = Arc::clone(&self.images);
                tokio::spawn(async move { images.sweeper.sweep().await });
                let description = "healthy".to_owned();
                DriverInfo { detected: true, healthy: true, description, attributes }
            }
            Err(description) => {
                let detected = match &self.api.endpoint {
                    Endpoint::Unix(path) => path.exists(),
                    Endpoint::Tcp(_) => true,
                };
                DriverInfo { detected, description, ..DriverInfo::default() }
            }
        }
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
            let problem = problems.join("; ");
            return Err(DriverError::Config { driver: self.name(), problem });
        }
        let (config, _) = config::parse(&spec.driver_config, &self.options);
        for ignored in &config.ignored {
            spec.progress.say("Driver", *ignored);
        }
        // Until the container is there, nothing but this keeps its image from being cleaned up.
        let want = self.images.sweeper.want(&config.image).await;
        let image =
            self.images.ensure(&config, &self.options, &spec.dirs.local, &spec.progress).await?;
        let created = self.create(spec, &config).await?;
        drop(want);
        let mut handle = Handle {
            container: created.id.clone(),
            name: created.name.clone(),
            alloc: spec.alloc,
            task: spec.task.clone(),
            logs: spec.dirs.logs.clone(),
            log: spec.log.clone(),
            image: String::new(),
            digest: String::new(),
        };
        if !created.runs {
            self.run(&handle).await?;
        }
        drop(created);
        self.follow(&handle);
        // What it really is made of, whatever the name means by now.
        if let Ok(Some(found)) = self.find(&handle).await {
            handle.digest = if found.image == image.id { image.digest } else { String::new() };
            handle.image = found.image;
        }
        Ok(handle.out(self.options.engine))
    }

    async fn reattach(&self, handle: &TaskHandle) -> Result<Attached, DriverError> {
        let handle = self.handle(handle)?;
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
        let handle = self.handle(handle)?;
        let status = self.end(&handle).await?;
        let status = self.told_from_oom(&handle, status).await;
        self.drain(&handle).await;
        Ok(status)
    }

    async fn signal(&self, handle: &TaskHandle, signal: &str) -> Result<(), DriverError> {
        let number =
            exit::parse_signal(signal).ok_or_else(|| DriverError::Signal(signal.to_owned()))?;
        let handle = self.handle(handle)?;
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
        let handle = self.handle(handle)?;
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
        let handle = self.handle(handle)?;
        if let Some(found) = self.find(&handle).await? {
            if found.state == State::Running {
                self.kill(&handle, "SIGKILL").await?;
                let _ = tokio::time::timeout(KILL_LIMIT, self.end(&handle)).await;
            }
            self.drain(&handle).await;
            if self.options.cleanup.container || found.state == State::Created {
                self.remove(&handle.container).await?;
            }
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
        let handle = self.handle(handle)?;
        match self.find(&handle).await?.map(|found| found.state) {
            Some(State::Running) => exec::run(&self.api, &handle, command, args, timeout).await,
            _ => Err(DriverError::NotRunning(handle.task_id())),
        }
    }

    async fn stats(&self, handle: &TaskHandle) -> Result<Option<TaskStats>, DriverError> {
        let handle = self.handle(handle)?;
        if self.find(&handle).await?.is_none_or(|found| found.state != State::Running) {
            return Ok(None);
        }
        let container = encode(&handle.container);
        let path = format!("/containers/{container}/stats?stream=false&one-shot=true");
        Ok(self.api.get(&path).await?.as_ref().and_then(stats::read))
    }

    async fn set_cores(&self, handle: &TaskHandle, cores: &[u16]) -> Result<(), DriverError> {
        let handle = self.handle(handle)?;
        let client = self.api.client()?;
        let doing = || format!("changing the cores of the container {}", handle.name);
        let body = ContainerUpdateBody {
            cpuset_cpus: Some(model::format_cpuset(cores.iter().copied())),
            ..ContainerUpdateBody::default()
        };
        let update = client.update_container(&handle.container, body);
        match self.change(doing, update).await? {
            // One that ended meanwhile needs no cores.
            Ok(()) | Err((404 | 409, _)) => Ok(()),
            Err((_, said)) => Err(DriverError::failed(doing(), said)),
        }
    }

    async fn list_ours(&self) -> Result<Vec<Ours>, DriverError> {
        let label = format!("{}={}", container::INSTANCE, self.options.instance);
        let filters = encode(&serde_json::json!({ "label": [label] }).to_string());
        match self.api.get(&format!("/containers/json?all=1&filters={filters}")).await? {
            Some(Value::Array(containers)) => {
                // What ended and was left to be looked at is nobody's business any more.
                let is_left = |value: &&Value| {
                    let state = value.get("State").and_then(Value::as_str);
                    !self.options.cleanup.container && state == Some("exited")
                };
                let kept = containers.iter().filter(|value| !is_left(value));
                Ok(kept.filter_map(|value| ours(value, self.options.engine)).collect())
            }
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
fn ours(value: &Value, engine: Engine) -> Option<Ours> {
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
    let image = value.get("ImageID").and_then(Value::as_str).unwrap_or_default().to_owned();
    let digest = String::new();
    let handle = Handle { container, name, alloc, task: task.clone(), logs, log, image, digest };
    Some(Ours { handle: handle.out(engine), alloc, task, running })
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
    use super::*;

    #[test]
    fn a_command_that_is_not_in_the_image_is_not_tried_again() {
        let said = "OCI runtime create failed: exec: \"x\": executable file not found in $PATH";
        assert!(!not_started("c", said).is_recoverable());
        assert!(not_started("c", "driver failed: port is already allocated").is_recoverable());
    }
}
