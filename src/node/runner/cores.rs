//! Which cores tasks run on that have none of their own: those that nobody has alone.

use std::time::Duration;

use super::{Done, Runner};
use crate::hardware;

/// How long a driver may take to move a task.
const LIMIT: Duration = Duration::from_secs(10);

impl Runner {
    /// Notes, for whoever takes up its tasks later, that they may not be on all cores.
    pub(super) fn mark_narrowed(&mut self) {
        let node = &self.shared.options.node;
        self.record.narrowed |= hardware::is_narrowed(node, &self.kept.borrow());
    }

    /// Moves every running task that shares its cores to those that are left now. One that cannot be moved runs on where
    /// it is.
    pub(super) fn share_cores(&mut self) {
        let cores = {
            let kept = self.kept.borrow_and_update();
            hardware::shared(&self.shared.options.node.resources, &kept)
        };
        let job = self.record.job.clone();
        let Some(group) = job.job.group(&self.record.alloc.group) else { return };
        if cores.is_empty() {
            return;
        }
        for task in &group.tasks {
            let running = matches!(self.task_up(&task.name), Some(Some(_)));
            if !running || !hardware::shares(task, &self.record.alloc) {
                continue;
            }
            let Some(handle) = self.handle(&task.name) else { continue };
            let Some(driver) = self.shared.drivers.get(&handle.driver).cloned() else { continue };
            let cores = cores.clone();
            self.ops.push(Box::pin(async move {
                let moved = tokio::time::timeout(LIMIT, driver.set_cores(&handle, &cores)).await;
                let task = &handle.task_id;
                match moved {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(task, %error, "a task stays on its cores"),
                    Err(_) => tracing::warn!(task, "a task stays on its cores: no answer in time"),
                }
                Done::Overtaken
            }));
        }
    }
}
