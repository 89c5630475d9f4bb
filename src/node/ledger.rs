//! What the node's own loops know of each allocation: how it stands, and how to reach its runner. Runners write it, and
//! the garbage loop, statistics, orders from the API and waiting successors read it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driver::TaskHandle;
use model::{AllocId, ClientStatus, JobId, Timestamp};
use tokio::sync::{mpsc, watch};

use crate::orders::Order;

/// Orders that may wait for a runner.
pub(crate) const ORDERS: usize = 16;

/// A task, as far as others need to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownTask {
    pub handle: Option<TaskHandle>,
    pub restarts: u32,
    /// Ends for want of memory.
    pub ooms: u32,
}

/// An allocation, as far as others need to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub job: JobId,
    pub group: Arc<str>,
    pub client: ClientStatus,
    /// Whether no task runs nor ever will.
    pub over: bool,
    /// Whether nothing is left at the drivers either.
    pub clean: bool,
    /// Whether its files were removed.
    pub collected: bool,
    /// When its last task ended.
    pub finished_at: Timestamp,
    /// The allocation whose data it is still to take over.
    pub awaits: Option<AllocId>,
    /// Megabytes that its group says it may fill.
    pub disk_mb: u64,
    pub tasks: BTreeMap<String, KnownTask>,
}

#[derive(Default)]
struct Line {
    known: Known,
    orders: Option<mpsc::Sender<Order>>,
}

/// Figures that only ever grow, from the agent's start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Restarts of tasks.
    pub restarts: AtomicU64,
    /// Tasks ended for want of memory.
    pub ooms: AtomicU64,
    /// Allocations whose files the node removed by itself.
    pub collected: AtomicU64,
    /// Whether the disk is too full and nothing is left to remove.
    pub pressed: AtomicU64,
}

/// All allocations of the node.
pub(crate) struct Ledger {
    lines: Mutex<BTreeMap<AllocId, Line>>,
    changed: watch::Sender<()>,
    pub(crate) counters: Counters,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            lines: Mutex::default(),
            changed: watch::channel(()).0,
            counters: Counters::default(),
        }
    }
}

impl Ledger {
    /// Notes that there is such an allocation before anything is known of it, so that nobody takes it for forgotten.
    pub(crate) fn expect(&self, alloc: AllocId) {
        self.lines().entry(alloc).or_default();
    }

    /// Notes how its runner is reached.
    pub(crate) fn reach(&self, alloc: AllocId, orders: mpsc::Sender<Order>) {
        self.lines().entry(alloc).or_default().orders = Some(orders);
    }

    /// Replaces what is known of an allocation, and counts what it went through.
    pub(crate) fn note(&self, alloc: AllocId, known: Known) {
        let mut lines = self.lines();
        let line = lines.entry(alloc).or_default();
        // What an earlier agent saw is in the first note, and was counted then.
        if !line.known.tasks.is_empty() {
            for (name, task) in &known.tasks {
                let before = line.known.tasks.get(name).map_or((0, 0), |t| (t.restarts, t.ooms));
                let add = |counter: &AtomicU64, now: u32, before: u32| {
                    counter.fetch_add(u64::from(now.saturating_sub(before)), Ordering::Relaxed);
                };
                add(&self.counters.restarts, task.restarts, before.0);
                add(&self.counters.ooms, task.ooms, before.1);
            }
        }
        line.known = known;
        drop(lines);
        self.changed.send_replace(());
    }

    /// Nothing of the allocation is left.
    pub(crate) fn forget(&self, alloc: AllocId) {
        self.lines().remove(&alloc);
        self.changed.send_replace(());
    }

    pub(crate) fn get(&self, alloc: AllocId) -> Option<Known> {
        self.lines().get(&alloc).map(|line| line.known.clone())
    }

    pub(crate) fn all(&self) -> Vec<(AllocId, Known)> {
        self.lines().iter().map(|(alloc, line)| (*alloc, line.known.clone())).collect()
    }

    pub(crate) fn orders(&self, alloc: AllocId) -> Option<mpsc::Sender<Order>> {
        self.lines().get(&alloc)?.orders.clone()
    }

    /// Waits until no task of the allocation runs any more; false at once where there is no such allocation.
    pub(crate) async fn until_over(&self, alloc: AllocId) -> bool {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            match self.get(alloc) {
                None => return false,
                Some(known) if known.over => return true,
                Some(_) => {}
            }
            if changed.changed().await.is_err() {
                return false;
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<AllocId, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
