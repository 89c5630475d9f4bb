//! Where revisions are read from. The agent hands in `gitrepo`'s mirror; tests hand in a map.

use std::collections::BTreeSet;

use async_trait::async_trait;
use gitrepo::{CommitInfo, PathPattern, PollStatus, TreeFile};
use model::{BlobId, CommitId};

/// Why something could not be read. Never taken as "it is not there" (law 3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A file is larger than job files may be. This is about the file, not about reading.
    #[error("{0}")]
    TooLarge(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<gitrepo::ReadError> for SourceError {
    fn from(error: gitrepo::ReadError) -> Self {
        match error {
            gitrepo::ReadError::TooLarge { .. } => Self::TooLarge(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// A repository that can be read at any commit it holds.
#[async_trait]
pub trait RevisionSource: Send + Sync {
    /// What a commit says of itself.
    async fn commit(&self, commit: &CommitId) -> Result<CommitInfo, SourceError>;

    /// All files at a commit that the repository's paths select, whole or an error.
    async fn tree(&self, commit: &CommitId) -> Result<Vec<TreeFile>, SourceError>;

    /// The files that lie in these folders themselves, not deeper, whatever the repository's paths select. The root is
    /// the empty text; a folder that is not there holds none.
    async fn beside(
        &self,
        commit: &CommitId,
        folders: &BTreeSet<String>,
    ) -> Result<Vec<TreeFile>, SourceError>;

    /// All files beneath a folder, whatever the repository's paths select.
    async fn beneath(&self, commit: &CommitId, folder: &str) -> Result<Vec<TreeFile>, SourceError>;

    /// A file's content; larger than `limit` bytes is an error.
    async fn blob(&self, blob: &BlobId, limit: u64) -> Result<Vec<u8>, SourceError>;

    /// Whether `old` is `new` or one of its ancestors.
    async fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, SourceError>;

    /// The commit that a name (`HEAD~1`, a tag, a short ID) stands for.
    async fn resolve(&self, revision: &str) -> Result<CommitId, SourceError>;

    /// Whether the repository's paths select this file.
    fn selects(&self, path: &str) -> bool;

    /// Whether they select every file, so that [`Self::tree`] is all there is.
    fn selects_all(&self) -> bool;

    /// Looks at the remote now, and returns when that is done. What is seen comes as an observation.
    async fn check_now(&self) -> Result<(), SourceError>;

    /// How polling goes.
    fn status(&self) -> PollStatus;
}

#[async_trait]
impl RevisionSource for gitrepo::RepoHandle {
    async fn commit(&self, commit: &CommitId) -> Result<CommitInfo, SourceError> {
        Ok(Self::commit(self, commit).await?)
    }

    async fn tree(&self, commit: &CommitId) -> Result<Vec<TreeFile>, SourceError> {
        let tree = Self::tree(self, commit).await?;
        if !tree.skipped.is_empty() {
            tracing::warn!(
                repo = self.name(),
                "paths that are not UTF-8 are left out: {}",
                tree.skipped.join(", ")
            );
        }
        Ok(tree.files)
    }

    async fn beside(
        &self,
        commit: &CommitId,
        folders: &BTreeSet<String>,
    ) -> Result<Vec<TreeFile>, SourceError> {
        let (commit, folders) = (commit.clone(), folders.clone());
        Ok(self.read(move |reader| reader.beside(&commit, &folders)).await?)
    }

    async fn beneath(&self, commit: &CommitId, folder: &str) -> Result<Vec<TreeFile>, SourceError> {
        let patterns = match folder {
            "" => Vec::new(),
            folder => vec![PathPattern::folder(folder)],
        };
        let commit = commit.clone();
        Ok(self.read(move |reader| reader.tree(&commit, &patterns)).await?.files)
    }

    async fn blob(&self, blob: &BlobId, limit: u64) -> Result<Vec<u8>, SourceError> {
        Ok(Self::blob(self, blob, limit).await?)
    }

    async fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, SourceError> {
        Ok(Self::is_ancestor(self, old, new).await?)
    }

    async fn resolve(&self, revision: &str) -> Result<CommitId, SourceError> {
        Ok(Self::resolve(self, revision).await?)
    }

    fn selects(&self, path: &str) -> bool {
        self.patterns().is_ok_and(|patterns| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(path))
        })
    }

    fn selects_all(&self) -> bool {
        self.patterns().is_ok_and(|patterns| patterns.is_empty())
    }

    async fn check_now(&self) -> Result<(), SourceError> {
        Self::check_now(self)
            .await
            .map(drop)
            .map_err(|error| SourceError::Failed(error.to_string()))
    }

    fn status(&self) -> PollStatus {
        Self::status(self)
    }
}
