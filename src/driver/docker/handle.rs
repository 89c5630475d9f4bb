//! What finds a container again.

use std::path::PathBuf;

use model::{AllocId, LogConfig};
use serde::{Deserialize, Serialize};

use super::NAME;
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
}

impl Handle {
    pub(super) fn of(handle: &TaskHandle) -> Result<Self, DriverError> {
        let wrong =
            |problem: String| DriverError::Handle { task_id: handle.task_id.clone(), problem };
        if handle.driver != NAME {
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

    pub(super) fn out(&self) -> TaskHandle {
        TaskHandle {
            driver: NAME.to_owned(),
            task_id: self.task_id(),
            state: serde_json::to_value(self).unwrap_or_default(),
        }
    }

    /// Whether a container is the one of this handle.
    pub(super) fn owns(&self, found: &Container) -> bool {
        found.alloc == self.alloc.to_string() && found.task == self.task
    }
}
