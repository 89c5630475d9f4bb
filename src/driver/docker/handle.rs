//! What finds a container again.

use std::path::PathBuf;

use model::{AllocId, LogConfig};
use serde::{Deserialize, Serialize};

use super::Engine;
use super::api::encode;
use super::inspect::Container;
use crate::{DriverError, TaskHandle};

/// What a handle holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Handle {
    pub(super) container: String,
    pub(super) name: String,
    pub(super) alloc: AllocId,
    pub(super) task: String,
    pub(super) logs: PathBuf,
    pub(super) log: LogConfig,
    /// The image that really runs, by its id; empty if it could not be told.
    #[serde(default)]
    pub(super) image: String,
    /// What the registry calls that image: `name@sha256:…`. Empty for one that came from no registry.
    #[serde(default)]
    pub(super) digest: String,
}

impl Handle {
    pub(super) fn of(engine: Engine, handle: &TaskHandle) -> Result<Self, DriverError> {
        let wrong =
            |problem: String| DriverError::Handle { task_id: handle.task_id.clone(), problem };
        if handle.driver != engine.name() {
            return Err(wrong(format!("it is of the driver {}", handle.driver)));
        }
        Self::deserialize(&handle.state).map_err(|error| wrong(error.to_string()))
    }

    pub(super) fn task_id(&self) -> String {
        TaskHandle::id(self.alloc, &self.task)
    }

    pub(super) fn path(&self) -> String {
        format!("/containers/{}/json", encode(&self.container))
    }

    pub(super) fn out(&self, engine: Engine) -> TaskHandle {
        TaskHandle {
            driver: engine.name().to_owned(),
            task_id: self.task_id(),
            state: serde_json::to_value(self).unwrap_or_default(),
        }
    }

    /// Whether a container is the one of this handle.
    pub(super) fn owns(&self, found: &Container) -> bool {
        found.alloc == self.alloc.to_string() && found.task == self.task
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn handles_of_older_versions_are_read() {
        let state = json!({
            "container": "abc", "name": "web-1", "alloc": AllocId::default(), "task": "web",
            "logs": "/x", "log": LogConfig::default(),
        });
        let handle = TaskHandle { driver: "docker".into(), task_id: "a/web".into(), state };
        let read = Handle::of(Engine::Docker, &handle).expect("reads");
        assert_eq!((read.container.as_str(), read.image.as_str()), ("abc", ""));
        let problem = Handle::of(Engine::Podman, &handle).expect_err("another driver's");
        assert!(problem.to_string().contains("of the driver docker"), "{problem}");
    }
}
