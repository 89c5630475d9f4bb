//! Finds what is on this machine under our mark and belongs to nobody: processes, containers and directories of
//! allocations that neither this node nor its servers know, as a lost record or a crash at a bad moment leaves them.
//!
//! Nothing is removed on the strength of one look, and nothing at all before a list of assignments was read whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use driver::{Driver, TaskHandle};
use model::AllocId;

use crate::networks;
use crate::runner::Shared;

/// How long after the start the first look is. What an agent that was killed had begun is most of what there is to find.
pub(crate) const FIRST: Duration = Duration::from_secs(5);

/// The longest wait between two looks; each wait is twice the one before.
const LONGEST: Duration = Duration::from_secs(60);

/// How long to wait after having waited for `pause`.
pub(crate) fn next_pause(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST)
}

/// Something that carries our mark.
#[derive(Clone)]
pub(crate) enum Found {
    /// A process or container.
    Task {
        /// Whose.
        alloc: AllocId,
        /// Which of its tasks.
        task: String,
        /// What finds it again.
        handle: TaskHandle,
        /// Who found it.
        driver: Arc<dyn Driver>,
    },
    /// An allocation's directory.
    Dir(AllocId),
    /// An allocation's network.
    Network(AllocId),
}

impl Found {
    pub(crate) fn alloc(&self) -> AllocId {
        match self {
            Self::Task { alloc, .. } | Self::Dir(alloc) | Self::Network(alloc) => *alloc,
        }
    }

    /// Tells it from what may later be in the same place.
    fn key(&self) -> String {
        match self {
            Self::Task { handle, .. } => format!("{} {}", handle.task_id, handle.state),
            Self::Dir(alloc) => alloc.to_string(),
            Self::Network(alloc) => format!("network {alloc}"),
        }
    }
}

/// What was nobody's when it was last looked for.
#[derive(Debug, Default)]
pub(crate) struct Suspects(BTreeSet<String>);

impl Suspects {
    /// Of what was found, what was nobody's the last time too.
    pub(crate) fn convict(
        &mut self,
        found: Vec<Found>,
        known: impl Fn(&Found) -> bool,
    ) -> Vec<Found> {
        let mut before = std::mem::take(&mut self.0);
        let strays = found.into_iter().filter(|found| !known(found));
        strays
            .filter(|stray| {
                let key = stray.key();
                let again = before.remove(&key);
                self.0.insert(key);
                again
            })
            .collect()
    }
}

/// Removes `strays`, waits, and looks again. A driver that cannot look finds nothing, from which nothing follows.
pub(crate) async fn round(shared: Arc<Shared>, strays: Vec<Found>, pause: Duration) -> Vec<Found> {
    // Tasks first: they may be using their directories.
    for stray in &strays {
        if let Found::Task { alloc, handle, driver, .. } = stray {
            tracing::warn!(%alloc, task = handle.task_id, "a task that is nobody's is ended");
            if let Err(error) = driver.destroy(handle).await {
                tracing::warn!(%alloc, %error, "a task that is nobody's is still there");
            }
        }
    }
    // Then what they were connected to.
    for stray in &strays {
        if let Found::Network(alloc) = stray {
            tracing::warn!(%alloc, "a network that is nobody's is removed");
            networks::release(&shared, *alloc).await;
        }
    }
    let dirs = shared.dirs.clone();
    let removal = tokio::task::spawn_blocking(move || {
        for stray in strays {
            if let Found::Dir(alloc) = stray {
                tracing::warn!(%alloc, "files that are nobody's are removed");
                if let Err(error) = dirs.remove(alloc) {
                    tracing::warn!(%alloc, %error, "files that are nobody's are still there");
                }
            }
        }
    });
    let _ = removal.await;
    tokio::time::sleep(pause).await;
    let mut found = Vec::new();
    for driver in shared.drivers.values() {
        for ours in driver.list_ours().await.unwrap_or_default() {
            let (alloc, task, driver) = (ours.alloc, ours.task, driver.clone());
            found.push(Found::Task { alloc, task, handle: ours.handle, driver });
        }
    }
    let dirs = shared.dirs.clone();
    let dirs = tokio::task::spawn_blocking(move || dirs.all()).await.unwrap_or_default();
    found.extend(dirs.into_iter().map(Found::Dir));
    found.extend(networks::all(&shared).await.into_iter().map(Found::Network));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_convicts_nobody() {
        let id = |name: &[u8]| AllocId::new(model::seeded_uuid(&[name]));
        let all = || vec![Found::Dir(id(b"1")), Found::Dir(id(b"2"))];
        let mut suspects = Suspects::default();
        assert!(suspects.convict(all(), |found| found.alloc() == id(b"1")).is_empty());
        let convicted = suspects.convict(all(), |found| found.alloc() == id(b"1"));
        assert_eq!(convicted.iter().map(Found::alloc).collect::<Vec<_>>(), [id(b"2")]);
        // What was not there for a while is new.
        assert!(suspects.convict(Vec::new(), |_| false).is_empty());
        assert!(suspects.convict(all(), |_| false).is_empty());
        assert_eq!(suspects.convict(all(), |_| false).len(), 2);
        assert!(suspects.convict(all(), |_| true).is_empty());
    }
}
