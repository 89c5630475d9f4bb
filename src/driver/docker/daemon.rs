//! What the driver asks of the daemon for one container, and what it makes of the answers.

use std::time::Duration;

use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::api::{Endpoint, encode, refusal};
use super::follow::Follower;
use super::inspect::{Container, State};
use super::staging::Staged;
use super::{Docker, Handle, about, config, container, volumes};
use crate::{DriverError, ExitStatus, TaskHandle, TaskSpec};

/// How long a change may take the daemon; starting a container on a busy machine takes seconds.
const CHANGE_LIMIT: Duration = Duration::from_secs(120);

/// How long a name may be taken by a container that is on its way in or out.
const NAME_LIMIT: Duration = Duration::from_secs(20);

/// The oldest API that acts on an address in an endpoint.
const MAC_API: (u32, u32) = (1, 44);

/// How long the last output of a container that has ended is waited for.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A container that is there and may not run yet.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) runs: bool,
    /// What the container's mounts are made from, until it has been started.
    #[expect(dead_code, reason = "held and not looked at")]
    staged: Vec<Staged>,
}

impl Docker {
    /// The container of a handle; `None` if there is none, an error if it is not the handle's.
    pub(super) async fn find(&self, handle: &Handle) -> Result<Option<Container>, DriverError> {
        let Some(value) = self.api.get(&handle.path()).await? else { return Ok(None) };
        let found = Container::read(&value);
        if handle.owns(&found) {
            return Ok(Some(found));
        }
        let what = format!("the container {}", handle.name);
        Err(DriverError::NotOurs { what, task_id: handle.task_id() })
    }

    /// Sees to it that a container's output is copied.
    pub(super) fn follow(&self, handle: &Handle) {
        if handle.log.disabled {
            return;
        }
        if let Ok(mut followers) = self.followers.lock() {
            followers
                .entry(handle.container.clone())
                .or_insert_with(|| Follower::start(self.api.clone(), handle.clone()));
        }
    }

    /// Waits, not for ever, until the output of a container that has ended is copied.
    pub(super) async fn drain(&self, handle: &Handle) {
        let done = self.followers.lock().ok().and_then(|f| Some(f.get(&handle.container)?.done()));
        if let Some(mut done) = done {
            let copied = tokio::time::timeout(DRAIN_LIMIT, done.wait_for(|done| *done)).await;
            if copied.is_err() {
                tracing::warn!(task = handle.task, "the last output of a container may be missing");
            }
        }
    }

    /// A change that the daemon makes in bounded time.
    pub(super) async fn change<T>(
        &self,
        doing: impl Fn() -> String,
        work: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<Result<T, (u16, String)>, DriverError> {
        match tokio::time::timeout(CHANGE_LIMIT, work).await {
            Ok(result) => Ok(result.map_err(|error| refusal(&error))),
            Err(_) => Err(DriverError::Timeout { doing: doing(), limit: CHANGE_LIMIT }),
        }
    }

    /// Creates the container, or takes over one that an agent started and did not live to remember.
    pub(super) async fn create(
        &self,
        spec: &TaskSpec,
        config: &config::Config,
    ) -> Result<Created, DriverError> {
        let client = self.api.client()?;
        self.check_mac(config).await?;
        let staging = self.is_beside_us(config).await.then(|| self.staging.clone());
        let (dirs, asked) = (spec.clone(), config.clone());
        let mounts = tokio::task::spawn_blocking(move || {
            let mut mounts = volumes::mounts(&dirs, &asked.mounts, staging.as_ref())?;
            mounts.list.extend(container::files(&dirs, &asked)?);
            Ok(mounts)
        });
        let volumes::Mounts { list, staged } = mounts
            .await
            .map_err(|error| DriverError::failed("prepare volumes", error))?
            .map_err(DriverError::StartNever)?;
        let body =
            container::body(spec, config, &self.options, list).map_err(DriverError::StartNever)?;
        let deadline = tokio::time::Instant::now() + NAME_LIMIT;
        let mut pause = Duration::from_millis(10);
        let mut name = container::name(spec);
        loop {
            let options = CreateContainerOptionsBuilder::default().name(&name).build();
            let doing = || format!("creating the container {name}");
            let create = client.create_container(Some(options), body.clone());
            let problem = match self.change(doing, create).await? {
                Ok(created) => {
                    return Ok(Created { id: created.id, name, runs: false, staged });
                }
                Err(problem) => problem,
            };
            let message = format!("the container {name} cannot be created: {}", problem.1);
            // Podman has no number of its own for a name that is taken.
            let is_taken = problem.0 == 409 || problem.1.contains("is already in use");
            match problem.0 {
                _ if is_taken => {
                    let path = format!("/containers/{}/json", encode(&name));
                    match self.api.get(&path).await?.map(|value| Container::read(&value)) {
                        // The end of an agent cut a request short that the daemon is still carrying out.
                        None => {}
                        // Another agent's, which goes on as it is.
                        Some(found)
                            if !found.instance.is_empty()
                                && found.instance != self.options.instance
                                && name == container::name(spec) =>
                        {
                            name = container::second_name(spec, &self.options.instance);
                            continue;
                        }
                        Some(found)
                            if found.instance != self.options.instance
                                || found.alloc != spec.alloc.to_string()
                                || found.task != spec.task =>
                        {
                            let what = format!("the container {name}");
                            let task_id = TaskHandle::id(spec.alloc, &spec.task);
                            return Err(DriverError::NotOurs { what, task_id });
                        }
                        Some(found)
                            if found.state == State::Running
                                && found.spec == container::fingerprint(spec) =>
                        {
                            return Ok(Created { id: found.id, name, runs: true, staged });
                        }
                        Some(found) => self.remove(&found.id).await?,
                    }
                    if tokio::time::Instant::now() >= deadline {
                        return Err(DriverError::Start(message));
                    }
                    // The name is free a moment after the container is gone.
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                400 | 404 => return Err(DriverError::StartNever(message)),
                _ => return Err(DriverError::Start(message)),
            }
        }
    }

    /// Whether the daemon sees what is mounted here, as far as this task needs it to.
    async fn is_beside_us(&self, config: &config::Config) -> bool {
        let is_relative = |mount: &config::Mounted| matches!(&mount.source, config::Source::Path(path) if !path.starts_with('/'));
        let Endpoint::Unix(socket) = &self.api.endpoint else { return false };
        if !nix::unistd::geteuid().is_root() || !config.mounts.iter().any(is_relative) {
            return false;
        }
        // Of a socket that systemd opened for the daemon it is systemd, which is where the daemon is started from.
        let peer = tokio::net::UnixStream::connect(socket).await.and_then(|peer| peer.peer_cred());
        let Some(pid) = peer.ok().and_then(|peer| peer.pid()) else { return false };
        let namespace = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/mnt")).ok();
        let theirs = namespace(&pid.to_string());
        theirs.is_some() && theirs == namespace("self")
    }

    /// An older daemon takes the address and does not act on it.
    async fn check_mac(&self, config: &config::Config) -> Result<(), DriverError> {
        if config.network.mac.is_none() {
            return Ok(());
        }
        let version = self.api.get("/version").await?.unwrap_or_default();
        if about::api_version(&version).is_some_and(|version| version < MAC_API) {
            return Err(DriverError::StartNever(
                "`mac_address` needs Docker 25 or newer on the node".to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) async fn remove(&self, container: &str) -> Result<(), DriverError> {
        let client = self.api.client()?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let doing = || format!("removing the container {container}");
        match self.change(doing, client.remove_container(container, Some(options))).await? {
            // Gone, or being removed by somebody else.
            Ok(()) | Err((404 | 409, _)) => Ok(()),
            Err((_, said)) => {
                Err(DriverError::failed(format!("remove the container {container}"), said))
            }
        }
    }

    pub(super) async fn kill(&self, handle: &Handle, signal: &str) -> Result<bool, DriverError> {
        let client = self.api.client()?;
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        let doing = || format!("sending {signal} to {}", handle.name);
        match self.change(doing, client.kill_container(&handle.container, Some(options))).await? {
            Ok(()) => Ok(true),
            // Not running, or not there.
            Err((404 | 409, _)) => Ok(false),
            Err((_, said)) => {
                Err(DriverError::failed(format!("send {signal} to {}", handle.name), said))
            }
        }
    }

    /// Waits for the end, through restarts of the daemon.
    pub(super) async fn end(&self, handle: &Handle) -> Result<ExitStatus, DriverError> {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.find(handle).await {
                Ok(None) => return Ok(ExitStatus::unknown("the container was removed")),
                Ok(Some(Container { state: State::Ended(status), .. })) => return Ok(status),
                Ok(Some(Container { state: State::Created, .. })) => {
                    return Ok(ExitStatus::unknown("the container was never started"));
                }
                Ok(Some(_)) => {
                    let begin = tokio::time::Instant::now();
                    self.not_running(handle).await;
                    if begin.elapsed() > pause {
                        pause = Duration::from_millis(50);
                        continue;
                    }
                }
                Err(error @ DriverError::NotOurs { .. }) => return Err(error),
                Err(error) => {
                    tracing::debug!(task = handle.task, %error, "waiting for the Docker daemon");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Returns when the daemon says that the container runs no more, or says nothing more at all. What counts is what the
    /// next look at it finds.
    async fn not_running(&self, handle: &Handle) {
        let Ok(client) = self.api.client() else { return };
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut waiting = Box::pin(client.wait_container(&handle.container, Some(options)));
        let _ = waiting.next().await;
    }
}
