//! How the driver is set up on a node. The node's word is final: what a job file may ask for is decided here.

use std::path::PathBuf;
use std::time::Duration;

use super::Engine;

/// What becomes of containers and images that are no longer needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// Whether an image that one of our tasks pulled is removed once nothing uses it.
    pub image: bool,
    /// How long it must have been unused.
    pub image_delay: Duration,
    /// Whether a task's container is removed with the task; else it stays, stopped, to be looked at.
    pub container: bool,
    /// Where it is kept which images are ours; without it no image is ever removed.
    pub record: Option<PathBuf>,
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            image: true,
            image_delay: Duration::from_secs(3 * 60),
            container: true,
            record: None,
        }
    }
}

/// How `docker` or `podman` is set up on a node.
#[derive(Clone, Debug)]
pub struct DockerOptions {
    /// Which of the two.
    pub engine: Engine,
    /// A socket's path, or what `DOCKER_HOST` holds. By default `DOCKER_HOST`, else `/var/run/docker.sock`; for Podman
    /// `/run/podman/podman.sock`.
    pub host: Option<String>,
    /// Whether files may ask for `privileged`, and with it for everything that weakens a container's walls.
    pub allow_privileged: bool,
    /// Whether files may put a task into namespaces of the node or of another container.
    pub allow_host_namespaces: bool,
    /// Whether files may mount paths of the node and volumes of the daemon.
    pub volumes_enabled: bool,
    /// Capabilities that files may add beside those that Docker grants anyway; `ALL` for every one.
    pub allow_caps: Vec<String>,
    /// Devices of the node that files may pass on: paths, or folders of them with `/` at the end.
    pub allow_devices: Vec<String>,
    /// Runtimes that files may name.
    pub allow_runtimes: Vec<String>,
    /// Whether no task may gain privileges by running a program, whatever its file says.
    pub no_new_privileges: bool,
    /// The most processes that a task may have; 0 for no limit.
    pub pids_limit: i64,
    /// MHz of the whole node, for `cpu_hard_limit`; 0 where nobody knows.
    pub total_compute: u64,
    /// Nomad's labels that containers carry beside ours: `job_name`, `task*`.
    pub extra_labels: Vec<String>,
    /// A `config.json` of the Docker client with logins, and helpers that know them.
    pub auth_config: Option<PathBuf>,
    /// `docker-credential-NAME` knows the logins.
    pub auth_helper: Option<String>,
    /// How long a pull may bring nothing new.
    pub pull_activity_timeout: Duration,
    /// What is cleaned up.
    pub cleanup: Cleanup,
    /// Marks this agent's containers, so that agents that share a daemon leave each other's alone. The node's id does.
    pub instance: String,
}

impl DockerOptions {
    /// The defaults, which let a file reach nothing of the node.
    pub fn new(instance: impl Into<String>) -> Self {
        Self::of(Engine::Docker, instance)
    }

    /// The same for either engine.
    pub fn of(engine: Engine, instance: impl Into<String>) -> Self {
        Self {
            engine,
            host: None,
            allow_privileged: false,
            allow_host_namespaces: false,
            volumes_enabled: false,
            allow_caps: Vec::new(),
            allow_devices: Vec::new(),
            allow_runtimes: engine.runtimes(),
            no_new_privileges: false,
            pids_limit: 4096,
            total_compute: 0,
            extra_labels: Vec::new(),
            auth_config: None,
            auth_helper: None,
            pull_activity_timeout: Duration::from_secs(2 * 60),
            cleanup: Cleanup::default(),
            instance: instance.into(),
        }
    }
}
