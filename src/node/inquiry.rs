//! What others may ask of a running node, and tell it: how much is used, what files there are, to restart or signal a
//! task, to remove files.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::Ordering;

use model::{AllocId, ClientStatus, JobId};
use tokio::sync::oneshot;

use crate::files::{self, FileError, FileInfo};
use crate::orders::{Order, OrderError};
use crate::stats::{self, AllocUsage, HostUsage};
use crate::{NodeRuntime, garbage};

/// Why a task has no logs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNoLogs {
    /// This node has no such allocation.
    Unknown,
    /// The node removed them to free disk space.
    Collected,
}

/// What a node counts.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Allocations by how they stand.
    pub by_status: BTreeMap<ClientStatus, u64>,
    /// Those that run, with job and group.
    pub running: Vec<(AllocId, JobId, String)>,
    /// Restarts of tasks since the agent's start.
    pub restarts: u64,
    /// Tasks ended for want of memory since the agent's start.
    pub ooms: u64,
    /// Allocations whose files the node removed since the agent's start.
    pub collected: u64,
    /// Whether the disk is too full and nothing is left to remove.
    pub pressed: bool,
}

impl NodeRuntime {
    /// Why [`Self::log_dir`] has nothing, or has nothing in it.
    pub fn why_no_logs(&self, alloc: AllocId) -> WhyNoLogs {
        match self.shared().ledger.get(alloc) {
            Some(known) if known.collected => WhyNoLogs::Collected,
            _ => WhyNoLogs::Unknown,
        }
    }

    /// What an allocation uses now; `None` where this node has no such allocation.
    pub async fn usage(&self, alloc: AllocId) -> Option<AllocUsage> {
        stats::usage(self.shared(), alloc).await
    }

    /// What the machine uses now.
    pub async fn host_usage(&self) -> HostUsage {
        stats::host(self.shared()).await
    }

    /// What the node counts.
    pub fn facts(&self) -> Facts {
        let ledger = &self.shared().ledger;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let mut facts = Facts {
            restarts: count(&ledger.counters.restarts),
            ooms: count(&ledger.counters.ooms),
            collected: count(&ledger.counters.collected),
            pressed: count(&ledger.counters.pressed) != 0,
            ..Facts::default()
        };
        for (alloc, known) in ledger.all() {
            *facts.by_status.entry(known.client).or_default() += 1;
            if known.client == ClientStatus::Running {
                facts.running.push((alloc, known.job, known.group.to_string()));
            }
        }
        facts
    }

    /// Starts tasks of an allocation again that run: the one that is named, or all. Does not wait for it.
    ///
    /// # Errors
    /// When there is no such allocation or task, or nothing of it runs.
    pub async fn restart(&self, alloc: AllocId, task: Option<String>) -> Result<(), OrderError> {
        let (answer, answered) = oneshot::channel();
        self.shared().order(alloc, Order::Restart { task, answer }, answered).await
    }

    /// Sends a signal to a task that runs, or to all that do.
    ///
    /// # Errors
    /// When there is no such allocation, task or signal, or the driver refuses.
    pub async fn signal(
        &self,
        alloc: AllocId,
        task: Option<String>,
        signal: String,
    ) -> Result<(), OrderError> {
        let (answer, answered) = oneshot::channel();
        self.shared().order(alloc, Order::Signal { task, signal, answer }, answered).await
    }

    /// Removes the files of an allocation that is over.
    ///
    /// # Errors
    /// When there is no such allocation, it is not over, or the disk refuses.
    pub async fn collect(&self, alloc: AllocId) -> Result<(), OrderError> {
        garbage::collect(self.shared(), alloc).await
    }

    /// Removes the files of all allocations that are over and needed by nobody; returns how many.
    pub async fn collect_all(&self) -> usize {
        let stock = garbage::stock(&self.shared().ledger.all());
        let mut removed = 0;
        for alloc in stock.removable {
            removed += usize::from(self.collect(alloc).await.is_ok());
        }
        removed
    }

    /// What a directory of an allocation holds.
    ///
    /// # Errors
    /// When it is not there or may not be seen.
    pub async fn list_files(&self, alloc: AllocId, path: &str) -> Result<Vec<FileInfo>, FileError> {
        let (dirs, path) = (self.shared().dirs.clone(), path.to_owned());
        blocking(move || files::list(&dirs, alloc, &path)).await
    }

    /// What a path in an allocation is.
    ///
    /// # Errors
    /// As [`Self::list_files`].
    pub async fn stat_file(&self, alloc: AllocId, path: &str) -> Result<FileInfo, FileError> {
        let (dirs, path) = (self.shared().dirs.clone(), path.to_owned());
        blocking(move || files::stat(&dirs, alloc, &path)).await
    }

    /// A file of an allocation, open for reading.
    ///
    /// # Errors
    /// As [`Self::list_files`], and when it is not a plain file.
    pub async fn open_file(&self, alloc: AllocId, path: &str) -> Result<File, FileError> {
        let (dirs, path) = (self.shared().dirs.clone(), path.to_owned());
        blocking(move || files::read(&dirs, alloc, &path)).await
    }
}

async fn blocking<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|_| Err(FileError::Failed("it could not be looked at".to_owned())))
}
