//! The node's side of its allocations' networks beyond making them: releasing, looking for what is left, keeping whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::AllocId;
use tokio_util::sync::CancellationToken;

use crate::runner::Shared;

/// How often the networks are looked at for what somebody took from them, such as flushed rules.
const LOOK: Duration = Duration::from_secs(15);

/// Removes an allocation's network and the containers in it. What cannot be removed now is found by the audit later.
pub(crate) async fn release(shared: &Arc<Shared>, alloc: AllocId) {
    // Containers first: the namespace is in their mounts.
    for driver in shared.drivers.values().filter(|driver| driver.joins_by_container()) {
        let known = driver.held_networks().await;
        if known.as_ref().is_ok_and(|held| !held.contains(&alloc)) {
            continue;
        }
        if let Err(error) = driver.let_network_go(alloc).await {
            tracing::warn!(%alloc, %error, "the container of a network is still there");
        }
    }
    let Some(networks) = shared.options.networks.clone() else { return };
    match tokio::task::spawn_blocking(move || networks.release(alloc)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%alloc, %error, "a network is not removed yet"),
        Err(error) => tracing::warn!(%alloc, %error, "a network is not removed yet"),
    }
}

/// The allocations that have a network, or something of one. What cannot be looked at shows nothing, from which nothing
/// follows.
pub(crate) async fn all(shared: &Arc<Shared>) -> BTreeSet<AllocId> {
    let mut found = BTreeSet::new();
    for driver in shared.drivers.values() {
        found.extend(driver.held_networks().await.unwrap_or_default());
    }
    if let Some(networks) = shared.options.networks.clone() {
        let listed = tokio::task::spawn_blocking(move || networks.list()).await;
        found.extend(listed.ok().and_then(Result::ok).unwrap_or_default());
    }
    found
}

/// Puts back what somebody takes from the networks, until the node stops.
pub(crate) async fn keep_whole(shared: Arc<Shared>, stop: CancellationToken) {
    let Some(networks) = shared.options.networks.clone() else { return };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let networks = networks.clone();
        match tokio::task::spawn_blocking(move || networks.repair()).await {
            Ok(Ok(repaired)) => {
                for alloc in repaired {
                    tracing::warn!(%alloc, "a network was incomplete and has been repaired");
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "networks could not be looked at"),
            Err(_) => {}
        }
    }
}
