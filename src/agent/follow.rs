//! Starts following the repositories.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use gitrepo::Poller;
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
    Ok(Repository {
        name,
        url,
        source: Arc::new(handle),
        observations,
        intake: settings.intake.clone(),
    })
}
