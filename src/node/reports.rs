//! Brings reports to the servers: together, again until they are taken, the newest of each allocation only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{AllocId, NodeId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{AllocReport, Upstream};

/// Reports sent in one call.
const MAX_BATCH: usize = 512;
/// The longest wait between attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// How long a stopping node tries to bring its last reports home. They are sent again after the next start in any case.
const LAST_TRY: Duration = Duration::from_secs(1);

/// Where runners leave their reports. Bounded by the number of allocations, because the newest replaces the older.
#[derive(Default)]
pub(crate) struct Reports {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Default)]
struct Inner {
    /// Not taken by the servers yet.
    unsent: BTreeMap<AllocId, AllocReport>,
    /// The newest of each.
    latest: BTreeMap<AllocId, AllocReport>,
}

impl Reports {
    /// Leaves a report.
    pub(crate) fn put(&self, report: AllocReport) {
        let mut inner = self.lock();
        inner.latest.insert(report.alloc, report.clone());
        inner.unsent.insert(report.alloc, report);
        drop(inner);
        self.wake.notify_one();
    }

    /// The allocation is gone and nobody asks for it any more.
    pub(crate) fn forget(&self, alloc: AllocId) {
        let mut inner = self.lock();
        inner.latest.remove(&alloc);
        inner.unsent.remove(&alloc);
    }

    /// The newest report of one allocation.
    pub(crate) fn of(&self, alloc: AllocId) -> Option<AllocReport> {
        self.lock().latest.get(&alloc).cloned()
    }

    /// The newest report of each allocation.
    pub(crate) fn latest(&self) -> Vec<AllocReport> {
        self.lock().latest.values().cloned().collect()
    }

    fn take(&self) -> Vec<AllocReport> {
        let mut inner = self.lock();
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH
            && let Some((_, report)) = inner.unsent.pop_first()
        {
            batch.push(report);
        }
        batch
    }

    /// Puts back what was not taken, unless something newer came meanwhile.
    fn put_back(&self, batch: Vec<AllocReport>) {
        let mut inner = self.lock();
        for report in batch {
            inner.unsent.entry(report.alloc).or_insert(report);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends until `stop`, and then once more.
    pub(crate) async fn send_all(
        &self,
        node: NodeId,
        upstream: Arc<dyn Upstream>,
        window: Duration,
        stop: CancellationToken,
    ) {
        let mut backoff = Duration::ZERO;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(window.max(backoff)) => {}
            }
            let sent = tokio::select! {
                () = stop.cancelled() => break,
                sent = self.send(node, &*upstream) => sent,
            };
            backoff = if sent {
                Duration::ZERO
            } else {
                self.wake.notify_one();
                (backoff * 2).clamp(Duration::from_millis(100), MAX_BACKOFF)
            };
        }
        // What a cancelled call held was put back by its guard.
        let _ = tokio::time::timeout(LAST_TRY, self.send(node, &*upstream)).await;
    }

    async fn send(&self, node: NodeId, upstream: &dyn Upstream) -> bool {
        loop {
            let batch = Held { reports: self, batch: self.take() };
            if batch.batch.is_empty() {
                return true;
            }
            match upstream.report(node, batch.batch.clone()).await {
                Ok(()) => batch.taken(),
                Err(error) => {
                    tracing::warn!(%error, "reports were not taken; they are sent again");
                    return false;
                }
            }
        }
    }
}

/// A batch on its way. Dropped before it was taken, it goes back.
struct Held<'a> {
    reports: &'a Reports,
    batch: Vec<AllocReport>,
}

impl Held<'_> {
    fn taken(mut self) {
        self.batch.clear();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.reports.put_back(std::mem::take(&mut self.batch));
    }
}

#[cfg(test)]
mod tests {
    use model::ClientStatus;

    use super::*;
    use crate::fake::FakeUpstream;

    fn report(name: &[u8], client: ClientStatus) -> AllocReport {
        let alloc = AllocId::new(model::seeded_uuid(&[name]));
        AllocReport { alloc, client, ..AllocReport::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_wins_and_failures_are_tried_again() {
        let upstream = Arc::new(FakeUpstream::default());
        upstream.refuse_reports(3);
        let reports = Arc::new(Reports::default());
        let stop = CancellationToken::new();
        let sender = {
            let (reports, upstream, stop) = (reports.clone(), upstream.clone(), stop.clone());
            async move {
                let window = Duration::from_millis(5);
                reports.send_all(NodeId::default(), upstream, window, stop).await;
            }
        };
        let feed = async {
            reports.put(report(b"a", ClientStatus::Pending));
            reports.put(report(b"a", ClientStatus::Running));
            reports.put(report(b"b", ClientStatus::Running));
            tokio::time::sleep(Duration::from_millis(50)).await;
            reports.put(report(b"b", ClientStatus::Failed));
            upstream.until(|seen| seen.len() >= 2).await;
            stop.cancel();
        };
        tokio::join!(sender, feed);
        let mut seen: Vec<_> = upstream.seen().into_iter().map(|report| report.client).collect();
        seen.sort();
        assert_eq!(seen, [ClientStatus::Running, ClientStatus::Failed]);
        assert_eq!(upstream.calls(), 4);
        assert_eq!(reports.latest().len(), 2);
    }
}
