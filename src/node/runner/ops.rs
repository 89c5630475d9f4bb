//! Carries out one act of a task's life at its driver and says what came of it.

use std::sync::Arc;
use std::time::Duration;

use driver::{Attached, Driver, DriverError, Hardware, Progress, TaskHandle, TaskRoot};
use model::{Allocation, Group, JobVersion, Task};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::dirs::Room;
use crate::hardware;
use crate::lifecycle::{Event, Op, Recovery};
use crate::prepare::{Preparing, Unprepared, prepare};
use crate::task_env::{env_of, task_paths, task_spec};

/// How long a start that was told to give up may still finish; one that does is stopped in the usual way.
const FINISH_CANCELLED: Duration = Duration::from_secs(5);

/// What an act needs.
pub(super) struct OpContext {
    pub shared: Arc<Shared>,
    pub alloc: Arc<Allocation>,
    pub job: Arc<JobVersion>,
    pub task: String,
    pub handle: Option<TaskHandle>,
    /// Whether the task ran before in this allocation.
    pub restarted: bool,
    pub progress: Progress,
    pub cancel: CancellationToken,
}

impl OpContext {
    pub(super) async fn perform(self, op: Op) -> Event {
        let Some(driver) = self.driver() else {
            return match op {
                Op::Start => Event::StartFailed {
                    kind: "Driver Failure",
                    message: format!("this node has no driver for task `{}`", self.task),
                    recoverable: false,
                },
                Op::Recover => Event::Recovered(Recovery::Nothing),
                Op::Attach | Op::Wait | Op::Stop | Op::Destroy => {
                    self.failed(op, &"this node has no driver for it")
                }
            };
        };
        match (op, &self.handle) {
            (Op::Recover, _) => self.recover(&*driver).await,
            (Op::Start, _) => self.start(&*driver).await,
            (Op::Attach, Some(handle)) => match driver.reattach(handle).await {
                Ok(attached) => Event::Attached(attached),
                Err(error) => self.failed(op, &error),
            },
            (Op::Wait, Some(handle)) => match driver.wait(handle).await {
                Ok(status) => Event::Exited(status),
                Err(error) => self.failed(op, &error),
            },
            (Op::Stop, Some(handle)) => {
                let task = self.job.job.group(&self.alloc.group).and_then(|g| g.task(&self.task));
                let (signal, timeout) = task.map_or(("", Duration::from_secs(5)), |task| {
                    let longest = self.shared.options.max_kill_timeout;
                    (task.kill_signal.as_str(), task.kill_timeout.min(longest))
                });
                match driver.stop(handle, signal, timeout).await {
                    Ok(status) => Event::Exited(status),
                    Err(error) => self.failed(op, &error),
                }
            }
            (Op::Destroy, Some(handle)) => match driver.destroy(handle).await {
                Ok(()) => Event::Destroyed,
                Err(error) => self.failed(op, &error),
            },
            // Started, and yet nothing to find it by: as good as gone.
            (Op::Attach | Op::Wait | Op::Stop, None) => Event::Attached(Attached::Gone),
            (Op::Destroy, None) => Event::Destroyed,
        }
    }

    fn driver(&self) -> Option<Arc<dyn Driver>> {
        let name = match &self.handle {
            Some(handle) => handle.driver.as_str(),
            None => self.job.job.group(&self.alloc.group)?.task(&self.task)?.driver.as_str(),
        };
        self.shared.drivers.get(name).cloned()
    }

    fn failed(&self, op: Op, error: &dyn std::fmt::Display) -> Event {
        let (alloc, task) = (self.alloc.id, &self.task);
        tracing::warn!(%alloc, task, ?op, %error, "the driver failed; it is asked again");
        Event::Failed
    }

    /// Looks for what an earlier agent may have started for this task.
    async fn recover(&self, driver: &dyn Driver) -> Event {
        let mut ours = match self.ours(driver).await {
            Ok(ours) => ours,
            // Nobody knows whether it runs: not to be started again, nor to be called ended.
            Err(error) => return self.failed(Op::Recover, &error),
        };
        ours.sort_by_key(|(running, _)| !running);
        for (_, handle) in ours {
            match driver.reattach(&handle).await {
                Ok(Attached::Running) => return Event::Recovered(Recovery::Running(handle)),
                Ok(Attached::Exited(status)) => {
                    return Event::Recovered(Recovery::Exited(handle, status));
                }
                Ok(Attached::Gone) => {
                    // A container that was made and never started, for example.
                    if let Err(error) = driver.destroy(&handle).await {
                        return self.failed(Op::Recover, &error);
                    }
                }
                Err(error) => return self.failed(Op::Recover, &error),
            }
        }
        Event::Recovered(Recovery::Nothing)
    }

    async fn ours(&self, driver: &dyn Driver) -> Result<Vec<(bool, TaskHandle)>, DriverError> {
        let ours = driver.list_ours().await?.into_iter();
        Ok(ours
            .filter(|found| found.alloc == self.alloc.id && found.task == self.task)
            .map(|found| (found.running, found.handle))
            .collect())
    }

    async fn start(&self, driver: &dyn Driver) -> Event {
        let mut start = std::pin::pin!(self.try_start(driver));
        tokio::select! {
            event = &mut start => return event,
            () = self.cancel.cancelled() => {}
        }
        // It may be a moment from done; dropped now, it could leave something behind that nobody sees.
        if let Ok(event) = tokio::time::timeout(FINISH_CANCELLED, &mut start).await {
            return event;
        }
        match self.destroy_all(driver).await {
            Ok(()) => Event::StartAborted,
            Err(error) => {
                self.failed(Op::Start, &error);
                Event::StartLost
            }
        }
    }

    async fn destroy_all(&self, driver: &dyn Driver) -> Result<(), DriverError> {
        for (_, handle) in self.ours(driver).await? {
            driver.destroy(&handle).await?;
        }
        Ok(())
    }

    fn room(&self, group: &Group, task: &Task, driver: &dyn Driver) -> Room {
        let root = |task: &Task| self.shared.drivers.get(&task.driver).map(|driver| driver.root());
        Room {
            root: driver.root(),
            closed: !group.tasks.iter().any(|task| root(task) == Some(TaskRoot::Node)),
            other_user: !task.user.is_empty(),
            secrets_mb: task.resources.secrets_mb,
        }
    }

    /// The task with what it may really use.
    pub(super) fn allowed(&self, task: &Task) -> Task {
        let options = &self.shared.options;
        let oversubscribes = (options.memory_oversubscription)();
        hardware::allowed(task, &self.alloc, &options.node, oversubscribes)
    }

    async fn hardware(&self, task: &Task) -> Result<Hardware, String> {
        let options = &self.shared.options;
        let given = self.alloc.resources.tasks.get(&task.name);
        let devices = if given.is_some_and(|grant| !grant.devices.is_empty()) {
            let look = options.devices.clone();
            tokio::task::spawn_blocking(move || look()).await.unwrap_or_default()
        } else {
            Vec::new()
        };
        let kept = self.shared.kept.borrow().clone();
        hardware::hardware(task, &self.alloc, &options.node, &kept, &devices)
    }

    async fn try_start(&self, driver: &dyn Driver) -> Event {
        let never = |message: String| Event::StartFailed {
            kind: "Driver Failure",
            message,
            recoverable: false,
        };
        let Some(group) = self.job.job.group(&self.alloc.group) else {
            return never(format!("the job has no group `{}`", self.alloc.group));
        };
        let Some(task) = group.task(&self.task) else {
            return never(format!("the group has no task `{}`", self.task));
        };
        let (shared, alloc, name) = (self.shared.clone(), self.alloc.id, self.task.clone());
        let room = self.room(group, task, driver);
        let made = tokio::task::spawn_blocking(move || shared.dirs.make(alloc, &name, room)).await;
        let dirs = match made {
            Ok(Ok(dirs)) => dirs,
            Ok(Err(error)) => {
                let recoverable = matches!(error, crate::DirError::System { .. });
                let message = error.to_string();
                return Event::StartFailed { kind: "Setup Failure", message, recoverable };
            }
            Err(_) => return never("the task's directories could not be made".to_owned()),
        };
        let node = &self.shared.options.node;
        let task = &self.allowed(task);
        let hardware = match self.hardware(task).await {
            Ok(hardware) => hardware,
            Err(message) => {
                return Event::StartFailed { kind: "Setup Failure", message, recoverable: true };
            }
        };
        let job = &self.job.job;
        let paths = task_paths(driver, &dirs);
        let env = env_of(&self.alloc, job, group, Some((task, &paths)), node);
        let preparing = Preparing {
            shared: &self.shared,
            alloc: &self.alloc,
            job,
            group,
            task,
            payload: &self.job.payload,
            dirs: &dirs,
            env: &env,
            restarted: self.restarted,
            progress: &self.progress,
        };
        let prepared = match prepare(&preparing).await {
            Ok(prepared) => prepared,
            Err(Unprepared { kind, message, recoverable }) => {
                return Event::StartFailed { kind, message, recoverable };
            }
        };
        let mut spec = task_spec(&self.alloc, job, group, task, node, env, prepared, dirs);
        spec.progress = self.progress.clone();
        spec.hardware = hardware;
        match driver.start(&spec).await {
            Ok(handle) => Event::Started(handle),
            Err(error) => start_failed(&error),
        }
    }
}

fn start_failed(error: &DriverError) -> Event {
    Event::StartFailed {
        kind: "Driver Failure",
        message: error.to_string(),
        recoverable: error.is_recoverable(),
    }
}
