//! The newest catalog, for many readers and one writer.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use state::{Applied, State};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Catalog, Server};

/// Something for the catalog to follow.
#[derive(Debug)]
pub enum Change {
    /// A command was applied; the state is what it left behind.
    Applied(State, Arc<Applied>),
    /// Events were missed, or a snapshot came: this is the state now.
    Rebuild(State),
}

/// Where changes come from, in the log's order.
pub trait Changes: Send {
    /// The next change; `None` when there will be no more.
    fn next(&mut self) -> impl Future<Output = Option<Change>> + Send;
}

/// Hands out the newest catalog. Readers never wait; clones share the same catalog.
#[derive(Clone)]
pub struct CatalogHandle {
    shared: Arc<Shared>,
}

struct Shared {
    current: ArcSwap<Catalog>,
    writing: Mutex<()>,
    changes: watch::Sender<u64>,
    /// How far the state was followed, whether or not that shows.
    index: watch::Sender<u64>,
}

impl Default for CatalogHandle {
    fn default() -> Self {
        Self::new(Catalog::default())
    }
}

impl CatalogHandle {
    /// Starts from a catalog.
    pub fn new(catalog: Catalog) -> Self {
        let index = watch::Sender::new(catalog.index());
        let shared = Shared {
            current: ArcSwap::from_pointee(catalog),
            writing: Mutex::new(()),
            changes: watch::Sender::new(0),
            index,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The newest catalog, to keep.
    pub fn load(&self) -> Arc<Catalog> {
        self.shared.current.load_full()
    }

    /// The newest catalog, for a short look: cheaper than [`Self::load`], not to be held across an await.
    pub(crate) fn peek(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.shared.current.load()
    }

    /// Notices each change of what the catalog shows. Subscribe first, then load, so that none is missed.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Waits until `index` of the newest catalog is beyond `after`, at most for `limit`; then hands out that catalog.
    pub async fn wait(
        &self,
        after: u64,
        limit: Duration,
        index: impl Fn(&Catalog) -> u64,
    ) -> Arc<Catalog> {
        let mut changes = self.changed();
        let beyond = async {
            while index(&self.peek()) <= after {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        };
        // Running out of time is no error: the client is told how things stand.
        let _ = tokio::time::timeout(limit, beyond).await;
        self.load()
    }

    /// Waits until the newest catalog is a view of the state at `index` or later; for as long as whoever asks waits.
    pub async fn reaches(&self, index: u64) {
        // The sender is ours, so that this does not fail.
        let _ = self.shared.index.subscribe().wait_for(|followed| *followed >= index).await;
    }

    /// Follows one change. Costs what the change touches; a rebuild costs the whole state.
    pub fn follow(&self, change: &Change) {
        match change {
            Change::Applied(state, applied) => {
                self.update(|catalog| catalog.apply(state, applied));
            }
            // A copy that has not received anything yet does not prove that everything is gone.
            Change::Rebuild(state) if state.index() == 0 => {}
            Change::Rebuild(state) => {
                let rebuilt = Catalog::rebuild(state);
                self.update(|catalog| {
                    let servers = std::mem::take(&mut catalog.servers);
                    *catalog = Catalog { servers, ..rebuilt };
                    true
                });
            }
        }
    }

    /// Sets the servers that form the service `consul`.
    pub fn set_servers(&self, servers: &[Server]) {
        self.update(|catalog| catalog.set_servers(servers));
    }

    fn update(&self, change: impl FnOnce(&mut Catalog) -> bool) {
        let _one_at_a_time = self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Catalog::clone(&self.peek());
        let shows = change(&mut next);
        let index = next.index();
        self.shared.current.store(Arc::new(next));
        self.shared.index.send_replace(index);
        if shows {
            self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

/// Follows `changes` until they end or `stop` is cancelled. What was followed last stays on display.
pub async fn run(handle: CatalogHandle, mut changes: impl Changes, stop: CancellationToken) {
    loop {
        let change = tokio::select! {
            () = stop.cancelled() => return,
            change = changes.next() => change,
        };
        match change {
            None => return,
            Some(change @ Change::Applied(..)) => handle.follow(&change),
            Some(change @ Change::Rebuild(_)) => {
                let handle = handle.clone();
                let rebuilt = tokio::task::spawn_blocking(move || handle.follow(&change)).await;
                if let Err(error) = rebuilt {
                    tracing::error!(%error, "the catalog could not be rebuilt; the old one stays");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{World, alloc_id};

    struct Scripted(std::vec::IntoIter<Change>);

    impl Changes for Scripted {
        async fn next(&mut self) -> Option<Change> {
            self.0.next()
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn follows_to_the_end() {
        let mut world = World::small();
        let mut script = vec![Change::Rebuild(world.state.clone())];
        let applied = world.stop(alloc_id(1));
        script.push(Change::Applied(world.state.clone(), Arc::new(applied)));
        let handle = CatalogHandle::default();
        let changes = Scripted(script.into_iter());
        runtime().block_on(run(handle.clone(), changes, CancellationToken::new()));
        assert_eq!(handle.load().service("web").map(|web| web.instances.len()), Some(1));
    }

    #[test]
    fn an_empty_copy_does_not_replace_a_full_one() {
        let handle = CatalogHandle::new(Catalog::rebuild(&World::small().state));
        handle.follow(&Change::Rebuild(State::default()));
        assert!(handle.load().service("web").is_some());
    }

    #[test]
    fn a_change_that_was_seen_already_is_passed_over() {
        let mut world = World::small();
        let applied = Arc::new(world.stop(alloc_id(1)));
        let after = world.state.clone();
        let applied_later = world.stop(alloc_id(2));
        assert!(applied_later.index > applied.index);
        let handle = CatalogHandle::new(Catalog::rebuild(&world.state));
        handle.follow(&Change::Applied(after, applied));
        assert!(handle.load().service("web").is_none());
    }

    #[test]
    fn a_waiter_wakes_for_its_own_service_alone() {
        let mut world = World::small();
        let handle = CatalogHandle::new(Catalog::rebuild(&world.state));
        let after = handle.load().service_index("web");
        runtime().block_on(async {
            let waiting = handle.wait(after, Duration::from_secs(60), |c| c.service_index("web"));
            let mut waiting = std::pin::pin!(waiting);
            let renamed = world.add_node(crate::sample::node(9));
            handle.follow(&Change::Applied(world.state.clone(), Arc::new(renamed)));
            let early = tokio::select! {
                biased;
                _ = &mut waiting => true,
                () = std::future::ready(()) => false,
            };
            assert!(!early);
            let applied = world.stop(alloc_id(1));
            let index = applied.index;
            handle.follow(&Change::Applied(world.state.clone(), Arc::new(applied)));
            assert_eq!(waiting.await.service_index("web"), index);
        });
    }

    #[test]
    fn a_wait_ends_with_how_things_stand() {
        let handle = CatalogHandle::new(Catalog::rebuild(&World::small().state));
        let found = runtime()
            .block_on(handle.wait(u64::MAX, Duration::from_millis(1), |c| c.service_index("web")));
        assert!(found.service("web").is_some());
    }
}
