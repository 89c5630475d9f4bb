//! The one shape of a long-running loop: a name, a status, a step, a stop. The agent can list them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::Timestamp;

/// What a loop is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// Waiting for something to happen.
    Idle,
    /// In a step.
    Busy,
    /// Over.
    Stopped,
}

/// One loop, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// What it is doing.
    pub state: WorkerState,
    /// Steps so far.
    pub steps: u64,
    /// When the last step ended.
    pub last_step_at: Timestamp,
    /// What went wrong in the last step, if anything.
    pub error: Option<String>,
}

/// All loops of a process, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workers(Arc<Mutex<BTreeMap<String, WorkerStatus>>>);

impl Workers {
    pub(crate) fn register(&self, name: impl Into<String>) -> Worker {
        let worker = Worker { name: name.into(), workers: self.clone() };
        worker.set(|_| {});
        worker
    }

    pub(crate) fn list(&self) -> BTreeMap<String, WorkerStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A loop's own handle to its status.
pub(crate) struct Worker {
    name: String,
    workers: Workers,
}

impl Worker {
    pub(crate) fn busy(&self) {
        self.set(|status| status.state = WorkerState::Busy);
    }

    pub(crate) fn done(&self, at: Timestamp, error: Option<String>) {
        self.set(|status| {
            status.state = WorkerState::Idle;
            status.steps += 1;
            status.last_step_at = at;
            status.error = error;
        });
    }

    fn set(&self, change: impl FnOnce(&mut WorkerStatus)) {
        let mut workers = self.workers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = workers.entry(self.name.clone()).or_insert(WorkerStatus {
            state: WorkerState::Idle,
            steps: 0,
            last_step_at: Timestamp::ZERO,
            error: None,
        });
        change(status);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.set(|status| status.state = WorkerState::Stopped);
    }
}
