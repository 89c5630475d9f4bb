//! Starts following the repositories.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use gitrepo::{Poller, RepoHandle, Turns};
use model::{BlobId, NodeId, Origin};
use node::RepositoryFiles;
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
    turns: Arc<dyn Turns>,
    stop: &CancellationToken,
) -> anyhow::Result<(Repository, Arc<RepoHandle>)> {
    let (sender, observations) = mpsc::channel(OBSERVATIONS);
    // Agents that were started together must not poll together.
    let seed = node.uuid().as_u64_pair().1;
    let config = settings.config.clone();
    let name = config.name.clone();
    let url = config.url.redacted();
    let data_dir = data_dir.to_owned();
    let handle = Poller::start(config, data_dir, seed, turns, sender, stop.child_token())
        .with_context(|| format!("following repository {url}"))?;
    let handle = Arc::new(handle);
    let source = Arc::clone(&handle);
    let repository =
        Repository { name, url, source, observations, intake: settings.intake.clone() };
    Ok((repository, handle))
}

/// The mirrors, for the files that jobs take from their repositories.
pub(crate) struct Mirrors(pub(crate) BTreeMap<String, Arc<RepoHandle>>);

#[async_trait]
impl RepositoryFiles for Mirrors {
    async fn read(
        &self,
        origin: &Origin,
        path: &str,
        blob: &BlobId,
        limit: usize,
    ) -> Result<Vec<u8>, String> {
        let Some(mirror) = self.0.get(&origin.repo) else {
            return Err(format!("this agent does not follow the repository `{}`", origin.repo));
        };
        let known = !blob.as_str().is_empty();
        match mirror.file(&origin.commit, path, limit as u64).await {
            Ok((found, bytes)) if !known || found == *blob => Ok(bytes),
            Err(error) if !known => Err(error.to_string()),
            // The content is the job's, whatever the commit's name says by now.
            _ => mirror.blob(blob, limit as u64).await.map_err(|error| error.to_string()),
        }
    }
}
