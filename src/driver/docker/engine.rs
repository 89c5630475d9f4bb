//! Which daemon is spoken to: Docker, or Podman through its Docker API.

/// A daemon's kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Docker.
    #[default]
    Docker,
    /// Podman's service.
    Podman,
}

impl Engine {
    /// The driver's name in job files, handles and attributes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// Where the daemon listens unless something else is said. Only Docker's can come from the environment.
    pub(super) fn endpoint(self) -> String {
        match self {
            Self::Docker => std::env::var("DOCKER_HOST")
                .ok()
                .filter(|host| !host.is_empty())
                .unwrap_or_else(|| "/var/run/docker.sock".to_owned()),
            Self::Podman => "/run/podman/podman.sock".to_owned(),
        }
    }

    /// Runtimes that a job file may name unless the node says otherwise.
    pub fn runtimes(self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::Docker => &["runc"],
            Self::Podman => &["runc", "crun"],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
