//! Removes the files of allocations that are over when there are too many of them or the disk is too full. Needs no
//! server: what is removed here stays known until the servers forget it, without its files and logs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{AllocId, Timestamp};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::ledger::Known;
use crate::orders::Order;
use crate::runner::Shared;
use crate::usage::{self, DiskUse};

/// When files are removed (nomad.md 2.13).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GarbageLimits {
    /// Time between two looks; a minute by default.
    pub interval: Duration,
    /// Percent of the disk's space in use; 80 by default.
    pub disk_percent: f64,
    /// Percent of the disk's inodes in use; 70 by default.
    pub inode_percent: f64,
    /// Allocations with files, running ones too; 50 by default.
    pub max_allocs: usize,
    /// Removals at the same time; 2 by default.
    pub parallel: usize,
}

impl Default for GarbageLimits {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            disk_percent: 80.0,
            inode_percent: 70.0,
            max_allocs: 50,
            parallel: 2,
        }
    }
}

/// Why something is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Number,
    Space,
    Inodes,
}

/// What can be removed, and what there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stock {
    /// Over and needed by nobody, oldest first.
    pub removable: Vec<AllocId>,
    /// All that have files.
    pub kept: usize,
}

/// Sorts out which allocations could go. One whose successor is still to take its data over stays.
pub(crate) fn stock(all: &[(AllocId, Known)]) -> Stock {
    let awaited: Vec<_> = all.iter().filter_map(|(_, known)| known.awaits).collect();
    let mut over: Vec<(Timestamp, AllocId)> = all
        .iter()
        .filter(|(alloc, known)| {
            known.client.is_terminal()
                && known.clean
                && !known.collected
                && !awaited.contains(alloc)
        })
        .map(|(alloc, known)| (known.finished_at, *alloc))
        .collect();
    over.sort_unstable();
    Stock {
        removable: over.into_iter().map(|(_, alloc)| alloc).collect(),
        kept: all.iter().filter(|(_, known)| !known.collected).count(),
    }
}

/// What is too much, if anything.
pub(crate) fn excess(kept: usize, disk: DiskUse, limits: &GarbageLimits) -> Option<Why> {
    if kept > limits.max_allocs {
        Some(Why::Number)
    } else if disk.space_percent() > limits.disk_percent {
        Some(Why::Space)
    } else if disk.inode_percent() > limits.inode_percent {
        Some(Why::Inodes)
    } else {
        None
    }
}

/// What goes next. For the disk one at a time, so that no more goes than must; then it is looked at again.
pub(crate) fn next(stock: &Stock, why: Option<Why>, limits: &GarbageLimits) -> Vec<AllocId> {
    let count = match why {
        None => 0,
        Some(Why::Number) => {
            stock.kept.saturating_sub(limits.max_allocs).min(limits.parallel.max(1))
        }
        Some(Why::Space | Why::Inodes) => 1,
    };
    stock.removable.iter().take(count).copied().collect()
}

/// Looks again and again until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(shared.options.garbage.interval) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(&shared) => {}
        }
    }
}

/// Removes until nothing is too much or nothing is left, then measures what runs.
async fn look(shared: &Arc<Shared>) {
    let limits = shared.options.garbage;
    // A removal that fails is tried again at the next look, not at once.
    let mut tried = std::collections::BTreeSet::new();
    let excess = loop {
        let mut stock = stock(&shared.ledger.all());
        stock.removable.retain(|alloc| !tried.contains(alloc));
        let disk = shared.disk_use().await;
        let why = excess(stock.kept, disk, &limits);
        let going = next(&stock, why, &limits);
        if going.is_empty() {
            break why;
        }
        tried.extend(going.iter().copied());
        let removals = going.into_iter().map(|alloc| async move {
            match collect(shared, alloc).await {
                Ok(()) => {
                    tracing::info!(%alloc, ?why, "files of an allocation that is over were removed")
                }
                Err(error) => tracing::warn!(%alloc, %error, "files that could go are still there"),
            }
        });
        futures_util::future::join_all(removals).await;
    };
    press(shared, excess);
    usage::look(shared).await;
}

/// Says once that the disk is too full and nothing is left to remove, and once that it is not any more.
fn press(shared: &Shared, excess: Option<Why>) {
    let pressed = matches!(excess, Some(Why::Space | Why::Inodes));
    let before = shared.ledger.counters.pressed.swap(u64::from(pressed), Ordering::Relaxed);
    match (before != 0, pressed) {
        (false, true) => tracing::warn!(
            what = ?excess,
            "the disk is fuller than it should be, and no allocation that is over is left to remove"
        ),
        (true, false) => tracing::info!("the disk has room again"),
        _ => {}
    }
}

/// Has the files of one allocation removed.
pub(crate) async fn collect(shared: &Shared, alloc: AllocId) -> Result<(), crate::OrderError> {
    let (answer, answered) = oneshot::channel();
    shared.order(alloc, Order::Collect { answer }, answered).await?;
    shared.ledger.counters.collected.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::ClientStatus;
    use proptest::prelude::*;

    use super::*;

    fn id(n: usize) -> AllocId {
        AllocId::new(model::seeded_uuid(&[&n.to_be_bytes()]))
    }

    #[derive(Clone, Debug)]
    struct Made {
        client: ClientStatus,
        clean: bool,
        finished: i64,
        size: u64,
        awaits: Option<usize>,
    }

    fn made() -> impl Strategy<Value = Made> {
        let client = prop_oneof![
            Just(ClientStatus::Running),
            Just(ClientStatus::Pending),
            Just(ClientStatus::Complete),
            Just(ClientStatus::Failed),
        ];
        (client, any::<bool>(), 0..50i64, 0..30u64, proptest::option::of(0..20usize)).prop_map(
            |(client, clean, finished, size, awaits)| Made {
                clean: clean && client.is_terminal(),
                client,
                finished,
                size,
                awaits: awaits.filter(|_| client == ClientStatus::Pending),
            },
        )
    }

    proptest! {
        #[test]
        fn only_what_is_over_goes_and_no_more_than_must(
            made in proptest::collection::vec(made(), 0..20),
            max_allocs in 0..20usize,
            parallel in 0..4usize,
            total in 100..400u64,
        ) {
            let limits = GarbageLimits { max_allocs, parallel, ..GarbageLimits::default() };
            let mut all: BTreeMap<AllocId, (Known, u64)> = made
                .iter()
                .enumerate()
                .map(|(n, made)| {
                    let known = Known {
                        client: made.client,
                        clean: made.clean,
                        finished_at: Timestamp::from_secs(made.finished),
                        awaits: made.awaits.map(id),
                        ..Known::default()
                    };
                    (id(n), (known, made.size))
                })
                .collect();
            let disk = |all: &BTreeMap<AllocId, (Known, u64)>| {
                let used = all.values().filter(|(k, _)| !k.collected).map(|(_, size)| size).sum();
                DiskUse { total, used, inodes: 100, inodes_used: 10 }
            };
            let list = |all: &BTreeMap<AllocId, (Known, u64)>| -> Vec<_> {
                all.iter().map(|(id, (known, _))| (*id, known.clone())).collect()
            };
            for round in 0.. {
                prop_assert!(round <= made.len(), "it ends");
                let stock = stock(&list(&all));
                let why = excess(stock.kept, disk(&all), &limits);
                let going = next(&stock, why, &limits);
                if going.is_empty() {
                    prop_assert!(why.is_none() || stock.removable.is_empty(), "{why:?} is left");
                    break;
                }
                for alloc in going {
                    let awaited = all.values().any(|(known, _)| known.awaits == Some(alloc));
                    let oldest = all
                        .values()
                        .filter(|(k, _)| k.clean && !k.collected)
                        .map(|(k, _)| k.finished_at)
                        .collect::<Vec<_>>();
                    let (known, _) = all.get_mut(&alloc).expect("it is one of them");
                    prop_assert!(known.client.is_terminal() && known.clean && !known.collected);
                    prop_assert!(!awaited, "a successor waits for it");
                    let older = oldest.iter().filter(|at| **at < known.finished_at).count();
                    prop_assert!(older <= made.iter().filter(|m| m.awaits.is_some()).count());
                    known.collected = true;
                }
            }
        }
    }
}
