//! Starts following the repositories.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use gitrepo::{Poller, RepoHandle};
use model::NodeId;
use server::Repository;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::RepoSettings;

/// What one poller saw and the server has not looked at yet. Each look says where the branch is now, so a few are
/// enough.
const OBSERVATIONS: usize = 16;

/// Follows one repository.
pub(crate) fn follow(
    settings: &RepoSettings,
    data_dir: &Path,
    node: NodeId,
    stop: &CancellationToken,
) -> anyhow::Result<Repository> {
    let (sender, observations) = mpsc::channel(OBSERVATIONS);
    // Agents that were started together must not poll together.
    let seed = node.uuid().as_u64_pair().1;
    let config = settings.config.clone();
    let name = config.name.clone();
    let url = config.url.redacted();
    let handle = Poller::start(config, data_dir.to_owned(), seed, sender, stop.child_token())
        .with_context(|| format!("following repository {url}"))?;
    let (status, check) = (handle.clone(), handle.clone());
    Ok(Repository {
        name,
        url,
        source: Arc::new(handle),
        observations,
        poll: Arc::new(move || status.status()),
        check_now: Arc::new(move || check_now(check.clone())),
        intake: settings.intake.clone(),
    })
}

/// Asks without waiting: what is seen comes as an observation.
fn check_now(handle: RepoHandle) {
    tokio::spawn(async move {
        if let Err(error) = handle.check_now().await {
            tracing::warn!(repo = handle.name(), "{error}");
        }
    });
}
