//! Where revisions are read from. The agent hands in `gitrepo`'s mirror; tests hand in a map.

use async_trait::async_trait;
use gitrepo::{CommitInfo, TreeFile};
use model::{BlobId, CommitId};

/// Why something could not be read. Never taken as "it is not there" (law 3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A repository that can be read at any commit it holds.
#[async_trait]
pub trait RevisionSource: Send + Sync {
    /// What a commit says of itself.
    async fn commit(&self, commit: &CommitId) -> Result<CommitInfo, SourceError>;

    /// All files at a commit that the repository's paths select, whole or an error.
    async fn tree(&self, commit: &CommitId) -> Result<Vec<TreeFile>, SourceError>;

    /// A file's content; larger than `limit` bytes is an error.
    async fn blob(&self, blob: &BlobId, limit: usize) -> Result<Vec<u8>, SourceError>;

    /// Whether `old` is `new` or one of its ancestors.
    async fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, SourceError>;

    /// The commit that a name (`HEAD~1`, a tag, a short ID) stands for.
    async fn resolve(&self, revision: &str) -> Result<CommitId, SourceError>;
}
