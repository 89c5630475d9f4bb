//! Carries out what people and the node's own loops ask of an allocation.

use std::collections::BTreeMap;

use driver::TaskHandle;
use model::{ClientStatus, Timestamp};

use super::{Done, Runner};
use crate::ledger::{Known, KnownTask};
use crate::lifecycle::{Event, Phase, Rules};
use crate::orders::{Order, OrderError};

impl Runner {
    pub(super) async fn obey(&mut self, order: Order) {
        let now = self.shared.now();
        match order {
            Order::Restart { task, answer } => {
                let result = self.running(task.as_deref()).map(|tasks| {
                    for task in tasks.keys() {
                        self.happen(task, Event::RestartOrdered, now);
                    }
                });
                let _ = answer.send(result);
            }
            Order::Signal { task, signal, answer } => match self.running(task.as_deref()) {
                Err(error) => drop(answer.send(Err(error))),
                Ok(tasks) => {
                    for task in tasks.keys() {
                        let message = format!("Task being sent signal {signal}");
                        self.record.lifecycle.note(task, "Signaling", &message, now);
                    }
                    let drivers = self.shared.drivers.clone();
                    self.ops.push(Box::pin(async move {
                        let mut result = Ok(());
                        for (task, handle) in tasks {
                            let Some(driver) = drivers.get(&handle.driver) else { continue };
                            if let Err(error) = driver.signal(&handle, &signal).await {
                                let words = format!("task `{task}`: {error}");
                                result = Err(match error {
                                    driver::DriverError::Signal(_)
                                    | driver::DriverError::NotRunning(_) => {
                                        OrderError::Refused(words)
                                    }
                                    _ => OrderError::Failed(words),
                                });
                            }
                        }
                        Done::Ordered { answer, result }
                    }));
                }
            },
            Order::Collect { answer } => {
                let result = self.collect().await;
                let _ = answer.send(result);
            }
            Order::Tell { kind, message } => {
                for task in self.running(None).unwrap_or_default().into_keys() {
                    self.record.lifecycle.note(&task, kind, &message, now);
                }
            }
        }
    }

    fn happen(&mut self, task: &str, event: Event, now: Timestamp) {
        let job = self.record.job.clone();
        if let Some(rules) = super::rules(&self.record, &job) {
            self.record.lifecycle.handle(rules, task, None, event, now);
        }
    }

    /// The tasks that run, or the one that is named.
    fn running(&self, task: Option<&str>) -> Result<BTreeMap<String, TaskHandle>, OrderError> {
        let alloc = self.record.alloc.id.short();
        let tasks = &self.record.lifecycle.tasks;
        if let Some(task) = task.filter(|task| !tasks.contains_key(*task)) {
            let words = format!("allocation {alloc} has no task `{task}`");
            return Err(OrderError::NotFound(words));
        }
        let wanted = |name: &str| task.is_none_or(|task| task == name);
        let found: BTreeMap<_, _> = tasks
            .iter()
            .filter(|(name, run)| wanted(name) && run.phase == Phase::Running)
            .filter_map(|(name, run)| Some((name.clone(), run.handle.clone()?)))
            .collect();
        if found.is_empty() {
            let words = match task {
                Some(task) => format!("task `{task}` of allocation {alloc} does not run"),
                None => format!("no task of allocation {alloc} runs"),
            };
            return Err(OrderError::Refused(words));
        }
        Ok(found)
    }

    /// Removes the files of an allocation that is over. What is known of it stays, so that it cannot begin again.
    async fn collect(&mut self) -> Result<(), OrderError> {
        let alloc = self.record.alloc.id;
        if self.record.collected {
            return Ok(());
        }
        if !self.record.lifecycle.is_clean() {
            let words = format!("allocation {} is not over; its files stay", alloc.short());
            return Err(OrderError::Refused(words));
        }
        // Noted first: files that are said to be gone and are not are found by the next look, the reverse is not.
        self.record.collected = true;
        if let Err(problem) = self.save().await {
            self.record.collected = false;
            return Err(OrderError::Failed(problem));
        }
        let dirs = self.shared.dirs.clone();
        let removal = tokio::task::spawn_blocking(move || dirs.remove(alloc)).await;
        let problem = match removal {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the removal ended early".to_owned(),
        };
        self.record.collected = false;
        Err(OrderError::Failed(problem))
    }

    /// Removes what an agent that was killed while it removed has left.
    pub(super) async fn finish_collecting(&mut self) {
        if !self.record.collected {
            return;
        }
        let (dirs, alloc) = (self.shared.dirs.clone(), self.record.alloc.id);
        let removal = tokio::task::spawn_blocking(move || dirs.remove(alloc));
        if let Ok(Err(error)) = removal.await {
            tracing::warn!(%alloc, %error, "files that were to be removed are still there");
        }
    }

    pub(super) fn describe(&self, client: ClientStatus) -> String {
        let words = self.record.lifecycle.describe(client);
        if self.record.collected {
            format!("{words}; its files were removed to free disk space")
        } else {
            words.to_owned()
        }
    }

    /// What the node's loops are to know.
    pub(super) fn known(&self, rules: Rules<'_>, client: ClientStatus) -> Known {
        let (lifecycle, alloc) = (&self.record.lifecycle, &self.record.alloc);
        let task = |run: &crate::lifecycle::TaskRun| KnownTask {
            handle: run.handle.clone().filter(|_| run.phase == Phase::Running),
            restarts: run.state.restarts,
            ooms: run.ooms,
        };
        // It has taken over what it takes over once each of its tasks was started.
        let waits = !lifecycle.is_over()
            && rules.group.ephemeral_disk.sticky
            && lifecycle.tasks.values().any(|run| run.state.started_at.is_zero());
        Known {
            job: alloc.job.clone(),
            group: alloc.group.clone(),
            client,
            over: lifecycle.is_over(),
            clean: lifecycle.is_clean(),
            collected: self.record.collected,
            finished_at: lifecycle
                .tasks
                .values()
                .map(|run| run.state.finished_at)
                .max()
                .unwrap_or_default(),
            awaits: alloc.previous.filter(|_| waits),
            disk_mb: rules.group.ephemeral_disk.size_mb,
            tasks: lifecycle.tasks.iter().map(|(name, run)| (name.clone(), task(run))).collect(),
        }
    }
}
